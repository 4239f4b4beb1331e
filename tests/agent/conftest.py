"""A gateway that answers what it is told, over real HTTPS, and agents that ask it."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from agent.told import Told


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    """The gateway of this test."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    gateway = Told(folder)
    await gateway.start()
    yield gateway
    await gateway.stop()
