"""A keyed queue: many wakes of one key are one pass, and no key is ever worked on twice at a time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

Key = tuple[str, str]
Pass = Callable[[Key], Awaitable[float | None]]


class KeyedQueue:
    """Runs a pass for each key that was woken.

    Args:
        run: one pass; returns the seconds after which the key wants another look, or None. It handles its
            own errors: one that escapes ends the queue, and with it the process.
        concurrency: passes of different keys at once.
    """

    def __init__(self, run: Pass, concurrency: int) -> None:
        self._run = run
        self._slots = asyncio.Semaphore(concurrency)
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._error: BaseException | None = None
        self._failed = asyncio.Event()

    def wake(self, key: Key) -> None:
        """Have a pass of this key run soon; once, however often it is woken before."""
        event = self._woken.get(key)
        if event is None:
            event = self._woken[key] = asyncio.Event()
            self._tasks[key] = asyncio.get_running_loop().create_task(self._serve(key, event), name=f"pass {key}")
            self._tasks[key].add_done_callback(self._ended)
        event.set()

    def forget(self, key: Key) -> None:
        """Nothing of this key is left."""
        self._woken.pop(key, None)
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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), after)
            event.clear()
            async with self._slots:
                after = await self._run(key)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._error = self._error or error  # one from before `serve` ends it as soon as it begins
            self._failed.set()
