"""What an instance says of itself."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from openscale_byok.core.conditions.base import Wanted, not_ready
from openscale_byok.core.conditions.bindings import key_usable, stuck_text, unusable
from openscale_byok.core.findings import Count, left_behind, newer, shreds, waiting_for
from openscale_byok.core.minting import failed
from openscale_byok.core.retention import shred_time
from openscale_byok.core.view import Choice, View, choose
from openscale_byok.errors import Refused
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import GLOBAL, MAX_RETIRING, PROPERTIES_FORMAT, OpenScaleInstance

LISTED_CHARACTERS = 300
"""Of names in a message that ends up in an event, which holds 1024 characters; root keys need their share."""


def of_instance(view: View, found: Count) -> tuple[Wanted, ...]:
    """An instance's conditions."""
    choice = choose(view)
    usable = _instance_key(view, choice)
    return (*_instance_ready(view, choice, usable, found), usable, _encrypted(found))


def of_unread_instance(cause: Refused) -> tuple[Wanted, ...]:
    """An instance of which not everything can be read: nothing is decided, nor said, on a part of it."""
    unknown = (Wanted(type_, "Unknown", cause.reason, cause.message) for type_ in ("KeyUsable", "Encrypted"))
    return (*not_ready(cause.reason, cause.message), *unknown)


def _instance_key(view: View, choice: Choice) -> Wanted:
    if choice.binding is not None:
        return key_usable(view.key(choice.binding))
    active = view.properties.active
    standing = view.global_key
    if choice.root_key == GLOBAL and (standing.trouble is not None or standing.look is not None):
        usable = key_usable(standing)
        if usable.reason is not Reason.KEY_ACTIVE:
            return usable if standing.trouble else replace(usable, message=f"the global key: {usable.message}")
    cause = view.closed.get(active.id) if active is not None else None
    if cause is not None:
        status: Literal["False", "Unknown"] = "False" if isinstance(cause, Refused) else "Unknown"
        return Wanted("KeyUsable", status, cause.reason, cause.message)
    if choice.root_key == GLOBAL:
        return Wanted("KeyUsable", "True", Reason.IN_FORCE, "the global key protects what no binding protects")
    status = "Unknown" if choice.reason is Reason.WAITING_FOR_ROOT_KEY else "False"
    return Wanted("KeyUsable", status, choice.reason, choice.message)


def _encrypted(found: Count) -> Wanted:
    if found.stuck:
        return Wanted("Encrypted", "False", Reason.STUCK, stuck_text(found))
    if found.stale:
        text = f"{found.current} of {found.total} secrets are under the active data key"
        return Wanted("Encrypted", "False", Reason.RE_ENCRYPTING, text)
    return Wanted("Encrypted", "True", Reason.CURRENT, "every sealed secret is under the active data key")


def _instance_ready(view: View, choice: Choice, usable: Wanted, found: Count) -> tuple[Wanted, ...]:
    trouble = _instance_trouble(view, choice, usable, found)
    if view.instance is not None and view.instance.spec.suspend and not view.instance.metadata.deleting:
        return _suspended(trouble, found)
    if trouble is not None:
        reason, message = trouble
        if reason is usable.reason and usable.status == "Unknown" and reason is not Reason.WAITING_FOR_ROOT_KEY:
            return unusable(usable)
        return not_ready(reason, message)
    if view.properties.active is None:
        return (Wanted("Ready", "True", Reason.NOTHING_TO_PROTECT, "no secret and no binding yet"),)
    return (Wanted("Ready", "True", Reason.CURRENT, _all_current(found)),)


def _suspended(trouble: tuple[Reason, str] | None, found: Count) -> tuple[Wanted, ...]:
    """As its owner wants it, unless something is left to do, or wrong, that suspend keeps from coming right.

    What a person must act on is said as if nothing were suspended: whose id it is, and who may open, is no less wrong.
    """
    if trouble is None:
        text = f"spec.suspend is true: nothing is written; {_all_current(found)}"
        return (Wanted("Ready", "True", Reason.SUSPENDED, text),)
    reason, message = trouble
    if TABLE[reason].stalled:
        return not_ready(reason, message)
    return not_ready(Reason.SUSPENDED, f"spec.suspend is true: nothing is written, although: {message}")


def _all_current(found: Count) -> str:
    unsealed = found.total - found.current
    if unsealed:
        return f"every sealed secret is under the active data key; {unsealed} of {found.total} are not sealed yet"
    return "every secret is under the active data key"


def _deleting(view: View, instance: OpenScaleInstance) -> tuple[Reason, str]:
    unwritten = view.unwritten("shred", "shredkeys")
    if unwritten is not None:
        return unwritten.reason, unwritten.message
    at = shred_time(view)
    if at is not None:
        return _shredding(view, instance, at)
    if view.sealables:
        some = ", ".join(s.meta.name for s in view.sealables[:5])
        return (
            Reason.DATA_MARTS_REMAIN,
            f"{len(view.sealables)} data marts name this instance ({some}): delete them first",
        )
    return Reason.DELETING, "being deleted"


def _shredding(view: View, instance: OpenScaleInstance, at: datetime) -> tuple[Reason, str]:
    """What is destroyed, and when; at the end, what was. That stays: the last event is made of it."""
    stored = sum(s.stored for s in view.sealables)
    if shreds(view):
        said = next((c for c in instance.status.conditions if c.type == "Ready"), None)
        if stored:
            return Reason.SHREDDING, f"being destroyed: {stored} sealed passwords and their data keys"
        if view.properties.data_keys:
            return Reason.SHREDDED, _destroyed(view)
        return Reason.SHREDDED, said.message if said and said.reason == Reason.SHREDDED else "nothing was sealed"
    if instance.spec.suspend:
        return Reason.SUSPENDED, "spec.suspend is true: nothing is destroyed until it is false"
    if view.properties.format > PROPERTIES_FORMAT or any(newer(s) for s in view.sealables):
        return Reason.NEWER_FORMAT, "what is stored has a newer format; run the newer operator, and it is destroyed"
    text = f"on {at:%Y-%m-%dT%H:%M:%SZ} {stored} sealed passwords and their data keys are destroyed (spec.deletion)"
    return Reason.SHREDDING, f"{text}; to keep them, set spec.deletion.policy to Block before"


def _destroyed(view: View) -> str:
    """The list, as much of it as an event holds."""
    names = sorted(s.meta.name for s in view.sealables if (c := s.condition("Ready")) and c.reason == Reason.SHREDDED)
    keys = ", ".join(f"{key.id[:8]} (under {key.root_key})" for key in view.properties.data_keys[:4])
    more = len(view.properties.data_keys) - 4
    some, left = "", len(names)
    for name in names:
        if len(some) + len(name) > LISTED_CHARACTERS:
            break
        some, left = f"{some}, {name}" if some else name, left - 1
    which = f" of data marts {some}{f' and {left} more' if left else ''}" if names else ""
    return f"destroyed: {len(names)} sealed passwords{which}; data keys {keys}{f' and {more} more' if more > 0 else ''}"


def _instance_trouble(view: View, choice: Choice, usable: Wanted, found: Count) -> tuple[Reason, str] | None:  # noqa: C901 -- an ordered list of findings, first one wins
    assert view.instance is not None  # noqa: S101 -- only asked of an instance
    if view.instance.metadata.deleting:
        return _deleting(view, view.instance)
    if view.conflict is not None:
        return view.conflict.reason, view.conflict.message
    if view.properties.format > PROPERTIES_FORMAT:
        return Reason.NEWER_FORMAT, "status.properties has a newer format; run the newer operator"
    if choice.reason is Reason.WAITING_FOR_ROOT_KEY or (choice.root_key is None and view.sealables):
        return choice.reason, choice.message
    if usable.status != "True":
        return usable.reason, usable.message
    active = view.properties.active
    cause = failed(view) or (view.closed.get(active.id) if active is not None else None)
    if cause is not None:
        return cause.reason, cause.message
    asked = view.instance.spec.data_key_revision
    revised = view.properties.data_key_revision < asked
    left = left_behind(view)
    if active is not None and (revised or left or choice.root_key not in (None, active.root_key)):
        if len(view.properties.data_keys) > MAX_RETIRING:
            text = f"{MAX_RETIRING} former data keys are still needed by stuck secrets; see status.secrets"
            return Reason.TOO_MANY_DATA_KEYS, text
        if usable.reason is Reason.KEY_EXPIRED:
            return usable.reason, usable.message
        if revised:
            return Reason.RE_ENCRYPTING, f"spec.dataKeyRevision: the data key of revision {asked} is about to be made"
        if left:
            return Reason.RE_ENCRYPTING, "the global key has a new version: a new data key is about to be made"
        return Reason.ROOT_KEY_CHANGED, "another root key is about to come into force"
    if found.stuck:
        return Reason.STUCK, stuck_text(found)
    if found.stale:
        text = f"{found.current} of {found.total} secrets are under the active data key{waiting_for(view)}"
        return Reason.RE_ENCRYPTING, text
    return None
