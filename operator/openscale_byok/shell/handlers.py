"""kopf as an event source: one handler per kind, which stores and wakes, and can fail at nothing.

No index, daemon, timer or change handler: those write to objects, copy a spec into an annotation, or lose
their clean-up in a crash. The only module that imports kopf.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import aiohttp
import kopf

from openscale_byok.adapters.cluster import PAGE
from openscale_byok.resources import FINALIZER, GROUP, KINDS, VERSION
from openscale_byok.shell.event_window import EventWindow
from openscale_byok.shell.watch_answers import Watched, answers_through

END_WAITERS_SECONDS = 0.3
END_SECONDS = 8.0
"""What has not ended so long after the first task did is cancelled again; kopf's own waits take 5 s."""


class Served(Protocol):
    """What works on events."""

    def see(self, kind: str, raw: dict[str, Any], *, gone: bool, listed: bool = False) -> None:
        """Take in an event; it can fail at nothing."""
        ...

    async def serve(self) -> None:
        """Work until cancelled."""
        ...


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is ever diffed, so nothing is stored for it."""

    def build(self, **_: Any) -> kopf.BodyEssence:  # noqa: ANN401 -- kopf's own
        """Nothing."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:  # noqa: ANN401 -- kopf's own
        """Nothing."""
        return None

    def store(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
        """Nothing."""


class _NoProgress(kopf.ProgressStorage):
    """No handler has progress, so none is stored."""

    def fetch(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
        """Nothing."""

    def store(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
        """Nothing."""

    def purge(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
        """Nothing."""

    def touch(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
        """Nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """The essence as it is."""
        return essence


def kopf_settings() -> kopf.OperatorSettings:
    """kopf as quiet as it can be: it lists and watches our three kinds, and writes nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 0.1  # for so long a worker keeps its object's last event, and itself
    settings.networking.request_timeout = 60
    settings.persistence.finalizer = FINALIZER + "-kopf"  # unused: no daemon, no delete handler
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    return settings


@dataclass(frozen=True, kw_only=True)
class _Login(kopf.AiohttpSession):
    """A session, told from others by its credentials: kopf does not try again with what was refused."""

    aiohttp_session: aiohttp.ClientSession = field(compare=False)
    info: kopf.ConnectionInfo


class Sessions:
    """kopf's sessions with the API server; they differ from those that it would make in the class of their answers."""

    def __init__(self, watched: Sequence[Watched] = ()) -> None:
        self._opened: list[aiohttp.ClientSession] = []
        self.window = EventWindow(time.monotonic)
        self._answers = answers_through(self.window, watched)

    def open(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """Another one; kopf closes those that it uses."""
        self._opened = [session for session in self._opened if not session.closed]
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            response_class=self._answers,
            trust_env=False,
        )
        self._opened.append(session)
        return _Login(
            server=info.server,
            priority=info.priority,
            default_namespace=info.default_namespace,
            expiration=info.expiration,
            aiohttp_session=session,
            info=info,
        )

    async def close(self) -> None:
        """Close what kopf never came to use."""
        for session in self._opened:
            await session.close()


def at_address(info: kopf.ConnectionInfo | None, environ: Mapping[str, str]) -> kopf.ConnectionInfo | None:
    """The API server at the address that the kubelet names to each container, as our own client has it.

    kopf takes its name, ``kubernetes.default.svc``: the watches would end with the cluster's DNS.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if info is None or not host:
        return info
    return replace(info, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")


def registry_for(engine: Served, sessions: Sessions) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own."""
    registry = kopf.OperatorRegistry()

    def listen(kind: str, plural: str) -> None:
        @kopf.on.event(GROUP, VERSION, plural, registry=registry, id=kind)
        async def on_event(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 -- kopf's own
            said = event["type"]  # None: of the list that a watch begins with
            raw: dict[str, Any] = dict(event["object"])
            if said is not None:
                sessions.window.handled(raw["metadata"].get("namespace", ""))
            engine.see(kind, raw, gone=said == "DELETED", listed=said is None)

    for kind in KINDS:
        listen(kind.KIND, kind.PLURAL)

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:  # noqa: ANN401 -- kopf's own
        in_pod = at_address(kopf.login_with_service_account(**kwargs), os.environ)
        info = in_pod or kopf.login_with_kubeconfig(**kwargs)
        return sessions.open(info) if info is not None else None

    return registry


async def serve(
    engine: Served,
    watched: Sequence[Watched] = (),
    *,
    namespaces: Collection[str] = (),
    stop: asyncio.Event | None = None,
    signalled: Callable[[], None] | None = None,
) -> None:
    """Feed the engine with events, until a signal comes, a watch fails for good, or the engine ends.

    kopf ends every task that was created since; so only those from before are its caller's own.

    Args:
        engine: what is fed.
        watched: are told what is heard of the watches.
        namespaces: those that are watched; none named: all.
        stop: ends it too.
        signalled: what a signal does, in place of ending it at once: something else may have to end before.
    """
    before, sessions = asyncio.all_tasks(), Sessions(watched)
    tasks = await kopf.spawn_tasks(
        registry=registry_for(engine, sessions),
        settings=kopf_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    if signalled is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, signalled)
    tasks = [*tasks, asyncio.create_task(engine.serve(), name="engine")]
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    waited = 0.0
    while not (await asyncio.wait({running}, timeout=END_WAITERS_SECONDS))[0]:
        waited += END_WAITERS_SECONDS
        left = asyncio.all_tasks() - before - {running}
        if waited >= END_SECONDS or all(task.done() for task in tasks):
            # kopf cancels once and waits for ever; a task that lost that (see `KeyedQueue`) would keep a dead process.
            # And what its own tasks leave behind, such as a watch that was just about to begin, it waits 5 s for.
            for task in left:
                task.cancel()
    try:
        await running
    finally:
        await sessions.close()
