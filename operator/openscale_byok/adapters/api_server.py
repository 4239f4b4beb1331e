"""One exchange with the API server, signed in as kubectl would be: the only module that imports `kubernetes`.

429 and its Retry-After are honoured once, here; everything else is for whoever asked to try again. A DELETE is sent
once and soon, or not at all: before a further attempt whoever asked for it looks whether it is still right to delete.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from time import monotonic
from typing import Any, Self

import aiohttp
from kubernetes.aio import client, config

from openscale_byok.adapters.api_refusals import refusal, seconds
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import BEGINS_SOON_SECONDS, Turns
from openscale_byok.ports.observers import Called, CallObserver, Outcome
from openscale_byok.reasons import Reason
from openscale_byok.resources import GROUP, VERSION

FIELD_MANAGER = "openscale-byok"
TIMEOUT_SECONDS = 30.0
_NAMESPACE = re.compile(r"/namespaces/([^/?]+)/")
_MERGE_PATCH = "application/merge-patch+json"


class ApiServer:
    """A connection."""

    def __init__(
        self,
        api: client.ApiClient,
        calls: Turns | None = None,
        pages: Turns | None = None,
        begins_soon: float = BEGINS_SOON_SECONDS,
        observers: Sequence[CallObserver] = (),
    ) -> None:
        self._api = api
        self._observers = observers
        self._base = api.configuration.host
        self._begins_soon = begins_soon
        self._calls, self._pages = calls, pages

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        connections: int,
        calls: Turns | None = None,
        pages: Turns | None = None,
        begins_soon: float = BEGINS_SOON_SECONDS,
        observers: Sequence[CallObserver] = (),
    ) -> AsyncIterator[Self]:
        """Connect as kubectl would: in a pod by its ServiceAccount, elsewhere by KUBECONFIG.

        Args:
            connections: at once.
            calls: the turns of namespaces at calls about something of theirs.
            pages: their turns at pages of lists, each of which is in memory as bytes, as text and as objects at once.
            begins_soon: seconds; see `ports.BEGINS_SOON_SECONDS`.
            observers: told of each call.

        Raises:
            Refused: there is no usable configuration.
        """
        settings = client.Configuration()
        # The default would read ~/.netrc and proxies for each request, and might send what it finds there.
        settings.client_session_kwargs = {"trust_env": False, "middlewares": (_deletes_once,)}
        settings.connection_pool_maxsize = connections
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            try:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    client_configuration=settings, persist_config=False
                )
            except (config.ConfigException, OSError) as error:
                text = f"no cluster: neither a pod's ServiceAccount nor KUBECONFIG ({type(error).__name__})"
                raise Refused(Reason.CLUSTER_UNAVAILABLE, text) from None
        settings.retries = False
        async with client.ApiClient(configuration=settings) as api:
            yield cls(api, calls, pages, begins_soon, observers)

    def page(self, namespace: str) -> AbstractAsyncContextManager[None]:
        """The turn of whoever lists something of a namespace."""
        return self._pages.turn(namespace) if self._pages is not None else nullcontext()

    async def patch(self, path: str, body: Mapping[str, Any], *, soon: bool = False) -> dict[str, Any]:
        """Send a JSON merge patch; the object as stored. *soon*: see `ports.BEGINS_SOON_SECONDS`."""
        return await self.call("PATCH", f"{path}?fieldManager={FIELD_MANAGER}", body, soon=soon)

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, secret: str = "", soon: bool = False
    ) -> dict[str, Any]:
        """Ask for something; the answer's JSON.

        Args:
            method: of HTTP.
            path: below the API server's address, with the query.
            body: JSON to send.
            secret: what a person would call it, where it is one that its owner must let us read.
            soon: send it within `ports.BEGINS_SOON_SECONDS`, and once, or not at all. Every DELETE is so.

        Raises:
            Refused, Unavailable, Changed, Missing: by the answer's status; see `api_refusals`.
        """
        soon = soon or method == "DELETE"
        for last in (False, True):
            status, raw, retry_after = await self._send(method, path, body, soon=soon)
            if status < 300:
                return json.loads(raw)  # type: ignore[no-any-return] # JSON of the API server
            if status == 429 and retry_after is not None and not last and not soon:
                await asyncio.sleep(min(retry_after, 10.0))
                continue
            break
        raise refusal(status, what=secret or _named(path), secret=bool(secret), retry_after=retry_after)

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, soon: bool
    ) -> tuple[int, bytes, float | None]:
        headers = {
            "Accept": "application/json, application/jwk-set+json",  # the second: for its public keys alone
            "User-Agent": FIELD_MANAGER,
            "Content-Type": _MERGE_PATCH if method == "PATCH" else "application/json",
        }
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        sent, code = 0.0, 0
        try:
            async with AsyncExitStack() as stack:
                begins = self._begins_soon if soon else None
                async with asyncio.timeout(begins):
                    await stack.enter_async_context(_turn(self._calls, path))
                limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=begins)
                sent = monotonic()
                answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                    method, self._base + path, headers=headers, body=body, _request_timeout=limit
                )
                raw = await answer.read()
                code = answer.status
                return code, raw, seconds(answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = f"the API server cannot be reached ({type(error).__name__})"
            raise Unavailable(Reason.CLUSTER_UNAVAILABLE, text) from None
        finally:
            if sent:
                self._tell(method, code, monotonic() - sent)

    def _tell(self, method: str, code: int, took: float) -> None:
        outcome: Outcome = (
            "unavailable" if not code or code >= 500 or code == 429 else "refused" if code >= 400 else "success"
        )
        for observer in self._observers:
            observer.called(Called("kubernetes", method, code, outcome, took))


async def _deletes_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp repeats by itself what it holds to be idempotent, where a connection breaks: as when the API server is
    started anew, on an etcd that was put back. A delete is not: what may be deleted is another by then."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method != "DELETE":
            raise
        raise aiohttp.ClientConnectionError(type(error).__name__) from None


def _turn(turns: Turns | None, path: str) -> AbstractAsyncContextManager[None]:
    """What is asked about a namespace has its turn; the rest, as who somebody is, is bounded where it is asked."""
    found = _NAMESPACE.search(path)
    return turns.turn(found[1]) if turns is not None and found is not None else nullcontext()


def _named(path: str) -> str:
    bare = path.split("?", maxsplit=1)[0]
    return bare.removeprefix(f"/apis/{GROUP}/{VERSION}") or bare
