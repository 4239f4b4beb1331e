"""One HTTP exchange with IBM: bounded in time and size, never redirected, its body never in an error."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

import aiohttp

from openscale_byok.adapters import egress
from openscale_byok.adapters.egress import Egress, Way
from openscale_byok.adapters.resolver import HostResolver
from openscale_byok.errors import Unavailable
from openscale_byok.ports.observers import Called, CallObserver, Outcome
from openscale_byok.reasons import Reason

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
"""IBM answers within a second. Longer than this is an outage, and whoever waits could serve from memory instead."""
MAX_BODY = 1 << 20
"""Of an answer, as it is after it was decompressed."""
MAX_RETRY_AFTER = 300.0
"""Nobody may silence us for longer than this: while we ask nothing, a revocation goes unnoticed."""
TO_ONE_HOST = 1_000
"""Connections at once. There is no bound over all hosts: one that hangs must not take another's."""
DIRECTLY = Way()
_OPERATIONS: dict[str, tuple[Literal["key-protect", "iam"], str]] = {
    **{name: ("key-protect", name) for name in ("metadata", "wrap", "unwrap", "rewrap")},
    **{name: ("iam", name) for name in ("token", "keys")},
}
"""What is called, by the last part of its path."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. The body is only for reading codes and the fields that we know."""

    status: int
    json: Any
    correlation_id: str
    retry_after: float | None

    def __repr__(self) -> str:
        return f"Answer({self.status})"


def open_session(
    way: Way = DIRECTLY, timeout: aiohttp.ClientTimeout = TIMEOUT, observers: Sequence[CallObserver] = ()
) -> aiohttp.ClientSession:
    """A session that takes nothing from the environment: no proxy, no netrc, no cookies.

    What comes compressed is for `exchange` to open, which knows when to stop. The observers are told of each call.

    Raises:
        Refused: what the settings say of the way cannot be used.
    """
    through = Egress(way)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=TO_ONE_HOST, resolver=HostResolver(), ssl=through.context
        ),
        middlewares=(_counted(observers), through),
        timeout=timeout,
        trust_env=False,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        raise_for_status=False,
    )


def _counted(observers: Sequence[CallObserver]) -> aiohttp.ClientMiddlewareType:
    """Tells of each call, by the last part of its path, which is one of few."""

    async def around(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        began, code = monotonic(), 0
        try:
            answer = await handler(request)
            code = answer.status
            return answer
        finally:
            service, operation = _OPERATIONS.get(request.url.name, ("key-protect", "other"))
            away = not code or code >= 500 or code in (429, egress.PROXY_REFUSES) or 300 <= code < 400
            outcome: Outcome = "unavailable" if away else "refused" if code >= 400 else "success"
            for observer in observers:
                observer.called(Called(service, operation, code, outcome, monotonic() - began))

    return around


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    unreachable: Reason,
    **request: Any,  # noqa: ANN401 -- aiohttp's own arguments
) -> Answer:
    """Send a request and read the whole answer.

    Raises:
        Unavailable: no complete answer came, or none that we could read.
    """
    try:
        async with session.request(method, url, allow_redirects=False, **request) as answer:
            raw = _decompressed(await _read(answer), answer.headers.get("Content-Encoding", ""))
            status, headers = answer.status, answer.headers
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # How exactly a connection fails differs from try to try: that is for the log, where it is not news each time.
        text = egress.unreachable(_host(url), error)
        raise Unavailable(unreachable, text, trace=type(error).__name__) from None
    retry_after = _seconds(headers.get("Retry-After"))
    if len(raw) > MAX_BODY or status >= 500 or status in (429, egress.PROXY_REFUSES) or 300 <= status < 400:
        raise Unavailable(unreachable, f"{_host(url)} answers {status}", retry_after=retry_after)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) and status != 401:
        # IBM's services answer with an object, also where they refuse: this is some proxy's page, and no clear no.
        raise Unavailable(unreachable, f"{_host(url)} answers {status} with something else than a JSON object")
    return Answer(status, body, headers.get("Correlation-Id", ""), retry_after)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, or a little more than we take. One read returns only what has arrived so far."""
    raw = bytearray()
    async for piece in answer.content.iter_any():
        raw += piece
        if len(raw) > MAX_BODY:
            break
    return bytes(raw)


def _decompressed(raw: bytes, encoding: str) -> bytes:
    """The body as it was meant, or a little more of it than we take: a kilobyte may stand for a gigabyte."""
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        return raw  # as we asked for it; what it is else, is no JSON
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(raw, MAX_BODY + 1)
    except zlib.error:
        return b""


def _host(url: str) -> str:
    return url.split("/")[2]


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(MAX_RETRY_AFTER, max(0.0, float(text)))
    except ValueError:
        return None
