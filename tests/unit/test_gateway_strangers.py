"""The gateway's listeners among strangers: real sockets, real TLS, more of them than there is room for.

Times to be closed at are far away in most of these: whoever is served was let in, and did not just outlast somebody.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.listener import OPEN, QUICK, answer, ask, ended, gateway, until
from openscale_byok.engine.pace import Waits
from openscale_byok.shell.gateway.application import CONNECTIONS
from openscale_byok.shell.gateway.connections import Phase

FEW = replace(QUICK, connections=16, waiting=64, grace=0.5, body=60.0)
"""So few that a crowd is cheap."""
NOT_EVEN_IN_TIME = replace(FEW, grace=60.0)
CROWD, ELSEWHERE = "127.0.0.2", "127.0.0.1"
UNSENT = "Content-Length: 10\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def start(tmp_path) -> Callable[..., object]:
    return lambda limits=FEW: gateway(tmp_path, limits)


@asynccontextmanager
async def crowd(
    number: int, come: Callable[[], Awaitable[Streams]], sent: bytes, *, again_seconds: float = 0.0
) -> AsyncIterator[list[Streams]]:
    """So many connections that each send something, and come again, after a moment, when they are closed.

    Crowd and gateway share a process here: a crowd without that moment takes all of it for itself.
    """
    here: list[Streams] = []

    async def stay() -> None:
        while True:
            try:
                reader, writer = streams = await come()
            except OSError:
                continue
            here.append(streams)
            try:
                writer.write(sent)
                while await reader.read(65_536):
                    pass
            except OSError:
                pass
            finally:
                here.remove(streams)
                writer.close()
            await asyncio.sleep(again_seconds)

    tasks = [asyncio.create_task(stay()) for _ in range(number)]
    try:
        yield here
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


FLOODS = {
    "of an open route, without its body": f"POST {OPEN} HTTP/1.1\r\nHost: localhost\r\n{UNSENT}",
    "of an open route": f"GET {OPEN} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "whose caller is not known yet": "GET /read HTTP/1.1\r\nHost: localhost\r\nAuthorization: unknown\r\n\r\n",
    "whose body never comes": f"POST /write/a HTTP/1.1\r\nHost: localhost\r\n{UNSENT}123",
    "whose head never ends": "GET /read HTTP/1.1\r\nHost: localhost\r\n",
    "that is none": "",
}


@pytest.mark.parametrize("sent", FLOODS.values(), ids=FLOODS)
async def test_requests_that_hold_no_place(start, sent):
    """A request whose caller is not known, or whose body is not here, makes room for others from the same address;
    whoever was served before stays."""
    async with start() as served:
        before = await served.connect()
        assert await ask(*before) == "200 OK|read"
        async with crowd(3 * FEW.connections, served.connect, sent.encode()):
            await until(lambda: served.api[CONNECTIONS].turned_away > FEW.connections)
            for _ in range(5):
                async with asyncio.timeout(10):
                    assert await served.read() == "200 OK|read"
                    assert await ask(*before) == "200 OK|read"
        before[1].close()


@pytest.mark.parametrize("sent", FLOODS.values(), ids=FLOODS)
async def test_a_crowd_keeps_nobody_from_elsewhere_waiting(start, sent):
    """More than there is room for, and more than may wait: who comes from another address takes the place of one of
    them, at once."""
    number = FEW.connections + FEW.waiting + 20
    async with start(NOT_EVEN_IN_TIME) as served, crowd(number, lambda: served.connect(CROWD), sent.encode()):
        await until(lambda: served.api[CONNECTIONS].turned_away > 10)
        for _ in range(5):
            async with asyncio.timeout(10):
                assert await served.read(ELSEWHERE) == "200 OK|read"


async def test_what_anybody_may_have_makes_nobody_known(start):
    """Whoever asks again and again for what is open stays a stranger: the next one from there takes that place."""
    async with start() as served:

        async def busy() -> None:
            reader, writer = await served.connect()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
                while True:
                    await ask(reader, writer, FLOODS["of an open route"].encode())

        asking = [asyncio.create_task(busy()) for _ in range(FEW.connections)]
        await until(lambda: len(served.api[CONNECTIONS]) == FEW.connections)
        known = await served.connect()
        assert await ask(*known) == "200 OK|read"
        assert sum(not each.stranger for each in served.api[CONNECTIONS].every()) == 1
        known[1].close()
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_who_is_known_goes_after_every_stranger(start):
    """A body that is on its way by a connection that was served before outlasts a crowd from the same address."""
    async with start() as served:
        reader, writer = await served.connect()
        assert await ask(reader, writer) == "200 OK|read"
        writer.write(f"POST /write/a HTTP/1.1\r\nHost: localhost\r\n{UNSENT}12345".encode())
        await until(lambda: any(each.phase is Phase.ASKING for each in served.api[CONNECTIONS].every()))
        async with crowd(3 * FEW.connections, served.connect, FLOODS["of an open route"].encode()):
            await until(lambda: served.api[CONNECTIONS].turned_away > FEW.connections)
            writer.write(b"67890")
            assert await answer(reader) == "200 OK|10"
        writer.close()


async def test_strangers_come_in_where_all_others_are_known(start):
    """A room full of idle connections that were served makes a quarter of itself free, one after the other; no more."""
    async with start() as served:
        idle = [await served.connect() for _ in range(FEW.connections)]
        for each in idle:
            assert await ask(*each) == "200 OK|read"
        async with crowd(3 * FEW.connections, served.connect, FLOODS["that is none"].encode()):
            await until(lambda: served.api[CONNECTIONS].turned_away > FEW.connections)
            assert await served.read() == "200 OK|read"
            # One more may have gone for whoever was served just now, and is no stranger any more.
            assert sum(each.served for each in served.api[CONNECTIONS].every()) >= FEW.connections * 0.75 - 1
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize("fields", [UNSENT, "Transfer-Encoding: chunked\r\n\r\n"], ids=["with its length", "in chunks"])
async def test_what_is_open_takes_no_body(start, fields):
    """Said before it is read, also where its length is not told; on the other port too."""
    async with start() as served:
        plain = await asyncio.open_connection("127.0.0.1", served.ports.health)
        for (reader, writer), path in ((await served.connect(), OPEN), (plain, "/livez")):
            writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}".encode())
            assert (await answer(reader)).startswith("413 ")
            await ended(reader, 10)
            writer.close()


async def test_an_answer_that_does_not_come_has_an_end(start):
    """A handler that waits for ever holds its connection no longer than the limit of a request."""
    async with start(replace(QUICK, request=0.5)) as served:
        reader, writer = await served.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await served.working.wait()
        await ended(reader, 10)
        assert not len(served.api[CONNECTIONS])
        served.may_end.set()


async def test_who_asks_too_often_is_answered_later(start):
    """A refusal is held back, so that who asks again at once costs less than who is served; it keeps no place."""
    often = b"GET /read HTTP/1.1\r\nHost: localhost\r\nAuthorization: often\r\n\r\n"
    async with start(replace(FEW, too_often=60.0)) as served:
        async with crowd(3 * FEW.connections, served.connect, often):
            await until(lambda: served.api[CONNECTIONS].turned_away > FEW.connections)
            async with asyncio.timeout(10):
                assert await served.read() == "200 OK|read"
            held = [each for each in served.api[CONNECTIONS].every() if each.phase is Phase.ASKING]
            assert all(each.stranger for each in held)
        reader, writer = await served.connect()
        writer.write(often)
        await until(lambda: any(each.phase is Phase.ASKING for each in served.api[CONNECTIONS].every()))
        assert await served.read() == "200 OK|read"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read(1)
        writer.close()
    async with start(replace(FEW, too_often=0.05)) as served:
        reader, writer = await served.connect()
        assert await ask(reader, writer, often) == "429 Too Many Requests|too often"
        writer.close()


# The health port ---------------------------------------------------------------------------------------

PROBES = {
    "that send nothing": "",
    "that ask whether it is ready": "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "whose body never comes": f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{UNSENT}",
    "that ask for what is not there": f"POST /nothing HTTP/1.1\r\nHost: localhost\r\n{UNSENT}",
}


@pytest.mark.parametrize(("address", "seconds"), [(CROWD, 1), (ELSEWHERE, 5)])
@pytest.mark.parametrize("sent", PROBES.values(), ids=PROBES)
async def test_a_probe_is_answered_among_plain_connections(start, sent, address, seconds):
    """400 connections to the health port, and checks that come to no end: a probe from another address has its answer
    within the second that Kubernetes grants by default; from theirs, within the five that the chart grants."""
    async with start() as served:
        served.healthy.clear()
        where = ("127.0.0.1", served.ports.health)
        plain = asyncio.open_connection
        come = lambda: plain(*where, local_addr=(address, 0))  # noqa: E731
        async with crowd(400, come, sent.encode(), again_seconds=0.25) as here:
            await until(lambda: len(here) > 300)
            for _ in range(10):
                async with asyncio.timeout(seconds):
                    assert await served.health("/livez") == (200, "ok\n")
        served.healthy.set()
        assert await served.health("/readyz") == (200, "ok\n")


# What is said to them ----------------------------------------------------------------------------------

CANARY = "c4n4ry"
ECHOES = {
    "a field": f"GET /read HTTP/1.1\r\nHost: localhost\r\n{CANARY} : {CANARY}\r\n\r\n",
    "a value": f"GET /read HTTP/1.1\r\nHost: localhost\r\nX: {CANARY}\x00\r\n\r\n",
    "a long value": f"GET /read HTTP/1.1\r\nHost: localhost\r\nAuthorization: {CANARY * 2_000}\r\n\r\n",
    "a path": f"GET /{CANARY}\x7f\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another path": f"GET /{CANARY} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method": f"{CANARY}@ /read HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "another method": f"{CANARY.upper()} /read HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a version": f"GET /read HTTP/{CANARY}\r\nHost: localhost\r\n\r\n",
    "a length": f"POST /write/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {CANARY}\r\n\r\n",
    "a chunk": f"POST /write/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n",
    "an encoding": f"POST /write/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
    "an expectation": f"GET /read HTTP/1.1\r\nHost: localhost\r\nExpect: {CANARY}\r\n\r\n",
    "no HTTP": f"{CANARY}\r\n\r\n",
}


@pytest.mark.parametrize("port", ["api", "health"])
@pytest.mark.parametrize("sent", ECHOES.values(), ids=ECHOES)
async def test_no_error_repeats_what_was_sent(start, sent, port):
    """Whatever cannot be read or is not expected is answered in the gateway's own shape, or with no body."""
    async with start() as served:
        plain = asyncio.open_connection("127.0.0.1", served.ports.health)
        reader, writer = await (served.connect() if port == "api" else plain)
        plain.close()
        writer.write(sent.encode())
        try:
            async with asyncio.timeout(20):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = next(line for line in head.splitlines() if line.startswith("content-length:"))
                body = (await reader.readexactly(int(length.split(":")[1]))).decode()
        finally:
            writer.close()
        assert head.split()[1] in {"400", "404", "405", "417", "431"}
        assert CANARY not in head + body.lower()
        assert not body or body.startswith('{"trace": "')


# Who waits ---------------------------------------------------------------------------------------------


def test_waits_have_an_end_in_number():
    """So many of one caller and so many in all; a place that was left is taken again."""
    waits = Waits(3, 2)
    with waits.place("a") as first, waits.place("a") as second, waits.place("a") as third:
        assert (first, second, third) == (True, True, False)
        with waits.place("b") as other, waits.place("c") as last:
            assert (other, last) == (True, False)
    with waits.place("a") as again:
        assert again
    with Waits(0, 4).place("a") as never:
        assert not never
