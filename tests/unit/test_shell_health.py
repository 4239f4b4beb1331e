"""The health port, asked over real HTTP while the program's own event loop stands still."""

import asyncio
import itertools
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openscale_byok.shell.gateway.listener import listen
from openscale_byok.shell.health import Program, served_by_thread
from openscale_byok.shell.metrics import ProgramMetrics
from openscale_byok.shell.pulse import Pulse


class Served:
    """A program with a health port. Its functions block: they are what a program does whose loop stands still."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.failing: list[str] = []

    async def unready(self) -> list[str]:
        return self.failing

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self._url + path, timeout=30) as answer:  # noqa: S310 -- loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@asynccontextmanager
async def program(tick: float = 0.01) -> AsyncIterator[Served]:
    """Whose clock goes on by two seconds at each tick."""
    clock = itertools.count(step=2)
    with listen("127.0.0.1", 0, "A_PORT") as sock:
        found = Served(sock.getsockname()[1])

        async def gather() -> None:
            return

        pulse = Pulse(lambda: float(next(clock)))
        async with served_by_thread(Program(pulse, ProgramMetrics(), found.unready, gather), sock, tick):
            yield found


async def test_livez_fails_while_the_loop_stands_still_and_is_well_again_after():
    """This test blocks the loop until `/livez` says so; after one turn of the loop it takes that back."""
    async with program() as found:
        assert await asyncio.to_thread(found.get, "/livez") == (200, "ok\n")
        while (answer := found.get("/livez")) == (200, "ok\n"):
            pass
        assert answer == (503, "[-] event-loop\n")
        async with asyncio.timeout(30):
            while await asyncio.to_thread(found.get, "/livez") != (200, "ok\n"):
                pass


async def test_readyz_and_metrics_are_answered_without_the_loop():
    """Within their time: the one names what does not answer, the other shows what it holds, and for how long."""
    async with program() as found:
        while found.get("/livez")[0] == 200:
            pass
        assert found.get("/readyz") == (503, "[-] event-loop\n")
        status, text = found.get("/metrics")
        assert status == 200
        silence = next(line for line in text.splitlines() if line.startswith("openscale_byok_event_loop_silence"))
        assert float(silence.split()[1]) > 60


async def test_readyz_names_what_fails():
    """Each check in a line of its own; what was found out is told to others for a moment."""
    async with program(tick=1.0) as found:
        assert await asyncio.to_thread(found.get, "/readyz") == (200, "ok\n")
        found.failing = ["list", "api-server"]
        async with asyncio.timeout(10):
            while await asyncio.to_thread(found.get, "/readyz") != (503, "[-] list\n[-] api-server\n"):
                pass


async def test_that_it_is_not_alive_is_logged_once(capfd):
    """A restart by the kubelet has its reason in the log of the container that went."""
    async with program() as found:
        while found.get("/livez")[0] == 200:
            pass
        assert found.get("/livez")[0] == 503
    lines = [line for line in capfd.readouterr().out.splitlines() if "not alive" in line]
    assert len(lines) == 1, json.dumps(lines)
    assert "event-loop" in lines[0]


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/livez?verbose"])
async def test_nothing_else_is_there(path):
    """Any other path is 404; a query changes nothing."""
    async with program(tick=1.0) as found:
        assert (await asyncio.to_thread(found.get, path))[0] == (200 if path.startswith("/livez") else 404)
