"""The audit on the real engine: what must be audited does not happen before its line is written, nor is it spun on."""

from collections import Counter

import pytest

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataMart, OpenScaleInstance, RootKeyBinding
from sim.expect import expect_settled
from sim.operator import Operator
from sim.world import CRNS, NAMESPACE, World

FULL = {"audit": Unavailable(Reason.AUDIT_UNAVAILABLE, "the audit cannot be written: no space")}


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def reason(world: World, kind: str, name: str) -> str:
    """The reason of an object's condition `Ready`."""
    raw = world.cluster.get(kind, NAMESPACE, name)
    return next(c["reason"] for c in raw["status"]["conditions"] if c["type"] == "Ready")


def source(world: World) -> bool:
    """Whether the hand-over source is still there."""
    return (NAMESPACE, "pw-a") in world.cluster.secrets


def started(world: World, **spec) -> Operator:
    """Data mart `a` with a hand-over source, to be sealed under root key A."""
    world.create_instance(**spec)
    world.bind("x", "A")
    world.give("a", handover=True)
    world.create_mart("a")
    return world.start()


def lines(operator: Operator, action: Action) -> list[AuditEvent]:
    """What one kind of lines says, in order."""
    return [event for event in operator.audited if event.action is action]


def settled(operator: Operator) -> None:
    """Every pending line is followed by what came of it."""
    pending = Counter((e.action, e.namespace, e.name) for e in operator.audited if e.outcome == "pending")
    done = Counter((e.action, e.namespace, e.name) for e in operator.audited if e.outcome != "pending")
    assert pending == done


def test_a_source_is_not_deleted_before_its_line_is_written(world):
    """The password is sealed, its Secret stays, the data mart says why, and nobody spins."""
    operator = started(world)
    refuse_after_mint(world, operator)
    assert source(world)
    assert reason(world, DataMart.KIND, "a") == "AuditUnavailable"
    assert not lines(operator, Action.SOURCE_CONSUMED)
    calls = operator.process.asked
    writes = world.cluster.writes
    world.wait(1_200.0)
    assert operator.process.asked - calls < 200
    assert world.cluster.writes - writes < 10
    operator.process.forbidden = {}
    world.wait(120.0)
    assert not source(world)
    pending, done = lines(operator, Action.SOURCE_CONSUMED)
    assert (pending.outcome, done.outcome) == ("pending", "success")
    assert (done.kind, done.namespace, done.name, done.belongs_to) == ("Secret", NAMESPACE, "pw-a", "DataMart/a")
    assert done.root_key == CRNS["A"]
    expect_settled(world)
    settled(operator)


def refuse_after_mint(world: World, operator: Operator) -> None:
    """The disk is full from the moment on that the data key is recorded."""
    for _ in range(300):
        if lines(operator, Action.ROOT_KEY_CHANGED)[1:]:
            break
        operator.deliver_heard()
        world.loop.run_ready()
        if operator.process.pending:
            operator.process.whole()
        world.loop.run_ready()
    assert lines(operator, Action.ROOT_KEY_CHANGED)[1:]
    operator.process.forbidden = dict(FULL)
    world.wait(60.0)


@pytest.mark.parametrize("half", [False, True], ids=["before the deletion", "after it"])
def test_a_crash_between_line_and_deletion_leaves_a_pending_line(world, half):
    """The line says that it was about to be done; the next start does it, or finds it done: see the data mart."""
    first = started(world)
    for _ in range(200):
        first.deliver_heard()
        world.loop.run_ready()
        if any(call.name == "delete Secret pw-a" for call in first.process.pending):
            break
        first.process.whole() if first.process.pending else world.loop.jump(world.loop.next_timer())
    (pending,) = lines(first, Action.SOURCE_CONSUMED)
    assert pending.outcome == "pending"
    if half:
        first.process.half()
    first.crash()
    assert source(world) != half
    second = world.start()
    world.settle()
    expect_settled(world)
    assert [e.outcome for e in lines(second, Action.SOURCE_CONSUMED)] == ([] if half else ["pending", "success"])
    removed = next(c for c in world.mart("a")["status"]["conditions"] if c["type"] == "SourceRemoved")
    assert (removed["status"], removed["reason"]) == ("True", "HandedOver")


def test_no_root_key_comes_into_force_unwritten(world):
    """Without its line no data key is recorded; the instance says why; afterwards old and new are on record."""
    world.create_instance()
    world.give("a", handover=True)
    world.create_mart("a")
    operator = world.start()
    world.wait(60.0)
    operator.process.forbidden = dict(FULL)
    world.bind("x", "A")
    world.wait(600.0)
    assert OpenScaleInstance.of(world.instance()).properties.active.root_key == GLOBAL
    assert reason(world, OpenScaleInstance.KIND, "openscale") == "AuditUnavailable"
    operator.process.forbidden = {}
    world.settle()
    expect_settled(world)
    done = [event.root_key for event in lines(operator, Action.ROOT_KEY_CHANGED) if event.outcome == "success"]
    assert done == [GLOBAL, CRNS["A"]]


def test_no_binding_is_released_unwritten(world):
    """It keeps its finalizer, and says why; with the disk's space back it goes."""
    operator = started(world)
    world.wait(60.0)
    world.bind("y", "B")
    world.unbind("x")
    for _ in range(300):
        if lines(operator, Action.ROOT_KEY_CHANGED)[3:]:
            break
        operator.deliver_heard()
        world.loop.run_ready()
        operator.process.whole() if operator.process.pending else world.loop.jump(world.loop.next_timer())
        world.loop.run_ready()
    operator.process.forbidden = dict(FULL)
    writes = world.cluster.writes
    world.wait(600.0)
    assert reason(world, RootKeyBinding.KIND, "x") == "AuditUnavailable"
    assert world.cluster.writes - writes < 20
    operator.process.forbidden = {}
    world.settle()
    assert world.binding("x") is None
    expect_settled(world)
    done = lines(operator, Action.BINDING_RELEASED)[-1]
    assert (done.outcome, done.name, done.reason, done.root_key) == ("success", "x", "Released", CRNS["A"])
    settled(operator)


def test_nothing_is_shredded_unwritten(world):
    """Envelopes and wrapped data keys stay; the instance says why; afterwards each destroyed thing is on record."""
    operator = started(world, deletion={"policy": "Shred", "retentionDays": 0})
    world.wait(60.0)
    operator.process.forbidden = dict(FULL)
    world.delete_instance()
    world.unbind("x")
    world.wait(600.0)
    assert "sealedPassword" in world.mart("a")["status"]
    assert OpenScaleInstance.of(world.instance()).properties.data_keys
    assert reason(world, OpenScaleInstance.KIND, "openscale") == "AuditUnavailable"
    world.checks.newest.clear()
    operator.process.forbidden = {}
    world.settle()
    assert world.cluster.find(OpenScaleInstance.KIND, NAMESPACE, "openscale") is None
    done = [(e.kind, e.name) for e in lines(operator, Action.SHREDDED) if e.outcome == "success"]
    assert done == [("DataMart", "a"), ("OpenScaleInstance", "openscale")]
    assert ("openscale", "Shredded") in world.cluster.announced
    settled(operator)
