"""What the statuses say: conditions by kstatus, from one table of reasons.

``Ready=False, Reconciling=True`` where it may come right by itself, ``Ready=False, Stalled=True`` where a
person must act, ``Unknown`` where it cannot be checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from openscale_byok.core.findings import (
    Count,
    broken,
    count,
    first_seals_wait,
    needed,
    needs_source,
    newer,
    source_missing,
    stuck,
)
from openscale_byok.core.sealable import Note, Sealable, Standing
from openscale_byok.core.view import Choice, KeyStanding, View, choose
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import (
    GLOBAL,
    MAX_RETIRING,
    PROPERTIES_FORMAT,
    Condition,
    Meta,
    RootKeyBinding,
)

OURS = {"Ready", "Reconciling", "Stalled", "KeyUsable", "Encrypted", "Sealed", "SourceRemoved"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A condition as it should be."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class StatusPatch:
    """A status to write, and what to announce because of it."""

    kind: str
    meta: Meta
    status: Mapping[str, Any]
    announce: Wanted | None
    says: tuple[object, ...]
    """All that it says, whatever was there before."""


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


def not_ready(reason: Reason, message: str) -> tuple[Wanted, Wanted]:
    """Not ready: by the table either a person must act, or it may come by itself."""
    which = "Stalled" if TABLE[reason].stalled else "Reconciling"
    return Wanted("Ready", "False", reason, message), Wanted(which, "True", reason, message)


# Sealables ---------------------------------------------------------------------------------------------


def checking_seal() -> tuple[Wanted, ...]:
    """Sealed, and not checked since."""
    text = "sealed; checking that its data key is still the active one"
    return (*not_ready(Reason.CHECKING_SEAL, text), Wanted("Sealed", "Unknown", Reason.CHECKING_SEAL, text))


def confirmed(sealable: Sealable, note: Note, *, shared_with: str = "") -> tuple[Wanted, ...]:
    """Sealed, and checked after the seal was stored."""
    ref = sealable.source_ref
    handover = sealable.sealed_source is not None and sealable.sealed_source.handover
    if shared_with:
        text = f"hand-over Secret {ref.name} is kept until DataMart {shared_with} is sealed from it too"
        source = Wanted("SourceRemoved", "False", Reason.SOURCE_KEPT, text)
    elif handover:
        source = Wanted("SourceRemoved", "True", Reason.HANDED_OVER, f"Secret {ref.name} was consumed")
    elif isinstance(note.source_trouble, Missing) or sealable.sealed_source is None:
        source = Wanted("SourceRemoved", "True", Reason.SOURCE_GONE, f"Secret {ref.name} is gone")
    else:
        text = f"Secret {ref.name} still holds the password in plain form, which no root key can revoke"
        source = Wanted("SourceRemoved", "False", Reason.SOURCE_KEPT, text)
    sealed = "the password is sealed under the active data key"
    return (
        Wanted("Ready", "True", Reason.SEALED, sealed),
        Wanted("Sealed", "True", Reason.SEALED, sealed),
        source,
    )


def of_sealable(view: View, sealable: Sealable, standing: Standing) -> tuple[Wanted, ...] | None:
    """What keeps a sealable from being ready; None where a step of the plan will say how it stands."""
    trouble = _sealable_trouble(view, sealable, standing)
    if trouble is None:
        return None
    kept = sealable.envelope is not None and broken(view, sealable) is None
    sealed = Wanted("Sealed", "True" if kept else "False", Reason.SEALED if kept else trouble[0].reason)
    return (*trouble, sealed, *_source_removed(view, sealable))


def _source_removed(view: View, sealable: Sealable) -> tuple[Wanted, ...]:
    before = sealable.condition("SourceRemoved")
    if before is None:
        return ()
    if before.status == "False" and isinstance(view.note(sealable).source_trouble, Missing):
        return (Wanted("SourceRemoved", "True", Reason.SOURCE_GONE, f"Secret {sealable.source_ref.name} is gone"),)
    known = before.reason in Reason.__members__.values()
    return (Wanted("SourceRemoved", before.status, Reason(before.reason), before.message),) if known else ()


def _sealable_trouble(view: View, sealable: Sealable, standing: Standing) -> tuple[Wanted, Wanted] | None:
    around = _surroundings(view, sealable)
    if around is not None:
        return None if sealable.ready and around[0] is Reason.SUSPENDED else not_ready(*around)
    note = view.note(sealable)
    missing = source_missing(view, sealable)
    why: ByokError | None = None
    if newer(sealable):
        assert sealable.flaw is not None  # noqa: S101 -- that is what newer() says
        return not_ready(Reason.NEWER_FORMAT, f"{sealable.flaw.message}; run the newer operator")
    if standing is Standing.FLAWED:
        why = sealable.flaw if missing else None
    elif broken(view, sealable) is not None:
        why = broken(view, sealable) if missing else None
    elif stuck(view, sealable, standing):
        assert sealable.envelope is not None  # noqa: S101 -- stuck() is only true of an envelope
        cause = view.closed.get(sealable.envelope.data_key)
        why = Refused(
            Reason.STUCK,
            f"its data key cannot be unwrapped: {cause.message if cause else 'it does not open'}",
        )
    elif sealable.elsewhere and missing:
        why = Refused(Reason.ENDPOINT_CHANGED, _endpoint_text(sealable))
    elif standing is Standing.UNSEALED:
        return _unsealed_trouble(view, note)
    elif isinstance(note.source_trouble, Refused):
        text = f"{note.source_trouble.message}; the former password stays sealed"
        return not_ready(note.source_trouble.reason, text)
    if why is not None:
        return not_ready(why.reason, f"{why.message}; {_give_again(sealable)}")
    if sealable.ready or not needs_source(view, sealable, standing):
        return None
    # Sealed, but for a former spec, and the new one has to wait: say for what.
    if isinstance(note.source_trouble, Unavailable) and note.source_looked == sealable.meta.generation:
        return not_ready(note.source_trouble.reason, note.source_trouble.message)
    return _key_trouble(view)


def _surroundings(view: View, sealable: Sealable) -> tuple[Reason, str] | None:
    if view.instance is None:
        text = f"spec.instanceRef: OpenScaleInstance {sealable.instance} does not exist in this namespace (yet)"
        return Reason.INSTANCE_NOT_FOUND, text
    if view.rival:
        return Reason.CONFLICT, f"spec.instanceRef: see the conditions of OpenScaleInstance {view.name}"
    if view.properties.format > PROPERTIES_FORMAT:
        return Reason.NEWER_FORMAT, f"the properties of OpenScaleInstance {view.name} have a newer format"
    if not sealable.ready and (view.instance.metadata.deleting or view.instance.spec.suspend):
        reason = Reason.DELETING if view.instance.metadata.deleting else Reason.SUSPENDED
        return (
            reason,
            f"OpenScaleInstance {view.name} is {'being deleted' if reason is Reason.DELETING else 'suspended'}",
        )
    return None


def _unsealed_trouble(view: View, note: Note) -> tuple[Wanted, Wanted] | None:
    if note.source_trouble is not None:
        return not_ready(note.source_trouble.reason, note.source_trouble.message)
    return _key_trouble(view)


def _key_trouble(view: View) -> tuple[Wanted, Wanted] | None:
    choice = choose(view)
    if choice.root_key is None or first_seals_wait(view):
        return not_ready(choice.reason, choice.message)
    active = view.properties.active
    cause = view.trouble("mint") if active is None else view.closed.get(active.id)
    return None if cause is None else not_ready(cause.reason, cause.message)


def _endpoint_text(sealable: Sealable) -> str:
    assert sealable.envelope is not None  # noqa: S101 -- only asked of a sealed one
    at = sealable.envelope.context.endpoint
    return (
        f"spec.database: the password was given for {at.type} {at.host}:{at.port}, database {at.database}, "
        f"user {at.username}, and goes nowhere else"
    )


def _give_again(sealable: Sealable) -> str:
    ref = sealable.source_ref
    return f"give the password again in Secret {ref.name}, key {ref.key}"


# Bindings ----------------------------------------------------------------------------------------------


def key_usable(standing: KeyStanding) -> Wanted:
    """What is known of a root key, as a condition."""
    look, trouble = standing.look, standing.trouble
    if trouble is not None:
        status: Literal["False", "Unknown"] = "False" if isinstance(trouble, Refused) else "Unknown"
        return Wanted("KeyUsable", status, trouble.reason, trouble.message)
    if look is None:
        return Wanted("KeyUsable", "Unknown", Reason.CHECKING_KEY, "Key Protect has not answered yet")
    return _by_state(look.state.value, look.until)


def _by_state(state: str, until: str) -> Wanted:
    at = f" (on {until})" if until else ""
    if state == "Suspended":
        return Wanted("KeyUsable", "False", Reason.KEY_DISABLED, "the root key is disabled; enable it in Key Protect")
    if state == "Destroyed":
        text = f"the root key was deleted; restore it in Key Protect{f' before {until}' if until else ''}"
        return Wanted("KeyUsable", "False", Reason.KEY_DESTROYED, text)
    if state == "Deactivated":
        text = f"the root key expired{at}: it still opens, but wraps no new data key; bind another root key"
        return Wanted("KeyUsable", "True", Reason.KEY_EXPIRED, text)
    return Wanted("KeyUsable", "True", Reason.KEY_ACTIVE, "the root key is active")


def of_binding(view: View, binding: RootKeyBinding) -> tuple[tuple[Wanted, ...], str | None]:
    """A binding's conditions and its role."""
    usable = key_usable(view.key(binding))
    if view.instance is None:
        named = binding.spec.instance_ref.name
        text = f"spec.instanceRef: OpenScaleInstance {named} does not exist in this namespace (yet)"
        return (*not_ready(Reason.INSTANCE_NOT_FOUND, text), usable), None
    choice, active = choose(view), view.properties.active
    chosen = choice.binding is not None and choice.binding.metadata.uid == binding.metadata.uid
    if binding.metadata.deleting:
        return (
            *_leaving(view, binding, choice),
            usable,
        ), "InForce" if chosen and choice.message else "Releasing"
    in_force = chosen and active is not None and active.root_key == binding.root_key
    if usable.status != "True" or (usable.reason is Reason.KEY_EXPIRED and not in_force):
        return (*_unusable(usable), usable), "InForce" if in_force else None
    if in_force:
        text = f"protects OpenScaleInstance {view.name}"
        return (Wanted("Ready", "True", Reason.IN_FORCE, text), usable), "InForce"
    if chosen:
        cause = view.trouble("mint")
        reason, text = (cause.reason, cause.message) if cause else (Reason.SEALING, "about to come into force")
        return (*not_ready(reason, text), usable), "Standby"
    text = "waits until the binding in force is deleted"
    return (Wanted("Ready", "True", Reason.STANDBY, text), usable), "Standby"


def _unusable(usable: Wanted) -> tuple[Wanted, ...]:
    if usable.status == "Unknown":
        ready = Wanted("Ready", "Unknown", usable.reason, usable.message)
        return ready, Wanted("Reconciling", "True", usable.reason, usable.message)
    return not_ready(usable.reason, usable.message)


def _leaving(view: View, binding: RootKeyBinding, choice: Choice) -> tuple[Wanted, ...]:
    if choice.binding is not None and choice.binding.metadata.uid == binding.metadata.uid and choice.message:
        return not_ready(Reason.STILL_NEEDED, choice.message)
    found = count(view)
    if found.stuck and needed(view, binding):
        return not_ready(Reason.STUCK, _stuck_text(found))
    return not_ready(Reason.RELEASING, "secrets are moving away from this root key; see the instance for how far")


def _stuck_text(found: Count) -> str:
    some = ", ".join(found.stuck_names[:5]) + (" …" if len(found.stuck_names) > 5 else "")
    return (
        f"{found.stuck} of {found.total} secrets cannot be opened ({some}): enable or restore their root key, "
        "or give their passwords again"
    )


# Instances ---------------------------------------------------------------------------------------------


def of_instance(view: View, found: Count) -> tuple[Wanted, ...]:
    """An instance's conditions."""
    choice = choose(view)
    usable = _instance_key(view, choice)
    return (*_instance_ready(view, choice, usable, found), usable, _encrypted(found))


def _instance_key(view: View, choice: Choice) -> Wanted:
    if choice.binding is not None:
        return key_usable(view.key(choice.binding))
    active = view.properties.active
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
        return Wanted("Encrypted", "False", Reason.STUCK, _stuck_text(found))
    if found.stale:
        text = f"{found.current} of {found.total} secrets are under the active data key"
        return Wanted("Encrypted", "False", Reason.RE_ENCRYPTING, text)
    return Wanted("Encrypted", "True", Reason.CURRENT, "every sealed secret is under the active data key")


def _instance_ready(view: View, choice: Choice, usable: Wanted, found: Count) -> tuple[Wanted, ...]:
    trouble = _instance_trouble(view, choice, usable, found)
    if trouble is not None:
        reason, message = trouble
        if reason is usable.reason and usable.status == "Unknown" and reason is not Reason.WAITING_FOR_ROOT_KEY:
            return _unusable(usable)
        return not_ready(reason, message)
    if view.properties.active is None:
        return (Wanted("Ready", "True", Reason.NOTHING_TO_PROTECT, "no secret and no binding yet"),)
    unsealed = found.total - found.current
    text = "every secret is under the active data key"
    if unsealed:
        text = f"every sealed secret is under the active data key; {unsealed} of {found.total} are not sealed yet"
    return (Wanted("Ready", "True", Reason.CURRENT, text),)


def _instance_trouble(view: View, choice: Choice, usable: Wanted, found: Count) -> tuple[Reason, str] | None:  # noqa: C901 -- an ordered list of findings, first one wins
    assert view.instance is not None  # noqa: S101 -- only asked of an instance
    if view.instance.metadata.deleting:
        if view.sealables:
            some = ", ".join(s.meta.name for s in view.sealables[:5])
            return (
                Reason.DATA_MARTS_REMAIN,
                f"{found.total} data marts name this instance ({some}): delete them first",
            )
        return Reason.DELETING, "being deleted"
    if view.rival:
        text = f"spec.serviceInstanceId is claimed by OpenScaleInstance {view.rival} already; delete one of the two"
        return Reason.CONFLICT, text
    if view.properties.format > PROPERTIES_FORMAT:
        return Reason.NEWER_FORMAT, "status.properties has a newer format; run the newer operator"
    if view.instance.spec.suspend:
        return Reason.SUSPENDED, "spec.suspend is true"
    if choice.reason is Reason.WAITING_FOR_ROOT_KEY or (choice.root_key is None and view.sealables):
        return choice.reason, choice.message
    if usable.status != "True":
        return usable.reason, usable.message
    active = view.properties.active
    cause = view.trouble("mint", "rebuild") or (view.closed.get(active.id) if active is not None else None)
    if cause is not None:
        return cause.reason, cause.message
    if active is not None and choice.root_key not in (None, active.root_key):
        if len(view.properties.data_keys) > MAX_RETIRING:
            text = f"{MAX_RETIRING} former data keys are still needed by stuck secrets; see status.secrets"
            return Reason.TOO_MANY_DATA_KEYS, text
        return Reason.ROOT_KEY_CHANGED, "another root key is about to come into force"
    if found.stuck:
        return Reason.STUCK, _stuck_text(found)
    if found.stale:
        return Reason.RE_ENCRYPTING, f"{found.current} of {found.total} secrets are under the active data key"
    return None


# What to write -----------------------------------------------------------------------------------------


def patches(view: View, now: str) -> Iterator[StatusPatch]:
    """Every status that differs from what was found, and that no other writer disputes just now."""
    return (patch for patch in _patches(view, now) if view.disputed.get(patch.meta.uid, view.now) <= view.now)


def _patches(view: View, now: str) -> Iterator[StatusPatch]:
    if view.instance is not None:
        yield from _instance_patch(view, now)
    for binding in view.bindings:
        yield from _binding_patch(view, binding, now)
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
    fields: dict[str, Any] = {"protection": protection, "secrets": secrets}
    before = {"protection": status.protection, "secrets": status.secrets.dump() if status.secrets else None}
    meta, observed = view.instance.metadata, status.observed_generation
    wanted = of_instance(view, found)
    yield from _patch(view.instance.KIND, meta, status.conditions, observed, before, fields, wanted, now)


def _binding_patch(view: View, binding: RootKeyBinding, now: str) -> Iterator[StatusPatch]:
    status, look = binding.status, view.key(binding).look
    wanted, role = of_binding(view, binding)
    fields = {
        "role": role,
        "keyState": look.state.value if look else status.key_state or "Unknown",
        "keyVersion": look.version if look else status.key_version,
    }
    before = {"role": status.role, "keyState": status.key_state, "keyVersion": status.key_version}
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
    ready = next(want for want in wanted if want.type == "Ready")
    was = next((old for old in existing if old.type == "Ready"), None)
    turned = was is None or was.reason != ready.reason.value
    loud = turned and TABLE[ready.reason].event == "Warning"
    says = (meta.generation, wanted, *map(str, fields.values()))
    yield StatusPatch(kind, meta, status | {"observedGeneration": meta.generation}, ready if loud else None, says)
