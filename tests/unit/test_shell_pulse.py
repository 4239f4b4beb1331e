"""When a program counts as dead: silence of its loop or of a watch, and never by a tenant's load or an outage."""

import pytest

from openscale_byok.ports.observers import Called
from openscale_byok.shell.pulse import ANSWER_SECONDS, LOOP_SECONDS, WATCH_SECONDS, Pulse

ANSWER = Called("kubernetes", "GET", 200, "success", 0.01)


class Time:
    """A clock, and a pulse that it drives second by second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pulse = Pulse(lambda: self.now, ("datamarts", "rootkeybindings"))

    def passes(self, seconds: float, *, beat: bool = True, answer: bool = True, heard: tuple[str, ...] = ()) -> None:
        """So many ticks, with these signs of life before each."""
        for _ in range(int(seconds)):
            self.now += 1
            if beat:
                self.pulse.beat()
            if answer:
                self.pulse.called(ANSWER)
            for watch in heard:
                self.pulse.heard(watch)
            self.pulse.tick()


BOTH = ("datamarts", "rootkeybindings")


def test_a_silent_loop_is_dead_after_a_minute_and_not_before():
    """60 s of silence are borne, the next second is not; one turn of the loop makes it alive again."""
    time = Time()
    time.passes(LOOP_SECONDS + 1, beat=False, heard=BOTH)  # the first tick still sees the start
    assert time.pulse.failing() == []
    time.passes(1, beat=False, heard=BOTH)
    assert time.pulse.failing() == ["event-loop"]
    time.passes(1, heard=BOTH)
    assert time.pulse.failing() == []


def test_a_process_that_stood_still_is_not_dead():
    """An hour in which the counting thread had no turn either counts as two seconds."""
    time = Time()
    time.passes(1)
    time.now += 3_600
    time.passes(1, beat=False)
    assert time.pulse.failing() == []
    assert time.pulse.loop_silence == 2.0


def test_a_silent_watch_is_dead_while_other_calls_are_answered():
    """Only the silent one is named, after ten minutes in which the API server answered."""
    time = Time()
    time.passes(WATCH_SECONDS, heard=("datamarts",))
    assert time.pulse.failing() == []
    time.passes(1, heard=("datamarts",))
    assert time.pulse.failing() == ["watch-rootkeybindings"]
    time.passes(1, heard=BOTH)
    assert time.pulse.failing() == []


def test_no_watch_is_dead_while_the_api_server_is_away():
    """An outage of any length kills nothing; and when it is over, a watch has its whole time to come back."""
    time = Time()
    time.passes(WATCH_SECONDS - 1)
    time.passes(10 * WATCH_SECONDS, answer=False)
    assert time.pulse.failing() == []
    time.passes(WATCH_SECONDS)
    assert time.pulse.failing() == []
    time.passes(ANSWER_SECONDS)
    assert time.pulse.failing() == [f"watch-{watch}" for watch in BOTH]


@pytest.mark.parametrize(
    "call",
    [Called("kubernetes", "GET", 0, "unavailable", 30.0), Called("key-protect", "unwrap", 200, "success", 0.1)],
    ids=["no answer", "of another system"],
)
def test_only_an_answer_of_the_api_server_shows_that_it_is_there(call):
    """What did not come, or came from elsewhere, makes no watch look dead."""
    time = Time()
    for _ in range(2 * int(WATCH_SECONDS)):
        time.pulse.called(call)
        time.passes(1, answer=False)
    assert time.pulse.failing() == []


def test_a_watch_that_never_began_is_not_ready():
    """It is named until it began, also after it was heard of."""
    pulse = Time().pulse
    assert pulse.unheard() == ["watch-datamarts", "watch-rootkeybindings"]
    pulse.heard("datamarts")
    pulse.began("rootkeybindings")
    pulse.began("pods")
    assert pulse.unheard() == ["watch-datamarts"]
