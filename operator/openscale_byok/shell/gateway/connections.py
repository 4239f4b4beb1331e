"""The connections of a listener, and the limits that hold against clients that do nothing, or do it slowly.

aiohttp bounds single lines and fields, and the body that a handler reads. What it leaves open is closed here:

- how many connections there are. Where there is no room, one is given up: a stranger's, while they hold more than a
  quarter; else the one that has been idle for longest. Of the strangers it is the oldest of the address that holds the
  most, whatever it asked for meanwhile. None goes before it had half a second, unless its address holds more than the
  one that comes. Until there is room, who comes waits (see `admission`). So a crowd that connects and waits, or asks
  for what it may not have, pushes itself out, and whoever asks at once is served.
- who is a stranger: whoever was granted nothing yet. What anybody may have is no grant. A request keeps its place only
  once its caller is known and its body is here.
- how long a handshake, a request's head, idleness and a request may take: one look over all of them every second.
- how many bytes a head may have in all.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from socket import socket

from aiohttp import web

_STRANGERS = 0.25
"""The share of the room that idle connections make for strangers: so those come in also where all others are known."""
_HEAD_ENDS = b"\r\n\r\n"
_HEAD_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener grants; times in seconds."""

    connections: int = 512
    """At once. One costs about 0.3 MiB, most of it TLS's."""
    waiting: int = 1024
    """That were accepted and wait for room. One costs an open file and no more."""
    handshake: float = 10.0
    head: float = 10.0
    """From a request's first byte to the end of its head."""
    body: float = 10.0
    """From the head's end to the body's. It is read before a handler is asked."""
    idle: float = 75.0
    """Between two requests, and before the first one."""
    grace: float = 0.5
    """That every connection has, before it may be closed to make room for another one of its address."""
    request: float = 330.0
    """To each step from the head's end to the answer; longer than any `Prefer: wait`."""
    too_often: float = 1.0
    """That the answer to whoever asks too often (429) is held back, up to twice as long: who asks again at once
    would cost as much as before. It is what `Retry-After` says at least."""
    head_bytes: int = 32 * 1024
    """Of one request's head."""
    field_bytes: int = 8 * 1024
    """Of the request line, of one field's name, of one field's value."""
    fields: int = 64
    body_bytes: int = 64 * 1024
    linger: float = 2.0
    """For the rest of a body that nobody reads."""
    sweep: float = 1.0
    """Between two looks over all connections."""
    announce: float = 5.0
    """At the end: from `/readyz` failing to the listener's end, so that nobody is sent here any more."""
    drain: float = 10.0
    """At the end: for the requests that are being answered, and once more for those that are then cancelled."""


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "handshake"
    IDLE = "idle"
    HEAD = "head"
    ASKING = "asking"
    """A head is here. Who asks is not known yet, or the body is still on its way; or anybody may have it."""
    REQUEST = "request"
    """Its caller is known, its body is here: it is being answered."""
    LINGER = "linger"
    """Its last request is answered and had more to send: that is thrown away for a moment, so that a client which
    reads only after it wrote still sees the answer."""


def overdue(phase: Phase, seconds: float, limits: Limits) -> bool:
    """Whether a connection has been in its phase for too long."""
    allowed = {
        Phase.HANDSHAKE: limits.handshake,
        Phase.IDLE: limits.idle,
        Phase.HEAD: limits.head,
        Phase.ASKING: limits.request,  # its parts have less, and their end is answered
        Phase.REQUEST: limits.request,
        Phase.LINGER: limits.linger,
    }
    return seconds >= allowed[phase]


class Connection(asyncio.Protocol):
    """One connection: watches what passes between the transport and aiohttp's handler of it."""

    def __init__(self, connections: "Connections", handler: asyncio.Protocol, address: str, now: float) -> None:
        self._connections = connections
        self.address, self.born = address, now
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self.phase, self.since = Phase.HANDSHAKE, now
        self.served = False
        """Whether anything that not anybody may have was ever granted to it."""
        self.task: asyncio.Task[object] | None = None
        """Its handshake, while that lasts."""
        self._bytes, self._tail, self._whole = 0, b"", False
        """Of the head so far: how many bytes without the tail; the last few; whether its end came."""

    @property
    def stranger(self) -> bool:
        """Whether it may be anybody's: nothing was granted to it, nor is it known that something may be."""
        return not self.served and self.phase is not Phase.REQUEST

    def enter(self, phase: Phase) -> None:
        """Begin to do something else."""
        self.phase, self.since = phase, self._connections.time()
        self._bytes, self._tail, self._whole = 0, b"", False

    def end(self) -> None:
        """Close it at once, whatever it is doing. A peer that does not read keeps nothing waiting."""
        self._connections.forget(self)
        if self.task is not None:
            self.task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        self._transport = transport  # type: ignore[assignment] # asyncio hands a Transport to a Protocol
        self.enter(Phase.IDLE)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """The peer sent something."""
        if self.phase is Phase.IDLE:
            self.enter(Phase.HEAD)
        if self.phase is Phase.HEAD and not self._take_head(data):
            return
        self._handler.data_received(data)

    def _take_head(self, data: bytes) -> bool:
        """Look for the head's end; False where it is too long, and the connection over.

        The connection is not at work yet: that says the request itself, once aiohttp hands it on. What only looks like
        a head may never get there.
        """
        if self._whole:
            return True
        seen = self._tail + data
        if not self._bytes:
            seen = seen.lstrip(b"\r\n")  # blank lines before a head are skipped by aiohttp, too
        end = seen.find(_HEAD_ENDS)
        length = self._bytes + (len(seen) if end < 0 else end)
        if length > self._connections.limits.head_bytes:
            self._tail = b""
            if self._transport is not None:
                self._transport.write(_HEAD_TOO_LONG)
                self._transport.close()
            return False
        self._whole = end >= 0
        self._tail = seen[-len(_HEAD_ENDS) + 1 :]
        self._bytes = length - len(self._tail)
        return True

    def eof_received(self) -> bool | None:
        """The peer sends no more."""
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._connections.forget(self)
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._handler.resume_writing()


class Connections:
    """Every connection of one listener."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.most = limits.connections
        """How many there may be: fewer than the limit, where the process may have fewer files open."""
        self.most_waiting = limits.waiting
        """How many may wait for room: fewer than the limit, as above."""
        self.turned_away = 0
        """How many were closed to make room."""
        self._all: dict[Connection, None] = {}
        self._of_handler: dict[object, Connection] = {}

    def __len__(self) -> int:
        return len(self._all)

    def time(self) -> float:
        """The loop's clock, in seconds."""
        return asyncio.get_running_loop().time()

    def of(self, request: web.BaseRequest) -> Connection | None:
        """The connection that a request came by; None where it is over."""
        return self._of_handler.get(request.protocol)

    def every(self) -> list[Connection]:
        """All of them, as they are now."""
        return list(self._all)

    def busy(self) -> int:
        """How many requests are being answered."""
        return sum(each.phase in (Phase.ASKING, Phase.REQUEST) for each in self._all)

    def strangers(self) -> Counter[str]:
        """How many strangers' connections there are from each address."""
        return Counter(each.address for each in self._all if each.stranger)

    def make_room(self, address: str) -> bool:
        """Whether one more may come in from an address; where there is no room, some is made if that is fair."""
        if len(self._all) < self.most:
            return True
        found = self._dispensable(address)
        if found is None:
            return False
        self.turned_away += 1
        found.end()
        return True

    def _dispensable(self, address: str) -> Connection | None:
        """The connection that another one from an address takes the place of; None where none may be closed yet."""
        had_its_time, held = self.time() - self.limits.grace, self.strangers()
        if held.total() < self.most * _STRANGERS:
            idle = (each for each in self._all if each.served and each.phase is not Phase.REQUEST)
            longest = min(idle, key=lambda each: each.since, default=None)
            if longest is not None and longest.since <= had_its_time:
                return longest
        if not held:
            return None
        crowd = max(held, key=held.__getitem__)
        oldest = next(each for each in self._all if each.stranger and each.address == crowd)
        return oldest if held[crowd] > held[address] + 1 or oldest.born <= had_its_time else None

    def admit(
        self, peer: socket, address: str, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None
    ) -> None:
        """Let a connection in."""
        handler = factory()
        connection = Connection(self, handler, address, self.time())
        self._all[connection] = None
        self._of_handler[handler] = connection
        limit = {} if context is None else {"ssl_handshake_timeout": self.limits.handshake, "ssl_shutdown_timeout": 1.0}
        loop = asyncio.get_running_loop()
        beginning = loop.connect_accepted_socket(lambda: connection, peer, ssl=context, **limit)
        connection.task = task = asyncio.create_task(beginning)

        def begun(_: object) -> None:
            connection.task = None
            # A peer that speaks no TLS, or not ours, or went away, or had to make room.
            if task.cancelled() or task.exception() is not None:
                self.forget(connection)
                peer.close()

        task.add_done_callback(begun)

    def forget(self, connection: Connection) -> None:
        """It is over."""
        self._all.pop(connection, None)
        self._of_handler.pop(connection._handler, None)  # noqa: SLF001 -- of this module

    async def sweep(self) -> None:
        """Close what is overdue, every second, until cancelled."""
        while True:
            await asyncio.sleep(self.limits.sweep)
            now = self.time()
            for each in self.every():
                if overdue(each.phase, now - each.since, self.limits):
                    each.end()
