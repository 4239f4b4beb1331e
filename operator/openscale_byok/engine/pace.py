"""How often each caller may ask: so many at once, and so many a second on average. How many may wait at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from openscale_byok.errors import Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

MOST = 10_000
"""Callers that are kept count of, at some 100 bytes each. The one that is forgotten for another asked longest ago."""

TOO_MANY = "more requests than this gateway takes from one caller; ask less often"
ROUNDING = 1e-6
"""Seconds. A clock's fractions add up inexactly: nobody is refused for that."""


class Pace:
    """A token bucket for each caller, kept as one number: when it will be full again.

    Whoever asks faster than they may is refused as many as are too many; a refusal itself costs nothing of the bucket.
    """

    def __init__(self, per_second: float, burst: int, clock: Clock, most: int = MOST, text: str = TOO_MANY) -> None:
        """Let each caller ask `per_second` times a second on average, `burst` times at once; *text* is for others."""
        self._text = text
        self._each = 1.0 / per_second
        self._room = burst * self._each
        self._clock = clock
        self._most = most
        self._full: dict[str, float] = {}

    def take(self, who: str, cost: float = 1.0) -> None:
        """Count one request of a caller.

        Args:
            who: the caller.
            cost: as so many requests. What is more than there is left is owed: a request that costs more than a whole
                burst is let through too, and the next one waits the longer.

        Raises:
            Unavailable: `TooManyRequests`, and after how many seconds the next one is let through.
        """
        now = self._clock.monotonic()
        before = max(self._full.pop(who, now), now)  # back in at the end: the most recent one now
        full = before + self._each
        if full - now > self._room + ROUNDING:
            self._full[who] = before
            raise Unavailable(Reason.TOO_MANY_REQUESTS, self._text, retry_after=full - now - self._room)
        self._full[who] = before + self._each * cost
        if len(self._full) > self._most:
            del self._full[next(iter(self._full))]

    def give_back(self, who: str) -> None:
        """Count one request of a caller no more: it turned out to be none of those that are counted."""
        if who in self._full:
            self._full[who] -= self._each


class Waits:
    """So many requests that wait at once: in all, and of each caller. One more is not refused: it does not wait."""

    def __init__(self, most: int, most_of_one: int) -> None:
        """Let `most` wait at once, and `most_of_one` of each caller."""
        self._most, self._most_of_one = most, most_of_one
        self._inside: Counter[str] = Counter()

    @contextmanager
    def place(self, who: str) -> Iterator[bool]:
        """A place for as long as the block lasts; False where there is none left."""
        if self._inside[who] >= self._most_of_one or self._inside.total() >= self._most:
            yield False
            return
        self._inside[who] += 1
        try:
            yield True
        finally:
            self._inside[who] -= 1
            if not self._inside[who]:
                del self._inside[who]
