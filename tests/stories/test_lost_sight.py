"""Key Protect hangs or is away: what it keeps waiting, and what of its former answers may still be used."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.resources import DataMart, OpenScaleInstance, RootKeyBinding
from sim.operator import Operator
from sim.world import CRNS, INSTANCE, NAMESPACE, World

HANGING = 5


@pytest.fixture
def world() -> Iterator[World]:
    """A world; ended by the story itself."""
    made = World()
    made.cluster.on_change.clear()  # these stories ask questions of their own
    yield made
    made.close()


def told(raw: dict, type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition."""
    found = next((c for c in raw.get("status", {}).get("conditions", ()) if c["type"] == type_), None)
    return (found["status"], found["reason"]) if found else ("", "")


def run_but(world: World, operator: Operator, hanging: str) -> None:
    """Let everything be answered but the calls of one name."""
    for _ in range(2_000):
        operator.deliver_heard()
        world.loop.run_ready()
        answerable = [n for n, call in enumerate(operator.process.pending) if not call.name.endswith(hanging)]
        if not answerable:
            return
        operator.process.whole(answerable[0])
    raise AssertionError("does not come to rest")


def test_a_region_that_hangs_keeps_nobody_else_waiting(world: World) -> None:
    """More instances wait for a root key than may be worked on at once: another one is served all the same."""
    world.tuning = replace(world.tuning, instances_at_once=2)
    credentials = {"apiKeySecretRef": {"name": "api-key", "key": "apikey"}}
    operator = world.start()
    for number in range(HANGING):
        name = f"hanging-{number}"
        spec = {"serviceInstanceId": f"0a1b2c3d-0000-4000-8000-10000000000{number}", "dataKeyRevision": 0}
        world.cluster.create(OpenScaleInstance.KIND, NAMESPACE, name, spec)
        bound = {"instanceRef": {"name": name}, "rootKey": {"crn": CRNS["A"]}, "credentials": credentials}
        world.cluster.create(RootKeyBinding.KIND, NAMESPACE, name, bound)
    world.run(operator)
    for number in range(HANGING):
        change = {"dataKeyRevision": 1}
        world.cluster.change_spec(OpenScaleInstance.KIND, NAMESPACE, f"hanging-{number}", change)
    run_but(world, operator, CRNS["A"])
    assert sum(call.name.startswith("kms.wrap") for call in operator.process.pending) == HANGING
    world.create_instance()
    world.give("a", handover=True)
    world.create_mart("a")
    run_but(world, operator, CRNS["A"])
    assert told(world.mart("a")) == ("True", "Sealed")


@pytest.mark.parametrize("whose", ["binding", "instance"])
def test_other_credentials_use_nothing_that_the_former_ones_unwrapped(world: World, whose: str) -> None:
    """Changed while Key Protect is away: whether these may unwrap is not known, so nothing is sealed or opened."""
    world.create_instance(credentials={"apiKeySecretRef": {"name": "api-key", "key": "apikey"}})
    world.cluster.create(
        RootKeyBinding.KIND,
        NAMESPACE,
        "x",
        {"instanceRef": {"name": INSTANCE}, "rootKey": {"crn": CRNS["A"]}},
    )
    world.give("a", handover=True)
    world.create_mart("a")
    world.start()
    world.settle()
    world.root_key("A").away = True
    world.wait(250)
    world.give("b", handover=True)
    world.create_mart("b")
    world.wait(5)
    assert told(world.mart("b")) == ("True", "Sealed"), "what was unwrapped serves on"
    other = {"credentials": {"apiKeySecretRef": {"name": "another", "key": "apikey"}}}
    kind, name = (RootKeyBinding.KIND, "x") if whose == "binding" else (OpenScaleInstance.KIND, INSTANCE)
    world.cluster.change_spec(kind, NAMESPACE, name, other)
    world.give("c", handover=True)
    world.create_mart("c")
    world.wait(300)
    assert told(world.mart("c"))[0] == "False"
    assert (NAMESPACE, "pw-c") in world.cluster.secrets
    world.root_key("A").away = False
    world.wait(300)
    assert told(world.cluster.get(DataMart.KIND, NAMESPACE, "c")) == ("True", "Sealed")


@pytest.mark.parametrize("marts", [0, 1])
@pytest.mark.parametrize("state", ["Active", "Suspended", "refused", "away"])
def test_a_restart_says_nothing_again(world: World, state: str, marts: int) -> None:
    """What the statuses say of a root key stays until the new process has looked at it for itself."""
    world.create_instance()
    world.bind("x", "A")
    if marts:
        world.give("a", handover=True)
        world.create_mart("a")
    first = world.start()
    world.settle()
    key = world.root_key("A")
    key.refused, key.away = state == "refused", state == "away"
    key.state = KeyState.SUSPENDED if state == "Suspended" else KeyState.ACTIVE
    world.settle()
    first.crash()
    before = world.cluster.writes
    world.start()
    world.settle()
    assert world.cluster.writes == before, world.binding("x")["status"]
