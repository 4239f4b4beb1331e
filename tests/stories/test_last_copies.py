"""A data mart that is deleted with the only copy of its password leaves a trace; any other leaves none."""

import pytest

from openscale_byok.core.audit import Action
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason
from sim.operator import Operator
from sim.world import CRNS, NAMESPACE, World

TOLD = ("openscale", Reason.ONLY_COPY_DELETED.value)


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def sealed(world: World, *names: str, handover: bool = True) -> Operator:
    """Data marts, sealed under root key A."""
    world.create_instance()
    world.bind("x", "A")
    for name in names:
        world.give(name, handover=handover)
        world.create_mart(name)
    operator = world.start()
    world.settle()
    return operator


def lines(operator: Operator) -> list[tuple[str, str]]:
    """Name and outcome of each line about a deleted only copy."""
    return [(e.name, e.outcome) for e in operator.audited if e.action is Action.ONLY_COPY_DELETED]


def test_the_only_copy_does_not_go_silently(world):
    """One audit line, with its keys and without a name for who did it; one event on the instance."""
    operator = sealed(world, "a", "b")
    world.delete_mart("a")
    world.settle()
    assert lines(operator) == [("a", "success")]
    (event,) = (e for e in operator.audited if e.action is Action.ONLY_COPY_DELETED)
    assert (event.who, event.kind, event.namespace) == ("unknown", "DataMart", NAMESPACE)
    assert (event.belongs_to, event.reason) == ("OpenScaleInstance/openscale", "OnlyCopyDeleted")
    assert event.root_key == CRNS["A"]
    assert world.cluster.announced.count(TOLD) == 1


def test_a_copy_in_a_secret_is_another_one(world):
    """Where the source is kept, the password is not lost: nothing is said."""
    operator = sealed(world, "a", handover=False)
    world.delete_mart("a")
    world.settle()
    assert lines(operator) == []
    assert TOLD not in world.cluster.announced


def test_it_is_told_where_only_a_list_shows_it(world):
    """The watch lost the deletion, and everything is listed anew: what was there before and is not now is told once."""
    operator = sealed(world, "a")
    operator.hears = lambda _: False
    world.delete_mart("a")
    world.wait(1_200.0)
    assert lines(operator) == [("a", "success")]
    world.wait(1_200.0)
    assert len(lines(operator)) == 1


def test_what_cannot_be_written_stops_nothing(world):
    """It has happened by then: the log says that it was not audited, the event is posted, and the others go on."""
    operator = sealed(world, "a")
    operator.process.forbidden = {"audit": Unavailable(Reason.AUDIT_UNAVAILABLE, "no space")}
    world.delete_mart("a")
    world.settle()
    assert lines(operator) == []
    assert world.cluster.announced.count(TOLD) == 1
