"""What every engine does: it takes in events, looks at root keys, and opens passwords for readers."""

import asyncio
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from openscale_byok.core.sealable import Sealable
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.key_poll import KeyPoll
from openscale_byok.engine.lookout import Lookout
from openscale_byok.engine.observed import Observed, observe
from openscale_byok.engine.opening import Opened, Opening
from openscale_byok.engine.queue import KeyedQueue
from openscale_byok.engine.scope import LAST_RETRY_SECONDS, Key, WentBack, nobody_minds
from openscale_byok.engine.world import World
from openscale_byok.reasons import Reason


class Following(ABC):
    """Events go in by `see`, `serve` works, passwords come out of `open`. What one pass does is for the engine."""

    def __init__(self, context: Context, went: Callable[[Key, Sealable], None] = nobody_minds) -> None:
        """Be told by *went* of each sealable that was deleted."""
        self._context = context
        self._queue = KeyedQueue(self._pass, context.tuning.instances_at_once, context.tuning.processor_share)
        self.world = World(self._queue.wake, context.policy, went)
        self._poll = KeyPoll(context, self._queue.wake)
        self._opening = Opening(context, self.world, self._poll)
        self._failing: set[Key] = set()

    def see(self, kind: str, raw: dict[str, Any], *, gone: bool, listed: bool = False) -> None:
        """Take in an event of one of our kinds; *listed* ones are of a list that the watch begins with."""
        self.world.see(kind, raw, gone=gone, listed=listed)

    async def open(self, kind: str, namespace: str, name: str) -> Opened:
        """A sealed password, for a reader. Whether they may have it is for the caller to have asked.

        Raises:
            Refused: a clear no of the root key, or what is stored is not this object's for this endpoint.
            Unavailable: not sealed yet, not looked at lately, or no answer and nothing young enough at hand.
            Missing: there is no such object.
        """
        return await self._opening.open(kind, namespace, name)

    async def serve(self) -> None:
        """Work until cancelled.

        Raises:
            WentBack: the cluster was restored under us; the process must end and start anew.
        """
        lookout = asyncio.create_task(Lookout(self._context, self.world.newest_instance).serve(), name="lookout")
        self._queue.end_with(lookout)
        try:
            await self._queue.serve()
        finally:
            lookout.cancel()
            self._poll.stop()
            await self._context.data_keys.close()

    async def _pass(self, key: Key) -> float | None:
        """One step. A mistake of ours about one instance must not stop the others: it is named, and waits."""
        began = self._context.clock.monotonic()
        self._failing.discard(key)
        after = await self._tried(key)
        outcome: Literal["success", "requeue", "error"] = (
            "error" if key in self._failing else "requeue" if after == 0.0 else "success"
        )
        for observer in self._context.work:
            observer.pass_ended(outcome, self._context.clock.monotonic() - began)
        return after

    async def _tried(self, key: Key) -> float | None:
        try:
            return await self._step(key)
        except WentBack:
            raise
        except Exception as error:  # noqa: BLE001 -- see above; its text may quote anything, so it stays out
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(at.filename).name}:{at.lineno}"
            log.error("unexpected", namespace=key[0], instance=key[1], error=type(error).__name__, where=where)
            self.world.scope(key).listed = False
            self._failing.add(key)
            return LAST_RETRY_SECONDS

    def observed(self) -> Observed:
        """What is so now, for metrics."""
        return observe(self._context, self.world, self._poll, self._queue)

    def _count_failure(self, key: Key, step: str, reason: Reason) -> None:
        """A step failed: its pass does not count as a success. Of a step's subject what names an object is left out."""
        self._failing.add(key)
        for observer in self._context.work:
            observer.step_failed(step.partition(":")[0], reason)

    @abstractmethod
    async def _step(self, key: Key) -> float | None:
        """One step about one instance; the seconds until it wants another one, or None."""
