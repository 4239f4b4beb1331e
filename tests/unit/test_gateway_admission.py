"""At which pace whoever comes is let in: real sockets on loopback, and a listener that records when."""

import asyncio
import ssl
from itertools import pairwise
from socket import create_server

import pytest

from openscale_byok.shell.gateway.admission import HANDSHAKE_SECONDS, accept
from openscale_byok.shell.gateway.connections import Connections, Limits

SOME = 60
CLOCK_RESOLUTION = 0.001


class Recording(Connections):
    """Remembers by the loop's clock when each was let in."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.admitted: list[float] = []

    def admit(self, peer, address, factory, context):
        """See `Connections`."""
        self.admitted.append(self.time())
        super().admit(peer, address, factory, context)


@pytest.fixture
def tls() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


async def pauses(context: ssl.SSLContext | None) -> list[float]:
    """Between those that come all at once."""
    connections = Recording()
    with create_server(("127.0.0.1", 0), backlog=1_024) as sock:
        sock.setblocking(False)
        writers = [(await asyncio.open_connection(*sock.getsockname()))[1] for _ in range(SOME)]
        task = asyncio.create_task(accept(sock, connections, asyncio.Protocol, lambda: context))
        async with asyncio.timeout(30):
            while len(connections.admitted) < SOME:  # noqa: ASYNC110 -- whatever is waited for
                await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for each in connections.every():
            each.end()
        for writer in writers:
            writer.close()
    return [later - earlier for earlier, later in pairwise(connections.admitted)]


async def test_handshakes_are_begun_at_a_pace(tls):
    """However many come at once, between two there is time for the requests of those who are in."""
    assert min(await pauses(tls)) > HANDSHAKE_SECONDS - CLOCK_RESOLUTION


async def test_probes_wait_for_no_pace():
    """What has no TLS costs too little for that: a crowd on the health port would have the next probe wait."""
    assert sorted(await pauses(None))[SOME // 4] < HANDSHAKE_SECONDS
