"""The starter's end of the line to a cluster's supervisor: launch it, give it orders, end it.

A lock on one file in the cluster's folder is held by the supervisor alone, from before its
first process until it is gone: a folder whose lock can be taken has no cluster.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cluster.errors import ClusterError

SCRIPT = Path(__file__).with_name("supervisor.py")
LOCK = ".openscale-cluster.lock"
LOCK_DESCRIPTOR = 3
OPTION_PREFIXES = ("ETCD_", "GODEBUG")  # the programs would take these as options
POLL_SECONDS = 0.02
END_SECONDS = 30.0
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Death:
    """A process of the cluster that ended by itself."""

    name: str
    code: int
    tail: str

    def __str__(self) -> str:
        """Say which process it was, and its last words."""
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"exited with {self.code}"
        return f"{self.name} {how}; the end of its log:\n{self.tail}"


class Lifeline:
    """Holds on to a cluster's supervisor: when this process goes, so does the cluster."""

    def __init__(self, folder: Path, lock: int) -> None:
        """Launch a supervisor that owns the folder and its lock."""
        self._folder = folder
        self._given = 0
        log = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        orders, self._orders = os.pipe()
        try:
            # Not subprocess.Popen: it warns of a child that outlives it, as a detached cluster's does.
            self.supervisor = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(SCRIPT), str(folder), str(os.getpid())],
                {name: value for name, value in os.environ.items() if not name.startswith(OPTION_PREFIXES)},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, orders, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, lock, LOCK_DESCRIPTOR),
                ],
            )
        finally:
            for descriptor in (orders, log, lock):
                os.close(descriptor)

    def start(self, name: str, argv: Sequence[str]) -> None:
        """Have the supervisor start a process."""
        self._order({"start": name, "argv": list(argv)})

    def freeze(self, name: str) -> None:
        """Have a process stopped where it is, and return once it is."""
        self._carried_out({"freeze": name})

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._order({"thaw": name})

    def end(self, name: str) -> None:
        """Have a process killed, and return once it is gone; the others go on."""
        self._carried_out({"end": name})

    def again(self, name: str) -> None:
        """Have a process that was ended started as it was."""
        self._order({"again": name})

    def detach(self) -> None:
        """Let the cluster live on when this process goes."""
        self._order({"detach": True})
        self.let_go()

    def let_go(self) -> None:
        """Close the line: an attached cluster ends."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    @property
    def holds(self) -> bool:
        """Tell whether orders can still be given."""
        return self._orders >= 0

    def _carried_out(self, order: dict[str, object]) -> None:
        self._given += 1
        word = f"{self._given}"
        self._order(order | {"ack": word})
        deadline = time.monotonic() + END_SECONDS
        while _read(self._folder / "ack") != word:
            if time.monotonic() > deadline or not is_alive(self._folder):
                raise ClusterError(f"the supervisor did not do {order}:\n{tail(self._folder / 'supervisor.log')}")
            time.sleep(POLL_SECONDS)

    def _order(self, order: dict[str, object]) -> None:
        try:
            os.write(self._orders, json.dumps(order).encode() + b"\n")
        except BrokenPipeError as error:
            raise ClusterError(f"the cluster's supervisor is gone:\n{tail(self._folder / 'supervisor.log')}") from error


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text()
    return ""


def claim(folder: Path) -> int | None:
    """Take the folder's lock, or return None when a cluster (or another starter) holds it."""
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:  # else a sweeper removed it between open and lock
                return lock
        os.close(lock)
    return None


def is_alive(folder: Path) -> bool:
    """Tell whether a supervisor holds the folder."""
    return (folder / LOCK).exists() and not _lock_is_free(folder / LOCK)


def death(folder: Path) -> Death | None:
    """Say which process of the cluster ended by itself, if one did."""
    try:
        report = json.loads((folder / "exit.json").read_bytes())
    except FileNotFoundError:
        return None
    return Death(report["name"], report["code"], tail(folder / f"{report['name']}.log"))


def tail(log: Path) -> str:
    """Give the last lines of a log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (empty)"


def end(folder: Path, supervisor: int, line: Lifeline | None = None) -> None:
    """End a cluster and wait until its processes and its folder are gone."""
    with contextlib.suppress(FileNotFoundError), (folder / LOCK).open("rb") as lock:
        if not _is_free(lock.fileno()):
            # A signal, not the line's end alone: a fork of ours may hold the line open too.
            os.kill(supervisor, signal.SIGTERM)  # the lock is held: the number is still its own
            deadline = time.monotonic() + END_SECONDS
            while not _is_free(lock.fileno()):
                if time.monotonic() > deadline:
                    raise ClusterError(f"the cluster in {folder} did not end: see supervisor {supervisor}")
                time.sleep(POLL_SECONDS)
    if line is not None:
        line.let_go()
    with contextlib.suppress(ChildProcessError):  # it may be another process's child
        os.waitpid(supervisor, 0)
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folders: Iterator[Path]) -> None:
    """Remove this user's folders of clusters whose supervisor was itself killed."""
    for folder in folders:
        if is_ours(folder) and (lock := claim(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def is_ours(folder: Path) -> bool:
    """Tell whether a folder is this user's and a cluster's, alive or dead."""
    with contextlib.suppress(OSError):
        return folder.lstat().st_uid == os.getuid() and (folder / LOCK).exists()
    return False


def _lock_is_free(path: Path) -> bool:
    try:
        with path.open("rb") as lock:
            return _is_free(lock.fileno())
    except FileNotFoundError:
        return True


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
