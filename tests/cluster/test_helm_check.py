"""`helm test`'s questions to a gateway on a real API server: each can fail, and says why."""

import subprocess
import sys
from pathlib import Path

import pytest

from openscale_byok import __version__
from stage import chart
from stage.gateway_process import Gateway
from stage.team import Team

SCRIPT = (chart.CHART / "files" / "check.py").read_text()


@pytest.fixture
def arguments(gateway: Gateway, team: Team, tmp_path: Path) -> list[str]:
    """Where it is, its version, its authority, and a token of somebody who may nothing."""
    authority, token = tmp_path / "ca.crt", tmp_path / "token"
    authority.write_text(gateway._certificates())
    token.write_text(team.caller("nobody"))
    return [gateway.url, __version__, str(authority), str(token)]


def check(arguments: list[str]) -> tuple[int, str]:
    """As the pod runs it: exit code, and its last line."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()[-1]


def test_a_gateway_that_is_well_passes(arguments: list[str]) -> None:
    """Certificate, refusal of strangers, and a token that is known."""
    code, last = check(arguments)
    assert (code, last.split("(")[0]) == (
        0,
        "ok: a ServiceAccount's token is known, and one that may nothing gets nothing ",
    )


def test_what_is_wrong_is_said(arguments: list[str], tmp_path: Path) -> None:
    """Another authority, another version, a token that is none, nobody there: exit code 1, and which it was."""
    url, version, authority, token = arguments
    false = tmp_path / "false"
    false.write_text("no-token")
    for given, said in (
        ([url, version, str(tmp_path / "none"), token], "CERTIFICATE_VERIFY_FAILED"),
        ([url, "9.9.9", authority, token], f"FAILED: the gateway is of version {version}, and this release of 9.9.9"),
        ([url, version, authority, str(false)], "credentials is answered with 401, not with 403 or 404"),
        (["https://127.0.0.1:9", version, authority, token], "FAILED: https://127.0.0.1:9 cannot be asked"),
    ):
        code, last = check(given)
        assert code == 1
        assert said in last
