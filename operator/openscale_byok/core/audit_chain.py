"""The chain of audit lines: each names the digest of the one before, so that a hole in the record shows.

Pure: a line goes in as the bytes of the file. A line of the chain, a *link*, is a JSON object with `sequence` (its
number, from 1) and `previous` (the SHA-256 of the bytes of the link before it, without its newline; nothing in the
first). What stands between two links and is none itself (a line that a crash cut in two, or lines from before the
chain was switched on) is vouched for by the next link: its `unchained` holds the digest of all those bytes.

Who may write the file can write another chain. What they cannot do is keep the digest of a last line that was noted
elsewhere.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

LONGEST_LINE = 1_000_000
"""Bytes; what is longer is no line of ours."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a line says of the chain."""

    sequence: int
    previous: str
    unchained: str = ""

    @property
    def first(self) -> bool:
        """Whether a chain begins with it."""
        return self.sequence == 1 and not self.previous


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain: what the next one must name."""

    sequence: int = 0
    digest: str = ""

    def next(self, line: bytes) -> "Head":
        """The head once this line was written."""
        return Head(self.sequence + 1, digest(line))


@dataclass(frozen=True, slots=True)
class Fault:
    """The first line that is not as it was written."""

    line: int
    """Its number, from 1, over all files."""
    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at a chain came to."""

    lines: int
    head: Head
    fault: Fault | None = None
    began: tuple[int, ...] = ()
    """The lines that a chain begins with."""
    unchained: int = 0
    """Lines that are no links, vouched for by the link after them."""


def digest(line: bytes) -> str:
    """What the next line names this one by; its newline does not count."""
    return sha256(line.removesuffix(b"\n")).hexdigest()


def link_of(line: bytes) -> Link | None:
    """What a line says of the chain, if it is one of its links."""
    if len(line) > LONGEST_LINE or not line.startswith(b"{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    sequence, previous, unchained = found.get("sequence"), found.get("previous"), found.get("unchained", "")
    if type(sequence) is not int or not isinstance(previous, str) or not isinstance(unchained, str):
        return None
    return Link(sequence, previous, unchained)


def verify(lines: Iterable[bytes], *, after: str = "", expect: str = "", restarts: bool = False) -> Verified:
    """Look at a chain from its first line to its last.

    Args:
        lines: of all files, in order, each with its newline.
        after: the digest of the line before the first one, where that is in a file that is not here.
        expect: a digest that was noted; the line that has it must be there. Empty: none was.
        restarts: whether a chain may begin in the middle, as on a standard stream with each process.
    """
    look = _Look(after, restarts=restarts)
    met = not expect or expect == after
    waiting: bytes | None = None
    for line in lines:
        if waiting is not None:
            look.at(waiting, following=line)
            met = met or look.head.digest == expect
        if look.fault is not None:
            return look.result()
        waiting = line
    if waiting is not None:
        look.at(waiting, following=None)
        met = met or look.head.digest == expect
    look.end()
    if look.fault is None and not met:
        look.fault = Fault(look.lines + 1, f"no line has the digest {expect}: lines are missing at the end")
    return look.result()


class _Look:
    """A look that is under way."""

    def __init__(self, after: str, *, restarts: bool) -> None:
        self.head, self.lines = Head(0, after), 0
        self.fault: Fault | None = None
        self._restarts = restarts
        self._began: list[int] = []
        self._number = 0  # of lines since the last link that are none
        self._sum = sha256()
        self._unchained = 0

    def at(self, line: bytes, following: bytes | None) -> None:
        """Take the next line. The one that follows tells which of two that do not fit is the changed one."""
        self.lines += 1
        link = link_of(line)
        if link is None:
            self._sum.update(line)
            self._number += 1
            return
        if self._number or link.unchained:
            if link.unchained != self._sum.hexdigest():
                text = "is no line of the chain: it was changed, cut or put in"
                missing = "was changed, or what stood before it is missing"
                self._fail(self.lines - self._number, text if self._number else missing)
                return
            self._unchained += self._number
            self._number, self._sum = 0, sha256()
        self._fit(line, link, following)

    def _fit(self, line: bytes, link: Link, following: bytes | None) -> None:
        known = bool(self.head.digest)
        if link.first and (self._restarts or not known):
            self._began.append(self.lines)
        elif not known:
            text = "goes on with a chain that began in a file that is not here: name that file first, or --after DIGEST"
            self._fail(self.lines, text)
        elif link.first:
            text = "begins a new chain: lines before it may be missing (on a standard stream each process begins one)"
            self._fail(self.lines, text)
        elif self.head.sequence and link.sequence != self.head.sequence + 1:
            self._jump(link)
        elif link.previous != self.head.digest:
            own = following is not None and (found := link_of(following)) is not None and found.previous != digest(line)
            if own or not self.head.sequence:
                self._fail(self.lines, "was changed, or is not the line after the one that is named")
            else:
                self._fail(self.lines - 1, "was changed: the line after it names another digest")
        if self.fault is None:
            self.head = Head(link.sequence, digest(line))

    def _jump(self, link: Link) -> None:
        due = self.head.sequence + 1
        if link.sequence > due:
            text = f"has number {link.sequence}, and {due} was due: {link.sequence - due} lines before it are missing"
        else:
            text = f"has number {link.sequence}, and {due} was due: it was moved, or is there twice"
        self._fail(self.lines, text)

    def end(self) -> None:
        """No line is left."""
        if self.fault is None and self._number:
            self._fail(self.lines - self._number + 1, "is cut, or no line of the chain, and no line after it says so")

    def _fail(self, line: int, text: str) -> None:
        if self.fault is None:
            self.fault = Fault(line, text)

    def result(self) -> Verified:
        """What it came to."""
        return Verified(self.lines, self.head, self.fault, tuple(self._began), self._unchained)
