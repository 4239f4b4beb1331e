"""Who comes to a listener, and when they are let in.

Whoever comes is accepted at once: in the kernel's queue a crowd would stand before everybody else. Here each address
(of IPv6: each network) has a queue of its own, and next is whose address holds the fewest strangers' connections. So a
crowd from one address makes itself wait, and nobody from another one. Whoever shares its address waits in turn.

Handshakes are begun at a pace: a thousand at once would have everybody's requests wait for a second.
"""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable
from socket import socket

from openscale_byok.core.network import network_of
from openscale_byok.engine.context import log
from openscale_byok.shell.gateway.connections import Connections

_AT_ONCE = 32
"""Accepted without a pause. One costs some 30 microseconds; those that are in wait so long."""
HANDSHAKE_SECONDS = 0.0025
"""From the beginning of one handshake to the next one's, which costs one or two milliseconds: half of the processor is
left for requests."""
_AGAIN_SECONDS = 0.02
"""Between two looks for room, where that comes by time alone."""


class Waiting:
    """Connections that were accepted and have no room yet: a queue for each address."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: dict[str, deque[socket]] = {}
        self._length = 0
        self._some = asyncio.Event()

    def put(self, peer: socket, address: str) -> bool:
        """Take one in; whether there was room. Where there are too many, the last of the longest queue goes."""
        queue = self._queues.setdefault(address, deque())
        queue.append(peer)
        self._length += 1
        self._some.set()
        if self._length <= self._most:
            return True
        crowd = max(self._queues, key=lambda each: len(self._queues[each]))
        self._take(crowd, last=True).close()
        return False

    async def some(self) -> None:
        """Wait until somebody waits."""
        await self._some.wait()

    def addresses(self) -> tuple[str, ...]:
        """Whose connections wait; whose turn was longest ago comes first."""
        return tuple(self._queues)

    def take(self, address: str) -> socket:
        """The connection of an address that came first."""
        return self._take(address, last=False)

    def close(self) -> None:
        """Let all of them go."""
        for queue in self._queues.values():
            for peer in queue:
                peer.close()
        self._queues.clear()
        self._length = 0

    def _take(self, address: str, *, last: bool) -> socket:
        queue = self._queues.pop(address)
        peer = queue.pop() if last else queue.popleft()
        if queue:
            self._queues[address] = queue  # behind the others now
        self._length -= 1
        if not self._length:
            self._some.clear()
        return peer


async def accept(
    sock: socket,
    connections: Connections,
    factory: Callable[[], asyncio.Protocol],
    context: Callable[[], ssl.SSLContext | None],
) -> None:
    """Accept and let in, until cancelled."""
    waiting = Waiting(connections.most_waiting)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_accept(sock, waiting, connections))
            group.create_task(_let_in(waiting, connections, factory, context))
    finally:
        waiting.close()


async def _let_in(
    waiting: Waiting,
    connections: Connections,
    factory: Callable[[], asyncio.Protocol],
    context: Callable[[], ssl.SSLContext | None],
) -> None:
    while True:
        await waiting.some()
        address = _next(waiting, connections)
        if not connections.make_room(address):
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        tls = context()
        connections.admit(waiting.take(address), address, factory, tls)
        # Who waits would be let in without a pause otherwise: those that are in would never be served.
        await asyncio.sleep(HANDSHAKE_SECONDS if tls is not None else 0)


def _next(waiting: Waiting, connections: Connections) -> str:
    addresses = waiting.addresses()
    if len(addresses) == 1:
        return addresses[0]
    held: Counter[str] = connections.strangers()
    return min(addresses, key=held.__getitem__)


async def _accept(sock: socket, waiting: Waiting, connections: Connections) -> None:
    loop, number = asyncio.get_running_loop(), 0
    while True:
        try:
            peer, name = await loop.sock_accept(sock)
        except OSError as error:
            log.error("no connection can be accepted", error=type(error).__name__)
            await asyncio.sleep(0.1)
            continue
        if not waiting.put(peer, network_of(str(name[0]))):
            connections.turned_away += 1
        number += 1
        if not number % _AT_ONCE:
            await asyncio.sleep(0)
