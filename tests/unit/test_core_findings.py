"""What is the case: stuck, retirable, needed, doubtful, due, unconfirmed, counted."""

from dataclasses import replace

import pytest

from openscale_byok.core import findings
from openscale_byok.core.sealable import Sealable, Standing
from openscale_byok.errors import Missing, Refused
from openscale_byok.reasons import Reason
from sim.views import (
    AWAY,
    DISABLED,
    GONE,
    LATER,
    LOST,
    NEW,
    NO,
    OLD,
    A,
    B,
    binding,
    entry,
    instance,
    mart,
    view,
)

BOTH = (entry(OLD, state="Retiring"), entry(NEW))
BROKEN = Refused(Reason.TAMPERED, "it does not verify")
EMPTY = Refused(Reason.PASSWORD_EMPTY, "empty")
NEWER_FLAW = Refused(Reason.NEWER_FORMAT, "newer")


def asked(found, closed=None, now=0.0, recorded=BOTH):
    """A view of one data mart, the mart, and how it stands."""
    seen = view(instance(recorded), marts=[found], closed=closed or {}, now=now)
    return seen, *seen.standings[0]


def newer_one(**more) -> tuple[Sealable, object]:
    """A data mart whose envelope a later version wrote."""
    found, note = mart(envelope="x", **more)
    return replace(found, flaw=NEWER_FLAW), note


STUCK = {
    "refused, source gone": (mart(under=OLD, source_trouble=GONE), {OLD.id: NO}, True),
    "refused, source unfit": (mart(under=OLD, source_trouble=EMPTY), {OLD.id: NO}, True),
    "broken, source gone": (mart(under=OLD, broken=BROKEN, source_trouble=GONE), {}, True),
    "refused, source not looked at": (mart(under=OLD, source_looked=-1), {OLD.id: NO}, False),
    "refused, source looked at for a former spec": (
        mart(under=OLD, source_looked=0, source_trouble=GONE), {OLD.id: NO}, False,
    ),
    "refused, source unreachable": (mart(under=OLD, source_trouble=AWAY), {OLD.id: NO}, False),
    "refused, source there": (mart(under=OLD), {OLD.id: NO}, False),
    "Key Protect away, source gone": (mart(under=OLD, source_trouble=GONE), {OLD.id: AWAY}, False),
    "opens, source gone": (mart(under=OLD, source_trouble=GONE), {}, False),
    "broken by a former text": (
        mart(under=OLD, judged="other", broken=BROKEN, source_trouble=GONE), {}, False,
    ),
    "under Active, refused": (mart(under=NEW, source_trouble=GONE), {NEW.id: NO}, False),
}  # fmt: skip


@pytest.mark.parametrize(("found", "closed", "wanted"), STUCK.values(), ids=STUCK)
def test_stuck(found, closed, wanted):
    """Stuck is what a clear no keeps closed and whose source cannot help; no answer is no such no."""
    assert findings.stuck(*asked(found, closed)) is wanted


RETIRABLE = {
    "nothing sealed": ([], {OLD.id, LOST.id}),
    "all under Active": ([mart("one", NEW), mart("two", NEW)], {OLD.id, LOST.id}),
    "unsealed": ([mart()], {OLD.id, LOST.id}),
    "a flaw that is not newer": ([mart(envelope="nonsense")], {OLD.id, LOST.id}),
    "stale, no mark": ([mart("one", NEW), mart("two", OLD)], set()),
    "marked for the present Active": ([mart(under=OLD, mark=NEW)], {LOST.id}),
    "marked for a former Active": ([mart(under=OLD, mark=OLD)], set()),
    "one marked, one not": ([mart("one", OLD, mark=NEW), mart("two", LOST)], set()),
    "of a newer format": ([newer_one()], set()),
}


@pytest.mark.parametrize(("marts", "wanted"), RETIRABLE.values(), ids=RETIRABLE)
def test_retirable(marts, wanted):
    """A key goes when nothing names it, and nothing but marked for this very Active key is not under it."""
    assert findings.retirable({OLD.id, LOST.id}, NEW.id, [found for found, _ in marts]) == wanted


a, b, twin = binding("a", A, deleting=True), binding("b", B), binding("twin", A, made="2027-01-01T00:00:00Z")
twin_goes = binding("twin", A, made="2027-01-01T00:00:00Z", deleting=True)
MOVED = (entry(OLD, A, "Retiring"), entry(NEW, B))
NEEDED = {
    "a key is under it": (MOVED, [a, b], [], {}, True),
    "no key is under it": ((entry(NEW, B),), [a, b], [], {}, False),
    "another in force names the same": ((entry(NEW, A),), [a, twin], [], {}, False),
    "another that names the same goes too, Forbid": (
        (entry(NEW, A),), [twin_goes, binding("older", A, deleting=True, made="2020-01-01T00:00:00Z")],
        [], {"globalKeyPolicy": "Forbid"}, True,
    ),
    "it is in force, Forbid": ((entry(NEW, A),), [a], [], {"globalKeyPolicy": "Forbid"}, True),
    "the Active key is still under it": ((entry(NEW, A),), [a], [], {}, True),
    "an unrecorded envelope is under it": ((entry(NEW, B),), [a, b], [mart(under=LOST, root_key=A)], {}, True),
    "an unrecorded envelope is under another": ((entry(NEW, B),), [a, b], [mart(under=LOST, root_key=B)], {}, False),
}  # fmt: skip


@pytest.mark.parametrize(("recorded", "bindings", "marts", "spec", "wanted"), NEEDED.values(), ids=NEEDED)
def test_needed(recorded, bindings, marts, spec, wanted):
    """A binding is needed by what it wrapped, unless one that stays holds the same root key."""
    seen = view(instance(recorded, **spec), bindings=bindings, marts=marts)
    assert findings.needed(seen, bindings[0]) is wanted


def test_under_forbid_two_that_go_never_release_each_other():
    """Both name the one root key and both go: at least the one that holds stays, whoever asks."""
    pair = [a, twin_goes]
    seen = view(instance([entry(NEW, A)], globalKeyPolicy="Forbid"), bindings=pair)
    assert [findings.needed(seen, one) for one in pair] == [True, True]


DOUBT = {
    "no mark": (mart(under=OLD), False),
    "a mark of a recorded key": (mart(under=OLD, mark=NEW), False),
    "a mark of an unknown key": (mart(under=OLD, mark=LOST), True),
    "the same, read again": (mart(under=OLD, mark=LOST, mark_read=LOST.id), False),
    "another one was read again": (mart(under=OLD, mark=LOST, mark_read=OLD.id), True),
}


@pytest.mark.parametrize(("found", "wanted"), DOUBT.values(), ids=DOUBT)
def test_doubtful(found, wanted):
    """A mark that names a key unknown to this view makes the view doubtful until it was read again."""
    seen, sealable, _ = asked(found)
    assert findings.doubtful(seen, sealable) is wanted


DUE = {
    "not looked at": (mart(source_looked=-1), 0.0, True),
    "looked at for a former spec": (mart(source_looked=0), 0.0, True),
    "before its time": (mart(), LATER - 1, False),
    "at its time": (mart(), LATER, True),
}


@pytest.mark.parametrize(("found", "now", "wanted"), DUE.values(), ids=DUE)
def test_source_due(found, now, wanted):
    """A changed spec is looked at once at once; everything else in its time."""
    seen, sealable, _ = asked(found, now=now)
    assert findings.source_due(seen, sealable) is wanted


SOURCE = {
    "unsealed": (mart(), {}, True),
    "flawed": (mart(envelope="nonsense"), {}, True),
    "of a newer format": (newer_one(source_looked=-1), {}, False),
    "moved": (mart(under=NEW, moved=True), {}, True),
    "broken": (mart(under=NEW, ready=True, broken=BROKEN), {}, True),
    "its key refused": (mart(under=OLD, ready=True), {OLD.id: NO}, True),
    "its key away": (mart(under=OLD, ready=True), {OLD.id: AWAY}, False),
    "not ready, not looked at": (mart(under=NEW, source_looked=0), {}, True),
    "not ready, looked at": (mart(under=NEW), {}, False),
    "not ready, source gone": (mart(under=NEW, source_trouble=GONE), {}, False),
    "not ready, source unfit": (mart(under=NEW, source_trouble=EMPTY), {}, True),
    "not ready, source away": (mart(under=NEW, source_trouble=AWAY), {}, True),
    "ready, source kept": (mart(under=NEW, ready=True, kept=True), {}, True),
    "ready, source removed": (mart(under=NEW, ready=True, handover=True, kept=True), {}, False),
    "ready": (mart(under=NEW, ready=True), {}, False),
}


@pytest.mark.parametrize(("found", "closed", "wanted"), SOURCE.values(), ids=SOURCE)
def test_needs_source(found, closed, wanted):
    """A source is asked where it may know more than what is sealed; never over a newer format."""
    assert findings.needs_source(*asked(found, closed)) is wanted


UNCONFIRMED = {
    "sealed, looked at": (mart(under=NEW), True),
    "sealed, not looked at for this spec": (mart(under=NEW, source_looked=0), False),
    "not opened": (mart(under=NEW, judged=""), False),
    "broken": (mart(under=NEW, broken=BROKEN), False),
    "source unfit": (mart(under=NEW, source_trouble=EMPTY), False),
    "source gone": (mart(under=NEW, source_trouble=GONE), True),
    "moved": (mart(under=NEW, moved=True), False),
    "under a former key": (mart(under=OLD), False),
    "ready": (mart(under=NEW, ready=True), False),
    "ready, source kept": (mart(under=NEW, ready=True, kept=True), False),
    "ready, kept source gone": (mart(under=NEW, ready=True, kept=True, source_trouble=GONE, fresh=True), True),
    "ready, source consumed": (mart(under=NEW, ready=True, kept=True, handover=True, source_trouble=GONE), False),
}


@pytest.mark.parametrize(("found", "wanted"), UNCONFIRMED.values(), ids=UNCONFIRMED)
def test_unconfirmed(found, wanted):
    """Only what is under Active, opened and looked at for this spec is confirmed."""
    assert findings.unconfirmed(*asked(found)) is wanted


def test_what_proves_nothing_is_never_confirmed():
    """Sealed by a version that did not read the bundle: it would be Ready and not in turn, for ever."""
    seen, sealable, standing = asked(mart(under=NEW))
    bad = replace(sealable, ca_trouble=Refused(Reason.CA_BUNDLE_INVALID, "cannot be read"))
    assert findings.unconfirmed(seen, sealable, standing)
    assert not findings.unconfirmed(seen, bad, standing)


MISSING = Missing(Reason.SECRET_NOT_FOUND, "gone")
# total, current, stale, stuck
COUNTS = {
    "unsealed": (mart(), {}, (1, 0, 0, 0)),
    "current": (mart(under=NEW), {}, (1, 1, 0, 0)),
    "current, broken": (mart(under=NEW, broken=BROKEN), {}, (1, 0, 0, 1)),
    "stale": (mart(under=OLD), {}, (1, 0, 1, 0)),
    "stale, refused, its source not asked": (mart(under=OLD, source_looked=-1), {OLD.id: NO}, (1, 0, 1, 0)),
    "stuck": (mart(under=OLD, source_trouble=MISSING), {OLD.id: NO}, (1, 0, 0, 1)),
    "unknown": (mart(under=LOST), {}, (1, 0, 1, 0)),
    "unknown, broken": (mart(under=LOST, broken=BROKEN), {}, (1, 0, 0, 1)),
    "flawed": (mart(envelope="nonsense"), {}, (1, 0, 0, 1)),
}


@pytest.mark.parametrize(("found", "closed", "wanted"), COUNTS.values(), ids=COUNTS)
def test_count(found, closed, wanted):
    """Each secret is counted once, by how it stands; the stuck ones are named."""
    seen, sealable, _ = asked(found, closed)
    counted = findings.count(seen)
    assert (counted.total, counted.current, counted.stale, counted.stuck) == wanted
    assert counted.stuck_names == [sealable.meta.name] * wanted[3]


WAITS = {
    "no binding": (view(instance([entry(NEW)])), False),
    "a binding not usable, under the global key": (
        view(instance([entry(NEW)]), bindings=[b], keys={"b": DISABLED}), True,
    ),
    "a binding not usable, under nothing": (view(instance(), bindings=[b], keys={"b": DISABLED}), True),
    "the next not usable, under the former": (
        view(instance([entry(NEW, A)]), bindings=[a, b], keys={"b": DISABLED}), False,
    ),
    "Forbid and no binding": (view(instance(globalKeyPolicy="Forbid")), True),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "wanted"), WAITS.values(), ids=WAITS)
def test_first_seals_wait(seen, wanted):
    """Nothing new goes under the global key while a binding waits to be usable."""
    assert findings.first_seals_wait(seen) is wanted


def test_how_an_envelope_stands():
    """Against the recorded data keys: none, Active's, a Retiring one's, nobody's, or none of ours at all."""
    rows = [
        (mart(), Standing.UNSEALED),
        (mart(under=NEW), Standing.CURRENT),
        (mart(under=OLD), Standing.STALE),
        (mart(under=LOST), Standing.UNKNOWN),
        (mart(envelope="nonsense"), Standing.FLAWED),
    ]
    for found, wanted in rows:
        assert asked(found)[2] is wanted
