"""Takes a copy of a running cluster's etcd, and puts it back: what a disaster and its cure look like from outside.

A copy is crash-consistent, as a snapshot of its volume would be: etcd is stopped where it is (SIGSTOP) while its
folder is copied, and finds its way from there as it does after a power cut. Put back, the cluster's
resourceVersion goes backwards, as with `etcdutl snapshot restore` without `--bump-revision`.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from local_cluster import boot
from local_cluster.certificates import Pair
from local_cluster.lifeline import Lifeline
from local_cluster.readiness import Waiter

DATA = "etcd"
PROCESSES = ("kube-controller-manager", "kube-apiserver", "etcd")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of etcd's data; it goes with its cluster's folder."""

    data: Path


def take(line: Lifeline, folder: Path) -> Snapshot:
    """Copy etcd's data while it stands still; the API server only finds it slow."""
    copy = Path(tempfile.mkdtemp(prefix="snapshot-", dir=folder)) / DATA
    line.freeze("etcd")
    try:
        shutil.copytree(folder / DATA, copy)
    finally:
        line.thaw("etcd")
    return Snapshot(copy)


def put_back(line: Lifeline, folder: Path, url: str, snapshot: Snapshot, timeout: float) -> None:
    """End the processes, replace etcd's data, start them as they were, and wait until they are usable.

    The API server ends too: it would go on with a cache of what is no more.
    """
    controllers = (folder / "controller-manager.kubeconfig").exists()
    for name in PROCESSES:
        line.end(name)
    shutil.rmtree(folder / DATA)
    shutil.copytree(snapshot.data, folder / DATA)
    line.again("etcd")
    line.again("kube-apiserver")
    admin = Pair(folder / "admin.crt", folder / "admin.key")
    waiter = Waiter(folder, urlsplit(url).port or 0, admin, time.monotonic() + timeout)
    boot.until_usable(waiter, partial(line.again, "kube-controller-manager") if controllers else None)
