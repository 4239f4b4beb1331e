"""What a node needs is installed: only what is missing, by Debian's own tool, and no service is started."""

import os
import subprocess
from pathlib import Path

import pytest

from local_node import packages
from local_node.errors import NodeError


def debian(folder: Path, code: int = 0) -> tuple[dict[str, str], Path]:
    """An environment whose apt-get writes down what it is told, and what the policy answers it."""
    log = folder / "log"
    asks = f'{folder}/policy-rc.d containerd start; echo "policy $?" >> {log}'
    for name in ("apt-get", "dpkg"):
        program = f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> {log}\n{asks}\necho E: no such package >&2\nexit {code}\n'
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}, log


def test_what_is_missing_is_installed_and_no_service_may_start(tmp_path: Path) -> None:
    """One update, one installation, nothing recommended; meanwhile the policy says no, and afterwards it is gone."""
    environ, log = debian(tmp_path)
    said: list[str] = []
    packages.install(["runc", "nftables"], say=said.append, environ=environ, policy=tmp_path / "policy-rc.d")
    assert log.read_text().splitlines() == [
        "noninteractive update --quiet",
        "policy 101",
        "noninteractive install --yes --no-install-recommends runc nftables",
        "policy 101",
    ]
    assert said == ["node: installing from Debian, starting none of their services: runc nftables"]
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_policy_that_is_there_is_its_owners(tmp_path: Path) -> None:
    """It is asked as it is, and stays."""
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    with packages.no_services(policy):
        assert policy.read_text().endswith("exit 104\n")
    assert policy.exists()


def test_one_that_was_killed_forbids_nothing_for_ever(tmp_path: Path) -> None:
    """What a killed run left says yes: its process is gone."""
    policy = tmp_path / "policy-rc.d"
    with packages.no_services(policy):
        left = policy.read_text().replace(str(os.getpid()), "4194305")  # more than any process id
    policy.write_text(left)
    assert subprocess.run(["sh", str(policy)], check=False).returncode == 0


def test_what_cannot_be_installed_is_said(tmp_path: Path) -> None:
    """apt-get's own words; where there is no apt-get, the command for whoever knows the like of it."""
    environ, _ = debian(tmp_path, code=100)
    with pytest.raises(NodeError, match=r"apt-get update failed with 100:\nE: no such package"):
        packages.install(["runc"], say=print, environ=environ, policy=tmp_path / "policy-rc.d")
    with pytest.raises(NodeError, match="apt-get install --no-install-recommends runc"):
        packages.install(["runc"], say=print, environ={"PATH": "/nowhere"}, policy=tmp_path / "policy-rc.d")
