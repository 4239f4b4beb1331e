"""Operator or gateway as a process of its own, as a pod would run it: settings in the environment, log in a file."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stage.child import die_with_parent

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 -- JSON
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error."""
        return str(self.json["errors"][0]["code"])

    @property
    def message(self) -> str:
        """The message of the first error."""
        return str(self.json["errors"][0]["message"])


class Program:
    """A program of ours that can be started, stopped, killed and started again."""

    command = ""
    """The word after `openscale-byok`."""

    def __init__(self, kubeconfig: Path, log: Path, settings: Mapping[str, str], *, detached: bool = False) -> None:
        """Settings are named as in the documentation, without the prefix ``OPENSCALE_BYOK_``."""
        self._kubeconfig = kubeconfig
        self._settings = {"INSECURE_HTTP": "true"} | dict(settings)  # as Key Protect's emulator speaks
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0
        self.log = log

    @property
    def pid(self) -> int:
        """The process id of the one that runs."""
        if self._process is None:
            raise RuntimeError("it was not started")
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def configure(self, **settings: str) -> None:
        """Other settings, from the next start on."""
        self._settings |= settings

    def start(self) -> Self:
        """Start it, and wait until it says that it has started."""
        self.launch()
        return self.await_started()

    def launch(self) -> None:
        """Start it, and do not wait."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENSCALE_BYOK_", "KUBE"))}
        environment |= {f"OPENSCALE_BYOK_{name}": value for name, value in self._settings.items()}
        environment["KUBECONFIG"] = str(self._kubeconfig)
        self._begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "openscale_byok", self.command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self._detached,
                preexec_fn=None if self._detached else die_with_parent,
            )

    def await_started(self) -> Self:
        """Wait until the one that was launched says that it has started.

        Raises:
            RuntimeError: it has not; the text is what it logged.
        """
        deadline = time.monotonic() + START_SECONDS
        while b'"event": "started"' not in self._since(self._begun):
            if not self.is_alive or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command}: did not start:\n{self._since(self._begun).decode()[-2000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it as Kubernetes would; its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, line by line."""
        whole = self.log.read_text().rpartition("\n")[0]  # the last line may be on its way
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    @property
    def health_url(self) -> str:
        """Where /livez, /readyz and /metrics are."""
        return f"http://127.0.0.1:{self._started()['health_port']}"

    def health(self, path: str) -> Answer:
        """One request to that port."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self._started()["health_port"]), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Answer(answer.status, {}, answer.read())
        finally:
            connection.close()

    def _started(self) -> dict[str, Any]:
        return next(line for line in reversed(self.lines()) if line.get("event") == "started")

    def _since(self, offset: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read()
