"""A layer: a folder as a compressed tar, the same bytes whenever and by whomever it is made."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer and the two digests that an image names it by."""

    raw: bytes
    diff_id: str
    """The digest of the tar itself."""
    comment: str

    @property
    def digest(self) -> str:
        """The digest of what is stored."""
        return sha256(self.raw)


def sha256(raw: bytes) -> str:
    """A digest as the OCI image format writes it."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def layer(root: Path, comment: str, *, time: int) -> Layer:
    """Pack a folder. Names are sorted, owners are root, times are one and the same: nothing else may differ.

    Args:
        root: its contents become the layer's, from ``/`` on.
        comment: what it holds, for the image's history.
        time: seconds since the epoch, of every entry.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*"), key=lambda found: found.relative_to(root).as_posix()):
            _add(tar, path, path.relative_to(root).as_posix(), time)
    plain = packed.getvalue()
    # Without a name and a time in the header, and by zlib of Python itself.
    return Layer(gzip.compress(plain, _LEVEL, mtime=0), sha256(plain), comment)


def _add(tar: tarfile.TarFile, path: Path, name: str, time: int) -> None:
    entry = tar.gettarinfo(path, arcname=name)
    if entry.islnk():  # a second name of a file that is in already: it depends on who was first
        entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = time
    executable = bool(entry.mode & 0o100)
    entry.mode = 0o755 if entry.isdir() or executable else 0o644
    if name == "tmp":
        entry.mode = 0o1777
    if entry.isreg():
        with path.open("rb", _BLOCK) as content:
            tar.addfile(entry, content)
    elif entry.isdir() or entry.issym():
        tar.addfile(entry)
