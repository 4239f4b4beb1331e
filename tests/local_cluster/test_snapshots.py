"""A cluster's data copied while it runs and put back: the same address and identities, an older cluster behind them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster import Cluster, ClusterError


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that these tests may put back."""
    with Cluster.start(tmp_path_factory.mktemp("own") / "cluster", audit=True) as started:
        yield started


def annotate(cluster: Cluster, value: str) -> None:
    """Write something."""
    cluster.kubectl("annotate", "--overwrite", "namespace", "default", f"value={value}")


def value(cluster: Cluster) -> str:
    """What was written last."""
    return cluster.kubectl("get", "namespace", "default", "--output=jsonpath={.metadata.annotations.value}").stdout


def version(cluster: Cluster) -> int:
    """The cluster's resourceVersion."""
    found = cluster.kubectl("get", "--raw=/api/v1/configmaps?limit=1").stdout
    return int(json.loads(found)["metadata"]["resourceVersion"])


def test_a_snapshot_is_put_back_under_the_same_address(own: Cluster, tmp_path: Path) -> None:
    """What was written since is gone, the resourceVersion went back, former tokens and kubectl work on, and it runs."""
    own.kubectl("create", "serviceaccount", "robot")
    robot = own.kubeconfig_for_token(own.token_for("default", "robot"), tmp_path / "robot")
    annotate(own, "kept")
    taken = own.snapshot()
    for number in range(20):  # more than an API server writes when it starts
        annotate(own, f"lost {number}")
    before = version(own)
    own.restore(taken)
    assert value(own) == "kept"
    assert version(own) < before
    who = json.loads(own.kubectl(f"--kubeconfig={robot}", "auth", "whoami", "--output=json").stdout)
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    annotate(own, "later")
    assert value(own) == "later"
    assert own.is_alive
    assert own.death is None


def test_a_snapshot_under_load_is_consistent(own: Cluster) -> None:
    """Taken while somebody writes without a pause, it holds all that was answered before it began."""
    annotate(own, "0")
    ended = threading.Event()
    answered = 0

    def write() -> None:
        nonlocal answered
        while not ended.is_set():
            annotate(own, f"{answered + 1}")
            answered += 1

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        before, snapshot, after = answered, own.snapshot(), answered
    ended.set()
    writer.join()
    own.restore(snapshot)
    assert before <= int(value(own)) <= after + 1


def test_only_who_started_a_cluster_may_replace_its_data(own: Cluster) -> None:
    """Found by its folder, a cluster can be used, not frozen: who asks could end in the middle of it."""
    found = Cluster.attach(own.directory)
    with pytest.raises(ClusterError, match="only the process that started"):
        found.snapshot()
    with pytest.raises(ClusterError, match="only the process that started"):
        found.restore(own.snapshot())


def test_a_cluster_that_ends_while_frozen_leaves_nothing(own: Cluster) -> None:
    """The supervisor kills what it froze as well as what runs."""
    assert own._line is not None
    own._line.freeze("etcd")
    own.stop()
    assert not own.directory.exists()
