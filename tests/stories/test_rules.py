"""One story for each rule of the key protocol: the very order of calls that loses something without it.

`test_mutants.py` takes each rule out of the engine and sees its story fail.
"""

from collections.abc import Callable, Iterator

import pytest

from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import FINALIZER, DataMart
from sim.expect import expect_settled
from sim.gate import Call
from sim.operator import Operator
from sim.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A world that must come to rest with everything where it belongs."""
    made = World()
    yield made
    made.close()


def at_rest(world: World) -> None:
    """The faults are over: everything must come right."""
    world.heal()
    for operator in world.operators:
        operator.process.forbidden = {}
    world.settle()
    expect_settled(world)


def until(
    world: World, operator: Operator, name: str, when: Callable[[Call], bool] = lambda _: True, limit: int = 200
) -> None:
    """Let an operator go on until it is about to make this call, and no further."""
    for _ in range(limit):
        operator.deliver_heard()
        world.loop.run_ready()
        pending = operator.process.pending
        if any(call.name.startswith(name) and when(call) for call in pending):
            return
        if pending:
            operator.process.whole()
        else:
            timer = world.loop.next_timer()
            assert timer is not None, f"{operator.process.name} rests, and never makes the call {name}"
            world.loop.jump(timer)
        world.loop.run_ready()
    raise AssertionError(f"never comes to the call {name}")


def held(name: str, call: Call) -> bool:
    """Whether this is a call that writes this part of a status."""
    return name in call.effect.args[2]  # type: ignore[attr-defined] # every effect is a partial


def records(call: Call) -> bool:
    """Whether a call writes the list of data keys."""
    return held("properties", call) and "dataKeys" in call.effect.args[2]["properties"]  # type: ignore[attr-defined]


def deaf(operator: Operator) -> None:
    """It hears nothing from now on."""
    operator.hears = lambda _: False


def blind(operator: Operator) -> None:
    """It may not read the sources from now on."""
    operator.process.forbidden = {"read Secret pw-": Unavailable(Reason.SECRET_FORBIDDEN, "no right")}


def settled(world: World, *bindings: tuple[str, str], **spec: str) -> Operator:
    """Data mart `a`, sealed under these bindings; the operator that did it."""
    world.create_instance(**spec)
    world.give("a", handover=True)
    world.create_mart("a")
    for name, letter in bindings:
        world.bind(name, letter)
    first = world.start()
    world.wait(3.0)
    return first


def late(world: World) -> None:
    """Data mart `b` comes, with a hand-over source."""
    world.give("b", handover=True)
    world.create_mart("b")


def revise(world: World) -> None:
    """Ask for a new data key."""
    world.change_instance(dataKeyRevision=world.instance()["spec"]["dataKeyRevision"] + 1)


def test_the_check_after_the_seal(world: World) -> None:
    """A key that was retired while a first seal was under way: the source is not consumed for it."""
    first = settled(world, ("x", "A"))
    late(world)
    until(world, first, "patch status b", lambda call: held("sealedPassword", call))
    deaf(first)
    revise(world)
    second = world.start()
    blind(second)
    for _ in ("mint", "retire"):
        until(world, second, "patch status openscale", records)
        second.process.whole()
    second.crash()
    world.run(first)
    at_rest(world)


def test_the_check_is_for_active(world: World) -> None:
    """That a key is still recorded is not enough: who is about to remove it may have listed before the seal."""
    first = settled(world, ("x", "A"))
    late(world)
    until(world, first, "patch status b", lambda call: held("sealedPassword", call))
    deaf(first)
    revise(world)
    second = world.start()
    blind(second)
    until(world, second, "patch status openscale", records)  # mint
    second.process.whole()
    until(world, second, "patch status openscale", records)  # retire
    deaf(second)
    for _ in ("seal", "check", "hold", "consume"):
        first.process.whole()
        world.loop.run_ready()
    world.run(second)
    at_rest(world)


def test_the_precondition_of_the_delete(world: World) -> None:
    """A source that holds another password by now is not consumed for the former one."""
    first = settled(world)
    late(world)
    until(world, first, "patch status b", lambda call: held("sealedPassword", call))
    first.process.whole()
    until(world, first, "get instance")
    newer = world.give("b", handover=True)
    world.run(first)
    at_rest(world)
    assert world.checks.password_of("b") == newer


def test_the_source_is_read_after_its_object(world: World) -> None:
    """What was read before somebody else sealed a newer password does not overwrite it."""
    first = settled(world)
    late(world)
    until(world, first, "read Secret pw-b")
    first.process.half()  # read, and the answer on its way
    newer = world.give("b", handover=True)
    second = world.start()
    world.run(second)
    assert world.checks.password_of("b") == newer
    world.run(first)
    at_rest(world)
    assert world.checks.password_of("b") == newer


def test_a_fresh_list_of_bindings_before_a_mint(world: World) -> None:
    """No data key comes under a root key whose binding was let go since it was chosen."""
    first = settled(world)
    world.bind("x", "A")
    until(world, first, "get instance")  # the mint begins
    deaf(first)
    world.unbind("x")
    second = world.start()
    world.run(second)
    assert world.binding("x") is None
    world.run(first)
    at_rest(world)


def test_the_instance_is_written_before_a_finalizer_comes_off(world: World) -> None:
    """A writer that listed the bindings before a deletion cannot record a key under what was let go since."""
    world.create_instance()
    second = world.start()
    world.run(second)
    deaf(second)
    first = world.start()
    world.run(first)
    world.bind("x", "A")
    until(world, first, "kms.wrap")
    deaf(first)
    world.unbind("x")
    second.hears = lambda _: True
    until(world, second, "patch finalizers x")
    second.process.whole()
    assert world.binding("x") is None
    world.run(first)
    at_rest(world)


def test_a_binding_that_goes_is_no_ground(world: World) -> None:
    """Of two bindings of one root key that both go under Forbid, each was the ground to let the other go."""
    first = settled(world, ("x", "A"), ("x2", "A"), globalKeyPolicy="Forbid")
    world.unbind("x")
    until(world, first, "patch finalizers x")
    deaf(first)
    world.unbind("x2")
    second = world.start()
    second.process.forbidden = {"patch status x": Unavailable(Reason.CLUSTER_UNAVAILABLE, "not now")}
    world.run(second)
    world.run(first)
    at_rest(world)


def test_only_what_carries_our_finalizer_comes_into_force(world: World) -> None:
    """A binding that could vanish at any moment wraps nothing, however well its root key works."""
    first = settled(world)
    first.process.forbidden = {"patch finalizers x": Unavailable(Reason.CLUSTER_UNAVAILABLE, "not now")}
    world.bind("x", "A")
    world.wait(3.0)
    found = world.binding("x")
    assert found is not None
    assert FINALIZER not in found["metadata"]["finalizers"]
    at_rest(world)


def test_an_unknown_key_means_that_my_view_is_old(world: World) -> None:
    """Whoever meets an envelope under a key that it does not know reads the instance before it writes."""
    first = settled(world, ("x", "A"))
    first.hears = lambda event: event.kind == DataMart.KIND
    revise(world)
    second = world.start()
    world.run(second)
    deaf(second)
    world.run(first)
    at_rest(world)


def test_the_list_is_begun_after_the_mark(world: World) -> None:
    """A view that never heard of a seal is no ground to remove the key that it is under."""
    first = settled(world, ("x", "A"))
    first.hears = lambda event: event.kind != DataMart.KIND or event.raw["metadata"]["generation"] == 0
    late(world)
    second = world.start()
    world.run(second)
    second.crash()
    revise(world)
    world.run(first)
    at_rest(world)


def test_re_encryption_redirects_nothing(world: World) -> None:
    """After a change of endpoint the password stays bound to the one that it was given for."""
    settled(world)
    world.move_mart("a", "elsewhere.example.com")
    revise(world)
    world.settle()
    assert ("a", "EndpointChanged") in world.cluster.announced
    world.give("a", handover=True)
    at_rest(world)


def test_a_rotation_between_two_looks(world: World) -> None:
    """A data key minted after a rotation that the poll has not seen yet is rewrapped once at most."""
    settled(world, ("x", "A"))
    world.root_key("A").rotate()
    revise(world)
    world.wait(3.0)
    assert world.vault.counts["rewrap"] <= 1
    at_rest(world)


def test_two_that_know_different_things_leave_each_other_alone(world: World) -> None:
    """An operator that cannot reach Key Protect and one that can do not correct each other without end."""
    first = settled(world, ("x", "A"))
    second = world.start()
    world.wait(3.0)
    away = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "not from here")
    first.process.forbidden = {"kms.": away}
    before = world.cluster.writes
    world.wait(1_200.0, first, second)
    assert world.cluster.writes - before < 120, "about one a minute from each, for each object"
    at_rest(world)
