"""The data-key cache: single flight, with a hard limit that counts from the last successful unwrap.

Never extended by use, nor by a restart (it starts empty): the limit is the upper bound between losing Key
Protect and losing the use of what it once unwrapped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from openscale_byok.crypto.data_key import DataKey
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

Holder = str
"""Whose right a data key was unwrapped by: a binding's uid, or the global key."""


@dataclass(slots=True)
class _Entry:
    key: DataKey
    unwrapped: float


class DataKeys:
    """Data keys by holder and id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[tuple[Holder, str], _Entry] = {}
        self._flights: dict[tuple[Holder, str], asyncio.Task[DataKey]] = {}
        self._epochs: dict[Holder, int] = {}

    async def get(self, holder: Holder, key_id: str, limit: float, unwrap: Callable[[], Awaitable[DataKey]]) -> DataKey:
        """The data key: from here while it is young, by an unwrap otherwise.

        From half its life on every use tries an unwrap; where Key Protect cannot be reached, the key at hand
        serves until the limit.

        Args:
            holder: by whose right.
            key_id: the id that the unwrapped key must commit to.
            limit: seconds since the last successful unwrap after which it is not used any more.
            unwrap: asks the root key; called once, however many wait.

        Raises:
            Refused: a clear no (every key of this holder is dropped), or `Tampered`: another key came back.
            Unavailable: no answer, and nothing young enough at hand.
        """
        at = (holder, key_id)
        entry = self._entries.get(at)
        if entry is not None and self._age(entry) < limit / 2:
            return entry.key
        try:
            return await self._flight(at, unwrap)
        except Refused as error:
            if error.reason is not Reason.TAMPERED:
                self.drop(holder)
            raise
        except Unavailable:
            entry = self._entries.get(at)
            if entry is not None and self._age(entry) < limit:
                return entry.key
            self._entries.pop(at, None)
            raise

    def holds(self, holder: Holder, key_id: str) -> bool:
        """Whether a key is here, however old."""
        return (holder, key_id) in self._entries

    def put(self, holder: Holder, key: DataKey) -> None:
        """Keep a key that an unwrap has just returned."""
        self._entries[holder, key.id] = _Entry(key, self._clock.monotonic())

    def drop(self, holder: Holder) -> None:
        """Forget every data key of a holder, at once; also those that are being unwrapped."""
        self._epochs[holder] = self._epochs.get(holder, 0) + 1
        for at in [at for at in self._entries if at[0] == holder]:
            del self._entries[at]

    def forget(self, key_id: str) -> None:
        """Forget a data key that was retired."""
        for at in [at for at in self._entries if at[1] == key_id]:
            del self._entries[at]

    async def _flight(self, at: tuple[Holder, str], unwrap: Callable[[], Awaitable[DataKey]]) -> DataKey:
        flight = self._flights.get(at)
        if flight is None:
            flight = asyncio.create_task(self._unwrap(at, unwrap))
            self._flights[at] = flight
            flight.add_done_callback(lambda _: self._flights.pop(at, None))
        return await asyncio.shield(flight)

    async def _unwrap(self, at: tuple[Holder, str], unwrap: Callable[[], Awaitable[DataKey]]) -> DataKey:
        epoch = self._epochs.get(at[0], 0)
        key = await unwrap()
        if self._epochs.get(at[0], 0) != epoch:
            # Dropped while the answer was on its way: it is from before the refusal.
            raise Unavailable(Reason.CHANGED_MEANWHILE, "the root key was refused while a data key was unwrapped")
        if key.id != at[1]:
            raise Refused(Reason.TAMPERED, "the wrapped data key unwraps to another key than its id commits to")
        self.put(at[0], key)
        return key

    def _age(self, entry: _Entry) -> float:
        return self._clock.monotonic() - entry.unwrapped
