"""Every status that differs from what was found, as the patch that mends it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openscale_byok.core.conditions.base import Wanted, merged
from openscale_byok.core.conditions.bindings import of_binding, of_binding_beyond
from openscale_byok.core.conditions.instances import of_instance
from openscale_byok.core.conditions.sealables import of_sealable
from openscale_byok.core.findings import count, stuck_digest
from openscale_byok.core.retention import seen_deletion
from openscale_byok.core.view import View, choose
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import GLOBAL, Condition, Meta, OpenScaleInstance, RootKeyBinding


@dataclass(frozen=True, slots=True)
class StatusPatch:
    """A status to write, and what to announce because of it."""

    kind: str
    meta: Meta
    status: Mapping[str, Any]
    announce: tuple[Wanted, ...]
    says: tuple[object, ...]
    """All that it says, whatever was there before."""


def patches(view: View, now: str) -> Iterator[StatusPatch]:
    """Every status that differs from what was found, and that no other writer disputes just now."""
    return (patch for patch in _patches(view, now) if view.disputed.get(patch.meta.uid, view.now) <= view.now)


def _patches(view: View, now: str) -> Iterator[StatusPatch]:
    if view.instance is not None and not _unlooked(view, view.instance, choose(view).binding):
        yield from _instance_patch(view, now)
    for binding in view.bindings:
        if not _unlooked(view, binding, binding):
            yield from _binding_patch(view, binding, now)
    for binding in view.beyond:
        yield from _binding_patch(view, binding, now, beyond=True)
    for sealable, standing in view.standings:
        wanted = of_sealable(view, sealable, standing)
        if wanted is not None:
            yield from _patch(
                sealable.kind,
                sealable.meta,
                sealable.conditions,
                sealable.observed_generation,
                {},
                {},
                wanted,
                now,
            )


def _unlooked(view: View, thing: OpenScaleInstance | RootKeyBinding, binding: RootKeyBinding | None) -> bool:
    """Whether its status tells of a root key that this process has not looked at yet.

    It stays as it is until then, a moment after a start: else every restart would say that nothing is known, and
    then all of it again.
    """
    status, known = thing.status, binding is None or binding.metadata.uid in view.keys
    told_now = status.observed_generation == thing.metadata.generation
    return not known and told_now and any(found.type == "KeyUsable" for found in status.conditions)


def unreported(view: View) -> bool:
    """Whether any status differs from what was found."""
    return next(patches(view, ""), None) is not None


def told(view: View, now: str) -> dict[str, Any]:
    """What an instance's status is to say besides its properties, where it does not say so yet."""
    return next((dict(patch.status) for patch in _instance_patch(view, now)), {})


def _instance_patch(view: View, now: str) -> Iterator[StatusPatch]:
    assert view.instance is not None  # noqa: S101 -- asked only then
    status, active, found = view.instance.status, view.properties.active, count(view)
    protection = "None" if active is None else "Global" if active.root_key == GLOBAL else "Customer"
    secrets = {"total": found.total, "current": found.current, "stale": found.stale, "stuck": found.stuck}
    seen = seen_deletion(view)
    fields: dict[str, Any] = {"protection": protection, "secrets": secrets, "deletion": seen.dump() if seen else None}
    before = {
        "protection": status.protection,
        "secrets": status.secrets.dump() if status.secrets else None,
        "deletion": status.deletion.dump() if status.deletion else None,
    }
    meta, observed = view.instance.metadata, status.observed_generation
    wanted = of_instance(view, found)
    yield from _patch(view.instance.KIND, meta, status.conditions, observed, before, fields, wanted, now)


def _binding_patch(view: View, binding: RootKeyBinding, now: str, *, beyond: bool = False) -> Iterator[StatusPatch]:
    status, look = binding.status, view.key(binding).look
    wanted, role = of_binding_beyond(view, binding) if beyond else of_binding(view, binding)
    fields = {
        "role": role,
        "keyState": look.state.value if look else status.key_state or "Unknown",
        "keyVersion": look.version if look else status.key_version,
        "stuckDigest": (stuck_digest(view, binding) if binding.metadata.deleting else "") or None,
    }
    before = {
        "role": status.role,
        "keyState": status.key_state,
        "keyVersion": status.key_version,
        "stuckDigest": status.stuck_digest,
    }
    meta, observed = binding.metadata, status.observed_generation
    yield from _patch(binding.KIND, meta, status.conditions, observed, before, fields, wanted, now)


def _patch(
    kind: str,
    meta: Meta,
    existing: tuple[Condition, ...],
    observed: int,
    before: Mapping[str, Any],
    fields: Mapping[str, Any],
    wanted: tuple[Wanted, ...],
    now: str,
) -> Iterator[StatusPatch]:
    extra = {name: value for name, value in fields.items() if value != before[name]}
    conditions = merged(existing, wanted, meta.generation, now)
    if conditions is None and not extra and observed == meta.generation:
        return
    status = dict(extra) | ({"conditions": conditions} if conditions is not None else {})
    says = (meta.generation, wanted, *map(str, fields.values()))
    news = _news({old.type: old.reason for old in existing}, wanted)
    yield StatusPatch(kind, meta, status | {"observedGeneration": meta.generation}, news, says)


def _news(was: Mapping[str, str], wanted: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
    """What a person should hear of: the first new trouble, and a root key that is active again after trouble."""
    fresh = [
        want
        for type_ in ("Ready", "KeyUsable")
        for want in wanted
        if want.type == type_ and was.get(type_) != want.reason.value
    ]
    loud = [want for want in fresh if TABLE[want.reason].event == "Warning"]
    back = [want for want in fresh if want.reason is Reason.KEY_ACTIVE and _trouble(was.get(want.type, ""))]
    return (*loud[:1], *back)


def _trouble(reason: str) -> bool:
    return reason in Reason.__members__.values() and TABLE[Reason(reason)].event == "Warning"
