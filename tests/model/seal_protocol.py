"""The key protocol for one secret: mint, seal, check, re-encrypt, mark, retire.

DESIGN, section 5, steps 1 to 4, as a pure state machine. Two writers and whoever retires act on one instance,
one sealed object and its source; a third party gives passwords. What may happen at any moment:

- a writer stops for any time between any two of its reads and writes, or crashes and forgets everything;
- a writer plans with *any* former state of the instance, not only the one that it read last;
- a writer finishes another's job from *any* former state of the object (the delete of a hand-over source);
- a root key refuses to unwrap a Retiring key, and then does not refuse: every single unwrap may fail;
- the user gives a new password; a gateway's client goes away without an answer.

**What is bounded:** keys, passwords, writers, one secret. Nothing else: crashes, refusals, ages of views and
the number of steps are not. Why this is enough:

- *One secret.* Every rule about retirement is "for each secret"; no step of the protocol reads two of them.
- *Three keys.* An argument about a stale writer needs the key it believes in, the one in force now, and one
  before (under which a stuck secret lies). The rules do not depend on a key's number.
- *Two passwords.* An older and a newer one; a third is the newer one of the next round.
- *Two writers.* All that a writer does to another is to change what that one has read; `ever` and `shown`
  remember what any third one may have seen. `OPENSCALE_MODEL=full` raises keys, passwords and writers, each
  in turn.

**What is folded together**, without losing a behaviour:

- A resourceVersion is never counted. A writer either holds the present version of the object (then its
  snapshot *is* the object) or an old one (then its compare-and-swap answers 409, which changes nothing): who
  holds an old one and could only write from it is put back to idle at once.
- To decide and to write is one step: the decision may rest on any former view anyway, and a write that
  succeeds met the object unchanged since it was read. (The source is read before, in a step of its own: it
  may have changed.)
- An instance never returns to a former state, so its content is its version. Mint is one step: between its
  read and its write nothing else matters *here* (release_protocol.py takes it apart, where the bindings do
  matter).
- Whoever retires is one actor of its own: of two lists in flight, the one whose write succeeds is the one to
  follow.
- A password stands for itself, its source's uid and its source's resourceVersion: a new one is a new number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from explorer import Kind


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of steps 2 to 4. The model holds with all of them and loses a password without any one.

    The first six are those that section 5 names at its end; the rest say precisely what their words have to mean.
    """

    source_after_object: bool = True
    """step 2: the object is read first, then its source"""
    check_after_seal: bool = True
    """step 2: the instance is read again once the seal is stored, before Ready and before the delete"""
    delete_precondition: bool = True
    """step 2: the source is deleted only if it is the very one that was sealed"""
    stuck_mark: bool = True
    """steps 3, 4: a secret that cannot be re-encrypted is marked with Active, and retirement waits for the mark"""
    unknown_means_old_view: bool = True
    """step 3: never write over a key (or a mark) that this view does not know"""
    list_after_mark: bool = True
    """step 4: the LIST is begun after the key became Retiring"""

    check_is_for_active: bool = True
    """step 2: the check passes for Active only; that the key is still recorded is not enough"""
    mark_names_active: bool = True
    """step 4: the mark names the present Active key; a mark of an earlier one does not let retirement go on"""
    unknown_mark_too: bool = True
    """step 3: a mark that names an unknown key stops a writer as the envelope's key does"""

    def without(self, rule: str) -> Rules:
        """These rules, one of them switched off."""
        return replace(self, **{rule: False})


class Source(StrEnum):
    """Where the password comes from."""

    HAND_OVER = "hand-over"
    """a Secret that is deleted once it is sealed; given is accepted"""
    KEPT = "kept"
    """a Secret of somebody else, who may remove it when status says Ready for it; given is accepted"""
    REQUEST = "request"
    """a request to the gateway; accepted when it is answered, and gone when its client goes"""


class Properties(NamedTuple):
    """`status.properties`: key numbers; 0 is none. Retiring is everything recorded but Active."""

    active: int
    recorded: frozenset[int]


class Sealed(NamedTuple):
    """The object's status. All zero: never sealed. `password` is also the source uid and version recorded."""

    key: int
    password: int
    mark: int
    ready: bool


class Listed(NamedTuple):
    """What the retirement's LIST showed, and how many changes of the instance there had been when it began."""

    key: int
    mark: int
    begun: int


# A writer is a plain tuple whose first item says how far it is; what it remembers follows:
#   IDLE          nothing
#   SOURCE_FIRST  the password in the source (only without the rule source_after_object)
#   READ_OBJECT   how many changes of the instance there had been at that moment
#   READ_SOURCE   the same, and the password in the source
#   CHECKS        the key and the password sealed, and whether the object is still as this writer left it
#   CHECKED       the password sealed, and the same
Writer: TypeAlias = tuple[int, ...]
IDLE, SOURCE_FIRST, READ_OBJECT, READ_SOURCE, CHECKS, CHECKED = range(6)
FORGOTTEN: Writer = (IDLE,)


class World(NamedTuple):
    """Everything. `history[-1]` is the instance now; the rest is what stale views may still show."""

    history: tuple[Properties, ...]
    sealed: Sealed
    source: int
    given: int
    accepted: int
    ever: frozenset[tuple[int, int]]
    shown: frozenset[int]
    listed: Listed | None
    writers: tuple[Writer, ...]


Step: TypeAlias = tuple[str, Kind, World]


class Plan(NamedTuple):
    """What a writer does in one step: what it stores (nothing: None), and what it goes on with."""

    text: str
    then: Writer
    writes: Sealed | None = None


NEVER_SEALED = Sealed(key=0, password=0, mark=0, ready=False)


@dataclass(frozen=True, slots=True)
class SealProtocol:
    """Steps 1 to 4 of section 5, to be explored."""

    source: Source = Source.HAND_OVER
    rules: Rules = Rules()
    keys: int = 3
    passwords: int = 2
    writers: int = 2

    # -- what the explorer asks for

    def initial(self) -> World:
        """An object never sealed, an instance without a key; a source, unless it is the gateway's."""
        given = 0 if self.source is Source.REQUEST else 1
        return World(
            history=(Properties(0, frozenset()),),
            sealed=NEVER_SEALED,
            source=given,
            given=given,
            accepted=given,
            ever=frozenset(),
            shown=frozenset(),
            listed=None,
            writers=(FORGOTTEN,) * self.writers,
        )

    def canonical(self, world: World) -> World:
        """Drop what can make no difference any more; writers have no names."""
        ever, shown, listed = world.ever, world.shown, world.listed
        if ever:
            ever = frozenset(seal for seal in ever if self._finishes(world, *seal))
        if shown:
            shown = frozenset(password for password in shown if self._deletes(world, password))
        if listed is not None and not self._of_use(world):
            listed = None
        writers = tuple(sorted(self._remembered(world, writer) for writer in world.writers))
        return World(*world[:5], ever, shown, listed, writers)

    def _remembered(self, world: World, writer: Writer) -> Writer:
        """A job on an object that another has written since is over when it can end in no delete."""
        if writer[0] == CHECKS and not writer[-1] and not self._finishes(world, writer[1], writer[2]):
            return FORGOTTEN
        if writer[0] == CHECKED and not writer[-1] and not self._deletes(world, writer[1]):
            return FORGOTTEN
        return writer

    def _deletes(self, world: World, password: int) -> bool:
        """Whether one who believes this password safe may still delete a source: the very one, or any."""
        return world.source == password or not self.rules.delete_precondition

    def _finishes(self, world: World, key: int, password: int) -> bool:
        """Whether a seal as somebody saw it may still pass the check, and then delete."""
        return self._deletes(world, password) and self._passes(world, key)

    def _passes(self, world: World, key: int) -> bool:
        """Whether the check after the seal passes now; what fails it once, fails it for ever."""
        now = world.history[-1]
        if not self.rules.check_after_seal:
            return True
        return key == now.active or (not self.rules.check_is_for_active and key in now.recorded)

    def _of_use(self, world: World) -> bool:
        """A list that lets no key go now never will: recorded keys get fewer, and no former key is Active again."""
        if not self.rules.list_after_mark:
            return True
        now = world.history[-1]
        return any(key != now.active and self._may_retire(world, key) for key in now.recorded)

    def broken(self, world: World) -> str | None:
        """Invariant 1 of section 9: the newest accepted password opens, or its source is still there."""
        if not world.accepted or world.source >= world.accepted:
            return None
        newest = f"password {world.accepted} was accepted and its source is gone"
        if world.sealed.password < world.accepted:
            return f"{newest}, but password {world.sealed.password or 'none'} is what is sealed"
        if world.sealed.key not in world.history[-1].recorded:
            return f"{newest}, but it is sealed with key {world.sealed.key}, which is not recorded any more"
        return None

    def settled(self, world: World) -> bool:
        """Sealed with Active from the newest source, Ready; nothing Retiring, to delete or to answer."""
        now, sealed = world.history[-1], world.sealed
        current = sealed.key == now.active and sealed.ready and len(now.recorded) == 1
        return self._idle(world) and (current or self._nothing_accepted(world))

    def settled_while_refused(self, world: World) -> bool:
        """The same while no Retiring key can be unwrapped: a stuck secret is marked, other keys are gone."""
        now, sealed = world.history[-1], world.sealed
        stuck = sealed.mark == now.active and now.recorded == {sealed.key, now.active}
        return self.settled(world) or (self._idle(world) and stuck)

    def _idle(self, world: World) -> bool:
        if any(writer != FORGOTTEN for writer in world.writers):
            return False
        return not world.source or (self.source is Source.KEPT and world.sealed.password == world.source)

    def _nothing_accepted(self, world: World) -> bool:
        """Every client went away unanswered: what is sealed may be Stalled/UnknownDataKey, nobody relies on it."""
        return not world.accepted and world.sealed.key not in world.history[-1].recorded

    def show(self, world: World) -> str:
        """One line: instance, object, source."""
        now, sealed = world.history[-1], world.sealed
        keys = ", ".join(f"{key} {'Active' if key == now.active else 'Retiring'}" for key in sorted(now.recorded))
        mark = f" stuck@{sealed.mark}" if sealed.mark else ""
        ready = " Ready" if sealed.ready else ""
        envelope = f"password {sealed.password} under key {sealed.key}{mark}{ready}" if sealed.key else "not sealed"
        return f"keys [{keys}]; {envelope}; source: {world.source or 'gone'}"

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen now."""
        yield from self._user(world)
        yield from self._instance(world)
        for number, writer in enumerate(world.writers):
            if number and writer in world.writers[:number]:
                continue  # the same step of the same writer under another name
            yield from self._writer(world, number, writer)

    # -- the user and the gateway's client

    def _user(self, world: World) -> Iterator[Step]:
        asks = self.source is Source.REQUEST
        if world.given < self.passwords and not (asks and world.source):
            new = world.given + 1
            accepted = world.accepted if asks else new
            after = world._replace(source=new, given=new, accepted=accepted)
            yield f"user gives password {new}", Kind.USER, after
        if asks and world.source:
            yield "client goes away, not answered", Kind.FAULT, world._replace(source=0)
        if self.source is Source.KEPT and world.source in world.shown:
            yield "user saw Ready for this source, removes it", Kind.USER, world._replace(source=0)

    # -- steps 1 and 4: the instance

    def _instance(self, world: World) -> Iterator[Step]:
        now = world.history[-1]
        if now.active < self.keys:
            key = now.active + 1
            after = Properties(key, now.recorded | {key})
            # The first key is the operator's own work; others follow from what somebody does to root keys.
            kind = Kind.USER if now.active else Kind.WORK
            yield f"mint key {key}", kind, world._replace(history=(*world.history, after))
        if len(now.recorded) > 1 or not self.rules.list_after_mark:
            listed = Listed(world.sealed.key, world.sealed.mark, len(world.history) - 1)
            if listed != world.listed:
                yield "retirement: LISTs the objects", Kind.WORK, world._replace(listed=listed)
        for key in now.recorded - {now.active}:
            if self._may_retire(world, key):
                after = Properties(now.active, now.recorded - {key})
                text = f"retirement: removes key {key} (compare-and-swap on the instance)"
                yield text, Kind.WORK, world._replace(history=(*world.history, after))

    def _may_retire(self, world: World, key: int) -> bool:
        listed = world.listed
        if listed is None or listed.key == key:
            return False
        active = world.history[-1].active
        then = world.history[listed.begun]
        if self.rules.list_after_mark and (key == then.active or key not in then.recorded):
            return False
        if not self.rules.stuck_mark or listed.key in (0, active):
            return True
        return listed.mark == active or (bool(listed.mark) and not self.rules.mark_names_active)

    # -- steps 2 and 3: one writer

    def _writer(self, world: World, number: int, writer: Writer) -> Iterator[Step]:
        name = f"writer {number + 1}"
        at = writer[0]
        if at != IDLE:
            yield f"{name}: crashes", Kind.FAULT, _becomes(world, number, FORGOTTEN)
        if at == IDLE:
            yield from self._begin(world, number, name)
        elif at == SOURCE_FIRST:
            after = _becomes(world, number, (READ_SOURCE, len(world.history) - 1, writer[1]))
            yield f"{name}: reads the object", Kind.WORK, after
        elif at == READ_OBJECT:
            after = _becomes(world, number, (READ_SOURCE, writer[1], world.source))
            yield f"{name}: reads the source ({world.source or 'gone'})", Kind.WORK, after
        elif at == READ_SOURCE:
            yield from self._decide(world, number, name, writer)
        elif at == CHECKS:
            yield from self._check(world, number, name, writer)
        else:
            yield from self._finish(world, number, name, writer)

    def _begin(self, world: World, number: int, name: str) -> Iterator[Step]:
        if self.rules.source_after_object:
            after = _becomes(world, number, (READ_OBJECT, len(world.history) - 1))
            yield f"{name}: reads the object", Kind.WORK, after
        else:
            after = _becomes(world, number, (SOURCE_FIRST, world.source))
            yield f"{name}: reads the source ({world.source or 'gone'})", Kind.WORK, after
        # A restart finishes the job of another, and what it knows of the object may be as old as it likes.
        for key, password in world.ever:
            text = f"{name}: recalls an old view, password {password} under key {key}"
            yield text, Kind.FAULT, _becomes(world, number, (CHECKS, key, password, False))
        for password in world.shown:
            text = f"{name}: recalls an old view, Ready for password {password}"
            yield text, Kind.FAULT, _becomes(world, number, (CHECKED, password, False))

    def _decide(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        """Every plan that some view of the instance leads to: any former one, unless it knows too little."""
        _, read_at, source = writer
        sealed = world.sealed
        plans: dict[Plan, Kind] = {}
        for age, view in enumerate(world.history):
            known = sealed.key in view.recorded or not sealed.key
            marked = sealed.mark in view.recorded or not sealed.mark or not self.rules.unknown_mark_too
            if self.rules.unknown_means_old_view and age < read_at and not (known and marked):
                continue  # my view is old: read the instance again, and only then decide
            fresh = age == len(world.history) - 1  # progress does not count on an old view
            plans.update((plan, kind if fresh else Kind.FAULT) for plan, kind in self._plans(sealed, source, view))
        for plan, kind in plans.items():
            after = world if plan.writes is None else self._stored(world, number, plan.writes)
            yield f"{name}: {plan.text}", kind, _becomes(after, number, plan.then)

    def _plans(self, sealed: Sealed, source: int, view: Properties) -> Iterator[tuple[Plan, Kind]]:
        """What a writer that read this object and this source does under this view of the instance."""
        active = view.active
        if not active or not (sealed.key or source):
            yield Plan("has nothing to seal (with)", FORGOTTEN), Kind.WORK
        elif source and (source != sealed.password or sealed.key not in view.recorded):
            yield self._seal(source, active), Kind.WORK
        elif sealed.key not in view.recorded:
            yield Plan("finds the key gone and no source", FORGOTTEN), Kind.WORK
        elif sealed.key == active:
            if sealed.ready:
                yield Plan("finds it sealed and Ready", (CHECKED, sealed.password, True)), Kind.WORK
            yield Plan("finds it sealed, to be checked", (CHECKS, active, sealed.password, True)), Kind.WORK
        else:
            text = f"opens with key {sealed.key}, re-encrypts with key {active}"
            then = FORGOTTEN if sealed.ready else (CHECKS, active, sealed.password, True)
            yield Plan(text, then, sealed._replace(key=active, mark=0)), Kind.GRANTED
            yield self._cannot_open(sealed, source, active), Kind.REFUSED

    def _seal(self, source: int, active: int) -> Plan:
        after = Sealed(key=active, password=source, mark=0, ready=False)
        return Plan(f"seals password {source} with key {active}", (CHECKS, active, source, True), after)

    def _cannot_open(self, sealed: Sealed, source: int, active: int) -> Plan:
        """A root key refuses: seal from the source if there is one, else mark which Active key was seen."""
        if source:
            return self._seal(source, active)
        if self.rules.stuck_mark and sealed.mark != active:
            text = f"cannot open with key {sealed.key}, marks it stuck at key {active}"
            return Plan(text, FORGOTTEN, sealed._replace(mark=active))
        return Plan(f"cannot open with key {sealed.key}, leaves it", FORGOTTEN)

    def _check(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        _, key, password, holds = writer
        if not self.rules.check_after_seal:
            yield f"{name}: does not check", Kind.WORK, _becomes(world, number, (CHECKED, password, holds))
        elif self._passes(world, key):
            text = f"{name}: reads the instance, finds key {key}"
            yield text, Kind.WORK, _becomes(world, number, (CHECKED, password, holds))
        else:
            text = f"{name}: reads the instance, key {key} is not Active: once more"
            yield text, Kind.WORK, _becomes(world, number, FORGOTTEN)

    def _finish(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        """Ready and the delete may come in either order, and a crash may fall between them."""
        _, password, holds = writer
        open_work = False
        if holds and not world.sealed.ready:
            open_work = True
            after = self._stored(world, number, world.sealed._replace(ready=True))
            yield f"{name}: writes Ready (compare-and-swap)", Kind.WORK, after
        if world.source and self._deletes(world, password) and self.source is not Source.KEPT:
            open_work = True
            if self.source is Source.REQUEST:
                accepted = max(world.accepted, world.source)
                after = world._replace(source=0, accepted=accepted)
                yield f"{name}: answers the request", Kind.WORK, after
            else:
                yield f"{name}: deletes the source", Kind.WORK, world._replace(source=0)
        if not open_work:
            yield f"{name}: is done", Kind.WORK, _becomes(world, number, FORGOTTEN)

    def _stored(self, world: World, number: int, sealed: Sealed) -> World:
        """The object is written: whoever else held its former version holds it no more."""
        writers = tuple(writer if other == number else _outdated(writer) for other, writer in enumerate(world.writers))
        ever = world.ever | {(sealed.key, sealed.password)}
        shown = world.shown | {sealed.password} if sealed.ready else world.shown
        return world._replace(sealed=sealed, ever=ever, shown=shown, writers=writers)


def _becomes(world: World, number: int, writer: Writer) -> World:
    writers = world.writers
    return World(*world[:-1], writers=(*writers[:number], writer, *writers[number + 1 :]))


def _outdated(writer: Writer) -> Writer:
    """What is left of a writer when another has written the object: a 409, or a job that needs no object."""
    if writer[0] in (READ_OBJECT, READ_SOURCE):
        return FORGOTTEN
    if writer[0] in (CHECKS, CHECKED):
        return (*writer[:-1], False)
    return writer
