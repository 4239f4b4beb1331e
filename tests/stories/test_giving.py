"""A password that a request gives: answered only once it is safe, whoever moves keys or crashes meanwhile."""

import asyncio
from collections.abc import Iterator

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.engine.key_poll import LATE_SECONDS
from openscale_byok.engine.opening import Opened
from openscale_byok.errors import ByokError
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataMart
from sim.certificates import BROKEN, certificate
from sim.cluster import Raw
from sim.expect import expect_settled
from sim.gateway import Gateway
from sim.operator import Operator
from sim.world import CRNS, INSTANCE, NAMESPACE, World

HOST = "db.example.com"
PASSWORD = b"canary-password-given"


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each story, with an instance."""
    made = World()
    made.vault.canaries.add(PASSWORD.decode())
    made.create_instance()
    yield made
    made.close()


def started(world: World) -> tuple[Operator, Gateway]:
    """An operator, and a replica of the gateway that has read everything."""
    operator = world.start()
    world.wait(3.0)
    gateway = world.start_gateway()
    world.run(operator, gateway)
    return operator, gateway


def mart(world: World, name: str = "g") -> Raw:
    """A data mart that names no Secret."""
    database = {
        "type": "PostgreSQL", "host": HOST, "port": 5432, "name": "marts", "schema": "openscale",
        "username": name, "tls": "VerifyFull", "password": {"revision": 0},
    }  # fmt: skip
    spec = {"instanceRef": {"name": INSTANCE}, "database": database}
    return world.cluster.create(DataMart.KIND, NAMESPACE, name, spec)


def given(world: World, gateway: Gateway, made: Raw, password: bytes = PASSWORD) -> "asyncio.Task[DataMart]":
    """The request, on its way."""
    world.checks.allow(password, HOST)
    task = gateway.give(made, password)
    world.loop.run_ready()
    return task


def answered(world: World, task: "asyncio.Task[DataMart]", password: bytes = PASSWORD) -> None:
    """The request was answered: from now on the password must never be lost (every change checks it)."""
    assert task.done()
    task.result()
    world.checks.newest["g"] = password
    world.checks()


def opened(world: World, operator: Operator, gateway: Gateway) -> Opened:
    """What a reader gets."""
    asking = gateway.open(NAMESPACE, "g")
    world.loop.run_ready()
    world.run(operator, gateway)
    return asking.result()


def condition(world: World, type_: str = "Ready") -> tuple[str, str]:
    """Status and reason of a condition of the data mart."""
    found = DataMart.of(world.mart("g")).status.conditions
    return next(((c.status, c.reason) for c in found if c.type == type_), ("", ""))


def until_call(world: World, gateway: Gateway, name: str) -> None:
    """Let the gateway go on until it is about to make this call."""
    for _ in range(100):
        gateway.deliver_heard()
        world.loop.run_ready()
        if any(call.name.startswith(name) for call in gateway.process.pending):
            return
        if gateway.process.pending:
            gateway.process.whole()
            world.loop.run_ready()
    raise AssertionError(f"never comes to {name}: {[call.name for call in gateway.process.pending]}")


@pytest.mark.parametrize("letter", ["", "A"])
def test_what_is_given_is_sealed_and_ready(world: World, letter: str) -> None:
    """The first password of an instance waits for its data key; answered, it opens, and says how it came."""
    if letter:
        world.bind("x", letter)
    operator, gateway = started(world)
    asking = given(world, gateway, mart(world))
    world.wait(1.0, operator, gateway)
    answered(world, asking)
    world.wait(5.0, operator, gateway)
    assert condition(world) == ("True", "Sealed")
    assert condition(world, "SourceRemoved") == ("True", "Given")
    found = opened(world, operator, gateway)
    assert (found.secret, found.revision, found.root_key) == (PASSWORD, 1, CRNS[letter] if letter else GLOBAL)
    gateway.crash()
    world.settle()
    expect_settled(world)


def test_each_password_that_is_given_counts(world: World) -> None:
    """A second password takes the place of the first, and has the next revision."""
    operator, gateway = started(world)
    answered(world, _run(world, operator, gateway, given(world, gateway, mart(world))))
    del world.checks.newest["g"]
    other = b"canary-password-other"
    again = _run(world, operator, gateway, given(world, gateway, world.mart("g"), other))
    answered(world, again, other)
    found = opened(world, operator, gateway)
    assert (found.secret, found.revision) == (other, 2)


def _run(
    world: World, operator: Operator, gateway: Gateway, task: "asyncio.Task[DataMart]"
) -> "asyncio.Task[DataMart]":
    world.wait(1.0, operator, gateway)
    return task


def test_without_a_password_it_says_so_and_nothing_spins(world: World) -> None:
    """Nobody has given one yet: PasswordNotGiven, no warning event, and an hour of waiting costs no write."""
    operator, gateway = started(world)
    mart(world)
    world.wait(5.0, operator, gateway)
    assert condition(world) == ("False", "PasswordNotGiven")
    assert "PasswordNotGiven" not in str(world.cluster.announced)
    before = world.cluster.writes
    world.wait(3_600.0, operator, gateway)
    assert world.cluster.writes == before


def test_a_request_that_slept_answers_for_no_root_key_that_is_gone(world: World) -> None:
    """The gateway stands still before its write; meanwhile everything moves to another root key, and the former one is
    let go and destroyed. Its write is of a data key that nobody can open: mended before it answers."""
    world.bind("x", "A")
    operator, gateway = started(world)
    mart(world)
    world.wait(5.0, operator, gateway)  # the operator has said that nobody gave it: it writes no more to it
    asking = given(world, gateway, world.mart("g"))
    until_call(world, gateway, "patch status g")
    world.bind("y", "B")
    world.wait(30.0, operator)
    world.unbind("x")
    world.wait(60.0, operator)
    assert world.binding("x") is None, "nothing needs the former root key, as far as anybody knows"
    world.root_key("A").state = KeyState.DESTROYED
    while not DataMart.of(world.mart("g")).status.sealed_password:
        gateway.process.whole()
        world.loop.run_ready()
    assert not asking.done(), "what was stored is not answered for before it was checked"
    world.wait(5.0, operator, gateway)
    answered(world, asking)
    found = opened(world, operator, gateway)
    assert (found.secret, found.root_key) == (PASSWORD, CRNS["B"])


@pytest.mark.parametrize("calls", range(8))
def test_a_crash_anywhere_loses_nothing_that_was_answered(world: World, calls: int) -> None:
    """A replica dies after any of its calls; whoever was not answered gives it again to another, which answers."""
    operator, gateway = started(world)
    asking = given(world, gateway, mart(world))
    for _ in range(calls):
        gateway.deliver_heard()
        world.loop.run_ready()
        if gateway.process.pending:
            gateway.process.half()
            world.loop.run_ready()
        world.run(operator)
    done = asking.done() and not asking.cancelled()
    if done:
        answered(world, asking)
    gateway.crash()
    world.wait(30.0, operator)
    other = world.start_gateway()
    world.run(operator, other)
    if not done:
        answered(world, _run(world, operator, other, given(world, other, world.mart("g"))))
    assert opened(world, operator, other).secret == PASSWORD


def test_a_refused_root_key_takes_no_password(world: World) -> None:
    """Disabled: the request is refused with that reason, and nothing is stored."""
    world.bind("x", "A")
    operator, gateway = started(world)
    world.root_key("A").state = KeyState.SUSPENDED
    world.wait(1.1 * world.tuning.key_poll_seconds, operator, gateway)
    made = mart(world)
    asking = _run(world, operator, gateway, given(world, gateway, made))
    error = asking.exception()
    assert isinstance(error, ByokError)
    assert error.reason is Reason.KEY_DISABLED
    assert "sealedPassword" not in world.mart("g")["status"]


def test_no_password_is_taken_while_nobody_looks(world: World) -> None:
    """A replica stood still for longer than the interval, and the root key was disabled meanwhile: what it finds in its
    memory when it goes on seals nothing."""
    world.bind("x", "A")
    operator, gateway = started(world)
    asking = _run(world, operator, gateway, given(world, gateway, mart(world)))
    answered(world, asking)
    before = world.mart("g")["status"]["sealedPassword"]
    world.root_key("A").state = KeyState.SUSPENDED
    # The clock is ahead and nothing has run since: as after SIGCONT, where a request may be served first.
    world.loop._virtual += 1.1 * world.tuning.key_poll_seconds + LATE_SECONDS + 1
    asking = given(world, gateway, world.mart("g"))
    for _ in range(50):  # whatever it asks of the cluster is answered, and nothing of Key Protect is
        gateway.deliver_heard()
        world.loop.run_ready()
        pending = gateway.process.pending
        found = next((n for n, call in enumerate(pending) if not call.name.startswith("kms.")), None)
        if found is not None:
            gateway.process.whole(found)
    assert not asking.done(), "it waits for the look"
    assert world.mart("g")["status"]["sealedPassword"] == before
    asking = _run(world, operator, gateway, asking)
    error = asking.exception()
    assert isinstance(error, ByokError)
    assert error.reason is Reason.KEY_DISABLED
    assert world.mart("g")["status"]["sealedPassword"] == before


@pytest.mark.parametrize(
    "change",
    [{"host": "elsewhere"}, {"tls": "Disable"}, {"caBundle": certificate()}],
    ids=lambda change: next(iter(change)),
)
def test_nothing_is_sealed_for_another_endpoint_than_was_seen(world: World, change: Raw) -> None:
    """The data mart goes elsewhere, or its server proves less, than when its password was given: nothing is stored."""
    operator, gateway = started(world)
    made = mart(world)
    world.cluster.change_spec(DataMart.KIND, NAMESPACE, "g", {"database": change})
    asking = _run(world, operator, gateway, given(world, gateway, made))
    error = asking.exception()
    assert isinstance(error, ByokError)
    assert error.reason is Reason.CHANGED_MEANWHILE
    assert "sealedPassword" not in world.mart("g")["status"]


def test_nothing_is_given_to_a_server_that_nobody_can_prove(world: World) -> None:
    """A caBundle that cannot be read: the request is refused with that reason, and nothing is stored."""
    operator, gateway = started(world)
    mart(world)
    world.cluster.change_spec(DataMart.KIND, NAMESPACE, "g", {"database": {"caBundle": BROKEN}})
    asking = _run(world, operator, gateway, given(world, gateway, world.mart("g")))
    error = asking.exception()
    assert isinstance(error, ByokError)
    assert error.reason is Reason.CA_BUNDLE_INVALID
    assert "sealedPassword" not in world.mart("g")["status"]
