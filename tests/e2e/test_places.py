"""Where the story is told, decided from an environment that is handed in; and how kind is used."""

import json
import os
from pathlib import Path

import pytest

from e2e import places
from local_cluster.errors import ClusterError

STAND_IN = """#!/bin/sh
# kind, which cannot run here: it writes down what it is told, and gives the kubeconfig that it is asked for.
echo "$*" >> {log}
case "$*" in
  "get clusters") exit {engine} ;;
  "create cluster"*) for word; do case $word in --kubeconfig=*) echo "made by kind" > "${{word#*=}}" ;; esac; done ;;
esac
"""
ASKS = ["sh", "-c", 'cat "$KUBECONFIG" && helm version && kubectl version && exit 3']


def with_kind(folder: Path, *, engine: int = 0) -> dict[str, str]:
    """An environment with a kind, a kubectl and a helm."""
    log = folder / "log"
    texts = {"kind": STAND_IN.format(log=log, engine=engine)}
    texts |= dict.fromkeys(("kubectl", "helm"), f'#!/bin/sh\necho "${{0##*/}} $*" >> {log}\n')
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


def kubeconfig(folder: Path, context: str) -> Path:
    """A kubeconfig of one context, and the kubectl that shows it."""
    cluster = {"name": "one", "cluster": {"server": "https://127.0.0.1:1"}}
    document = {"current-context": context, "clusters": [cluster]}
    path = folder / "lent"
    path.write_text(json.dumps(document))
    (folder / "kubectl").write_text(f"#!/bin/sh\ncat {path}\n")
    return path


def told(folder: Path) -> list[str]:
    """What the programs were told, without the number of our own process."""
    return [line.replace(str(os.getpid()), "N") for line in (folder / "log").read_text().splitlines()]


def test_kind_makes_a_cluster_loads_the_images_and_deletes_it(tmp_path: Path) -> None:
    """The story's command gets its kubeconfig; its exit code is ours; the cluster goes, however it ended."""
    place = places.find(with_kind(tmp_path), say=print)
    assert place.tell([tmp_path / "a.oci.tar", tmp_path / "b.oci.tar"], ASKS) == 3
    assert told(tmp_path) == [
        "get clusters",
        f"create cluster --kubeconfig={tmp_path}/kubeconfig --wait=180s --name=openscale-byok-N",
        f"load image-archive {tmp_path}/a.oci.tar --name=openscale-byok-N",
        f"load image-archive {tmp_path}/b.oci.tar --name=openscale-byok-N",
        "helm version",
        "kubectl version",
        f"delete cluster --kubeconfig={tmp_path}/kubeconfig --name=openscale-byok-N",
    ]


def test_a_lent_cluster_is_left_tidy(tmp_path: Path) -> None:
    """It is not made and not deleted; the story is told to leave nothing in it."""
    environ = with_kind(tmp_path)
    environ["OPENSCALE_DEV_KUBECONFIG"] = str(kubeconfig(tmp_path, "kind-mine"))
    place = places.find(environ, say=print)
    assert place.origin == "the kind cluster mine, lent"
    assert place.tell([tmp_path / "a.oci.tar"], ["sh", "-c", 'echo "$0" >> "$HOME/log"']) == 0
    assert told(tmp_path) == [f"load image-archive {tmp_path}/a.oci.tar --name=mine", "--tidy"]


@pytest.mark.parametrize(
    ("context", "message"),
    [("production", "is refused"), ("minikube", "is no kind cluster")],
    ids=["production", "minikube"],
)
def test_a_cluster_that_may_not_be_used_is_refused(tmp_path: Path, context: str, message: str) -> None:
    """Nothing is done to it, and nothing else is taken in its place."""
    environ = with_kind(tmp_path)
    environ["OPENSCALE_DEV_KUBECONFIG"] = str(kubeconfig(tmp_path, context))
    with pytest.raises(ClusterError, match=message):
        places.find(environ, say=print)
    assert not (tmp_path / "log").exists()


def test_a_kind_without_an_engine_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is looked for; where none can run, that is said with its cure, and nothing was installed."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said: list[str] = []
    with pytest.raises(places.NoPlace, match="run it as root"):
        places.find(with_kind(tmp_path, engine=1), say=said.append)
    assert said == ["e2e: kind is here, and no container engine answers it"]
    assert told(tmp_path) == ["get clusters"]
