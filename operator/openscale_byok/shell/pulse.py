"""Whether a program is alive: its event loop turns, and its watches hear something.

A tenant's load must not have it killed: started anew it would list everything again, which makes that worse. So:

- silence is counted only in seconds in which the thread that counts had its turns too. A process that stood still, or
  had no processor, is not taken for one that hangs.
- a watch counts as dead only while other calls to the API server are answered.
"""

from collections.abc import Callable

from openscale_byok.ports.observers import Called

LOOP_SECONDS = 60.0
"""Of silence of the event loop; a slice of work takes it a fraction of a second."""
WATCH_SECONDS = 600.0
"""Of silence of a watch. Each ends after five minutes at the latest, and begins anew."""
ANSWER_SECONDS = 30.0
"""For so long an answer of the API server shows that it can be reached; it is asked every few seconds."""
TICK_SECONDS = 1.0
_LONGEST_TICK_SECONDS = 2 * TICK_SECONDS


class Pulse:
    """Told of signs of life by the program, and of passing time by a thread; also
    a `ports.observers.CallObserver` and a `watch_answers.Watched`."""

    def __init__(self, clock: Callable[[], float], watches: tuple[str, ...] = ()) -> None:
        """*clock* gives seconds that only go forward; *watches* are the resources that are to be watched."""
        self._clock = clock
        self._ticked = clock()
        self._loop = self._answer = True  # whether there was a sign since the last tick
        self._heard = dict.fromkeys(watches, False)
        self._begun: set[str] = set()
        self.loop_silence = 0.0
        """Seconds since the event loop turned last."""
        self._answer_silence = 0.0
        self._watch_silence = dict.fromkeys(watches, 0.0)

    def beat(self) -> None:
        """The event loop turns."""
        self._loop = True

    def called(self, call: Called) -> None:
        """See `ports.observers.CallObserver`: whatever the API server answers, it can be reached."""
        if call.system == "kubernetes" and call.code:
            self._answer = True

    def began(self, watch: str) -> None:
        """See `watch_answers.Watched`."""
        self._begun.add(watch)
        self.heard(watch)

    def heard(self, watch: str) -> None:
        """See `watch_answers.Watched`."""
        if watch in self._heard:
            self._heard[watch] = True

    def unheard(self) -> list[str]:
        """The watches that never began, as `/readyz` names them."""
        return [f"watch-{watch}" for watch in self._heard if watch not in self._begun]

    def tick(self) -> None:
        """Time has passed. Called about every `TICK_SECONDS`, by a thread of its own."""
        now = self._clock()
        passed, self._ticked = min(now - self._ticked, _LONGEST_TICK_SECONDS), now
        self.loop_silence = 0.0 if self._loop else self.loop_silence + passed
        self._answer_silence = 0.0 if self._answer else self._answer_silence + passed
        self._loop = self._answer = False
        reached = self._answer_silence <= ANSWER_SECONDS
        for watch, heard in self._heard.items():
            if heard or not reached:
                self._watch_silence[watch] = 0.0
            else:
                self._watch_silence[watch] += passed
            self._heard[watch] = False

    def failing(self) -> list[str]:
        """What is dead, as `/livez` names it; nothing while the program lives."""
        found = ["event-loop"] if self.loop_silence > LOOP_SECONDS else []
        return found + [f"watch-{watch}" for watch, silence in self._watch_silence.items() if silence > WATCH_SECONDS]
