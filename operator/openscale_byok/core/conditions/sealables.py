"""What a data mart, or whatever else is sealed, says of itself."""

from typing import Any

from openscale_byok.core.conditions.base import Wanted, merged, not_ready
from openscale_byok.core.findings import broken, first_seals_wait, needs_source, newer, source_missing, stuck
from openscale_byok.core.handover import given_up, hands_over
from openscale_byok.core.sealable import Note, Sealable, Standing
from openscale_byok.core.view import View, choose
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import PROPERTIES_FORMAT


def saying(sealable: Sealable, wanted: tuple[Wanted, ...], now: str) -> dict[str, Any]:
    """The conditions and generation that differ, as a part of a status."""
    generation = sealable.meta.generation
    conditions = merged(sealable.conditions, wanted, generation, now)
    status: dict[str, Any] = {} if conditions is None else {"conditions": conditions}
    return status if sealable.observed_generation == generation else status | {"observedGeneration": generation}


def checking_seal() -> tuple[Wanted, ...]:
    """Sealed, and not checked since."""
    text = "sealed; checking that its data key is still the active one"
    return (*not_ready(Reason.CHECKING_SEAL, text), Wanted("Sealed", "Unknown", Reason.CHECKING_SEAL, text))


def confirmed(sealable: Sealable, note: Note, *, kept_until: str = "") -> tuple[Wanted, ...]:
    """Sealed, and checked after the seal was stored."""
    name = sealable.source_ref.name if sealable.source_ref is not None else ""
    handover = sealable.sealed_source is not None and sealable.sealed_source.handover
    if not name:
        source = Wanted("SourceRemoved", "True", Reason.GIVEN, "no Secret holds the password: it was given")
    elif kept_until:
        text = f"hand-over Secret {name} is kept until {kept_until}"
        source = Wanted("SourceRemoved", "False", Reason.SOURCE_KEPT, text)
    elif handover:
        source = Wanted("SourceRemoved", "True", Reason.HANDED_OVER, f"Secret {name} was consumed")
    elif isinstance(note.source_trouble, Missing) or sealable.sealed_source is None:
        source = Wanted("SourceRemoved", "True", Reason.SOURCE_GONE, f"Secret {name} is gone")
    else:
        text = f"Secret {name} still holds the password in plain form, which no root key can revoke"
        source = Wanted("SourceRemoved", "False", Reason.SOURCE_KEPT, text)
    sealed = "the password is sealed under the active data key"
    return (
        Wanted("Ready", "True", Reason.SEALED, sealed),
        Wanted("Sealed", "True", Reason.SEALED, sealed),
        source,
    )


def shredded(view: View, sealable: Sealable) -> tuple[Wanted, ...]:
    """Destroyed with its instance. It says so for as long as nobody gives the password again."""
    text = (
        f"its sealed password was destroyed with OpenScaleInstance {view.name} (spec.deletion.policy Shred); "
        "to use it again, create the instance and give the password again"
    )
    wanted = not_ready(Reason.SHREDDED, text)
    return (*wanted, Wanted("Sealed", "False", Reason.SHREDDED), *_source_removed(view, sealable))


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
    ref, gone = sealable.source_ref, isinstance(view.note(sealable).source_trouble, Missing)
    kept = before is not None and before.status == "False"
    if ref is not None and gone and not sealable.unanswered:
        if hands_over(sealable) and (kept or before is None):
            return (Wanted("SourceRemoved", "True", Reason.HANDED_OVER, f"Secret {ref.name} was consumed"),)
        if kept:
            return (Wanted("SourceRemoved", "True", Reason.SOURCE_GONE, f"Secret {ref.name} is gone"),)
    if before is None:
        return ()
    known = before.reason in Reason.__members__.values()
    return (Wanted("SourceRemoved", before.status, Reason(before.reason), before.message),) if known else ()


def _sealable_trouble(view: View, sealable: Sealable, standing: Standing) -> tuple[Wanted, ...] | None:
    around = _surroundings(view, sealable)
    if around is not None:
        return None if sealable.ready and around[0] is Reason.SUSPENDED else not_ready(*around)
    note = view.note(sealable)
    missing = source_missing(view, sealable)
    why: ByokError | None = None
    if newer(sealable) or sealable.ca_trouble is not None:
        return _barred(sealable)
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
        why = _departed(sealable)
    elif standing is Standing.UNSEALED:
        return _unsealed_trouble(view, note)
    elif isinstance(note.source_trouble, Refused) or (sealable.unanswered and note.source_trouble is not None):
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


def _barred(sealable: Sealable) -> tuple[Wanted, ...] | None:
    """What no password that is given again would help against."""
    if newer(sealable) and sealable.flaw is not None:
        return not_ready(Reason.NEWER_FORMAT, f"{sealable.flaw.message}; run the newer operator")
    error = sealable.ca_trouble
    return None if error is None else not_ready(error.reason, error.message)


def _surroundings(view: View, sealable: Sealable) -> tuple[Reason, str] | None:
    before = sealable.condition("Ready")
    going = view.instance is None or view.instance.metadata.deleting
    if going and before is not None and before.reason == Reason.SHREDDED and not sealable.stored:
        return Reason.SHREDDED, before.message
    if view.instance is None:
        text = f"spec.instanceRef: OpenScaleInstance {sealable.instance} does not exist in this namespace (yet)"
        return Reason.INSTANCE_NOT_FOUND, text
    if view.conflict is not None:
        return view.conflict.reason, f"spec.instanceRef: see the conditions of OpenScaleInstance {view.name}"
    if not sealable.ready and given_up(view, sealable):
        return Reason.DELETING, "being deleted: its hand-over Secret is kept"
    if view.properties.format > PROPERTIES_FORMAT:
        return Reason.NEWER_FORMAT, f"the properties of OpenScaleInstance {view.name} have a newer format"
    if not sealable.ready and (view.instance.metadata.deleting or view.instance.spec.suspend):
        reason = Reason.DELETING if view.instance.metadata.deleting else Reason.SUSPENDED
        return (
            reason,
            f"OpenScaleInstance {view.name} is {'being deleted' if reason is Reason.DELETING else 'suspended'}",
        )
    return None


def _unsealed_trouble(view: View, note: Note) -> tuple[Wanted, ...] | None:
    if note.source_trouble is not None:
        return not_ready(note.source_trouble.reason, note.source_trouble.message)
    return _key_trouble(view)


def _key_trouble(view: View) -> tuple[Wanted, ...] | None:
    choice, waits = choose(view), first_seals_wait(view)
    if choice.root_key is None or (waits and choice.reason is not Reason.IN_FORCE):
        return not_ready(choice.reason, choice.message)
    active = view.properties.active
    cause = view.trouble("mint") if active is None or waits else view.closed.get(active.id)
    return None if cause is None else not_ready(cause.reason, cause.message)


def _departed(sealable: Sealable) -> Refused | None:
    try:
        sealable.expect_kept()
    except Refused as error:
        return error
    return None


def _give_again(sealable: Sealable) -> str:
    ref = sealable.source_ref
    if ref is None:
        return "give the password again through the gateway"
    return f"give the password again in Secret {ref.name}, key {ref.key}"
