"""The command line as a whole: every verb has help and an output, and the page has every verb and every exit code."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from openscale_byok.shell.cli import main, verb

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
PROGRAMS = {("run",), ("gateway",), ("agent",)}
"""They work until they are ended, and log."""


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(_commands(main))


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_verb_has_help(path: tuple[str, ...], option: str) -> None:
    """Also where an argument is missing, and it does nothing else."""
    result = CliRunner().invoke(main, [*path, option], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {' '.join(path)}")


@pytest.mark.parametrize("path", sorted(EVERY.keys() - PROGRAMS), ids=" ".join)
def test_every_verb_has_an_output(path: tuple[str, ...]) -> None:
    """As text or as JSON; programs log."""
    assert isinstance(EVERY[path], verb.Verb)
    assert any(one.name == "output" for one in EVERY[path].params)


def test_the_page_has_every_verb_and_every_exit_code() -> None:
    """By the name under which it is called, and the number that a script sees."""
    for path in EVERY:
        assert f"`{' '.join(path)}" in PAGE
    codes = {int(found) for found in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert codes == {verb.OK, verb.FAILED, verb.WRONG_USAGE, verb.NOT_WELL}


def test_definitions_as_json_are_what_they_are_as_yaml() -> None:
    """A list that kubectl takes."""
    found = json.loads(CliRunner().invoke(main, ["crds", "print", "--output=json"]).stdout)
    assert (found["kind"], len(found["items"])) == ("List", 3)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_it(shell: str, tmp_path: Path) -> None:
    """By the command of the page."""
    assert f"_OPENSCALE_BYOK_COMPLETE={shell}_source" in PAGE
    program = Path(sys.executable).with_name("openscale-byok")
    done = subprocess.run(
        [str(program)], env={"_OPENSCALE_BYOK_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert "openscale-byok" in done.stdout, done.stderr


def test_an_agent_refuses_a_variable_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, before anything is asked."""
    monkeypatch.setenv("OPENSCALE_BYOK_AGENT_TARGET", "c4n4ry")
    result = CliRunner().invoke(main, ["agent", "--url=https://127.0.0.1:1", "--target=n/m=/tmp/x"])
    assert result.exit_code == verb.WRONG_USAGE
    assert "did you mean OPENSCALE_BYOK_AGENT_TARGETS?" in result.output
    assert "c4n4ry" not in result.output
