"""What a node has for itself: mounts, a network, control groups. Run in namespaces that were just made.

What is not in a namespace is put back at the end: three settings of the kernel that a kubelet writes, and the control
groups. What a killed run left is put back by the next one.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from local_node.errors import NodeError

ADDRESS = "10.77.0.1"
"""The node's own address, in a network that nobody else is in."""
PODS = "10.78.0.0/24"
CGROUPS = Path("/sys/fs/cgroup")
KERNEL = Path("/proc/sys")
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
SAVED = "kernel-settings.json"
_END_SECONDS = 10.0
_POLL_SECONDS = 0.05


def isolate() -> None:
    """Mounts and a network of our own: loopback, and a bridge with the node's address as the way to everywhere."""
    for words in (
        "mount --make-rshared /",
        "mount -t proc proc /proc",
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip link add node0 type bridge",
        f"ip address add {ADDRESS}/24 dev node0",
        "ip link set node0 up",
        f"ip route add default via {ADDRESS}",
    ):
        run(*words.split())
    (KERNEL / "net/ipv4/ip_forward").write_text("1")
    bridged = KERNEL / "net/bridge/bridge-nf-call-iptables"
    if bridged.exists():
        bridged.write_text("1")


def unified() -> bool:
    """Whether this machine has control groups of version 2."""
    return (CGROUPS / "cgroup.controllers").exists()


def control_groups(folder: Path) -> str:
    """Make a group of our own in each hierarchy; its path. What a kubelet sets for the whole machine is saved first."""
    save(folder)
    for root in [CGROUPS] if unified() else [place for place in CGROUPS.iterdir() if (place / "tasks").exists()]:
        group = root / folder.name
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # of version 1: empty ones take no process
            if not unified() and (root / name).exists():
                (group / name).write_text((root / name).read_text())
    return f"/{folder.name}"


def remove(group: Path) -> None:
    """Remove a control group and those below it, whose processes have ended, or are ended now."""
    end = time.monotonic() + _END_SECONDS
    while group.exists() and time.monotonic() < end:
        for place, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                for pid in (Path(place) / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                Path(place).rmdir()
        time.sleep(_POLL_SECONDS)


def save(folder: Path, kernel: Path = KERNEL) -> None:
    """Write down what a kubelet will change outside of all namespaces."""
    found = {name: (kernel / name).read_text() for name in SETTINGS}
    (folder / SAVED).write_text(json.dumps(found))


def put_back(folder: Path, kernel: Path = KERNEL) -> None:
    """Put back what was written down, once."""
    saved = folder / SAVED
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            with contextlib.suppress(OSError):
                (kernel / name).write_text(value)
        saved.unlink()


def run(*command: str) -> str:
    """Run a program to its end; what it printed.

    Raises:
        NodeError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodeError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
