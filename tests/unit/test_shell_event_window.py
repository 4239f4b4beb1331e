"""A few events of each namespace at a time: what an object was in between may be skipped, what it is now may not."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import nullcontext

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.shell.event_window import AT_ONCE, LOST_SECONDS, EventWindow, HeldEvents
from openscale_byok.shell.watch_answers import ShortLines


class Watch:
    """Events that pass, and kopf, which has them in its hands until it is told to hand them on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.window = EventWindow(lambda: self.now)
        self.held = HeldEvents(self.window)
        self.passed: list[tuple[str, str, int]] = []
        self.in_hand: list[str] = []
        self.most: Counter[str] = Counter()

    def event(self, namespace: str, uid: str, version: int) -> None:
        event = {"type": "MODIFIED", "object": {"metadata": {"namespace": namespace, "uid": uid}}}
        self._count(self.held.take(json.dumps([namespace, uid, version]).encode(), event))

    def handle(self) -> None:
        """kopf hands one on."""
        if self.in_hand:
            self.window.handled(self.in_hand.pop(0))
        self._count(self.held.ready())

    def handle_all(self) -> None:
        while self.in_hand:
            self.handle()

    def _count(self, lines: list[bytes]) -> None:
        for line in lines:
            namespace, uid, version = json.loads(line)
            self.passed.append((namespace, uid, version))
            self.in_hand.append(namespace)
            self.most[namespace] = max(self.most[namespace], self.in_hand.count(namespace))


def test_who_is_in_no_hurry_is_not_held():
    """Each event passes as it comes, while those before are handed on."""
    watch = Watch()
    for number in range(1_000):
        watch.event("n", f"u{number % 7}", number)
        watch.handle()
    assert [version for *_, version in watch.passed] == list(range(1_000))


def test_of_a_storm_little_is_in_kopfs_hands_and_a_quiet_namespace_passes_at_once():
    """10,000 changes a second, of which kopf manages every hundredth: nobody else waits, and the end of it is told."""
    watch, changes = Watch(), 10_000 * 10
    for number in range(changes):
        watch.event("noisy", f"u{number % 500}", number)
        if number % 1_000 == 0:
            watch.event("quiet", "mine", number)
            assert watch.passed[-1] == ("quiet", "mine", number)
        if number % 100 == 0:
            watch.handle()
        if number % 5_000 == 0:
            watch.in_hand = [each for each in watch.in_hand if each == "noisy"]
            watch.window.handled("quiet")
    assert watch.most["noisy"] == AT_ONCE
    watch.handle_all()
    newest = {uid: version for _, uid, version in watch.passed if uid != "mine"}
    assert newest == {f"u{number % 500}": number for number in range(changes - 500, changes)}
    assert not watch.held


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 2)), max_size=80))
def test_the_newest_of_each_object_passes_and_nothing_passes_twice(story):
    """In whatever order and however fast they come; and never one that is older than what passed before."""
    watch = Watch()
    for version, (namespace, number, handled) in enumerate(story):
        watch.event(namespace, f"u{number}", version)
        for _ in range(handled):
            watch.handle()
    watch.handle_all()
    newest = {(namespace, f"u{number}"): version for version, (namespace, number, _) in enumerate(story)}
    seen: dict[tuple[str, str], int] = {}
    for namespace, uid, version in watch.passed:
        assert seen.get((namespace, uid), -1) < version
        seen[namespace, uid] = version
    assert seen == newest


def test_an_event_that_kopf_lost_is_not_waited_for_for_ever():
    """It has no handler, or its worker died: after some seconds the next ones pass."""
    watch = Watch()
    for version in range(AT_ONCE + 3):
        watch.event("n", f"u{version}", version)
    assert len(watch.passed) == AT_ONCE
    watch.in_hand.clear()
    watch.now = LOST_SECONDS
    watch.handle()
    assert len(watch.passed) == AT_ONCE + 3


def test_how_far_the_watch_is_is_not_said_while_something_is_held():
    """A bookmark would have the next watch begin behind it; an error ends this one, so all that was held passes."""
    watch = Watch()
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    assert watch.held.take(b"bookmark", bookmark) == [b"bookmark"]
    for version in range(AT_ONCE + 1):
        watch.event("n", "u", version)
    assert watch.held.take(b"bookmark", bookmark) == []
    found = watch.held.take(b"error", {"type": "ERROR", "object": {"code": 410}})
    assert [json.loads(line)[2] for line in found[:-1]] == [AT_ONCE]
    assert found[-1] == b"error"


class Storm:
    """A watch that ends in the middle of a storm."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for version in range(1_000):
            meta = {"namespace": "n", "uid": f"u{version % 50}", "resourceVersion": str(version)}
            yield json.dumps({"type": "MODIFIED", "object": {"metadata": meta}}).encode() + b"\n"
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error", [None, aiohttp.ClientPayloadError("cut"), TimeoutError()], ids=["ends", "cut", "late"]
)
@pytest.mark.parametrize("handled", [True, False], ids=["handed on", "in hand"])
async def test_what_was_held_is_not_lost_where_a_watch_ends(error, handled):
    """The next one begins behind it, and would never show it."""
    found: dict[str, int] = {}
    window = EventWindow(lambda: 0.0)

    async def read() -> None:
        async for part in ShortLines(Storm(error), window).iter_chunked(1):
            if part.strip():
                meta = json.loads(part)["object"]["metadata"]
                found[meta["uid"]] = int(meta["resourceVersion"])
                if handled:
                    window.handled("n")

    with pytest.raises(type(error)) if error is not None else nullcontext():
        await read()
    assert found == {f"u{version % 50}": version for version in range(950, 1_000)}


async def test_what_is_held_passes_as_soon_as_there_is_room():
    """Without another event that would wake its watch."""

    class Silent:
        async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
            for number in range(AT_ONCE + 1):
                meta = {"namespace": "n", "uid": f"u{number}"}
                yield json.dumps({"type": "MODIFIED", "object": {"metadata": meta}}).encode() + b"\n"
            await asyncio.Event().wait()

    before, window = asyncio.all_tasks(), EventWindow(lambda: 0.0)
    passed: list[bytes] = []

    async def read() -> None:
        async for part in ShortLines(Silent(), window).iter_chunked(1):
            passed.append(part)  # noqa: PERF401 -- one by one, as they come

    task = asyncio.ensure_future(read())
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(passed) == AT_ONCE
    window.handled("n")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(passed) == AT_ONCE + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before, "a watch that nobody reads any more leaves nothing behind"


async def test_a_watch_is_read_on_however_long_kopf_takes():
    """What waits for kopf keeps nothing behind it waiting: a quiet namespace's event comes in among a storm's."""
    read: list[int] = []

    class Behind:
        async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
            for number in range(1_000):
                await asyncio.sleep(0)
                read.append(number)
                meta = {"namespace": "quiet" if number == 999 else "noisy", "uid": f"u{number % 50}"}
                yield json.dumps({"type": "MODIFIED", "object": {"metadata": meta}}).encode() + b"\n"

    window = EventWindow(lambda: 0.0)
    parts = ShortLines(Behind(), window).iter_chunked(1)
    first = await anext(parts)
    assert b'"noisy"' in first
    for _ in range(10_000):  # kopf is busy with that one
        await asyncio.sleep(0)
    assert len(read) == 1_000
    passed = [await anext(parts) for _ in range(AT_ONCE)]
    assert b'"quiet"' in passed[-1], "the others wait for kopf, and it does not"
    await parts.aclose()
