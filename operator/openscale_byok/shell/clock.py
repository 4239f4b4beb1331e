"""The machine's clocks, behind the port `Clock`."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """See `ports.Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return time.monotonic()
