"""Readers that never stop: what happens meanwhile must cost none of them a read."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import apply, claim, kubectl, until
from e2e.pods import TEAM, readers

_ENOUGH = 40
"""Reads before something happens, and after it."""


@dataclass
class Count:
    """What the readers counted while something happened."""

    reads: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    issuers: set[str] = field(default_factory=set)
    """Who signed the certificates that they saw."""


@contextmanager
def reading() -> Iterator[Count]:
    """Reads go on while this holds. At its end the count is there, and no read has failed.

    Raises:
        StoryFailed: a read failed, or the readers did not read.
    """
    apply(*readers())
    try:
        kubectl("rollout", "status", "--namespace", TEAM, "deployment/readers", "--timeout=120s")
        until("they read", lambda: said()["reads"] >= _ENOUGH)
        count = Count()
        yield count
        now = said()["reads"]
        until("they still read", lambda: said()["reads"] >= now + _ENOUGH)
        last = said()
        count.reads, count.failures, count.issuers = last["reads"], last["failures"], set(last["issuers"])
        claim(not count.failures, f"no read failed: {count.failures}")
    finally:
        kubectl("delete", "--namespace", TEAM, "deployment/readers", "--ignore-not-found", "--timeout=60s")


def said() -> dict[str, Any]:
    """The readers' last line; zeroes before there is one."""
    lines = kubectl("logs", "--namespace", TEAM, "deployment/readers", "--tail", "1").strip()
    return dict(json.loads(lines)) if lines.startswith("{") else {"reads": 0, "failures": {}, "issuers": {}}
