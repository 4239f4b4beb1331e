"""The one clock of every time rule: real time plus an offset that the control API moves.

IBM's rules (30 s, one hour, 30 days, ...) stay as they are; a test moves the clock instead of waiting.
"""

import re
import time
from datetime import UTC, datetime
from typing import Final

LIMIT = 100 * 365 * 86_400.0  # how far from real time the clock may be set, in seconds

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC, microsecond=0)
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


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
    """2026-01-31T10:00:00Z, as Key Protect prints dates. A date that has no such form is the nearest that has one."""
    seconds = int(min(max(epoch, EARLIEST.timestamp()), LATEST.timestamp()))
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_rfc3339(text: str) -> float:
    """Read an RFC 3339 date and time, as Go reads it: with a zone. Raises ValueError.

    A moment whose year is not 1 to 9999 in UTC is refused: nobody could be told about it again.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("not a date and time of RFC 3339")
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except OverflowError as error:
        raise ValueError("the date lies outside the years 1 to 9999 of UTC") from error
