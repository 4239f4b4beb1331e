"""Readers open passwords while root keys are taken away: what a cached data key may still be used for."""

import asyncio
from collections.abc import Iterator

import pytest

from openscale_byok.core.key_state import KeyState
from openscale_byok.engine.key_poll import LATE_SECONDS, LOOK_SECONDS
from openscale_byok.engine.opening import Opened
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, Meta
from sim.operator import Operator
from sim.world import INSTANCE, NAMESPACE, TUNING, World

POLL = TUNING.key_poll_seconds
NEXT_LOOK = 1.1 * POLL
"""The longest time to the next look: the interval is spread by a tenth."""
LIMIT = 3_600.0  # dataKeyCacheSeconds where a binding says nothing else


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own for each story."""
    made = World()
    yield made
    made.close()


def sealed(world: World, *, root_key: str = "A", handover: bool = True) -> tuple[Operator, bytes]:
    """Data mart `a`, sealed under this root key; the operator that did it, and the password."""
    world.create_instance()
    password = world.give("a", handover=handover)
    world.create_mart("a")
    if root_key:
        world.bind("x", root_key)
    operator = world.start()
    world.wait(3.0)
    return operator, password


def reader(world: World, operator: Operator, name: str = "a") -> "asyncio.Task[Opened]":
    """Somebody who asks for a password, and waits."""
    assert operator.engine is not None
    with operator.process.running():
        return world.loop.create_task(operator.engine.open(DataMart.KIND, NAMESPACE, name))


def outcome(task: "asyncio.Task[Opened]") -> bytes | Reason:
    """The password, or the reason for none."""
    assert task.done(), "still waits"
    error = task.exception()
    if error is None:
        return task.result().secret
    assert isinstance(error, ByokError), error
    return error.reason


def told(world: World, operator: Operator, name: str = "a") -> bytes | Reason:
    """What a reader gets now, with every call answered."""
    asking = reader(world, operator, name)
    world.loop.run_ready()
    world.run(operator)
    return outcome(asking)


def at_call(world: World, operator: Operator, name: str) -> int:
    """Let an operator go on until it is about to make this call; which of the pending ones it is."""
    for _ in range(500):
        operator.deliver_heard()
        world.loop.run_ready()
        pending = operator.process.pending
        found = next((n for n, call in enumerate(pending) if call.name.startswith(name)), None)
        if found is not None:
            return found
        if pending:
            operator.process.whole()
        elif not operator.events:
            timer = world.loop.next_timer()
            assert timer is not None, f"never makes the call {name}"
            world.loop.jump(timer)
    raise AssertionError(f"never comes to the call {name}")


def about_to_unwrap(world: World) -> Operator:
    """A new process, whose first look was good, and whose first unwrap is about to be made."""
    first, _ = sealed(world)
    first.crash()
    operator = world.start()
    operator.process.whole(at_call(world, operator, "kms.look crn"))
    at_call(world, operator, "kms.unwrap")
    return operator


def disable(world: World) -> None:
    world.root_key("A").state = KeyState.SUSPENDED


def destroy(world: World) -> None:
    world.root_key("A").state = KeyState.DESTROYED


def refuse(world: World) -> None:
    world.root_key("A").refused = True


TAKEN = {disable: Reason.KEY_DISABLED, destroy: Reason.KEY_DESTROYED, refuse: Reason.CREDENTIALS_REFUSED}


@pytest.mark.parametrize("take", TAKEN, ids=lambda take: take.__name__)
@pytest.mark.parametrize("age", [0.0, 0.4, 0.6])
def test_after_a_clear_no_nothing_opens(world: World, take, age) -> None:
    """However young the data key in memory is: from the look that was refused on no opening succeeds, nor asks."""
    operator, password = sealed(world)
    world.wait(age * LIMIT)
    assert told(world, operator) == password
    take(world)
    world.wait(NEXT_LOOK)
    asked = world.root_key("A").counts["unwrap"]
    assert {told(world, operator) for _ in range(5)} == {TAKEN[take]}
    assert world.root_key("A").counts["unwrap"] == asked, "a reader of what is refused costs no call"
    world.root_key("A").away = True
    world.wait(3 * POLL)
    assert told(world, operator) == TAKEN[take], "that Key Protect is away now takes no refusal back"
    world.heal()
    world.wait(NEXT_LOOK)
    assert told(world, operator) == password


@pytest.mark.parametrize("order", ["refusal first", "unwrap first", "both at once"])
def test_a_refusal_while_an_unwrap_is_in_flight(world: World, order) -> None:
    """A data key that was unwrapped before the refusal opens nothing after it, whichever answer comes first."""
    operator = about_to_unwrap(world)
    unwrap = operator.process.pending[at_call(world, operator, "kms.unwrap")]
    readers = [reader(world, operator) for _ in range(5)]
    world.loop.run_ready()
    assert not any(asking.done() for asking in readers)
    disable(world)
    unwrap.made, unwrap.result = True, _before(world, unwrap)
    look = operator.process.pending[_next_look(world, operator)]
    calls = {"refusal first": [look, None, unwrap], "unwrap first": [unwrap, look], "both at once": [look, unwrap]}
    for call in calls[order]:
        if call is None:
            world.loop.run_ready()
        else:
            operator.process.whole(operator.process.pending.index(call))
    world.loop.run_ready()
    world.run(operator)
    assert {outcome(asking) for asking in readers} <= {Reason.KEY_DISABLED, Reason.CHANGED_MEANWHILE}
    assert told(world, operator) == Reason.KEY_DISABLED


def _before(world: World, unwrap):
    """The answer that Key Protect gave when it still allowed that: it is on its way."""
    world.root_key("A").state = KeyState.ACTIVE
    answer = unwrap.effect()
    disable(world)
    return answer


def _next_look(world: World, operator: Operator) -> int:
    """Time goes on, and nothing is answered, until the next look is about to be made."""
    for _ in range(50):
        names = [call.name for call in operator.process.pending]
        found = next((n for n, name in enumerate(names) if name.startswith("kms.look crn")), None)
        if found is not None:
            return found
        timer = world.loop.next_timer()
        assert timer is not None
        world.loop.jump(timer)
    raise AssertionError("never looks again")


def test_unreachable_is_not_refused(world: World) -> None:
    """Without an answer what is in memory opens until its limit; no use of it, however frequent, extends that."""
    operator, password = sealed(world)
    world.root_key("A").away = True
    world.wait(LIMIT - 60.0)
    assert told(world, operator) == password
    given = []
    for _ in range(6):
        world.wait(20.0)
        given.append(told(world, operator))
    assert given[0] == password
    assert given[-1] == Reason.KEY_PROTECT_UNAVAILABLE
    assert given == sorted(given, key=lambda found: found != password), "once it is over it stays over"
    world.heal()
    world.wait(NEXT_LOOK)
    assert told(world, operator) == password


def test_a_restart_extends_nothing(world: World) -> None:
    """A process that never unwrapped a data key opens nothing while it gets no answer."""
    operator, _ = sealed(world)
    operator.crash()
    world.root_key("A").away = True
    operator = world.start()
    world.wait(3.0)
    assert told(world, operator) == Reason.KEY_PROTECT_UNAVAILABLE


def test_a_look_without_an_answer_ends(world: World) -> None:
    """One that hangs counts as no answer after a minute: readers go on, and the poll looks again."""
    operator, password = sealed(world)
    look = operator.process.pending[_next_look(world, operator)]
    looks = world.vault.counts["look"]
    world.loop.jump(world.loop.time() + LOOK_SECONDS)
    assert look not in operator.process.pending
    assert outcome(_asked(world, operator)) == password
    world.wait(NEXT_LOOK)
    assert world.vault.counts["look"] > looks


def test_nobody_opens_while_nobody_looks(world: World) -> None:
    """A process that stood still for longer than the interval opens nothing before its next look has answered."""
    operator, password = sealed(world)
    disable(world)
    asking = reader(world, operator)
    # The clock is ahead and nothing has run since: as after SIGCONT, where a reader may be served first.
    world.loop._virtual += NEXT_LOOK + LATE_SECONDS + 1
    world.loop.run_ready()
    assert outcome(asking) == Reason.CHECKING_KEY
    at_call(world, operator, "kms.look crn")
    assert outcome(_asked(world, operator)) == Reason.CHECKING_KEY, "a look that began late has told nothing yet"
    world.run(operator)
    assert told(world, operator) == Reason.KEY_DISABLED
    world.heal()
    world.wait(NEXT_LOOK)
    assert told(world, operator) == password


def _asked(world: World, operator: Operator) -> "asyncio.Task[Opened]":
    asking = reader(world, operator)
    world.loop.run_ready()
    return asking


def test_before_the_first_look_nothing_opens(world: World) -> None:
    """After a start the root key is looked at first; what was true for a former process says nothing."""
    operator, password = sealed(world)
    operator.crash()
    disable(world)
    operator = world.start()
    at_call(world, operator, "kms.look crn")
    assert outcome(_asked(world, operator)) == Reason.CHECKING_KEY
    world.run(operator)
    assert told(world, operator) == Reason.KEY_DISABLED
    world.heal()
    world.wait(NEXT_LOOK)
    assert told(world, operator) == password


def test_a_password_is_only_for_the_endpoint_that_it_was_given_for(world: World) -> None:
    """After a change of endpoint nothing opens, until the password is given again; then for the new one only."""
    operator, _ = sealed(world)
    world.move_mart("a", "elsewhere.example.com")
    world.run(operator)
    asking = _asked(world, operator)
    assert outcome(asking) == Reason.ENDPOINT_CHANGED
    assert isinstance(asking.exception(), Refused)
    again = world.give("a", handover=True)
    world.wait(POLL)
    opened = _asked(world, operator).result()
    assert (opened.secret, opened.endpoint.host) == (again, "elsewhere.example.com")


def test_the_endpoint_may_change_while_an_unwrap_is_in_flight(world: World) -> None:
    """What counts is what the object says when it is opened, not when it was asked for."""
    operator = about_to_unwrap(world)
    asking = reader(world, operator)
    world.loop.run_ready()
    assert not asking.done()
    world.move_mart("a", "elsewhere.example.com")
    operator.deliver_heard()
    world.run(operator)
    assert outcome(asking) == Reason.ENDPOINT_CHANGED


def test_another_may_write_while_an_unwrap_is_in_flight(world: World) -> None:
    """What was sealed anew meanwhile, under another data key, is opened as it is stored now."""
    operator = about_to_unwrap(world)
    asking = reader(world, operator)
    world.loop.run_ready()
    world.change_instance(dataKeyRevision=1)
    other = world.start()
    other.hears = lambda _: True
    world.run(other)
    operator.deliver_heard()
    world.run(operator)
    assert outcome(asking) == world.checks.password_of("a")
    assert asking.result().data_key == world.mart("a")["status"]["sealedPassword"]["dataKey"]


@pytest.mark.parametrize("root_keys", [("A", "A"), ("A", "B"), ("A", ""), ("", "B")])
def test_reads_go_on_while_everything_moves(world: World, root_keys) -> None:
    """At no moment of a re-encryption is a reader refused: each envelope opens with the data key that it names."""
    before, after = root_keys
    operator, password = sealed(world, root_key=before)
    for name in "bcd":
        world.give(name, handover=True)
        world.create_mart(name)
    world.wait(3.0)
    seen = {told(world, operator)}
    if before == after:
        world.change_instance(dataKeyRevision=1)
    elif after:
        world.bind("y", after)
    if before and before != after:
        world.unbind("x")
    keys = set()
    for _ in range(400):
        operator.deliver_heard()
        asking = _asked(world, operator)
        if asking.done():
            seen.add(outcome(asking))
            keys.add(asking.result().data_key if asking.exception() is None else "")
        if operator.process.pending:
            operator.process.whole()
        elif not operator.events:
            break
        world.loop.run_ready()
    world.wait(3.0)
    seen.add(told(world, operator))
    assert seen == {password}
    assert len(keys) == 2, "it was read under the former data key and under the new one"


def test_the_tag_stands_for_the_envelope(world: World) -> None:
    """Another password has another tag, also where neither the data key nor the revision is another."""
    operator, _ = sealed(world, handover=False)
    first = _asked(world, operator).result()
    again = world.give("a", handover=False)
    world.wait(2 * TUNING.source_refresh_seconds)
    second = _asked(world, operator).result()
    assert second.secret == again
    assert (first.data_key, first.revision) == (second.data_key, second.revision)
    assert first.tag != second.tag
    assert _asked(world, operator).result().tag == second.tag
    assert again.decode() not in repr(second)


def not_there(world: World) -> None:
    world.delete_mart("a")


def no_instance(world: World) -> None:
    world.delete_mart("a")
    world.delete_instance()
    world.wait(3.0)
    world.give("a", handover=True)
    world.create_mart("a")


def not_sealed(world: World) -> None:
    world.delete_mart("a")
    world.create_mart("a")


def no_binding(world: World) -> None:
    world.cluster.on_change.clear()  # somebody took our finalizer off by force, which no rule of ours can hold
    world.cluster.objects["RootKeyBinding", NAMESPACE, "x"]["metadata"]["finalizers"] = []
    world.unbind("x")


def newer_properties(world: World) -> None:
    _status(world, "OpenScaleInstance", INSTANCE, {"properties": {"format": 2}})


def unknown_data_key(world: World) -> None:
    _status(world, "OpenScaleInstance", INSTANCE, {"properties": {"dataKeys": []}})


def spoilt(world: World) -> None:
    _status(world, DataMart.KIND, "a", {"sealedPassword": {"envelope": "no.envelope"}})


def claimed_by_another(world: World) -> None:
    """An older instance, with properties too, has the same service instance id."""
    world.cluster.on_change.clear()
    found = world.instance()
    made = world.cluster.create("OpenScaleInstance", NAMESPACE, "older", found["spec"], found["status"])
    made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    world.cluster._store(("OpenScaleInstance", NAMESPACE, "older"), made)


def restored_before_its_instance(world: World) -> None:
    """The data mart was seen without its instance, which is there again, and nothing was read anew since."""
    world.cluster.on_change.clear()
    mart, instance = world.mart("a"), world.instance()
    for kind in (DataMart.KIND, "OpenScaleInstance"):
        name = "a" if kind == DataMart.KIND else INSTANCE
        world.cluster.objects[kind, NAMESPACE, name]["metadata"]["finalizers"] = []
        world.cluster.delete(kind, NAMESPACE, name)
    world.wait(3.0)
    world.cluster.create(DataMart.KIND, NAMESPACE, "a", mart["spec"], mart["status"])
    world.wait(3.0)
    world.cluster.create("OpenScaleInstance", NAMESPACE, INSTANCE, instance["spec"], instance["status"])


def _status(world: World, kind: str, name: str, status) -> None:
    """What somebody else wrote into a status; no oracle looks at it."""
    world.cluster.on_change.clear()
    world.cluster._admit = lambda *_: None
    meta = world.cluster.get(kind, NAMESPACE, name)["metadata"]
    world.cluster.patch_status(kind, Meta.of(meta), status)


WRONG = {
    not_there: (Missing, Reason.CHANGED_MEANWHILE),
    no_instance: (Unavailable, Reason.INSTANCE_NOT_FOUND),
    not_sealed: (Unavailable, Reason.SEALING),
    no_binding: (Unavailable, Reason.CHECKING_KEY),  # a clear no once a list shows it: test_gateway_views.py
    newer_properties: (Refused, Reason.NEWER_FORMAT),
    unknown_data_key: (Unavailable, Reason.CHANGED_MEANWHILE),
    spoilt: (Refused, Reason.TAMPERED),
    claimed_by_another: (Refused, Reason.CONFLICT),
    restored_before_its_instance: (Unavailable, Reason.CHANGED_MEANWHILE),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_what_cannot_be_opened_says_why(world: World, wrong) -> None:
    """Each has its reason, and says whether trying again may help."""
    operator, _ = sealed(world)
    wrong(world)
    operator.deliver_heard()
    asking = _asked(world, operator)
    error = asking.exception()
    assert isinstance(error, WRONG[wrong][0]), repr(error)
    assert error.reason is WRONG[wrong][1]


def away_for_long(world: World) -> None:
    world.root_key("A").away = True
    world.wait(LIMIT)


@pytest.mark.parametrize("wrong", [refuse, away_for_long, spoilt], ids=lambda wrong: wrong.__name__)
def test_a_refusal_does_not_grow(world: World, wrong) -> None:
    """It is kept and said to every reader: what a thousand of them leave behind is no more than one does."""
    operator, _ = sealed(world)
    wrong(world)
    world.wait(NEXT_LOOK)
    told(world, operator)
    assert len({_depth(_asked(world, operator).exception()) for _ in range(20)}) == 1


def _depth(error: BaseException | None) -> int:
    found, trace = 0, error.__traceback__ if error is not None else None
    while trace is not None:
        found, trace = found + 1, trace.tb_next
    return found
