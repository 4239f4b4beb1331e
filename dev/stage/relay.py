"""A way to a port of this machine that can be cut: refused at once, or silent, as a network is."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

Manner = Literal["open", "refused", "silent"]
_BYTES = 65_536


class Relay:
    """Passes on what comes to its port, until it is cut."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._manner: Manner = "open"
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def start(self) -> Self:
        """Begin to pass on."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def end(self) -> None:
        """Let go of everything."""
        self._listener.close()
        self.be("refused")

    def be(self, manner: Manner) -> None:
        """Open, or cut. `refused`: every connection is ended, new ones too. `silent`: nothing comes through."""
        with self._lock:
            self._manner = manner
            pairs = list(self._pairs) if manner != "silent" else []
        # What was silent has lost bytes: after that a connection is worth nothing.
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                if self._manner == "refused":
                    peer.close()
                    continue
                threading.Thread(target=self._carry, args=(peer,), daemon=True).start()

    def _carry(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError), socket.create_connection(self._to) as server:
            pair = (peer, server)
            with self._lock:
                self._pairs.add(pair)
            back = threading.Thread(target=self._pass_on, args=(server, peer), daemon=True)
            back.start()
            try:
                self._pass_on(peer, server)
                back.join()
            finally:
                with self._lock:
                    self._pairs.discard(pair)

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while found := one.recv(_BYTES):
                if self._manner == "open":
                    other.sendall(found)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def relay(to: tuple[str, int]) -> Iterator[Relay]:
    """A relay, for as long as the block lasts."""
    found = Relay(to).start()
    try:
        yield found
    finally:
        found.end()
