"""What a replica of the gateway says and does while its view is behind the cluster, or an object in it is broken."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openscale_byok.engine.scope import LAST_RETRY_SECONDS
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance, RootKeyBinding
from sim.gateway import Gateway
from sim.operator import Operator
from sim.world import CRNS, INSTANCE, NAMESPACE, World

PASSWORD = b"canary-password-of-views"
VECTORS = json.loads((Path(__file__).parents[1] / "golden" / "envelopes.json").read_text("utf-8"))["vectors"]
NEWER = next(vector["envelope"] for vector in reversed(VECTORS) if vector["expect"] == "newer-format")


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each story."""
    made = World()
    made.vault.canaries.add(PASSWORD.decode())
    yield made
    made.close()


def sealed(world: World) -> tuple[Operator, bytes]:
    """Data mart `a`, sealed under root key A; the operator that did it, and the password."""
    world.create_instance()
    password = world.give("a", handover=True)
    world.create_mart("a")
    world.bind("x", "A")
    operator = world.start()
    world.wait(5.0)
    return operator, password


def told(world: World, gateway: Gateway, *others: Operator) -> bytes | ByokError:
    """What a reader gets now, with every call answered."""
    asking = gateway.open(NAMESPACE, "a")
    world.loop.run_ready()
    world.run(gateway, *others)
    error = asking.exception()
    assert error is None or isinstance(error, ByokError), error
    return asking.result().secret if error is None else error


def test_who_has_not_read_everything_denies_nothing(world: World) -> None:
    """A replica that is starting says no `Missing`, and no refusal: either takes a workload's file away."""
    operator, password = sealed(world)
    gateway = world.start_gateway()
    events = list(gateway.events)
    said: list[bytes | ByokError] = []
    for number in range(len(events) + 1):
        gateway.hears = lambda event, heard=events[:number]: event in heard
        with gateway.process.running():
            gateway.reader.world.know(OpenScaleInstance.of(world.instance()))
        gateway.deliver_heard()
        world.loop.run_ready()  # no call is answered
        asking = gateway.open(NAMESPACE, "a")
        world.loop.run_ready()
        if asking.done():
            said.append(asking.exception() or asking.result().secret)  # type: ignore[arg-type]
        else:
            asking.cancel()
    assert said
    assert not [found for found in said if isinstance(found, (Missing, Refused))], said
    gateway.hears = lambda _: True
    world.run(gateway, operator)
    assert told(world, gateway) == password
    world.delete_mart("a")
    world.wait(5.0, gateway, operator)
    assert isinstance(told(world, gateway), Missing)


def test_who_is_reading_denies_nothing(world: World) -> None:
    """Between any two answers of its first lists a replica says no `Missing` and no refusal, and is not ready."""
    operator, password = sealed(world)
    gateway = world.start_gateway()
    gateway.hears = lambda event: event.kind == OpenScaleInstance.KIND
    gateway.deliver_heard()
    world.loop.run_ready()
    said: list[bytes | ByokError] = []
    calls: list[str] = []
    while gateway.process.pending:
        asking = gateway.open(NAMESPACE, "a")
        world.loop.run_ready()
        if asking.done():
            said.append(asking.exception() or asking.result().secret)  # type: ignore[arg-type]
        else:
            asking.cancel()
            world.loop.run_ready()
        if "list datamarts" not in calls:
            assert gateway.reader.unready(), calls
        if gateway.process.pending:
            calls.append(gateway.process.whole().name)
        world.loop.run_ready()
    assert "list datamarts" in calls
    assert not [found for found in said if isinstance(found, (Missing, Refused))], said
    gateway.hears = lambda _: True
    world.run(gateway, operator)
    assert told(world, gateway) == password
    assert gateway.reader.unready() == []


def listed(gateway: Gateway) -> list[str] | ByokError:
    """The data marts that a list shows now."""
    try:
        return [sealable.meta.name for sealable in gateway.reader.sealables((NAMESPACE, INSTANCE))]
    except ByokError as error:
        return error


def test_a_list_is_whole_or_none(world: World) -> None:
    """While a replica starts it shows no list that lacks what there is; while its watch is behind, it shows what was
    written through itself, and never what it heard to be deleted."""
    operator, _ = sealed(world)
    gateway = world.start_gateway()
    gateway.hears = lambda event: event.kind == OpenScaleInstance.KIND
    gateway.deliver_heard()
    world.loop.run_ready()
    said = [listed(gateway)]
    while gateway.process.pending:
        gateway.process.whole()
        world.loop.run_ready()
        said.append(listed(gateway))
    assert {type(found) for found in said} == {Unavailable, list}
    assert {tuple(found) for found in said if isinstance(found, list)} == {("a",)}
    world.create_mart("b")
    stored = DataMart.of(world.mart("b"))
    assert listed(gateway) == ["a"]
    gateway.reader.see_stored(stored)
    assert listed(gateway) == ["a", "b"]
    world.delete_mart("b")
    gateway.hears = lambda _: True
    world.run(gateway, operator)
    gateway.reader.see_stored(stored)
    assert listed(gateway) == ["a"]


def test_a_list_that_cannot_be_read_says_why(world: World) -> None:
    """An object of another shape than its CRD demands is named, and nobody is told to try again for ever. What was
    known before goes on to be shown."""
    operator, _ = sealed(world)
    error = Refused(Reason.INVALID_OBJECT, "DataMart b: not of the shape that its CRD demands")
    gateway = world.start_gateway()
    gateway.process.forbidden["list datamarts"] = error
    world.wait(3.0, gateway, operator)
    found = listed(gateway)
    assert isinstance(found, Refused)
    assert found.message == error.message
    gateway.process.forbidden.clear()
    world.wait(2 * LAST_RETRY_SECONDS, gateway, operator)
    assert listed(gateway) == ["a"]
    gateway.process.forbidden["list datamarts"] = error
    with gateway.process.running():
        gateway.reader.world.doubt((NAMESPACE, INSTANCE))
    world.wait(3.0, gateway, operator)
    assert listed(gateway) == ["a"]


def test_a_watch_of_bindings_that_is_behind_is_no_revocation(world: World) -> None:
    """The instance names a root key whose binding was not heard of yet: read again, and not refused as NoBinding."""
    operator, password = sealed(world)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    gateway.hears = lambda event: event.kind != RootKeyBinding.KIND
    world.bind("y", "B")
    world.wait(5.0, gateway, operator)
    world.unbind("x")
    world.wait(30.0, gateway, operator)
    assert world.binding("x") is None, "everything moved to root key B"
    first = told(world, gateway)
    assert isinstance(first, ByokError)
    assert not isinstance(first, (Refused, Missing)), first
    world.wait(5.0, gateway, operator)
    assert told(world, gateway) == password


def test_a_binding_that_is_gone_is_a_clear_no(world: World) -> None:
    """Once a list from after the instance shows no binding, it is refused; and that costs no list at each request."""
    operator, _ = sealed(world)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    operator.crash()
    world.cluster.on_change.clear()  # somebody took its finalizer: what is stored opens no more
    (at,) = [at for at in world.cluster.objects if at[0] == RootKeyBinding.KIND]
    raw = world.cluster.objects[at]
    raw["metadata"]["finalizers"] = []
    world.unbind("x")
    world.wait(5.0, gateway)
    told(world, gateway)
    world.wait(1.0, gateway)
    asked = gateway.process.asked
    for _ in range(5):
        error = told(world, gateway)
        assert isinstance(error, Refused)
        assert error.reason is Reason.NO_BINDING
    assert gateway.process.asked == asked


def test_a_binding_that_goes_while_its_root_key_is_looked_at_keeps_no_replica_unready(world: World) -> None:
    """The answer to a look that comes after the binding's end leaves nothing that nobody renews."""
    operator, _ = sealed(world)
    world.bind("y", "B")
    world.wait(5.0, operator)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    assert gateway.reader.unready() == []
    world.unbind("y")
    gateway.hears = lambda event: event.kind != RootKeyBinding.KIND
    world.wait(1.0, operator)
    look = f"kms.look {CRNS['B']}"
    while not (found := [call for call in gateway.process.pending if call.name == look]):
        timer = world.loop.next_timer()
        assert timer is not None
        world.loop.jump(timer)
    # The look at B is answered between the event and the pass that it wakes.
    gateway.hears = lambda _: True
    gateway.deliver_heard()
    gateway.process.whole(gateway.process.pending.index(found[0]))
    world.wait(1.0, gateway, operator)
    assert gateway.reader.unready() == []


def test_one_broken_object_keeps_nobody_else_waiting(world: World) -> None:
    """An instance whose list is refused for one of its own objects makes no replica unready, and others open."""
    operator, password = sealed(world)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    error = Refused(Reason.INVALID_OBJECT, "DataMart b: not of the shape that its CRD demands")
    gateway.process.forbidden["list datamarts"] = error
    with gateway.process.running():
        gateway.reader.world.doubt((NAMESPACE, INSTANCE))
    world.wait(3.0, gateway, operator)
    assert gateway.reader.unready() == []
    assert told(world, gateway) == password
    gateway.process.forbidden.clear()
    world.wait(2 * LAST_RETRY_SECONDS, gateway, operator)
    assert gateway.reader.world.scope((NAMESPACE, INSTANCE)).listed


def test_a_mistake_about_one_instance_does_not_end_the_replica(world: World) -> None:
    """A pass that fails as nobody foresaw is tried again later; the reader goes on."""
    operator, password = sealed(world)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    with gateway.process.running():
        gateway.reader.world.doubt((NAMESPACE, INSTANCE))
    world.loop.run_ready()
    (call,) = gateway.process.pending
    call.made, call.error = True, KeyError("metadata")
    world.wait(3.0, gateway, operator)
    assert gateway.reader.unready() == ["list"]
    world.wait(1.5 * LAST_RETRY_SECONDS, gateway, operator)
    assert gateway.reader.unready() == []
    assert told(world, gateway) == password


def test_what_a_giver_reads_first_is_news_all_the_same(world: World) -> None:
    """The instance's credentials change, and a password that is given finds it before the watch does: the root key is
    looked at with the new ones, as if the event had brought them."""
    credentials = {"apiKeySecretRef": {"name": "api-key", "key": "apikey"}}
    world.create_instance(credentials=credentials)
    spec = {"instanceRef": {"name": INSTANCE}, "rootKey": {"crn": CRNS["A"]}}
    world.cluster.create(RootKeyBinding.KIND, NAMESPACE, "x", spec)
    world.give("a", handover=True)
    world.create_mart("a")
    operator = world.start()
    world.wait(5.0)
    gateway = world.start_gateway()
    world.run(gateway, operator)
    gateway.hears = lambda _: False
    world.change_instance(credentials={"apiKeySecretRef": {"name": "another", "key": "apikey"}})
    world.run(operator)
    looks = world.root_key("A").counts["look"]
    seen = world.mart("a")
    world.checks.newest.clear()
    world.checks.allow(PASSWORD, seen["spec"]["database"]["host"])
    asking: asyncio.Task[DataMart] = gateway.give(seen, PASSWORD)
    world.loop.run_ready()
    world.run(gateway)
    assert asking.done()
    gateway.hears = lambda event: event.kind == OpenScaleInstance.KIND
    world.wait(1.0, gateway)
    assert world.root_key("A").counts["look"] > looks


def test_a_newer_envelope_is_not_overwritten_by_what_is_given(world: World) -> None:
    """What a newer version of us sealed is refused, and stays as it is."""
    world.create_instance()
    operator = world.start()
    gateway = world.start_gateway()
    world.create_mart("a")
    world.wait(5.0, operator, gateway)
    operator.crash()
    ((at, raw),) = [(at, raw) for at, raw in world.cluster.objects.items() if at[0] == DataMart.KIND]
    assert at
    raw["status"]["sealedPassword"] = {"dataKey": "k", "envelope": NEWER, "sealedTime": "2026-11-24T00:00:00Z"}
    asking = gateway.give(world.mart("a"), PASSWORD)
    world.loop.run_ready()
    world.run(gateway)
    error = asking.exception()
    assert isinstance(error, Refused)
    assert error.reason is Reason.NEWER_FORMAT
    assert world.mart("a")["status"]["sealedPassword"]["envelope"] == NEWER
