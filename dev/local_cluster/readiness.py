"""Waits until a cluster can be used, or says which process died and what it said last."""

import http.client
import ssl
import time
from pathlib import Path

from local_cluster import lifeline
from local_cluster.certificates import Pair
from local_cluster.errors import ClusterError

POLL_SECONDS = 0.05
REQUEST_SECONDS = 5.0


class ProcessDiedError(ClusterError):
    """A process of the cluster ended before it was ready."""

    def __init__(self, death: lifeline.Death) -> None:
        super().__init__(f"the cluster did not start: {death}")
        self.death = death

    @property
    def port_was_taken(self) -> bool:
        """Tell whether another port would help."""
        return "address already in use" in self.death.tail


class Waiter:
    """Asks the API server again and again, over one connection, until a deadline."""

    def __init__(self, folder: Path, port: int, admin: Pair, deadline: float) -> None:
        self._folder = folder
        self._deadline = deadline
        self._last = "no answer yet"
        trust = ssl.create_default_context(cafile=folder / "ca.crt")
        trust.load_cert_chain(admin.certificate, admin.key)
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=REQUEST_SECONDS, context=trust)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def until_found(self, path: str) -> None:
        """Wait until a path answers 200."""
        while True:
            try:
                self._connection.request("GET", path)
                answer = self._connection.getresponse()
                body = answer.read()
                if answer.status == http.HTTPStatus.OK:
                    return
                self._last = f"{answer.status}: {body[:300].decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self._last = str(error) or type(error).__name__
            if (died := lifeline.death(self._folder)) is not None:
                raise ProcessDiedError(died)
            if not lifeline.is_alive(self._folder):
                last_words = lifeline.tail(self._folder / "supervisor.log")
                raise ClusterError(f"the cluster's supervisor is gone:\n{last_words}")
            if time.monotonic() > self._deadline:
                logs = "\n".join(f"{log.name}:\n{lifeline.tail(log)}" for log in sorted(self._folder.glob("*.log")))
                raise ClusterError(f"the cluster was not ready in time; {path} said {self._last}\n{logs}")
            time.sleep(POLL_SECONDS)
