"""The key-state poll on a loop whose time is set by hand: when it looks, and whom it tells."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator

import pytest

from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.engine.context import Context, Tuning
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.key_poll import KeyPoll
from openscale_byok.engine.scope import Scope
from openscale_byok.errors import ByokError, CredentialsUnavailable, Refused, Unavailable
from openscale_byok.ports.observers import KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, RootKeyBinding
from sim.loop import LoopClock, VirtualLoop
from sim.views import NEW, A, instance

INTERVAL = 30.0
ACTIVE = KeyLook(KeyState.ACTIVE, "1")
DISABLED = KeyLook(KeyState.SUSPENDED, "1")
BARE = CredentialsUnavailable(Reason.SECRET_NOT_FOUND, "credentials.apiKeySecretRef: Secret kp does not exist")
NO = Refused(Reason.NOT_AUTHORIZED, "no", trace="a-correlation-id")
AWAY = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "away")
PATIENT = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "busy", retry_after=12.0)
BUSY = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "busy", retry_after=120.0)


class Stage:
    """One binding, one root key that answers as it is told to, and a listener that makes mistakes."""

    def __init__(self, jitter: float = 0.5) -> None:
        self.loop, self.answer, self.looks = VirtualLoop(), ACTIVE, 0
        self.takes = 0.0
        """Seconds that an answer is on its way."""
        self.seen: list[KeySeen] = []
        clock = LoopClock(self.loop)
        self.keys = DataKeys(clock)
        tuning = Tuning(key_poll_seconds=INTERVAL)
        context = Context(None, None, self, clock, self.keys, None, tuning, (self,), lambda: jitter)
        self.poll = KeyPoll(context, lambda _: None)
        raw = {"metadata": {"name": "a", "namespace": "n", "uid": "uid-a", "resourceVersion": "1", "generation": 1}}
        raw["spec"] = {"instanceRef": {"name": "prod"}, "rootKey": {"crn": A}, "dataKeyCacheSeconds": 100}
        self.scope = Scope(("n", "prod"), instance=instance(), bindings={"a": RootKeyBinding.of(raw)})

    def customer(self, *_):
        return self

    def global_key(self):
        raise asyncio.CancelledError  # ends that poll at once: here it is about the binding's

    async def look(self) -> KeyLook:
        self.looks += 1
        if self.takes:
            await asyncio.sleep(self.takes)
        if isinstance(self.answer, ByokError):
            raise self.answer
        return self.answer

    def key_seen(self, seen: KeySeen) -> None:
        self.seen.append(seen)
        raise LookupError("a bug of a listener")

    def begin(self) -> None:
        self.loop.call_soon(self.poll.follow, self.scope)
        self.loop.run_ready()

    def next(self) -> float:
        """Seconds until the next look, which then is made."""
        timer = self.loop.next_timer()
        assert timer is not None
        waited = timer - self.loop.time()
        self.loop.jump(timer)
        self.loop.run_ready()
        return waited


@pytest.fixture
def staged() -> Iterator[list[Stage]]:
    """Whatever a test begins ends with it."""
    made: list[Stage] = []
    yield made
    for stage in made:
        stage.poll.stop()
        stage.loop.run_ready()
        stage.loop.close()


@pytest.mark.parametrize(
    ("answer", "jitter", "pauses"),
    [
        (ACTIVE, 0.0, [24.0] * 3),
        (ACTIVE, 0.5, [27.0] * 3),
        (ACTIVE, 1.0, [30.0] * 3),
        (NO, 1.0, [30.0] * 3),
        (AWAY, 0.5, [1.0, 2.0, 4.0, 8.0, 16.0, 27.0, 27.0]),
        (PATIENT, 0.5, [12.0, 12.0, 12.0, 12.0, 16.0, 27.0]),
        (BUSY, 1.0, [30.0] * 3),
    ],
    ids=["0.8", "0.9", "1.0", "refused", "away", "Retry-After", "a long Retry-After"],
)
def test_when_it_looks_again(staged, answer, jitter, pauses):
    """Once an interval, and never later: sooner after no answer, ever later, whatever patience is asked for."""
    stage = Stage(jitter)
    staged.append(stage)
    stage.answer = answer
    stage.begin()
    assert stage.looks == 1, "the first look is at once"
    assert [stage.next() for _ in pauses] == pytest.approx(pauses)
    assert stage.looks == len(pauses) + 1


def test_what_its_listeners_are_told(staged):
    """Every look, with state, reason and whether that is news; their mistakes end no poll."""
    stage = Stage()
    staged.append(stage)
    stage.begin()
    for stage.answer in (ACTIVE, DISABLED, DISABLED, NO, AWAY, ACTIVE, AWAY):
        stage.next()
    told = [(s.state, s.reason, s.usable, s.changed, s.trace) for s in stage.seen]
    assert told == [
        ("Active", Reason.KEY_ACTIVE, "True", True, ""),
        ("Active", Reason.KEY_ACTIVE, "True", False, ""),
        ("Suspended", Reason.KEY_DISABLED, "False", True, ""),
        ("Suspended", Reason.KEY_DISABLED, "False", False, ""),
        ("Unknown", Reason.NOT_AUTHORIZED, "False", True, "a-correlation-id"),
        ("Unknown", Reason.NOT_AUTHORIZED, "False", False, "a-correlation-id"),
        ("Active", Reason.KEY_ACTIVE, "True", True, ""),
        ("Active", Reason.KEY_PROTECT_UNAVAILABLE, "Unknown", True, ""),
    ]
    assert {(s.namespace, s.binding, s.uid, s.root_key) for s in stage.seen} == {("n", "a", "uid-a", A)}


def test_an_outage_is_said_once(staged):
    """A gateway that answers something else at each try is one outage; another reason, or an end of it, is news."""
    stage = Stage()
    staged.append(stage)
    stage.begin()
    outage = [Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, f"answers {status}") for status in (502, 503, 504, 502)]
    messages = []
    for stage.answer in (*outage, Unavailable(Reason.IAM_UNAVAILABLE, "answers 500"), ACTIVE):
        stage.next()
        messages.append(str(stage.scope.keys["uid-a"].trouble))
    assert [seen.changed for seen in stage.seen] == [True, True, False, False, False, True, True]
    assert messages == ["answers 502"] * 4 + ["answers 500", "None"]


@pytest.mark.parametrize(
    ("answer", "left"),
    [(ACTIVE, True), (AWAY, True), (DISABLED, False), (NO, False)],
    ids=["usable", "away", "disabled", "refused"],
)
def test_a_clear_no_drops_and_no_answer_does_not(staged, answer, left):
    """At the look itself, without waiting for anything; without an answer the limit of the binding decides."""
    stage = Stage()
    staged.append(stage)
    stage.begin()
    stage.keys.put("uid-a", NEW)
    stage.answer = answer
    stage.next()
    assert ("uid-a", NEW.id) in stage.keys._entries if left else not stage.keys._entries
    stage.answer = AWAY
    while stage.loop.time() < 140.0:  # the limit is 100 s
        stage.next()
    assert not stage.keys._entries, "past its limit it leaves the memory, unasked"


@pytest.mark.parametrize("answer", [ACTIVE, BUSY], ids=["good", "busy"])
def test_what_is_answered_late_puts_no_look_off(staged, answer):
    """From the beginning of one look to the beginning of the next it is one interval: what came back late may have been
    true only when it was asked."""
    stage = Stage(jitter=1.0)
    staged.append(stage)
    stage.takes, stage.answer = 9.0, answer
    stage.begin()
    stage.next()  # the answer
    began = []
    for _ in range(3):
        stage.next()
        began.append(stage.loop.time())
        stage.next()
    assert began == pytest.approx([30.0, 60.0, 90.0])


@pytest.mark.parametrize("answered", [True, False], ids=["answered before", "never answered"])
def test_nothing_to_ask_with(staged, answered):
    """No outage: nothing that was unwrapped is used any more. Who was never answered is waited for, for an interval."""
    stage = Stage(jitter=1.0)
    staged.append(stage)
    stage.answer = ACTIVE if answered else BARE
    stage.begin()
    stage.keys.put("uid-a", NEW)
    stage.answer = BARE
    began = stage.loop.time()
    stage.next()
    assert not stage.keys._entries, "at once"
    while not stage.scope.keys["uid-a"].refused:
        assert not answered
        assert stage.scope.keys["uid-a"].trouble is BARE
        stage.next()
    assert stage.loop.time() - began <= INTERVAL * 1.5
    said = stage.scope.keys["uid-a"].trouble
    assert said.reason is Reason.CREDENTIALS_MISSING
    assert said.message.startswith(BARE.message)
    stage.answer = AWAY
    stage.next()
    assert stage.scope.keys["uid-a"].trouble is said, "an outage takes no refusal back"
    stage.answer = ACTIVE
    stage.next()
    assert not stage.scope.keys["uid-a"].refused, "by itself"


def test_other_credentials_use_nothing_that_the_former_ones_unwrapped(staged):
    """The API key in the Secret is another one now, and may look: whether it may unwrap too is asked anew."""
    stage = Stage()
    staged.append(stage)
    stage.answer = KeyLook(KeyState.ACTIVE, "1", asked_with="one")
    stage.begin()
    stage.keys.put("uid-a", NEW)
    stage.next()
    assert stage.keys._entries
    stage.answer = KeyLook(KeyState.ACTIVE, "1", asked_with="other")
    stage.next()
    assert not stage.keys._entries
    assert not stage.scope.keys["uid-a"].refused
    stage.keys.put("uid-a", NEW)
    stage.next()
    assert stage.keys._entries, "once"


def bound(name: str, place: str = "prod", made: str = "2026-01-01T00:00:00Z") -> RootKeyBinding:
    """A binding of an instance, with its finalizer."""
    meta = {"name": name, "namespace": "n", "uid": f"uid-{place}-{name}", "resourceVersion": "1", "generation": 1}
    meta |= {"creationTimestamp": made, "finalizers": ["openscale.byok.dev/protected"]}
    return RootKeyBinding.of({"metadata": meta, "spec": {"instanceRef": {"name": place}, "rootKey": {"crn": A}}})


def crowd(number: int) -> Scope:
    """An instance with so many bindings."""
    bindings = {f"{n:05}": bound(f"{n:05}") for n in range(number)}
    return Scope(("n", "prod"), instance=instance(), bindings=bindings)


def calls(work: Callable[[], object]) -> int:
    """How many functions a piece of work calls, Python's own included."""
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    gc.disable()  # else what other tests left behind is finalized, and counted, whenever that is due
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_sixteen_bindings_of_an_instance_are_looked_at(staged):
    """However many there are; and one that goes gives its place to the oldest of the others."""
    stage = Stage()
    staged.append(stage)
    stage.scope = crowd(2_000)
    stage.begin()
    stage.loop.run_ready()
    assert {seen.binding for seen in stage.seen} == {f"{n:05}" for n in range(16)}
    stage.scope.see_binding(bound("00003"), gone=True)
    stage.begin()
    stage.loop.run_ready()
    assert {holder for holder in stage.scope.keys if holder != GLOBAL} == {
        f"uid-prod-{n:05}" for n in range(17) if n != 3
    }


def test_one_that_gives_up_its_place_is_not_relied_on_any_more(staged):
    """Nobody looks at its root key from here on: what was said of it is forgotten, and what it unwrapped."""
    stage = Stage()
    staged.append(stage)
    stage.scope = crowd(16)
    stage.begin()
    stage.loop.run_ready()
    assert "uid-prod-00015" in stage.scope.keys
    stage.scope.see_binding(bound("older", made="2025-01-01T00:00:00Z"))
    stage.begin()
    stage.loop.run_ready()
    assert "uid-prod-00015" not in stage.scope.keys
    assert not stage.poll.watches(stage.scope, "uid-prod-00015")
    assert "uid-prod-older" in stage.scope.keys


def test_what_a_pass_costs_does_not_grow_with_bindings_or_instances(staged):
    """A pass that finds nothing new calls as many functions, whether there are twenty bindings or thousands."""
    found = []
    for bindings, instances in ((20, 0), (2_000, 0), (20, 1_000)):
        stage = Stage()
        staged.append(stage)
        stage.scope = crowd(bindings)
        others = [Scope(("n", f"i{n}"), bindings={"a": bound("a", f"i{n}")}) for n in range(instances)]
        for scope in (*others, stage.scope):
            stage.loop.call_soon(stage.poll.follow, scope)
        stage.loop.run_ready()
        found.append(calls(lambda stage=stage: stage.poll.follow(stage.scope)))  # type: ignore[misc] # mypy and defaults
    assert found == [found[0]] * 3
