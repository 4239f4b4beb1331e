"""The one clock of every time rule: real time plus an offset that the control API moves.

IBM's rules (30 s, one hour, 30 days, ...) stay as they are; a test moves the clock instead of waiting.
"""

import time
from datetime import UTC, datetime

LIMIT = 100 * 365 * 86_400.0  # how far from real time the clock may be set, in seconds


class Clock:
    """Seconds since the epoch, as the emulator sees them."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Raises ValueError if that leads out of the hundred years around now (as NaN does)."""
        offset = self.offset + seconds
        if not -LIMIT <= offset <= LIMIT:
            raise ValueError("the clock stays within a hundred years of real time")
        self.offset = offset

    def set(self, epoch: float) -> None:
        self.advance(epoch - self.now())


def rfc3339(epoch: float) -> str:
    """2026-01-31T10:00:00Z, as Key Protect prints dates."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """Read a date leniently; a date without a zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
