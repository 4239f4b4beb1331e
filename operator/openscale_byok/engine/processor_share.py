"""What the passes of one namespace may take of the processor, however much work they have.

A pass over ten thousand objects plans for a tenth of a second, in which nothing else runs; a namespace in which
something changes all the time would plan all the time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
MOST_REMEMBERED = 1_000
"""Namespaces; more only where each of them has to wait."""


class ProcessorShare:
    """Has a namespace wait after each pass until what that pass took is no more than the share.

    Args:
        share: of one processor, more than 0; 1 has nobody wait.
        clock: seconds, monotonic.
        spent: seconds that this thread had the processor. On a busy machine that is a small part of the clock's, and
            nobody owes what others took from us.
    """

    def __init__(
        self,
        share: float,
        clock: Callable[[], float] = time.perf_counter,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._share, self._clock, self._spent = share, clock, spent
        self._due: dict[str, float] = {}

    async def wait(self, namespace: str) -> None:
        """Until the namespace's next pass may begin."""
        while (wait := self._due.get(namespace, 0.0) - self._clock()) > 0:  # noqa: ASYNC110 -- it waits for time
            await asyncio.sleep(wait)

    async def measured(self, namespace: str, work: Awaitable[T]) -> T:
        """Do it, and remember what it took: only the time in which nothing else could run."""
        began, steps = self._clock(), _Steps(work, self._spent)
        try:
            return await steps
        finally:
            self._due[namespace] = max(self._due.get(namespace, 0.0), began) + steps.seconds / self._share
            if len(self._due) > MOST_REMEMBERED:
                now = self._clock()
                self._due = {name: due for name, due in self._due.items() if due > now}


class _Steps(Awaitable[T]):
    """Somebody's work, with a watch on it whenever it runs."""

    def __init__(self, work: Awaitable[T], spent: Callable[[], float]) -> None:
        self._work, self._spent = work, spent
        self.seconds = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        inner = self._work.__await__()
        step: Callable[[], Any] = lambda: next(inner)  # noqa: E731 -- the next step, whichever it is
        while True:
            began = self._spent()
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return] # what the work returns
            finally:
                self.seconds += self._spent() - began
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 -- a cancellation too is for the work
                step = _thrown(inner, error)
            else:
                step = lambda: next(inner)  # noqa: E731


def _thrown(inner: Any, error: BaseException) -> Callable[[], Any]:  # noqa: ANN401 -- whatever is awaited
    return lambda: inner.throw(error)
