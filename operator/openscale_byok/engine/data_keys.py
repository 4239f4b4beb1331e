"""The data-key cache: single flight, with a hard limit that counts from the last successful unwrap.

Never extended by use, nor by a restart (it starts empty): the limit is the upper bound between losing Key
Protect and losing the use of what it once unwrapped.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from openscale_byok.crypto.data_key import DataKey
from openscale_byok.engine.queue import aside
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.ports import Clock
from openscale_byok.ports.observers import KeyObserver
from openscale_byok.reasons import Reason

Holder = str
"""Whose right a data key was unwrapped by: a binding's uid, or the global key."""

MOST = 10_000
"""Data keys at hand: more than a cluster has instances, at about 1 kB each. One that makes room for another costs an
unwrap when it is needed again, and no refusal."""
RENEWAL_RETRY_SECONDS = 5.0
"""How soon a failed renewal is tried again: by use, which may be frequent, so not at each use."""

_At = tuple[Holder, str]
ABOUT_ONE = (Reason.TAMPERED, Reason.GLOBAL_KEY_VERSION_MISSING)
"""Refusals that say nothing of the root key, only of one wrapped data key."""


@dataclass(slots=True)
class _Entry:
    key: DataKey
    unwrapped: float
    renewal_due: float = float("-inf")
    """No renewal before, because one has just failed."""


class DataKeys:
    """Data keys by holder and id; the least recently used first."""

    def __init__(self, clock: Clock, observers: Iterable[KeyObserver] = ()) -> None:
        self._clock = clock
        self._observers = tuple(observers)
        self._entries: dict[_At, _Entry] = {}
        self._flights: dict[_At, asyncio.Task[DataKey]] = {}
        self._tasks: set[asyncio.Task[DataKey]] = set()
        self._epochs: dict[Holder, int] = {}
        self.hits = self.misses = 0
        """Uses that found a data key here, and those that had to unwrap one."""

    def __len__(self) -> int:
        return len(self._entries)

    def held(self, limits: Mapping[Holder, float]) -> dict[Holder, tuple[int, float]]:
        """Of each holder: how many data keys may be used now, and the seconds until the first of them may not any more.

        Args:
            limits: seconds that a holder's data keys may be used.
        """
        found: dict[Holder, tuple[int, float]] = {}
        for (holder, _), entry in self._entries.items():
            left = limits.get(holder, 0.0) - self._age(entry)
            if left > 0:
                number, first = found.get(holder, (0, left))
                found[holder] = number + 1, min(first, left)
        return found

    async def get(self, holder: Holder, key_id: str, limit: float, unwrap: Callable[[], Awaitable[DataKey]]) -> DataKey:
        """The data key: from here while it is young enough, by an unwrap otherwise.

        From half its life on it is renewed beside, so that no use waits for Key Protect before the limit. A
        renewal that is refused drops what a refusal drops; one without an answer changes nothing.

        Args:
            holder: by whose right.
            key_id: the id that the unwrapped key must commit to.
            limit: seconds since the last successful unwrap after which it is not used any more.
            unwrap: asks the root key; called once, however many wait.

        Raises:
            Refused: a clear no (every key of this holder is dropped); or one that is about this data key alone:
                `Tampered`, another key came back; `GlobalKeyVersionMissing`, what wrapped it is not there.
            Unavailable: no answer, and nothing young enough at hand.
        """
        at = (holder, key_id)
        if not self.serves(holder, key_id, limit):
            self.misses += 1
            self._entries.pop(at, None)
            flight = self._flight(at, unwrap)
            async with aside():
                return await asyncio.shield(flight)
        self.hits += 1
        entry = self._entries[at] = self._entries.pop(at)  # the most recently used now; no younger by that
        if self._age(entry) >= limit / 2 and entry.renewal_due <= self._clock.monotonic():
            self._flight(at, unwrap)
        return entry.key

    def serves(self, holder: Holder, key_id: str, limit: float) -> bool:
        """Whether a key is here that may be used without an answer."""
        entry = self._entries.get((holder, key_id))
        return entry is not None and self._age(entry) < limit

    def put(self, holder: Holder, key: DataKey) -> None:
        """Keep a key that an unwrap has just returned."""
        self._entries[holder, key.id] = _Entry(key, self._clock.monotonic())
        if len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]

    def drop(self, holder: Holder) -> None:
        """Forget every data key of a holder, at once; also those that are being unwrapped."""
        self._epochs[holder] = self._epochs.get(holder, 0) + 1
        for at in [at for at in self._flights if at[0] == holder]:
            del self._flights[at]  # who comes now asks anew
        found = [at for at in self._entries if at[0] == holder]
        for at in found:
            del self._entries[at]
        if found:
            for observer in self._observers:
                with contextlib.suppress(Exception):
                    observer.data_keys_dropped(holder, len(found))

    def expire(self, holder: Holder, limit: float) -> None:
        """Forget what of a holder is past its limit, whether or not anybody asks for it again."""
        for at in [at for at, entry in self._entries.items() if at[0] == holder and self._age(entry) >= limit]:
            del self._entries[at]

    def forget(self, key_id: str) -> None:
        """Forget a data key that was retired."""
        for at in [at for at in self._entries if at[1] == key_id]:
            del self._entries[at]

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flight(self, at: _At, unwrap: Callable[[], Awaitable[DataKey]]) -> asyncio.Task[DataKey]:
        flight = self._flights.get(at)
        if flight is None:
            flight = self._flights[at] = asyncio.create_task(self._unwrap(at, unwrap))
            self._tasks.add(flight)
            flight.add_done_callback(lambda done: self._landed(at, done))
        return flight

    def _landed(self, at: _At, flight: asyncio.Task[DataKey]) -> None:
        self._tasks.discard(flight)
        if self._flights.get(at) is flight:
            del self._flights[at]
        if not flight.cancelled():
            flight.exception()  # of a renewal nobody else asks

    async def _unwrap(self, at: _At, unwrap: Callable[[], Awaitable[DataKey]]) -> DataKey:
        epoch = self._epochs.get(at[0], 0)
        try:
            key = await unwrap()
        except ByokError as error:
            if self._epochs.get(at[0], 0) == epoch:
                self._failed(at, error)
            raise
        if self._epochs.get(at[0], 0) != epoch:
            # Dropped while the answer was on its way: it is from before the refusal.
            raise Unavailable(Reason.CHANGED_MEANWHILE, "the root key was refused while a data key was unwrapped")
        if key.id != at[1]:
            self._entries.pop(at, None)
            raise Refused(Reason.TAMPERED, "the wrapped data key unwraps to another key than its id commits to")
        self.put(at[0], key)
        return key

    def _failed(self, at: _At, error: ByokError) -> None:
        """What a failed unwrap says of what is at hand. An answer to a call from before a drop says nothing."""
        entry = self._entries.get(at)
        if isinstance(error, Refused) and error.reason not in ABOUT_ONE:
            self.drop(at[0])
        elif isinstance(error, Refused):
            self._entries.pop(at, None)  # of this key only: what is stored of it is not what was unwrapped once
        elif entry is not None:
            asked = error.retry_after if isinstance(error, Unavailable) else None
            entry.renewal_due = self._clock.monotonic() + max(RENEWAL_RETRY_SECONDS, asked or 0.0)

    def _age(self, entry: _Entry) -> float:
        return self._clock.monotonic() - entry.unwrapped
