"""The one object that holds the only copy: deleted and made anew, stripped, put back, while its source is deleted.

Each story stops the operator at one call of a hand-over and lets somebody act there.
"""

from collections.abc import Callable, Iterator

import pytest

from openscale_byok.engine.handovers import BEGINS_SECONDS, ON_ITS_WAY_SECONDS
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import FINALIZER, DataMart, OpenScaleInstance
from sim.expect import expect_settled
from sim.gate import Call
from sim.operator import Operator
from sim.world import INSTANCE, NAMESPACE, World

CALLS = range(12)
"""More than a hand-over has, from its seal to the end."""
DELETE = "delete Secret pw-b"
HOLD = "patch finalizers b"
NOT_TOLD = {"patch status b": Unavailable(Reason.CLUSTER_UNAVAILABLE, "not now")}
"""No other call tells the operator that the object is another by now."""


@pytest.fixture
def world() -> Iterator[World]:
    """A world that must come to rest with everything where it belongs."""
    made = World()
    yield made
    made.close()


def begun(world: World) -> Operator:
    """Everything is at rest but data mart `b`, which is about to be sealed from a hand-over Secret."""
    world.create_instance()
    world.give("a", handover=True)
    world.create_mart("a")
    operator = world.start()
    world.run()
    world.give("b", handover=True)
    world.create_mart("b")
    until(world, operator, "patch status b")
    return operator


def until(world: World, operator: Operator, name: str) -> Call:
    """Let an operator go on until it is about to make this call, and no further."""
    for _ in range(200):
        operator.deliver_heard()
        world.loop.run_ready()
        pending = operator.process.pending
        found = next((call for call in pending if call.name.startswith(name)), None)
        if found is not None:
            return found
        if pending:
            operator.process.whole()
        else:
            timer = world.loop.next_timer()
            assert timer is not None, f"it rests, and never makes the call {name}"
            world.loop.jump(timer)
        world.loop.run_ready()
    raise AssertionError(f"never comes to the call {name}")


def go(world: World, operator: Operator, calls: int, *, half: bool) -> None:
    """So many calls, and the first half of another one: it has its effect, and its answer is on the way."""
    for _ in range(calls):
        operator.deliver_heard()
        world.loop.run_ready()
        if operator.process.pending:
            operator.process.whole()
            world.loop.run_ready()
    if half and operator.process.pending:
        operator.process.half()


def lose(world: World, operator: Operator, name: str, what: str) -> Callable[[], object]:
    """A call that comes to nothing for the operator; what it would do, should it arrive late."""
    call = until(world, operator, name)
    operator.process.half(operator.process.pending.index(call), lose=what)
    world.loop.run_ready()
    return call.effect


def mart(world: World, name: str = "b") -> DataMart | None:
    """As it is stored."""
    raw = world.cluster.find(DataMart.KIND, NAMESPACE, name)
    return None if raw is None else DataMart.of(raw)


def held(world: World, name: str = "b") -> bool:
    """Whether a data mart is there and carries our finalizer."""
    found = mart(world, name)
    return found is not None and found.metadata.ours


def told(world: World, name: str = "b", type_: str = "Ready") -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    found = mart(world, name)
    assert found is not None
    return next((c.status, c.reason, c.message) for c in found.status.conditions if c.type == type_)


def strip(world: World, name: str = "b") -> None:
    """Somebody replaces the object by a manifest without finalizers."""
    raw = world.mart(name)
    raw["metadata"]["finalizers"] = []
    world.cluster._store((DataMart.KIND, NAMESPACE, name), raw)


def at_rest(world: World) -> None:
    """The faults are over: everything must come right, and nobody is held."""
    for operator in world.operators:
        operator.process.forbidden = {}
    world.settle()
    expect_settled(world)
    assert not any(FINALIZER in raw["metadata"]["finalizers"] for raw in world.cluster.all(DataMart.KIND))


# Deleted and made anew ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True], ids=["before the call", "after its effect"])
@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("restarts", [False, True], ids=["it goes on", "killed, and started anew"])
def test_a_data_mart_is_deleted_and_made_anew_at_any_call(world: World, calls: int, half: bool, restarts: bool) -> None:
    """Whoever deletes a data mart, sees it gone and its Secret there, may make it anew: the Secret stays for it."""
    operator = begun(world)
    go(world, operator, calls, half=half)
    world.remove_mart("b")
    world.remake_mart("b")
    if restarts:
        operator.crash()
        world.start()
    for _ in range(2):
        world.wait(ON_ITS_WAY_SECONDS + 1)
        world.remake_mart("b")
    world.settle()
    assert world.cluster.find(DataMart.KIND, NAMESPACE, "b") is None or told(world)[:2] == ("True", "Sealed")
    at_rest(world)


def test_the_object_is_held_while_its_source_is_deleted(world: World) -> None:
    """From before the delete is sent until after it is answered nobody makes the object vanish."""
    operator = begun(world)
    until(world, operator, DELETE)
    assert held(world)
    assert not world.remove_mart("b")
    operator.process.half()
    assert not world.secret("b")
    assert held(world)
    world.wait(1.0)
    assert mart(world) is None


def test_the_finalizer_comes_by_the_state_that_was_checked(world: World) -> None:
    """Made anew just before it was to be held: the new one is not held for what the former one was sealed from."""
    operator = begun(world)
    until(world, operator, HOLD)
    assert world.remove_mart("b")
    assert world.remake_mart("b")
    operator.process.whole()
    world.loop.run_ready()
    assert not held(world)
    assert world.secret("b")
    at_rest(world)


def test_what_is_being_deleted_keeps_its_source(world: World) -> None:
    """Deleted, and held by somebody else's finalizer: its source is for whoever makes it anew."""
    operator = begun(world)
    until(world, operator, HOLD)
    raw = world.mart("b")
    raw["metadata"]["finalizers"] = ["example.com/theirs"]
    world.cluster._store((DataMart.KIND, NAMESPACE, "b"), raw)
    world.remove_mart("b")
    before = world.cluster.writes
    world.wait(3_600.0)
    assert world.secret("b")
    assert world.cluster.writes - before < 5
    assert told(world)[:2] == ("False", "Deleting")
    strip(world)
    world.cluster._remove((DataMart.KIND, NAMESPACE, "b"), world.mart("b"))
    assert world.remake_mart("b")
    at_rest(world)


# A delete that is on its way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", ["is killed", "has no answer"])
def test_a_delete_on_its_way_finds_its_object(world: World, sender: str) -> None:
    """Given up because its object is being deleted: it is not free before the last delete has ended."""
    operator = begun(world)
    call = until(world, operator, DELETE)
    if sender == "is killed":
        operator.crash()
        world.start()
    else:
        lose(world, operator, DELETE, "request")
    assert not world.remove_mart("b")
    world.wait(ON_ITS_WAY_SECONDS - BEGINS_SECONDS - 2)
    assert held(world)
    assert world.secret("b")
    call.effect()
    assert not world.secret("b")
    world.wait(60.0)
    assert mart(world) is None


def test_what_was_given_up_goes_in_time(world: World) -> None:
    """No delete comes: once none can, the object goes, and its Secret is there for the next one."""
    operator = begun(world)
    until(world, operator, DELETE)
    operator.crash()
    world.remove_mart("b")
    world.start()
    world.wait(ON_ITS_WAY_SECONDS + 1)
    assert mart(world) is None
    assert world.remake_mart("b")
    at_rest(world)


def test_what_was_given_up_goes_at_once_where_its_source_is_gone(world: World) -> None:
    """Its owner deletes both, or the last delete did its work: nothing keeps the object."""
    operator = begun(world)
    until(world, operator, DELETE)
    operator.crash()
    world.remove_mart("b")
    world.cluster.drop_secret(NAMESPACE, "pw-b")
    world.start()
    world.wait(1.0)
    assert mart(world) is None


def test_another_operator_frees_nothing_under_a_delete(world: World) -> None:
    """Two operators: what one gives up the other may still be deleting the source of."""
    first = begun(world)
    call = until(world, first, DELETE)
    first.hears = lambda _: False
    second = world.start()
    assert not world.remove_mart("b")
    world.wait(30.0, second)
    assert held(world)
    first.process.half(first.process.pending.index(call))
    assert not world.secret("b")
    world.wait(30.0)
    assert mart(world) is None
    at_rest(world)


def test_a_further_attempt_begins_with_a_proof(world: World) -> None:
    """Its answer was lost, somebody stripped the finalizer, deleted the object and made it anew: it is not deleted
    for the former one."""
    operator = begun(world)
    lose(world, operator, DELETE, "request")
    operator.hears = lambda _: False
    operator.process.forbidden = NOT_TOLD
    strip(world)
    assert world.remove_mart("b")
    assert world.remake_mart("b")
    world.wait(30.0)
    operator.hears = lambda _: True
    operator.process.forbidden = {}
    world.settle()
    assert told(world)[:2] == ("True", "Sealed")
    at_rest(world)


def test_a_stripped_finalizer_is_put_on_again(world: World) -> None:
    """Stripped between two attempts, the object still there: no attempt without it."""
    operator = begun(world)
    lose(world, operator, DELETE, "request")
    strip(world)
    until(world, operator, DELETE)
    assert held(world)
    at_rest(world)


def test_who_slept_proves_it_once_more(world: World) -> None:
    """Stopped between the proof and the delete for longer than a delete may wait: it asks anew before it deletes."""
    operator = begun(world)
    until(world, operator, HOLD)
    operator.process.half()
    world.loop.jump(world.loop.time() + BEGINS_SECONDS + 1)
    operator.process.half()
    world.loop.run_ready()
    assert [call.name for call in operator.process.pending] == [HOLD]
    at_rest(world)


# etcd put back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", ["of then", "that came again", "beyond"])
def test_etcd_is_put_back_between_two_attempts(world: World, versions: str) -> None:
    """To before the seal: what is not sealed any more keeps its source, whatever version the object has."""
    world.create_instance()
    world.give("a", handover=True)
    world.create_mart("a")
    operator = world.start()
    world.run()
    world.give("b", handover=True)
    world.create_mart("b")
    put_back = world.snapshot()
    operator.hears = lambda _: True
    lose(world, operator, DELETE, "request")
    known = world.mart("b")["metadata"]["resourceVersion"]
    newest = world.cluster.version
    put_back()
    if versions == "that came again":
        raw = world.mart("b")
        world.cluster.version = int(known) - 1
        world.cluster._store((DataMart.KIND, NAMESPACE, "b"), raw)
    if versions != "of then":
        world.cluster.version = max(world.cluster.version, newest) + 10
    operator.process.forbidden = NOT_TOLD
    world.wait(20.0)
    assert world.secret("b")
    at_rest(world)


# Deletion in every order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["mart, instance", "instance, mart", "instance", "instance without us"])
@pytest.mark.parametrize("deletion", ["Block", "Shred"])
@pytest.mark.parametrize("down", [False, True], ids=["the operator runs", "comes back later"])
def test_deletion_ends_in_every_order(world: World, order: str, deletion: str, down: bool) -> None:
    """Held in the middle of a hand-over: nothing hangs, and the Secret that was not consumed stays."""
    operator = begun(world)
    world.change_instance(deletion={"policy": deletion, "retentionDays": 0})
    world.checks.forget("a")  # shredded, where that is its owner's word
    until(world, operator, DELETE)
    operator.crash()
    if not down:
        world.start()
    for what in order.split(", "):
        if what == "mart":
            world.remove_mart("b")
        elif what == "instance":
            world.delete_instance()
        else:
            raw = world.instance()
            raw["metadata"]["finalizers"] = []
            world.cluster.on_change.clear()  # somebody's force is no rule of ours
            del world.cluster.objects[OpenScaleInstance.KIND, NAMESPACE, INSTANCE]
    if down:
        world.start()
    world.wait(ON_ITS_WAY_SECONDS + 60)
    assert not held(world)
    assert world.secret("b")
    assert (mart(world) is None) == ("mart" in order)


@pytest.mark.parametrize("why", ["suspended", "conflict"])
def test_deletion_ends_where_nothing_is_written(world: World, why: str) -> None:
    """An instance that is suspended, or not the holder of its id, keeps nobody from being deleted."""
    operator = begun(world)
    until(world, operator, DELETE)
    operator.crash()
    world.cluster.on_change.clear()
    if why == "suspended":
        world.change_instance(suspend=True)
    else:
        raw = world.instance()
        spec, status = dict(raw["spec"]), dict(raw["status"])
        world.cluster.create(OpenScaleInstance.KIND, "aaa", "first", spec, status)
    world.start()
    world.wait(5.0)
    assert held(world)
    world.remove_mart("b")
    world.wait(ON_ITS_WAY_SECONDS + 1)
    assert mart(world) is None
    assert world.secret("b")


# What it costs, and what it says -----------------------------------------------------------------------------------


def test_what_it_costs(world: World) -> None:
    """N hand-overs: 2N statuses, 2N changes of finalizers, N deletes; settled ones cost nothing."""
    begun(world)
    world.settle()
    before = world.cluster.writes
    for number in range(10):
        world.give(f"m{number}", handover=True)
        world.create_mart(f"m{number}")
    world.wait(3.0)
    assert not any(world.secret(f"m{number}") for number in range(10))
    assert world.cluster.writes - before <= 5 * 10 + 4


def test_a_delete_that_is_forbidden_costs_nothing_while_it_waits(world: World) -> None:
    """It is held once, says why, and is tried again ever more rarely."""
    operator = begun(world)
    operator.process.forbidden = {"delete Secret": Unavailable(Reason.SECRET_FORBIDDEN, "no right")}
    world.wait(60.0)
    assert told(world)[:2] == ("False", "SecretForbidden")
    before = world.cluster.writes
    world.wait(3_600.0)
    assert world.cluster.writes == before
    at_rest(world)


def test_an_object_that_cannot_be_held_stops_no_other(world: World) -> None:
    """The API server refuses one of them: it says so, keeps its source, and the others go on."""
    operator = begun(world)
    operator.process.forbidden = {HOLD: Unavailable(Reason.CLUSTER_UNAVAILABLE, "the API server answers 403")}
    world.give("c", handover=True)
    world.create_mart("c")
    world.wait(5.0)
    assert told(world, "c")[:2] == ("True", "Sealed")
    assert told(world)[:2] == ("False", "ClusterUnavailable")
    assert world.secret("b")
    at_rest(world)


def test_a_second_reader_while_the_delete_is_on_its_way_is_told_what_became_of_it(world: World) -> None:
    """Its Secret is not "not there yet": it says by whom it was consumed."""
    operator = begun(world)
    until(world, operator, DELETE)
    raw = world.mart("b")
    world.cluster.create(DataMart.KIND, NAMESPACE, "late", raw["spec"])
    world.wait(5.0)
    status, reason, message = told(world, "late")
    assert (status, reason) == ("False", "SecretNotFound")
    assert "handed over to DataMart b" in message


def test_a_second_reader_before_the_delete_keeps_the_source(world: World) -> None:
    """One that comes while the object is being held is sealed first."""
    operator = begun(world)
    until(world, operator, HOLD)
    raw = world.mart("b")
    world.checks.given("late", operator and _password(world), "db.example.com")
    world.cluster.create(DataMart.KIND, NAMESPACE, "late", raw["spec"])
    operator.deliver_heard()
    world.settle()
    assert told(world, "late")[:2] == ("True", "Sealed")
    assert not world.secret("b")


def test_a_changed_endpoint_while_the_delete_is_on_its_way_is_named(world: World) -> None:
    """The password goes nowhere else: that is what it says, and that its Secret was consumed."""
    operator = begun(world)
    until(world, operator, DELETE)
    world.move_mart("b", "elsewhere.example.com")
    world.wait(20.0)
    assert told(world)[:2] == ("False", "EndpointChanged")
    assert told(world, type_="SourceRemoved")[:2] == ("True", "HandedOver")
    assert not held(world)


def test_one_that_names_no_instance_keeps_no_source(world: World) -> None:
    """A neighbour's data mart of an instance that does not exist is no reader; one that exists is."""
    world.create_instance()
    world.give("b", handover=True)
    world.create_mart("b")
    spec = world.mart("b")["spec"] | {"instanceRef": {"name": "nowhere"}}
    world.cluster.create(DataMart.KIND, NAMESPACE, "stray", spec)
    operator = world.start()
    operator.hears = lambda event: event.raw["metadata"]["name"] == "stray"
    world.run()
    operator.hears = lambda _: True
    world.wait(30.0)
    assert told(world)[:2] == ("True", "Sealed")
    assert not world.secret("b")


def test_an_instance_that_was_not_read_yet_may_have_readers(world: World) -> None:
    """After a start: nothing is consumed before it is known who else in the namespace reads it."""
    world.create_instance()
    other = {"serviceInstanceId": "0a1b2c3d-0000-4000-8000-000000000002", "dataKeyRevision": 0}
    world.cluster.create(OpenScaleInstance.KIND, NAMESPACE, "two", other)
    world.give("b", handover=True)
    world.create_mart("b")
    spec = world.mart("b")["spec"] | {"instanceRef": {"name": "two"}}
    world.checks.given("late", _password(world), "db.example.com")
    world.cluster.create(DataMart.KIND, NAMESPACE, "late", spec)
    operator = world.start()
    operator.hears = lambda event: _instance_of(event.raw) == INSTANCE
    world.run()
    assert told(world)[:2] == ("True", "Sealed")
    assert "OpenScaleInstance two was read" in told(world, type_="SourceRemoved")[2]
    operator.hears = lambda _: True
    world.wait(120.0)
    assert told(world, "late")[:2] == ("True", "Sealed")
    assert not world.secret("b")


def _instance_of(raw: dict) -> str:
    return raw["spec"].get("instanceRef", raw["metadata"])["name"]


def _password(world: World) -> bytes:
    return world.cluster.secrets[NAMESPACE, "pw-b"].values["password"]
