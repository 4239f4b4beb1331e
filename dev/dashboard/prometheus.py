"""A real Prometheus (Debian's package) that scrapes our programs and evaluates our alerts, on loopback."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stage.child import die_with_parent

SCRAPE_SECONDS = 1
START_SECONDS = 120.0
INSTALL = "no prometheus: apt-get install prometheus (Debian's package; it brings promtool too)"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, path: str, **query: object) -> Any:  # noqa: ANN401 -- JSON
        """What its API answers."""
        text = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(text, timeout=60) as answer:  # noqa: S310 -- loopback
            return json.load(answer)["data"]

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


@contextmanager
def run(folder: Path, targets: Sequence[str], rules: Path) -> Iterator[Prometheus]:
    """Run it for as long as the block lasts.

    Args:
        folder: for its data, which is thrown away by whoever made it.
        targets: host and port of each program's health port.
        rules: file of alerts.

    Raises:
        FileNotFoundError: it is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError(INSTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    jobs = [
        {
            "job_name": "openscale-byok",
            "honor_labels": True,
            "static_configs": [{"targets": list(targets)}],
        }
    ]
    every = f"{SCRAPE_SECONDS}s"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(rules)],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        _await(found, process, folder / "prometheus.log")
        yield found
    finally:
        process.terminate()
        process.wait()


def _await(found: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            found.ask("status/buildinfo")
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"prometheus did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.2)
        else:
            return
