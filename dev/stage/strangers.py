"""Ports of this machine at which somebody else is than Key Protect: nobody, a proxy, a stranger's certificate."""

import contextlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cluster.certificates import Authority

Answer = Callable[[socket.socket], None]
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is closed is reset


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _cut(peer: socket.socket) -> None:
    peer.recv(65_536)
    peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"resources": [')


def _elsewhere(peer: socket.socket) -> None:
    peer.recv(65_536)
    peer.sendall(b"HTTP/1.1 307 T\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _no_http(peer: socket.socket) -> None:
    peer.recv(65_536)
    peer.sendall(b"220 mail.example.com ESMTP\r\n")


ANSWERS: dict[str, tuple[str, Answer | None]] = {
    "refused": ("http", None),
    "reset": ("http", _reset),
    "cut": ("http", _cut),
    "redirected": ("http", _elsewhere),
    "no-http": ("http", _no_http),
    "no-tls": ("https", _no_http),
    "unknown-ca": ("https", _elsewhere),
}
"""By name: the scheme that one calls it with, and what it does with a connection."""


class Strangers:
    """All of them. Connections are counted when they are accepted."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.connections: Counter[str] = Counter()

    def serve(self, name: str, listener: socket.socket, answer: Answer, tls: ssl.SSLContext | None) -> None:
        """Answer each connection until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                self.connections[name] += 1
                with contextlib.suppress(OSError), peer:
                    peer.settimeout(5)
                    answer(peer if tls is None else tls.wrap_socket(peer, server_side=True))


@contextmanager
def strangers(folder: Path) -> Iterator[Strangers]:
    """Open the ports; close them with the block."""
    pair = Authority(folder).server("stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    found = Strangers()
    with contextlib.ExitStack() as stack:
        for name, (scheme, answer) in ANSWERS.items():
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))  # bound and not listening, a port refuses
            found.urls[name] = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
            if answer is None:
                continue
            listener.listen(64)
            tls = context if name == "unknown-ca" else None
            threading.Thread(target=found.serve, args=(name, listener, answer, tls), daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield found
