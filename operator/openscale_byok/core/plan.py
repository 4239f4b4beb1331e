"""The plan: an ordered list of checks, of which the first that finds something names the next step.

The order *is* the key protocol (docs/architecture.md): hold before use, one Active key before any seal, the check
after the seal before a source is consumed, everything re-encrypted before a key is retired, and a key
retired before its binding is let go.
"""

from collections.abc import Callable, Iterable

from openscale_byok.core import conditions, findings
from openscale_byok.core.findings import needs_source, source_due, unproven
from openscale_byok.core.handover import from_another, given_up, idle
from openscale_byok.core.minting import to_mint, to_rebuild
from openscale_byok.core.sealable import Sealable, Standing
from openscale_byok.core.steps import (
    Confirm,
    Hold,
    LetGo,
    MarkStuck,
    Mint,
    Rebuild,
    Recover,
    ReEncrypt,
    Release,
    Report,
    Retire,
    Rewrap,
    Seal,
    Shred,
    ShredKeys,
    Step,
    Unhold,
    Verify,
)
from openscale_byok.core.view import View
from openscale_byok.resources import GLOBAL, PROPERTIES_FORMAT, RootKeyBinding

SLICE = 400
"""Objects a step takes at once: about half a second of work, after which everything is planned anew."""
REPORT_SECONDS = 3.0
"""How rarely counts are written while work goes on."""

Check = Callable[[View], Step | None]


def plan(view: View) -> Step | None:
    """The next step for an instance, or None where nothing is to be done now."""
    return next((step for check in _chain(view) if (step := check(view)) is not None), None)


def _chain(view: View) -> tuple[Check, ...]:
    if view.instance is None:
        return (unhold, release_orphans, report)
    if view.instance.metadata.deleting:
        return (shred, shred_keys, unhold, release_orphans, let_go, report)
    if view.properties.format > PROPERTIES_FORMAT or view.instance.spec.suspend or view.conflict:
        return (unhold, report)
    return CHAIN


def hold_instance(view: View) -> Step | None:
    """An instance mints only once it carries our finalizer."""
    assert view.instance is not None  # noqa: S101 -- the chain is only used with an instance
    meta = view.instance.metadata
    return None if meta.ours else _unless_waiting(view, Hold(view.instance.KIND, meta))


def hold_bindings(view: View) -> Step | None:
    """A binding is in force only once it carries our finalizer."""
    bare = (b for b in view.bindings if not b.metadata.ours and not b.metadata.deleting)
    return _first(view, (Hold(b.KIND, b.metadata) for b in bare))


def rebuild(view: View) -> Step | None:
    """Never mint into empty properties while an envelope of this instance exists."""
    return _unless_waiting(view, Rebuild()) if to_rebuild(view) else None


def mint(view: View) -> Step | None:
    """Another data key, where the Active one does not do (minting.py)."""
    root_key = to_mint(view)
    return None if root_key is None else _unless_waiting(view, Mint(root_key))


def rewrap(view: View) -> Step | None:
    """After a rotation the stored wrapped keys follow to the newest version; no secret is touched."""
    standings = [(b.root_key, view.key(b)) for b in view.bindings] + [(GLOBAL, view.global_key)]
    looks = {root_key: key.look for root_key, key in standings if key.look is not None and not key.refused}
    behind = (
        Rewrap(entry.id)
        for entry in view.properties.data_keys
        if entry.root_key in looks and looks[entry.root_key].behind(entry.root_key_version)
    )
    return _first(view, behind)


def recover(view: View) -> Step | None:
    """An envelope or a mark that names an unknown key means first of all that this view is old."""
    active = view.properties.active
    opens = active is not None and active.id not in view.shut
    return _batch(
        view,
        Recover,
        (
            s
            for s, st in view.standings
            if findings.doubtful(view, s)
            or (opens and st is Standing.UNKNOWN and unproven(view, s) and _key_of(s) not in view.shut)
        ),
    )


def verify(view: View) -> Step | None:
    """What this process neither wrote nor opened is opened once, before anything rests on it."""
    known = (Standing.CURRENT, Standing.STALE)
    return _batch(
        view,
        Verify,
        (s for s, st in view.standings if st in known and unproven(view, s) and _key_of(s) not in view.shut),
    )


def seal(view: View) -> Step | None:
    """First seals, new passwords, and sources that are due for another look."""
    active = view.properties.active
    if active is None or active.id in view.shut or findings.first_seals_wait(view):
        return None
    return _batch(
        view,
        Seal,
        (s for s, st in view.standings if source_due(view, s) and needs_source(view, s, st) and not from_another(s)),
    )


def confirm(view: View) -> Step | None:
    """A sealed object is Ready only after its data key was seen to be still Active."""
    return _batch(
        view,
        Confirm,
        (s for s, st in view.standings if findings.unconfirmed(view, s, st) and not given_up(view, s)),
    )


def unhold(view: View) -> Step | None:
    """What is held for a hand-over that is over, or given up, is free again: nothing is kept from its end."""
    return _batch(view, Unhold, (s for s, st in view.standings if idle(view, s, st)))


def re_encrypt(view: View) -> Step | None:
    """Everything whose envelope names another key than Active is stale; and a v1 becomes a v2."""
    active = view.properties.active
    if active is None or active.id in view.shut:
        return None
    return _batch(
        view,
        ReEncrypt,
        (
            s
            for s, st in view.standings
            if findings.outdated(s, st) and _key_of(s) not in view.shut and findings.broken(view, s) is None
        ),
    )


def mark_stuck(view: View) -> Step | None:
    """A secret that cannot be opened is marked, so that a stale writer's compare-and-swap on it fails."""
    active = view.properties.active
    if active is None:
        return None
    return _batch(
        view,
        MarkStuck,
        (s for s, st in view.standings if findings.stuck(view, s, st) and s.stuck_under != active.id),
    )


def retire(view: View) -> Step | None:
    """A Retiring key goes once nothing names it and nothing was left unwritten since it was Active."""
    active = view.properties.active
    if active is None:
        return None
    leaving = {entry.id for entry in view.properties.data_keys if not entry.active}
    if not findings.retirable(leaving, active.id, view.sealables):
        return None
    return _unless_waiting(view, Retire())


def release(view: View) -> Step | None:
    """A binding that is being deleted goes once it is not in force and no recorded data key needs it."""
    return _first(
        view,
        (Release(b, view.instance) for b in _all(view) if _held(b) and not findings.needed(view, b)),
    )


def shred(view: View) -> Step | None:
    """Deleted with `Shred`, and the retention is over: every envelope goes first, as it carries its data key along."""
    return _batch(view, Shred, (s for s in view.sealables if s.stored)) if findings.shreds(view) else None


def shred_keys(view: View) -> Step | None:
    """Then the wrapped data keys go."""
    if not findings.shreds(view) or not view.properties.data_keys or any(s.stored for s in view.sealables):
        return None
    return _unless_waiting(view, ShredKeys())


def release_orphans(view: View) -> Step | None:
    """Without an instance, or with one that goes too, a binding that is being deleted protects nothing more."""
    if view.instance is not None and not findings.spent(view):
        return None  # data marts still name the instance, and may be read until they go or are shredded
    return _first(view, (Release(b, None) for b in _all(view) if _held(b)))


def let_go(view: View) -> Step | None:
    """An instance that is being deleted goes once no data mart names it, or all that it held was shredded."""
    if view.instance is None or not view.instance.metadata.ours or not findings.spent(view):
        return None
    return _unless_waiting(view, LetGo(view.instance))


def report(view: View) -> Step | None:
    """Say what was found, where it differs from what the statuses say."""
    return _unless_waiting(view, Report()) if conditions.unreported(view) else None


def report_progress(view: View) -> Step | None:
    """While work goes on, say so at most every few seconds."""
    return report(view) if view.now - view.last_report >= REPORT_SECONDS else None


CHAIN: tuple[Check, ...] = (
    hold_instance,
    hold_bindings,
    rebuild,
    mint,
    rewrap,
    recover,
    verify,
    confirm,
    seal,
    unhold,
    report_progress,
    re_encrypt,
    mark_stuck,
    retire,
    release,
    report,
)
"""First things first; a test pins this order."""


def _all(view: View) -> tuple[RootKeyBinding, ...]:
    return *view.bindings, *view.beyond


def _held(binding: RootKeyBinding) -> bool:
    return binding.metadata.deleting and binding.metadata.ours


def _key_of(sealable: Sealable) -> str:
    return sealable.envelope.data_key if sealable.envelope else ""


def _batch(view: View, step: type[Step], found: Iterable[Sealable]) -> Step | None:
    subject = step.__name__.lower()
    if subject in view.troubles:
        return None
    some: list[Sealable] = []
    for sealable in found:
        some.append(sealable)
        if len(some) == SLICE:
            break
    return step(tuple(some)) if some else None  # type: ignore[call-arg] # every Batch takes its sealables


def _first(view: View, steps: Iterable[Step]) -> Step | None:
    return next((step for step in steps if step.subject not in view.troubles), None)


def _unless_waiting(view: View, step: Step) -> Step | None:
    return None if step.subject in view.troubles else step
