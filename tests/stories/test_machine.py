"""Any story: users, faults, crashes and two operators in any order; what must hold holds after every change.

A hundred random stories by default, the same ones each time. More, and other ones, with

    OPENSCALE_STORIES=5000 python -m pytest tests/stories -k machine
"""

import os
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from openscale_byok.core.key_state import KeyState
from sim.expect import expect_settled
from sim.operator import Operator
from sim.world import World

MARTS, LETTERS, BINDINGS = ("a", "b"), ("A", "B"), ("x", "y", "z")
MORE = os.environ.get("OPENSCALE_STORIES")
SHRINK = (Phase.shrink,) if os.environ.get("OPENSCALE_STORIES_SHRINK") else ()

which = st.integers(0, 1)
few = st.integers(1, 30)
place = st.integers(0, 3)
mart = st.sampled_from(MARTS)
letter = st.sampled_from(LETTERS)
binding = st.sampled_from(BINDINGS)


class Story(RuleBasedStateMachine):
    """One instance, up to two data marts, three bindings of two root keys, two operators."""

    operators: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        """Once the faults stop everything comes to rest: with the root keys as they are, then with them healed."""
        try:
            self.world.settle()
            self.world.heal()
            self.world.settle()
            expect_settled(self.world)
        finally:
            self.world.close()

    # Operators -----------------------------------------------------------------------------------------

    def _operator(self, number: int) -> Operator:
        living = self.world.living()
        return living[number % len(living)] if living else self.world.start()

    @rule()
    def start(self) -> None:
        if len(self.world.living()) < self.operators:
            self.world.start()

    @rule(number=which)
    def crash(self, number: int) -> None:
        self._operator(number).crash()

    @rule(number=which, calls=few)
    def work(self, number: int, calls: int) -> None:
        """So many of an operator's calls, each with its answer; its events arrive as they come."""
        operator = self._operator(number)
        for _ in range(calls):
            while operator.events and operator.engine is not None:
                operator.deliver()
            self.world.loop.run_ready()
            if not operator.alive or not operator.process.pending:
                break
            operator.process.whole()
            self.world.loop.run_ready()

    @rule(number=which, halves=few, at=place)
    def step(self, number: int, halves: int, at: int) -> None:
        """So many halves of an operator's calls, in an order of their own; no event arrives."""
        operator = self._operator(number)
        for half in range(halves):
            if not operator.alive or not operator.process.pending:
                break
            operator.process.half(at * half)
            self.world.loop.run_ready()

    @rule(number=which, lose=st.sampled_from(["request", "answer"]), at=place)
    def lose(self, number: int, lose: str, at: int) -> None:
        """A request is never made, or it is and its answer gets lost."""
        operator = self._operator(number)
        if operator.process.pending:
            operator.process.half(at, lose=lose)
            self.world.loop.run_ready()

    @rule()
    def work_all(self) -> None:
        """Everyone until all wait for time."""
        self.world.run()

    @rule(number=which, fate=st.sampled_from(["late", "twice", "lost", "in order"]), at=place)
    def event(self, number: int, fate: str, at: int) -> None:
        """An event arrives before its turn, twice or never."""
        operator = self._operator(number)
        if operator.events and operator.engine is not None:
            if fate == "lost":
                operator.events.pop(at % len(operator.events))
                return
            if fate == "twice":
                operator.events.append(operator.events[at % len(operator.events)])
            operator.deliver(0 if fate == "in order" else at)
            self.world.loop.run_ready()

    @rule(seconds=st.sampled_from([1.0, 10.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """Nobody's call is answered meanwhile."""
        self.world.loop.jump(self.world.loop.time() + seconds)

    # The user ------------------------------------------------------------------------------------------

    @initialize(policy=st.sampled_from(["Allow", "Forbid"]), starts=st.integers(1, 2))
    def begin(self, policy: str, starts: int) -> None:
        self.world.create_instance(globalKeyPolicy=policy)
        for _ in range(starts):
            self.world.start()

    @rule(name=mart, handover=st.booleans())
    def give(self, name: str, handover: bool) -> None:
        self.world.give(name, handover=handover)

    @rule(name=mart, handover=st.booleans())
    def create_mart(self, name: str, handover: bool) -> None:
        if not self._mart(name):
            self.world.give(name, handover=handover)
            self.world.create_mart(name)

    @precondition(lambda self: any(self._mart(name) for name in MARTS))
    @rule(name=mart, what=st.sampled_from(["delete", "move", "revise", "remove source"]))
    def change_mart(self, name: str, what: str) -> None:
        if not self._mart(name):
            return
        if what == "delete":
            self.world.delete_mart(name)
        elif what == "move":
            self.world.move_mart(name, f"db{self.world.cluster.version}.example.com")
        elif what == "revise":
            self.world.revise_mart(name)
        else:
            self.world.remove_source(name)

    @rule(name=binding, key=letter)
    def bind(self, name: str, key: str) -> None:
        if self.world.binding(name) is None:
            self.world.bind(name, key)

    @rule(name=binding)
    def unbind(self, name: str) -> None:
        if self.world.binding(name) is not None:
            self.world.unbind(name)

    @rule(what=st.sampled_from(["revision", "Allow", "Forbid", "suspend", "resume"]))
    def change_instance(self, what: str) -> None:
        spec = self.world.instance()["spec"]
        if what == "revision":
            self.world.change_instance(dataKeyRevision=spec["dataKeyRevision"] + 1)
        elif what in ("Allow", "Forbid"):
            self.world.change_instance(globalKeyPolicy=what)
        else:
            self.world.change_instance(suspend=what == "suspend")

    @rule(key=letter, what=st.sampled_from(["rotate", "away", "refused", "well", *(s.value for s in KeyState)]))
    def change_root_key(self, key: str, what: str) -> None:
        root_key = self.world.root_key(key)
        if what == "rotate":
            root_key.rotate()
        elif what in ("away", "refused", "well"):
            root_key.away, root_key.refused = what == "away", what == "refused"
        else:
            root_key.state = KeyState(what)

    def _mart(self, name: str) -> bool:
        return self.world.cluster.find("DataMart", "prod", name) is not None


TestMachine = Story.TestCase
TestMachine.settings = settings(
    max_examples=int(MORE or 100),
    stateful_step_count=40,
    derandomize=MORE is None,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate, *SHRINK),
    suppress_health_check=list(HealthCheck),
)
