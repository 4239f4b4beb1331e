"""Somebody without us: the script of docs/envelope.md, from that page alone, run by Node over backup and export."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stage.scene import ROOT
from stage.team import Team

PAGE = (ROOT / "docs" / "envelope.md").read_text("utf-8")
(SCRIPT,) = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
BACKUP = (ROOT / "docs" / "backup.md").read_text("utf-8")
KINDS = re.search(r"kubectl get (openscaleinstances\S*) --namespace team-a --output json", BACKUP)
NODE = 20


def node() -> str:
    """Node, of a version that the page names; without it the test says why it was skipped."""
    found = shutil.which("node")
    if found is None:
        pytest.skip(f"node is not on this machine: the script of docs/envelope.md needs Node {NODE} or newer")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < NODE:
        pytest.skip(f"node is {version.strip()}: the script of docs/envelope.md needs Node {NODE} or newer")
    return found


def opened(team: Team, folder: Path, export: Path | None, *, code: int = 0, **environment: str) -> list[dict[str, Any]]:
    """What the script prints of the team's backup: one finding for each data mart."""
    assert KINDS is not None
    folder.mkdir(exist_ok=True)
    script, backup = folder / "open.mjs", folder / "backup.json"
    script.write_text(SCRIPT, "utf-8")
    backup.write_text(team.scene.kubectl("get", KINDS[1], "-n", team.namespace, "-o", "json"), "utf-8")
    files = [str(backup), *([str(export)] if export is not None else [])]
    at = {"IAM_URL": team.scene.emulator.iam_url, "KEY_PROTECT_URL": team.scene.emulator.url}
    done = subprocess.run(
        [node(), str(script), *files],
        env={"PATH": os.environ["PATH"], **at, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")
    return [json.loads(line) for line in done.stdout.splitlines()]
