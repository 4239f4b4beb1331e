"""An event loop whose time moves only when it is told to, so that no test sleeps and every run is the same."""

import asyncio
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what can run now; what waits for time waits until `jump`."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__()

    def time(self) -> float:
        return self._virtual

    def run_ready(self) -> None:
        """Run until every task waits for a gate, for time, or for nothing any more."""
        self.run_until_complete(self._drain())

    def next_timer(self) -> float | None:
        """When the next sleeper wakes."""
        return min((timer.when() for timer in self._scheduled if not timer.cancelled()), default=None)

    def jump(self, to: float) -> None:
        """Let time pass."""
        self._virtual = max(self._virtual, to)
        self.run_ready()

    async def _drain(self) -> None:
        # While this runs it is not in `_ready` itself: what is there is everybody else.
        while True:
            await asyncio.sleep(0)
            timer = self.next_timer()
            if not self._ready and (timer is None or timer > self._virtual):
                return


class LoopClock:
    """The port `Clock`, by the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()
