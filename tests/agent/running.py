"""An agent inside the test's own event loop, or as a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from openscale_byok.shell.agent.asking import Door
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.run import Options, run
from openscale_byok.shell.agent.targets import Manner, Target
from stage.child import die_with_parent

PATIENCE = 20.0


async def until(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait on a condition."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 -- files and processes set no event
            await asyncio.sleep(0.01)


def options(
    door: Door, *targets: Target, interval: float = 0.1, keep: float = 60.0, mode: int = 0o600, **more
) -> Options:
    """What an agent of a test is told."""
    return Options(door, targets, Manner(interval, keep, mode, "DB_"), **more)


def target(file: Path, kind: Format = Format.JSON, name: str = "scores", namespace: str = "team-a") -> Target:
    """A target."""
    return Target(namespace, name, file, kind)


@asynccontextmanager
async def running(told: Options) -> AsyncIterator[asyncio.Task[None]]:
    """An agent while inside. It must not end by itself."""
    task = asyncio.create_task(run(told))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Process:
    """`openscale-byok agent` as a process of its own, its log in a file."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.log = log
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENSCALE_BYOK_")}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "openscale_byok", "agent", *arguments],
                env=clean | {f"OPENSCALE_BYOK_AGENT_{k}": v for k, v in environment.items()},
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call before exec
            )  # fmt: skip

    @property
    def code(self) -> int | None:
        """Its exit code, once it ended."""
        return self._process.poll()

    async def ended(self) -> int:
        """Wait for its end."""
        await until(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    async def end(self, signal: int) -> float:
        """Send a signal; the seconds until it had ended."""
        begun = time.monotonic()
        self._process.send_signal(signal)
        await self.ended()
        return time.monotonic() - begun

    def kill(self) -> None:
        """As `kill -9`."""
        self._process.kill()
        self._process.wait()

    def lines(self) -> list[dict[str, object]]:
        """Its log."""
        found = self.log.read_text().splitlines()
        return [json.loads(line) for line in found if line.startswith("{")]
