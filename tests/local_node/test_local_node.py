"""The node from packages, as far as it shows without one: what it needs, what it is told, what it puts back."""

import json
from pathlib import Path

import pytest

from local_cluster import control_plane
from local_node import configuration, isolation, requirements

FOLDER = Path("/node")


def test_it_says_what_is_missing_and_how_to_get_it():
    """Where no node can run there is one line for each thing that is missing, with its cure; never a traceback."""
    (line,) = requirements.missing("/nowhere", user=0)
    assert line.startswith("apt-get install --no-install-recommends ")
    assert set(requirements.PACKAGES.values()) <= set(line.split())
    assert requirements.missing(user=1000) == [
        "a node needs root: run it as root on a machine of your own, or use kind"
    ]


def test_the_api_server_is_the_local_clusters_with_a_node_besides():
    """No flag is there twice: what a node needs replaces what the local cluster says."""
    flags = configuration.apiserver(control_plane.apiserver(["kube-apiserver"], port=6443, audit=False))
    names = [flag.split("=", 1)[0] for flag in flags]
    assert len(set(names)) == len(names)
    assert "--authorization-mode=Node,RBAC" in flags
    assert "--bind-address=127.0.0.1" not in flags
    manager = configuration.controller_manager(control_plane.controller_manager(["kube-controller-manager"]))
    assert not [flag for flag in manager if flag.startswith("--controllers")], "every controller runs"


@pytest.mark.parametrize("unified", [False, True])
def test_the_kubelet_stays_in_its_group_and_asks_who_calls(unified):
    """It has a control group of its own, no anonymous and no read-only way in; groups of version 1 are taken."""
    files = configuration.files(FOLDER, "/openscale-node-x", unified=unified)
    kubelet = json.loads(files["kubelet.json"])
    assert kubelet["cgroupRoot"] == "/openscale-node-x"
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert (kubelet["readOnlyPort"], kubelet["healthzPort"]) == (0, 0)
    assert kubelet["failCgroupV1"] is unified


def test_what_a_kubelet_sets_for_the_whole_machine_is_put_back(tmp_path):
    """Settings of the kernel are saved before a kubelet starts, and put back once."""
    for name in isolation.SETTINGS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    isolation.save(tmp_path, tmp_path)
    for name in isolation.SETTINGS:
        (tmp_path / name).write_text("a kubelet's")
    isolation.put_back(tmp_path, tmp_path)
    assert {(tmp_path / name).read_text() for name in isolation.SETTINGS} == {"before"}
    (tmp_path / isolation.SETTINGS[0]).write_text("somebody's since")
    isolation.put_back(tmp_path, tmp_path)
    assert (tmp_path / isolation.SETTINGS[0]).read_text() == "somebody's since"
