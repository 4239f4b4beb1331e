"""What a machine must have to run a node, and what this one lacks."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "containerd": "containerd", "ctr": "containerd", "runc": "runc", "nft": "nftables", "iptables": "iptables",
    "conntrack": "conntrack", "ip": "iproute2", "unshare": "util-linux",
}  # fmt: skip
"""Programs, and Debian's package of each."""
PLUGINS = Path("/usr/lib/cni")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(path: str = PATH, *, user: int | None = None) -> list[str]:
    """What keeps a node from running here, each with its cure; empty where one can run.

    Args:
        path: where programs are looked for.
        user: who runs it; None: who runs this.
    """
    if platform.system() != "Linux":
        return [f"a node needs Linux, and this is {platform.system()}: use kind"]
    if (os.geteuid() if user is None else user) != 0:
        return ["a node needs root: run it as root on a machine of your own, or use kind"]
    wanted = {package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None}
    if not (PLUGINS / "bridge").exists():
        wanted.add("containernetworking-plugins")
    found = [f"apt-get install --no-install-recommends {' '.join(sorted(wanted))}"] if wanted else []
    if not found and not _may_unshare():
        found.append("this machine does not let root make namespaces (in a container: --privileged); use kind")
    return found


def _may_unshare() -> bool:
    command = ["unshare", "-m", "-n", "-p", "-u", "-i", "-f", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
