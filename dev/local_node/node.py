"""Brings a node up, in namespaces that are there already: its certificates, its processes, the wait for each."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from local_cluster import certificates, control_plane, kubeconfig
from local_node import configuration
from local_node.errors import NodeError
from local_node.isolation import ADDRESS, run, unified

READY_SECONDS = 180.0
_POLL_SECONDS = 0.2
_CTR = ("ctr", "--address", configuration.CONTAINERD, "--namespace", "k8s.io")
_CLIENTS = {
    "kubeconfig": ("admin", "system:masters"),
    "controller-manager.kubeconfig": ("system:kube-controller-manager", None),
    "scheduler.kubeconfig": ("system:kube-scheduler", None),
    "proxy.kubeconfig": ("system:kube-proxy", None),
    "dns.kubeconfig": ("system:kube-dns", "system:masters"),
    "node.kubeconfig": (f"system:node:{configuration.NAME}", "system:nodes"),
}


class Node:
    """A node whose processes are this process's children."""

    def __init__(self, folder: Path, program: str, group: str) -> None:
        self._folder = folder
        self._program = program
        self._group = group
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def start(self, images: Sequence[Path]) -> None:
        """Start everything and wait until the node is ready.

        Args:
            images: OCI layouts to import: all that pods can use here.

        Raises:
            NodeError: a process ended, or the node was not ready in time.
        """
        self._write()
        program, folder = self._program, self._folder
        self._run("etcd", control_plane.etcd([program, "etcd"], fsync=False))
        server = control_plane.apiserver([program, "kube-apiserver"], port=configuration.PORT, audit=False)
        self._run("kube-apiserver", configuration.apiserver(server))
        self._run("containerd", ["containerd", "--config", f"{folder}/containerd.toml"])
        self.until("the API server answers", lambda: self._says("get", "--raw", "/readyz"))
        manager = control_plane.controller_manager([program, "kube-controller-manager"])
        self._run("kube-controller-manager", configuration.controller_manager(manager))
        self._run("kube-scheduler", configuration.scheduler(program))
        self.until("containerd answers", lambda: _succeeds([*_CTR, "version"]))
        for image in images:
            run(*_CTR, "images", "import", str(image))
        self._run("kubelet", configuration.kubelet(program, folder))
        self._run("kube-proxy", [program, "kube-proxy", f"--config={folder}/proxy.json"])
        self._run("coredns", configuration.dns(program))
        ready = ("wait", "--for=condition=Ready", f"node/{configuration.NAME}", "--timeout=1s")
        self.until("the node is ready", lambda: self._says(*ready))

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition, as long as every process lives."""
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise NodeError(f"{name} ended:\n{self._tail(name)}")
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {self._tail(name)}" for name in self._processes)
                raise NodeError(f"not in time: {what}\n{logs}")
            time.sleep(_POLL_SECONDS)

    def _write(self) -> None:
        folder = self._folder
        authority = certificates.Authority(folder)
        for server in ("apiserver", "kubelet"):
            authority.server(server, more=(ADDRESS,))
        authority.client(configuration.CLIENT, group="system:masters")
        certificates.token_signing_key(folder)
        for name, (user, group) in _CLIENTS.items():
            pair = authority.client(user, group=group)
            url = f"https://{ADDRESS}:{configuration.PORT}"
            kubeconfig.with_certificate(folder / name, url, folder / "ca.crt", user, pair)
        for name, text in configuration.files(folder, self._group, unified=unified()).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def _run(self, name: str, command: Sequence[str]) -> None:
        log = (self._folder / f"{name}.log").open("ab")
        self._logs.append(log)
        self._processes[name] = subprocess.Popen(
            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )

    def _says(self, *arguments: str) -> bool:
        return _succeeds([self._program, "kubectl", f"--kubeconfig={self._folder}/kubeconfig", *arguments])

    def _tail(self, name: str) -> str:
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
