"""The load of a benchmark: so many connections over TLS, each asking again as soon as it was answered.

A process of its own, and cheap, so that it is not what is measured: no event loop, just OpenSSL and one `select`.
Reads one `Order` as JSON from standard input, prints one `Load` as JSON. It asks this machine and no other.
"""

import json
import re
import selectors
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0
MOST_SAMPLES = 200_000
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask, and for how long."""

    port: int
    ca: str
    """PEM certificates to trust."""
    requests: Sequence[str]
    """Whole requests without a body; each connection sends them in turn, and begins elsewhere than the others."""
    connections: int = 16
    seconds: float = 5.0
    most: int = 100_000
    """It ends after so many answers, however soon."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it."""

    answers: int
    seconds: float
    processor_seconds: float
    """That this process took: close to `seconds`, and it is itself what was measured."""
    p50: float
    p99: float
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class _Connection:
    """One request at a time."""

    def __init__(self, sock: ssl.SSLSocket, begin: int) -> None:
        self.sock, self.next = sock, begin
        self._sent, self._got = 0.0, b""

    def ask(self, request: bytes) -> None:
        """A request is far smaller than the socket's buffer: it is taken whole."""
        self._sent = time.perf_counter()
        if self.sock.send(request) != len(request):
            raise RuntimeError("a request was taken in part")

    def answer(self) -> tuple[str, float] | None:
        """The status and how long it took, once the answer is whole."""
        try:
            part = self.sock.recv(65_536)
        except ssl.SSLWantReadError:
            return None
        if not part:
            raise RuntimeError("the server closed a connection")
        self._got = self._got + part if self._got else part
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return None
        status = self._got[9:12].decode()
        length = _LENGTH.search(self._got, 0, end + 2)
        body = int(length[1]) if length is not None and status != "304" else 0
        if len(self._got) < end + 4 + body:
            return self.answer()  # OpenSSL may hold the rest already: then nothing would wake us
        self._got = b""
        return status, time.perf_counter() - self._sent


def load(order: Order) -> Load:
    """Ask until the time, or the number of answers, is over.

    Raises:
        OSError: the server does not answer.
    """
    context = ssl.create_default_context(cadata=order.ca)
    requests = [text.encode() for text in order.requests]
    with ExitStack() as stack:
        watched = stack.enter_context(selectors.DefaultSelector())
        for number in range(order.connections):
            plain = create_connection((HOST, order.port), TIMEOUT_SECONDS)
            plain.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            sock = stack.enter_context(context.wrap_socket(plain, server_hostname=HOST))
            sock.settimeout(0)
            begin = number * len(requests) // order.connections
            watched.register(sock, selectors.EVENT_READ, _Connection(sock, begin))
        return _ask(watched, requests, order)


def _ask(watched: selectors.BaseSelector, requests: Sequence[bytes], order: Order) -> Load:
    samples: list[float] = []
    statuses: Counter[str] = Counter()
    began, processor = time.perf_counter(), time.process_time()
    until = began + order.seconds
    for key in watched.get_map().values():
        key.data.ask(requests[key.data.next])
    while len(samples) < min(order.most, MOST_SAMPLES) and time.perf_counter() < until:
        ready = watched.select(TIMEOUT_SECONDS)
        if not ready:
            raise TimeoutError("no answer")
        for key, _ in ready:
            connection: _Connection = key.data
            found = connection.answer()
            if found is not None:
                statuses[found[0]] += 1
                samples.append(found[1])
                connection.next = (connection.next + 1) % len(requests)
                connection.ask(requests[connection.next])
    seconds = time.perf_counter() - began
    samples.sort()
    at = [samples[min(len(samples) - 1, int(share * len(samples)))] for share in (0.5, 0.99)]
    return Load(len(samples), seconds, time.process_time() - processor, *at, dict(statuses))


if __name__ == "__main__":
    print(json.dumps(asdict(load(Order(**json.load(sys.stdin))))))
