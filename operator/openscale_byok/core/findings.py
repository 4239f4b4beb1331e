"""What is the case: the questions that the plan and the conditions both ask of a view."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from openscale_byok.core import retention
from openscale_byok.core.sealable import Sealable, Standing
from openscale_byok.core.view import View, choose
from openscale_byok.errors import Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import ABANDON_ANNOTATION, GLOBAL, PROPERTIES_FORMAT, RootKeyBinding


def unproven(view: View, sealable: Sealable) -> bool:
    """Whether this process neither wrote nor tried to open the envelope as it is now."""
    return sealable.envelope is not None and view.note(sealable).judged != sealable.envelope.text


def broken(view: View, sealable: Sealable) -> Refused | None:
    """Why the envelope does not open although its data key does."""
    return None if unproven(view, sealable) else view.note(sealable).broken


def doubtful(view: View, sealable: Sealable) -> bool:
    """Whether its stuck mark names a data key unknown to this view, which then is old until it was read again."""
    mark = sealable.stuck_under
    return mark is not None and view.properties.find(mark) is None and view.note(sealable).mark_read != mark


def outdated(sealable: Sealable, standing: Standing) -> bool:
    """Whether it is to be sealed once more: not under the Active data key, or bound to no proof of its endpoint."""
    return standing is Standing.STALE or (standing is Standing.CURRENT and sealable.unbound)


def newer(sealable: Sealable) -> bool:
    """Whether a later version of us wrote its envelope."""
    return sealable.flaw is not None and sealable.flaw.reason is Reason.NEWER_FORMAT


def source_due(view: View, sealable: Sealable) -> bool:
    """Whether its source may be looked at now: a changed spec is looked at once at once."""
    note = view.note(sealable)
    return note.source_looked != sealable.meta.generation or note.source_due <= view.now


def source_missing(view: View, sealable: Sealable) -> bool:
    """Whether the last look found nothing that could be sealed anew."""
    note = view.note(sealable)
    looked = note.source_looked == sealable.meta.generation
    return looked and isinstance(note.source_trouble, (Missing, Refused))


def needs_source(view: View, sealable: Sealable, standing: Standing) -> bool:
    """Whether the source has something to say that is not sealed already, or may have."""
    if newer(sealable):
        return False  # never overwritten: what it holds may be younger than the source
    if standing in (Standing.UNSEALED, Standing.FLAWED) or sealable.elsewhere:
        return True
    if broken(view, sealable) is not None or _refused(view, sealable):
        return True
    if sealable.observed_generation != sealable.meta.generation or not sealable.ready:
        if view.note(sealable).source_looked != sealable.meta.generation or sealable.unanswered:
            return True
        return isinstance(view.note(sealable).source_trouble, (Refused, Unavailable))
    if sealable.source_ref is None:
        return False  # nobody else says what the password is
    # A kept source that is gone may be put again; a hand-over that was consumed is over.
    removed, source = sealable.condition("SourceRemoved"), sealable.sealed_source
    if source is not None and not source.handover:
        return removed is not None
    return removed is not None and removed.status == "False"


def first_seals_wait(view: View) -> bool:
    """While a binding exists that is not usable yet, nothing is put under the global key."""
    choice = choose(view)
    if choice.root_key is None:
        return True
    if choice.reason is Reason.WAITING_FOR_ROOT_KEY:
        return choice.root_key == GLOBAL
    active = view.properties.active
    # Chosen, but its data key is not made yet, or cannot be: a hand-over source is not consumed for less.
    return active is not None and active.root_key == GLOBAL != choice.root_key


def left_behind(view: View) -> bool:
    """Whether the global key's new version asks for another data key in place of the Active one.

    Not before everything under the Active data key was opened once, and not while it cannot be unwrapped: a
    successor of what is lost would only hide the loss.
    """
    active, standing = view.properties.active, view.global_key
    if active is None or active.root_key != GLOBAL or standing.look is None or not standing.wraps:
        return False
    if not standing.look.left(active.root_key_version) or active.id in view.closed:
        return False
    return not any(st is Standing.CURRENT and unproven(view, s) for s, st in view.standings)


def unconfirmed(view: View, sealable: Sealable, standing: Standing) -> bool:
    """Whether it is sealed as it should be, and its status does not say so yet."""
    if standing is not Standing.CURRENT or sealable.elsewhere or unproven(view, sealable) or sealable.unanswered:
        return False
    if sealable.ca_trouble is not None:
        return False  # it is never Ready with what proves nothing
    note = view.note(sealable)
    if broken(view, sealable) is not None or isinstance(note.source_trouble, Refused):
        return False
    if isinstance(note.source_trouble, Unavailable) and not source_due(view, sealable):
        return False  # the source could not be consumed: not again before its time
    if not sealable.ready:
        return note.source_looked == sealable.meta.generation or sealable.sealed_source is None
    removed, source = sealable.condition("SourceRemoved"), sealable.sealed_source
    if removed is None or source is None:
        return False
    if source.handover:
        # It waited for another that reads it, or it is held from a hand-over that did not end: ask again.
        looked = note.source_looked == sealable.meta.generation
        again = note.fresh or (sealable.meta.ours and looked and source_due(view, sealable))
        return removed.status == "False" and again
    return note.fresh and isinstance(note.source_trouble, Missing) != (removed.status == "True")


def stuck(view: View, sealable: Sealable, standing: Standing) -> bool:
    """Whether its data key cannot be unwrapped, and its source cannot help."""
    if standing is not Standing.STALE or not source_missing(view, sealable):
        return False
    return _refused(view, sealable) or broken(view, sealable) is not None


def shreds(view: View) -> bool:
    """Whether all that the instance holds is destroyed now: it was deleted with `Shred`, and the retention is over.

    Without a data mart the retention keeps nothing that could still be read. What a newer version of us wrote
    is not ours to judge.
    """
    if view.instance is None or retention.shred_time(view) is None or view.instance.spec.suspend:
        return False
    if view.properties.format > PROPERTIES_FORMAT or any(newer(s) for s in view.sealables):
        return False
    return not view.sealables or retention.over(view)


def spent(view: View) -> bool:
    """Whether nothing keeps an instance that is being deleted."""
    if shreds(view):
        return not view.properties.data_keys and not any(s.stored for s in view.sealables)
    return not view.sealables


def waiting_for(view: View) -> str:
    """What keeps secrets under a former data key where they are, although nobody said a clear no; or nothing."""
    stale = {s.envelope.data_key for s, st in view.standings if st is Standing.STALE and s.envelope is not None}
    root_keys = {entry.root_key for entry in view.properties.data_keys if entry.id in stale}
    troubles = (view.key(b).trouble for b in view.bindings if b.root_key in root_keys)
    away = next((trouble for trouble in troubles if isinstance(trouble, Unavailable)), None)
    return f"; the rest waits: {away.message}" if away is not None else ""


def retirable(leaving: set[str], active: str, sealables: Iterable[Sealable]) -> set[str]:
    """Which of the leaving data keys may be removed.

    None, while anything that is not under Active was last written before Active became so: a writer with an
    older view could still put it under a key that is about to vanish.
    """
    named: set[str] = set()
    for sealable in sealables:
        if newer(sealable):
            return set()  # which data key it names is for the newer operator to read
        if sealable.envelope is None or sealable.envelope.data_key == active:
            continue
        if sealable.stuck_under != active:
            return set()
        named.add(sealable.envelope.data_key)
    return leaving - named


def stuck_digest(view: View, binding: RootKeyBinding) -> str:
    """What stands for the list of stuck secrets that a binding's root key still holds.

    Nothing, while any of them may still be moved, or if there is none: there is nothing to abandon then.
    """
    keys = {entry.id for entry in view.properties.data_keys if entry.root_key == binding.root_key}
    held = [(s, st) for s, st in view.standings if s.envelope is not None and s.envelope.data_key in keys]
    if not held or not all(stuck(view, s, st) for s, st in held):
        return ""
    names = sorted(f"{s.meta.name} {s.envelope.data_key if s.envelope else ''}" for s, _ in held)
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def abandoned(view: View, binding: RootKeyBinding) -> bool:
    """Whether its owner has let it go, with the very list of stuck secrets as it is now."""
    word = binding.metadata.annotations.get(ABANDON_ANNOTATION, "")
    return bool(word) and word == stuck_digest(view, binding)


def needed(view: View, binding: RootKeyBinding) -> bool:
    """Whether the binding's root key is still needed by this instance, through this binding."""
    choice = choose(view)
    if choice.binding is not None and choice.binding.metadata.uid == binding.metadata.uid:
        return True
    other = choice.binding
    if other is not None and other.root_key == binding.root_key and not other.metadata.deleting:
        # One that is being deleted itself is never a ground to let another go: under `Forbid` two writers
        # could each release one of the two.
        return False
    if binding.metadata.deleting and abandoned(view, binding):
        return False
    if any(entry.root_key == binding.root_key for entry in view.properties.data_keys):
        return True
    return any(
        st is Standing.UNKNOWN and s.envelope is not None and s.envelope.wrapped.root_key == binding.root_key
        for s, st in view.standings
    )


@dataclass(slots=True)
class Count:
    """How many secrets stand how."""

    total: int = 0
    current: int = 0
    stale: int = 0
    stuck: int = 0
    stuck_names: list[str] = field(default_factory=list)
    stuck_causes: set[str] = field(default_factory=set)
    """Why, in words: what was said of each root key, with the date until which it can be restored."""


def count(view: View) -> Count:
    """Count the secrets by how they stand."""
    found = Count()
    for sealable, standing in view.standings:
        found.total += 1
        if standing is Standing.CURRENT and broken(view, sealable) is None:
            found.current += 1
        elif standing is Standing.FLAWED or _lost(view, sealable, standing):
            found.stuck += 1
            found.stuck_names.append(sealable.meta.name)
            found.stuck_causes |= _causes(view, sealable)
        elif standing is not Standing.UNSEALED:
            found.stale += 1
    return found


def _lost(view: View, sealable: Sealable, standing: Standing) -> bool:
    if standing is Standing.STALE:
        return stuck(view, sealable, standing)
    return broken(view, sealable) is not None


def _causes(view: View, sealable: Sealable) -> set[str]:
    key = sealable.envelope.data_key if sealable.envelope else ""
    error = broken(view, sealable) or sealable.flaw or view.closed.get(key)
    return {error.message} if error is not None else set()


def _refused(view: View, sealable: Sealable) -> bool:
    key = sealable.envelope.data_key if sealable.envelope else ""
    return isinstance(view.closed.get(key), Refused)
