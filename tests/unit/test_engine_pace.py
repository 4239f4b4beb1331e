"""How often a caller may ask, by a clock that is set by hand."""

from datetime import UTC, datetime

import pytest

from openscale_byok.engine.pace import Pace
from openscale_byok.errors import Unavailable
from openscale_byok.reasons import Reason


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


def taken(of: Pace, who: str, tries: int) -> int:
    """How many of so many requests at once are let through."""
    refused = []
    for _ in range(tries):
        try:
            of.take(who)
        except Unavailable as error:
            refused.append(error.reason)
    assert set(refused) <= {Reason.TOO_MANY_REQUESTS}
    return tries - len(refused)


@pytest.mark.parametrize(("per_second", "burst"), [(50.0, 100), (0.5, 1), (3.0, 7), (100_000.0, 100_000)])
def test_a_burst_then_the_rate(per_second, burst):
    """A caller who was quiet may ask `burst` times at once, then `per_second` times a second; no more, no less."""
    clock = Clock()
    paced = Pace(per_second, burst, clock)
    assert taken(paced, "a", 2 * burst) == burst
    for _ in range(5):
        clock.seconds += 2.0
        assert abs(taken(paced, "a", 4 * int(per_second) + 2) - min(burst, 2 * per_second)) <= 1
    clock.seconds += burst / per_second
    assert taken(paced, "a", 2 * burst) == burst


def test_it_says_when_to_come_back():
    """Whoever waits as long as they are told is let through, and not before; being refused makes it no longer."""
    clock = Clock()
    paced = Pace(2.0, 3, clock)
    assert taken(paced, "a", 3) == 3
    for wait in (0.5, 0.5, 0.5):
        with pytest.raises(Unavailable) as caught:
            paced.take("a")
        assert caught.value.retry_after == pytest.approx(wait)
    clock.seconds += 0.49
    assert taken(paced, "a", 1) == 0
    clock.seconds += 0.01
    assert taken(paced, "a", 2) == 1


def test_each_caller_for_itself():
    """One who asks too often takes nothing from another."""
    paced = Pace(1.0, 2, Clock())
    assert taken(paced, "greedy", 100) == 2
    assert taken(paced, "modest", 2) == 2


def test_a_bounded_number_of_callers():
    """However many come, so many are kept count of; who is forgotten is the one that asked longest ago."""
    clock = Clock()
    paced = Pace(1.0, 2, clock, most=10)
    assert taken(paced, "greedy", 3) == 2
    for n in range(100):
        taken(paced, f"caller-{n}", 1)
        assert taken(paced, "greedy", 1) == 0
    assert len(paced._full) == 10


def test_what_costs_more_counts_as_more():
    """A request that costs ten is ten requests; one that costs more than there is left, or than a whole burst, is let
    through, and owed: then nobody is let through until it is paid."""
    clock = Clock()
    paced = Pace(10.0, 20, clock)
    paced.take("a", 10.0)
    assert taken(paced, "a", 100) == 10
    clock.seconds += 1.0
    paced.take("a", 50.0)
    with pytest.raises(Unavailable) as caught:
        paced.take("a", 50.0)
    assert caught.value.retry_after == pytest.approx(4.1)
    clock.seconds += 4.0
    assert taken(paced, "a", 1) == 0
    clock.seconds += 0.1
    assert taken(paced, "a", 100) == 1


def test_what_is_given_back_was_never_taken():
    """And no more than that: nobody saves up."""
    clock = Clock()
    paced = Pace(1.0, 3, clock)
    for _ in range(100):
        paced.take("a")
        paced.give_back("a")
    paced.give_back("never came")
    assert taken(paced, "a", 10) == 3
