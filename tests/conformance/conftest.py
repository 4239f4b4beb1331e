"""Make `conformance` and `sim` importable; one emulator for the tier."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from key_protect_emulator.control import Emulator
from openscale_byok.adapters import http

sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    """The tier's emulator with no faults and no counts."""
    shared_emulator.clear_faults()
    shared_emulator.reset_counts()
    return shared_emulator


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with http.open_session() as opened:
        yield opened
