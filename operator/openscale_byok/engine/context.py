"""What every step of the engine is given: ports, tuning, and the world that it works on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from random import random
from typing import Any, TypeVar

import structlog

from openscale_byok.core.conditions import key_usable
from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.core.sealable import Sealable
from openscale_byok.core.view import KeyStanding
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.scope import Scope, forward
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Aad, Audit, Clock, Kms, RootKeys, SourceReader, Store
from openscale_byok.ports.observers import KeyObserver, WorkObserver
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataKeyEntry, OpenScaleInstance, RootKeyBinding

log = structlog.get_logger("openscale_byok")

T = TypeVar("T")
GLOBAL_HOLDER = GLOBAL
GLOBAL_LIMIT_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that its owner may set."""

    source_refresh_seconds: float = 300.0
    key_poll_seconds: float = 30.0
    lookout_seconds: float = 5.0
    """Between two questions whether the cluster was restored; one small read each."""
    writes_in_flight: int = 32
    instances_at_once: int = 8
    processor_share: float = 1.0
    """That the passes of one namespace may take; 1: however much they want."""


@dataclass(frozen=True, slots=True)
class Context:
    """The ports and numbers; made once by the composition root."""

    store: Store
    sources: SourceReader
    root_keys: RootKeys
    clock: Clock
    data_keys: DataKeys
    audit: Audit
    tuning: Tuning = field(default_factory=Tuning)
    observers: tuple[KeyObserver, ...] = ()
    jitter: Callable[[], float] = random
    work: tuple[WorkObserver, ...] = ()
    policy: InstancePolicy = field(default_factory=InstancePolicy)

    def now_text(self) -> str:
        """The wall clock as Kubernetes prints it (RFC 3339, whole seconds)."""
        return self.clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def read_instance(self, scope: Scope) -> OpenScaleInstance:
        """The instance afresh.

        Raises:
            WentBack: it is older than it was known to be before this read began.
        """
        known = scope.instance
        found = await self.store.instance(*scope.key)
        if known is not None and known.metadata.uid == found.metadata.uid:
            forward(known.metadata.version, found.metadata.version)
        scope.see_instance(found)
        return found

    async def list_marts(self, scope: Scope) -> tuple[Sealable, ...]:
        """The instance's data marts afresh, which replace what was known of them.

        Raises:
            WentBack: the list is older than one before.
        """
        listing = await self.store.sealables(*scope.key, scope.service_instance_id)
        scope.list_marts(listing.version, listing.items)
        return listing.items

    def kms(self, scope: Scope, root_key: str) -> tuple[Kms, RootKeyBinding | None]:
        """A root key, by the right of a binding in this scope.

        Raises:
            Refused: no binding names it, or the one that does was refused.
        """
        if root_key == GLOBAL:
            standing = scope.keys.get(GLOBAL_HOLDER)
            if standing is not None and standing.refused:
                raise refusal(standing).with_traceback(None)
            return self.root_keys.global_key(), None
        binding = scope.binding_for(root_key)
        if binding is None:
            raise Refused(
                Reason.NO_BINDING,
                f"no RootKeyBinding in namespace {scope.key[0]} names root key {root_key}: create one",
            )
        return self.root_keys.customer(binding, scope.credentials_of(binding)), binding

    async def data_key(self, scope: Scope, entry: DataKeyEntry) -> DataKey:
        """A recorded data key, unwrapped.

        Raises:
            Refused: a clear no, or the wrapped key is not the one its id commits to.
            Unavailable: no answer, and nothing young enough in the cache.
        """
        return await self.unwrap(scope, entry.id, entry.root_key, entry.wrapped)

    async def unwrap(self, scope: Scope, key_id: str, root_key: str, wrapped: str) -> DataKey:
        """A data key in wrapped form, unwrapped by whoever may."""
        kms, binding = self.kms(scope, root_key)
        holder = binding.metadata.uid if binding is not None else GLOBAL_HOLDER
        limit = float(binding.spec.data_key_cache_seconds) if binding is not None else GLOBAL_LIMIT_SECONDS
        standing = scope.keys.get(holder)
        if standing is not None and standing.refused:
            self.data_keys.drop(holder)
            # Kept, and raised at each use: without this its traceback would grow each time.
            raise refusal(standing).with_traceback(None)
        away = standing.trouble if standing is not None else None
        if isinstance(away, Unavailable) and not self.data_keys.serves(holder, key_id, limit):
            # The poll says so already: no slot is held for a call that will not be answered.
            raise away.with_traceback(None)
        aad = aad_of(scope.instance)
        return await self.data_keys.get(holder, key_id, limit, lambda: kms.unwrap(wrapped, aad))

    async def in_flight(self, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
        """Do something for each, so many at a time. *work* raises nothing that one item may cause."""
        waiting = iter(items)

        async def serve() -> None:
            for item in waiting:
                await work(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.tuning.writes_in_flight):
                group.create_task(serve())

    async def write(
        self, scope: Scope, sealable: Sealable, status: dict[str, Any], after: Sealable | None = None
    ) -> None:
        """Compare-and-swap a sealable's status, and keep it as it is now stored.

        Args:
            scope: where it is kept.
            sealable: as it was read.
            status: to be merged.
            after: the sealable that this makes, but for its metadata, where that is known.
        """
        scope.in_flight.add(sealable.uid)
        try:
            raw = await self.store.patch_status(sealable.kind, sealable.meta, status)
            if after is None:
                scope.put(scope.sealable_of(raw))
            else:
                scope.put(replace(after, meta=sealable.meta.at(raw["metadata"]["resourceVersion"])))
        finally:
            scope.landed(sealable.uid)

    async def mark(self, scope: Scope, sealable: Sealable, finalizers: Sequence[str]) -> Sealable | None:
        """Compare-and-swap a sealable's finalizers, and keep it as it is now stored; None where it is gone with that.

        With the finalizers that it has already this writes nothing: it proves that the object is as it was read.
        """
        scope.in_flight.add(sealable.uid)
        try:
            raw = await self.store.patch_finalizers(sealable.kind, sealable.meta, finalizers)
            if sealable.meta.deleting and not finalizers:
                scope.forget(sealable)
                return None
            found = scope.sealable_of(raw)
            scope.put(found)
            return found
        finally:
            scope.landed(sealable.uid)


def aad_of(instance: OpenScaleInstance | None) -> Aad:
    """What a wrapped data key is bound to at the root key: us, and the instance it is for."""
    return ("openscale-byok", instance.spec.service_instance_id if instance is not None else "")


def refusal(standing: KeyStanding) -> Refused:
    """Why a root key is refused, from what the last poll said."""
    if isinstance(standing.trouble, Refused):
        return standing.trouble
    # A clear no holds until a good look: that Key Protect cannot be reached since then is not the reason.
    found = key_usable(replace(standing, trouble=None))
    return Refused(found.reason, found.message)
