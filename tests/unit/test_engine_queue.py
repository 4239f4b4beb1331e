"""The keyed queue, without a clock: passes are told when to end."""

import asyncio

import pytest

from openscale_byok.engine.queue import KeyedQueue

ONE, TWO = ("n", "one"), ("n", "two")


class Passes:
    """Passes that begin and end one by one, and what came of them."""

    def __init__(self, *, held: bool = True) -> None:
        self.begun: list[tuple[str, str]] = []
        self.running: list[tuple[str, str]] = []
        self.most: dict[tuple[str, str], int] = {}
        self.answers: dict[tuple[str, str], list] = {}
        self.held = held
        self.gates: dict[tuple[str, str], asyncio.Semaphore] = {}

    def end(self, key: tuple[str, str]) -> None:
        """Let one pass of a key end."""
        self.gates.setdefault(key, asyncio.Semaphore(0)).release()

    async def __call__(self, key: tuple[str, str]):
        self.begun.append(key)
        self.running.append(key)
        self.most[key] = max(self.most.get(key, 0), self.running.count(key))
        try:
            if self.held:
                await self.gates.setdefault(key, asyncio.Semaphore(0)).acquire()
        finally:
            self.running.remove(key)
        answers = self.answers.get(key)
        found = answers.pop(0) if answers else None
        if isinstance(found, BaseException):
            raise found
        return found


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def serving():
    """A queue of two slots that serves, and its passes."""
    passes = Passes()
    queue = KeyedQueue(passes, 2)
    task = asyncio.ensure_future(queue.serve())
    await settle()
    yield queue, passes, task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert passes.running == []


async def test_many_wakes_are_one_pass(serving):
    """Before a pass begins they are that pass; while it runs they are one more, and never two at a time."""
    queue, passes, _ = serving
    for _ in range(5):
        queue.wake(ONE)
    await settle()
    assert passes.begun == [ONE]
    for _ in range(5):
        queue.wake(ONE)
    await settle()
    assert passes.begun == [ONE]
    passes.end(ONE)
    await settle()
    assert passes.begun == [ONE, ONE]
    passes.end(ONE)
    await settle()
    assert (passes.begun, passes.most[ONE]) == ([ONE, ONE], 1)


async def test_another_key_is_not_kept_waiting(serving):
    """A pass that hangs holds its own key back, and no other."""
    queue, passes, _ = serving
    queue.wake(ONE)
    await settle()
    for _ in range(3):
        queue.wake(TWO)
        passes.end(TWO)
        await settle()
    assert passes.begun == [ONE, TWO, TWO, TWO]


async def test_no_more_at_once_than_slots(serving):
    """The third key waits for a slot, and gets the first that is free."""
    queue, passes, _ = serving
    keys = [ONE, TWO, ("n", "three")]
    for key in keys:
        queue.wake(key)
    await settle()
    assert passes.running == keys[:2]
    passes.end(TWO)
    await settle()
    assert passes.running == [ONE, keys[2]]


async def test_zero_asks_for_another_pass_at_once(serving):
    """A pass that is not done says so, and another key gets its turn between."""
    queue, passes, _ = serving
    passes.answers[ONE] = [0.0, 0.0, None]
    passes.held = False
    queue.wake(ONE)
    queue.wake(TWO)
    await settle()
    assert passes.begun == [ONE, TWO, ONE, ONE]


@pytest.mark.parametrize("when", ["before it serves", "while it serves"])
async def test_an_error_ends_serve(when):
    """An error that escapes a pass ends the queue and the passes of all others with it."""
    passes = Passes()
    passes.answers[ONE] = [RuntimeError("went back")]
    queue = KeyedQueue(passes, 2)
    task = asyncio.ensure_future(queue.serve()) if when == "while it serves" else None
    await settle()
    queue.wake(TWO)
    queue.wake(ONE)
    passes.end(ONE)
    await settle()
    task = task or asyncio.ensure_future(queue.serve())
    await settle()
    assert task.done()
    with pytest.raises(RuntimeError, match="went back"):
        await task
    assert passes.running == []


async def test_a_forgotten_key(serving):
    """Forgotten from outside its pass ends, from inside it runs out; woken again it is served again."""
    queue, passes, _ = serving
    queue.wake(ONE)
    await settle()
    queue.forget(ONE)
    await settle()
    assert passes.running == []
    queue.wake(ONE)
    await settle()
    assert passes.begun == [ONE, ONE]
    queue.forget(TWO)  # never woken: nothing to forget


async def test_a_pass_may_forget_its_own_key():
    """As the engine does once nothing is left of an instance: the pass ends as it likes, and none follows."""
    begun: list[tuple[str, str]] = []
    ended: list[tuple[str, str]] = []

    async def run(key):
        begun.append(key)
        queue.forget(key)
        await asyncio.sleep(0)
        ended.append(key)
        return 0.0

    queue = KeyedQueue(run, 1)
    task = asyncio.ensure_future(queue.serve())
    for times in (1, 2):
        queue.wake(ONE)
        await settle()
        assert begun == ended == [ONE] * times
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
