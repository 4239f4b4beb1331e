"""TLS before a server of plain HTTP: with an authority of its own, and a certificate that may become another."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_cluster.certificates import Authority


class TlsRelay:
    """Key Protect behind TLS, with a certificate that may become another."""

    def __init__(self, folder: Path, target: str) -> None:
        trusted, other = folder / "trusted", folder / "other"
        trusted.mkdir()
        other.mkdir()
        authority, self._stranger = Authority(trusted), Authority(other).server("stranger")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = authority.server("key-protect")
        self._context.load_cert_chain(pair.certificate, pair.key)
        self.authority = authority.certificate
        self._host, _, port = target.rpartition("/")[2].partition(":")
        self._port = int(port)
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._pipe, "127.0.0.1", 0, ssl=self._context)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            self._abort()
            server.close()

    def show_another(self) -> None:
        """From here on a certificate of nobody that we trust."""
        self._context.load_cert_chain(self._stranger.certificate, self._stranger.key)
        self.cut()

    def cut(self) -> None:
        """End every connection; from any thread."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back))
                group.create_task(_copy(there, writer))
        except* OSError:
            pass
        finally:
            self._open -= {writer, back}
            for each in (writer, back):
                each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.transport.abort()
