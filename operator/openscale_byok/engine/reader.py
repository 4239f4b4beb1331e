"""The engine of those who only read: it follows objects and root keys as the operator does, and plans nothing.

Each replica looks at root keys for itself, and refuses for itself.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from openscale_byok.core.key_state import KeyLook
from openscale_byok.core.sealable import Sealable
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.following import Following
from openscale_byok.engine.listing import list_anew
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import Credentials, DataKeyEntry, DataMart, OpenScaleInstance, RootKeyBinding


class Reader(Following):
    """It only follows; who waits for news is told of it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._news: set[asyncio.Event] = set()

    def see(self, kind: str, raw: dict[str, Any], *, gone: bool, listed: bool = False) -> None:
        """See `Following.see`."""
        super().see(kind, raw, gone=gone, listed=listed)
        for event in self._news:
            event.set()

    def sealables(self, key: Key) -> tuple[Sealable, ...]:
        """What an instance has to seal, as far as events, lists and our own writes have told.

        Raises:
            Refused: it cannot be listed: the message names the object that is of another shape than its CRD demands.
            Unavailable: it was not listed yet.
        """
        scope = self.world.scopes.get(key)
        if scope is None or scope.listed_marts < 0:
            if scope is not None and _faulty(scope):
                raise scope.troubles["list"].error.with_traceback(None)
            raise Unavailable(Reason.CHANGED_MEANWHILE, "the instance is being read; try again")
        return tuple(scope.sealables.values())

    def see_stored(self, mart: DataMart) -> None:
        """Take in a data mart as the API server has just answered with: what was written here shows here at once."""
        scope = self.world.scopes.get(mart.instance_key)
        if scope is not None and scope.see_stored(mart):
            self._queue.wake(scope.key)

    async def until_gone(self, mart: DataMart, seconds: float) -> None:
        """Wait until it was heard that a data mart is deleted, or being deleted; for so long at most."""

        def gone() -> bool:
            scope = self.world.scopes.get(mart.instance_key)
            known = scope.sealables.get(mart.metadata.name) if scope is not None else None
            return known is None or known.uid != mart.metadata.uid or known.meta.deleting

        await self.until(gone, seconds)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until an event makes a condition hold; whether it does."""
        news = asyncio.Event()
        self._news.add(news)
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await news.wait()
                    news.clear()
        except TimeoutError:
            return condition()
        finally:
            self._news.discard(news)
        return True

    def unready(self) -> list[str]:
        """What keeps this replica from answering: nothing where it has read everything, and root keys are looked at.

        An instance that cannot be read because of its own objects keeps nobody else from being answered.
        """
        scopes = [scope for scope in self.world.scopes.values() if scope.instance is not None]
        found = ["list"] if any(not scope.read and not _faulty(scope) for scope in scopes) else []
        late = any(not self._poll.watches(scope, holder) for scope in scopes for holder in scope.keys)
        return [*found, "key-poll"] if late else found

    def expect_looked_at(self, scope: Scope, entry: DataKeyEntry) -> None:
        """Whether a data key may be used now, as a reader's may: its root key is looked at, and was not refused.

        Raises:
            Refused, Unavailable: it may not.
        """
        self._opening.holder(scope, entry)

    async def describe(self, binding: RootKeyBinding, credentials: Credentials | None) -> KeyLook:
        """The root key of a binding that is perhaps to be made.

        Raises:
            Refused, Unavailable: as `ports.Kms.look`.
        """
        return await self._context.root_keys.customer(binding, credentials).look()

    async def read_instance(self, scope: Scope) -> OpenScaleInstance:
        """The instance afresh; what is news in it counts as if an event had brought it, which is none any more then.

        Raises:
            WentBack: it is older than it was known to be before this read began.
        """
        known = scope.instance
        found = await self._context.read_instance(scope)
        if scope.instance is not known:
            self._queue.wake(scope.key)
        return found

    async def _step(self, key: Key) -> float | None:
        scope = self.world.scope(key)
        clock = self._context.clock
        if not scope.listed or scope.relist_due <= clock.monotonic():
            wait = scope.list_wait(clock.monotonic())
            if wait > 0:
                return max(0.05, wait)
            try:
                await list_anew(self._context, scope)
            except ByokError as error:
                return self._failed(scope, error)
        self._poll.follow(scope)
        for event in self._news:
            event.set()  # a look that learned something wakes this
        if scope.empty:
            self.world.drop(key)
            self._queue.forget(key)
            return None
        return max(0.05, scope.relist_due - clock.monotonic())

    def _failed(self, scope: Scope, error: ByokError) -> float:
        """What was known stays, and goes on to be looked at; the list is tried again."""
        now = self._context.clock.monotonic()
        log.warning("list failed", namespace=scope.key[0], instance=scope.key[1], reason=error.reason.value)
        scope.fail(scope.troubles, "list", error, now, self._context.jitter())
        self._count_failure(scope.key, "list", error.reason)
        return max(0.05, scope.troubles["list"].due - now)


def _faulty(scope: Scope) -> bool:
    """Whether an object of an instance has another shape than its CRD demands: what is known of the others stays."""
    trouble = scope.troubles.get("list")
    return trouble is not None and isinstance(trouble.error, Refused)
