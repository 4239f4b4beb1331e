"""Make `conformance` and `sim` importable; one HTTP session for each test."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from openscale_byok.adapters import http

sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with http.open_session() as opened:
        yield opened
