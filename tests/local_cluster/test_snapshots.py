"""A cluster's data copied while it runs and put back: the same address and identities, an older cluster behind them."""

import json
import threading
from pathlib import Path

import pytest

from local_cluster import Cluster, ClusterError


def config_map(cluster: Cluster, name: str, value: str) -> None:
    """Create a ConfigMap, or change it."""
    made = cluster.kubectl("create", "configmap", name, f"--from-literal=value={value}", "--dry-run=client", "-o=json")
    cluster.kubectl("apply", "-f", "-", input=made.stdout)


def value(cluster: Cluster, name: str) -> str:
    """What a ConfigMap holds; nothing where there is none."""
    found = cluster.kubectl("get", "configmap", name, "--ignore-not-found", "-o=json").stdout
    return str(json.loads(found)["data"]["value"]) if found else ""


def version(cluster: Cluster) -> int:
    """The cluster's resourceVersion."""
    found = cluster.kubectl("get", "--raw=/api/v1/configmaps?limit=1").stdout
    return int(json.loads(found)["metadata"]["resourceVersion"])


def test_a_snapshot_is_put_back_under_the_same_address(tmp_path: Path) -> None:
    """What was written since is gone, the resourceVersion went back, and former tokens and kubectl work on; twice."""
    with Cluster.start(tmp_path / "cluster", audit=True) as cluster:
        config_map(cluster, "kept", "one")
        cluster.kubectl("create", "serviceaccount", "robot")
        robot = cluster.kubeconfig_for_token(cluster.token_for("default", "robot"), tmp_path / "robot")
        taken = cluster.snapshot()
        for number in range(5):
            config_map(cluster, "kept", f"two {number}")
        config_map(cluster, "later", "lost")
        before = version(cluster)
        for _ in range(2):
            cluster.restore(taken)
            assert (value(cluster, "kept"), value(cluster, "later")) == ("one", "")
            assert version(cluster) < before
            who = json.loads(cluster.kubectl(f"--kubeconfig={robot}", "auth", "whoami", "-o=json").stdout)
            assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
            config_map(cluster, "later", "again")
            assert value(cluster, "later") == "again"
        assert cluster.is_alive
        assert cluster.death is None
        if cluster.has_controller_manager:
            cluster.kubectl("create", "namespace", "gone")
            cluster.kubectl("delete", "namespace", "gone", "--timeout=60s")
    assert not (tmp_path / "cluster").exists()


def test_a_snapshot_under_load_is_consistent(tmp_path: Path) -> None:
    """Taken while somebody writes without a pause, it holds all that was answered before it began."""
    with Cluster.start(tmp_path / "cluster") as cluster:
        config_map(cluster, "busy", "0")
        ended = threading.Event()
        answered = 0

        def write() -> None:
            nonlocal answered
            while not ended.is_set():
                config_map(cluster, "busy", f"{answered + 1}")
                answered += 1

        writer = threading.Thread(target=write)
        writer.start()
        taken = []
        for _ in range(3):
            before = answered
            taken.append((before, cluster.snapshot(), answered))
        ended.set()
        writer.join()
        before, snapshot, after = taken[-1]
        cluster.restore(snapshot)
        assert before <= int(value(cluster, "busy")) <= after + 1


def test_only_who_started_a_cluster_may_replace_its_data(cluster: Cluster) -> None:
    """Found by its folder, a cluster can be used, not frozen: who asks could end in the middle of it."""
    with pytest.raises(ClusterError, match="only the process that started"):
        Cluster.attach(cluster.directory).snapshot()
    taken = cluster.snapshot()
    assert taken.data.is_dir()
    with pytest.raises(ClusterError, match="only the process that started"):
        Cluster.attach(cluster.directory).restore(taken)


def test_a_cluster_that_ends_while_frozen_leaves_nothing(tmp_path: Path) -> None:
    """The supervisor kills what it froze as well as what runs."""
    cluster = Cluster.start(tmp_path / "cluster")
    line = cluster._line
    assert line is not None
    line.freeze("etcd")
    cluster.stop()
    assert not (tmp_path / "cluster").exists()
