"""What answers where no route does: a request that cannot be read, and whatever aiohttp would say by itself.

aiohttp's own answers repeat what was sent: a field of a head, a method, an `Expect`. Ours repeat nothing.
"""

from secrets import token_hex

from aiohttp import web

from openscale_byok.engine.context import log
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.answers import TRANSACTION, shape

_UNREADABLE = "this is no request that can be read: its head or the encoding of its body is wrong"
_UNEXPECTED = "a mistake of the gateway's; its log has more"


class RequestHandler(web.RequestHandler):
    """aiohttp's handler of one connection, with answers of our shape."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it quotes what was sent
    ) -> web.StreamResponse:
        """Answer what could not be read, or failed outside of every route. The connection ends."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= 500:
            log.error("unexpected", error=type(exc).__name__)
        answer = _answer("Unexpected", _UNEXPECTED, status) if status >= 500 else _answer(_INVALID, _UNREADABLE, status)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; one that aiohttp raised, and nobody gave a shape, gets one."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            raised, resp = resp, _answer(_INVALID, resp.reason, resp.status)
            if isinstance(raised, web.HTTPMethodNotAllowed):
                resp.headers["Allow"] = ", ".join(sorted(raised.allowed_methods))
            if not raised.keep_alive or raised.status == 417:
                resp.force_close()
        return await super().finish_response(request, resp, start_time)


_INVALID = Reason.INVALID_REQUEST.value


def _answer(code: str, message: str, status: int) -> web.Response:
    transaction = token_hex(16)
    headers = {TRANSACTION: transaction, "Cache-Control": "no-store"}
    return web.json_response(shape(code, message, transaction), status=status, headers=headers)
