"""A gateway's listeners on loopback with real sockets and real TLS, and a client of them that reads by hand."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from openscale_byok.adapters.certificate_files import FileCertificate
from openscale_byok.crypto import authority
from openscale_byok.shell.gateway.application import application
from openscale_byok.shell.gateway.connections import Limits
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.gateway.server import Ports, serve
from openscale_byok.shell.gateway.settings import GatewaySettings

NAMES = ("localhost", "127.0.0.1")
QUICK = Limits(announce=0.0, drain=2.0, sweep=0.05)
READ = b"GET /read HTTP/1.1\r\nHost: localhost\r\n\r\n"
OPEN = "/open"
"""What anybody may have."""


class Clock:
    """The machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Served:
    """A gateway that runs."""

    ports: Ports
    stop: asyncio.Event
    folder: Path
    certificate: FileCertificate
    signer: authority.Authority
    api: web.Application
    failing: list[str] = field(default_factory=list)
    working: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the checks of `/readyz` come to an end."""

    def write(self, serial: int) -> None:
        """Another certificate of the same authority into the files."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.leaf(self.signer, key, serial, NAMES, datetime.now(UTC))
        (self.folder / "tls.crt").write_bytes(authority.pem(made))
        (self.folder / "tls.key").write_bytes(authority.private_pem(key))

    def trust(self) -> ssl.SSLContext:
        """What a client makes of the bundle: the defaults, strict rules too."""
        bundle = authority.Authorities(self.signer).bundle(datetime.now(UTC))
        context = ssl.create_default_context(cadata=bundle)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection with TLS, from an address of this machine."""
        return await asyncio.open_connection(
            "127.0.0.1", self.ports.api, ssl=self.trust(), server_hostname="localhost", local_addr=(address, 0)
        )

    async def read(self, address: str = "127.0.0.1") -> str:
        """One read on a connection of its own."""
        reader, writer = await self.connect(address)
        text = await ask(reader, writer)
        writer.close()
        return text

    async def health(self, path: str) -> tuple[int, str]:
        """From the plain listener."""
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{self.ports.health}{path}"
            async with session.get(url) as answer:
                return answer.status, await answer.text()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes = READ) -> str:
    """One request on a connection; the status line and the body of the answer."""
    writer.write(request)
    return await answer(reader)


async def answer(reader: asyncio.StreamReader) -> str:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
    return head.splitlines()[0].removeprefix("HTTP/1.1 ") + "|" + (await reader.readexactly(length)).decode()


async def ended(reader: asyncio.StreamReader, seconds: float) -> float:
    """Wait until the server closed the connection; the seconds that it took."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(seconds):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
    return asyncio.get_running_loop().time() - began


async def until(found: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110 -- whatever is waited for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway(folder: Path, limits: Limits = QUICK, metrics: Metrics | None = None) -> AsyncIterator[Served]:
    """A gateway with some routes, as long as the block lasts.

    Whoever sends an `Authorization` of `unknown` waits for ever to be known, and of `often` asks too often; everybody
    else is known.
    """
    signer = authority.create(ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number(), datetime.now(UTC))
    api = application(metrics or Metrics(), _known, limits=limits, is_open={OPEN}.__contains__)
    served = Served(Ports(0, 0), asyncio.Event(), folder, None, signer, api)  # type: ignore[arg-type]
    served.write(1)
    served.certificate = FileCertificate(str(folder / "tls.crt"), str(folder / "tls.key"), Clock(), seconds=0.02)

    async def read(_: web.Request) -> web.Response:
        return web.Response(text="read")

    async def write(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def slow(_: web.Request) -> web.Response:
        served.working.set()
        await served.may_end.wait()
        return web.Response(text="at last")

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 20_000_000)

    async def health() -> list[str]:
        await served.healthy.wait()
        return served.failing

    served.healthy.set()
    api.add_routes([web.get("/read", read), web.post("/write/{name}", write), web.get("/slow", slow)])
    api.add_routes([web.get("/long", long), web.get(OPEN, read), web.post(OPEN, write)])
    settings = GatewaySettings(gateway_address="127.0.0.1", gateway_port=0, gateway_health_port=0)
    started = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        serve(api, health, served.certificate, settings, stop=served.stop, started=started.set_result)
    )
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    served.ports = started.result()
    try:
        yield served
    finally:
        served.stop.set()
        await asyncio.wait_for(running, 10)


@web.middleware
async def _known(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.headers.get("Authorization") == "unknown":
        await asyncio.get_running_loop().create_future()
    if request.headers.get("Authorization") == "often":
        return web.Response(status=429, text="too often")
    return await handler(request)
