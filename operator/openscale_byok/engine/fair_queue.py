"""Turns, shared fairly: whoever has many waiting is served no more often than whoever has one."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason


class FairQueue:
    """So many turns at once, and so many who wait for one, in a queue for each flow (an address, a caller).

    The flows are served in rounds, one of each. Where too many wait, the newest of the longest queue is sent away: so a
    flood fills its own queue, and sends away its own.
    """

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._free = at_once
        self._most = most_waiting
        self._waiting = 0
        self._flows: dict[Hashable, deque[asyncio.Future[None]]] = {}  # the first one is served next

    @asynccontextmanager
    async def turn(self, flow: Hashable) -> AsyncIterator[None]:
        """A turn for as long as the block lasts.

        Raises:
            Unavailable: `TooManyRequests`: too many wait, and most of them in this flow.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(flow)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, flow: Hashable) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flows.setdefault(flow, deque()).append(place)
        self._waiting += 1
        if self._waiting > self._most:
            self._send_away(flow)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(flow, place)
            elif place.exception() is None:
                self._pass_on()  # the turn came in the moment in which nobody wanted it any more
            raise

    def _pass_on(self) -> None:
        """A turn is over: the next one's, or nobody's."""
        while self._flows:
            flow = next(iter(self._flows))
            queue = self._flows.pop(flow)
            place = queue.popleft()
            if queue:
                self._flows[flow] = queue  # at the end: the others come first
            self._waiting -= 1
            if not place.done():  # else who waited has gone, and has not noticed yet
                place.set_result(None)
                return
        self._free += 1

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
