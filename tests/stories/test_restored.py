"""etcd is put back to an earlier state under an operator that is at rest: it ends, and the next one finds its way."""

import copy
from collections.abc import Iterator
from functools import partial

import pytest

from openscale_byok.resources import DataMart
from sim.expect import expect_settled
from sim.operator import Operator
from sim.world import CRNS, INSTANCE, NAMESPACE, World

BUMP = 1_000_000_000
RELIST_SECONDS = 700.0
"""Longer than the interval at which everything is listed anew."""


@pytest.fixture
def world() -> Iterator[World]:
    """One instance under root key A, with a password that was handed over; everything is at rest."""
    made = World()
    made.create_instance()
    made.bind("x", "A")
    made.give("a", handover=True)
    made.create_mart("a")
    made.start()
    made.settle()
    yield made
    made.close()


def move_on(world: World) -> None:
    """Everything moves to root key B, and comes to rest; the first binding is gone."""
    world.bind("y", "B")
    world.unbind("x")
    world.settle()
    assert world.binding("x") is None


def lists_anew(world: World, operator: Operator) -> None:
    """What kopf does when the API server says that the version of its watch is gone."""
    engine = operator.engine
    assert engine is not None
    with operator.process.running():
        for (kind, _, _), raw in sorted(world.cluster.objects.items()):
            world.loop.call_soon(partial(engine.see, kind, copy.deepcopy(raw), gone=False, listed=True))


@pytest.mark.parametrize("after", ["went back", "overtaken", "bumped"])
def test_an_operator_at_rest_ends_and_the_next_one_settles(world: World, after: str) -> None:
    """However the version stands: behind what was seen, beyond it by a little, or beyond it by far (`--bump-revision`).

    The first is seen at the next look, the last as soon as the watches list anew, the other at the next list.
    """
    put_back = world.snapshot()
    move_on(world)
    (operator,) = world.living()
    before = world.cluster.version
    put_back()
    assert world.cluster.version < before
    seconds = world.tuning.lookout_seconds
    if after == "overtaken":
        world.cluster.version, seconds = before + 3, RELIST_SECONDS
    elif after == "bumped":
        world.cluster.version, seconds = before + BUMP, 0.0
        lists_anew(world, operator)
    writes = world.cluster.writes
    world.wait(seconds)
    assert not operator.alive, "it goes on with the memory of what is no more"
    assert world.cluster.writes == writes, "it wrote by the memory of what is no more"
    world.start()
    expect_settled(world)
    assert world.binding("x") is not None
    move_on(world)
    expect_settled(world)


def test_what_a_list_shows_that_our_own_write_overtook_ends_nothing(world: World) -> None:
    """A watch that lists anew may show an object as it was before our own last write: it is read again, that is all."""
    (operator,) = world.living()
    old = copy.deepcopy(world.cluster.objects)
    world.give("a", handover=True)
    world.revise_mart("a")
    world.run()
    assert operator.engine is not None
    with operator.process.running():
        for (kind, _, _), raw in sorted(old.items()):
            world.loop.call_soon(partial(operator.engine.see, kind, raw, gone=False, listed=True))
    world.wait(1.0)
    assert operator.alive
    expect_settled(world)
    assert operator.alive
    assert DataMart.of(world.mart("a")).status.sealed_password is not None


def told(world: World, name: str) -> tuple[str, str, str]:
    """Status, reason and message of a data mart's Ready."""
    found = next(c for c in world.mart(name)["status"]["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


def an_older_instance(world: World) -> Operator:
    """Put the instance back alone, to before root key B; root key A is bound, B is not."""
    at = ("OpenScaleInstance", NAMESPACE, INSTANCE)
    older = copy.deepcopy(world.cluster.objects[at])
    binding = copy.deepcopy(world.binding("x"))
    assert binding is not None
    move_on(world)
    world.living()[0].crash()
    for raw in (older, binding):
        raw["metadata"]["uid"] += "-again"
        kind, name = raw["kind"], raw["metadata"]["name"]
        world.cluster.objects.pop((kind, NAMESPACE, name), None)
        world.cluster._store((kind, NAMESPACE, name), raw)
    del world.cluster.objects["RootKeyBinding", NAMESPACE, "y"]
    world.checks.strict = False
    return world.start()


def test_an_unknown_data_key_opens_once_its_root_key_is_bound(world: World) -> None:
    """It says which root key is not bound; a binding for it is all that is needed, and nobody starts anything anew."""
    world.cluster.on_change.clear()
    operator = an_older_instance(world)
    world.wait(RELIST_SECONDS)
    status, reason, message = told(world, "a")
    assert (status, reason) == ("False", "UnknownDataKey")
    assert f"names root key {CRNS['B']}: create one" in message
    world.bind("y", "B")
    world.wait(1.0)
    assert told(world, "a")[:2] == ("True", "Sealed")
    assert operator.alive
    expect_settled(world)


def test_an_unknown_data_key_is_opened_once_key_protect_answers(world: World) -> None:
    """While its root key cannot be reached it is tried ever more rarely, and comes to rest meanwhile; then it opens."""
    world.cluster.on_change.clear()
    an_older_instance(world)
    world.root_key("B").away = True
    world.bind("y", "B")
    before = world.mart("a")["status"]["sealedPassword"]
    world.wait(RELIST_SECONDS)
    assert world.mart("a")["status"]["sealedPassword"] == before
    world.heal()
    world.wait(RELIST_SECONDS)
    assert told(world, "a")[:2] == ("True", "Sealed")
    expect_settled(world)
