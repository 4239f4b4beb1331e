"""Stories that a review told: each was true of the engine once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.errors import Missing, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import HANDOVER_TYPE, DataMart, OpenScaleInstance
from sim.world import World

OTHER_ID = "0a1b2c3d-0000-4000-8000-000000000002"
SHARED = "pw-s"
ANOTHER_LOOK = 250.0
"""Seconds within which this world's polls come round."""


@pytest.fixture
def world() -> Iterator[World]:
    """A world with one instance; ended by the story itself."""
    made = World()
    made.cluster.on_change.clear()  # these stories ask questions of their own
    made.create_instance()
    yield made
    made.close()


def told(raw: dict, type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition."""
    found = next(c for c in raw["status"]["conditions"] if c["type"] == type_)
    return found["status"], found["reason"]


def source(world: World, name: str) -> dict:
    """The source that a data mart was sealed from."""
    return world.mart(name)["status"]["sealedPassword"]["source"]


def secret(world: World, name: str) -> bool:
    """Whether a Secret exists."""
    return any(key[1] == name for key in world.cluster.secrets)


def share(world: World, password: bytes) -> None:
    """Put the shared hand-over Secret, or another password into it."""
    world.cluster.put_secret("prod", SHARED, {"password": password}, HANDOVER_TYPE)


def reader(world: World, name: str, instance: str) -> None:
    """A data mart that reads the shared Secret."""
    database = {
        "type": "PostgreSQL", "host": "db.example.com", "port": 5432, "name": "m", "schema": "s", "username": name,
        "tls": "VerifyFull", "password": {"secretRef": {"name": SHARED, "key": "password"}, "revision": 0},
    }  # fmt: skip
    world.cluster.create(DataMart.KIND, "prod", name, {"instanceRef": {"name": instance}, "database": database})


def second(world: World, *, suspend: bool) -> None:
    """Another instance in the namespace."""
    spec = {"serviceInstanceId": OTHER_ID, "dataKeyRevision": 0, "suspend": suspend}
    world.cluster.create(OpenScaleInstance.KIND, "prod", "two", spec)


def test_a_raised_revision_waits_for_its_secret(world: World) -> None:
    """The new hand-over Secret comes after the spec: until then it is asked for, and then it is sealed."""
    world.give("a", handover=True)
    world.create_mart("a")
    world.start()
    world.settle()
    world.revise_mart("a")
    world.wait(5)
    assert told(world.mart("a")) == ("False", "SecretNotFound")
    world.give("a", handover=True)
    world.wait(300)
    assert told(world.mart("a")) == ("True", "Sealed")
    assert source(world, "a")["revision"] == 1
    assert not secret(world, "pw-a")


def test_another_secret_named_before_it_exists_is_sealed_once_it_does(world: World) -> None:
    """A changed secretRef is answered only from the Secret that it names."""
    world.give("a", handover=False)
    world.create_mart("a")
    world.start()
    world.settle()
    change = {"database": {"password": {"secretRef": {"name": "pw-new"}}}}
    world.cluster.change_spec(DataMart.KIND, "prod", "a", change)
    world.wait(5)
    assert told(world.mart("a")) == ("False", "SecretNotFound")
    world.cluster.put_secret("prod", "pw-new", {"password": b"a new one"}, "Opaque")
    world.wait(300)
    assert told(world.mart("a")) == ("True", "Sealed")
    assert source(world, "a")["name"] == "pw-new"


def test_a_kept_source_that_was_away_counts_again(world: World) -> None:
    """Deleted and put again with another password, as tools do: it is said to be gone, and then sealed anew."""
    world.give("a", handover=False)
    world.create_mart("a")
    world.start()
    world.settle()
    before = source(world, "a")["uid"]
    world.cluster.drop_secret("prod", "pw-a")
    world.wait(400)
    assert told(world.mart("a"), "SourceRemoved") == ("True", "SourceGone")
    world.give("a", handover=False)
    world.wait(400)
    assert told(world.mart("a"), "SourceRemoved") == ("False", "SourceKept")
    assert before != source(world, "a")["uid"]


def test_a_shared_source_is_consumed_only_as_all_have_sealed_it(world: World) -> None:
    """Replaced while one reader waits for the other: both seal the new password before it goes."""
    second(world, suspend=True)
    share(world, b"old")
    reader(world, "b", "openscale")
    reader(world, "a", "two")
    world.start()
    world.wait(20)
    assert told(world.mart("b"), "SourceRemoved") == ("False", "SourceKept")
    share(world, b"new")
    world.cluster.change_spec(OpenScaleInstance.KIND, "prod", "two", {"suspend": False})
    world.wait(5_000)
    assert source(world, "a") == source(world, "b")
    assert not secret(world, SHARED)


def test_a_shared_source_outlives_no_reader(world: World) -> None:
    """The reader that it waited for is deleted: it is consumed, and nobody names one that is gone."""
    second(world, suspend=True)
    share(world, b"old")
    reader(world, "b", "openscale")
    reader(world, "a", "two")
    world.start()
    world.wait(20)
    world.cluster.delete(DataMart.KIND, "prod", "a")
    world.wait(5_000)
    assert told(world.mart("b"), "SourceRemoved") == ("True", "HandedOver")
    assert not secret(world, SHARED)


def test_a_source_stays_for_a_reader_whose_endpoint_changed(world: World) -> None:
    """A reader that must be sealed anew, and cannot yet, still needs the source."""
    second(world, suspend=False)
    spec = {"serviceInstanceId": OTHER_ID[:-1] + "3", "dataKeyRevision": 0, "suspend": True}
    world.cluster.create(OpenScaleInstance.KIND, "prod", "three", spec)
    share(world, b"old")
    reader(world, "b", "two")
    reader(world, "a", "three")
    world.start()
    world.wait(20)
    world.cluster.change_spec(OpenScaleInstance.KIND, "prod", "two", {"suspend": True})
    world.wait(5)
    world.cluster.change_spec(DataMart.KIND, "prod", "b", {"database": {"host": "new.example.com"}})
    world.wait(5)
    world.cluster.change_spec(OpenScaleInstance.KIND, "prod", "three", {"suspend": False})
    world.wait(30)
    assert secret(world, SHARED)
    world.cluster.change_spec(OpenScaleInstance.KIND, "prod", "two", {"suspend": False})
    world.wait(5_000)
    assert told(world.mart("b")) == ("True", "Sealed")
    assert not secret(world, SHARED)


def test_a_revision_that_no_key_can_answer_is_not_ready(world: World) -> None:
    """The root key expired: no new data key can be made, and the instance says so instead of Ready."""
    world.bind("x", "A")
    world.give("a", handover=True)
    world.create_mart("a")
    world.start()
    world.settle()
    world.root_key("A").state = KeyState.DEACTIVATED
    world.settle()
    world.change_instance(dataKeyRevision=5)
    world.settle()
    assert told(world.instance()) == ("False", "KeyExpired")


def test_a_binding_of_a_suspended_instance_says_what_holds_it(world: World) -> None:
    """Nothing moves, so it does not say that something does."""
    world.bind("x", "A")
    world.give("a", handover=True)
    world.create_mart("a")
    world.start()
    world.settle()
    world.change_instance(suspend=True)
    world.settle()
    world.unbind("x")
    world.wait(300)
    assert told(world.binding("x")) == ("False", "Suspended")


@pytest.mark.parametrize("mistake", [Missing(Reason.CHANGED_MEANWHILE, "no such ServiceAccount"), LookupError("a bug")])
def test_a_poll_outlives_what_it_should_never_meet(world: World, mistake: Exception) -> None:
    """After a look that raised what no port allows, a revocation is noticed all the same."""
    world.bind("x", "A")
    world.give("a", handover=True)
    world.create_mart("a")
    world.start()
    world.settle()
    world.root_key("A").surprise = mistake
    world.wait(ANOTHER_LOOK)
    assert told(world.binding("x"), "KeyUsable") == ("Unknown", "KeyProtectUnavailable")
    world.root_key("A").surprise = None
    world.root_key("A").state = KeyState.SUSPENDED
    world.wait(ANOTHER_LOOK)
    assert told(world.binding("x"), "KeyUsable") == ("False", "KeyDisabled")


def test_losing_sight_takes_no_refusal_back(world: World) -> None:
    """A clear no, then Key Protect away: it stays refused until a good look."""
    world.bind("x", "A")
    world.start()
    world.settle()
    key = world.root_key("A")
    key.refused = True
    world.wait(ANOTHER_LOOK)
    assert told(world.binding("x"), "KeyUsable") == ("False", "CredentialsRefused")
    key.refused, key.away = False, True
    world.wait(300)
    assert told(world.binding("x"), "KeyUsable") == ("False", "CredentialsRefused")
    key.away = False
    world.wait(ANOTHER_LOOK)
    assert told(world.binding("x"), "KeyUsable") == ("True", "KeyActive")


def test_no_unwrap_is_tried_while_the_poll_says_away(world: World) -> None:
    """After a restart in an outage the poll alone calls: no pass is held up by an unwrap that nobody answers."""
    world.bind("x", "A")
    world.give("a", handover=True)
    world.create_mart("a")
    first = world.start()
    world.settle()
    first.crash()
    key = world.root_key("A")
    key.away = True
    world.start()
    world.wait(ANOTHER_LOOK)
    before = key.counts["unwrap"]
    world.wait(600)
    assert before == key.counts["unwrap"]
    key.away = False
    world.wait(2 * ANOTHER_LOOK)
    assert told(world.mart("a")) == ("True", "Sealed")
    assert key.counts["unwrap"] > before


def test_no_first_seal_under_the_global_key_while_the_chosen_one_cannot_wrap(world: World) -> None:
    """The binding is usable but for wrap: a new password waits for it, and its source is not consumed for less."""
    world.give("a", handover=False)
    world.create_mart("a")
    world.start()
    world.settle()
    key = world.root_key("A")
    key.wraps = False
    world.bind("x", "A")
    world.wait(5)
    world.give("b", handover=True)
    world.create_mart("b")
    world.wait(300)
    assert told(world.mart("b")) == ("False", "NotAuthorized")
    assert secret(world, "pw-b")
    key.wraps = True
    world.wait(120)
    assert told(world.mart("b")) == ("True", "Sealed")
    assert not secret(world, "pw-b")


def test_what_is_stuck_is_named_at_once(world: World) -> None:
    """The old root key says no: whether the sources can help is found out now, not at their next turn of minutes."""
    world.tuning = replace(world.tuning, source_refresh_seconds=86_400.0)
    for name, handover in (("gone", True), ("kept", False)):
        world.give(name, handover=handover)
        world.create_mart(name)
    world.bind("x", "A")
    world.start()
    world.wait(60.0)
    world.root_key("A").state = KeyState.DESTROYED
    world.wait(ANOTHER_LOOK)
    world.unbind("x")
    world.wait(5.0)
    assert told(world.mart("kept")) == ("True", "Sealed")
    assert told(world.mart("gone")) == ("False", "Stuck")
    assert told(world.binding("x")) == ("False", "Stuck")


@pytest.mark.parametrize("change", ["spec", "deleted", "made"])
def test_what_happens_while_a_list_is_under_way_is_not_lost(world: World, change: str) -> None:
    """A list that was made before an event and answers after it does not put the object back to what it was."""
    world.give("a", handover=False)
    world.create_mart("a")
    operator = world.start()
    world.wait(60.0)
    scope = operator.engine.world.scope(("prod", "openscale"))
    scope.listed = False
    operator.engine.world._wake(scope.key)
    world.loop.run_ready()
    while "list datamarts" not in (names := [call.name for call in operator.process.pending]):
        operator.process.whole()
        world.loop.run_ready()
    operator.process.half(names.index("list datamarts"))
    if change == "spec":
        world.revise_mart("a")
    elif change == "deleted":
        world.delete_mart("a")
    else:
        world.give("b", handover=False)
        world.create_mart("b")
    operator.deliver_heard()
    world.wait(3.0)
    if change == "deleted":
        assert not scope.sealables
    else:
        ready = world.mart("b" if change == "made" else "a")
        assert ready["status"]["observedGeneration"] == ready["metadata"]["generation"]


@pytest.mark.parametrize("ends", ["unbound", "made by one of them"])
def test_two_whose_mints_failed_settle_at_once(world: World, ends: str) -> None:
    """What each remembers of its last try says nothing once no data key is wanted any more: no status in turn."""
    world.give("a", handover=True)
    world.create_mart("a")
    first, second = world.start(), world.start()
    world.settle()
    tampered = Refused(Reason.TAMPERED, "the new data key does not unwrap to itself")
    first.process.forbidden = second.process.forbidden = {"kms.wrap": tampered}
    second.hears = lambda _: False
    world.bind("x", "A")
    world.wait(25.0)
    second.hears = lambda _: True
    world.wait(3.0)
    assert told(world.instance()) == ("False", "Tampered")
    if ends == "unbound":
        world.unbind("x")
    else:
        second.process.forbidden = {}
    said: list[str] = []
    world.cluster.watchers.append(
        lambda event: said.append(told(event.raw)[1]) if event.kind == OpenScaleInstance.KIND else None
    )
    world.wait(300.0)
    assert told(world.instance()) == ("True", "Current")
    ended = said[said.index("Current") :]
    assert "Tampered" not in ended, said
