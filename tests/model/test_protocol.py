"""The key protocol of DESIGN, section 5, loses nothing and gets somewhere; without any one rule it loses.

By default three keys, two passwords, two writers, bindings of up to three names. OPENSCALE_MODEL=full in the
environment explores larger bounds besides (minutes, some GB of memory):

    OPENSCALE_MODEL=full python -m pytest tests/model -k full -s
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import handover_protocol as handover
import pytest
import release_protocol as release
import seal_protocol as seal
from explorer import Exploration, Kind, System, TooLargeError, Trace, explore
from handover_protocol import HandOverProtocol
from release_protocol import Policy, ReleaseProtocol
from seal_protocol import SealProtocol, Source

State = TypeVar("State", bound=Hashable)
Report = Callable[[str], None]

UNREFUSED = (Kind.WORK, Kind.GRANTED)
WHILE_REFUSED = (Kind.WORK, Kind.REFUSED)

ANEW, BACK = {"passwords": 2, "restore": False}, {"lives": 1}
"""The least bounds in which a rule of the hand-over is missed: an object is made anew, or etcd is put back."""

full = pytest.mark.skipif(os.environ.get("OPENSCALE_MODEL") != "full", reason="takes minutes: set OPENSCALE_MODEL=full")


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Say it on the terminal, captured or not: the size of what was explored is the worth of the answer."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end=" ")

    return say


def explored(system: System[State], report: Report) -> Exploration[State]:
    """The whole graph of a system that must hold; fails with the shortest trace if it does not."""
    begun = time.monotonic()
    found = explore(system, graph=True)
    report(f"{system}:\n  {len(found.states)} states, {found.steps} steps, {time.monotonic() - begun:.1f} s")
    assert found.trace is None, f"\n{found.trace}"
    return found


def loss(system: System[State], report: Report) -> Trace:
    """The shortest way of a system that must break."""
    found = explore(system)
    assert found.trace is not None, f"{len(found.states)} states, and nothing is lost"
    report(f"{len(found.trace)} steps:\n{found.trace}")
    return found.trace


class LiteralSealProtocol(SealProtocol):
    """The seal protocol with every memory kept, useful or not."""

    def canonical(self, world: seal.World) -> seal.World:
        return world


class TestSealProtocol:
    """Mint, seal, check, re-encrypt, mark, retire."""

    @pytest.mark.parametrize("source", Source)
    def test_holds_and_gets_somewhere(self, source: Source, report: Report) -> None:
        """No accepted password is ever lost, and from every state a settled one is in reach without new faults.

        Also while no Retiring key can be unwrapped: the stuck secret is marked, all keys but its own retire.
        """
        system = SealProtocol(source)
        found = explored(system, report)
        assert found.dead_ends(*UNREFUSED) == []
        assert found.dead_ends(*WHILE_REFUSED, settled=system.settled_while_refused) == []

    @pytest.mark.parametrize(
        ("rule", "steps"),
        [
            pytest.param("source_after_object", 10, id="the source is read after its object"),
            pytest.param("check_after_seal", 9, id="the check after the seal"),
            pytest.param("delete_precondition", 7, id="the precondition of the delete"),
            pytest.param("stuck_mark", 13, id="the stuck mark"),
            pytest.param("unknown_means_old_view", 12, id="an unknown key means my view is old"),
            pytest.param("list_after_mark", 9, id="the list is begun after the mark"),
        ],
    )
    def test_needs_each_rule(self, rule: str, steps: int, report: Report) -> None:
        """Without this rule of section 5 a password is lost within so many single reads and writes."""
        assert len(loss(SealProtocol(rules=seal.Rules().without(rule)), report)) <= steps

    @pytest.mark.parametrize(
        ("rule", "steps"),
        [
            pytest.param("check_is_for_active", 9, id="the check asks for Active, not for recorded"),
            pytest.param("mark_names_active", 16, id="the mark is renewed when Active changes"),
            pytest.param("unknown_mark_too", 16, id="an unknown mark stops a writer, too"),
        ],
    )
    def test_needs_each_rule_to_the_letter(self, rule: str, steps: int, report: Report) -> None:
        """A rule of section 5 read less strictly than it is meant loses a password."""
        assert len(loss(SealProtocol(rules=seal.Rules().without(rule)), report)) <= steps

    @pytest.mark.parametrize(
        ("rule", "steps"),
        [
            pytest.param("source_after_object", 12, id="the request is looked at after its object"),
            pytest.param("check_after_seal", 10, id="the answer after the check"),
        ],
    )
    def test_gateway_needs_the_same_rules(self, rule: str, steps: int, report: Report) -> None:
        """Where a request plays the source's part, the rules about sources are rules about requests."""
        system = SealProtocol(Source.REQUEST, rules=seal.Rules().without(rule))
        assert len(loss(system, report)) <= steps

    @pytest.mark.parametrize("source", Source)
    def test_canonical_drops_nothing_that_matters(self, source: Source) -> None:
        """Explored without any dropping, two keys: the same states, once what is dropped is dropped from them."""
        system = SealProtocol(source, keys=2)
        literal = explore(LiteralSealProtocol(source, keys=2))
        assert literal.trace is None
        states = explore(system).states
        assert len(literal.states) > len(states)
        assert {system.canonical(state) for state in literal.states} == set(states)

    @full
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize(
        "system",
        [
            pytest.param(SealProtocol(keys=4), id="four keys"),
            pytest.param(SealProtocol(passwords=3), id="three passwords"),
            pytest.param(SealProtocol(writers=3), id="three writers"),
            pytest.param(SealProtocol(Source.REQUEST, keys=4), id="four keys and a gateway"),
        ],
    )
    def test_full(self, system: SealProtocol, report: Report) -> None:
        """Larger bounds bring nothing new: the protocol holds and gets somewhere all the same."""
        found = explored(system, report)
        assert found.dead_ends(*UNREFUSED) == []
        assert found.dead_ends(*WHILE_REFUSED, settled=system.settled_while_refused) == []


class TestHandOverProtocol:
    """Hold, delete the source, free."""

    @pytest.mark.parametrize(
        "system",
        [
            pytest.param(HandOverProtocol(), id="made anew, stripped, etcd put back"),
            pytest.param(HandOverProtocol(restore=False, passwords=2, lives=3), id="two passwords, made anew twice"),
        ],
    )
    def test_holds_and_gets_somewhere(self, system: HandOverProtocol, report: Report) -> None:
        """A source goes only while an object holds what is in it, and nothing is held for ever."""
        assert explored(system, report).dead_ends(Kind.WORK) == []

    @pytest.mark.parametrize(
        ("rule", "bounds", "steps"),
        [
            pytest.param("held", ANEW, 6, id="held while its source is deleted"),
            pytest.param("compare_and_swap", ANEW, 7, id="the finalizer comes by the state that was checked"),
            pytest.param("answer_compared", BACK, 8, id="a version alone proves nothing"),
            pytest.param("further_proof", ANEW, 10, id="a further attempt begins with a proof"),
            pytest.param("proof_sees_finalizer", ANEW, 10, id="which asks for the finalizer too"),
            pytest.param("begins_soon", BACK, 7, id="a delete begins soon after its proof"),
            pytest.param("ends_soon", BACK, 13, id="the finalizer comes off soon after its answer"),
            pytest.param("precondition", ANEW, 6, id="the precondition of the delete"),
            pytest.param("freed_when_over", ANEW, 7, id="free once no delete is on its way"),
            pytest.param("not_of_deleted", BACK, 12, id="what is being deleted is given up"),
        ],
    )
    def test_needs_each_rule(self, rule: str, bounds: dict[str, int], steps: int, report: Report) -> None:
        """Without this rule a source is deleted that somebody needs, within so many single steps."""
        system = HandOverProtocol(handover.Rules().without(rule), **bounds)
        assert len(loss(system, report)) <= steps

    @full
    @pytest.mark.timeout(3600)
    def test_full(self, report: Report) -> None:
        """Larger bounds bring nothing new."""
        assert explored(HandOverProtocol(passwords=2, strips=2), report).dead_ends(Kind.WORK) == []


class TestReleaseProtocol:
    """Mint, bindings, release."""

    @pytest.mark.parametrize("policy", Policy)
    @pytest.mark.parametrize(
        "lives",
        [
            pytest.param((1, 1, 1), id="two bindings of one root key, one of another"),
            pytest.param((2, 1, 0), id="two bindings of one root key, one comes back"),
            pytest.param((2, 0, 1), id="bindings of two root keys, one comes back"),
        ],
    )
    def test_holds_and_gets_somewhere(self, lives: tuple[int, int, int], policy: Policy, report: Report) -> None:
        """No recorded data key is under a released root key, and a settled state is always in reach."""
        found = explored(ReleaseProtocol(policy, lives=lives), report)
        assert found.dead_ends(Kind.WORK) == []

    @pytest.mark.parametrize("policy", Policy)
    @pytest.mark.parametrize(
        ("rule", "steps"),
        [
            pytest.param("fresh_list", 10, id="the fresh list of bindings before a mint"),
            pytest.param("write_before_finalizer", 10, id="the write before the finalizer comes off"),
        ],
    )
    def test_needs_each_rule(self, rule: str, steps: int, policy: Policy, report: Report) -> None:
        """Without this rule of section 5 a data key ends up under a root key that was released."""
        system = ReleaseProtocol(policy, release.Rules().without(rule), lives=(1, 1, 0))
        assert len(loss(system, report)) <= steps

    @pytest.mark.parametrize(
        ("rule", "policy", "lives", "steps"),
        [
            pytest.param("live_ground", Policy.FORBID, (1, 1, 0), 17, id="two that go do not vouch for each other"),
            pytest.param("finalizer_by_uid", Policy.ALLOW, (2, 0, 0), 16, id="a namesake keeps its finalizer"),
        ],
    )
    def test_needs_what_section_5_leaves_open(
        self, rule: str, policy: Policy, lives: tuple[int, int, int], steps: int, report: Report
    ) -> None:
        """Step 5 in its bare words admits a reading that breaks; this is what makes it precise."""
        system = ReleaseProtocol(policy, release.Rules().without(rule), lives=lives)
        assert len(loss(system, report)) <= steps

    @full
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("policy", Policy)
    def test_full(self, policy: Policy, report: Report) -> None:
        """Larger bounds bring nothing new: the protocol holds and gets somewhere all the same."""
        found = explored(ReleaseProtocol(policy, lives=(2, 1, 1)), report)
        assert found.dead_ends(Kind.WORK) == []


class Stairs:
    """A system small enough to know the answers by heart: a number goes up, and at `trap` never further."""

    def __init__(self, top: int, *, trap: int = -1, wrong: int = -1) -> None:
        self.top, self.trap, self.wrong = top, trap, wrong

    def initial(self) -> int:
        return 0

    def steps(self, state: int) -> list[tuple[str, Kind, int]]:
        up = [(f"up to {state + 1}", Kind.WORK, state + 1)] if state < self.top and state != self.trap else []
        jump = [("jump", Kind.FAULT, self.trap + 1)] if state == self.trap else []
        return up + jump

    def canonical(self, state: int) -> int:
        return state

    def broken(self, state: int) -> str | None:
        return f"{state} is wrong" if state == self.wrong else None

    def settled(self, state: int) -> bool:
        return state == self.top

    def show(self, state: int) -> str:
        return str(state)


class TestExplorer:
    """The instrument itself: one that finds nothing must not be one that cannot see."""

    def test_finds_the_shortest_trace(self) -> None:
        """The trace to a broken state names every step, and says what is wrong."""
        trace = explore(Stairs(5, wrong=2)).trace
        assert trace is not None
        assert trace.steps == ("up to 1", "up to 2")
        assert "2 is wrong" in str(trace)

    def test_finds_dead_ends(self) -> None:
        """A state that only a fault leads on from is a dead end, and so are those that only lead there."""
        assert explore(Stairs(5), graph=True).dead_ends(Kind.WORK) == []
        found = explore(Stairs(5, trap=2), graph=True)
        assert found.dead_ends(Kind.WORK) == [0, 1, 2]
        assert found.dead_ends(Kind.WORK, Kind.FAULT) == []

    def test_refuses_to_guess(self) -> None:
        """Too many states are an error and never a pass; so is a graph that was not kept or is not whole."""
        with pytest.raises(TooLargeError):
            explore(Stairs(5), limit=3)
        with pytest.raises(RuntimeError):
            explore(Stairs(5)).dead_ends(Kind.WORK)
        with pytest.raises(RuntimeError):
            explore(Stairs(5, wrong=2), graph=True).dead_ends(Kind.WORK)
