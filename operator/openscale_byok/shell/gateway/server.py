"""The gateway's listener of the API, with TLS: its beginning and its end. Health and metrics are beside it."""

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import structlog
from aiohttp import web

from openscale_byok.adapters.serving_certificate import ServingCertificate
from openscale_byok.shell.gateway.application import CONNECTIONS, END, METRICS
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.listener import listen, running
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.health import LIMITS, Program, served_here
from openscale_byok.shell.pulse import Pulse

log = structlog.get_logger("openscale_byok")

Health = Callable[[], Awaitable[Sequence[str]]]
"""Names the checks of `/readyz` that fail now; none: ready."""
_SPARE_FILES = 128
"""For everything that is not a connection of the API."""


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
    pulse: Pulse | None = None,
    gather: Callable[[], None] = lambda: None,
) -> None:
    """Run both listeners until *stop* is set; then fail `/readyz`, drain, and return.

    Args:
        api: made by `application`.
        health: asked by `/readyz`.
        certificate: of the API's listener; followed meanwhile.
        settings: addresses and ports.
        stop: the end; see `stop_on_signals`.
        started: told the ports, once both are listened on.
        pulse: what `/livez` answers by.
        gather: has the metrics hold what is so now.

    Raises:
        Refused: an address or port cannot be listened on.
    """
    connections, metrics = api[CONNECTIONS], api[METRICS]
    connections.most, connections.most_waiting = _room(connections.limits)
    with (
        listen(settings.gateway_address, settings.gateway_port, "OPENSCALE_BYOK_GATEWAY_PORT") as api_socket,
        listen(settings.gateway_address, settings.gateway_health_port, "OPENSCALE_BYOK_GATEWAY_HEALTH_PORT") as plain,
    ):

        async def gathered() -> None:
            gather()
            metrics.connections.set(len(connections))
            metrics.turned_away.set(connections.turned_away)

        program = Program(pulse or Pulse(monotonic), metrics, health, gathered, draining=stop.is_set)
        async with (
            served_here(program, plain),
            running(api, api_socket, connections, lambda: certificate.context) as accepting,
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


def _room(limits: Limits) -> tuple[int, int]:
    """How many connections there may be, and how many that wait: each is an open file, and a process may have only so
    many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _SPARE_FILES + LIMITS.connections + LIMITS.waiting
    wanted = limits.connections + limits.waiting
    if soft < hard and soft < wanted + others:
        soft = min(hard, wanted + others)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    share = min(1.0, (soft - others) / wanted)
    return max(1, int(share * limits.connections)), max(1, int(share * limits.waiting))
