"""Answers kept for seconds: yes and no apart, each bounded in number; one question at a time for each.

What strangers ask costs little and pushes nobody out: their noes fill a store of their own, and so many of their
questions are under way at once, no more; in turns that are shared fairly. Who was told yes a moment ago, and who is
vouched for, asks in a lane of their own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

MOST = 10_000
"""Answers of each sort at hand, at about 1 kB each. One that makes room for another costs a question, no more."""
AT_ONCE = 16
"""Questions under way in each lane: each is a call to the API server, which has others to serve."""
MOST_WAITING = 256
"""Questions that wait for their turn in each lane: those of a cluster whose gateway has just started. At 2 ms each, the
last one waits some 30 ms."""
ANSWER_SECONDS = 4.0
"""Longest wait for an answer, its turn included. Shorter than a yes lives, so none is ever used that is older."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Answer(Generic[V]):
    """What came back."""

    value: V
    good: bool
    """A yes."""
    seconds: float
    """For how long it may be used, counted from when it was asked for."""


class Answers(Generic[K, V]):
    """Answers by what was asked."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._yes: dict[K, tuple[V, float]] = {}
        self._no: dict[K, tuple[V, float]] = {}
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._proven, self._new = (FairQueue(AT_ONCE, MOST_WAITING) for _ in range(2))

    def known(self, about: K) -> V | None:
        """The answer at hand, while it may be used."""
        for kept in (self._yes, self._no):
            found = kept.get(about)
            if found is not None and self._clock.monotonic() < found[1]:
                kept[about] = kept.pop(about)  # the most recently used now; no younger by that
                return found[0]
        return None

    def proven(self, about: K) -> bool:
        """Whether the last answer was a yes, be it over: a reason to let somebody pass those who are unknown."""
        return about in self._yes

    async def ask(
        self, about: K, question: Callable[[], Awaitable[Answer[V]]], flow: Hashable, *, vouched: bool = False
    ) -> V:
        """Ask, once for however many wait, and keep the answer.

        Args:
            about: what is asked.
            question: asks it.
            flow: who is served in turn with others: one who has many questions is served no more often.
            vouched: whether it need not wait behind those who are unknown.

        Raises:
            Unavailable: no answer in time, or too many ask; what is no answer is never kept.
        """
        flight = self._flights.get(about)
        if flight is None:
            lane = self._proven if vouched or self.proven(about) else self._new
            flight = self._flights[about] = asyncio.create_task(self._answer(about, lane, flow, question))
            flight.add_done_callback(lambda done: self._landed(about, done))
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [*self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, about: K, flight: asyncio.Task[V]) -> None:
        del self._flights[about]
        if not flight.cancelled():
            flight.exception()  # whoever asked may have gone

    async def _answer(
        self, about: K, lane: FairQueue, flow: Hashable, question: Callable[[], Awaitable[Answer[V]]]
    ) -> V:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), lane.turn(flow):
                asked = self._clock.monotonic()
                answer = await question()
        except TimeoutError:
            text = "who asks, or what they may do, could not be found out in time"
            raise Unavailable(Reason.CLUSTER_UNAVAILABLE, text) from None
        self._yes.pop(about, None)
        self._no.pop(about, None)
        kept = self._yes if answer.good else self._no
        # From when it was asked for: what is withdrawn after that is not in it.
        kept[about] = (answer.value, asked + answer.seconds)
        if len(kept) > self._most:
            del kept[next(iter(kept))]
        return answer.value
