"""The one clock of every time rule: real time plus an offset that the control API moves.

IBM's rules (30 s, one hour, 30 days, ...) stay as they are; a test moves the clock instead of waiting.
"""

import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, as the emulator sees them."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def set(self, epoch: float) -> None:
        self.offset = epoch - time.time()


def rfc3339(epoch: float) -> str:
    """2026-01-31T10:00:00Z, as Key Protect prints dates."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """Read a date leniently; a date without a zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
