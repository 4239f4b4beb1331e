"""The plan: which step follows from what is observed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openscale_byok.core import steps
from openscale_byok.core.plan import CHAIN, REPORT_SECONDS, SLICE, plan
from openscale_byok.core.view import KeyStanding, View
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, MAX_RETIRING
from sim.views import (
    AWAY,
    DISABLED,
    EXPIRED,
    GONE,
    LATER,
    LOST,
    NEW,
    NO,
    OLD,
    OWNERS,
    SECRET,
    UNREACHED,
    A,
    B,
    binding,
    entry,
    instance,
    mart,
    reported,
    view,
)

BOTH = (entry(OLD, state="Retiring"), entry(NEW))
MOVING = (entry(OLD, A, "Retiring"), entry(NEW, B))
SHUT_NEW, SHUT_OLD = frozenset({NEW.id}), frozenset({OLD.id})
MANY = (*(entry(OLD, state="Retiring") | {"id": str(i) * 43} for i in range(MAX_RETIRING)), entry(NEW))
BROKEN = Refused(Reason.TAMPERED, "it does not verify")
CONFLICT = Refused(Reason.CONFLICT, "claimed already")
MARKED = mart(under=OLD, mark=NEW, source_trouble=GONE)
NEWER = KeyStanding(replace(EXPIRED.look, version="2")) if EXPIRED.look else EXPIRED
READY = mart(under=NEW, ready=True)
UNSEALED = mart("fresh", source_looked=-1)


def one(*keys: dict[str, str], **more) -> View:
    """A view of an instance with these data keys."""
    return view(instance(keys), **more)


SHRED = {"policy": "Shred", "retentionDays": 2}
END = datetime(2026, 11, 25, tzinfo=UTC)
BEFORE = END - timedelta(seconds=1)


def going(*keys: dict[str, str], **more) -> View:
    """A view of an instance that was deleted with `Shred` on 2026-11-23, as its status says."""
    seen = {"policy": "Shred", "shredTime": END.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return view(instance(keys, deleting=True, deletion=SHRED, seen_deletion=seen), **more)


def test_the_order_of_the_chain():
    """The order is the protocol: hold, one Active key, prove, confirm, seal, re-encrypt, retire, release."""
    assert [check.__name__ for check in CHAIN] == [
        "hold_instance", "hold_bindings", "rebuild", "mint", "rewrap", "recover", "verify", "confirm", "seal",
        "unhold", "report_progress", "re_encrypt", "mark_stuck", "retire", "release", "report",
    ]  # fmt: skip


ROWS = {
    "an instance without our finalizer": (
        view(instance(ours=False), bindings=[binding("a", A, ours=False)]),
        "hold:uid-prod",
    ),
    "a binding without our finalizer": (one(entry(NEW), bindings=[binding("a", A, ours=False)]), "hold:uid-a"),
    "envelopes and no properties": (one(marts=[mart(under=NEW)]), "rebuild"),
    "a first secret, no binding": (one(marts=[UNSEALED]), "mint global"),
    "a first binding, no secret": (one(bindings=[binding("a", A)]), f"mint {A}"),
    "a binding over the global key": (one(entry(NEW), bindings=[binding("a", A)], marts=[READY]), f"mint {A}"),
    "the last binding deleted": (one(entry(NEW, A), bindings=[binding("a", A, deleting=True)]), "mint global"),
    "a raised revision": (view(instance([entry(NEW, A)], dataKeyRevision=1), bindings=[binding("a", A)]), f"mint {A}"),
    "a rotated root key": (
        one(entry(NEW, A, version="0"), bindings=[binding("a", A)], marts=[UNSEALED]),
        f"rewrap:{NEW.id}",
    ),
    "an expired root key, rotated before": (
        one(entry(NEW, A), bindings=[binding("a", A)], keys={"a": NEWER}),
        f"rewrap:{NEW.id}",
    ),
    "a rotated global key": (one(entry(NEW), marts=[READY], global_key=SECRET), "mint global"),
    "a rotated global key, a binding waits": (
        one(entry(NEW), bindings=[binding("a", A)], keys={"a": DISABLED}, marts=[READY], global_key=SECRET),
        "mint global",
    ),
    "a rotated global key, its data key not opened yet": (
        one(entry(NEW), marts=[mart(under=NEW, ready=True, judged="")], global_key=SECRET),
        "verify",
    ),
    "a global key switched to Key Protect": (one(entry(NEW), marts=[READY], global_key=OWNERS), "mint global"),
    "a global key switched to the Secret": (
        one(entry(NEW, version="key/2"), marts=[READY], global_key=SECRET),
        "mint global",
    ),
    "a global key in Key Protect, rotated": (
        one(entry(NEW, version="key/1"), marts=[READY], global_key=OWNERS),
        f"rewrap:{NEW.id}",
    ),
    "an unknown data key": (one(entry(NEW), marts=[mart(under=LOST, judged="")]), "recover"),
    "a mark of an unknown data key": (one(*BOTH, marts=[mart(under=OLD, mark=LOST, judged="")]), "recover"),
    "a mark of an unknown data key, Active shut": (
        one(*BOTH, marts=[mart(under=OLD, mark=LOST)], shut=SHUT_NEW),
        "recover",
    ),
    "an envelope nobody opened": (one(entry(NEW), marts=[mart(under=NEW, ready=True, judged="")]), "verify"),
    "a stale one nobody opened": (one(*BOTH, marts=[mart(under=OLD, judged=""), UNSEALED]), "verify"),
    "sealed and opened, not ready": (one(entry(NEW), marts=[mart(under=NEW), UNSEALED]), "confirm"),
    "a kept source that went": (
        one(entry(NEW), marts=[mart(under=NEW, ready=True, kept=True, source_trouble=GONE, fresh=True)]),
        "confirm",
    ),
    "a new secret": (one(*BOTH, marts=[UNSEALED, mart("two", OLD)]), "seal"),
    "a new spec": (one(entry(NEW), marts=[mart(under=NEW, source_looked=0)]), "seal"),
    "a moved endpoint": (one(entry(NEW), marts=[mart(under=NEW, moved=True, source_looked=0)]), "seal"),
    "a kept source that is due": (
        one(entry(NEW), marts=[mart(under=NEW, ready=True, kept=True, source_due=0.0)]),
        "seal",
    ),
    "not parsed": (one(entry(NEW), marts=[mart(envelope="nonsense", source_due=0.0)]), "seal"),
    "a former data key": (one(*BOTH, marts=[mart(under=OLD)]), "reencrypt"),
    "a former data key, work goes on": (one(*BOTH, marts=[mart(under=OLD)], now=REPORT_SECONDS), "report"),
    "cannot be opened": (
        one(*BOTH, marts=[mart(under=OLD, source_trouble=GONE)], shut=SHUT_OLD, closed={OLD.id: NO}),
        "markstuck",
    ),
    "marked for a former Active": (
        one(*BOTH, marts=[mart(under=OLD, mark=OLD, source_trouble=GONE)], shut=SHUT_OLD, closed={OLD.id: NO}),
        "markstuck",
    ),
    "broken": (one(*BOTH, marts=[mart(under=OLD, broken=BROKEN, source_trouble=GONE)]), "markstuck"),
    "a data key that nothing names": (one(*BOTH, marts=[READY]), "retire"),
    "a retired root key's binding": (
        one(entry(NEW, B), bindings=[binding("a", A, deleting=True), binding("b", B)]),
        "release:uid-a",
    ),
    "a status that is behind": (one(entry(NEW), marts=[READY]), "report"),
    "no instance, a binding deleted": (view(bindings=[binding("a", A, deleting=True)]), "release:uid-a"),
    "no instance": (view(bindings=[binding("a", A)]), "report"),
    "instance and binding deleted": (
        view(instance([entry(NEW, A)], deleting=True), bindings=[binding("a", A, deleting=True)]),
        "release:uid-a",
    ),
    "instance deleted": (view(instance([entry(NEW)], deleting=True)), "letgo"),
    "instance deleted, data marts remain": (
        view(
            instance([entry(NEW, A)], deleting=True),
            bindings=[binding("a", A, deleting=True)],
            marts=[mart(under=NEW, ready=True)],
        ),
        "report",
    ),
    "shredded, an envelope": (going(entry(NEW), marts=[UNSEALED, READY], today=END), "shred"),
    "shredded, one that is not parsed": (going(entry(NEW), marts=[mart(envelope="nonsense")], today=END), "shred"),
    "shredded, its data keys": (
        going(entry(NEW, A), marts=[UNSEALED], bindings=[binding("a", A, deleting=True)], today=END),
        "shredkeys",
    ),
    "shredded, a binding": (
        going(marts=[UNSEALED], bindings=[binding("a", A, deleting=True)], today=END),
        "release:uid-a",
    ),
    "shredded, nothing is left": (going(marts=[UNSEALED], today=END), "letgo"),
    "shredded, no data mart, before its time": (going(entry(NEW), today=BEFORE), "shredkeys"),
    "to be shredded, before its time": (
        going(entry(NEW, A), marts=[READY], bindings=[binding("a", A, deleting=True)], today=BEFORE),
        "report",
    ),
    "to be shredded, suspended": (
        view(instance([entry(NEW)], deleting=True, suspend=True, deletion=SHRED), marts=[READY], today=END),
        "report",
    ),
    "to be shredded, of a newer format": (
        view(instance([entry(NEW)], deleting=True, format_=2, deletion=SHRED), marts=[READY], today=END),
        "report",
    ),
    "suspended": (view(instance(BOTH, suspend=True), marts=[UNSEALED, mart("two", OLD)]), "report"),
    "an id that another one has": (view(instance(BOTH), marts=[mart(under=OLD)], conflict=CONFLICT), "report"),
    "a newer format": (view(instance(BOTH, format_=2), marts=[mart(under=OLD)]), "report"),
}  # fmt: skip


def told(step: steps.Step | None) -> str:
    """A step as the table spells it."""
    if isinstance(step, steps.Mint):
        return f"mint {step.root_key}"
    return step.subject if step else ""


@pytest.mark.parametrize(("seen", "wanted"), ROWS.values(), ids=ROWS)
def test_what_is_observed_names_the_step(seen, wanted):
    """One row for each check, each with what stands behind it in the chain waiting too."""
    assert told(plan(seen)) == wanted


GIVEN_UP = mart(under=NEW, handover=True, held=True, deleting=True)
HANDED_OVER = mart(under=NEW, ready=True, kept=True, handover=True, held=True)
HELD = {
    "being deleted": (one(entry(NEW), marts=[GIVEN_UP]), "unhold"),
    "being deleted, its source gone": (
        one(entry(NEW), marts=[mart(under=NEW, handover=True, held=True, deleting=True, source_trouble=GONE)]),
        "confirm",
    ),
    "being deleted, not asked again yet": (
        one(entry(NEW), marts=[mart(under=NEW, handover=True, held=True, deleting=True, hold_due=LATER)]),
        "report",
    ),
    "being deleted, suspended": (view(instance([entry(NEW)], suspend=True), marts=[GIVEN_UP]), "unhold"),
    "being deleted, of an instance that conflicts": (
        one(entry(NEW), marts=[GIVEN_UP], conflict=Refused(Reason.CONFLICT, "another")),
        "unhold",
    ),
    "being deleted, of a newer format": (view(instance([entry(NEW)], format_=2), marts=[GIVEN_UP]), "unhold"),
    "handed over, of a newer format": (view(instance([entry(NEW)], format_=2), marts=[HANDED_OVER]), "report"),
    "of no instance": (view(marts=[HANDED_OVER]), "unhold"),
    "its instance deleted": (view(instance([entry(NEW)], deleting=True), marts=[HANDED_OVER]), "unhold"),
    "handed over": (one(entry(NEW), marts=[HANDED_OVER]), "unhold"),
    "handed over, suspended": (view(instance([entry(NEW)], suspend=True), marts=[HANDED_OVER]), "report"),
    "from a kept source": (one(entry(NEW), marts=[mart(under=NEW, ready=True, held=True)]), "unhold"),
    "in the middle": (one(entry(NEW), marts=[mart(under=NEW, handover=True, held=True)]), "confirm"),
    "in the middle, not due": (
        one(entry(NEW), marts=[mart(under=NEW, handover=True, held=True, source_trouble=AWAY)]),
        "report",
    ),
    "in the middle, under a former key": (one(*BOTH, marts=[mart(under=OLD, handover=True, held=True)]), "reencrypt"),
    "for an endpoint that it does not name any more": (
        one(entry(NEW), marts=[mart(under=NEW, handover=True, held=True, moved=True, source_trouble=GONE)]),
        "unhold",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "wanted"), HELD.values(), ids=HELD)
def test_what_is_held_is_free_once_no_delete_is_to_come(seen, wanted):
    """A data mart is held for its hand-over and for nothing else; what is being deleted waits for no hand-over."""
    assert told(plan(seen)) == wanted


QUIET = {
    "nothing to protect": one(),
    "settled": one(entry(NEW), marts=[READY]),
    "settled under a root key": one(entry(NEW, A), bindings=[binding("a", A)], marts=[READY]),
    "envelopes and no properties, rebuild waits": one(marts=[mart(under=NEW)], troubles={"rebuild": AWAY}),
    "a binding that cannot wrap": one(entry(NEW), bindings=[binding("a", A)], keys={"a": UNREACHED}, marts=[READY]),
    "a first seal beside it": one(entry(NEW), bindings=[binding("a", A)], keys={"a": DISABLED}, marts=[UNSEALED]),
    "Forbid and no binding": view(instance(globalKeyPolicy="Forbid"), marts=[UNSEALED]),
    "Forbid, its Active key global, no binding": view(
        instance([entry(NEW)], globalKeyPolicy="Forbid"), marts=[UNSEALED]
    ),
    "a raised revision, expired": view(
        instance([entry(NEW, A)], dataKeyRevision=1), bindings=[binding("a", A)], keys={"a": EXPIRED}
    ),
    "a raised revision, a binding that cannot wrap": view(
        instance([entry(NEW)], dataKeyRevision=1), bindings=[binding("a", A)], keys={"a": UNREACHED}
    ),
    "too many Retiring": one(
        *MANY,
        bindings=[binding("a", A)],
        marts=[READY],
        troubles={"retire": AWAY},
    ),
    "rotated, and refused": one(
        entry(NEW, A, version="0"), bindings=[binding("a", A)], keys={"a": replace(DISABLED, trouble=NO)}
    ),
    "a rotated global key, its data key lost": one(
        entry(NEW), marts=[READY], global_key=SECRET, shut=SHUT_NEW, closed={NEW.id: NO}
    ),
    "a rotated global key, nothing of it here": one(
        entry(NEW, A), bindings=[binding("a", A)], marts=[READY], global_key=SECRET
    ),
    "a rotated global key, of its version": one(entry(NEW, version="2"), marts=[READY], global_key=SECRET),
    "a rotated global key, Forbid": view(
        instance([entry(NEW)], globalKeyPolicy="Forbid"), marts=[READY], global_key=SECRET
    ),
    "a global key in Key Protect, rotated and refused": one(
        entry(NEW, version="key/1"), marts=[READY], global_key=replace(OWNERS, trouble=NO)
    ),
    "a global key switched to a refused one": one(entry(NEW), marts=[READY], global_key=replace(OWNERS, trouble=NO)),
    "unknown, Active shut": one(entry(NEW), marts=[mart(under=LOST, judged="")], shut=SHUT_NEW),
    "unopened, Active shut": one(entry(NEW), marts=[mart(under=NEW, ready=True, judged="")], shut=SHUT_NEW),
    "a new secret, Active shut": one(entry(NEW), marts=[UNSEALED], shut=SHUT_NEW),
    "stale, Active shut": one(*BOTH, marts=[mart(under=OLD)], shut=SHUT_NEW),
    "stale, its own key shut": one(*BOTH, marts=[mart(under=OLD)], shut=SHUT_OLD),
    "a source not due yet": one(entry(NEW), marts=[mart(source_trouble=GONE)]),
    "marked, its key shut": one(*BOTH, marts=[MARKED], shut=SHUT_OLD, closed={OLD.id: NO}),
    "a binding deleted, its key still named": one(
        *MOVING,
        bindings=[binding("a", A, deleting=True), binding("b", B)],
        marts=[MARKED],
        shut=SHUT_OLD,
        closed={OLD.id: NO},
    ),
    "a binding deleted, not held by us": one(
        entry(NEW, B), bindings=[binding("a", A, deleting=True, ours=False), binding("b", B)]
    ),
    "Forbid holds the last binding": view(
        instance([entry(NEW, A)], globalKeyPolicy="Forbid"), bindings=[binding("a", A, deleting=True)], marts=[READY]
    ),
    "instance deleted, held no more": view(instance([entry(NEW)], deleting=True, ours=False)),
}


@pytest.mark.parametrize("seen", QUIET.values(), ids=QUIET)
def test_what_has_to_wait_is_only_reported(seen):
    """Where nothing can or need be done, the statuses are made to say so, and then nothing happens."""
    assert told(plan(seen)) in ("report", "")
    assert plan(reported(seen)) is None


@pytest.mark.parametrize(("seen", "wanted"), ROWS.values(), ids=ROWS)
def test_trouble_keeps_that_step_waiting(seen, wanted):
    """A step whose last try failed is not named again while its trouble lasts."""
    step = plan(seen)
    assert step is not None
    after = plan(replace(seen, troubles={step.subject: AWAY}))
    assert after is None or after.subject != step.subject


def test_trouble_with_one_subject_keeps_only_that_waiting():
    """Two bindings to hold, two to release, two keys to rewrap: the other one goes on."""
    bare = one(entry(NEW), bindings=[binding("a", A, ours=False), binding("b", B, ours=False)])
    left = [binding("a", A, deleting=True), binding("b", B, deleting=True)]
    behind = (entry(OLD, A, "Retiring", "0"), entry(NEW, A, version="0"))
    rotated = one(*behind, bindings=[binding("a", A)])
    rows = [
        (bare, "hold:uid-a", "hold:uid-b"),
        (one(entry(NEW), bindings=left), "release:uid-a", "release:uid-b"),
        (rotated, f"rewrap:{OLD.id}", f"rewrap:{NEW.id}"),
    ]
    for seen, first, second in rows:
        assert told(plan(seen)) == first
        assert told(plan(replace(seen, troubles={first: AWAY}))) == second


WORKING = [name for name, (seen, _) in ROWS.items() if seen.instance and not seen.instance.metadata.deleting]


@pytest.mark.parametrize("name", WORKING)
@pytest.mark.parametrize("change", ["suspend", "conflict", "format"])
def test_what_must_not_be_touched_is_only_reported(name, change):
    """Suspended, claimed by two, or of a newer format: nothing but statuses is written, whatever is to do."""
    seen = ROWS[name][0]
    raw = seen.instance.model_dump(by_alias=True)
    if change == "suspend":
        raw["spec"]["suspend"] = True
    elif change == "format":
        raw["status"]["properties"]["format"] = 2
    conflict = CONFLICT if change == "conflict" else None
    assert told(plan(replace(seen, instance=type(seen.instance).of(raw), conflict=conflict))) in ("report", "")


@pytest.mark.parametrize("name", WORKING)
def test_an_instance_that_goes_makes_no_key_and_moves_nothing(name):
    """While the instance is being deleted only releases, its own end and statuses are left to do."""
    seen = ROWS[name][0]
    raw = seen.instance.model_dump(by_alias=True)
    raw["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
    step = plan(replace(seen, instance=type(seen.instance).of(raw)))
    assert step is None or isinstance(step, (steps.Release, steps.LetGo, steps.Report))


def test_a_batch_is_a_slice():
    """No more than a slice at once: whatever happens meanwhile is planned anew after half a second."""
    found = mart(under=OLD)
    seen = one(*BOTH, marts=[found] * (SLICE + 1))
    step = plan(seen)
    assert isinstance(step, steps.ReEncrypt)
    assert len(step.sealables) == SLICE


def test_a_release_with_an_instance_writes_it_first():
    """With an instance that stays, a release carries it to be written; with none, or one that goes, it does not."""
    kept, gone = plan(ROWS["a retired root key's binding"][0]), plan(ROWS["instance and binding deleted"][0])
    assert isinstance(kept, steps.Release)
    assert isinstance(gone, steps.Release)
    assert kept.instance is not None
    assert gone.instance is None


def test_the_global_key_is_minted_only_for_something():
    """Without a secret no key is made that a binding would replace at once."""
    assert plan(reported(one())) is None
    assert plan(one(marts=[UNSEALED])) == steps.Mint(GLOBAL)
