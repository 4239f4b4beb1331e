"""A gateway that answers what it is told, over real HTTPS, and agents that ask it."""

import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from agent.told import Told

MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    """The gateway of this test."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    gateway = Told(folder)
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder in memory, as an emptyDir of medium Memory is."""
    if not MEMORY.is_dir():
        pytest.skip(f"this machine has no {MEMORY}")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
