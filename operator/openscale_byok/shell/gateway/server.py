"""The gateway's two listeners: the API with TLS, and health and metrics without; their beginning and their end."""

import asyncio
import logging
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from openscale_byok.adapters.serving_certificate import ServingCertificate
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.admission import accept
from openscale_byok.shell.gateway.application import CONNECTIONS, END, METRICS, application
from openscale_byok.shell.gateway.connections import Connections, Limits
from openscale_byok.shell.gateway.metrics import CONTENT_TYPE, Metrics
from openscale_byok.shell.gateway.request_handler import RequestHandler
from openscale_byok.shell.gateway.settings import GatewaySettings

log = structlog.get_logger("openscale_byok")

Health = Callable[[], Awaitable[Sequence[str]]]
"""Names the checks of `/readyz` that fail now; none: ready."""
DRAINING = "draining"
_SPARE_FILES = 128
"""For everything that is not a connection of the API."""
_HEALTH_LIMITS = Limits(
    connections=64, waiting=1024, grace=0.05, head=2.0, idle=10.0, request=10.0, linger=0.2, drain=1.0
)
"""A probe waits for one second by default, and a scrape for ten."""
_HEALTH_SECONDS = 4.0
"""For all checks of `/readyz`."""
_HEALTH_KEPT_SECONDS = 0.25
"""From the begin of these checks, that their answer is given to others."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are listened on: of interest where the settings ask for any that is free."""

    api: int
    health: int


async def serve(
    api: web.Application,
    health: Health,
    certificate: ServingCertificate,
    settings: GatewaySettings,
    *,
    stop: asyncio.Event,
    started: Callable[[Ports], None] | None = None,
) -> None:
    """Run both listeners until *stop* is set; then fail `/readyz`, drain, and return.

    Args:
        api: made by `application`.
        health: asked by `/readyz`.
        certificate: of the API's listener; followed meanwhile.
        settings: addresses and ports.
        stop: the end; see `stop_on_signals`.
        started: told the ports, once both are listened on.

    Raises:
        Refused: an address or port cannot be listened on.
    """
    connections, metrics = api[CONNECTIONS], api[METRICS]
    connections.most, connections.most_waiting = _room(connections.limits)
    with (
        _listen(settings.gateway_address, settings.gateway_port, "OPENSCALE_BYOK_GATEWAY_PORT") as api_socket,
        _listen(settings.gateway_address, settings.gateway_health_port, "OPENSCALE_BYOK_GATEWAY_HEALTH_PORT") as plain,
    ):
        side = _side(health, metrics, connections, stop)
        side_connections = side[CONNECTIONS]
        async with (
            _running(side, plain, side_connections, lambda: None),
            _running(api, api_socket, connections, lambda: certificate.context) as accepting,
        ):
            following = asyncio.create_task(certificate.follow())
            ports = Ports(api_socket.getsockname()[1], plain.getsockname()[1])
            log.info("serving", address=settings.gateway_address, port=ports.api, health_port=ports.health)
            if started is not None:
                started(ports)
            try:
                await _first(stop, following, accepting)
                log.info("ending", requests=connections.busy())
                api[END].begun = True
                await asyncio.sleep(connections.limits.announce)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _first(stop: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    """Wait for the end. A task that ended by itself is a mistake of ours: raised, so that the process ends too."""
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for each in done - {waiting}:
            each.result()
            raise RuntimeError("what should run to the end has ended")
    finally:
        waiting.cancel()


@asynccontextmanager
async def _running(
    app: web.Application, sock: socket.socket, connections: Connections, context: Callable[[], ssl.SSLContext | None]
) -> AsyncIterator[asyncio.Task[None]]:
    limits = connections.limits
    options: dict[str, Any] = {
        "access_log": None,
        "logger": _quiet(),
        "keepalive_timeout": limits.idle + 2 * limits.sweep,
        "lingering_time": limits.linger,
        "max_line_size": limits.field_bytes,
        "max_field_size": limits.field_bytes,
        "max_headers": limits.fields,
    }
    runner = web.AppRunner(app, shutdown_timeout=limits.drain)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    if server is None:
        raise RuntimeError("aiohttp set up no server")
    accepting = asyncio.create_task(
        accept(sock, connections, lambda: RequestHandler(server, loop=loop, **options), context)
    )
    sweeping = asyncio.create_task(connections.sweep())
    try:
        yield accepting
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        sock.close()
        # Idle connections are closed, requests that are being answered are waited for.
        await runner.cleanup()
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        for connection in connections.every():
            connection.end()


@contextmanager
def _listen(address: str, port: int, setting: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # The backlog holds a crowd that connects at once, for the moment that it takes to accept it.
        sock = socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        text = f"{setting}: {address} port {port} cannot be listened on ({error.strerror})"
        raise Refused(Reason.INVALID_REQUEST, text) from None
    sock.settimeout(0)
    with sock:
        yield sock


def _side(health: Health, metrics: Metrics, connections: Connections, stop: asyncio.Event) -> web.Application:
    """`/livez`, `/readyz`, `/metrics`."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    checks = _Checks(health)

    async def readyz(_: web.Request) -> web.Response:
        failing = [DRAINING] if stop.is_set() else await checks.failing()
        text = "".join(f"[-] {name}\n" for name in failing) or "ok\n"
        return web.Response(status=503 if failing else 200, text=text)

    async def shown(_: web.Request) -> web.Response:
        metrics.connections.set(len(connections))
        metrics.turned_away.set(connections.turned_away)
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    side = application(Metrics(), limits=_HEALTH_LIMITS, is_open=lambda _: True)
    side.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", shown)])
    return side


class _Checks:
    """What fails now, found out once for however many ask: each time costs a question to the API server."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._flight: asyncio.Task[Sequence[str]] | None = None
        self._begun = 0.0

    async def failing(self) -> Sequence[str]:
        """The names of the checks that fail."""
        now = asyncio.get_running_loop().time()
        if self._flight is None or (self._flight.done() and now - self._begun >= _HEALTH_KEPT_SECONDS):
            self._flight, self._begun = asyncio.create_task(self._ask()), now
        return await asyncio.shield(self._flight)

    async def _ask(self) -> Sequence[str]:
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                return await self._health()
        except TimeoutError:
            return ["health"]


def _room(limits: Limits) -> tuple[int, int]:
    """How many connections there may be, and how many that wait: each is an open file, and a process may have only so
    many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _SPARE_FILES + _HEALTH_LIMITS.connections + _HEALTH_LIMITS.waiting
    wanted = limits.connections + limits.waiting
    if soft < hard and soft < wanted + others:
        soft = min(hard, wanted + others)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    share = min(1.0, (soft - others) / wanted)
    return max(1, int(share * limits.connections)), max(1, int(share * limits.waiting))


def _quiet() -> logging.Logger:
    """aiohttp's logger without what a client did wrong: anybody could fill the log with that."""
    logger = logging.getLogger("openscale_byok.http")
    if not logger.filters:
        logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger
