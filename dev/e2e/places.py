"""Where the story can be told: a cluster that its owner lends, kind, or a node from packages.

The first of these that is there is taken, and said:

1. OPENSCALE_DEV_KUBECONFIG: a running kind cluster, if its context is on the allow-list; `kind` loads the images;
2. `kind`, where its container engine answers: a cluster of its own, deleted at the end;
3. a node from packages, as root on Linux; on Debian what is missing is installed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local_cluster import binaries, go_build
from local_cluster.errors import ClusterError
from local_node import packages, requirements
from local_node.clients import clients
from local_node.errors import NodeError

Say = Callable[[str], None]
_KIND = "kind-"
_READY = "180s"


class NoPlace(Exception):  # noqa: N818 -- not an error: it is how a skip is said
    """Nothing here can run pods; the message says why, and what would help."""


class Place(Protocol):
    """A cluster that can run pods."""

    @property
    def origin(self) -> str:
        """How it is called when it is said."""
        ...

    def tell(self, images: Sequence[Path], command: Sequence[str]) -> int:
        """Run a command whose kubectl and helm talk to it, and whose images it has; the command's exit code."""
        ...


def find(environ: Mapping[str, str], *, say: Say) -> Place:
    """The first place that is there.

    Raises:
        ClusterError: a cluster is lent that may not be used; the message says why.
        NoPlace: there is none.
    """
    if lent := environ.get("OPENSCALE_DEV_KUBECONFIG"):
        return _lent(binaries.from_kubeconfig(Path(lent), environ), environ)
    if shutil.which("kind", path=environ.get("PATH", "")):
        asked = subprocess.run(["kind", "get", "clusters"], env=environ, capture_output=True, check=False)
        if not asked.returncode:
            return Kind(f"openscale-byok-{os.getpid()}", environ)
        say("e2e: kind is here, and no container engine answers it")
    try:
        return _node(environ, say)
    except (NodeError, ClusterError) as error:
        raise NoPlace(str(error)) from None


@dataclass(frozen=True)
class Node:
    """A node from packages; it ends with the command."""

    environ: Mapping[str, str]
    origin: str = "a node from packages"

    def tell(self, images: Sequence[Path], command: Sequence[str]) -> int:
        """See `Place`."""
        words = [word for image in images for word in ("--image", str(image))]
        full = [sys.executable, "-m", "local_node", *words, "--", *command]
        return subprocess.run(full, env=self.environ, check=False).returncode


@dataclass(frozen=True)
class Kind:
    """A kind cluster: made for this and deleted at the end, or lent."""

    name: str
    environ: Mapping[str, str]
    lent: str = ""
    """The kubeconfig of a cluster that is there already."""

    @property
    def origin(self) -> str:
        """How it is called when it is said."""
        return f"the kind cluster {self.name}{', lent' if self.lent else ''}"

    def tell(self, images: Sequence[Path], command: Sequence[str]) -> int:
        """See `Place`."""
        folder = images[0].parent
        kubeconfig = folder / "kubeconfig"
        if self.lent:
            kubeconfig.touch(0o600)
            kubeconfig.write_text(self.lent)
            return self._told(kubeconfig, images, [*command, "--tidy"])
        try:
            self._kind("create", "cluster", f"--kubeconfig={kubeconfig}", f"--wait={_READY}")
            return self._told(kubeconfig, images, command)
        finally:
            self._kind("delete", "cluster", f"--kubeconfig={kubeconfig}")

    def _told(self, kubeconfig: Path, images: Sequence[Path], command: Sequence[str]) -> int:
        for image in images:
            self._kind("load", "image-archive", str(image))
        environ = {**self.environ, "KUBECONFIG": str(kubeconfig), "PATH": self._path(kubeconfig.parent)}
        return subprocess.run(command, env=environ, check=False).returncode

    def _kind(self, *arguments: str) -> None:
        done = subprocess.run(["kind", *arguments, f"--name={self.name}"], env=self.environ, check=False)
        if done.returncode:
            raise ClusterError(f"kind {' '.join(arguments[:2])} failed with {done.returncode}")

    def _path(self, folder: Path) -> str:
        """The caller's PATH; behind it the kubectl and the helm of our own build, where that is there."""
        path = self.environ.get("PATH", "")
        build = go_build.Build.of(self.environ)
        if build.binary.exists():
            path = f"{path}:{clients(folder, build.binary)}"
        for name in ("kubectl", "helm"):
            if not shutil.which(name, path=path):
                raise ClusterError(
                    f"there is no {name} on the PATH: install it, or run `python -m local_cluster build`"
                )
        return path


def _lent(lent: binaries.Lent, environ: Mapping[str, str]) -> Kind:
    if not lent.context.startswith(_KIND):
        raise ClusterError(
            f"the context {lent.context!r} is no kind cluster, and images are loaded by `kind load`: "
            "choose one named kind-… with OPENSCALE_DEV_CONTEXT, or unset OPENSCALE_DEV_KUBECONFIG"
        )
    if not shutil.which("kind", path=environ.get("PATH", "")):
        raise ClusterError("there is no `kind` on the PATH, which loads the images into the cluster that you lend")
    return Kind(lent.context.removeprefix(_KIND), environ, lent.kubeconfig)


def _node(environ: Mapping[str, str], say: Say) -> Node:
    """A node, after what it needs was installed and built.

    Raises:
        NodeError, ClusterError: none can run here.
    """
    if barred := requirements.refused():
        raise NodeError(barred)
    build = go_build.Build.of(environ)
    if not build.binary.exists():
        go_build.find_go(environ)  # else packages would be installed for nothing
    if wanted := requirements.packages():
        packages.install(wanted, say=say, environ=environ)
    if lacks := requirements.missing():
        raise NodeError("\n".join(lacks))
    build.ensure(say=say)
    return Node(environ)
