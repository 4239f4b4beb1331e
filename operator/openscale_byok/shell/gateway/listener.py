"""A listener of ours: its socket, its connections with their limits, its beginning and its end."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.admission import accept
from openscale_byok.shell.gateway.connections import Connections
from openscale_byok.shell.gateway.request_handler import RequestHandler


@asynccontextmanager
async def running(
    app: web.Application, sock: socket.socket, connections: Connections, context: Callable[[], ssl.SSLContext | None]
) -> AsyncIterator[asyncio.Task[None]]:
    """Accept connections and answer them while inside; at the end, what is being answered is waited for.

    Args:
        app: made by `application`.
        sock: listens already; closed at the end.
        connections: of the application.
        context: of TLS, asked for each connection; None: without TLS.
    """
    limits = connections.limits
    options: dict[str, Any] = {
        "access_log": None,
        "logger": _quiet(),
        "keepalive_timeout": limits.idle + 2 * limits.sweep,
        "lingering_time": limits.linger,
        "max_line_size": limits.field_bytes,
        "max_field_size": limits.field_bytes,
        "max_headers": limits.fields,
    }
    runner = web.AppRunner(app, shutdown_timeout=limits.drain)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    if server is None:
        raise RuntimeError("aiohttp set up no server")
    accepting = asyncio.create_task(
        accept(sock, connections, lambda: RequestHandler(server, loop=loop, **options), context)
    )
    sweeping = asyncio.create_task(connections.sweep())
    try:
        yield accepting
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        sock.close()
        # Idle connections are closed, requests that are being answered are waited for.
        await runner.cleanup()
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        for connection in connections.every():
            connection.end()


@contextmanager
def listen(address: str, port: int, setting: str) -> Iterator[socket.socket]:
    """A socket that listens.

    Args:
        address: of this machine.
        port: 0: any that is free.
        setting: the variable that names the port.

    Raises:
        Refused: it cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        # The backlog holds a crowd that connects at once, for the moment that it takes to accept it.
        sock = socket.create_server((address, port), family=family, backlog=1024)
    except OSError as error:
        text = f"{setting}: {address} port {port} cannot be listened on ({error.strerror})"
        raise Refused(Reason.INVALID_REQUEST, text) from None
    sock.settimeout(0)
    with sock:
        yield sock


def _quiet() -> logging.Logger:
    """aiohttp's logger without what a client did wrong: anybody could fill the log with that."""
    logger = logging.getLogger("openscale_byok.http")
    if not logger.filters:
        logger.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
    return logger
