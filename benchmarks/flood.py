"""The other side of `abuse.py`: so many connections that mean no good, for so long, to this machine and no other.

A process of its own, and a polite one: it gives way to what it attacks, as somebody on another machine would. Reads one
`Flood` as JSON from standard input; prints a line once all have tried to connect, and what came of it at the end.
"""

import asyncio
import contextlib
import json
import os
import resource
import secrets
import ssl
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

HOST = "127.0.0.1"
MOST_CONNECTIONS, MOST_SECONDS = 1_500, 60.0
RANDOM = "{random}"
"""In a request: something else each time."""
AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Flood:
    """What to do."""

    port: int
    connections: int
    seconds: float
    requests: Sequence[str] = ("",)
    """Each connection sends one of these."""
    tls: bool = True
    again: bool = False
    """Whether an answered connection asks again; else it waits for its end."""
    address: str = "127.0.0.2"
    """That the connections come from."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    connections: int = 0
    """That came about, those that came again included."""
    refused: int = 0
    """That did not."""
    statuses: dict[str, int] = field(default_factory=dict)


class _Crowd:
    """All connections of a flood."""

    def __init__(self, order: Flood) -> None:
        self.outcome, self.statuses, self.tried = Outcome(), Counter[str](), asyncio.Semaphore(0)
        self._order = order
        self._context = ssl.create_default_context() if order.tls else None
        if self._context is not None:
            self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    async def stay(self, number: int) -> None:
        """One connection, that comes again when it is over."""
        order = self._order
        text = order.requests[number % len(order.requests)]
        while True:
            try:
                streams = await asyncio.open_connection(
                    HOST, order.port, ssl=self._context, local_addr=(order.address, 0)
                )
            except OSError:
                self.outcome.refused += 1
            else:
                self.outcome.connections += 1
                with contextlib.suppress(OSError):
                    await self._ask(*streams, text)
                streams[1].transport.abort()
            finally:
                self.tried.release()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> None:
        answered = b"."
        while answered:
            writer.write(text.replace(RANDOM, secrets.token_urlsafe(24)).encode())
            self.tried.release()
            answered = await reader.read(65_536)
            if answered.startswith(b"HTTP/"):
                self.statuses[answered[9:12].decode()] += 1
            while answered and not self._order.again:
                answered = await reader.read(65_536)


async def flood(order: Flood) -> Outcome:
    """Do it."""
    crowd = _Crowd(order)
    tasks = [asyncio.create_task(crowd.stay(number)) for number in range(order.connections)]
    for _ in range(min(order.connections, 100)):
        await crowd.tried.acquire()
    print("under way", flush=True)
    await asyncio.sleep(order.seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    crowd.outcome.statuses = dict(crowd.statuses)
    return crowd.outcome


def main() -> None:
    """Read, do, print."""
    order = Flood(**json.loads(sys.stdin.readline()))
    if order.connections > MOST_CONNECTIONS or order.seconds > MOST_SECONDS:
        raise SystemExit("that is more than this is for")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * MOST_CONNECTIONS), hard))
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(json.dumps(asdict(asyncio.run(flood(order)))), flush=True)


if __name__ == "__main__":
    main()
