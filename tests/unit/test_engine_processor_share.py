"""A namespace's share of the processor, on a clock that moves only where somebody works."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from openscale_byok.engine.processor_share import ProcessorShare
from sim.loop import VirtualLoop


class Desk:
    """A loop whose time is also what work takes."""

    def __init__(self, share: float) -> None:
        self.loop = VirtualLoop()
        self.worked = self.preempted = 0.0
        self.share = ProcessorShare(share, self.now, lambda: self.worked)

    def now(self) -> float:
        return self.loop.time() + self.worked + self.preempted

    async def work(self, seconds: float, pauses: float = 0.0) -> str:
        """Take the processor, give it away for a while, and take it again."""
        self.worked += seconds / 2
        await asyncio.sleep(pauses)
        self.worked += seconds / 2
        return "done"

    def run(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.loop.run_ready()
        while not task.done():
            timer = self.loop.next_timer()
            assert timer is not None, "it waits for nothing"
            self.loop.jump(timer)
        return task.result()


@pytest.fixture
def desks() -> Iterator[Callable[[float], Desk]]:
    """Desks, each with a loop that is closed at the end."""
    made: list[Desk] = []

    def make(share: float) -> Desk:
        made.append(Desk(share))
        return made[-1]

    yield make
    for desk in made:
        desk.loop.close()


@pytest.mark.parametrize(("pauses", "waits"), [(0.0, 3.0), (2.0, 1.0), (10.0, 0.0)])
def test_a_namespace_waits_until_what_it_took_is_its_share(desks, pauses, waits):
    """A second's work in a quarter's share is worth four, of which the time that it waited itself counts."""
    desk = desks(0.25)
    assert desk.run(desk.share.measured("noisy", desk.work(1.0, pauses))) == "done"
    before = desk.now()
    desk.run(desk.share.wait("noisy"))
    assert desk.now() - before == pytest.approx(waits)


def test_nobody_owes_what_other_processes_took(desks):
    """Where the machine is busy a little work takes long by the clock: that is no reason to wait longer still."""
    desk = desks(0.25)

    async def preempted() -> None:
        desk.worked += 0.1
        desk.preempted += 5.0

    desk.run(desk.share.measured("quiet", preempted()))
    before = desk.now()
    desk.run(desk.share.wait("quiet"))
    assert desk.now() == before


def test_nobody_waits_for_what_another_namespace_took(desks):
    """And who waited long enough owes nothing any more."""
    desk = desks(0.25)
    desk.run(desk.share.measured("noisy", desk.work(8.0)))
    before = desk.now()
    desk.run(desk.share.wait("quiet"))
    assert desk.now() == before
    desk.run(desk.share.wait("noisy"))
    desk.run(desk.share.wait("noisy"))
    assert desk.now() - before == pytest.approx(24.0)


def test_the_instances_of_a_namespace_share_its_share(desks):
    """Ten of them wait for what all ten took."""
    desk = desks(0.5)

    async def ten() -> None:
        await asyncio.gather(*(desk.share.measured("noisy", desk.work(1.0)) for _ in range(10)))

    began = desk.now()
    desk.run(ten())
    desk.run(desk.share.wait("noisy"))
    assert desk.now() - began >= 20.0


def test_errors_and_cancellations_are_the_works_own(desks):
    """It hears of them where it waits, and says what comes of them."""
    desk, heard = desks(0.5), []

    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            heard.append("cancelled")
            await asyncio.sleep(1)
        return "ended by itself"

    async def failing() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    async def story() -> str:
        task = asyncio.ensure_future(desk.share.measured("a", stubborn()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(LookupError, match="mine"):
            await desk.share.measured("a", failing())
        return await task

    assert desk.run(story()) == "ended by itself"
    assert heard == ["cancelled"]
