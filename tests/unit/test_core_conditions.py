"""What the statuses say: merged without noise, and read by kstatus as they are meant."""

from dataclasses import replace

import pytest

from kstatus import kstatus
from openscale_byok.core import conditions
from openscale_byok.core.conditions import Wanted, merged
from openscale_byok.errors import Refused
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import Condition
from sim.views import (
    AWAY,
    DISABLED,
    EXPIRED,
    GONE,
    LOST,
    NEW,
    NO,
    NOW,
    OLD,
    OWNERS,
    SECRET,
    UNREACHED,
    USABLE,
    A,
    B,
    binding,
    entry,
    instance,
    mart,
    reported,
    view,
)

BEFORE, AFTER = "2026-01-01T00:00:00Z", NOW
READY = Wanted("Ready", "True", Reason.CURRENT, "well")
NOT_READY = Wanted("Ready", "False", Reason.STUCK, "stuck")
BOTH = (entry(OLD, state="Retiring"), entry(NEW))
BROKEN, EMPTY = Refused(Reason.TAMPERED, "it does not verify"), Refused(Reason.PASSWORD_EMPTY, "empty")


def stored(want: Wanted, **more) -> Condition:
    """A condition as it was written before."""
    raw = {"type": want.type, "status": want.status, "reason": want.reason.value, "message": want.message}
    return Condition.model_validate(raw | {"observedGeneration": 1, "lastTransitionTime": BEFORE} | more)


def test_the_time_moves_only_on_a_flip():
    """Another reason, message or generation keeps `lastTransitionTime`; another status moves it."""
    kept = [
        merged((stored(READY),), (replace(READY, reason=Reason.NOTHING_TO_PROTECT),), 1, AFTER),
        merged((stored(READY),), (replace(READY, message="other"),), 1, AFTER),
        merged((stored(READY),), (READY,), 2, AFTER),
    ]
    assert [found and found[0]["lastTransitionTime"] for found in kept] == [BEFORE] * 3
    flipped = merged((stored(READY),), (NOT_READY,), 1, AFTER)
    first = merged((), (READY,), 1, AFTER)
    assert [found and found[0]["lastTransitionTime"] for found in (flipped, first)] == [AFTER, AFTER]


def test_nothing_to_write_is_none():
    """What is said already is not written again, in whatever order it is stored."""
    found = (stored(replace(READY, type="KeyUsable")), stored(READY))
    assert merged(found, (READY, replace(READY, type="KeyUsable")), 1, AFTER) is None


def test_what_is_not_ours_survives():
    """A foreign type stays as it is, and so do fields of an item that we do not know."""
    foreign = stored(replace(READY, type="Paused"), theirs={"x": 1})
    ours = stored(READY, added="later")
    after = merged((foreign, ours), (NOT_READY,), 2, AFTER)
    assert after is not None
    assert after[1] == foreign.dump()
    assert after[1]["theirs"] == {"x": 1}
    assert (after[0]["added"], after[0]["observedGeneration"]) == ("later", 2)
    assert merged((foreign, ours), (READY,), 1, AFTER) is None


def test_what_is_said_no_more_goes():
    """One of our types that is not wanted any more is removed: absent means not so."""
    after = merged((stored(NOT_READY), stored(replace(NOT_READY, type="Stalled", status="True"))), (READY,), 1, AFTER)
    assert [found["type"] for found in after or []] == ["Ready"]
    after = merged((stored(READY), stored(replace(NOT_READY, type="Stalled", status="True"))), (READY,), 1, AFTER)
    assert [found["type"] for found in after or []] == ["Ready"]


def read(seen) -> dict[str, tuple[str, str]]:
    """What kstatus reads once everything was reported, and Ready's reason, by the object's name."""
    after = reported(seen)
    found = {}
    for thing in (*([after.instance] if after.instance else ()), *after.bindings):
        ready = next(c.reason for c in thing.status.conditions if c.type == "Ready")
        found[thing.metadata.name] = (kstatus(thing.dump()), ready)
    for sealable in after.sealables:
        raw = {
            "metadata": sealable.meta.dump(),
            "status": {
                "observedGeneration": sealable.observed_generation,
                "conditions": [condition.dump() for condition in sealable.conditions],
            },
        }
        ready = sealable.condition("Ready")
        found[sealable.meta.name] = (kstatus(raw), ready.reason if ready else "")
    return found


a, b = binding("a", A), binding("b", B, made="2027-01-01T00:00:00Z")
a_goes = binding("a", A, deleting=True)
UNDER_A = [entry(NEW, A)]


def under_a(**more):
    """An instance under a binding's root key."""
    return view(instance(UNDER_A), bindings=[a], **more)


LATER_NO = Refused(Reason.KEY_DESTROYED, "the root key was deleted; restore it in Key Protect before 2026-12-24")
STUCK = {"shut": frozenset({OLD.id}), "closed": {OLD.id: NO}}
# a view -> by name of an object: what kstatus reads, and why
SAID = {
    "nothing to protect": (view(instance()), {"prod": ("Current", "NothingToProtect")}),
    "well, and a Standby": (
        view(instance(UNDER_A), bindings=[a, b], marts=[mart(under=NEW, ready=True)]),
        {"prod": ("Current", "Current"), "a": ("Current", "InForce"), "b": ("Current", "Standby"),
         "one": ("Current", "Sealed")},
    ),
    "a spec that was changed since": (
        view(instance([entry(NEW)]), marts=[mart(under=NEW, source_trouble=EMPTY)]),
        {"prod": ("Current", "Current"), "one": ("Failed", "PasswordEmpty")},
    ),
    "moving": (
        view(instance(BOTH), marts=[mart(under=OLD, ready=True)]),
        {"prod": ("InProgress", "ReEncrypting"), "one": ("Current", "Sealed")},
    ),
    "the root key disabled": (
        under_a(keys={"a": DISABLED}), {"prod": ("Failed", "KeyDisabled"), "a": ("Failed", "KeyDisabled")},
    ),
    "the root key refused": (
        under_a(keys={"a": replace(UNREACHED, trouble=Refused(Reason.NOT_AUTHORIZED, "no"))}),
        {"prod": ("Failed", "NotAuthorized"), "a": ("Failed", "NotAuthorized")},
    ),
    "the root key away": (
        under_a(keys={"a": UNREACHED}),
        {"prod": ("InProgress", "KeyProtectUnavailable"), "a": ("InProgress", "KeyProtectUnavailable")},
    ),
    "the root key not asked yet": (
        under_a(keys={"a": replace(UNREACHED, trouble=None)}),
        {"prod": ("InProgress", "CheckingKey"), "a": ("InProgress", "CheckingKey")},
    ),
    "the root key expired, in force": (
        under_a(keys={"a": EXPIRED}), {"prod": ("Current", "Current"), "a": ("Current", "InForce")},
    ),
    "the root key expired, not in force": (
        view(instance([entry(NEW)]), bindings=[a], keys={"a": EXPIRED}),
        {"prod": ("InProgress", "WaitingForRootKey"), "a": ("Failed", "KeyExpired")},
    ),
    "about to come into force": (
        view(instance([entry(NEW)]), bindings=[a]),
        {"prod": ("InProgress", "RootKeyChanged"), "a": ("InProgress", "Sealing")},
    ),
    "the mint failed": (
        view(instance(), bindings=[a], troubles={"mint": AWAY}),
        {"prod": ("InProgress", "KeyProtectUnavailable"), "a": ("InProgress", "KeyProtectUnavailable")},
    ),
    "the mint was refused": (
        view(instance(), bindings=[a], troubles={"mint": NO}),
        {"prod": ("Failed", "KeyDisabled"), "a": ("Failed", "KeyDisabled")},
    ),
    "no instance yet": (view(bindings=[a], marts=[mart()]), {
        "a": ("InProgress", "InstanceNotFound"), "one": ("InProgress", "InstanceNotFound"),
    }),
    "no Secret yet": (
        view(instance([entry(NEW)]), marts=[mart(source_trouble=GONE)]),
        {"prod": ("Current", "Current"), "one": ("InProgress", "SecretNotFound")},
    ),
    "a source that is unfit": (
        view(instance([entry(NEW)]), marts=[mart(source_trouble=EMPTY)]), {"one": ("Failed", "PasswordEmpty")},
    ),
    "Forbid and no binding": (
        view(instance(globalKeyPolicy="Forbid"), marts=[mart()]),
        {"prod": ("InProgress", "NoRootKey"), "one": ("InProgress", "NoRootKey")},
    ),
    "Forbid holds a binding that goes": (
        view(instance(UNDER_A, globalKeyPolicy="Forbid"), bindings=[a_goes]),
        {"prod": ("Current", "Current"), "a": ("Terminating", "StillNeeded")},
    ),
    "a binding that goes": (
        view(instance([entry(OLD, A, "Retiring"), entry(NEW, B)]), bindings=[a_goes, b], marts=[mart(under=OLD)]),
        {"prod": ("InProgress", "ReEncrypting"), "a": ("Terminating", "Releasing"), "b": ("Current", "InForce")},
    ),
    "stuck": (
        view(instance(BOTH), marts=[mart(under=OLD, mark=NEW, source_trouble=GONE)], **STUCK),
        {"prod": ("Failed", "Stuck"), "one": ("Failed", "Stuck")},
    ),
    "broken": (
        view(instance([entry(NEW)]), marts=[mart(under=NEW, broken=BROKEN, source_trouble=GONE)]),
        {"prod": ("Failed", "Stuck"), "one": ("Failed", "Tampered")},
    ),
    "an unknown data key, broken": (
        view(instance([entry(NEW)]), marts=[mart(
            under=LOST, broken=Refused(Reason.UNKNOWN_DATA_KEY, "unknown"), source_trouble=GONE,
        )]),
        {"one": ("Failed", "UnknownDataKey")},
    ),
    "a moved endpoint": (
        view(instance([entry(NEW)]), marts=[mart(under=NEW, moved=True, source_trouble=GONE)]),
        {"one": ("Failed", "EndpointChanged")},
    ),
    "the Active key shut by a clear no": (
        view(instance([entry(NEW)]), marts=[mart()], closed={NEW.id: NO}, shut=frozenset({NEW.id})),
        {"prod": ("Failed", "KeyDisabled"), "one": ("Failed", "KeyDisabled")},
    ),
    "the Active key not reached": (
        view(instance([entry(NEW)]), marts=[mart()], closed={NEW.id: AWAY}, shut=frozenset({NEW.id})),
        {"prod": ("InProgress", "KeyProtectUnavailable"), "one": ("InProgress", "KeyProtectUnavailable")},
    ),
    "suspended, with something left to do": (
        view(instance(BOTH, suspend=True), marts=[mart("one", OLD, ready=True), mart("two")]),
        {"prod": ("InProgress", "Suspended"), "one": ("Current", "Sealed"), "two": ("InProgress", "Suspended")},
    ),
    "suspended, with nothing left to do": (
        view(instance([entry(NEW)], suspend=True), marts=[mart("one", NEW, ready=True), mart("two")]),
        {"prod": ("Current", "Suspended"), "one": ("Current", "Sealed"), "two": ("InProgress", "Suspended")},
    ),
    "suspended, and its root key disabled": (
        view(instance([entry(NEW)], suspend=True), closed={NEW.id: NO}, shut=frozenset({NEW.id})),
        {"prod": ("Failed", "KeyDisabled")},
    ),
    "suspended, and Key Protect not reached": (
        view(instance([entry(NEW)], suspend=True), closed={NEW.id: AWAY}, shut=frozenset({NEW.id})),
        {"prod": ("InProgress", "Suspended")},
    ),
    "an id that another one has": (
        view(instance(), marts=[mart()], conflict=Refused(Reason.CONFLICT, "claimed")),
        {"prod": ("Failed", "Conflict"), "one": ("Failed", "Conflict")},
    ),
    "a newer format": (
        view(instance(BOTH, format_=2), marts=[mart()]),
        {"prod": ("Failed", "NewerFormat"), "one": ("Failed", "NewerFormat")},
    ),
    "being deleted": (
        view(instance([entry(NEW)], deleting=True), marts=[mart(), mart("two", NEW, ready=True)]),
        {"two": ("Current", "Sealed"), "prod": ("Terminating", "DataMartsRemain"), "one": ("InProgress", "Deleting")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "wanted"), SAID.values(), ids=SAID)
def test_kstatus_reads_what_is_meant(seen, wanted):
    """Well is Current, what may come by itself InProgress, what needs a person Failed, what goes Terminating."""
    found = read(seen)
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("seen", [row[0] for row in SAID.values()], ids=SAID)
def test_conditions_keep_to_their_rules(seen):
    """One Ready, at most one of Reconciling and Stalled, and neither beside Ready=True, nor beside Suspended; each of
    this generation."""
    for patch in conditions.patches(seen, NOW):
        said = {c["type"]: c for c in patch.status.get("conditions", ())}
        if not said:
            continue
        assert len(said) == len(patch.status["conditions"])
        assert {c["observedGeneration"] for c in said.values()} == {patch.meta.generation}
        assert {c["reason"] for c in said.values()} <= set(Reason)
        abnormal = [said[type_] for type_ in ("Reconciling", "Stalled") if type_ in said]
        settled = said["Ready"]["status"] == "True" or said["Ready"]["reason"] == "Suspended"
        assert [c["status"] for c in abnormal] == ([] if settled else ["True"])
        assert all(c["reason"] == said["Ready"]["reason"] for c in abnormal)


@pytest.mark.parametrize("seen", [row[0] for row in SAID.values()], ids=SAID)
def test_what_was_said_is_not_said_again(seen):
    """Once reported, nothing differs: no write follows from a status of our own."""
    assert not conditions.unreported(reported(seen))


OTHERS = [reason for reason in Reason if reason is not Reason.SUSPENDED]


@pytest.mark.parametrize("reason", OTHERS, ids=lambda reason: reason.value)
def test_the_table_decides_who_must_act(reason):
    """Not ready by any reason is Stalled or Reconciling, as the table of reasons says, and never both."""
    ready, why = conditions.not_ready(reason, "text")
    assert (ready.status, why.status) == ("False", "True")
    assert why.type == ("Stalled" if TABLE[reason].stalled else "Reconciling")


def test_no_answer_is_no_clear_no():
    """Whether a root key is usable: unknown while nobody answers, false only by a clear no, true when expired."""
    rows = {UNREACHED: "Unknown", replace(UNREACHED, trouble=None): "Unknown", replace(UNREACHED, trouble=NO): "False"}
    rows |= {DISABLED: "False", EXPIRED: "True"}
    assert {standing: conditions.key_usable(standing).status for standing in rows} == rows


def test_an_object_never_seen_is_in_progress():
    """The default status, of an object that no operator has seen yet, must not read as Current."""
    assert kstatus({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}) == "InProgress"


def test_disputed_statuses_are_left_alone_until_their_time():
    """What another writer corrects is not said again before it is due."""
    seen = view(instance([entry(NEW)]), disputed={"uid-prod": 5.0})
    assert [conditions.unreported(replace(seen, now=now)) for now in (4.0, 5.0)] == [False, True]


def announced(seen) -> list[Reason]:
    """What a report of this view announces."""
    return [text.reason for patch in conditions.patches(seen, NOW) for text in patch.announce]


def test_only_a_new_warning_is_announced():
    """An event comes with a reason that warns, once; a normal one, or the same again, makes none."""
    bad, good = SAID["the root key disabled"][0], SAID["well, and a Standby"][0]
    assert set(announced(bad)) == {Reason.KEY_DISABLED}
    assert announced(good) == []
    later = replace(reported(bad), keys={"uid-a": replace(DISABLED, trouble=NO)})
    assert announced(later) == []


@pytest.mark.parametrize("trouble", [DISABLED, UNREACHED, replace(UNREACHED, trouble=NO)], ids=["no", "away", "IAM"])
def test_a_root_key_that_is_back_is_announced_once(trouble):
    """KeyActive after a warning is an event on binding and instance; without one before it, or said again, none is."""
    seen = view(instance([entry(NEW, A)]), bindings=[binding("a", A)], keys={"a": trouble})
    back = replace(reported(seen), keys={"uid-a": USABLE})
    assert announced(back) == [Reason.KEY_ACTIVE] * 2
    assert announced(reported(back)) == []


GLOBAL_KEYS = {
    "disabled": (replace(OWNERS, look=DISABLED.look), ("False", "KeyDisabled"), "Stalled"),
    "refused": (replace(OWNERS, trouble=NO), ("False", "KeyDisabled"), "Stalled"),
    "away": (replace(OWNERS, trouble=AWAY), ("Unknown", "KeyProtectUnavailable"), "Reconciling"),
    "expired": (replace(OWNERS, look=EXPIRED.look), ("True", "KeyExpired"), ""),
    "well": (SECRET, ("True", "InForce"), ""),
    "not looked at yet": (None, ("True", "InForce"), ""),
}


@pytest.mark.parametrize(("standing", "usable", "waits"), GLOBAL_KEYS.values(), ids=GLOBAL_KEYS)
def test_an_instance_under_the_global_key_says_how_that_stands(standing, usable, waits):
    """As a binding says it of a customer's root key; and says whose key it is, where a person must act."""
    current = entry(NEW, version="2")
    seen = view(instance([current]), marts=[mart(under=NEW, ready=True)], global_key=standing)
    told = {c["type"]: c for c in conditions.told(seen, NOW)["conditions"]}
    assert (told["KeyUsable"]["status"], told["KeyUsable"]["reason"]) == usable
    assert [type_ for type_ in ("Stalled", "Reconciling") if type_ in told] == ([waits] if waits else [])


def test_a_lost_version_is_the_instances_own_trouble():
    """The active data key's version is not there: Stalled, by name; and no successor hides it."""
    lost = Refused(Reason.GLOBAL_KEY_VERSION_MISSING, "version abcd of the global key is not in its Secret")
    seen = view(instance([entry(NEW)]), marts=[mart(under=NEW, ready=True)], global_key=SECRET, closed={NEW.id: lost})
    told = {c["type"]: c for c in conditions.told(seen, NOW)["conditions"]}
    assert told["Stalled"]["reason"] == told["KeyUsable"]["reason"] == "GlobalKeyVersionMissing"
    assert "abcd" in told["Ready"]["message"]


def test_a_rotation_that_is_about_to_be_followed_is_not_ready():
    """Everything is current under the former version, and must not say so."""
    seen = view(instance([entry(NEW)]), marts=[mart(under=NEW, ready=True)], global_key=SECRET)
    told = {c["type"]: c for c in conditions.told(seen, NOW)["conditions"]}
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("False", "ReEncrypting")


def test_what_waits_without_a_clear_no_says_what_for():
    """Instance and leaving binding both carry the root key's trouble: a reason and a cure, not only how far it is."""
    keys = [entry(OLD, A, "Retiring"), entry(NEW, B)]
    bindings = [binding("a", A, deleting=True), binding("b", B)]
    seen = view(instance(keys), bindings=bindings, keys={"a": UNREACHED}, marts=[mart(under=OLD)])
    ready = [c for patch in conditions.patches(seen, NOW) for c in patch.status["conditions"] if c["type"] == "Ready"]
    waits = [c["message"] for c in ready if c["reason"] in ("ReEncrypting", "Releasing")]
    assert len(waits) == 2
    assert all(text.endswith("the rest waits: away") for text in waits)
    fine = next(conditions.patches(replace(seen, keys={}), NOW))
    assert "waits" not in str(fine.status)


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ({OLD.id: NO}, f"({NO.message})"),
        ({OLD.id: NO, LOST.id: LATER_NO}, f"({min(NO.message, LATER_NO.message)} …)"),
    ],
)
def test_what_is_stuck_says_why(closed, said):
    """What was said of the root key, with its date, where people look first: on the instance, and on its binding."""
    entries = [entry(OLD, A, "Retiring"), entry(LOST, A, "Retiring"), entry(NEW, B)]
    marts = [
        mart(f"m{n}", under=key, mark=NEW, source_trouble=GONE) for n, key in enumerate((OLD, LOST)[: len(closed)])
    ]
    seen = view(instance(entries), bindings=[a_goes, b], marts=marts, closed=closed, shut=frozenset(closed))
    after = reported(seen)
    for thing in (after.instance, after.bindings[0]):
        ready = next(c for c in thing.status.conditions if c.type == "Ready")
        assert (ready.reason, said in ready.message) == ("Stuck", True), ready.message
