"""What the tests of the local cluster share: a cluster, and ways to look at processes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_cluster import Cluster, lifeline

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One audited cluster for all tests that only use its API."""
    with Cluster.start(audit=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def until() -> Until:
    """Wait on a condition, for half a minute at most."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(lifeline.POLL_SECONDS)

    return wait


def _status(pid: int) -> dict[str, str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {}


@pytest.fixture(scope="session")
def children() -> Callable[[int], set[int]]:
    """Name the processes that a process has started."""

    def of(parent: int) -> set[int]:
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return {pid for pid in pids if _status(pid).get("PPid") == str(parent)}

    return of


@pytest.fixture(scope="session")
def runs() -> Callable[[int], bool]:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    return lambda pid: _status(pid).get("State", "Z")[0] not in "ZX"
