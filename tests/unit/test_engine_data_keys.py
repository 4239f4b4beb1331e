"""The cache of data keys: what an answer does to a key of each age, whatever the poll says."""

import asyncio
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple

import pytest

from openscale_byok.core.view import KeyStanding
from openscale_byok.engine import data_keys
from openscale_byok.engine.context import Context
from openscale_byok.engine.data_keys import RENEWAL_RETRY_SECONDS, DataKeys
from openscale_byok.engine.scope import Scope
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import RootKeyBinding
from sim.views import DISABLED, LOST, NEW, OLD, UNREACHED, USABLE, A, entry, instance

LIMIT = 100.0
AWAY = Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "away")
NO = Refused(Reason.KEY_DISABLED, "disabled")
BAD = Refused(Reason.TAMPERED, "tampered")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


class Root:
    """A root key that gives one answer, and counts how often it was asked."""

    def __init__(self, answer=NEW) -> None:
        self.answer, self.asked = answer, 0
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def unwrap(self, *_):
        self.asked += 1
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, ByokError):
            raise self.answer
        return self.answer

    def customer(self, *_):
        """This root key, as the port `RootKeys` finds it."""
        return self


class Ear:
    """A listener that remembers what was dropped, and then makes a mistake."""

    def __init__(self) -> None:
        self.dropped: list[tuple[str, int]] = []

    def key_seen(self, _) -> None:
        raise AssertionError("nobody looks at a root key here")

    def data_keys_dropped(self, holder: str, number: int) -> None:
        self.dropped.append((holder, number))
        raise LookupError("a bug of a listener")


async def settle() -> None:
    """Let everything run that can: a renewal goes on beside."""
    for _ in range(10):
        await asyncio.sleep(0)


async def told(keys: DataKeys, root: Root, holder: str = "h"):
    """The key, or the reason for none."""
    try:
        return await keys.get(holder, NEW.id, LIMIT, root.unwrap)
    except ByokError as error:
        return error.reason
    finally:
        await settle()


YOUNG, HALF, LAST, OVER = 49.9, 50.0, 99.9, 100.0
REFUSALS = (
    Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_REFUSED, Reason.NOT_AUTHORIZED, Reason.KEY_NOT_FOUND,
    Reason.KEY_NOT_ROOT, Reason.KEY_DISABLED, Reason.KEY_EXPIRED, Reason.KEY_DESTROYED,
)  # fmt: skip
ANSWERS = {
    "key": NEW, "other key": LOST, "tampered": BAD, "away": AWAY,
    "IAM away": Unavailable(Reason.IAM_UNAVAILABLE, "away"), "hangs": None,
    **{reason.value: Refused(reason, "no") for reason in REFUSALS},
}  # fmt: skip
STATES = {"usable": USABLE, "refused": DISABLED, "away": UNREACHED, "no look yet": None}


class Outcome(NamedTuple):
    """What comes of one use of a data key."""

    given: object
    """The key, the reason for none, or `waits`."""
    asked: int
    """Calls to the root key."""
    kept: bool
    """Whether the key at hand serves the next use too."""


def expected(answer: str, age: float | None, state: str) -> Outcome:
    """What must come of it.

    A poll that was refused settles it: nothing is used, nothing asked. A key younger than the limit serves at
    once, whatever Key Protect would say; from half its life on it is asked beside, and then only a clear no, or
    an answer that is not that key, takes it away. Without a young key its answer decides; where the poll says
    that there is none to be had, none is waited for.
    """
    no_key = answer in ("tampered", "other key") or answer in {reason.value for reason in REFUSALS}
    if state == "refused":
        return Outcome(Reason.KEY_DISABLED, 0, kept=False)
    if age is not None and age < LIMIT:
        asked = int(age >= LIMIT / 2)
        return Outcome(NEW, asked, kept=not (asked and no_key))
    if state == "away":
        return Outcome(AWAY.reason, 0, kept=False)
    if answer == "hangs":
        return Outcome("waits", 1, kept=False)
    found = BAD if answer == "other key" else ANSWERS[answer]
    return Outcome(found.reason if isinstance(found, ByokError) else found, 1, kept=answer == "key")


@pytest.mark.parametrize(("answer", "age", "state"), [*product(ANSWERS, (None, 0.0, YOUNG, HALF, LAST, OVER), STATES)])
async def test_answer_and_age_and_state(answer, age, state):
    """Every answer of Key Protect, to a use of a key of each age, whatever the last poll said."""
    clock, root = Clock(), Root(ANSWERS[answer])
    root.gate = asyncio.Event()
    if answer != "hangs":
        root.gate.set()
    keys = DataKeys(clock)
    context = Context(None, None, root, clock, keys, None)
    scope, bound = scope_with(STATES[state])
    if age is not None:
        keys.put(bound.metadata.uid, NEW)
        clock.seconds = age
    recorded = scope.instance.properties.active
    use = asyncio.ensure_future(context.data_key(scope, recorded))
    await settle()
    given: object = "waits"
    if use.done():
        error = use.exception()
        given = error.reason if isinstance(error, ByokError) else use.result()
    kept = keys.serves(bound.metadata.uid, NEW.id, LIMIT)
    use.cancel()
    await keys.close()
    assert Outcome(given, root.asked, kept) == expected(answer, age, state)


def scope_with(standing: KeyStanding | None) -> tuple[Scope, RootKeyBinding]:
    """An instance with one recorded data key and the binding that may use it."""
    raw = {"metadata": {"name": "a", "namespace": "n", "uid": "uid-a", "resourceVersion": "1", "generation": 1}}
    raw["spec"] = {"instanceRef": {"name": "prod"}, "rootKey": {"crn": A}, "dataKeyCacheSeconds": int(LIMIT)}
    bound = RootKeyBinding.of(raw)
    scope = Scope(("n", "prod"), instance=instance([entry(NEW, A)]), bindings={"a": bound})
    if standing is not None:
        scope.keys[bound.metadata.uid] = standing
    return scope, bound


async def test_use_never_extends_the_limit():
    """However often it was used meanwhile: the limit counts from the last successful unwrap."""
    clock, root = Clock(), Root(AWAY)
    keys = DataKeys(clock)
    keys.put("h", NEW)
    given = []
    for clock.seconds in range(0, 121, 20):
        given.append(await told(keys, root))
    assert given == [NEW] * 5 + [AWAY.reason] * 2


async def test_a_success_starts_a_new_life():
    """An unwrap from half its life on counts anew from there."""
    clock, root = Clock(), Root()
    keys = DataKeys(clock)
    for clock.seconds, answer, wanted in [
        (0, NEW, NEW), (60, NEW, NEW), (120, AWAY, NEW), (159, AWAY, NEW), (160, AWAY, AWAY.reason),
    ]:  # fmt: skip
        root.answer = answer
        assert await told(keys, root) == wanted


async def test_a_renewal_keeps_nobody_waiting():
    """Past half its life many uses are answered at once, by one call; the limit ends that, answer or none."""
    clock, root = Clock(), Root(AWAY)
    root.gate = asyncio.Event()
    keys = DataKeys(clock)
    keys.put("h", NEW)
    clock.seconds = HALF
    assert [await told(keys, root) for _ in range(10)] == [NEW] * 10
    clock.seconds = LAST
    assert (await told(keys, root), root.asked) == (NEW, 1)
    clock.seconds = OVER
    asking = asyncio.ensure_future(told(keys, root))
    await settle()
    root.gate.set()
    assert (await asking, root.asked) == (AWAY.reason, 1)


async def test_a_renewal_that_is_refused_drops_all_of_the_holder():
    """The clear no is to a call that nobody waits for; it counts all the same."""
    clock, root, ear = Clock(), Root(NO), Ear()
    keys = DataKeys(clock, [ear])
    for key in (OLD, NEW):
        keys.put("h", key)
    clock.seconds = HALF
    assert await told(keys, root) == NEW
    assert not any(keys.serves("h", key.id, LIMIT) for key in (OLD, NEW))
    assert await told(keys, root) == NO.reason
    assert ear.dropped == [("h", 2)], "once: the second no found nothing to drop"


@pytest.mark.parametrize("asked_to_wait", [None, 20.0])
async def test_a_failed_renewal_is_no_loop(asked_to_wait):
    """However often it is used meanwhile: the next renewal is some seconds later, or when Key Protect says."""
    clock, root = Clock(), Root(Unavailable(AWAY.reason, "away", retry_after=asked_to_wait))
    keys = DataKeys(clock)
    keys.put("h", NEW)
    clock.seconds = HALF
    for _ in range(50):
        await told(keys, root)
    assert root.asked == 1
    pause = asked_to_wait or RENEWAL_RETRY_SECONDS
    for clock.seconds, asked in ((HALF + pause - 0.1, 1), (HALF + pause, 2)):
        assert (await told(keys, root), root.asked) == (NEW, asked)


async def test_a_bound_that_costs_an_unwrap_and_no_refusal(monkeypatch):
    """The least recently used goes first, and use makes nothing younger."""
    monkeypatch.setattr(data_keys, "MOST", 2)
    clock, root, ear = Clock(), Root(), Ear()
    keys = DataKeys(clock, [ear])
    keys.put("h", NEW)
    clock.seconds = 10
    keys.put("i", OLD)
    assert (await told(keys, root), root.asked) == (NEW, 0)
    keys.put("j", OLD)
    assert [keys.serves(*at, LIMIT) for at in (("h", NEW.id), ("i", OLD.id), ("j", OLD.id))] == [True, False, True]
    assert not ear.dropped, "nothing was refused"
    clock.seconds = OVER
    assert not keys.serves("h", NEW.id, LIMIT)
    assert (await told(keys, root, "i"), root.asked) == (NEW, 1)


async def test_what_is_past_its_limit_leaves_the_memory():
    """Unasked, at the poll's word; what is younger, and what is another's, stays."""
    clock = Clock()
    keys = DataKeys(clock)
    for holder in "hi":
        keys.put(holder, NEW)
    clock.seconds = 60
    keys.put("h", OLD)
    clock.seconds = OVER
    keys.expire("h", LIMIT)
    assert sorted(keys._entries) == sorted([("h", OLD.id), ("i", NEW.id)])


async def test_the_end_leaves_nothing_under_way():
    """A renewal that hangs ends with the process's own end, and nobody hears of it."""
    clock, root = Clock(), Root()
    root.gate = asyncio.Event()
    keys = DataKeys(clock)
    keys.put("h", NEW)
    clock.seconds = HALF
    await told(keys, root)
    (renewal,) = keys._tasks
    await keys.close()
    assert renewal.cancelled()
    assert not keys._tasks


@pytest.mark.parametrize("late", [NEW, NO])
async def test_who_comes_after_a_drop_waits_for_no_former_call(late):
    """Other credentials, for one: a call of the former ones that hangs is not joined, and its no is not theirs."""
    hangs, root = Root(late), Root()
    hangs.gate = asyncio.Event()
    keys = DataKeys(Clock())
    waiting = asyncio.ensure_future(told(keys, hangs))
    await hangs.begun.wait()
    keys.drop("h")
    assert await told(keys, root) == NEW
    hangs.gate.set()
    assert await waiting == (Reason.CHANGED_MEANWHILE if late is NEW else NO.reason)
    assert keys.serves("h", NEW.id, LIMIT)


@pytest.mark.parametrize(
    ("answer", "left"),
    [(NO, ["other holder"]), (BAD, ["other key", "other holder"]), (AWAY, ["other key", "other holder"])],
    ids=["no", "bad", "away"],
)
async def test_a_clear_no_drops_all_of_the_holder(answer, left):
    """Refused: every key of this holder is gone at once, of nobody else; Tampered is about one key only."""
    clock, root = Clock(), Root(AWAY)
    keys = DataKeys(clock)
    keys.put("h", OLD)
    keys.put("i", NEW)
    await told(keys, Root(answer))
    found = {"other key": ("h", OLD.id), "other holder": ("i", NEW.id)}
    kept = []
    for name, (holder, key_id) in found.items():
        try:
            await keys.get(holder, key_id, LIMIT, root.unwrap)
        except Unavailable:
            continue
        kept.append(name)
    assert kept == left


async def test_single_flight():
    """However many wait, the root key is asked once; another holder asks for itself."""
    root, other = Root(), Root()
    root.gate = asyncio.Event()
    keys = DataKeys(Clock())
    many = [asyncio.ensure_future(told(keys, root)) for _ in range(10)]
    assert await told(keys, other, "i") == NEW
    root.gate.set()
    assert await asyncio.gather(*many) == [NEW] * 10
    assert (root.asked, other.asked) == (1, 1)


async def test_one_that_leaves_does_not_end_the_flight():
    """A waiter that is cancelled leaves the others their answer."""
    root = Root()
    root.gate = asyncio.Event()
    keys = DataKeys(Clock())
    leaves, stays = (asyncio.ensure_future(told(keys, root)) for _ in range(2))
    await root.begun.wait()
    leaves.cancel()
    root.gate.set()
    assert await stays == NEW
    assert root.asked == 1
    assert leaves.cancelled()


async def test_a_failed_flight_is_not_remembered():
    """After a failure the next one asks anew."""
    keys, root = DataKeys(Clock()), Root(AWAY)
    assert await told(keys, root) == AWAY.reason
    root.answer = NEW
    assert await told(keys, root) == NEW
    assert root.asked == 2


async def test_a_retired_key_is_forgotten():
    """Whoever held it; others stay."""
    keys, root = DataKeys(Clock()), Root(AWAY)
    for holder in "hi":
        keys.put(holder, NEW)
    keys.put("h", OLD)
    keys.forget(NEW.id)
    assert [await told(keys, root, holder) for holder in "hi"] == [AWAY.reason] * 2
    assert await keys.get("h", OLD.id, LIMIT, root.unwrap) == OLD


async def test_what_was_unwrapped_before_a_refusal_is_not_used_after_it() -> None:
    """A key whose unwrap was under way when its holder was dropped is neither given out nor kept."""
    keys, root = DataKeys(Clock()), Root()
    root.gate = asyncio.Event()
    waiting = asyncio.create_task(told(keys, root))
    await root.begun.wait()
    keys.drop("h")
    root.gate.set()
    assert await waiting is Reason.CHANGED_MEANWHILE
    assert not keys.serves("h", NEW.id, LIMIT)
    assert await told(keys, root) is NEW


@pytest.mark.parametrize(
    ("answer", "left"),
    [(NO, False), (BAD, True), (Refused(Reason.GLOBAL_KEY_VERSION_MISSING, "missing"), True)],
    ids=["a clear no", "tampered", "its version is missing"],
)
async def test_what_is_about_one_data_key_takes_no_other_with_it(answer, left):
    """Whoever writes a wrong wrapped key, or one of a missing version, into one instance closes that one alone."""
    keys = DataKeys(Clock())
    keys.put("h", OLD)
    assert await told(keys, Root(answer)) is answer.reason
    assert keys.serves("h", OLD.id, LIMIT) is left


async def test_a_data_key_whose_version_is_missing_serves_no_more():
    """Its version was taken out of the Secret: once that was seen, the key at hand is not used to its limit."""
    clock = Clock()
    keys = DataKeys(clock)
    keys.put("h", NEW)
    clock.seconds = HALF
    await told(keys, Root(Refused(Reason.GLOBAL_KEY_VERSION_MISSING, "missing")))
    assert not keys.serves("h", NEW.id, LIMIT)
