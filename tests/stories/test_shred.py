"""`Shred` on the real engine: a crash at any call, an owner who changes their mind, and nothing before its time."""

from itertools import count

import pytest

from openscale_byok.resources import DataMart, OpenScaleInstance
from sim.operator import Operator
from sim.world import World

DAY = 86_400.0
MARTS = ("a", "b")


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def sealed(world: World, **deletion) -> Operator:
    """Two data marts, sealed under a root key, of an instance that is to be deleted like this."""
    world.create_instance(deletion=deletion)
    world.bind("x", "A")
    for name in MARTS:
        world.give(name, handover=True)
        world.create_mart(name)
    operator = world.start()
    world.wait(60.0)
    return operator


def deleted(world: World) -> None:
    """The owner's word; from here on the passwords need not open any more."""
    world.delete_instance()
    world.unbind("x")


def envelopes(world: World) -> list[str]:
    """The data marts that hold an envelope."""
    return [raw["metadata"]["name"] for raw in world.cluster.all(DataMart.KIND) if "sealedPassword" in raw["status"]]


def standing(world: World) -> str:
    """The instance's reason, or nothing once it is gone."""
    raw = world.cluster.find(OpenScaleInstance.KIND, "prod", "openscale")
    return "" if raw is None else next(c["reason"] for c in raw["status"]["conditions"] if c["type"] == "Ready")


def expect_destroyed(world: World) -> None:
    """Instance, binding and every envelope are gone, and it was said before the instance went."""
    assert standing(world) == ""
    assert world.binding("x") is None
    assert not envelopes(world)
    assert ("openscale", "Shredded") in world.cluster.announced
    for raw in world.cluster.all(DataMart.KIND):
        ready = next(c for c in raw["status"]["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "Shredded")


def test_a_crash_at_any_call_still_destroys_everything():
    """kill -9 before or after any call: the next start finishes; the event is never lost, and at rest nobody writes."""
    for number in count():
        for half in (False, True):
            world = World()
            try:
                first = sealed(world, policy="Shred", retentionDays=0)
                world.checks.newest.clear()
                deleted(world)
                if not _crash_at(world, first, number, half=half):
                    assert number > 8, "the scene was over before it began"
                    return
                world.start()
                world.settle()
                expect_destroyed(world)
            except BaseException as error:
                error.add_note(f"crashed {'after' if half else 'before'} call {number}")
                raise
            finally:
                world.close()


def _crash_at(world: World, first: Operator, number: int, *, half: bool) -> bool:
    for _ in range(200):
        first.deliver_heard()
        world.loop.run_ready()
        if first.process.pending:
            if number == 0:
                if half:
                    first.process.half()
                first.crash()
                return True
            first.process.whole()
            number -= 1
        elif standing(world) == "":
            return False
        else:
            world.loop.jump(world.loop.next_timer())
    raise AssertionError("the scene never ends")


def test_nothing_is_destroyed_before_its_time(world):
    """All through the retention everything opens and nobody writes; then it goes, with no event from outside."""
    sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(60.0)
    before = world.cluster.writes
    world.wait(DAY - 120.0)
    assert standing(world) == "Shredding"
    assert world.cluster.writes == before
    assert envelopes(world) == list(MARTS)
    world.checks.newest.clear()
    world.wait(300.0)
    expect_destroyed(world)


def test_its_owner_may_change_their_mind(world):
    """Set back to Block before the time has come, nothing is destroyed, however long it stays so."""
    sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(DAY - 100.0)
    world.change_instance(deletion={"policy": "Block", "retentionDays": None})
    world.wait(1_000.0)
    assert standing(world) == "DataMartsRemain"
    assert envelopes(world) == list(MARTS)
    assert world.binding("x") is not None


def test_a_mind_changed_at_the_last_moment_counts(world):
    """The instance is read once more before anything is destroyed: an event that has not arrived yet counts."""
    operator = sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(DAY - 5.0)
    operator.hears = lambda _: False
    world.change_instance(deletion={"policy": "Block", "retentionDays": None})
    world.wait(60.0)
    assert envelopes(world) == list(MARTS)


def test_suspend_holds_it(world):
    """`suspend` stops every write of ours, these above all; it goes on once that is over."""
    sealed(world, policy="Shred", retentionDays=0)
    world.change_instance(suspend=True)
    deleted(world)
    world.wait(1_000.0)
    assert standing(world) == "Suspended"
    assert envelopes(world) == list(MARTS)
    world.checks.newest.clear()
    world.change_instance(suspend=False)
    world.settle()
    expect_destroyed(world)


def left_alone(world: World, days: float) -> bool:
    """Whether everything is still there after so many days."""
    world.wait(days * DAY)
    return envelopes(world) == list(MARTS) and standing(world) in ("Shredding", "Suspended", "DataMartsRemain")


@pytest.mark.parametrize("restarted", [False, True], ids=["same-operator", "another-operator"])
def test_a_smaller_number_afterwards_skips_nothing(world, restarted):
    """Whoever lowers `retentionDays` of an instance that is being deleted changes nothing: it goes when it was said."""
    operator = sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(60.0)
    if restarted:
        operator.crash()
        world.start()
    world.change_instance(deletion={"policy": "Shred", "retentionDays": 0})
    assert left_alone(world, 0.9)
    world.checks.newest.clear()
    world.wait(0.11 * DAY)
    expect_destroyed(world)


def test_a_larger_number_moves_it_later_and_it_stays_there(world):
    """Raised to two days and lowered again: two days."""
    sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(60.0)
    world.change_instance(deletion={"policy": "Shred", "retentionDays": 2})
    world.wait(60.0)
    world.change_instance(deletion={"policy": "Shred", "retentionDays": 0})
    assert left_alone(world, 1.9)
    world.checks.newest.clear()
    world.wait(0.11 * DAY)
    expect_destroyed(world)


WAYS_ROUND = {
    "suspended": ({"suspend": True}, {"suspend": False}),
    "blocked": ({"deletion": {"policy": "Block"}}, {}),
    "not said": ({"deletion": None}, {}),
}


@pytest.mark.parametrize(("there", "back"), WAYS_ROUND.values(), ids=WAYS_ROUND)
def test_no_way_round_takes_the_retention_away(world, there, back):
    """Suspended, set to Block, or not said at all, and then `Shred` with nothing to wait for: not before its time."""
    sealed(world, policy="Shred", retentionDays=1)
    deleted(world)
    world.wait(60.0)
    world.change_instance(**there)
    world.wait(60.0)
    world.change_instance(deletion={"policy": "Shred", "retentionDays": 0}, **back)
    assert left_alone(world, 0.9)
    world.checks.newest.clear()
    world.wait(0.11 * DAY)
    expect_destroyed(world)


def test_shred_in_place_of_block_waits_for_as_long_as_it_says(world):
    """However long ago the instance was deleted: a retention that nobody was told of has not begun."""
    sealed(world, policy="Block")
    deleted(world)
    assert left_alone(world, 0.3)
    world.change_instance(deletion={"policy": "Shred", "retentionDays": 1})
    assert left_alone(world, 0.9)
    world.checks.newest.clear()
    world.wait(0.11 * DAY)
    expect_destroyed(world)


def test_with_no_data_mart_left_it_does_not_wait(world):
    """A retention without anything to open keeps nothing: a namespace being deleted does not hang for a month."""
    sealed(world, policy="Shred")
    deleted(world)
    for name in MARTS:
        world.delete_mart(name)
    world.settle()
    expect_destroyed(world)


def test_an_instance_that_comes_again_begins_anew(world):
    """The same name and id again: the passwords are given again, and sealed under a data key of its own."""
    sealed(world, policy="Shred", retentionDays=0)
    world.checks.newest.clear()
    deleted(world)
    world.settle()
    expect_destroyed(world)
    world.create_instance()
    for name in MARTS:
        world.give(name, handover=True)
    world.settle()
    assert envelopes(world) == list(MARTS)
    assert standing(world) == "Current"
