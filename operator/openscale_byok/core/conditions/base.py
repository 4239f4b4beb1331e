"""A condition as it should be, and the list of conditions to write, if any."""

from dataclasses import dataclass
from typing import Any, Literal

from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import Condition

OURS = {"Ready", "Reconciling", "Stalled", "KeyUsable", "Encrypted", "Sealed", "SourceRemoved"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A condition as it should be."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str = ""


def merged(
    existing: tuple[Condition, ...], wanted: tuple[Wanted, ...], generation: int, now: str
) -> list[dict[str, Any]] | None:
    """The list of conditions to write, or None where it says all this already.

    Types that are not ours stay as they are; ``lastTransitionTime`` moves only when a status flips.
    """
    before = {found.type: found for found in existing}
    after: list[dict[str, Any]] = []
    for want in wanted:
        old = before.get(want.type)
        same = old is not None and old.status == want.status
        fresh = {
            "type": want.type,
            "status": want.status,
            "observedGeneration": generation,
            "lastTransitionTime": old.last_transition_time if old is not None and same else now,
            "reason": want.reason.value,
            "message": want.message,
        }
        after.append((old.dump() if old is not None else {}) | fresh)
    after += [old.dump() for type_, old in before.items() if type_ not in OURS]
    unchanged = [before[c["type"]].dump() if c["type"] in before else None for c in after]
    return None if after == unchanged and len(after) == len(before) else after


def not_ready(reason: Reason, message: str) -> tuple[Wanted, ...]:
    """Not ready: by the table either a person must act, or it may come by itself.

    What its owner suspended is neither: nothing is under way, and nothing is wrong.
    """
    if reason is Reason.SUSPENDED:
        return (Wanted("Ready", "False", reason, message),)
    which = "Stalled" if TABLE[reason].stalled else "Reconciling"
    return Wanted("Ready", "False", reason, message), Wanted(which, "True", reason, message)
