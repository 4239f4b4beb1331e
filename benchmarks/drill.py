"""The revocation drill itself, whoever is asked: readers, and rounds of taking a root key away and giving it back.

Measured from the moment when Key Protect (or IAM) has acknowledged it to the last read that succeeded. Between two
rounds everything is given back, and every reader must succeed again.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

Act = Callable[[], None]
Ask = Callable[[int], Awaitable[bool]]
"""One read by a reader, by its number: whether it got the password. False: it was refused."""


class Readers:
    """So many that read passwords, each as fast as it gets an answer."""

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask = ask
        self.opened = 0
        self._success, self._refusal = [0.0] * number, [0.0] * number

    async def read(self, number: int) -> None:
        """One of them."""
        while True:
            if await self._ask(number):
                self._success[number] = time.monotonic()
                self.opened += 1
                await asyncio.sleep(0.001)
            else:
                self._refusal[number] = time.monotonic()
                await asyncio.sleep(0.005)

    @property
    def last_success(self) -> float:
        """When anybody last got a password."""
        return max(self._success)

    async def all_refused(self, since: float, seconds: float) -> None:
        """Until each was refused since then, and got nothing after that."""
        await _until(lambda: all(r > max(s, since) for s, r in zip(self._success, self._refusal, strict=True)), seconds)

    async def all_succeed(self, since: float, seconds: float) -> None:
        """Until each got a password since then."""
        await _until(lambda: min(self._success) > since, seconds)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- readers keep times, and set no event
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Round:
    """Seconds to the last opening that succeeded, and from giving it back until every reader succeeds again."""

    last: float
    recovery: float


@dataclass(frozen=True)
class Drill:
    """Readers, and the rounds that one can play with them."""

    readers: Readers
    poll_seconds: float

    @classmethod
    @asynccontextmanager
    async def of(cls, ask: Ask, number: int, poll_seconds: float) -> AsyncIterator["Drill"]:
        """Have the readers read, for as long as the block lasts. It begins once each of them succeeded."""
        readers = Readers(ask, number)
        tasks = [asyncio.create_task(readers.read(reader)) for reader in range(number)]
        try:
            await readers.all_succeed(0.0, 30.0)
            yield cls(readers, poll_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def play(self, take: Act, give_back: Act, bound: float) -> Round:
        """Take the root key away at any moment of the poll's interval, watch, and give it back."""
        await asyncio.sleep(random.random() * self.poll_seconds)  # noqa: S311 -- when, not what
        taken = await asyncio.to_thread(_acknowledged, take)
        await self.readers.all_refused(taken, bound + 60)
        await asyncio.sleep(self.poll_seconds)  # another look goes by, and nobody gets anything
        last = self.readers.last_success
        given = await asyncio.to_thread(_acknowledged, give_back)
        await self.readers.all_succeed(given, self.poll_seconds + 90)
        return Round(max(0.0, last - taken), time.monotonic() - given)


def _acknowledged(act: Act) -> float:
    act()
    return time.monotonic()


@dataclass(frozen=True)
class Part:
    """One way to lose the root key, so many rounds of it, and the bound that it is held against."""

    name: str
    rounds: Sequence[Round]
    bound: float

    def last(self, share: float) -> float:
        """The time within which this share of the rounds ended."""
        found = sorted(each.last for each in self.rounds)
        return found[max(0, math.ceil(share * len(found)) - 1)]

    @property
    def recovery(self) -> float:
        """The longest recovery."""
        return max(each.recovery for each in self.rounds)

    @property
    def kept(self) -> bool:
        """Whether every round ended within the bound."""
        return self.last(1) <= self.bound

    def row(self) -> tuple[str, ...]:
        """For the table."""
        times = (self.last(0.5), self.last(0.99), self.last(1), self.bound, self.recovery)
        return (self.name, str(len(self.rounds)), *(f"{seconds:.2f}" for seconds in times))
