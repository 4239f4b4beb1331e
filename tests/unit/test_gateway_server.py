"""The gateway's listeners on loopback, and clients that mean no good: real sockets, real TLS."""

import asyncio
import io
import os
import resource
import signal
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest
from cryptography import x509

from gateway.listener import QUICK, READ, answer, ask, ended, gateway, until
from openscale_byok.errors import Refused
from openscale_byok.ports.observers import KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.application import CONNECTIONS, application
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.server import serve
from openscale_byok.shell.gateway.settings import GatewaySettings


@pytest.fixture
def start(tmp_path) -> Callable[..., object]:
    return lambda limits=QUICK, metrics=None: gateway(tmp_path, limits, metrics)


# TLS ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [("TLSv1_1", "ALL:@SECLEVEL=0"), ("TLSv1_2", "ECDHE-ECDSA-AES256-SHA"), ("TLSv1_2", "ECDHE-ECDSA-AES128-SHA256")],
)
async def test_old_tls_and_old_ciphers_are_not_spoken(start, version, ciphers):
    """The same client is served once the server's context is softened: it is the context that refuses."""
    async with start() as served:
        context = served.trust()
        context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("localhost", served.ports.api, ssl=context)
        served.certificate.context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            served.certificate.context.minimum_version = ssl.TLSVersion.TLSv1_1
        reader, writer = await asyncio.open_connection("localhost", served.ports.api, ssl=context)
        assert await ask(reader, writer) == "200 OK|read"
        writer.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_what_is_in_use_is_spoken(start, version):
    """TLS 1.2 and 1.3, with a client's defaults."""
    async with start() as served:
        context = served.trust()
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        reader, writer = await asyncio.open_connection("localhost", served.ports.api, ssl=context)
        assert await ask(reader, writer) == "200 OK|read"
        writer.close()


async def test_a_client_that_renegotiates_is_not_followed(start):
    """OpenSSL's own client asks for it in TLS 1.2 (the letter R): the handshake is refused."""
    async with start() as served:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.ports.api}", "-tls1_2"]
        client = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await asyncio.wait_for(client.communicate(b"R\n"), 20)
        assert b"RENEGOTIATING" in out
        assert b"no renegotiation" in out


async def test_a_new_certificate_is_for_new_connections_and_the_old_ones_go_on(start):
    """The serial number that a client sees changes; a connection from before is still served."""
    async with start() as served:
        old = await served.connect()
        served.write(2)
        async with asyncio.timeout(10):
            while True:
                _, writer = await served.connect()
                raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                writer.close()
                if x509.load_der_x509_certificate(raw).serial_number == 2:
                    break
                await asyncio.sleep(0.01)
        assert await ask(*old) == "200 OK|read"
        old[1].close()


async def test_a_broken_certificate_changes_nothing(start):
    """What was served before is served after the files were looked at again."""
    async with start() as served:
        (served.folder / "tls.key").write_bytes(b"broken")
        before = served.certificate._seen
        await until(lambda: served.certificate._seen != before)
        assert await served.read() == "200 OK|read"


# Clients that mean no good -----------------------------------------------------------------------------


async def test_a_head_that_comes_slowly_ends_the_connection(start):
    """One byte now and then, for ever: over when the time for a head is over; a reader beside it is served."""
    async with start(replace(QUICK, head=0.5)) as served:
        reader, writer = await served.connect()

        async def drip() -> None:
            for byte in READ:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        assert await served.read() == "200 OK|read"
        assert 0.3 < await ended(reader, 10) < 2.0
        dripping.cancel()


@pytest.mark.parametrize("text", [b"\r\n\r\n", b"\r\n\r\nGET /read HTTP/1.1\r\n", b"\r\n" * 1000])
async def test_blank_lines_are_no_request(start, text):
    """Whoever sends what ends a head, and no head, is not taken for one that waits for an answer."""
    async with start(replace(QUICK, head=0.5)) as served:
        reader, writer = await served.connect()
        writer.write(text)
        assert 0.3 < await ended(reader, 10) < 2.0
        again = await served.connect()
        assert await ask(*again, b"\r\n\r\n" + READ) == "200 OK|read"
        for each in (writer, again[1]):
            each.close()


async def test_a_second_head_that_comes_slowly_does_too(start):
    """After an answer on the same connection the clock runs as for the first."""
    async with start(replace(QUICK, head=0.5)) as served:
        reader, writer = await served.connect()
        assert await ask(reader, writer) == "200 OK|read"
        writer.write(READ[:10])
        assert 0.3 < await ended(reader, 10) < 2.0


async def test_a_body_that_comes_slowly_is_answered_408(start):
    """Its time is over: the handler never saw it, and the connection ends."""
    async with start(replace(QUICK, body=0.3, linger=0.2)) as served:
        reader, writer = await served.connect()
        writer.write(b"POST /write/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123")
        assert (await answer(reader)).startswith("408 ")
        assert await ended(reader, 10) < 2.0


@pytest.mark.parametrize("how", ["with its length", "in chunks", "compressed"])
async def test_a_body_that_is_too_long_is_answered_413(start, how):
    """10 MB: said before it is read where its length is known, else at the limit; compressed ones too."""
    async with start() as served, aiohttp.ClientSession() as session:

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 1_000_000

        data = chunks() if how == "in chunks" else io.BytesIO(b"x" * 10_000_000)
        url = f"https://localhost:{served.ports.api}/write/a"
        async with session.post(
            url, data=data, ssl=served.trust(), compress="deflate" if how == "compressed" else None
        ) as found:
            assert found.status == 413
        async with session.post(url, data=b"x" * 65_536, ssl=served.trust()) as found:
            assert (found.status, await found.text()) == (200, "65536")


BOMBS = {
    "a long line": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long field": b"GET /read HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"x" * 20_000 + b"\r\n\r\n",
    "a long name": b"GET /read HTTP/1.1\r\nHost: localhost\r\n" + b"x" * 20_000 + b": a\r\n\r\n",
    "many fields": b"GET /read HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 200 + b"\r\n",
    "too much in all": b"GET /read HTTP/1.1\r\nHost: localhost\r\n"
    + (b"X-A: " + b"x" * 4_000 + b"\r\n") * 20
    + b"\r\n",
    "no HTTP": b"\x00\x01\x02" * 1_000,
    "two lengths": b"POST /write/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /write/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_a_head_that_is_too_much_is_refused_and_ends_the_connection(start, bomb, caplog):
    """400 or 431, or nothing at all; no handler sees it, and no line of the log: anybody could fill it."""
    async with start() as served:
        reader, writer = await served.connect()
        writer.write(bomb)
        async with asyncio.timeout(10):
            try:
                got = await reader.read()
            except ConnectionError:
                got = b""
        assert not got or got.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert await served.read() == "200 OK|read"
    assert not caplog.records


async def test_fields_that_never_end_are_cut_off(start):
    """Many fields of a permitted length each: over before a megabyte was taken."""
    async with start() as served:
        reader, writer = await served.connect()
        writer.write(READ[:-2])
        sent, ending = 0, asyncio.create_task(ended(reader, 30))
        while not ending.done() and sent < 5_000_000:
            writer.write(b"X-A: " + b"x" * 4_000 + b"\r\n")
            sent += 4_000
            await asyncio.sleep(0)
        await ending
        assert sent < 1_000_000
        writer.close()


async def test_a_client_that_does_not_read_its_answer_is_let_go(start):
    """An answer that stays in the way is given up when idleness is over; the handler's end does not wait for it."""
    async with start(replace(QUICK, idle=0.5)) as served:
        _, writer = await served.connect()
        writer.transport.pause_reading()
        writer.write(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: any(each.served for each in served.api[CONNECTIONS].every()))
        await until(lambda: not len(served.api[CONNECTIONS]))
        writer.transport.abort()


async def test_an_idle_connection_ends(start):
    """Before its first request and after its last, also one that never began to speak TLS."""
    async with start(replace(QUICK, idle=0.5, handshake=0.5)) as served:
        silent = await asyncio.open_connection("127.0.0.1", served.ports.api)
        fresh, used = await served.connect(), await served.connect()
        assert await ask(*used) == "200 OK|read"
        for reader, writer in (silent, fresh, used):
            await ended(reader, 5)
            writer.close()
        assert not len(served.api[CONNECTIONS])


CROWD = """
import asyncio, resource, ssl, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
trust = None if sys.argv[2] == "silent" else ssl._create_unverified_context()

async def main():
    async def idle():
        try:
            return await asyncio.open_connection("127.0.0.1", int(sys.argv[1]), ssl=trust)
        except OSError:
            return None
    found = asyncio.gather(*(idle() for _ in range(1000)))
    print("coming", flush=True)
    kept = await found
    print("there", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def many_files():
    """The listener raises how many files the process may have open; the tests after it have what they had."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("how", ["silent", "after the handshake"])
async def test_a_thousand_idle_connections_do_not_stop_reads(start, how):
    """A read beside them takes 10 seconds at most, on a connection from before or a new one, while they come and after.

    A new one waits for those of its address that came before it, and each of them has its half second.
    """
    async with start(replace(QUICK, connections=256, grace=0.5)) as served:
        before = await served.connect()
        assert await ask(*before) == "200 OK|read"
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CROWD, str(served.ports.api), how, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert await crowd.stdout.readline() == b"coming\n"
        there = asyncio.create_task(crowd.stdout.readline())
        reads = 0
        while reads < 20 or not there.done():
            async with asyncio.timeout(10):
                assert await ask(*before) == "200 OK|read"
                assert await served.read() == "200 OK|read"
            reads += 1
        assert there.result() == b"there\n"
        await until(lambda: served.api[CONNECTIONS].turned_away > 500)
        assert len(served.api[CONNECTIONS]) <= 256
        assert await ask(*before) == "200 OK|read"
        await crowd.communicate(b"")
        before[1].close()


# Health, metrics, the end ------------------------------------------------------------------------------


async def test_health_says_which_checks_fail(start):
    """`/livez` is well while the loop runs; `/readyz` names what fails, and is well when nothing does."""
    async with start() as served:
        assert await served.health("/livez") == (200, "ok\n")
        assert await served.health("/readyz") == (200, "ok\n")
        served.failing = ["list", "key-poll"]
        async with asyncio.timeout(10):  # what was found out is told to others for a moment
            while await served.health("/readyz") != (503, "[-] list\n[-] key-poll\n"):
                pass
        assert await served.health("/livez") == (200, "ok\n")
        assert (await served.health("/read"))[0] == 404


async def test_metrics_count_by_route_and_class(start):
    """A path that nobody registered is no label, nor is a name in a path; looks at keys count by their answer."""
    metrics = Metrics()
    seen = KeySeen(
        "c4n4ry", "c4n4ry", "c4n4ry", "c4n4ry", "Active", Reason.KEY_ACTIVE, "True", "", changed=False, trace="c4n4ry"
    )
    async with start(metrics=metrics) as served, aiohttp.ClientSession() as session:
        for method, path in (("GET", "read"), ("POST", "write/c4n4ry"), ("GET", "c4n4ry"), ("PROPFIND", "read")):
            async with session.request(
                method, f"https://localhost:{served.ports.api}/{path}", ssl=served.trust()
            ) as found:
                await found.read()
        metrics.key_seen(seen)
        metrics.data_keys_dropped("c4n4ry", 3)
        status, text = await served.health("/metrics")
    assert status == 200
    assert "c4n4ry" not in text.lower()
    prefix = "openscale_byok_"
    for line in (
        'gateway_requests_total{code_class="2xx",method="GET",route="/read"} 1.0',
        'gateway_requests_total{code_class="2xx",method="POST",route="/write/{name}"} 1.0',
        'gateway_requests_total{code_class="4xx",method="GET",route="none"} 1.0',
        'gateway_requests_total{code_class="4xx",method="other",route="none"} 1.0',
        'gateway_request_duration_seconds_count{route="/read"} 1.0',
        'key_looks_total{usable="True"} 1.0',
        'key_looks_total{usable="False"} 0.0',
        "data_keys_dropped_total 3.0",
    ):
        assert f"\n{prefix}{line}\n" in text, line
    assert "\nprocess_open_fds " in text


async def test_the_end_first_says_not_ready_then_finishes_what_was_begun(start):
    """While it is announced reads are still answered, without keep-alive; then a slow answer is waited for."""
    async with start(replace(QUICK, announce=0.5, drain=5)) as served:
        slow = await served.connect()
        slow[1].write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await served.working.wait()
        idle = await served.connect()
        served.stop.set()
        assert await served.health("/readyz") == (503, "[-] draining\n")
        reader, writer = await served.connect()
        assert await ask(reader, writer) == "200 OK|read"
        await ended(reader, 0.4)
        await ended(idle[0], 3)
        with pytest.raises(ConnectionError):
            await served.connect()
        served.may_end.set()
        assert await answer(slow[0]) == "200 OK|at last"


async def test_the_end_does_not_wait_for_ever(start):
    """A handler that never ends is cancelled once the time to drain is over."""
    async with start(replace(QUICK, drain=0.3)) as served:
        reader, writer = await served.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await served.working.wait()
        served.stop.set()
        await ended(reader, 3)


async def test_a_port_that_is_taken_is_refused_by_setting(start):
    """Which of the two, and why."""
    async with start() as served:
        settings = GatewaySettings(gateway_address="127.0.0.1", gateway_port=served.ports.api, gateway_health_port=0)
        with pytest.raises(Refused) as refused:
            await serve(application(Metrics()), None, served.certificate, settings, stop=asyncio.Event())
        assert "OPENSCALE_BYOK_GATEWAY_PORT: 127.0.0.1 port" in refused.value.message


PROCESS = """
import asyncio, sys
from aiohttp import web
from openscale_byok.shell.gateway.application import application
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.server import serve, stop_on_signals
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.adapters.certificate_files import FileCertificate
from openscale_byok.shell.app import SystemClock

async def main():
    with stop_on_signals() as stop:
        api = application(Metrics(), limits=Limits(announce=0.1, drain=5))
        async def slow(_):
            print("working", flush=True)
            await asyncio.sleep(1)
            return web.Response(text="at last")
        api.add_routes([web.get("/slow", slow)])
        async def health(): return []
        await serve(api, health, FileCertificate(sys.argv[1], sys.argv[2], SystemClock()),
            GatewaySettings(gateway_address="127.0.0.1", gateway_port=0, gateway_health_port=0),
            stop=stop, started=lambda ports: print(ports.api, flush=True))
        print("ended", flush=True)
asyncio.run(main())
"""


async def test_sigterm_drains(start, tmp_path):
    """A process that is told to end answers what it was asked before, and ends well."""
    async with start() as served:
        files = [str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, *files, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        out = process.stdout
        port = next(filter(None, [int(line) async for line in _digits(out)]))
        reader, writer = await asyncio.open_connection("localhost", port, ssl=served.trust())
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while await out.readline() != b"working\n":
            pass
        os.kill(process.pid, signal.SIGTERM)
        assert await answer(reader) == "200 OK|at last"
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert (await out.read()).endswith(b"ended\n")


async def _digits(out: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The first line that is a number: the log may go to the same place."""
    while line := await out.readline():
        if line.strip().isdigit():
            yield line
            return
