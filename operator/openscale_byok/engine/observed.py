"""What is so now, for metrics: of each instance and each binding, and never of a data mart.

Whoever may make objects in a namespace decides how many there are. So of a namespace only so many are told apart; the
others are counted, and nobody else's are left out for them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from openscale_byok.core.conditions import key_usable
from openscale_byok.engine.context import Context
from openscale_byok.engine.key_poll import KeyPoll
from openscale_byok.engine.queue import KeyedQueue
from openscale_byok.engine.scope import Scope
from openscale_byok.engine.world import World
from openscale_byok.resources import Condition, OpenScaleInstance, RootKeyBinding

MOST_OF_NAMESPACE = 100
"""Instances, and bindings that are looked at, of one namespace that are told apart."""


@dataclass(frozen=True, slots=True)
class ObservedCondition:
    """A condition as the operator wrote it last."""

    type: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class ObservedInstance:
    """One instance."""

    namespace: str
    name: str
    protection: str
    total: int
    current: int
    stale: int
    stuck: int
    conditions: tuple[ObservedCondition, ...]


@dataclass(frozen=True, slots=True)
class ObservedBinding:
    """One binding that is looked at. Times are seconds since the epoch; None where there is none."""

    namespace: str
    name: str
    instance: str
    role: str
    state: str
    usable: str
    looked: float | None
    heard: float | None
    """When Key Protect answered last, with yes or no."""
    expires: float | None
    data_keys: int
    """In memory, and young enough to be used."""
    opens_until: float | None
    """When the first of them may not be used any more, unless it is unwrapped again before."""
    conditions: tuple[ObservedCondition, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """All of it."""

    instances: tuple[ObservedInstance, ...] = ()
    bindings: tuple[ObservedBinding, ...] = ()
    left_out: int = 0
    """Objects that are not told apart, because their namespace has too many."""
    waiting: int = 0
    oldest: float = 0.0
    active: int = 0
    data_keys: int = 0
    hits: int = 0
    misses: int = 0


def observe(context: Context, world: World, poll: KeyPoll, queue: KeyedQueue) -> Observed:
    """Look at everything once; it takes as long as there are instances and bindings."""
    scopes, seen = list(world.scopes.values()), Counter[tuple[str, str]]()
    limits = {
        binding.metadata.uid: float(binding.spec.data_key_cache_seconds)
        for scope in scopes
        for binding in scope.shortlist.looked_at
    }
    held = context.data_keys.held(limits)
    instances, bindings = list[ObservedInstance](), list[ObservedBinding]()
    for scope in scopes:
        if scope.instance is not None and _room(seen, scope.instance):
            instances.append(_instance(scope.instance))
        for binding in scope.shortlist.looked_at:
            if _room(seen, binding):
                bindings.append(_binding(context, poll, scope, binding, held.get(binding.metadata.uid)))
    waiting, oldest = queue.waiting()
    keys = context.data_keys
    left_out = sum(max(0, number - MOST_OF_NAMESPACE) for number in seen.values())
    return Observed(
        tuple(instances), tuple(bindings), left_out, waiting, oldest, queue.active, len(keys), keys.hits, keys.misses
    )


def _room(seen: Counter[tuple[str, str]], thing: OpenScaleInstance | RootKeyBinding) -> bool:
    at = thing.metadata.namespace, thing.KIND
    seen[at] += 1
    return seen[at] <= MOST_OF_NAMESPACE


def _instance(instance: OpenScaleInstance) -> ObservedInstance:
    status, meta = instance.status, instance.metadata
    secrets = status.secrets
    counts = (secrets.total, secrets.current, secrets.stale, secrets.stuck) if secrets is not None else (0, 0, 0, 0)
    return ObservedInstance(meta.namespace, meta.name, status.protection, *counts, _conditions(status.conditions))


def _binding(
    context: Context, poll: KeyPoll, scope: Scope, binding: RootKeyBinding, held: tuple[int, float] | None
) -> ObservedBinding:
    meta, standing = binding.metadata, scope.keys.get(binding.metadata.uid)
    monotonic, now = context.clock.monotonic(), context.clock.now().timestamp()
    looked, heard = (now - (monotonic - at) if at is not None else None for at in poll.looks(scope, meta.uid))
    look = standing.look if standing is not None else None
    return ObservedBinding(
        meta.namespace,
        meta.name,
        binding.spec.instance_ref.name,
        binding.status.role or "",
        look.state.value if look is not None else "Unknown",
        key_usable(standing).status if standing is not None else "Unknown",
        looked,
        heard,
        look.expires if look is not None else None,
        held[0] if held is not None else 0,
        now + held[1] if held is not None else None,
        _conditions(binding.status.conditions),
    )


def _conditions(conditions: Iterable[Condition]) -> tuple[ObservedCondition, ...]:
    return tuple(ObservedCondition(found.type, found.status, found.reason) for found in conditions)
