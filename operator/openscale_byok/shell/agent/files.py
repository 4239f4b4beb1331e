"""The file that a workload reads: replaced as a whole or not at all, and gone when it must be.

When the last good answer came is the file's own time of change. So a restart of the agent extends nothing.
"""

import contextlib
import os
import time
from pathlib import Path

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written, through links as the kubelet makes them; none: not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file. Whoever reads it sees the former content or this, also after a crash at any point.

    Raises:
        OSError: it cannot be written; the former file is still there.
    """
    beside = _beside(path)
    beside.unlink(missing_ok=True)  # of an agent that was killed; opening it could keep its permissions
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # O_EXCL follows no link
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def remove(path: Path) -> bool:
    """Take a file away, and what a killed agent left of it; whether it was there.

    Raises:
        OSError: it cannot be removed.
    """
    _beside(path).unlink(missing_ok=True)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def sweep(path: Path) -> None:
    """Remove what an agent that was killed in the middle left beside a file."""
    _beside(path).unlink(missing_ok=True)


def holds(path: Path, content: bytes, mode: int) -> bool:
    """Whether the file is this content already, with these permissions."""
    try:
        return path.stat().st_mode & 0o7777 == mode and not path.is_symlink() and path.read_bytes() == content
    except OSError:
        return False


def touch(path: Path) -> None:
    """Remember in the file that a good answer came now."""
    with contextlib.suppress(OSError):
        os.utime(path)


def age(path: Path) -> float | None:
    """Seconds since the last good answer, by the file; none where there is no file. A time to come counts as now."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def in_memory(folder: Path) -> bool:
    """Whether a folder is on a file system that never writes to a disk, but for swap.

    Raises:
        OSError: the folder is not there.
    """
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split()[2] == number:
                return after.split()[0] in _IN_MEMORY
    return False


def _beside(path: Path) -> Path:
    """Where a new content is written before it takes the file's place: always the same, so that it can be swept."""
    return path.with_name(f".{path.name}.openscale-byok-new")
