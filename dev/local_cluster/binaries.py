"""Finds the programs of a control plane, or a cluster that its owner lends us.

The order; the first that is there is taken, and said:

1. KUBEBUILDER_ASSETS: a folder with kube-apiserver and etcd (as `setup-envtest` prints it);
2. OPENSCALE_DEV_KUBECONFIG: somebody's running cluster, if its context is on the allow-list;
3. our own build of an earlier time, in the cache;
4. binaries that `setup-envtest` downloaded;
5. built now, once, by the Go toolchain.
"""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from local_cluster import go_build
from local_cluster.errors import ClusterError

Say = Callable[[str], None]

ALLOWED_CONTEXTS = ("kind-*", "k3d-*", "minikube", "docker-desktop", "rancher-desktop", "orbstack", "colima*")
OLDEST_ENVTEST = (1, 32)  # selectableFields


@dataclass(frozen=True, slots=True)
class Programs:
    """How to start each program: a command and its first arguments."""

    origin: str
    apiserver: tuple[str, ...]
    etcd: tuple[str, ...]
    kubectl: tuple[str, ...] | None
    controller_manager: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Lent:
    """Somebody's running cluster: its kubeconfig, reduced to the one context that was allowed."""

    origin: str
    url: str
    certificate_authority: str
    kubeconfig: str
    kubectl: tuple[str, ...]
    context: str


def resolve(environ: Mapping[str, str], *, say: Say) -> Programs | Lent:
    """Find a control plane, building it if nothing else is there."""
    found = _first(environ, say)
    say(f"cluster: {found.origin}")
    if isinstance(found, Programs) and found.controller_manager is None:
        say("cluster: it has no controller-manager: namespaces will not empty, owners' deletion not cascade")
    return found


def _first(environ: Mapping[str, str], say: Say) -> Programs | Lent:
    if assets := environ.get("KUBEBUILDER_ASSETS"):
        return from_folder(Path(assets), "KUBEBUILDER_ASSETS", environ)
    if lent := environ.get("OPENSCALE_DEV_KUBECONFIG"):
        return from_kubeconfig(Path(lent), environ)
    build = go_build.Build.of(environ)
    if build.binary.exists():
        return from_build(build)
    if envtest := downloaded_envtest(environ):
        return from_folder(envtest, "envtest", environ)
    say("cluster: no KUBEBUILDER_ASSETS, no cached build, no envtest binaries: building from Go modules")
    build.ensure(say=say)
    return from_build(build)


def from_build(build: go_build.Build) -> Programs:
    """Give the programs in our own binary: the first argument names the program."""
    binary = str(build.binary)
    return Programs(
        origin=f"built from Go modules ({build.binary.name})",
        apiserver=(binary, "kube-apiserver"),
        etcd=(binary, "etcd"),
        kubectl=(binary, "kubectl"),
        controller_manager=(binary, "kube-controller-manager"),
    )


def from_folder(folder: Path, origin: str, environ: Mapping[str, str]) -> Programs:
    """Give the programs in a folder of separate binaries."""
    missing = [name for name in ("kube-apiserver", "etcd") if not (folder / name).is_file()]
    if missing:
        raise ClusterError(
            f"{origin} names {folder}, where there is no {' and no '.join(missing)}: "
            "unset it, or let `setup-envtest use -p path` print the right folder"
        )
    folder = folder.resolve()
    controllers = folder / "kube-controller-manager"
    own_kubectl = folder / "kubectl"
    return Programs(
        origin=f"{origin} ({folder})",
        apiserver=(str(folder / "kube-apiserver"),),
        etcd=(str(folder / "etcd"),),
        kubectl=(str(own_kubectl),) if own_kubectl.is_file() else find_kubectl(environ),
        controller_manager=(str(controllers),) if controllers.is_file() else None,
    )


def find_kubectl(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """Find a kubectl for a control plane that brings none."""
    build = go_build.Build.of(environ)
    if build.binary.exists():
        return (str(build.binary), "kubectl")
    found = shutil.which("kubectl", path=environ.get("PATH", ""))
    return None if found is None else (found,)


def downloaded_envtest(environ: Mapping[str, str]) -> Path | None:
    """Find the newest usable binaries in the folder where `setup-envtest` puts them."""
    home = environ.get("XDG_DATA_HOME") or (f"{environ['HOME']}/.local/share" if environ.get("HOME") else None)
    if home is None:
        return None
    versions: list[tuple[tuple[int, ...], Path]] = []
    for folder in Path(home, "kubebuilder-envtest", "k8s").glob(f"*-linux-{go_architecture()}"):
        number = re.match(r"(\d+)\.(\d+)\.(\d+)-", folder.name)
        if number is None or not (folder / "kube-apiserver").is_file() or not (folder / "etcd").is_file():
            continue
        version = tuple(int(part) for part in number.groups())
        if version[:2] >= OLDEST_ENVTEST:
            versions.append((version, folder))
    return max(versions)[1] if versions else None


def go_architecture() -> str:
    """Name this machine's architecture as Go does."""
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def from_kubeconfig(path: Path, environ: Mapping[str, str]) -> Lent:
    """Take a cluster that its owner lends us, if its context's name is on the allow-list."""
    kubectl = find_kubectl(environ)
    if kubectl is None:
        raise ClusterError(f"OPENSCALE_DEV_KUBECONFIG={path} is set, but there is no kubectl to read it with")
    if not path.is_file():
        raise ClusterError(f"OPENSCALE_DEV_KUBECONFIG names {path}, which is not a file")
    chosen = environ.get("OPENSCALE_DEV_CONTEXT")
    command = [
        *kubectl,
        "config",
        "view",
        f"--kubeconfig={path}",
        "--minify",
        "--flatten",
        "--raw",
        "-o",
        "json",
    ]
    if chosen:
        command.append(f"--context={chosen}")
    viewed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    if viewed.returncode:
        raise ClusterError(f"OPENSCALE_DEV_KUBECONFIG={path} cannot be read: {viewed.stderr.strip()}")
    document = json.loads(viewed.stdout)
    context = document.get("current-context", "")
    refuse_unless_allowed(context, environ.get("OPENSCALE_DEV_CONTEXTS", ""))
    cluster = document["clusters"][0]["cluster"]
    return Lent(
        origin=f"OPENSCALE_DEV_KUBECONFIG ({context})",
        url=cluster["server"],
        certificate_authority=cluster.get("certificate-authority-data", ""),
        kubeconfig=viewed.stdout,
        kubectl=kubectl,
        context=context,
    )


def refuse_unless_allowed(context: str, more: str) -> None:
    """Refuse a context that is not known to be for development: it may be somebody's production."""
    allowed = [*ALLOWED_CONTEXTS, *(pattern.strip() for pattern in more.split(",") if pattern.strip())]
    if not any(fnmatchcase(context, pattern) for pattern in allowed):
        raise ClusterError(
            f"the context {context!r} is refused: it is not on the list of clusters for development "
            f"({', '.join(allowed)}). Choose another with OPENSCALE_DEV_CONTEXT, or, if this one is yours to "
            f"fill and empty, set OPENSCALE_DEV_CONTEXTS={context or '<its name>'}"
        )
