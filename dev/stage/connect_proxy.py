"""An HTTP proxy on loopback, for what speaks TLS through it: CONNECT alone, over real sockets.

It remembers who was asked for, and by which credentials, and can be told to answer something else. Names are looked up
in its own table only: it leads nowhere but to this machine.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stage.loop_thread import entered

_BYTES = 65_536
Address = tuple[str, int]


@dataclass
class ConnectProxy:
    """A proxy that can be told what to do."""

    hosts: Mapping[str, Address] = field(default_factory=dict)
    """What it knows besides addresses of this machine: ``name:port``, and where that is."""
    credentials: tuple[str, str] | None = None
    """User name and password that it asks for."""
    status: int = 200
    """What it answers to a CONNECT. Other than 200: with a page, and no way through."""
    page: bytes = b'{"resources": [{"errorMsg": "marker-of-a-proxy"}]}'
    silent: bool = False
    """It takes a connection, and says nothing."""
    asked: list[str] = field(default_factory=list)
    """``host:port`` of each CONNECT that it let through or refused."""
    requests: list[str] = field(default_factory=list)
    """The first line of everything else."""
    url: str = ""
    _tunnels: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    def cut(self) -> None:
        """End every tunnel, from another thread than the proxy's. What was told to it before holds for those that are
        just being made."""

        async def end() -> None:
            for writer in self._tunnels:
                writer.transport.abort()

        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(end(), self._loop).result()

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None) -> AsyncIterator["ConnectProxy"]:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0, ssl=context)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        if method != "CONNECT":
            self.requests.append(lines[0])
            writer.write(self._refusal(405))
            return await writer.drain()
        target = rest.partition(" ")[0]
        self.asked.append(target)
        if self.silent:
            await reader.read()
            return None
        status, there = self.status if self._knows(lines) else 407, self._where(target)
        if status != 200 or there is None:
            writer.write(self._refusal(status if status != 200 else 502))
            await writer.drain()
            await reader.read()
            return None
        from_server, to_server = await asyncio.open_connection(*there)
        if self.status != 200 or self.silent:  # told so meanwhile
            to_server.transport.abort()
            return None
        self._tunnels |= {writer, to_server}
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer), return_exceptions=True)
        self._tunnels -= {writer, to_server}
        return None

    def _knows(self, lines: list[str]) -> bool:
        if self.credentials is None:
            return True
        wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
        given = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")]
        return given == [f"Basic {wanted}"]

    def _where(self, target: str) -> Address | None:
        host, _, port = target.rpartition(":")
        return self.hosts.get(target) or ((host, int(port)) if host == "127.0.0.1" else None)

    def _refusal(self, status: int) -> bytes:
        more = "Location: https://127.0.0.1:1/\r\n" if 300 <= status < 400 else ""
        more += 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status == 407 else ""
        head = (
            f"HTTP/1.1 {status} No\r\n{more}Content-Type: application/json\r\nContent-Length: {len(self.page)}\r\n\r\n"
        )
        return head.encode() + self.page


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_BYTES):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.transport.abort()


@contextmanager
def connect_proxy(
    hosts: Mapping[str, Address] | None = None,
    credentials: tuple[str, str] | None = None,
    *,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[ConnectProxy]:
    """A proxy, for as long as the block lasts; spoken to over TLS where it has a certificate and its key."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with entered(ConnectProxy(hosts or {}, credentials).serving(context)) as found:
        yield found
