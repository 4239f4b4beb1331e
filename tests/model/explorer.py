"""Explore every state that a small concurrent system can reach.

Breadth first, so the first broken state that turns up has a shortest trace. Nothing here knows what the
system is about: it is anything with the six members of `System`. A state is a hashable value and never
changes.

Two questions are answered:

- *Is it safe?* `Exploration.trace` is empty, or a shortest way to a state that `System.broken` objects to.
- *Does it get anywhere?* `Exploration.dead_ends(...)` are the states from which no settled state can be
  reached by the system's own work alone. It walks the explored graph backwards from the settled states.
"""

from __future__ import annotations

import enum
import gc
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Kind(enum.Enum):
    """Who takes a step. Progress counts on the system's own work and on nothing else."""

    WORK = "work"
    """the system itself, whatever happens around it"""
    GRANTED = "granted"
    """the system itself, with something that others may refuse it"""
    REFUSED = "refused"
    """the system itself, in answer to such a refusal"""
    USER = "user"
    """somebody outside, who may or may not"""
    FAULT = "fault"
    """something goes wrong: a crash, an old view"""


class System(Protocol[State]):
    """What can be explored."""

    def initial(self) -> State:
        """The one state in which everything begins."""

    def steps(self, state: State) -> Iterable[tuple[str, Kind, State]]:
        """Every step that is possible now: what happens, who does it, what is then."""

    def canonical(self, state: State) -> State:
        """The one representative of all states that differ only in which of several equals is which."""

    def broken(self, state: State) -> str | None:
        """What is wrong with this state, or None."""

    def settled(self, state: State) -> bool:
        """Whether nothing is left to do."""

    def show(self, state: State) -> str:
        """One line for a person."""


class TooLargeError(Exception):
    """The system has more states than the exploration was allowed to visit."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A way from the initial state to a broken one."""

    steps: tuple[str, ...]
    states: tuple[str, ...]
    problem: str

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        width = max(len(step) for step in self.steps) if self.steps else 0
        lines = [f"{'':3} {'':{width}} | {self.states[0]}"]
        lines += [
            f"{number:2}. {step:{width}} | {state}"
            for number, (step, state) in enumerate(zip(self.steps, self.states[1:], strict=True), start=1)
        ]
        return "\n".join([*lines, f"=> {self.problem}"])


@dataclass(slots=True)
class Exploration(Generic[State]):
    """What was found."""

    system: System[State]
    states: list[State]
    trace: Trace | None = None
    steps: int = 0
    edges: dict[Kind, tuple[array[int], array[int]]] = field(default_factory=dict)

    def dead_ends(self, *kinds: Kind, settled: Callable[[State], bool] | None = None) -> list[State]:
        """The explored states from which no settled state can be reached by steps of these kinds alone."""
        if self.trace is not None:
            raise RuntimeError("a broken exploration stops early: its graph is not whole")
        if not self.edges:
            raise RuntimeError("explored without its graph")
        settled = settled or self.system.settled
        count = len(self.states)
        first = array("L", bytes((count + 1) * array("L").itemsize))
        pairs = [self.edges[kind] for kind in kinds]
        for _, targets in pairs:
            for target in targets:
                first[target + 1] += 1
        for number in range(count):
            first[number + 1] += first[number]
        # Edges by target: sources[first[t]:first[t + 1]] are the predecessors of t.
        sources = array("L", bytes(first[count] * array("L").itemsize))
        place = array("L", first)
        for origins, targets in pairs:
            for origin, target in zip(origins, targets, strict=True):
                sources[place[target]] = origin
                place[target] += 1
        reached = bytearray(count)
        todo = [number for number, state in enumerate(self.states) if settled(state)]
        for number in todo:
            reached[number] = 1
        while todo:
            target = todo.pop()
            for origin in sources[first[target] : first[target + 1]]:
                if not reached[origin]:
                    reached[origin] = 1
                    todo.append(origin)
        return [state for number, state in enumerate(self.states) if not reached[number]]


def explore(system: System[State], *, limit: int = 3_000_000, graph: bool = False) -> Exploration[State]:
    """Visit every reachable state; stop at the first broken one. `graph` keeps the edges, for `dead_ends`."""
    collects = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for some in a million tuples takes most of the time
    try:
        return _explore(system, limit=limit, graph=graph)
    finally:
        if collects:
            gc.enable()


def _explore(system: System[State], *, limit: int, graph: bool) -> Exploration[State]:
    start = system.canonical(system.initial())
    number_of: dict[State, int] = {start: 0}
    states = [start]
    parents = array("l", [-1])
    found = Exploration(system, states)
    if graph:
        found.edges = {kind: (array("L"), array("L")) for kind in Kind}
    problem = system.broken(start)
    if problem is not None:
        found.trace = _retrace(system, states, parents, 0, problem)
        return found
    here = 0
    while here < len(states):
        for _, kind, raw in system.steps(states[here]):
            state = system.canonical(raw)
            found.steps += 1
            there = number_of.get(state)
            if there is None:
                there = len(states)
                if there >= limit:
                    raise TooLargeError(f"more than {limit} states")
                number_of[state] = there
                states.append(state)
                parents.append(here)
                problem = system.broken(state)
                if problem is not None:
                    found.trace = _retrace(system, states, parents, there, problem)
                    return found
            if graph:
                origins, targets = found.edges[kind]
                origins.append(here)
                targets.append(there)
        here += 1
    return found


def _retrace(system: System[State], states: list[State], parents: array[int], last: int, problem: str) -> Trace:
    """Walk the shortest way again without `canonical`, so that writer 1 stays writer 1 from line to line."""
    way = list(_ancestors(parents, last))[::-1]
    raw = system.initial()
    steps: list[str] = []
    shown = [system.show(raw)]
    for number in way[1:]:
        step, raw = next(
            (text, after) for text, _, after in system.steps(raw) if system.canonical(after) == states[number]
        )
        steps.append(step)
        shown.append(system.show(raw))
    return Trace(tuple(steps), tuple(shown), problem)


def _ancestors(parents: array[int], last: int) -> Iterator[int]:
    while last >= 0:
        yield last
        last = parents[last]
