"""How often each caller may ask: so many at once, and so many a second on average."""

from openscale_byok.errors import Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

MOST = 10_000
"""Callers that are kept count of, at some 100 bytes each. The one that is forgotten for another asked longest ago."""

ROUNDING = 1e-6
"""Seconds. A clock's fractions add up inexactly: nobody is refused for that."""


class Pace:
    """A token bucket for each caller, kept as one number: when it will be full again.

    Whoever asks faster than they may is refused as many as are too many; a refusal itself costs nothing of the bucket.
    """

    def __init__(self, per_second: float, burst: int, clock: Clock, most: int = MOST) -> None:
        """Let each caller ask `per_second` times a second on average, and `burst` times at once."""
        self._each = 1.0 / per_second
        self._room = burst * self._each
        self._clock = clock
        self._most = most
        self._full: dict[str, float] = {}

    def take(self, who: str) -> None:
        """Count one request of a caller.

        Raises:
            Unavailable: `TooManyRequests`, and after how many seconds the next one is let through.
        """
        now = self._clock.monotonic()
        full = max(self._full.pop(who, now), now) + self._each  # back in at the end: the most recent one now
        if full - now > self._room + ROUNDING:
            self._full[who] = full - self._each
            text = "more requests than this gateway takes from one caller; ask less often"
            raise Unavailable(Reason.TOO_MANY_REQUESTS, text, retry_after=full - now - self._room)
        self._full[who] = full
        if len(self._full) > self._most:
            del self._full[next(iter(self._full))]
