"""The cache of data keys: what an answer does to a key of each age."""

import asyncio
from datetime import UTC, datetime

import pytest

from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason
from sim.views import LOST, NEW, OLD

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

    async def unwrap(self):
        self.asked += 1
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, ByokError):
            raise self.answer
        return self.answer


async def told(keys: DataKeys, root: Root, holder: str = "h"):
    """The key, or the reason for none."""
    try:
        return await keys.get(holder, NEW.id, LIMIT, root.unwrap)
    except ByokError as error:
        return error.reason


YOUNG, HALF, LAST, OVER = 49.9, 50.0, 99.9, 100.0
# the answer, the age of the key at hand (None: there is none) -> what is given, how often the root key was asked
GET = {
    ("key", None): (NEW, 1), ("key", YOUNG): (NEW, 0), ("key", HALF): (NEW, 1), ("key", OVER): (NEW, 1),
    ("away", None): (AWAY.reason, 1), ("away", YOUNG): (NEW, 0), ("away", HALF): (NEW, 1),
    ("away", LAST): (NEW, 1), ("away", OVER): (AWAY.reason, 1),
    ("no", None): (NO.reason, 1), ("no", YOUNG): (NEW, 0), ("no", HALF): (NO.reason, 1),
    ("no", OVER): (NO.reason, 1),
    ("bad", None): (BAD.reason, 1), ("bad", YOUNG): (NEW, 0), ("bad", HALF): (BAD.reason, 1),
    ("other", None): (BAD.reason, 1), ("other", HALF): (BAD.reason, 1), ("other", OVER): (BAD.reason, 1),
}  # fmt: skip
ANSWERS = {"key": NEW, "away": AWAY, "no": NO, "bad": BAD, "other": LOST}


@pytest.mark.parametrize(("answer", "age"), GET)
async def test_answer_and_age(answer, age):
    """Young serves unasked; from half its life it is asked; without an answer it serves to the limit, no longer."""
    clock, root = Clock(), Root(ANSWERS[answer])
    keys = DataKeys(clock)
    if age is not None:
        keys.put("h", NEW)
        clock.seconds = age
    assert (await told(keys, root), root.asked) == GET[answer, age]


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


async def test_the_limit_may_pass_while_asking():
    """A key that grew too old during the call is not given out, although it was young enough before."""
    clock, root = Clock(), Root(AWAY)
    root.gate = asyncio.Event()
    keys = DataKeys(clock)
    keys.put("h", NEW)
    clock.seconds = LAST
    asking = asyncio.ensure_future(told(keys, root))
    await root.begun.wait()
    clock.seconds = OVER
    root.gate.set()
    assert await asking == AWAY.reason


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
    assert not keys.holds("h", NEW.id)
    assert await told(keys, root) is NEW
