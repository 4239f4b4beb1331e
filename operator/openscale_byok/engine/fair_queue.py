"""Turns, shared fairly: whoever has many waiting is served no more often than whoever has one."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason


class FairQueue:
    """So many turns at once, and so many who wait for one, in a queue for each flow (an address, a caller).

    The flows are served in rounds, one of each. Where too many wait, the newest of the longest queue is sent away: so a
    flood fills its own queue, and sends away its own.
    """

    def __init__(self, at_once: int, most_waiting: int | None = None, *, most_of_one: int | None = None) -> None:
        """*most_of_one* flow have a turn at once: the others find one free."""
        self.free = at_once
        """Turns that nobody has."""
        self._most = most_waiting
        self._most_of_one = at_once if most_of_one is None else most_of_one
        self._having: Counter[Hashable] = Counter()
        self._waiting = 0
        self._flows: dict[Hashable, deque[asyncio.Future[None]]] = {}  # the first one is served next

    @asynccontextmanager
    async def turn(self, flow: Hashable) -> AsyncIterator[None]:
        """A turn for as long as the block lasts.

        Raises:
            Unavailable: `TooManyRequests`: too many wait, and most of them in this flow.
        """
        await self.take(flow)
        try:
            yield
        finally:
            self.give_back(flow)

    async def take(self, flow: Hashable) -> None:
        """Have a turn, until it is given back.

        Raises:
            Unavailable: as `turn`.
        """
        if self.free and self._having[flow] < self._most_of_one:
            self._begin(flow)
        else:
            await self._wait(flow)

    def give_back(self, flow: Hashable) -> None:
        """A turn is over: the next one's, or nobody's."""
        self.free += 1
        self._having[flow] -= 1
        if not self._having[flow]:
            del self._having[flow]
        self._pass_on()

    def _begin(self, flow: Hashable) -> None:
        self.free -= 1
        self._having[flow] += 1

    async def _wait(self, flow: Hashable) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flows.setdefault(flow, deque()).append(place)
        self._waiting += 1
        if self._most is not None and self._waiting > self._most:
            self._send_away(flow)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(flow, place)
            elif place.exception() is None:
                self.give_back(flow)  # the turn came in the moment in which nobody wanted it any more
            raise

    def _pass_on(self) -> None:
        while self.free:
            flow = next((flow for flow in self._flows if self._having[flow] < self._most_of_one), None)
            if flow is None:
                return
            queue = self._flows.pop(flow)
            place = queue.popleft()
            if queue:
                self._flows[flow] = queue  # at the end: the others come first
            self._waiting -= 1
            if not place.done():  # else who waited has gone, and has not noticed yet
                self._begin(flow)
                place.set_result(None)

    def _send_away(self, newcomer: Hashable) -> None:
        longest = newcomer  # where others are as long, the newest of all goes
        for flow, queue in self._flows.items():
            if len(queue) > len(self._flows[longest]):
                longest = flow
        place = self._flows[longest][-1]
        self._leave(longest, place)
        text = "too many callers that are new here ask at once; try again in a second"
        if place.done():
            return  # who waited had gone: it makes room as well
        place.set_exception(Unavailable(Reason.TOO_MANY_REQUESTS, text, retry_after=1.0))

    def _leave(self, flow: Hashable, place: asyncio.Future[None]) -> None:
        queue = self._flows.get(flow, deque())
        if place in queue:
            queue.remove(place)
            self._waiting -= 1
            if not queue:
                del self._flows[flow]
