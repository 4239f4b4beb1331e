"""A writer that falls asleep at any call, and what others do meanwhile; then it goes on with what it knew.

Every scene is run for each call that it makes: the operator sleeps before that call, or after it and before its
answer; another one starts, works, meets a user; the first one wakes and hears of it, of a part of it, or of
nothing. What must hold holds after every change, and in the end everything comes to rest.

By default a twelfth of all combinations, always the same ones; all of them (minutes) with OPENSCALE_STORIES=1.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from zlib import crc32

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance
from sim.expect import expect_settled
from sim.operator import Operator
from sim.world import World

MORE = "OPENSCALE_STORIES" in os.environ
SHARE = 12
Act = Callable[[World], None]


@dataclass(frozen=True)
class Scene:
    """What is there at first, and what begins to happen when the operator has come to rest."""

    before: Act
    begins: Act


def _one(world: World, *, handover: bool = True, **spec: str) -> None:
    world.create_instance(**spec)
    world.give("a", handover=handover)
    world.create_mart("a")


def _bound(world: World, **spec: str) -> None:
    _one(world, **spec)
    world.bind("x", "A")


def _late(world: World, *, handover: bool) -> None:
    world.give("b", handover=handover)
    world.create_mart("b")


def _switch(world: World) -> None:
    world.bind("y", "B")
    world.unbind("x")


def _forbidden_twins(world: World) -> None:
    _bound(world, globalKeyPolicy="Forbid")
    world.bind("x2", "A")


def _revise(world: World) -> None:
    revision = world.instance()["spec"]["dataKeyRevision"]
    world.change_instance(dataKeyRevision=revision + 1)


SCENES = {
    "a hand-over is sealed": Scene(_bound, lambda w: _late(w, handover=True)),
    "a kept source is sealed": Scene(_bound, lambda w: _late(w, handover=False)),
    "everything at once": Scene(lambda _: None, _bound),
    "a first binding": Scene(_one, lambda w: w.bind("x", "A")),
    "another root key": Scene(_bound, _switch),
    "no root key any more": Scene(_bound, lambda w: w.unbind("x")),
    "a new data key": Scene(_bound, _revise),
    "a rotation": Scene(_bound, lambda w: w.root_key("A").rotate()),
    "a new password": Scene(_bound, lambda w: (w.give("a", handover=True), w.revise_mart("a"))),
    "two of one root key go": Scene(_forbidden_twins, lambda w: (w.unbind("x"), w.unbind("x2"))),
}


def _second(world: World) -> Operator:
    second = world.start()
    world.wait(3.0, second)
    return second


def _nothing(world: World) -> None:
    _second(world)


def _another_data_key(world: World) -> None:
    _revise(world)
    _second(world)


def _worked_then_another(world: World) -> None:
    """All is done already, and then it begins anew; only the sleeper is left to do that."""
    _second(world).crash()
    _revise(world)


def _blind(world: World) -> None:
    """Another data key, by an operator that may not read Secrets."""
    _revise(world)
    second = world.start()
    second.process.forbidden = {"read Secret pw-": Unavailable(Reason.SECRET_FORBIDDEN, "no right")}
    world.wait(3.0, second)
    second.process.forbidden = {}


def _new_password(world: World) -> None:
    for mart in ("a", "b"):
        if world.cluster.find(DataMart.KIND, "prod", mart):
            world.give(mart, handover=True)
    _second(world)


def _password_by_the_second(world: World) -> None:
    """A new password, sealed and handed over, while the sleeper still holds the former one."""
    for mart in ("a", "b"):
        if world.cluster.find(DataMart.KIND, "prod", mart):
            world.give(mart, handover=True)
            world.revise_mart(mart)
    second = _second(world)
    _revise(world)
    world.wait(3.0, second)


def _unbind(world: World) -> None:
    for name in ("x", "y"):
        if world.binding(name):
            world.unbind(name)
    _second(world)


def _bind_again(world: World) -> None:
    """The binding goes, and one of its name comes that nobody holds yet."""
    second = _second(world)
    if world.binding("x"):
        world.unbind("x")
    world.wait(3.0, second)
    second.crash()
    if world.binding("x") is None:
        world.bind("x", "A")


def _stuck(world: World) -> None:
    """The former root key refuses, and another data key comes: what cannot be opened is marked."""
    world.root_key("A").state = KeyState.SUSPENDED
    if world.binding("y") is None:
        world.bind("y", "B")
    if world.binding("x"):
        world.unbind("x")
    second = _second(world)
    world.wait(3.0, second)
    _revise(world)
    world.wait(70.0, second)


def _rotate(world: World) -> None:
    world.root_key("A").rotate()
    _revise(world)
    _second(world)


MEANWHILE: dict[str, Act] = {
    "another works": _nothing,
    "another data key": _another_data_key,
    "done, then another data key": _worked_then_another,
    "another data key, blind": _blind,
    "new passwords": _new_password,
    "new passwords, sealed, another data key": _password_by_the_second,
    "unbound": _unbind,
    "bound again": _bind_again,
    "stuck": _stuck,
    "rotated": _rotate,
}

HEARS = {
    "everything": lambda _: True,
    "nothing": lambda _: False,
    "only of the instance": lambda event: event.kind == OpenScaleInstance.KIND,
    "only of data marts": lambda event: event.kind == DataMart.KIND,
}


@cache
def _calls(scene: str) -> int:
    """How many calls a scene makes until it rests."""
    world = World()
    try:
        first = _begun(world, scene)
        return next(calls for calls in range(1, 200) if _go(world, first, 1, half=False) is None)
    finally:
        world.close()


def _begun(world: World, scene: str) -> Operator:
    SCENES[scene].before(world)
    first = world.start()
    world.wait(3.0, first)
    SCENES[scene].begins(world)
    return first


def _go(world: World, first: Operator, calls: int, *, half: bool) -> str | None:
    """So many calls; the name of the one that it sleeps at, or None where there are no more."""
    for _ in range(200):
        first.deliver_heard()
        world.loop.run_ready()
        if not first.process.pending:
            timer = world.loop.next_timer()
            if timer is None or timer > 63.0:
                return None  # at rest, but for polls
            world.loop.jump(timer)
            continue
        if calls == 0:
            return first.process.half().name if half else first.process.pending[0].name
        first.process.whole()
        world.loop.run_ready()
        calls -= 1
    raise AssertionError("the scene never ends")


def _chosen(*what: object) -> bool:
    """Whether this is one of those that are run by default: always the same ones, spread over all."""
    return MORE or crc32(repr(what).encode()) % SHARE == 0


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("scene", SCENES)
def test_a_sleeper_loses_nothing(scene: str, meanwhile: str) -> None:
    """A writer that wakes with an old view overwrites, deletes and frees nothing that is needed."""
    for calls, half, hears in product(range(_calls(scene)), (False, True), HEARS):
        if _chosen(scene, meanwhile, calls, half, hears):
            _sleep(scene, meanwhile, calls, half=half, hears=hears)


def _sleep(scene: str, meanwhile: str, calls: int, *, half: bool, hears: str) -> None:
    world = World()
    where: str | None = ""
    try:
        first = _begun(world, scene)
        where = _go(world, first, calls, half=half)
        MEANWHILE[meanwhile](world)
        first.hears = HEARS[hears]
        world.wait(5.0, first)
        world.settle()
        world.heal()
        world.settle()
        expect_settled(world)
    except BaseException as error:
        error.add_note(f"asleep {'after' if half else 'before'} call {calls}, {where}; then hears {hears}")
        raise
    finally:
        world.close()
