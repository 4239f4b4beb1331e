"""The keyed queue, without a clock: passes are told when to end."""

import asyncio

import pytest

from openscale_byok.engine.queue import KeyedQueue, aside

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


class Waiting:
    """Passes that wait aside for somebody else's answer, in as many tasks as are asked for, and then go on."""

    def __init__(self, tasks: int = 1) -> None:
        self.tasks, self.answer = tasks, asyncio.Event()
        self.waiting: list[tuple[str, str]] = []
        self.working: list[tuple[str, str]] = []
        self.end = asyncio.Event()

    async def __call__(self, key: tuple[str, str]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.tasks):
                group.create_task(self.wait(key))
        self.working.append(key)
        await self.end.wait()
        self.working.remove(key)

    async def wait(self, key: tuple[str, str]) -> None:
        async with aside():
            self.waiting.append(key)
            await self.answer.wait()


@pytest.mark.parametrize("tasks", [1, 3])
async def test_who_waits_aside_keeps_nobody_waiting(tasks):
    """More passes than slots wait for an answer at once; once it is there, no more work than there are slots."""
    keys = [("n", str(number)) for number in range(5)]
    passes = Waiting(tasks)
    queue = KeyedQueue(passes, 2)
    task = asyncio.ensure_future(queue.serve())
    for key in keys:
        queue.wake(key)
    await settle()
    assert sorted(passes.waiting) == sorted(keys * tasks)
    passes.answer.set()
    await settle()
    assert len(passes.working) == 2
    passes.end.set()
    await settle()
    assert queue._slots.free == 2, "every slot came back, once"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_pass_that_ends_while_it_waits_leaves_its_slot():
    """Forgotten in the middle of a call that hangs: its slot is free, and not twice."""
    passes = Waiting()
    queue = KeyedQueue(passes, 1)
    task = asyncio.ensure_future(queue.serve())
    queue.wake(ONE)
    await settle()
    queue.forget(ONE)
    await settle()
    assert queue._slots.free == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_pass_takes_one_slot_back_however_many_of_its_tasks_come_back():
    """One of its tasks waits for a slot when another one goes and comes: they need one slot together."""
    answers = [asyncio.Event() for _ in range(4)]

    async def one(number: int) -> None:
        await answers[2 * number].wait()
        async with aside():
            await answers[2 * number + 1].wait()

    async def run(key) -> None:
        if key == TWO:
            await ended.wait()
            return
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(one(number))

    ended = asyncio.Event()
    queue = KeyedQueue(run, 1)
    task = asyncio.ensure_future(queue.serve())
    queue.wake(ONE)
    await settle()
    answers[0].set()
    await settle()
    queue.wake(TWO)
    for answer in answers[1:]:
        await settle()
        answer.set()
    await settle()
    ended.set()
    await settle()
    assert queue._slots.free == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("ticks", range(8))
async def test_ended_just_as_a_key_is_woken(ticks):
    """However the end and a wake fall together, every pass ends: nothing keeps the process from ending."""
    passes = Passes(held=False)
    passes.answers[ONE] = [3600.0] * 9
    queue = KeyedQueue(passes, 2)
    task = asyncio.ensure_future(queue.serve())
    queue.wake(ONE)
    await settle()
    queue.wake(ONE)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await settle()
    ended = task.done()
    queue.forget(ONE)
    await settle()
    assert ended


async def test_a_namespace_full_of_work_leaves_others_their_turn():
    """However many of its instances are woken, another namespace's pass begins while all of them wait."""
    passes = Passes()
    queue = KeyedQueue(passes, 8)
    task = asyncio.ensure_future(queue.serve())
    for number in range(200):
        queue.wake(("noisy", str(number)))
    await settle()
    queue.wake(("quiet", "one"))
    queue.wake(("quiet", "two"))
    queue.wake(("other", "one"))
    await settle()
    assert [key[0] for key in passes.running] == ["noisy"] * 6 + ["quiet"] * 2
    for number in range(2):
        passes.end(("noisy", str(number)))
    await settle()
    assert sorted(key[0] for key in passes.running) == ["noisy"] * 5 + ["other"] + ["quiet"] * 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
