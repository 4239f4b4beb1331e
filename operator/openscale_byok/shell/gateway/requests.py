"""Each request: who asks and what for, whether they may, the audit line, and the answer where it fails.

Nothing is answered before its audit line is written. Who may not know is told the same whether a thing exists or not.
"""

import re
from dataclasses import dataclass
from secrets import token_hex
from typing import Literal, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.caller import Access, Caller
from openscale_byok.core.network import network_of
from openscale_byok.engine.context import log
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.ports import Audit
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.answers import TRANSACTION, failure, shape, status_of
from openscale_byok.shell.gateway.application import METRICS

_TRANSACTION = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
NOBODY = Caller(user="", by="kubernetes")


class Rights(Protocol):
    """Who somebody is and what they may do, remembered for seconds."""

    async def caller(self, token: str, network: str = "") -> Caller:
        """See `engine.rights.Rights`."""
        ...

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """See `ports.Reviews.allowed`."""
        ...


class Pace(Protocol):
    """How often each caller may ask."""

    def take(self, who: str, cost: float = 1.0) -> None:
        """Count one request of a caller; one that costs as much as several counts as those.

        Raises:
            Unavailable: `TooManyRequests`, with the seconds until the next one.
        """
        ...


@dataclass(slots=True)
class Asked:
    """One request, and what its audit line will say."""

    transaction: str
    source: str
    """The address that it came from."""
    name: str
    """What it is about; its path, until that is known."""
    action: Action = Action.REQUEST
    kind: str = ""
    namespace: str = ""
    root_key: str = ""
    data_key: str = ""
    audited: bool = False
    """Whether a line is written also where the request is granted."""
    caller: Caller = NOBODY

    def about(self, action: Action, kind: str, namespace: str, name: str, *, granted: bool = True) -> None:
        """Say what the request is about; without a name the path stays, which names the instance.

        *granted*: whether its success is audited too.
        """
        self.action, self.kind, self.namespace, self.name = action, kind, namespace, name or self.name
        self.audited = granted

    def by_keys(self, root_key: str, data_key: str) -> None:
        """Say which keys were used."""
        self.root_key, self.data_key = root_key, data_key

    def line(self, outcome: Literal["success", "failure", "denied"], reason: str = "", trace: str = "") -> AuditEvent:
        """Its audit line."""
        who = self.caller
        return AuditEvent(
            self.action,
            outcome,
            who.user,
            who.by if who is not NOBODY else "",
            self.kind,
            self.namespace,
            self.name,
            source=self.source,
            reason=reason,
            root_key=self.root_key,
            data_key=self.data_key,
            trace=trace,
            transaction=self.transaction,
        )


ASKED = web.RequestKey("asked", Asked)


def not_allowed() -> Refused:
    """What everybody is told who may not, whatever there is."""
    return Refused(Reason.NOT_ALLOWED, "you have no right to this, or it does not exist")


async def expect(rights: Rights, caller: Caller, *accesses: Access) -> None:
    """Expect that somebody may do all of this.

    Raises:
        Refused: `NotAllowed`.
        Unavailable: the API server cannot be asked.
    """
    for access in accesses:
        if not await rights.allowed(caller, access):
            raise not_allowed()


def guard(
    rights: Rights,
    pace: Pace,
    audit: Audit,
    open_paths: frozenset[str] = frozenset(),
    *,
    strangers: Pace | None = None,
) -> Middleware:
    """The middleware around every route.

    Args:
        rights: asked who calls.
        pace: asked whether they call too often.
        audit: where lines go.
        open_paths: routes that anybody may see.
        strangers: asked whether a network is refused too often; apart from callers, as anybody can have many.
    """
    of_strangers = pace if strangers is None else strangers

    async def who(request: web.Request) -> Caller:
        network = network_of(request.remote or "")
        try:
            return await rights.caller(_token(request), network)
        except Refused:
            of_strangers.take(network)
            raise

    async def known(request: web.Request, asked: Asked, handler: Handler) -> web.StreamResponse:
        if request.path not in open_paths:
            caller = asked.caller = await who(request)
            pace.take(caller.user)
        return await handler(request)

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request[ASKED] = _asked(request)
        try:
            answer = await known(request, asked, handler)
            if asked.audited:
                audit.write(asked.line("success"))
        except ByokError as error:
            answer = _failed(audit, asked, error)
            if METRICS in request.app:
                request.app[METRICS].refused(error.reason)
        except web.HTTPException as error:
            answer = _shaped(error, asked.transaction)
        except Exception as error:  # noqa: BLE001 -- its text may quote what was sent
            log.error("unexpected", error=type(error).__name__, route=request.match_info.route.name)
            body = shape("Unexpected", "a mistake of the gateway's; its log has more", asked.transaction)
            answer = web.json_response(body, status=500)
        answer.headers[TRANSACTION] = asked.transaction
        return answer

    return around


def _asked(request: web.Request) -> Asked:
    given = request.headers.get(TRANSACTION, "")
    transaction = given if given and _TRANSACTION.match(given) else token_hex(16)
    # The peer's own address: a header that names another could be anybody's.
    return Asked(transaction, source=request.remote or "", name=request.path[:256])


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(Reason.NOT_AUTHENTICATED, "send a bearer token that was made for this gateway")
    return token.strip()


def _failed(audit: Audit, asked: Asked, error: ByokError) -> web.Response:
    """The answer to what was refused or failed; a refusal is audited, whatever was asked."""
    denied = status_of(error) in (401, 403)
    if denied or asked.audited:
        try:
            audit.write(asked.line("denied" if denied else "failure", error.reason.value, error.trace))
        except Unavailable as failed:
            error = failed
    return failure(error, asked.transaction)


def _shaped(error: web.HTTPException, transaction: str) -> web.Response:
    """aiohttp's own answers (no such route, body too large …) in the one shape."""
    answer = web.json_response(shape(Reason.INVALID_REQUEST.value, error.reason, transaction), status=error.status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    if not error.keep_alive:
        answer.force_close()
    return answer
