"""Names of hosts, looked up in a thread for each host: one that hangs holds nobody else's.

The event loop's own lookups share a pool of a few threads. A tenant may name endpoints, and a name server that does not
answer holds a thread for half a minute: some such names, and nobody's root key would be looked at any more.
"""

import asyncio
import contextlib
import socket
from threading import Thread
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

MOST = 256
"""Lookups under way. A session asks once for each host, however many wait for it; so that many hosts hang."""


class HostResolver(AbstractResolver):
    """For a session that calls hosts which tenants name."""

    def __init__(self) -> None:
        self._under_way = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: there are none, or too many hosts hang.
        """
        if self._under_way >= MOST:
            raise OSError(None, "too many lookups of names are under way")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()
        self._under_way += 1
        Thread(target=self._look_up, args=(loop, found, host, port, family), name="look up", daemon=True).start()
        return [_result(host, *address) for address in await found]

    async def close(self) -> None:
        """Nothing is held: a thread ends with its answer, or with the process."""

    def _look_up(
        self, loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[Any]]", host: str, port: int, family: int
    ) -> None:
        try:
            answer: list[Any] | OSError = socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except (OSError, UnicodeError) as error:
            answer = error if isinstance(error, OSError) else OSError(None, "no name of a host")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._ended, found, answer)

    def _ended(self, found: "asyncio.Future[list[Any]]", answer: list[Any] | OSError) -> None:
        self._under_way -= 1
        if found.done():
            return
        if isinstance(answer, OSError):
            found.set_exception(answer)
        else:
            found.set_result(answer)


def _result(host: str, family: int, _type: int, protocol: int, _name: str, address: tuple[Any, ...]) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=str(address[0]), port=int(address[1]), family=family, proto=protocol, flags=flags
    )
