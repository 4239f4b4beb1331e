"""`make up` and `make down`: what people type after it works as the pages say, and nothing is left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stage.up import Place

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
NAMES = {"KUBECONFIG", "ROOT_KEY_CRN", "IBM_KEY_PROTECT_API_URL", "IBM_KEY_PROTECT_API_APIKEY"}
NAMES |= {"GATEWAY_URL", "GATEWAY_CA", "OPENSCALE_APIKEY", "SERVICE_INSTANCE_ID", "DEMO_TOKEN"}

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl"),
    pytest.mark.skipif("OPENSCALE_DEV_KUBECONFIG" in os.environ, reason="it starts a cluster of its own"),
]


def command(here: Place, what: str) -> str:
    """`make up` or `make down`, in a folder of the test's own."""
    arguments = [sys.executable, "-m", f"stage.{what}", "--folder", str(here.folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Place]:
    """Everything in the background; ended whatever the test left."""
    here = Place(tmp_path / "dev")
    try:
        assert "ready" in command(here, "up")
        yield here
    finally:
        command(here, "down")


def sh(here: Place, script: str) -> str:
    """A script as a person's shell runs it after `. .dev/env`; each command must do what it is there for."""
    places = {r"(?<!\w)\.dev/": f"{here.folder}/", r"(?<!\w)\.venv/": f"{ROOT}/.venv/"}
    for there, at in places.items():
        script = re.sub(there, at, script)
    clean = {"PATH": os.environ["PATH"], "HOME": str(here.folder)}
    done = subprocess.run(
        ["sh", "-eu", "-c", f". {here.env}\n{script}"], capture_output=True, text=True, timeout=120, cwd=ROOT, env=clean
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks(page: str, heading: str) -> str:
    """What a page tells people to type below a heading, but for what starts and ends everything."""
    _, _, after = (ROOT / page).read_text().partition(f"\n## {heading}\n")
    section, _, _ = after.partition("\n## ")
    typed = "".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    assert typed, f"{page} has nothing to type below {heading!r}"
    return "".join(line for line in typed.splitlines(keepends=True) if not line.startswith(("make ", ". ")))


def whole(page: str) -> str:
    """Everything that a page tells people to type."""
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return "".join(blocks(page, heading) for heading in headings)


def descendants(pid: int) -> list[tuple[int, str]]:
    """Every process below one, each with when it started: a number alone may come again."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [(child, started(child)), *descendants(child)]
    return found


def started(pid: int) -> str:
    """When a process started; nothing where there is none, or where it has ended and is not yet collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return fields[19] if fields[0] != "Z" else ""


def until(what: Callable[[], bool], text: str) -> None:
    """Wait on a condition."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def values(here: Place) -> dict[str, str]:
    """What a shell knows after `. .dev/env`."""
    return dict(re.findall(r"^export (\w+)='([^']*)'$", here.env.read_text(), re.MULTILINE))


def items(text: str) -> list[dict[str, Any]]:
    """Of a list that kubectl printed."""
    return list(json.loads(text)["items"])


def test_what_the_pages_tell_people_to_type(up: Place) -> None:
    """README's walk, those of the examples and the API's page work as they stand, one after the other, and the end ends
    everything."""
    assert values(up).keys() >= NAMES
    assert up.env.stat().st_mode & 0o077 == 0
    assert "already running" in command(up, "up")
    read = sh(up, blocks("README.md", "Try it by hand"))
    assert json.loads(read[read.index("{") :])["password"] == "a password"
    sh(up, "kubectl wait --for=delete secret/scores-password")
    sh(up, "kubectl delete datamart,openscaleinstance,rootkeybinding --all; kubectl delete secret key-protect")

    case_1 = sh(up, blocks("examples/README.md", "Case 1: the root key first"))
    assert "db.example.com:5432:openscale:openscale:a password" in case_1
    sh(up, blocks("examples/README.md", "Another root key"))
    told = sh(up, whole("docs/api.md"))
    assert '"password": "the next password"' in told
    assert not items(sh(up, "kubectl get datamart -n demo -o json"))
    api = sh(up, blocks("examples/README.md", "OpenScale's own API"))
    assert values(up)["ROOT_KEY_CRN"] in api
    (mart,) = [found["metadata"] for found in items(sh(up, "kubectl get datamart -n demo -o json"))]
    assert f'"id": "{mart["name"]}"' in api
    owner = up.owner()
    assert owner is not None
    below = descendants(owner)
    assert len(below) >= 6, "etcd, API server, controllers, Key Protect, PostgreSQL, operator, gateway"
    assert "everything has ended" in command(up, "down")
    assert not up.folder.exists()
    assert not [pid for pid, when in below if started(pid) == when]


def test_nothing_outlives_its_owner(up: Place) -> None:
    """kill -9 of the one process that owns everything: gateway and operator end too, and `make down` clears away."""
    owner = up.owner()
    assert owner is not None
    below = descendants(owner)
    programs = [pid for pid, _ in below if b"openscale_byok" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(programs) == 2, "the operator and the gateway"
    os.kill(owner, signal.SIGKILL)
    until(lambda: not [pid for pid, when in below if started(pid) == when], "everything ends with its owner")
    assert up.owner() is None
    assert "nothing is running" in command(up, "down")
    assert not up.folder.exists()
