"""An HTTP proxy on loopback, for what speaks TLS through it: CONNECT alone, over real sockets.

It remembers who was asked for, and by which credentials, and can be told to answer something else. Names are looked up
in its own table only: it leads nowhere but to this machine.
"""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_BYTES = 65_536
_LONGEST_HEAD = 8_192
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

    def serve(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        """Meet whoever comes, until the listener ends."""
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                threading.Thread(target=self._meet, args=(peer, context), daemon=True).start()

    def _meet(self, peer: socket.socket, context: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            if context is not None:
                peer = context.wrap_socket(peer, server_side=True)
            with peer:
                self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            piece = peer.recv(_BYTES)
            if not piece:
                return
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        if method != "CONNECT":
            self.requests.append(lines[0])
            peer.sendall(self._refusal(405))
            return
        target = rest.partition(" ")[0]
        self.asked.append(target)
        if self.silent:
            while peer.recv(_BYTES):
                pass
            return
        status = self.status if self._known(lines) else 407
        there = self._where(target)
        if status != 200 or there is None:
            peer.sendall(self._refusal(status if status != 200 else 502))
            return
        with socket.create_connection(there) as server:
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass_on, args=(server, peer), daemon=True)
            back.start()
            _pass_on(peer, server)
            back.join()

    def _known(self, lines: list[str]) -> bool:
        if self.credentials is None:
            return True
        wanted = base64.b64encode(":".join(self.credentials).encode()).decode()
        given = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")]
        return given == [f"Basic {wanted}"]

    def _where(self, target: str) -> Address | None:
        if target in self.hosts:
            return self.hosts[target]
        host, _, port = target.rpartition(":")
        return (host, int(port)) if host == "127.0.0.1" else None

    def _refusal(self, status: int) -> bytes:
        more = "Location: https://127.0.0.1:1/\r\n" if 300 <= status < 400 else ""
        more += 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status == 407 else ""
        head = (
            f"HTTP/1.1 {status} No\r\n{more}Content-Type: application/json\r\nContent-Length: {len(self.page)}\r\n\r\n"
        )
        return head.encode() + self.page


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while found := one.recv(_BYTES):
            other.sendall(found)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


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
    found = ConnectProxy(hosts or {}, credentials)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        scheme = "http" if context is None else "https"
        found.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=found.serve, args=(listener, context), daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
