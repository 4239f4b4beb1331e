"""Health and metrics of a program: `/livez`, `/readyz` and `/metrics`, on a port of their own, without TLS.

The operator's is answered by a thread: a probe has its answer however busy the program is, and `/livez` says no where
the program's event loop stands still. The gateway's is answered by its own loop, which a crowd may ask.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import socket
from typing import Generic, TypeVar

import structlog
from aiohttp import web

from openscale_byok.shell.gateway.application import CONNECTIONS, application
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.listener import running
from openscale_byok.shell.metrics import CONTENT_TYPE, ProgramMetrics
from openscale_byok.shell.pulse import TICK_SECONDS, Pulse

log = structlog.get_logger("openscale_byok")

DRAINING = "draining"
LIMITS = Limits(connections=64, waiting=1024, grace=0.05, head=2.0, idle=10.0, request=10.0, linger=0.2, drain=1.0)
"""A probe waits for one second by default, and a scrape for ten."""
CHECK_SECONDS = 4.0
"""For all checks of `/readyz`, and for what `/metrics` is told by the program's loop."""
_CHECKS_KEPT_SECONDS = 0.25
_GATHERED_KEPT_SECONDS = 1.0
_JOIN_SECONDS = 2 * LIMITS.drain + 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Program:
    """What is asked of the program; its functions run in its own event loop."""

    pulse: Pulse
    metrics: ProgramMetrics
    unready: Callable[[], Awaitable[Sequence[str]]]
    """Names the checks of `/readyz` that fail now; none: ready."""
    gather: Callable[[], Awaitable[None]]
    """Has the metrics hold what is so now, before they are shown."""
    draining: Callable[[], bool] = lambda: False
    """Whether the end has begun; asked by the thread."""


@asynccontextmanager
async def served_by_thread(program: Program, sock: socket, tick_seconds: float = TICK_SECONDS) -> AsyncIterator[None]:
    """Answer on a socket that listens, while inside, in a thread: also while the program's own loop stands still.

    Args:
        program: what is asked.
        sock: closed at the end.
        tick_seconds: between two ticks of its pulse.
    """
    thread = _Thread(program, sock, asyncio.get_running_loop(), tick_seconds)
    beating = asyncio.create_task(_beat(program.pulse), name="pulse")
    thread.start()
    try:
        yield
    finally:
        thread.end()
        await asyncio.to_thread(thread.join, _JOIN_SECONDS)
        beating.cancel()


@asynccontextmanager
async def served_here(
    program: Program,
    sock: socket,
    own: asyncio.AbstractEventLoop | None = None,
    tick_seconds: float = TICK_SECONDS,
) -> AsyncIterator[None]:
    """Answer on a socket that listens, while inside, in this event loop; *own* is the program's, where that is another.

    Then a loop that stands still answers nothing. But a crowd at this port costs as little as one at any other: between
    two threads each of its steps would wait for the other one's turn.
    """
    beating = asyncio.create_task(_beat(program.pulse)) if own is None else None
    ticking = asyncio.create_task(_tick(program.pulse, tick_seconds))
    app = _application(program, own or asyncio.get_running_loop())
    try:
        async with running(app, sock, app[CONNECTIONS], lambda: None):
            yield
    finally:
        for task in filter(None, (beating, ticking)):
            task.cancel()


async def _beat(pulse: Pulse) -> None:
    while True:
        pulse.beat()
        await asyncio.sleep(TICK_SECONDS / 2)


async def _tick(pulse: Pulse, seconds: float) -> None:
    said = list[str]()
    while True:
        await asyncio.sleep(seconds)
        pulse.tick()
        if pulse.failing() != said:
            said = pulse.failing()
            log.error("not alive", failing=said) if said else log.info("alive again")


class _Thread(threading.Thread):
    """The thread, for as long as its event loop runs."""

    def __init__(self, program: Program, sock: socket, own: asyncio.AbstractEventLoop, tick_seconds: float) -> None:
        super().__init__(name="health", daemon=True)
        self._given = program, sock, own, tick_seconds
        self._ending = threading.Event()
        self._wake: Callable[[], object] = lambda: None

    def end(self) -> None:
        """Have it end soon."""
        self._ending.set()
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._wake()

    def run(self) -> None:
        """See `Thread`."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(over.set)
        async with served_here(*self._given):
            if not self._ending.is_set():
                await over.wait()


def _application(program: Program, own: asyncio.AbstractEventLoop) -> web.Application:
    checks = _Asked(own, program.unready, _CHECKS_KEPT_SECONDS)
    gathered = _Asked(own, program.gather, _GATHERED_KEPT_SECONDS)

    async def livez(_: web.Request) -> web.Response:
        return _answer(program.pulse.failing())

    async def readyz(_: web.Request) -> web.Response:
        return _answer([DRAINING] if program.draining() else await checks.answer(["event-loop"]))

    async def shown(_: web.Request) -> web.Response:
        await gathered.answer(None)
        program.metrics.loop_silence.set(program.pulse.loop_silence)
        return web.Response(body=program.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = application(None, limits=LIMITS, is_open=lambda _: True)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", shown)])
    return app


def _answer(failing: Sequence[str]) -> web.Response:
    text = "".join(f"[-] {name}\n" for name in failing) or "ok\n"
    return web.Response(status=503 if failing else 200, text=text)


class _Asked(Generic[T]):
    """What the program's loop was asked, once for however many want to know; used by one loop alone."""

    def __init__(self, own: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[T]], kept: float) -> None:
        """*kept*: seconds from the begin of a question, that its answer is given to others."""
        self._own, self._ask, self._kept = own, ask, kept
        self._flight: asyncio.Future[T] | None = None
        self._begun = 0.0

    async def answer(self, silence: T) -> T:
        """The answer; *silence* where none comes in time."""
        now = asyncio.get_running_loop().time()
        if self._flight is None or (self._flight.done() and now - self._begun >= self._kept):
            self._flight, self._begun = self._sent(), now
        flight = self._flight
        await asyncio.wait({flight}, timeout=CHECK_SECONDS)
        if not flight.done() or flight.cancelled() or flight.exception() is not None:
            return silence
        return flight.result()

    def _sent(self) -> asyncio.Future[T]:
        async def asked() -> T:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self._ask()

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked(), self._own))
