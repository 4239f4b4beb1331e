"""Turns that are shared fairly, and who is sent away where too many wait."""

import asyncio

import pytest

from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason


class Desk:
    """Takes turns, and notes who had one; each lasts until it is ended."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self.queue = FairQueue(at_once, most_waiting)
        self.served: list[str] = []
        self.ends: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *flows: str) -> None:
        self.tasks += [asyncio.create_task(self._turn(flow)) for flow in flows]
        await settle()

    async def end(self, number: int = 1) -> None:
        for _ in range(number):
            self.ends.pop(0).set()
            await settle()

    async def _turn(self, flow: str) -> None:
        async with self.queue.turn(flow):
            self.served.append(flow)
            self.ends.append(asyncio.Event())
            await self.ends[-1].wait()

    @property
    def sent_away(self) -> list[int]:
        """The numbers of those who were, in the order in which they came."""
        done = [number for number, task in enumerate(self.tasks) if task.done() and not task.cancelled()]
        found = [(number, self.tasks[number].exception()) for number in done]
        assert all(isinstance(error, Unavailable | None) for _, error in found)
        assert {error.reason for _, error in found if error} <= {Reason.TOO_MANY_REQUESTS}
        return [number for number, error in found if error]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_flows_are_served_in_rounds():
    """One of each, however many one of them has; in each, who came first."""
    desk = Desk(1, 100)
    await desk.come("x", *"aaaa", "b", "c", "c")
    await desk.end(8)
    assert desk.served == ["x", "a", "b", "c", "a", "c", "a", "a"]


async def test_the_longest_queue_sends_away_its_newest():
    """A flood sends away its own; who comes alone has a place. Where all are as long, the newest of all goes."""
    desk = Desk(1, 4)
    await desk.come("x", *"aaaa", "b", "c")
    assert desk.sent_away == [3, 4]
    await desk.come("d", "e")
    assert desk.sent_away == [2, 3, 4, 8]
    await desk.end(5)
    assert desk.served == ["x", "a", "b", "c", "d"]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_no_turn_is_lost(at_once):
    """Whoever goes away while they wait, or in the moment in which their turn comes, passes it on; all are free."""
    desk = Desk(at_once, 100)
    await desk.come(*"aaaaaa", *"bb")
    waiting = desk.tasks[at_once:]
    waiting[0].cancel()
    await settle()
    desk.ends[0].set()
    await asyncio.sleep(0)  # its turn is over, and passed on to somebody who has not run yet
    await asyncio.sleep(0)
    waiting[1].cancel()
    await settle()
    del desk.ends[0]
    while desk.ends:
        await desk.end()
    await asyncio.gather(*desk.tasks, return_exceptions=True)
    assert desk.queue.free == at_once
    assert not desk.queue._flows
    assert desk.queue._waiting == 0


async def test_many_who_go_away_at_once_lose_no_turn():
    """All are cancelled in the same moment, those who have a turn first: each passes it to one who is just leaving."""
    desk = Desk(2, 100)
    await desk.come(*"abcabcabc")
    for task in desk.tasks:
        task.cancel()
    await asyncio.gather(*desk.tasks, return_exceptions=True)
    assert all(task.cancelled() for task in desk.tasks)
    assert (desk.queue.free, desk.queue._waiting, desk.queue._flows) == (2, 0, {})


async def test_one_flow_leaves_turns_to_the_others():
    """It has as many as it may; what is left is free for whoever comes, and its own go on as its turns come back."""
    queue = FairQueue(4, most_of_one=3)
    taken = [asyncio.ensure_future(queue.take("many")) for _ in range(5)]
    await asyncio.sleep(0)
    assert [each.done() for each in taken] == [True] * 3 + [False] * 2
    await queue.take("one")
    assert queue.free == 0
    queue.give_back("one")
    await asyncio.sleep(0)
    assert [each.done() for each in taken] == [True] * 3 + [False] * 2
    queue.give_back("many")
    queue.give_back("many")
    await asyncio.gather(*taken)
    for _ in range(3):
        queue.give_back("many")
    assert queue.free == 4


async def test_who_goes_away_just_as_its_turn_comes_takes_none_along():
    """Cancelled with its turn in hand: the next one has it."""
    queue = FairQueue(1)
    await queue.take("a")
    gone, next_ = (asyncio.ensure_future(queue.take(flow)) for flow in ("b", "c"))
    await asyncio.sleep(0)
    queue.give_back("a")
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await next_
    queue.give_back("c")
    assert queue.free == 1
