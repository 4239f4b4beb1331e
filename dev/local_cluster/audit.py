"""Reads a cluster's audit log, so that requests can be counted exactly: by whom, on what, with what result.

A request is in the log by the time its answer has been read to the end.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
READS = frozenset({"get", "list"})


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One request that the API server has answered."""

    user: str
    agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @property
    def is_write(self) -> bool:
        """Tell whether it asked for a change. A review is posted too, but it is a question: nothing is stored."""
        return self.verb in WRITES and not self.resource.endswith("reviews")

    @property
    def is_read(self) -> bool:
        """Tell whether it asked for what is stored, once."""
        return self.verb in READS

    @property
    def target(self) -> str:
        """Give the resource, with its subresource."""
        return "/".join(filter(None, (self.resource, self.subresource)))


def position(path: Path) -> int:
    """Give the offset that stands for "now": what comes later is read from there.

    It is the end of the last whole line. One that is being written at this moment is of a request that was not
    answered yet, so it counts as later.
    """
    with path.open("rb") as log:
        at = log.seek(0, os.SEEK_END)
        while at > 0:
            step = min(at, 65_536)
            at = log.seek(at - step)
            found = log.read(step).rfind(b"\n")
            if found >= 0:
                return at + found + 1
        return 0


def requests(path: Path, since_offset: int = 0) -> Iterator[AuditEvent]:
    """Read the requests that were answered since an offset, in the order of their answers."""
    with path.open("rb") as log:
        log.seek(since_offset)
        for line in log:
            if not line.endswith(b"\n"):  # being written at this moment
                return
            yield _parse(line)


def _parse(line: bytes) -> AuditEvent:
    event = json.loads(line)
    target = event.get("objectRef", {})
    return AuditEvent(
        user=event["user"]["username"],
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
    )
