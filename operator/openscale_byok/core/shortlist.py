"""Which of an instance's bindings are looked at: as many as anybody needs, however many somebody creates."""

from collections.abc import Collection
from dataclasses import dataclass

from openscale_byok.core.view import age
from openscale_byok.reasons import Reason
from openscale_byok.resources import Properties, RootKeyBinding

MOST_BINDINGS = 16
"""Of one instance: one in force, one to change to, and those of former data keys that still open."""


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The bindings whose root keys are asked about; and others that still have to be told that theirs is not, or let
    go."""

    looked_at: tuple[RootKeyBinding, ...] = ()
    beyond: tuple[RootKeyBinding, ...] = ()


def shortlist(bindings: Collection[RootKeyBinding], properties: Properties) -> Shortlist:
    """First one for each root key that a recorded data key is under, as without it nothing of that key opens, and the
    Active one's before all; then the oldest. So nobody who creates more takes the place of one that is there.
    """
    if len(bindings) <= MOST_BINDINGS:
        return Shortlist(tuple(bindings))
    ranked = sorted(bindings, key=lambda b: (b.metadata.deleting, *age(b)))
    by_root_key: dict[str, RootKeyBinding] = {}
    for binding in sorted(ranked, key=lambda b: (b.metadata.deleting, not b.metadata.ours)):
        by_root_key.setdefault(binding.root_key, binding)
    recorded = dict.fromkeys(key.root_key for key in sorted(properties.data_keys, key=lambda key: not key.active))
    needed = [by_root_key[root_key] for root_key in recorded if root_key in by_root_key]
    found = {b.metadata.uid: b for b in (*needed, *ranked)}
    everyone = list(found.values())
    rest = everyone[MOST_BINDINGS:]
    return Shortlist(tuple(everyone[:MOST_BINDINGS]), tuple(b for b in rest if not _settled(b)))


def _settled(binding: RootKeyBinding) -> bool:
    """Whether nothing is left to be done about a binding that is not looked at."""
    meta, status = binding.metadata, binding.status
    if meta.deleting:
        return not meta.ours
    told = any(c.type == "Ready" and c.reason == Reason.TOO_MANY_BINDINGS.value for c in status.conditions)
    return told and status.observed_generation == meta.generation
