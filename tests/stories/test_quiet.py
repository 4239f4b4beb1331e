"""Whatever cannot go on waits: in an hour of any such state, how often does the operator call whom?"""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.engine.scope import LAST_RETRY_SECONDS
from sim.operator import Operator
from sim.world import World

HOUR = 3_600.0
TRIES = int(HOUR / (0.75 * LAST_RETRY_SECONDS)) + 2
"""What is tried ever more rarely, at most: once a minute, spread by a quarter."""
LISTS = 8
"""Everything is read anew every ten minutes, spread by a tenth."""


@pytest.fixture
def world() -> Iterator[World]:
    """A world that is left as it is."""
    made = World()
    yield made
    made.close()


def disabled(world: World) -> None:
    world.root_key("A").state = KeyState.SUSPENDED


def destroyed(world: World) -> None:
    world.root_key("A").state = KeyState.DESTROYED


def away(world: World) -> None:
    world.root_key("A").away = True


def refused(world: World) -> None:
    world.root_key("A").refused = True


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "started anew"])
@pytest.mark.parametrize("policy", ["Allow", "Forbid"])
@pytest.mark.parametrize("leaves", [False, True], ids=["bound", "deleted"])
@pytest.mark.parametrize("take", [disabled, destroyed, away, refused])
def test_an_hour_of_waiting(
    world: World, take: Callable[[World], None], leaves: bool, policy: str, restarted: bool
) -> None:
    """No write, no list but those that are due, and nothing asked of anybody more often than about once a minute."""
    world.create_instance(globalKeyPolicy=policy)
    world.bind("a", "A")
    for name, handover in (("kept", False), ("handed", True)):
        world.give(name, handover=handover)
        world.create_mart(name)
    operator = world.start()
    world.wait(30.0)
    take(world)
    world.wait(2 * world.tuning.key_poll_seconds)
    if restarted:
        operator.crash()
        operator = world.start()
    if leaves:
        world.unbind("a")
    world.wait(HOUR)
    calls, before = counted(operator), world.cluster.writes
    world.wait(HOUR)
    assert world.cluster.writes == before
    assert calls, "the root keys are looked at all along"
    assert max(calls[name] for name in ("get instance", "list bindings", "list datamarts")) <= LISTS, calls
    assert max(calls.values()) <= TRIES, calls


def counted(operator: Operator) -> Counter[str]:
    """The operator's calls from now on, by what they ask."""
    calls: Counter[str] = Counter()
    ask = operator.process.ask

    async def counting(name: str, effect: Callable[[], object]) -> object:
        calls[name] += 1
        return await ask(name, effect)

    operator.process.ask = counting  # type: ignore[method-assign] # one process of a simulation, not the code at test
    return calls
