"""One hand-over: the object is sealed, held, its source is deleted, and it is free again.

DESIGN, section 5, the end of step 2, as a pure state machine. Two writers act on one object and its source. What may
happen at any moment:

- a writer stops for any time between any two of its calls, or crashes and forgets everything;
- a delete is on its way for any time: it outlives its sender, and the sender that has no answer;
- a writer begins from *any* former state of the object that was good to hand over;
- the owner deletes the object, and makes it anew once it is gone; somebody gives another password;
- somebody strips the finalizer; etcd is put back to a former moment, and its versions come again.

seal_protocol.py has the keys, and the check before all this begins; here there is one key and it is Active.

**Safe** is: a delete takes effect only while the object is there that holds what the source holds, by no proof that
was made when its owner had deleted it already. So whoever deletes the object and finds the source there when the
object is gone may make it anew: the source stays for it.

**What is bounded:** how often the object is made, passwords, strips; etcd is put back once, and besides what writers
hold in their hands then one view from before is recalled. Crashes, lost answers, the ages of views and the number of
steps are not bounded.

**What is folded together**, without losing a behaviour:

- To look at the source and to seal is one step, of nobody: the order of the two is seal_protocol.py's matter.
- A Secret is its password: another password is another resourceVersion. (Given as the same one again it would be
  another uid, and the delete's precondition would fail.)
- That time passes: *no delete can be on its way any more* is a state here, and a wait in the engine
  (`ON_ITS_WAY_SECONDS`). Putting etcd back takes longer than a delete may wait after its proof (`BEGINS_SECONDS`),
  and ends every connection: what was on its way is lost.
- Nobody strips the finalizer while a delete is on its way, or follows at once: then nothing could hold. Of a live
  object an admission policy forbids it to all but the operator; who does it by force has the operator stopped first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from explorer import Kind


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the hand-over. The model holds with all of them, and breaks without any one."""

    held: bool = True
    """the object carries our finalizer while its source is deleted"""
    compare_and_swap: bool = True
    """the finalizer is put on the very state that was checked"""
    answer_compared: bool = True
    """the answer is compared with what was checked: after a restore a version alone proves nothing"""
    further_proof: bool = True
    """each further attempt begins with a proof of its own, made after the former one ended"""
    proof_sees_finalizer: bool = True
    """that proof asks for the finalizer too, and puts it on where it was stripped"""
    begins_soon: bool = True
    """a delete begins at once after its proof: not after etcd was put back meanwhile"""
    ends_soon: bool = True
    """the finalizer comes off at once after the answer: not after etcd was put back meanwhile"""
    precondition: bool = True
    """the delete names the uid and resourceVersion that were sealed"""
    freed_when_over: bool = True
    """the finalizer comes off once the source is gone or another, or once no delete can be on its way"""
    not_of_deleted: bool = True
    """no proof is made of an object that is being deleted"""

    def without(self, rule: str) -> Rules:
        """These rules, one of them switched off."""
        return replace(self, **{rule: False})


class Object(NamedTuple):
    """The object. `life` stands for the uid; `sealed` is a password, 0 for none."""

    life: int
    version: int
    sealed: int = 0
    held: bool = False
    deleting: bool = False


class Writer(NamedTuple):
    """One writer: how far it is, and the object as it knows it (its version, and whether it knows it held)."""

    at: int = 0
    known: Object | None = None


IDLE, DECIDED, PROVEN, WAITS, ENDED, DELETED = range(6)
"""DECIDED: to hand over. PROVEN: may send the delete. WAITS: for its answer. ENDED: without one, or by a refusal.
DELETED: the source is gone or another."""
FORGOTTEN = Writer()


class Delete(NamedTuple):
    """A request that is on its way."""

    password: int
    sender: int
    """which writer waits for its answer; -1: nobody any more"""
    late: bool
    """whether its proof was made when the object was being deleted"""


class World(NamedTuple):
    """Everything."""

    object: Object | None
    source: int
    version: int
    """of the store: the newest that was given out"""
    lives: int
    given: int
    strips: int
    kept: tuple[Object | None, int, int] | None
    """object, source and version at the moment that etcd may be put back to"""
    restored: bool
    labelled: bool
    """whether a change that is nothing to us was made since: with it versions come again that a writer may know"""
    seen: frozenset[Object]
    """every state that was good to hand over from"""
    deletes: tuple[Delete, ...]
    writers: tuple[Writer, ...]
    wrong: str = ""


Step: TypeAlias = tuple[str, Kind, World]


@dataclass(frozen=True, slots=True)
class HandOverProtocol:
    """The end of step 2, to be explored."""

    rules: Rules = Rules()
    lives: int = 2
    passwords: int = 1
    strips: int = 1
    restore: bool = True
    writers: int = 2

    # -- what the explorer asks for

    def initial(self) -> World:
        """An object that is not sealed, and its source."""
        made = Object(1, 1)
        return World(made, 1, 1, 1, 1, 0, None, False, False, frozenset(), (), (FORGOTTEN,) * self.writers)

    def canonical(self, world: World) -> World:
        """Writers have no names, versions are but an order, and what can make no difference any more is dropped."""
        writers = [self._remembered(world, writer) for writer in world.writers]
        order = sorted(range(self.writers), key=lambda n: (_key(writers[n]), _sent(world, n)))
        place = {number: new for new, number in enumerate(order)} | {-1: -1}
        # Of two that are alike and that nobody waits for one is enough: the second one finds nothing.
        deletes = {d._replace(sender=place[d.sender]) for d in world.deletes if not self._void(world, d)}
        return _renumbered(
            world._replace(
                writers=tuple(writers[n] for n in order),
                deletes=tuple(sorted(deletes)),
                seen=frozenset(view for view in world.seen if self._usable(world, view)),
            )
        )

    def _usable(self, world: World, view: Object) -> bool:
        """Whether a compare-and-swap from this view may still succeed: it is as now, or its version comes again."""
        if not (self.rules.compare_and_swap and self.rules.held and self.rules.further_proof):
            return True
        if not self.rules.proof_sees_finalizer:
            return True
        now, kept = world.object, world.kept
        if (now is not None and view.version == now.version) or view.version > world.version:
            return True
        if kept is None:
            return False
        return view.version > kept[2] or (kept[0] is not None and kept[0].version == view.version)

    def _remembered(self, world: World, writer: Writer) -> Writer:
        """What a writer is still to do by a state that never comes again will come to nothing."""
        known = writer.known
        if known is None or self._usable(world, known):
            return writer
        if writer.at in (DECIDED, ENDED, DELETED):
            return FORGOTTEN
        return writer._replace(known=known._replace(version=0, life=0))

    def _void(self, world: World, delete: Delete) -> bool:
        """Whether a delete that nobody waits for finds nothing for ever."""
        if delete.sender >= 0 or not self.rules.precondition:
            return False
        return world.source != delete.password and not (world.kept is not None and world.kept[1] == delete.password)

    def broken(self, world: World) -> str | None:
        """What a delete did that it must not."""
        return world.wrong or None

    def settled(self, world: World) -> bool:
        """Nobody works, nothing is on its way; the object is gone, or sealed from a source that is gone, and free."""
        if world.deletes or any(writer != FORGOTTEN for writer in world.writers):
            return False
        found = world.object
        return found is None or (not found.deleting and not found.held and bool(found.sealed) and not world.source)

    def show(self, world: World) -> str:
        """One line: object, source, what is on its way."""
        found = world.object
        text = "no object"
        if found is not None:
            words = [f"password {found.sealed}" if found.sealed else "not sealed"]
            words += [word for word, is_so in (("held", found.held), ("being deleted", found.deleting)) if is_so]
            text = f"object {found.life} at {found.version}: {', '.join(words)}"
        return f"{text}; source: {world.source or 'gone'}; {len(world.deletes)} deletes on their way"

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen now."""
        yield from self._owner(world)
        yield from self._store(world)
        yield from self._seal(world)
        yield from self._network(world)
        yield from self._free(world)
        for number, writer in enumerate(world.writers):
            yield from self._writer(world, number, writer)

    # -- everybody else

    def _owner(self, world: World) -> Iterator[Step]:
        found = world.object
        if found is not None and not found.deleting:
            after = self._written(world, found._replace(deleting=True)) if found.held else world._replace(object=None)
            yield "owner deletes the object", Kind.USER, after
        if found is None and world.lives < self.lives and world.source:
            version = world.version + 1
            made = Object(world.lives + 1, version)
            yield "owner makes it anew", Kind.USER, world._replace(object=made, version=version, lives=made.life)
        if world.given < self.passwords:
            new = world.given + 1
            yield f"somebody gives password {new}", Kind.USER, world._replace(source=new, given=new)
        if found is not None and world.restored and not world.labelled:
            yield "somebody labels it", Kind.USER, self._written(world, found)._replace(labelled=True)
        if found is not None and found.held and _quiet(world) and world.strips < self.strips:
            stripped = found._replace(held=False)
            after = self._written(world, stripped) if not found.deleting else world._replace(object=None)
            yield "somebody strips the finalizer", Kind.USER, after._replace(strips=world.strips + 1)

    def _store(self, world: World) -> Iterator[Step]:
        """etcd is put back; what was on its way is lost, and who waits for it has no answer."""
        if not self.restore or world.restored:
            return
        if world.kept is None:
            kept = (world.object, world.source, world.version)
            yield "etcd is kept as it is", Kind.FAULT, world._replace(kept=kept)
            return
        found, source, version = world.kept
        writers = tuple(self._cut_off(writer) for writer in world.writers)
        after = world._replace(object=found, source=source, version=version, restored=True, kept=None)
        after = after._replace(deletes=(), writers=writers)
        for recalled in (None, *world.seen):
            seen = frozenset() if recalled is None else frozenset((recalled,))
            yield "etcd is put back", Kind.FAULT, after._replace(seen=seen)

    def _cut_off(self, writer: Writer) -> Writer:
        if writer.at == WAITS or (writer.at == PROVEN and self.rules.begins_soon):
            return writer._replace(at=ENDED)
        return FORGOTTEN if writer.at == DELETED and self.rules.ends_soon else writer

    def _seal(self, world: World) -> Iterator[Step]:
        found = world.object
        if found is not None and world.source and found.sealed != world.source:
            after = self._written(world, found._replace(sealed=world.source))
            yield f"password {world.source} is sealed", Kind.WORK, after

    def _network(self, world: World) -> Iterator[Step]:
        """A delete that nobody waits for any more arrives, or never does: that is certain after a while."""
        for request in {delete for delete in world.deletes if delete.sender < 0}:
            after, _ = self._effect(world, request)
            yield f"a late delete of password {request.password} arrives", Kind.FAULT, after
            lost = world._replace(deletes=_less(world.deletes, request))
            yield f"a late delete of password {request.password} never arrives", Kind.WORK, lost

    def _free(self, world: World) -> Iterator[Step]:
        """Whoever finds it held although no delete will begin takes the finalizer off."""
        found = world.object
        if found is None or not found.held:
            return
        over = bool(found.sealed) and world.source != found.sealed
        given_up = (found.deleting or not found.sealed) and (_quiet(world) or not self.rules.freed_when_over)
        if over or given_up:
            yield "the finalizer comes off", Kind.WORK, self._freed(world, found)

    # -- one writer

    def _writer(self, world: World, number: int, writer: Writer) -> Iterator[Step]:
        name = f"writer {number + 1}"
        if writer.at != IDLE:
            forgotten = tuple(d._replace(sender=-1) if d.sender == number else d for d in world.deletes)
            after = _becomes(world, number, FORGOTTEN)._replace(deletes=forgotten)
            yield f"{name}: crashes", Kind.FAULT, after
        if writer.at == IDLE:
            yield from self._decide(world, number, name)
        elif writer.at in (DECIDED, ENDED):
            yield from self._prove(world, number, name, writer)
        elif writer.at == PROVEN:
            yield from self._send(world, number, name, writer)
        elif writer.at == WAITS:
            yield from self._end(world, number, name, writer)
        else:
            yield from self._take_off(world, number, name, writer)

    def _decide(self, world: World, number: int, name: str) -> Iterator[Step]:
        now = world.object
        for view in world.seen | ({now} if _good(now) else set()):
            if view == now and not world.source:
                continue  # its look found nothing to delete
            kind = Kind.WORK if view == now else Kind.FAULT
            yield f"{name}: is to hand over, as at {view.version}", kind, _becomes(world, number, Writer(DECIDED, view))

    def _prove(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        """Put the finalizer on, or see that it is on."""
        known, found = writer.known, world.object
        assert known is not None
        again = writer.at == ENDED
        if not self.rules.held or (again and not self.rules.further_proof):
            yield f"{name}: does not look", Kind.WORK, _becomes(world, number, Writer(PROVEN, known))
            return
        refused = Kind.WORK, _becomes(world, number, FORGOTTEN)
        if found is None:
            yield f"{name}: finds it gone", *refused
            return
        same_version = found.version == known.version or not self.rules.compare_and_swap
        if again and not self.rules.proof_sees_finalizer:
            # A read that compares uid and envelope, and nothing else.
            good = (found.life, found.sealed) == (known.life, known.sealed)
            after = _becomes(world, number, Writer(PROVEN, found)) if good and not found.deleting else refused[1]
            yield f"{name}: reads the object", Kind.WORK, after
            return
        if not same_version or (found.deleting and (not found.held or self.rules.not_of_deleted)):
            yield f"{name}: finds it changed", *refused
            return
        text = f"{name}: puts the finalizer on (compare-and-swap)"
        after = world if found.held else self._written(world, found._replace(held=True))
        assert after.object is not None
        same = (after.object.life, after.object.sealed) == (known.life, known.sealed)
        good = same or not (self.rules.answer_compared and self.rules.compare_and_swap)
        # Without the comparison the answer is what is believed to hold the password that was checked.
        believed = after.object._replace(sealed=known.sealed)
        yield text, Kind.WORK, _becomes(after, number, Writer(PROVEN, believed) if good else FORGOTTEN)

    def _send(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        assert writer.known is not None
        request = Delete(writer.known.sealed, number, writer.known.deleting)
        after = _becomes(world, number, writer._replace(at=WAITS))
        yield f"{name}: sends the delete", Kind.WORK, after._replace(deletes=(*world.deletes, request))

    def _end(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        """The delete takes effect, and is answered; or there is no answer. One whose sender is gone arrives too."""
        for request in {d for d in world.deletes if d.sender == number}:
            after, gone = self._effect(world, request)
            at = DELETED if gone else IDLE
            answered = _becomes(after, number, Writer(at, writer.known) if at else FORGOTTEN)
            yield f"{name}: the delete of password {request.password} arrives", Kind.WORK, answered
            lost = world._replace(deletes=_less(world.deletes, request))
            unknown = request._replace(sender=-1)
            kept = lost._replace(deletes=(*lost.deletes, unknown))
            yield f"{name}: no answer, it never arrives", Kind.FAULT, _becomes(lost, number, writer._replace(at=ENDED))
            yield f"{name}: no answer yet", Kind.FAULT, _becomes(kept, number, writer._replace(at=ENDED))

    def _effect(self, world: World, request: Delete) -> tuple[World, bool]:
        """What a delete does: the world after it, and whether the source is gone, or was."""
        after = world._replace(deletes=_less(world.deletes, request))
        if not world.source:
            return after, True
        if self.rules.precondition and world.source != request.password:
            return after, False
        found, wrong = world.object, ""
        if found is None or found.sealed != world.source:
            wrong = f"password {world.source} is deleted, and no object holds it"
        elif request.late:
            wrong = f"password {world.source} is deleted for an object that its owner had deleted before"
        return after._replace(source=0, wrong=wrong), True

    def _take_off(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        known, found = writer.known, world.object
        assert known is not None
        after = world
        if found is not None and found.held and found.version == known.version:
            after = self._freed(world, found)
        yield f"{name}: takes the finalizer off", Kind.WORK, _becomes(after, number, FORGOTTEN)

    # -- writes

    def _written(self, world: World, made: Object) -> World:
        """The object as it is stored, at a version of its own."""
        version = world.version + 1
        made = made._replace(version=version)
        seen = world.seen | {made} if _good(made) else world.seen
        return world._replace(object=made, version=version, seen=seen)

    def _freed(self, world: World, found: Object) -> World:
        return world._replace(object=None) if found.deleting else self._written(world, found._replace(held=False))


def _renumbered(world: World) -> World:
    """The same with versions 1, 2, 3: of a store that others write too only their order counts, and which are equal."""
    versions = {view.version for view in _known(world)} | {world.version}
    versions |= {world.object.version} if world.object is not None else set()
    if world.kept is not None:
        versions |= {world.kept[2]} | ({world.kept[0].version} if world.kept[0] is not None else set())
    rank = {version: number for number, version in enumerate(sorted(versions - {0}), start=1)} | {0: 0}

    def new(view: Object | None) -> Object | None:
        return None if view is None else view._replace(version=rank[view.version])

    kept = world.kept
    return world._replace(
        object=new(world.object),
        version=rank[world.version],
        kept=None if kept is None else (new(kept[0]), kept[1], rank[kept[2]]),
        seen=frozenset(view._replace(version=rank[view.version]) for view in world.seen),
        writers=tuple(writer._replace(known=new(writer.known)) for writer in world.writers),
    )


def _good(found: Object | None) -> bool:
    """Whether this is a state to hand over from."""
    return found is not None and bool(found.sealed) and not found.deleting


def _known(world: World) -> Iterator[Object]:
    """The views that a writer has, or may begin from."""
    yield from world.seen
    yield from (writer.known for writer in world.writers if writer.known is not None)


def _quiet(world: World) -> bool:
    """Whether no delete is on its way, or about to be."""
    return not world.deletes and not any(writer.at == PROVEN for writer in world.writers)


def _becomes(world: World, number: int, writer: Writer) -> World:
    writers = world.writers
    return world._replace(writers=(*writers[:number], writer, *writers[number + 1 :]))


def _less(deletes: tuple[Delete, ...], one: Delete) -> tuple[Delete, ...]:
    at = deletes.index(one)
    return (*deletes[:at], *deletes[at + 1 :])


def _key(writer: Writer) -> tuple[int, tuple[int, ...]]:
    return writer.at, tuple(map(int, writer.known)) if writer.known is not None else ()


def _sent(world: World, number: int) -> int:
    return sum(delete.sender == number for delete in world.deletes)
