"""The gateway as a process of its own, and a small client that trusts its authority and nothing else."""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stage.program import Answer, Program

Certificates = Callable[[], str]
"""The PEM certificates that the gateway's authority publishes."""


class Gateway(Program):
    """A gateway on a free port of this machine."""

    command = "gateway"

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        settings: Mapping[str, str],
        certificates: Certificates,
        *,
        detached: bool = False,
    ) -> None:
        """As `Program`; *certificates* tells what to trust once it has started."""
        free = {"GATEWAY_ADDRESS": "127.0.0.1", "GATEWAY_PORT": "0", "GATEWAY_HEALTH_PORT": "0"}
        super().__init__(kubeconfig, log, free | dict(settings), detached=detached)
        self._certificates = certificates

    @property
    def port(self) -> int:
        """The port of the API."""
        return int(self._started()["port"])

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"https://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts the gateway's authority, and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._certificates())
        return context

    def call(
        self,
        method: str,
        path: str,
        token: str = "",
        body: Any = None,  # noqa: ANN401 -- JSON, or bytes as they are
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust(), timeout=60)
        try:
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()
