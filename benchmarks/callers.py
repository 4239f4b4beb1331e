"""Those whom `abuse.py` is about: who reads by a connection that stays, who comes anew each time, and who probes.

A process of its own; each of them is a thread that asks, waits for the answer, and asks again a moment later. Reads one
`Callers` as a line of JSON from standard input; prints a line once the connection that stays was used; begins at the
next line that it reads, and prints by name what each saw. It asks this machine and no other.
"""

import json
import re
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 30.0
KEPT, NEW, NEWCOMER, LIVE, READY = "kept", "new", "newcomer", "live", "ready"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom to ask, and with what."""

    port: int
    health_port: int
    ca: str
    path: str
    kept_token: str
    new_token: str
    fresh_tokens: Sequence[str]
    """Each used for one request: the gateway knows none of them."""
    seconds: float


@dataclass(slots=True)
class Seen:
    """What one of them saw."""

    p50: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    number: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """Whatever was not a 200: other statuses, and errors by name. They count as long as they took."""


def watch(order: Callers) -> dict[str, Seen]:
    """Let all of them ask until the time is over."""
    context = ssl.create_default_context(cadata=order.ca)
    fresh = iter(order.fresh_tokens)

    def api() -> socket.socket:
        plain = socket.create_connection((HOST, order.port), TIMEOUT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname=HOST)

    def anew(connect: Callable[[], socket.socket], request: Callable[[], str]) -> Callable[[], str]:
        def once() -> str:
            with connect() as sock:
                return _ask(sock, request())

        return once

    kept: list[socket.socket] = []

    def by_the_same() -> str:
        if not kept:
            kept.append(api())
        try:
            return _ask(kept[0], _read(order.path, order.kept_token))
        except OSError:
            kept.pop().close()
            raise

    def probe(path: str) -> Callable[[], str]:
        plain = lambda: socket.create_connection((HOST, order.health_port), TIMEOUT_SECONDS)  # noqa: E731
        return anew(plain, lambda: f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")

    each: dict[str, tuple[Callable[[], str], float]] = {
        KEPT: (by_the_same, 0.025),
        NEW: (anew(api, lambda: _read(order.path, order.new_token)), 0.05),
        NEWCOMER: (anew(api, lambda: _read(order.path, next(fresh))), order.seconds / max(1, len(order.fresh_tokens))),
        LIVE: (probe("/livez"), 0.05),
        READY: (probe("/readyz"), 0.1),
    }
    by_the_same()
    print("here", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + order.seconds
    seen = {name: Seen() for name in each}
    threads = [threading.Thread(target=_go_on, args=(*each[name], until, seen[name])) for name in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def _go_on(once: Callable[[], str], pause: float, until: float, seen: Seen) -> None:
    samples: list[float] = []
    others = Counter[str]()
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            status = once()
        except StopIteration:
            break
        except OSError as error:
            status = type(error).__name__
        samples.append(time.perf_counter() - began)
        if status != "200":
            others[status] += 1
        time.sleep(pause)
    samples.sort()
    seen.number, seen.others = len(samples), dict(others)
    seen.p50, seen.p99, seen.longest = (samples[min(len(samples) - 1, int(q * len(samples)))] for q in (0.5, 0.99, 1))


def _read(path: str, token: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"


def _ask(sock: socket.socket, request: str) -> str:
    sock.sendall(request.encode())
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _more(sock)
    length = _LENGTH.search(got, 0, end + 2)
    while len(got) < end + 4 + (int(length[1]) if length else 0):
        got += _more(sock)
    return got[9:12].decode()


def _more(sock: socket.socket) -> bytes:
    part = sock.recv(65_536)
    if not part:
        raise ConnectionResetError
    return part


if __name__ == "__main__":
    print(json.dumps({name: asdict(seen) for name, seen in watch(Callers(**json.loads(sys.stdin.readline()))).items()}))
