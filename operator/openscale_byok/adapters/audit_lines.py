"""The audit as lines of JSON in a file, or on a standard stream. Each is with the operating system before `write` ends.

The names are CADF's where it has them (docs/audit.md). A line is ASCII: no value can begin another line, and none is
longer than `LONGEST`. In a file it is a single write: a program that appends to the same one cannot come in between.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import select
import socket
import stat
import threading
from datetime import UTC
from hashlib import sha256
from json import JSONEncoder
from typing import Any

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.audit_chain import Head, digest, link_of
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

STANDARD = "-"
"""In place of a path: the standard stream."""
STALLED_MILLISECONDS = 50
"""That a line waits for whoever reads the other end of a pipe. Nobody else is served meanwhile; so it is waited once,
and then no more until somebody reads again."""
LONGEST = 512
"""Characters of one value; what is longer is cut, and ends in an ellipsis."""
_BLOCK = 65_536
_TYPE = "http://schemas.dmtf.org/cloud/audit/1.0/event"
_encode = JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


class AuditLines:
    """The port `Audit`. It may be used by several threads; with a chain, by one process for each file."""

    def __init__(self, clock: Clock, file: str, observer: str, *, chain: bool = False, stream: int = 1) -> None:
        """Open the file, and make it for its owner alone where there is none.

        Args:
            clock: for the time in each line.
            file: its path; ``-``: a standard stream.
            observer: who writes, as `operator`, `gateway`.
            chain: whether each line names the digest of the one before.
            stream: the standard stream's number.

        Raises:
            Unavailable: it cannot be opened, or with a chain: another process has it.
        """
        self._clock, self._path, self._chained = clock, file if file != STANDARD else "", chain
        self._observer = {"name": observer, "host": socket.gethostname()}
        self._run, self._number = secrets.token_hex(8), 0
        self._lock = threading.Lock()
        self._fd, self._at = stream, (0, 0)
        self._waits = not self._path and not stat.S_ISREG(os.fstat(stream).st_mode)  # for a reader
        self._stalled = False  # whether nobody reads
        self._head = Head()
        self._unchained = sha256()  # of what stands after the last link, and is none
        self._stray = 0  # its bytes
        self._cut = False  # whether the last line has no newline
        if self._path:
            self._fd = -1
            try:
                self._open()
            except OSError as error:
                raise _said(error) from None

    def close(self) -> None:
        """Close the file; a standard stream is its owner's."""
        if self._path and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, event: AuditEvent) -> None:
        """See `ports.Audit`."""
        with self._lock:
            try:
                self._follow()
                if self._chained and (not self._head.digest or self._stray):
                    action = Action.CHAIN_RESUMED if self._head.digest else Action.CHAIN_BEGUN
                    self._line(AuditEvent(action, "success", self._observer["name"]))
                self._line(event)
            except OSError as error:
                raise _said(error) from None

    # Lines --------------------------------------------------------------------------------------------

    def _line(self, event: AuditEvent) -> None:
        newline = b"\n" if self._cut else b""
        self._number += 1
        found: dict[str, Any] = {}
        if self._chained:
            found = {"sequence": self._head.sequence + 1, "previous": self._head.digest}
            if self._stray:
                whole = self._unchained.copy()
                whole.update(newline)
                found["unchained"] = whole.hexdigest()
        now = self._clock.now().astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        found |= _fields(event, now, f"{self._run}-{self._number}")
        found["observer"] = self._observer
        self._put(newline, _encode(found).encode("ascii"))

    def _put(self, newline: bytes, line: bytes) -> None:
        """Write one line, and know afterwards what of it stands there."""
        data = newline + line + b"\n"
        written = 0
        try:
            while written < len(data):
                written += self._write(data[written:])
        finally:
            if written >= len(data) - 1:  # but for its newline it is whole, and counts
                self._cut = written < len(data)
                self._whole(line)
            elif written:
                self._cut = data[written - 1 : written] != b"\n"
                self._unchained.update(data[:written])
                self._stray += written

    def _write(self, data: bytes) -> int:
        """Write to a file; to a pipe only as much as certainly does not wait for its reader."""
        if not self._waits:
            return os.write(self._fd, data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        self._stalled = not poll.poll(0 if self._stalled else STALLED_MILLISECONDS)
        if self._stalled:
            raise BlockingIOError(errno.EAGAIN, "nobody reads")
        return os.write(self._fd, data[: select.PIPE_BUF])

    def _whole(self, line: bytes) -> None:
        if self._chained:
            self._head = self._head.next(line)
            if self._stray:
                self._unchained, self._stray = sha256(), 0

    # The file -----------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Write to another file where this one was renamed, as log rotation does; the chain goes on in it."""
        if not self._path:
            return
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                there = os.stat(self._path)  # noqa: PTH116 -- once for each line: a Path costs more
                if (there.st_dev, there.st_ino) == self._at:
                    return
        self._open()

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(fd)
            regular = stat.S_ISREG(found.st_mode)
            if regular and self._chained:
                _take(fd)
            if regular and found.st_size:
                self._resume(found.st_size)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._at, self._waits = fd, (found.st_dev, found.st_ino), not regular

    def _resume(self, size: int) -> None:
        """Go on where the file ends. Only whole lines count: what a crash cut in two is left, and shows as that."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._cut = os.pread(fd, 1, size - 1) != b"\n"
            if not self._chained:
                return
            end = _last_link(fd, size)
            if end is not None:
                self._head = end[1]
            self._unchained, self._stray = sha256(), 0
            at = end[0] if end is not None else 0
            while block := os.pread(fd, _BLOCK, at):
                self._unchained.update(block)
                self._stray += len(block)
                at += len(block)
        finally:
            os.close(fd)


def _fields(event: AuditEvent, now: str, event_id: str) -> dict[str, Any]:
    """A line without its observer; what is empty is left out."""
    found: dict[str, Any] = {"typeURI": _TYPE, "eventType": "activity", "id": event_id, "eventTime": now}
    found["action"], found["outcome"] = event.action.value, event.outcome
    if event.reason:
        found["reason"] = {"reasonCode": _bounded(event.reason)}
    initiator: dict[str, Any] = {"id": _bounded(event.who)}
    if event.by:
        initiator["by"] = _bounded(event.by)
    if event.source:
        initiator["host"] = {"address": _bounded(event.source)}
    found["initiator"] = initiator
    named = (("kind", event.kind), ("namespace", event.namespace), ("name", event.name))
    target = {name: _bounded(value) for name, value in (*named, ("belongsTo", event.belongs_to)) if value}
    if target:
        found["target"] = target
    keys = (("rootKey", event.root_key), ("dataKey", event.data_key))
    for name, value in (*keys, ("correlationId", event.trace), ("transactionId", event.transaction)):
        if value:
            found[name] = _bounded(value)
    if event.count != 1:
        found["count"] = event.count
    return found


def _bounded(value: str) -> str:
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def _take(fd: int) -> None:
    """Two writers of one chain would each name a line that is not the last."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = "the audit file is another process's: with OPENSCALE_BYOK_AUDIT_CHAIN each needs one of its own"
        raise Unavailable(Reason.AUDIT_UNAVAILABLE, text) from None


def _last_link(fd: int, size: int) -> tuple[int, Head] | None:
    """Where the file's last link ends, and the head that it makes; read from the end, block by block."""
    at, begun = size, b""
    while at:
        start = max(0, at - _BLOCK)
        found = os.pread(fd, at - start, start) + begun
        # What stands before the first newline may begin in the block before.
        whole = found.index(b"\n") + 1 if start and b"\n" in found else len(found) if start else 0
        end = start + len(found)
        for line in reversed(re.findall(rb"[^\n]*\n|[^\n]+", found[whole:])):
            link = link_of(line)
            if link is not None:
                return end, Head(link.sequence, digest(line))
            end -= len(line)
        at, begun = start, found[:whole]
    return None


def _said(error: OSError) -> Unavailable:
    why = os.strerror(error.errno) if error.errno is not None else type(error).__name__
    why = "nobody reads its other end" if error.errno == errno.EAGAIN else why
    text = f"the audit (OPENSCALE_BYOK_AUDIT_FILE) cannot be written: {why}"
    return Unavailable(Reason.AUDIT_UNAVAILABLE, text)
