"""What an agent does with a gateway, whichever: the same stories for the one that is told, and for the real one.

To run them against another gateway: a class that inherits `AgentStories` and has a fixture `there` that gives a
`There`. Each of its functions returns once the gateway answers so (for the real one: after its key poll).
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.running import options, running, target, until
from openscale_byok.shell.agent.asking import Door
from openscale_byok.shell.agent.run import Failed, run
from openscale_byok.shell.agent.targets import Target

Act = Callable[[], Awaitable[None]]


KEEP_SECONDS = 8.0
"""Longer than it takes to see, on a busy machine too, that the gateway has gone."""


@dataclass(frozen=True)
class There:
    """A gateway with one data mart whose credentials the token may read, and those who decide about that."""

    door: Door
    namespace: str
    datamart: str
    password: Callable[[], str]
    """The password that the data mart has now."""
    change: Callable[[str], Awaitable[None]]
    """Gives the data mart another password."""
    revoke: Act
    restore: Act
    """The owner of the root key disables it, and enables it again."""
    forbid: Act
    allow: Act
    """The right to read the credentials is taken, and given back."""
    leave: Act
    come_back: Act
    """The gateway cannot be reached, and can again."""


class AgentStories:
    """One file, whatever the gateway is."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        folder = tmp_path / "volume"
        folder.mkdir()
        return folder / "scores.json"

    @pytest.fixture
    def goal(self, there: There, file: Path) -> Target:
        return target(file, name=there.datamart, namespace=there.namespace)

    def password_in(self, file: Path) -> str | None:
        """The password that a workload would read; none where there is no file."""
        try:
            return json.loads(file.read_text())["password"]
        except FileNotFoundError:
            return None

    async def test_once_brings_the_file_and_ends(self, there: There, goal: Target) -> None:
        """An init container ends as soon as the file is there, with what the gateway gives, for its owner alone."""
        await run(options(there.door, goal, once_seconds=30.0))
        assert self.password_in(goal.file) == there.password()
        assert goal.file.stat().st_mode & 0o777 == 0o600
        assert [goal.file] == list(goal.file.parent.iterdir())

    async def test_a_new_password_arrives(self, there: There, goal: Target) -> None:
        """A sidecar's file follows the data mart."""
        async with running(options(there.door, goal)):
            await until(lambda: self.password_in(goal.file) == there.password())
            await there.change("another: one")
            await until(lambda: self.password_in(goal.file) == "another: one")

    async def test_a_revoked_root_key_takes_the_file_away_and_a_restored_one_brings_it_back(
        self, there: There, goal: Target
    ) -> None:
        """The customer says no, and the file is gone; yes again, and it is back. Nobody restarts anything."""
        async with running(options(there.door, goal)):
            await until(goal.file.exists)
            await there.revoke()
            await until(lambda: not goal.file.exists())
            await there.restore()
            await until(lambda: self.password_in(goal.file) == there.password())

    async def test_a_lost_right_takes_the_file_away(self, there: There, goal: Target) -> None:
        """Who may no longer read the credentials has no file of them either, until they may again."""
        async with running(options(there.door, goal)):
            await until(goal.file.exists)
            await there.forbid()
            await until(lambda: not goal.file.exists())
            await there.allow()
            await until(goal.file.exists)

    async def test_a_data_mart_that_does_not_exist_has_no_file(self, there: There, goal: Target) -> None:
        """What was never there is waited for a bounded time, and then named."""
        nowhere = target(goal.file, name="nowhere", namespace=there.namespace)
        with pytest.raises(Failed, match="nowhere"):
            await run(options(there.door, nowhere, once_seconds=1.0))
        assert not goal.file.exists()

    async def test_a_gateway_that_is_away_takes_nothing_at_once(self, there: There, goal: Target) -> None:
        """No answer is not a no: the file stays for its time, and goes after it; and it comes back by itself."""
        async with running(options(there.door, goal, keep=KEEP_SECONDS)):
            await until(goal.file.exists)
            await there.leave()
            assert goal.file.exists()
            await until(lambda: not goal.file.exists())
            await there.come_back()
            await until(lambda: self.password_in(goal.file) == there.password())
