"""Brings a cluster up: a folder of its own, its files, its processes, and the wait until it is usable."""

import base64
import contextlib
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from local_cluster import certificates, control_plane, kubeconfig, lifeline
from local_cluster.binaries import Lent, Programs
from local_cluster.certificates import Pair
from local_cluster.errors import ClusterError
from local_cluster.readiness import ProcessDiedError, Waiter

PREFIX = "openscale-cluster-"
TRIES = 5
CLAIMS = 50


def make_folder(directory: Path | None) -> tuple[Path, int]:
    """Make a cluster's folder, private to its owner, and take its lock."""
    temporary = Path(tempfile.gettempdir())
    lifeline.sweep(temporary.glob(f"{PREFIX}*"))
    if directory is None:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary))
        return folder, _claim(folder)
    folder = directory.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder.parent):
        lifeline.sweep(iter([folder]))  # what a killed supervisor left there
        folder.mkdir(mode=0o700, exist_ok=True)
        if lifeline.is_alive(folder):
            raise ClusterError(f"a cluster is running in {directory}: attach to it, or stop it first")
        if any(folder.iterdir()):
            raise ClusterError(f"{directory} is not empty: a cluster wants a folder of its own, and removes it")
        folder.chmod(0o700)
        return folder, _claim(folder)


def _claim(folder: Path) -> int:
    for _ in range(CLAIMS):
        if (lock := lifeline.claim(folder)) is not None:
            return lock
        time.sleep(lifeline.POLL_SECONDS)  # somebody looked whether it is alive
    raise ClusterError(f"another process holds {folder}")


@contextlib.contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Let one process at a time decide about the folders in this one."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Identity:
    """The certificates of one cluster, written to its folder."""

    authority: certificates.Authority
    admin: Pair
    controllers: Pair

    @classmethod
    def write(cls, folder: Path) -> Self:
        """Make and write all of them."""
        authority = certificates.Authority(folder)
        authority.server("apiserver")
        certificates.token_signing_key(folder)
        return cls(
            authority,
            admin=authority.client("admin", group="system:masters"),
            controllers=authority.client("system:kube-controller-manager"),
        )


def bring_up(
    line: lifeline.Lifeline, folder: Path, programs: Programs, *, fsync: bool, audit: bool, timeout: float
) -> str:
    """Start the processes, wait until they are usable, and return the API server's address."""
    identity = Identity.write(folder)
    if audit:
        (folder / "audit-policy.yaml").write_text(control_plane.AUDIT_POLICY)
    deadline = time.monotonic() + timeout
    port = free_port()
    line.start("etcd", control_plane.etcd(programs.etcd, fsync=fsync))
    line.start("kube-apiserver", control_plane.apiserver(programs.apiserver, port=port, audit=audit))
    url = f"https://127.0.0.1:{port}"
    ca_file = identity.authority.certificate
    kubeconfig.with_certificate(folder / "kubeconfig", url, ca_file, "admin", identity.admin)
    manager: Callable[[], None] | None = None
    if programs.controller_manager is not None:
        kubeconfig.with_certificate(
            folder / "controller-manager.kubeconfig", url, ca_file, "controllers", identity.controllers
        )
        command = control_plane.controller_manager(programs.controller_manager)
        manager = partial(line.start, "kube-controller-manager", command)
    until_usable(Waiter(folder, port, identity.admin, deadline), manager)
    return url


def until_usable(waiter: Waiter, start_manager: Callable[[], None] | None) -> None:
    """Wait until the API server is usable, and the controllers where there are any."""
    try:
        waiter.until_found("/readyz")
        waiter.until_found("/api/v1/namespaces/default")
        if start_manager is not None:
            start_manager()  # only now: it gives up when the API server is not there within ten seconds
            waiter.until_found("/api/v1/namespaces/default/serviceaccounts/default")
            waiter.until_found("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
    finally:
        waiter.close()


def free_port() -> int:
    """Find a port that nobody has at this moment; somebody may take it before we do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def launch(
    directory: Path | None, programs: Programs, *, fsync: bool, audit: bool, timeout: float
) -> tuple[Path, str, lifeline.Lifeline]:
    """Bring a cluster up; when another process was quicker to take its port, do it again."""
    for attempt in range(1, TRIES + 1):
        folder, lock = make_folder(directory)
        line = lifeline.Lifeline(folder, lock)
        try:
            url = bring_up(line, folder, programs, fsync=fsync, audit=audit, timeout=timeout)
        except ProcessDiedError as error:
            lifeline.end(folder, line.supervisor, line)
            if not error.port_was_taken or attempt == TRIES:
                raise
        except BaseException:
            lifeline.end(folder, line.supervisor, line)
            raise
        else:
            return folder, url, line
    raise AssertionError("the last attempt returns or raises")


def borrow(directory: Path | None, lent: Lent) -> tuple[Path, str, lifeline.Lifeline]:
    """Make a folder for a cluster that somebody lends us: its credentials go when we do, it stays."""
    folder, lock = make_folder(directory)
    line = lifeline.Lifeline(folder, lock)
    certificates.write_private(folder / "kubeconfig", lent.kubeconfig.encode())
    (folder / "ca.crt").write_bytes(base64.b64decode(lent.certificate_authority))
    return folder, lent.url, line
