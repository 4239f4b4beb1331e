"""A list that fails while somebody makes events: it is tried again ever more rarely, and soon once it is mended."""

from collections.abc import Iterator

import pytest

from openscale_byok.engine.scope import LIST_RETRY_SECONDS
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart
from sim.world import NAMESPACE, World

FAILURES = {
    "no answer": Unavailable(Reason.CLUSTER_UNAVAILABLE, "no answer"),
    "an object of another shape": Refused(Reason.INVALID_OBJECT, "DataMart b: spec.database: must be an object"),
}
EVENTS = 1_000


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each story."""
    made = World()
    yield made
    made.close()


@pytest.mark.parametrize("program", ["operator", "gateway"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_events_do_not_make_it_list_as_often(world: World, failure: ByokError, program: str) -> None:
    """A thousand events in a hundred seconds cost some twenty lists; and what is mended is read without another one."""
    world.create_instance()
    world.give("a", handover=False)
    world.create_mart("a")
    operator = world.start()
    world.wait(5.0)
    running = operator if program == "operator" else world.start_gateway()
    running.process.forbidden["list bindings"] = failure
    if program == "operator":
        operator.engine.world.doubt((NAMESPACE, "openscale"))
    before = running.process.asked
    for number in range(EVENTS):
        mart = world.mart("a")
        mart["metadata"]["labels"] = {"noise": str(number)}
        world.cluster._store((DataMart.KIND, NAMESPACE, "a"), mart)
        world.wait(100.0 / EVENTS, running)
    tries = 100.0 / LIST_RETRY_SECONDS
    # Each try reads the instance, then asks for the list; besides there are looks at the root key.
    assert running.process.asked - before < 4 * tries
    del running.process.forbidden["list bindings"]
    world.wait(LIST_RETRY_SECONDS + 1.0, running)
    engine = operator.engine if program == "operator" else running.reader
    assert engine.world.scope((NAMESPACE, "openscale")).read
