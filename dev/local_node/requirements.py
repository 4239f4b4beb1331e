"""What a machine must have to run a node, and what this one lacks."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "nft": "nftables", "iptables": "iptables",
    "conntrack": "conntrack", "ip": "iproute2", "unshare": "util-linux",
}  # fmt: skip
"""Programs, and Debian's package of each."""
PLUGINS = Path("/usr/lib/cni")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CGROUPS = Path("/sys/fs/cgroup")
_NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--propagation", "private")


def missing(path: str = PATH, *, user: int | None = None) -> list[str]:
    """What keeps a node from running here, each with its cure; empty where one can run.

    Args:
        path: where programs are looked for.
        user: who runs it; None: who runs this.
    """
    if barred := refused(user=user):
        return [barred]
    if wanted := packages(path):
        return [f"apt-get install --no-install-recommends {' '.join(wanted)}"]
    if not _may(*_NAMESPACES, "sh", "-c", "ip link add node0 type bridge && nft list ruleset"):
        return ["this machine's kernel lets root make no bridge, or has no nf_tables: use kind"]
    return []


def refused(*, user: int | None = None) -> str:
    """Why no package would help here, with the cure; empty where packages are all that may be missing."""
    if platform.system() != "Linux":
        return f"a node needs Linux, and this is {platform.system()}: use kind"
    if (os.geteuid() if user is None else user) != 0:
        return "a node needs root: run it as root on a machine of your own, or use kind"
    if not _may(*_NAMESPACES, "mount", "-t", "tmpfs", "none", "/mnt"):
        return "this machine does not let root make namespaces (in a container: --privileged); use kind"
    if not _may_make_groups():
        return "this machine does not let root make control groups (in a container: --privileged); use kind"
    return ""


def packages(path: str = PATH) -> list[str]:
    """Debian's packages that a node needs and that are not here."""
    wanted = {package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None}
    if not (PLUGINS / "bridge").exists():
        wanted.add("containernetworking-plugins")
    return sorted(wanted)


def _may(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _may_make_groups() -> bool:
    root = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "memory"
    try:
        Path(tempfile.mkdtemp(prefix="openscale-may-", dir=root)).rmdir()
    except OSError:
        return False
    return True
