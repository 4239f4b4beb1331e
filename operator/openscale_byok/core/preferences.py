"""OpenScale's user preferences, of which one is ours: ``user_root_key_crn``, the root key that a user brings.

A preference is kept as a RootKeyBinding that the gateway owns: the newest of them, by the number in its name. What a
user asks for is one binding to make, with the next number; and once that is the newest, the older ones to delete. So
the one in force stays until the next takes over; and of two requests at once, of whichever replica, one gets the
number, and the other makes a newer one after it.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    FORMER_MANAGED_BY,
    MANAGED_BY,
    OpenScaleInstance,
    Resource,
    RootKeyBinding,
    crn,
)

ROOT_KEY = "user_root_key_crn"
VALUE = "value"
LABELS = {MANAGED_BY: "gateway"}
"""What the gateway puts on objects of its own. The chart's policies know it too, and who may set it."""
_FORMER_VALUE = "openscale-byok-gateway"
_MOST_OPERATIONS = 16
_NUMBERED = re.compile(r"user-root-key-[0-9a-f]{8}-([0-9]{1,9})\Z")


def invalid(message: str) -> Refused:
    """A request that does not have the shape that is demanded."""
    return Refused(Reason.INVALID_REQUEST, message)


def root_key_in(body: Any) -> str:  # noqa: ANN401 -- JSON
    """The CRN in the body of a PUT: ``{"user_root_key_crn": …}`` as IBM documents it, or ``{"value": …}`` as its SDK
    has it.

    Raises:
        Refused: `InvalidRequest`, with the field and the cure.
    """
    if not isinstance(body, dict) or len(body) != 1 or next(iter(body)) not in (ROOT_KEY, VALUE):
        raise invalid(
            f'the body must be {{"{ROOT_KEY}": "<CRN of a root key>"}} or {{"{VALUE}": "<CRN of a root key>"}}'
        )
    return root_key(next(iter(body.values())))


def root_key(found: Any) -> str:  # noqa: ANN401 -- JSON
    """A CRN of a root key, as a preference's value.

    Raises:
        Refused: `InvalidRequest`: it is something else.
    """
    if not isinstance(found, str):
        raise invalid(f"{ROOT_KEY}: must be a string, the CRN of a root key; to remove it, use DELETE")
    try:
        return crn.parse(found).text
    except ValueError as error:
        raise invalid(f"{ROOT_KEY}: {error}") from None


def patched(operations: Any, before: str | None) -> str | None:  # noqa: ANN401 -- JSON
    """What a JSON Patch (RFC 6902) makes of the preference: a CRN, or None where it is removed.

    Raises:
        Refused: `InvalidRequest`: no such patch, or it is about something that is not kept here.
    """
    if not isinstance(operations, list) or not 0 < len(operations) <= _MOST_OPERATIONS:
        raise invalid(f"the body must be a JSON Patch: an array of 1 to {_MOST_OPERATIONS} operations (RFC 6902)")
    after = before
    for number, operation in enumerate(operations):
        after = _one(operation, after, f"operation {number}")
    return after


def _one(operation: Any, before: str | None, where: str) -> str | None:  # noqa: ANN401 -- JSON
    if not isinstance(operation, dict):
        raise invalid(f"{where}: must be an object with op and path")
    what, path = operation.get("op"), operation.get("path")
    if path != f"/{ROOT_KEY}":
        raise invalid(f"{where}: path must be /{ROOT_KEY}: this gateway keeps no other preference")
    if what in ("add", "replace"):
        if what == "replace" and before is None:
            raise invalid(f"{where}: there is nothing to replace; use op add")
        return root_key(operation.get("value"))
    if what == "remove":
        if before is None:
            raise invalid(f"{where}: there is nothing to remove")
        return None
    if what == "test":
        if before is None or operation.get("value") != before:
            raise Refused(Reason.CONFLICT, f"{where}: {ROOT_KEY} is another; nothing was changed")
        return before
    raise invalid(f"{where}: op must be add, replace, remove or test")


def managed_by_gateway(found: Resource) -> bool:
    """Whether the gateway made an object, also if it did so before it had a label of its own."""
    labels = found.metadata.labels
    return labels.get(MANAGED_BY) == LABELS[MANAGED_BY] or labels.get(FORMER_MANAGED_BY) == _FORMER_VALUE


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done next so that a preference holds."""

    create: str = ""
    """Name of the binding to make; then all is looked at anew. Nothing where the newest is the one that is wanted."""
    root_key: str = ""
    delete: tuple[RootKeyBinding, ...] = ()
    """To be deleted; only older ones than the one that stays, so that two requests never delete each other's."""

    @property
    def nothing(self) -> bool:
        """Whether it holds already."""
        return not self.create and not self.delete


def current(instance: OpenScaleInstance, bindings: Sequence[RootKeyBinding]) -> str | None:
    """The root key that was asked for, or None where none was: the newest of ours, else the one in force."""
    staying = [b for b in bindings if not b.metadata.deleting]
    mine = sorted(filter(managed_by_gateway, staying), key=_order)
    if mine:
        return mine[-1].root_key
    in_force = instance.properties.user_root_key_crn
    found = sorted(staying, key=lambda b: (b.root_key != in_force, *_age(b)))
    return found[0].root_key if found else None


def wish(instance: str, wanted: str | None, bindings: Sequence[RootKeyBinding]) -> Wish:
    """What to do next so that this root key (or none) is bound by the gateway.

    Raises:
        Refused: `NotOurs`: somebody else has bound one, and keeps it somewhere else.
    """
    staying = sorted((b for b in bindings if not b.metadata.deleting), key=_order)
    foreign = next((b for b in staying if not managed_by_gateway(b)), None)
    if foreign is not None:
        text = (
            f"RootKeyBinding {foreign.metadata.name} binds this instance, and was not made by this API: "
            "change or delete it where it is kept (kubectl, Git)"
        )
        raise Refused(Reason.NOT_OURS, text)
    if wanted is None:
        return Wish(delete=tuple(staying))
    if staying and staying[-1].root_key == wanted:
        return Wish(delete=tuple(staying[:-1]))
    return Wish(_name(instance, 1 + max(map(_number, bindings), default=0)), wanted)


def spec_of(instance: str, root_key: str) -> Mapping[str, Any]:
    """The spec of a binding of ours: with the instance's own credentials."""
    return {"instanceRef": {"name": instance}, "rootKey": {"crn": root_key}}


def _name(instance: str, number: int) -> str:
    """One that is still there, or on its way out, has its name: who is second to take the next one is told so."""
    return f"user-root-key-{hashlib.sha256(instance.encode()).hexdigest()[:8]}-{number}"


def _number(binding: RootKeyBinding) -> int:
    found = _NUMBERED.match(binding.metadata.name)
    return int(found[1]) if found else 0


def _order(binding: RootKeyBinding) -> tuple[int, str, str]:
    """The newest comes last. Times of creation are whole seconds, of whichever API server's clock."""
    return (_number(binding), *_age(binding))


def _age(binding: RootKeyBinding) -> tuple[str, str]:
    return binding.metadata.creation_timestamp, binding.metadata.name


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change of the root key is."""

    done: bool
    message: str
    contradicted: str = ""
    """What Key Protect says of the CRN that was asked for, where it names another: this never gets done."""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.done or bool(self.contradicted)

    def __str__(self) -> str:
        return self.message


def progress(instance: OpenScaleInstance | None, bindings: Sequence[RootKeyBinding], wanted: str | None) -> Progress:
    """Whether everything is under the wanted root key (None: under none of a user's), as the statuses say."""
    if instance is None:
        return Progress(done=False, message="the instance is gone")
    staying = [b for b in bindings if not b.metadata.deleting]
    if wanted is not None and not any(b.root_key == wanted for b in staying):
        return Progress(done=False, message="the binding was not seen yet")
    former = any(b.metadata.deleting or b.root_key != wanted for b in bindings)
    ready = next((c for c in instance.status.conditions if c.type == "Ready"), None)
    in_force = instance.properties.user_root_key_crn
    counts = instance.status.secrets
    told = f"{counts.current} of {counts.total} secrets are re-encrypted" if counts is not None else "not begun"
    if in_force != (wanted or "") or ready is None or ready.status != "True" or former:
        wrong = _contradiction(staying, wanted)
        why = f"; {ready.message}" if ready is not None and ready.status != "True" and ready.message else ""
        return Progress(done=False, message=f"{told}{why}", contradicted=wrong)
    return Progress(done=True, message=told)


def _contradiction(staying: Sequence[RootKeyBinding], wanted: str | None) -> str:
    conditions = (c for b in staying if b.root_key == wanted for c in b.status.conditions if c.type == "KeyUsable")
    return next((c.message for c in conditions if c.reason == Reason.CRN_MISMATCH), "")
