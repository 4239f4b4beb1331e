"""The global key is rotated, and versions of it go, while an operator is at any point of its work."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from openscale_byok.adapters.global_key import new_version
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.global_versions import CURRENT, LEAVING, version_of
from openscale_byok.resources import DataMart, OpenScaleInstance
from sim.expect import expect_settled
from sim.gate import Call
from sim.operator import GLOBAL_KEY_SECRET, OWN_NAMESPACE, Operator
from sim.world import INSTANCE, NAMESPACE, TUNING, World

AT = (OWN_NAMESPACE, GLOBAL_KEY_SECRET)
CRASHES = range(0, 40, 3)


@pytest.fixture
def world() -> Iterator[World]:
    """A world that must come to rest with everything where it belongs."""
    made = World()
    yield made
    made.close()


def current(world: World) -> str:
    """The version that wraps."""
    return world.cluster.secrets[AT].values[CURRENT].decode()


def rotate(world: World) -> str:
    """What `global-key rotate` does; the former version."""
    former, (version, raw) = current(world), new_version()
    world.cluster.put_secret(*AT, {**world.cluster.secrets[AT].values, version: raw, CURRENT: version.encode()})
    return former


def set_aside(world: World, version: str) -> None:
    """What `global-key remove` does first."""
    values = dict(world.cluster.secrets[AT].values)
    values[LEAVING + version] = values.pop(version)
    world.cluster.put_secret(*AT, values)


def named(world: World) -> set[str]:
    """Every version that properties or envelopes name."""
    entries = OpenScaleInstance.of(world.instance()).properties.data_keys
    marts = (DataMart.of(raw).status.sealed_password for raw in world.cluster.all(DataMart.KIND))
    carried = [envelopes.parse(sealed.envelope).wrapped.ciphertext for sealed in marts if sealed is not None]
    return {version_of(wrapped) for wrapped in (*(entry.wrapped for entry in entries), *carried)}


def sealed(world: World) -> Operator:
    """Two passwords handed over and sealed under the global key; the operator that did it."""
    world.create_instance()
    for name in ("a", "b"):
        world.give(name, handover=True)
        world.create_mart(name)
    first = world.start()
    world.wait(10.0)
    return first


def records(call: Call) -> bool:
    """Whether a call writes the list of data keys."""
    if not call.name.startswith("patch status"):
        return False
    return "dataKeys" in call.effect.args[2].get("properties", {})  # type: ignore[attr-defined] # every effect is a partial


@pytest.mark.parametrize("calls", CRASHES)
def test_a_rotation_survives_a_crash_at_any_call(world: World, calls: int) -> None:
    """Everything comes under the new version, envelopes and all; the former one may go, and everything still opens."""
    operator = sealed(world)
    former = rotate(world)
    for _ in range(calls):
        world.loop.jump(world.loop.next_timer() or world.loop.time()) if not operator.process.pending else None
        operator.deliver_heard()
        world.loop.run_ready()
        if operator.process.pending:
            operator.process.whole()
        world.loop.run_ready()
    operator.crash()
    world.start()
    world.settle()
    expect_settled(world)
    assert named(world) == {current(world)}
    set_aside(world, former)
    world.start()
    world.settle()
    expect_settled(world)


def test_a_data_key_made_between_a_rotation_and_the_next_look_stays(world: World) -> None:
    """The wrap itself says which version is the newest: believing the last look, each data key would be replaced."""
    world.create_instance()
    world.start()
    world.wait(10.0)
    rotate(world)
    before = world.vault.counts["wrap"]
    world.give("a", handover=True)
    world.create_mart("a")
    world.wait(TUNING.key_poll_seconds / 2)
    assert world.vault.counts["wrap"] == before + 1
    world.settle()
    assert world.vault.counts["wrap"] == before + 1
    expect_settled(world)


def test_a_version_that_goes_while_a_data_key_is_recorded(world: World) -> None:
    """Whoever removes it saw nothing that names it; the operator opens what it recorded once more, and seals nothing
    with it: the source is still there."""
    world.create_instance()
    operator = world.start()
    world.wait(10.0)
    world.give("a", handover=True)
    world.create_mart("a")
    for _ in range(100):
        operator.deliver_heard()
        world.loop.run_ready()
        if any(records(call) for call in operator.process.pending):
            break
        operator.process.whole() if operator.process.pending else world.loop.jump(world.loop.next_timer())
    assert any(records(call) for call in operator.process.pending)
    former = rotate(world)
    set_aside(world, former)
    world.wait(TUNING.key_poll_seconds / 2)
    assert ("prod", "pw-a") in world.cluster.secrets, "the password was handed over under a version that is gone"
    values = dict(world.cluster.secrets[AT].values)
    values[former] = values.pop(LEAVING + former)  # its second look finds the record, and puts the version back
    world.cluster.put_secret(*AT, values)
    world.settle()
    expect_settled(world)
    assert named(world) == {current(world)}


@pytest.mark.parametrize("calls", range(12))
def test_a_version_is_said_to_be_free_however_early_the_rotation_is_seen(world: World, calls: int) -> None:
    """Rotated while the operator was down: the first look may be answered before anything else, or after all of it;
    the version that its secrets left is named once."""
    sealed(world).crash()
    former = rotate(world)
    with capture_logs() as lines:
        operator = world.start()
        for _ in range(calls):
            operator.deliver_heard()
            world.loop.run_ready()
            others = [n for n, call in enumerate(operator.process.pending) if not call.name.startswith("kms.look")]
            if others:
                operator.process.whole(others[0])
            world.loop.run_ready()
        world.wait(TUNING.key_poll_seconds / 2)
    assert said_free(lines) == [former[:8]]
    expect_settled(world)


def test_the_version_that_wraps_is_not_said_to_be_free(world: World) -> None:
    """What named it is gone, but it is no former one. Once a rotation makes it one, it is said."""
    sealed(world)
    with capture_logs() as lines:
        for name in ("a", "b"):
            world.delete_mart(name)
        world.delete_instance()
        world.wait(TUNING.key_poll_seconds / 2)
    assert world.cluster.find(OpenScaleInstance.KIND, NAMESPACE, INSTANCE) is None
    assert said_free(lines) == []
    world.create_instance()
    world.wait(10.0)
    with capture_logs() as lines:
        former = rotate(world)
        world.give("a", handover=True)
        world.create_mart("a")
        world.wait(2 * TUNING.key_poll_seconds)
    assert said_free(lines) == [former[:8]]
    expect_settled(world)


def said_free(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The versions that a log says are free."""
    return [line["version"] for line in lines if line["event"] == "former version free"]
