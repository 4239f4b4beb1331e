"""What an object costs in memory is for us to say, not for whoever may create it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_cluster import Cluster
from stage import manifests

PROBE = Path(__file__).with_name("kept_strings.py")
NAMESPACE = "memory-of-fat"
FAT_CHARACTERS, MARK = 250_000, "fatfat"


def test_a_fat_annotation_is_reachable_nowhere_once_kopf_hands_its_object_over(crds: Cluster) -> None:
    """Neither as text nor as bytes, neither in kopf nor in what the engine keeps: of a list, of a watch, of ours."""
    crds.kubectl("create", "namespace", NAMESPACE)
    try:
        apply(crds, "first")
        with probe(crds) as lines:
            moments = [json.loads(next(lines)) for _ in range(2)]
            apply(crds, "second")
            moments.append(json.loads(next(lines)))
    finally:
        crds.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    assert {each["moment"] for each in moments} == {"kopf listed", "the engine listed", "kopf watched"}
    assert {each["moment"]: each["kept"] for each in moments if each["kept"]} == {}


def apply(cluster: Cluster, word: str) -> None:
    """The data mart, with an annotation that is as long as it may be."""
    mart: dict[str, Any] = manifests.datamart(NAMESPACE, "fat", "prod", "source")
    mart["metadata"]["annotations"] = {"example.org/note": f"{word} {MARK}".ljust(FAT_CHARACTERS, ".")}
    cluster.kubectl("apply", "--server-side", "-f", "-", input=manifests.as_text([mart]))


@contextmanager
def probe(cluster: Cluster) -> Iterator[Iterator[str]]:
    """The process, and what it says."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENSCALE_BYOK_", "KUBE"))}
    environment["KUBECONFIG"] = str(cluster.kubeconfig)
    started = subprocess.Popen(
        [sys.executable, str(PROBE), NAMESPACE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout is not None
        yield (line for line in started.stdout if '"moment"' in line)
    finally:
        try:
            error = started.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            started.kill()
            error = started.communicate()[1]
        print(error[-2_000:])
