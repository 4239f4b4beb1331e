"""A keyed queue: many wakes of one key are one pass, and no key is ever worked on twice at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from time import monotonic
from types import TracebackType

from openscale_byok.engine.fair_queue import FairQueue
from openscale_byok.engine.processor_share import ProcessorShare

Key = tuple[str, str]
Pass = Callable[[Key], Awaitable[float | None]]


class _Slot:
    """A pass's right to work. While the pass waits for somebody else's answer, another pass may have it."""

    def __init__(self, slots: FairQueue, namespace: str) -> None:
        self._slots, self._namespace = slots, namespace
        self._lock = asyncio.Lock()
        self._held = False
        self._waiting = 0

    async def __aenter__(self) -> None:
        await self._take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def wait(self) -> None:
        """One of the pass's tasks begins to wait."""
        self._waiting += 1
        self._leave()

    async def go_on(self) -> None:
        """It has its answer. The last one to come back needs a slot again."""
        self._waiting -= 1
        if not self._waiting:
            await self._take()

    async def _take(self) -> None:
        async with self._lock:
            if not self._held:
                await self._slots.take(self._namespace)
                self._held = True

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._slots.give_back(self._namespace)


_SLOT: ContextVar[_Slot | None] = ContextVar("slot", default=None)


@contextlib.asynccontextmanager
async def aside() -> AsyncIterator[None]:
    """Wait for a root key here: however long it takes, the pass keeps no other one waiting meanwhile."""
    slot = _SLOT.get()
    if slot is None:
        yield
        return
    slot.wait()
    try:
        yield
    finally:
        await slot.go_on()


class KeyedQueue:
    """Runs a pass for each key that was woken.

    Args:
        run: one pass; returns the seconds after which the key wants another look, or None. It handles its
            own errors: one that escapes ends the queue, and with it the process.
        concurrency: passes of different keys at once, but for those that wait `aside`. Namespaces take turns, and one
            alone never has all of four or more: however many instances are woken in it, another's pass begins at once.
        share: of the processor that the passes of one namespace may take.
    """

    def __init__(self, run: Pass, concurrency: int, share: float = 1.0) -> None:
        self._run = run
        self._slots = FairQueue(concurrency, most_of_one=concurrency - concurrency // 4)
        self._share = ProcessorShare(share) if share < 1 else None
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._error: BaseException | None = None
        self._failed = asyncio.Event()
        self._since: dict[Key, float] = {}
        """Since when each key waits for its pass."""
        self.active = 0
        """Passes that were begun and have not ended."""

    def waiting(self) -> tuple[int, float]:
        """How many keys wait for a pass, and the seconds that the oldest of them does."""
        now = monotonic()
        return len(self._since), now - min(self._since.values(), default=now)

    def wake(self, key: Key) -> None:
        """Have a pass of this key run soon; once, however often it is woken before."""
        event = self._woken.get(key)
        if event is None:
            event = self._woken[key] = asyncio.Event()
            self._tasks[key] = asyncio.get_running_loop().create_task(self._serve(key, event), name=f"pass {key}")
            self.end_with(self._tasks[key])
        event.set()
        self._since.setdefault(key, monotonic())

    def end_with(self, task: asyncio.Task[None]) -> None:
        """Have an error of this task end the queue."""
        task.add_done_callback(self._ended)

    def forget(self, key: Key) -> None:
        """Nothing of this key is left."""
        self._woken.pop(key, None)
        self._since.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def serve(self) -> None:
        """Run until cancelled, or until a pass lets an error escape."""
        try:
            await self._failed.wait()
            raise self._error or RuntimeError("unreachable")
        finally:
            for task in list(self._tasks.values()):
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _serve(self, key: Key, event: asyncio.Event) -> None:
        after: float | None = None
        while self._woken.get(key) is event:
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with a wake.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(after):
                    await event.wait()
            if self._share is not None:
                await self._share.wait(key[0])
            event.clear()
            slot = _Slot(self._slots, key[0])
            _SLOT.set(slot)
            async with slot:
                self._begin(key, event)
                try:
                    work = self._run(key)
                    after = await (work if self._share is None else self._share.measured(key[0], work))
                finally:
                    self.active -= 1

    def _begin(self, key: Key, event: asyncio.Event) -> None:
        self.active += 1
        self._since.pop(key, None)
        if event.is_set():  # woken again while it waited for its turn
            self._since[key] = monotonic()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._error = self._error or error  # one from before `serve` ends it as soon as it begins
            self._failed.set()
