"""What is remembered of who asks and what they may: for how long, how much of it, and what strangers can do to it."""

import asyncio
import gc
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from openscale_byok.adapters.iam_keys import FRESH_SECONDS, KEPT_SECONDS
from openscale_byok.adapters.iam_tokens import LEEWAY_SECONDS
from openscale_byok.core.caller import CREDENTIALS, Access, Caller
from openscale_byok.engine.answers import ANSWER_SECONDS, AT_ONCE, MOST_WAITING
from openscale_byok.engine.rights import (
    ALLOWED_SECONDS,
    DENIED_SECONDS,
    KNOWN_SECONDS,
    NO_OBJECT,
    REFUSED_BURST,
    REFUSED_PER_SECOND,
    REFUSED_SECONDS,
    Rights,
)
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason
from sim.loop import LoopClock, VirtualLoop
from sim.reviews import MemoryReviews

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
ALICE = Caller("system:serviceaccount:team:alice", "kubernetes", "uid-a", ("system:authenticated",))
READ = Access("get", CREDENTIALS, "team", "scores")
ALL, NO_SUCH = replace(READ, name=""), replace(READ, name=NO_OBJECT)


def grant_all(reviews: MemoryReviews) -> None:
    """A right without names, as RBAC answers for it: for every name, and without one."""
    names = ("", NO_OBJECT, "before", *(f"mart-{n}" for n in range(1_000)))
    reviews.rules |= {(ALICE.user, replace(READ, name=name)) for name in names}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def reviews() -> MemoryReviews:
    found = MemoryReviews()
    found.tokens["alice"] = ALICE
    found.rules.add((ALICE.user, READ))
    return found


@pytest.fixture
async def rights(reviews, clock):
    made = Rights(reviews, clock)
    yield made
    await made.close()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def refused(call) -> Refused:
    """The refusal that a call ends with."""
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.reason is Reason.NOT_AUTHENTICATED
    return caught.value


async def unavailable(call) -> Unavailable:
    """What a call without an answer ends with."""
    with pytest.raises(Unavailable) as caught:
        await call
    return caught.value


# For how long ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used_meanwhile", [False, True], ids=["unused", "used"])
async def test_a_token_that_is_withdrawn_is_used_no_longer_than_it_says(rights, reviews, clock, used_meanwhile):
    """Until KNOWN_SECONDS after it was asked about, never more, and use does not extend it."""
    assert await rights.caller("alice") == ALICE
    del reviews.tokens["alice"]
    if used_meanwhile:
        clock.seconds = KNOWN_SECONDS / 2
        assert await rights.caller("alice") == ALICE
    clock.seconds = KNOWN_SECONDS - 0.001
    assert await rights.caller("alice") == ALICE
    assert reviews.asked == ["alice"]
    clock.seconds = KNOWN_SECONDS
    await refused(rights.caller("alice"))


async def test_a_right_that_is_withdrawn_is_used_no_longer_than_it_says(rights, reviews, clock):
    """Until ALLOWED_SECONDS after it was asked about; what is given anew counts after DENIED_SECONDS."""
    assert await rights.allowed(ALICE, READ)
    reviews.rules.clear()
    clock.seconds = ALLOWED_SECONDS - 0.001
    assert await rights.allowed(ALICE, READ)
    clock.seconds = ALLOWED_SECONDS
    assert not await rights.allowed(ALICE, READ)
    reviews.rules.add((ALICE.user, READ))
    clock.seconds += DENIED_SECONDS - 0.001
    assert not await rights.allowed(ALICE, READ)
    clock.seconds += 0.001
    assert await rights.allowed(ALICE, READ)
    assert [about for about in reviews.asked if about == (ALICE, READ)] == [(ALICE, READ)] * 3


async def test_a_refused_token_is_asked_about_again_later(rights, reviews, clock):
    """A bad token costs one question in REFUSED_SECONDS, however often it comes; its refusal stays the same."""
    first = await refused(rights.caller("new"))
    reviews.tokens["new"] = ALICE
    clock.seconds = REFUSED_SECONDS - 0.001
    again = await refused(rights.caller("new"))
    assert (first.message, first.trace) == (again.message, again.trace)
    assert first is not again
    assert reviews.asked == ["new"]
    clock.seconds = REFUSED_SECONDS
    assert await rights.caller("new") == ALICE


async def test_a_yes_is_never_kept_longer_than_a_no(rights):
    """Taking something back works sooner than giving it; and no answer is waited for that would be older than a yes."""
    assert KNOWN_SECONDS < REFUSED_SECONDS
    assert ALLOWED_SECONDS < DENIED_SECONDS
    assert min(KNOWN_SECONDS, ALLOWED_SECONDS) > ANSWER_SECONDS


@pytest.mark.parametrize(("left", "kept"), [(2.0, 2.0), (3600.0, KNOWN_SECONDS), (-1.0, 0.0)])
async def test_a_token_is_not_used_beyond_its_own_end(rights, reviews, clock, left, kept):
    """Whatever ends first: the answer's time or the token's."""
    reviews.tokens["short"] = Caller("iam:x", "iam", expires=BEGIN.timestamp() + left)
    await rights.caller("short")
    clock.seconds = max(0.0, kept - 0.01)
    await rights.caller("short")
    assert len(reviews.asked) == (1 if kept else 2)
    del reviews.tokens["short"]
    clock.seconds = kept
    await refused(rights.caller("short"))


async def test_a_right_is_kept_for_whoever_it_is_whatever_token_they_hold(rights, reviews):
    """Another token of the same caller needs no question about their rights; another group of theirs does."""
    assert await rights.allowed(Caller("u", "iam", expires=1.0), READ) is False
    assert await rights.allowed(Caller("u", "iam", expires=2.0), READ) is False
    assert len(reviews.asked) == 2, "for all, and for this one"
    await rights.allowed(Caller("u", "iam", groups=("g",)), READ)
    assert len(reviews.asked) == 4
    await rights.allowed(Caller("u", "iam"), Access("get", CREDENTIALS, "team", "others"))
    assert len(reviews.asked) == 5, "for all: a no that is known"
    await rights.allowed(Caller("u", "iam"), Access("get", CREDENTIALS, "elsewhere", "scores"))
    assert len(reviews.asked) == 7


async def test_without_an_answer_there_is_no_yes(rights, reviews, clock):
    """The API server away: what is young enough serves, then nothing does; its return is noticed at once."""
    await rights.caller("alice")
    await rights.allowed(ALICE, READ)
    reviews.away = True
    clock.seconds = KNOWN_SECONDS - 0.001
    assert await rights.caller("alice") == ALICE
    clock.seconds = max(KNOWN_SECONDS, ALLOWED_SECONDS)
    for _ in range(2):
        assert (await unavailable(rights.caller("alice"))).reason is Reason.CLUSTER_UNAVAILABLE
        assert (await unavailable(rights.allowed(ALICE, READ))).reason is Reason.CLUSTER_UNAVAILABLE
    reviews.away = False
    assert await rights.caller("alice") == ALICE
    assert await rights.allowed(ALICE, READ)


async def test_an_answer_counts_from_when_it_was_asked_for(rights, reviews, clock):
    """One that was long on its way is that much older."""
    reviews.gate.clear()
    waiting = asyncio.create_task(rights.caller("alice"))
    await settle()
    clock.seconds = 3.0
    reviews.gate.set()
    await waiting
    del reviews.tokens["alice"]
    clock.seconds = KNOWN_SECONDS
    await refused(rights.caller("alice"))


# How many questions ------------------------------------------------------------------------------------


async def test_however_many_wait_one_question_is_asked(rights, reviews):
    """A hundred requests with one token, and for one right, are one question each."""
    reviews.gate.clear()
    callers = [asyncio.create_task(rights.caller("alice")) for _ in range(100)]
    accesses = [asyncio.create_task(rights.allowed(ALICE, READ)) for _ in range(100)]
    await settle()
    callers[0].cancel()  # whoever asked first goes away: the others still get their answer
    reviews.gate.set()
    assert {ALICE} == set(await asyncio.gather(*callers[1:]))
    assert {True} == set(await asyncio.gather(*accesses))
    assert reviews.asked == ["alice", (ALICE, ALL), (ALICE, READ)]


@pytest.mark.parametrize("number", [1, 1_000])
async def test_who_may_read_all_is_asked_about_once_however_many_there_are(rights, reviews, clock, number):
    """A right without names costs two questions in ALLOWED_SECONDS: without a name, and for what is no object."""
    grant_all(reviews)
    for _ in range(2):
        for n in range(number):
            assert await rights.allowed(ALICE, replace(READ, name=f"mart-{n}"))
        assert reviews.asked == [(ALICE, ALL), (ALICE, NO_SUCH)]
        reviews.asked.clear()
        clock.seconds += ALLOWED_SECONDS


async def test_a_right_to_all_that_is_withdrawn_is_used_no_longer_than_it_says(rights, reviews, clock):
    """For what was read before and for what was not; use does not extend it; a name of its own goes on."""
    grant_all(reviews)
    assert await rights.allowed(ALICE, replace(READ, name="before"))
    reviews.rules -= {(ALICE.user, ALL), (ALICE.user, NO_SUCH), (ALICE.user, replace(READ, name="before"))}
    clock.seconds = ALLOWED_SECONDS - 0.001
    for name in ("before", "never"):
        assert await rights.allowed(ALICE, replace(READ, name=name))
    clock.seconds = ALLOWED_SECONDS
    for name in ("before", "never"):
        assert not await rights.allowed(ALICE, replace(READ, name=name))
    assert await rights.allowed(ALICE, READ)


@pytest.mark.parametrize("names", [[""], [NO_OBJECT], [NO_OBJECT, "scores"], ["*"], ["", "scores"]])
async def test_a_role_for_names_that_are_none_is_no_right_to_all(rights, reviews, names):
    """RBAC compares names as text: `resourceNames: [""]` allows the question without a name. It is not *all*, nor is a
    right to what has the name that no object has, also where just that is asked for first."""
    reviews.rules = {(ALICE.user, replace(READ, name=name)) for name in names}
    for name in (*names, "others"):
        await rights.allowed(ALICE, replace(READ, name=name))
    assert not await rights.allowed(ALICE, replace(READ, name="others"))
    assert await rights.allowed(ALICE, READ) is ("scores" in names)


@pytest.mark.parametrize("verb", ["delete", "patch", "bind"])
async def test_what_changes_something_is_asked_by_its_name(rights, reviews, verb):
    """A right to all is asked for to read, and for nothing else."""
    reviews.rules |= {(ALICE.user, replace(found, verb=verb)) for found in (ALL, NO_SUCH)}
    asked = Access(verb, "datamarts", "team", "scores")
    assert not await rights.allowed(ALICE, asked)
    assert reviews.asked == [(ALICE, asked)]


async def test_what_is_known_is_answered_without_waiting(rights):
    """The hot path never gives way to anything else: its coroutine ends at its first step."""
    await rights.caller("alice")
    await rights.allowed(ALICE, READ)
    for call in (rights.caller("alice"), rights.allowed(ALICE, READ)):
        with pytest.raises(StopIteration):
            call.send(None)


async def test_strangers_ask_a_bounded_number_of_questions(rights, reviews):
    """Random tokens: so many under way, so many who wait, and the rest is sent away with a time to come back."""
    reviews.gate.clear()
    calls = [asyncio.create_task(rights.caller(f"made-up-{n}", f"network {n}")) for n in range(1_000)]
    await settle()
    assert reviews.under_way == AT_ONCE
    sent_away = [call for call in calls if call.done()]
    assert len(sent_away) == 1_000 - AT_ONCE - MOST_WAITING
    for call in sent_away:
        error = call.exception()
        assert isinstance(error, Unavailable)
        assert (error.reason, error.retry_after) == (Reason.TOO_MANY_REQUESTS, 1.0)
    reviews.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert reviews.most_under_way == AT_ONCE
    assert await rights.caller("alice") == ALICE, "and all of it is over afterwards"


async def test_strangers_hold_up_nobody_who_was_here_before(rights, reviews, clock):
    """While made-up tokens fill their lane, a caller who was good a moment ago is asked about at once."""
    await rights.caller("alice")
    await rights.allowed(ALICE, READ)
    clock.seconds = KNOWN_SECONDS
    reviews.gate.clear()
    calls = [asyncio.create_task(rights.caller(f"made-up-{n}")) for n in range(AT_ONCE + MOST_WAITING)]
    calls += [
        asyncio.create_task(rights.allowed(ALICE, Access("get", CREDENTIALS, "team", f"{n}")))
        for n in range(AT_ONCE + MOST_WAITING)
    ]
    await settle()
    reviews.asked.clear()
    mine = asyncio.create_task(rights.caller("alice")), asyncio.create_task(rights.allowed(ALICE, READ))
    await settle()
    assert reviews.asked == ["alice", (ALICE, READ)]
    reviews.gate.set()
    assert await asyncio.gather(*mine) == [ALICE, True]
    await asyncio.gather(*calls, return_exceptions=True)


async def test_one_address_keeps_nobody_out(rights, reviews):
    """450 made-up tokens at once from one address, and again as many: a new caller elsewhere is asked about next, and
    whoever is sent away is of the flood."""
    reviews.gate.clear()
    flood = [asyncio.create_task(rights.caller(f"made-up-{n}", "flood")) for n in range(450)]
    await settle()
    mine = asyncio.create_task(rights.caller("alice", "mine"))
    flood += [asyncio.create_task(rights.caller(f"more-{n}", "flood")) for n in range(450)]
    await settle()
    reviews.gate.set()
    assert await mine == ALICE
    assert reviews.asked.index("alice") <= AT_ONCE + 1
    await asyncio.gather(*flood, return_exceptions=True)


async def test_an_address_that_is_refused_is_slowed_down_before_anybody_is_asked(rights, reviews, clock):
    """So many made-up tokens are asked about, then so many a second; the rest hears when to come back. A good token is
    not counted, however many there are."""
    reviews.tokens |= {f"good-{n}": Caller(f"u{n}", "kubernetes") for n in range(200)}
    for n in range(200):
        await rights.caller(f"good-{n}", "there")
    reviews.asked.clear()
    for n in range(REFUSED_BURST):
        await refused(rights.caller(f"made-up-{n}", "there"))
    for n in range(500):
        error = await unavailable(rights.caller(f"another-{n}", "there"))
        assert error.reason is Reason.TOO_MANY_REQUESTS
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 1 / REFUSED_PER_SECOND
    assert len(reviews.asked) == REFUSED_BURST
    clock.seconds += 1.0
    for n in range(500):
        with pytest.raises((Refused, Unavailable)):
            await rights.caller(f"later-{n}", "there")
    assert len(reviews.asked) == REFUSED_BURST + REFUSED_PER_SECOND
    await refused(rights.caller("made-up", "elsewhere"))


async def test_who_shares_an_address_with_strangers_does_not_share_their_fate(rights, reviews, clock):
    """While an address is slowed down and strangers fill their queue: a renewed token whose signer is known is asked
    about at once, and so is one that was good a moment ago."""
    await rights.caller("alice", "shared")
    clock.seconds = KNOWN_SECONDS
    for n in range(REFUSED_BURST):
        await refused(rights.caller(f"made-up-{n}", "shared"))
    reviews.gate.clear()
    flood = [asyncio.create_task(rights.caller(f"x-{n}", f"network {n}")) for n in range(AT_ONCE + MOST_WAITING)]
    await settle()
    reviews.tokens["renewed"], reviews.signers["renewed"] = ALICE, "alice"
    reviews.asked.clear()
    mine = [asyncio.create_task(rights.caller(token, "shared")) for token in ("renewed", "alice")]
    await settle()
    assert reviews.asked == ["renewed", "alice"]
    reviews.gate.set()
    assert await asyncio.gather(*mine) == [ALICE, ALICE]
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_signed_token_that_is_no_good_slows_down_its_signer_there_and_nobody_else(rights, reviews):
    """Variants of a token that was withdrawn are as many questions as made-up ones; other signers, and the same one at
    another address, are asked about."""
    reviews.signers |= {f"old-{n}": "bob" for n in range(500)} | {"alice": "alice"}
    for n in range(500):
        with pytest.raises((Refused, Unavailable)):
            await rights.caller(f"old-{n}", "shared")
    assert len(reviews.asked) == REFUSED_BURST
    assert await rights.caller("alice", "shared") == ALICE
    reviews.tokens["new"], reviews.signers["new"] = Caller("bob", "kubernetes"), "bob"
    assert (await rights.caller("new", "bobs own")).user == "bob"


async def test_without_an_answer_nothing_counts_against_an_address(rights, reviews):
    """An API server that is away refuses nobody: when it is back, everybody is asked about."""
    reviews.away = True
    for n in range(10 * REFUSED_BURST):
        await unavailable(rights.caller(f"t-{n}", "there"))
    reviews.away = False
    assert await rights.caller("alice", "there") == ALICE


async def test_who_asks_for_much_keeps_nobody_from_asking(rights, reviews):
    """One caller who asks for a thousand names at once: another's question is next, and is not sent away."""
    reviews.gate.clear()
    greedy = Caller("greedy", "kubernetes")
    asked = [Access("delete", "datamarts", "team", f"{n}") for n in range(1_000)]
    many = [asyncio.create_task(rights.allowed(greedy, access)) for access in asked]
    await settle()
    one = asyncio.create_task(rights.allowed(ALICE, Access("delete", "datamarts", "team", "scores")))
    await settle()
    reviews.gate.set()
    assert await one is False
    users = [about[0].user for about in reviews.asked]
    assert users.index(ALICE.user) <= AT_ONCE + 1
    await asyncio.gather(*many, return_exceptions=True)


async def test_who_reads_by_name_does_not_wait_behind_newcomers(rights, reviews, clock):
    """The question about all, which comes first, does not make a stranger of somebody who was let in a moment ago."""
    assert await rights.allowed(ALICE, READ)
    clock.seconds = DENIED_SECONDS
    reviews.gate.clear()
    crowd = [Caller(f"u{n}", "kubernetes") for n in range(AT_ONCE + MOST_WAITING)]
    calls = [asyncio.create_task(rights.allowed(caller, READ)) for caller in crowd]
    await settle()
    reviews.asked.clear()
    mine = asyncio.create_task(rights.allowed(ALICE, READ))
    await settle()
    assert reviews.asked == [(ALICE, ALL)]
    reviews.gate.set()
    assert await mine
    await asyncio.gather(*calls, return_exceptions=True)


# How much ----------------------------------------------------------------------------------------------


async def test_strangers_push_out_nobody(reviews, clock):
    """However many bad tokens and denied questions come, what is good stays known; and all of it is bounded."""
    rights = Rights(reviews, clock, most=50)
    await rights.caller("alice")
    await rights.allowed(ALICE, READ)
    for n in range(500):
        await refused(rights.caller(f"made-up-{n}", f"network {n}"))
        await rights.allowed(ALICE, Access("get", CREDENTIALS, "team", f"{n}"))
    reviews.asked.clear()
    assert await rights.caller("alice") == ALICE
    assert await rights.allowed(ALICE, READ)
    assert reviews.asked == []
    for kept in (rights._callers, rights._accesses):
        assert len(kept._yes) + len(kept._no) <= 100
        assert not kept._flights
    assert len(rights._refused._full) <= 50


async def test_the_least_recently_used_makes_room(reviews, clock):
    """Where even good answers are too many, the one goes that nobody asked for."""
    rights = Rights(reviews, clock, most=10)
    reviews.tokens |= {f"t{n}": Caller(f"u{n}", "iam") for n in range(20)}
    for n in range(20):
        await rights.caller(f"t{n}")
        await rights.caller("t0")
    assert reviews.asked == [f"t{n}" for n in range(20)]
    await rights.caller("t19")
    await rights.caller("t1")
    assert reviews.asked[20:] == ["t1"]


async def test_no_token_is_kept(rights, reviews):
    """Once its question is answered, nothing that is kept leads to a token: a digest is what it is known by."""
    await refused(rights.caller("a-bad-token"))
    await rights.caller("alice")
    await settle()
    seen, left = {id(reviews)}, [rights]
    while left:
        found = left.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):
            continue
        seen.add(id(found))
        assert found not in ("alice", "a-bad-token")
        left += gc.get_referents(found)
        left += found if isinstance(found, dict) else ()  # the collector leaves keys out that are text
    assert id(rights._callers._no) in seen


async def test_any_bytes_are_a_bad_token(rights):
    """A header that was no text is refused like any other."""
    await refused(rights.caller("\udcff\udc80"))


# Time runs out -----------------------------------------------------------------------------------------


def test_an_api_server_that_hangs_is_no_answer():
    """After ANSWER_SECONDS everybody who waits hears it, also those who wait for their turn; nothing stays behind."""
    loop = VirtualLoop()
    try:
        reviews = MemoryReviews()
        reviews.gate.clear()
        rights = Rights(reviews, LoopClock(loop))
        calls = [loop.create_task(rights.caller(f"t{n}")) for n in range(AT_ONCE + MOST_WAITING)]
        loop.run_ready()
        assert not any(call.done() for call in calls)
        loop.jump(ANSWER_SECONDS)
        errors = [call.exception() for call in calls]
        assert all(isinstance(error, Unavailable) for error in errors)
        assert {error.reason for error in errors} == {Reason.CLUSTER_UNAVAILABLE}
        assert reviews.under_way == 0
        reviews.gate.set()
        reviews.tokens["alice"] = ALICE
        alice = loop.create_task(rights.caller("alice"))
        loop.run_ready()
        assert alice.result() == ALICE
    finally:
        loop.close()


def test_the_page_says_how_long_a_right_lives_on():
    """Each bound in docs/who-may.md is the one that the code has."""
    page = (Path(__file__).parents[2] / "docs/who-may.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page, re.MULTILINE))
    assert rows["a Role, a RoleBinding"] == f"{ALLOWED_SECONDS:.0f} seconds"
    assert f"{KNOWN_SECONDS:.0f} here" in rows["a Kubernetes token: its ServiceAccount or pod is deleted"]
    assert rows["an IAM token ends"].startswith(f"{LEEWAY_SECONDS:.0f} seconds")
    kept = f"{FRESH_SECONDS / 60:.0f} minutes; {KEPT_SECONDS / 3600:.0f} hour while"
    assert rows["a signing key of IAM"].startswith(kept)
    assert DENIED_SECONDS == REFUSED_SECONDS
    assert f"seen after {DENIED_SECONDS:.0f} seconds at most" in page
    assert f"At most {AT_ONCE}\n  of their questions are under way at once, {MOST_WAITING} wait" in page
    assert f"After {REFUSED_BURST} refused tokens of one address, {REFUSED_PER_SECOND:.0f} a second" in page


@pytest.mark.parametrize("access", [Access("get", "datamarts", "team", "a" * 254), Access("get", "x", "n" * 254, "a")])
async def test_a_name_that_nothing_can_have_is_neither_asked_about_nor_kept(rights, reviews, access) -> None:
    """A path may hold 8,000 characters: ten thousand answers about such names would be 80 MB."""
    reviews.rules.add((ALICE.user, access))
    assert not await rights.allowed(ALICE, access)
    assert not reviews.asked
