"""A running Kubernetes API for development and tests: start it, use it, find it again, stop it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from local_cluster import binaries, boot, certificates, control_plane, kubeconfig, lifeline, snapshots
from local_cluster.errors import ClusterError
from local_cluster.snapshots import Snapshot

START_SECONDS = 120.0
RECORD = "cluster.json"
Say = Callable[[str], None]


def tell(line: str) -> None:
    """Say something to the person who waits."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Record:
    """What a cluster's folder says about it, so that another process finds it again."""

    url: str
    origin: str
    kubectl: list[str] | None
    has_controller_manager: bool
    audited: bool
    supervisor: int


class Cluster:
    """A cluster that can be used; as a context manager it is stopped at the end.

    Without `detached` it ends with the process that started it, however that ends.
    """

    def __init__(self, directory: Path, record: Record, line: lifeline.Lifeline | None = None) -> None:
        """Take hold of a cluster that is ready: see `start` and `attach`."""
        self.directory = directory
        self.url = record.url
        self.origin = record.origin
        self.kubeconfig = directory / "kubeconfig"
        self.ca_file = directory / "ca.crt"
        self.has_controller_manager = record.has_controller_manager
        self.audit_log = directory / control_plane.AUDIT_LOG if record.audited else None
        self._record = record
        self._line = line

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        fsync: bool = False,
        audit: bool = False,
        detached: bool = False,
        environ: Mapping[str, str] = os.environ,
        say: Say = tell,
        timeout: float = START_SECONDS,
    ) -> Self:
        """Start a cluster and wait until it is ready.

        `directory` must be new or empty, and is removed when the cluster stops; the default is one
        in the system's temporary folder. `fsync=False` makes etcd faster and unsafe in a power cut.
        `audit` writes every request to `audit_log`. `detached` outlives this process.
        """
        found = binaries.resolve(environ, say=say)
        if not isinstance(found, binaries.Lent):
            folder, url, line = boot.launch(directory, found, fsync=fsync, audit=audit, timeout=timeout)
        elif audit:
            raise ClusterError(f"{found.origin} is not ours to configure: it gives no audit log")
        else:
            folder, url, line = boot.borrow(directory, found)
        record = Record(
            url=url,
            origin=found.origin,
            kubectl=None if found.kubectl is None else list(found.kubectl),
            has_controller_manager=isinstance(found, binaries.Lent) or found.controller_manager is not None,
            audited=audit,
            supervisor=line.supervisor,
        )
        cluster = cls(folder, record, line)
        cluster._remember()
        if detached:
            line.detach()
        return cluster

    @classmethod
    def attach(cls, directory: Path) -> Self:
        """Take hold of a cluster that was started there, by any process."""
        folder = directory.resolve()
        if not lifeline.is_ours(folder) or not (folder / RECORD).exists():
            raise ClusterError(f"there is no cluster in {directory}")
        record = Record(**json.loads((folder / RECORD).read_bytes()))
        return cls(folder, record)

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def is_alive(self) -> bool:
        """Tell whether its processes run."""
        return lifeline.is_alive(self.directory)

    @property
    def death(self) -> lifeline.Death | None:
        """Say which of its processes ended by itself, if one did."""
        return lifeline.death(self.directory)

    def stop(self) -> None:
        """End its processes and remove its folder; a cluster that was lent goes on, only the folder goes."""
        lifeline.end(self.directory, self._record.supervisor, self._line)

    def snapshot(self) -> Snapshot:
        """Copy etcd's data while everything runs: see `snapshots`.

        Raises:
            ClusterError: it is not this process that started the cluster, or it was lent.
        """
        return snapshots.take(self._owned(), self.directory)

    def restore(self, snapshot: Snapshot, timeout: float = START_SECONDS) -> None:
        """Put a snapshot back: the processes end, and come back with it on the same port and certificates.

        Whoever was connected to the API server is cut off, and finds an older cluster under the same address.
        """
        snapshots.put_back(self._owned(), self.directory, self.url, snapshot, timeout)

    def _owned(self) -> lifeline.Lifeline:
        if self._line is None or not self._line.holds or not (self.directory / snapshots.DATA).exists():
            raise ClusterError("only the process that started a cluster of its own can copy or replace its data")
        return self._line

    def _remember(self) -> None:
        content = json.dumps(asdict(self._record)).encode()
        certificates.write_private(self.directory / RECORD, content)
        if self._record.kubectl is not None:
            self.kubectl_path.parent.mkdir()
            self.kubectl_path.write_text(f'#!/bin/sh\nexec {shlex.join(self.kubectl_argv)} "$@"\n')
            self.kubectl_path.chmod(0o700)

    @property
    def kubectl_path(self) -> Path:
        """Give a `kubectl` to put on a PATH: it talks to this cluster and no other."""
        return self.directory / "bin" / "kubectl"

    @property
    def kubectl_argv(self) -> tuple[str, ...]:
        """Give the start of a kubectl command that is this cluster's admin."""
        if self._record.kubectl is None:
            raise ClusterError(f"{self.origin} brings no kubectl, and there is none on the PATH")
        return (
            *self._record.kubectl,
            f"--kubeconfig={self.kubeconfig}",
            f"--cache-dir={self.directory / 'kubectl-cache'}",
        )

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002  # as subprocess.run's
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as this cluster's admin and return what it printed."""
        done = subprocess.run(
            [*self.kubectl_argv, *args],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            env={**os.environ, "KUBERC": "off"},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(args)} exited with {done.returncode}: {done.stderr.strip()}")
        return done

    def token_for(self, namespace: str, service_account: str, *, seconds: int = 3600, audience: str = "") -> str:
        """Ask for a ServiceAccount's token (TokenRequest), for the API server itself where no audience is named."""
        command = ["create", "token", service_account, f"--namespace={namespace}", f"--duration={seconds}s"]
        command += [f"--audience={audience}"] if audience else []
        return self.kubectl(*command).stdout.strip()

    def kubeconfig_for_token(self, token: str, path: Path) -> Path:
        """Write a kubeconfig that logs in to this cluster with a bearer token."""
        return kubeconfig.with_token(path, self.url, self.ca_file, token)
