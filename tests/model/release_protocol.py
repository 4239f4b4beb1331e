"""Which root key may be let go: mint, bindings, release.

DESIGN, section 5, steps 1 and 5, as a pure state machine: two writers, one instance, three bindings of two
root keys (two bindings name root key A, one names B) and the global key. A user creates and deletes bindings
at any moment; a binding of a former name may come back. A writer stops for any time between its read of the
instance, its LIST of the bindings, its write and the removal of a finalizer, or crashes and forgets
everything.

**What is bounded:** how often a binding of each name is created, and how many data keys are recorded at once
(production says 8; mint waits at the bound). Crashes and the number of steps are not bounded. Why this is
enough: the protocol treats all names and root keys alike. Two names of one root key are the least for the
clause "or another binding names the same root key", another root key the least for "move straight to", the
global key comes besides; a second life is the least for a writer that believes in the first one.

**What is folded together**, without losing a behaviour:

- The resourceVersion of the instance: a writer whose read is not the present version can only get a 409, so
  it is put back to idle when somebody else writes the instance. What a writer read of the bindings stays with
  it, of any age.
- That the secrets moved away from a Retiring key is the business of seal_protocol.py: here one may go at any
  moment.
- Adding our finalizer is one step: the API server refuses it on a binding that is being deleted.
- Deciding is one step with the write that it leads to, for the reason given in seal_protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple, TypeAlias

from explorer import Kind

GLOBAL = "global"
NAMES = ("a", "a2", "b")
ROOT_KEYS = ("A", "A", "B")
"""the root key that the binding of each name names: immutable in the API"""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of steps 1 and 5. The model holds with all of them and breaks without any one."""

    fresh_list: bool = True
    """step 1: the bindings are LISTed after the instance is read, on which the mint is conditioned"""
    write_before_finalizer: bool = True
    """step 5: the instance is written (`releases` + 1) before the finalizer comes off"""
    live_ground: bool = True
    """step 5, made precise: a binding that is being deleted itself is no ground to release another one"""
    finalizer_by_uid: bool = True
    """step 5, made precise: the finalizer comes off the binding that was decided on, not off its namesake"""

    def without(self, rule: str) -> Rules:
        """These rules, one of them switched off."""
        return replace(self, **{rule: False})


class Policy(StrEnum):
    """`globalKeyPolicy`."""

    ALLOW = "Allow"
    FORBID = "Forbid"


class Phase(IntEnum):
    """How far a binding is in its life."""

    ABSENT = 0
    NEW = 1
    """without our finalizer: never in force, gone at once when deleted"""
    HELD = 2
    """with our finalizer"""
    DELETING = 3
    """deletionTimestamp set, our finalizer still on"""


class Binding(NamedTuple):
    """One name; `life` counts how often it was created and stands for the uid."""

    phase: Phase
    life: int


Bindings: TypeAlias = tuple[Binding, ...]


class Writer(NamedTuple):
    """One writer's memory. Everything at its default: idle."""

    instance: bool = False
    """holds the present version of the instance (None of another is kept: it could not be written from)"""
    bindings: Bindings = ()
    """holds this LIST of them, of any age"""
    releasing: int = -1
    """has still to take the finalizer off this binding ..."""
    life: int = 0
    """... in this life of it"""


class World(NamedTuple):
    """Everything. `keys`: the root keys of the recorded data keys, oldest first; the last one is Active."""

    keys: tuple[str, ...]
    bindings: Bindings
    writers: tuple[Writer, ...]


Step: TypeAlias = tuple[str, Kind, World]

FORGOTTEN = Writer()
NONE = -1
"""in force: no root key at all"""
THE_GLOBAL_KEY = -2
"""in force: the global key"""


@dataclass(frozen=True, slots=True)
class ReleaseProtocol:
    """Steps 1 and 5 of section 5, to be explored."""

    policy: Policy = Policy.ALLOW
    rules: Rules = Rules()
    lives: tuple[int, ...] = (2, 1, 1)
    recorded: int = 3
    writers: int = 2

    # -- what the explorer asks for

    def initial(self) -> World:
        """An instance without data keys and without bindings."""
        return World((), (Binding(Phase.ABSENT, 0),) * len(NAMES), (FORGOTTEN,) * self.writers)

    def canonical(self, world: World) -> World:
        """Writers have no names."""
        writers = tuple(sorted(world.writers))
        return world if writers == world.writers else world._replace(writers=writers)

    def broken(self, world: World) -> str | None:
        """A recorded data key needs its root key; only a finalizer tells the owner that it is not free."""
        held = {ROOT_KEYS[name] for name, binding in enumerate(world.bindings) if binding.phase >= Phase.HELD}
        for root_key in world.keys:
            if root_key != GLOBAL and root_key not in held:
                return f"a recorded data key is wrapped by root key {root_key}, and no binding of it is held"
        return None

    def settled(self, world: World) -> bool:
        """One data key under what is in force; every binding held or, under Forbid, awaiting a successor."""
        if any(writer != FORGOTTEN for writer in world.writers) or len(world.keys) > 1:
            return False
        if any(binding.phase is Phase.NEW for binding in world.bindings):
            return False
        in_force = self._in_force(world.keys, world.bindings)
        if in_force == [NONE]:
            return not any(binding.phase for binding in world.bindings)
        return all(world.keys == (_root_key(choice),) for choice in in_force) and not self._releasable(
            world.keys, world.bindings
        )

    def show(self, world: World) -> str:
        """One line: data keys by root key, bindings."""
        keys = " ".join(world.keys) or "none"
        bindings = ", ".join(
            f"{name}#{binding.life} ({root_key}) {binding.phase.name.lower()}"
            for name, root_key, binding in zip(NAMES, ROOT_KEYS, world.bindings, strict=True)
            if binding.phase
        )
        return f"data keys under: {keys}; bindings: {bindings or 'none'}"

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that can happen now."""
        yield from self._user(world)
        for name, binding in enumerate(world.bindings):
            if binding.phase is Phase.NEW:
                after = _with_binding(world, name, Phase.HELD)
                yield f"finalizer onto binding {NAMES[name]}", Kind.WORK, after
        for place in range(len(world.keys) - 1):
            keys = (*world.keys[:place], *world.keys[place + 1 :])
            text = f"retirement: removes a data key under {world.keys[place]}"
            yield text, Kind.WORK, _instance_written(world, keys)
        for number, writer in enumerate(world.writers):
            if number and writer in world.writers[:number]:
                continue  # the same step of the same writer under another name
            yield from self._writer(world, number, writer)

    # -- the user

    def _user(self, world: World) -> Iterator[Step]:
        for name, binding in enumerate(world.bindings):
            if binding.phase is Phase.ABSENT and binding.life < self.lives[name]:
                text = f"user creates binding {NAMES[name]} of root key {ROOT_KEYS[name]}"
                yield text, Kind.USER, _with_binding(world, name, Phase.NEW, binding.life + 1)
            elif binding.phase in (Phase.NEW, Phase.HELD):
                phase = Phase.ABSENT if binding.phase is Phase.NEW else Phase.DELETING
                text = f"user deletes binding {NAMES[name]}"
                yield text, Kind.USER, _with_binding(world, name, phase)

    # -- steps 1 and 5: one writer

    def _writer(self, world: World, number: int, writer: Writer) -> Iterator[Step]:
        name = f"writer {number + 1}"
        if writer != FORGOTTEN:
            yield f"{name}: crashes", Kind.FAULT, _becomes(world, number, FORGOTTEN)
        if writer.releasing >= 0:
            yield from self._take_off(world, number, name, writer)
        elif writer.instance and writer.bindings:
            yield from self._decide(world, number, name, writer)
        elif writer.instance or (writer == FORGOTTEN and not self.rules.fresh_list):
            after = _becomes(world, number, writer._replace(bindings=world.bindings))
            yield f"{name}: LISTs the bindings", Kind.WORK, after
        if not writer.instance and writer.releasing < 0:
            after = _becomes(world, number, writer._replace(instance=True))
            yield f"{name}: reads the instance", Kind.WORK, after

    def _decide(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        did = False
        active = world.keys[-1] if world.keys else ""
        for choice in self._in_force(world.keys, writer.bindings):
            root_key = _root_key(choice)
            if choice != NONE and root_key != active and len(world.keys) < self.recorded:
                did = True
                after = _instance_written(world, (*world.keys, root_key), number, FORGOTTEN)
                yield f"{name}: mints under {root_key} (compare-and-swap)", Kind.WORK, after
        for binding in self._releasable(world.keys, writer.bindings):
            did = True
            then = Writer(releasing=binding, life=writer.bindings[binding].life)
            if self.rules.write_before_finalizer:
                after = _instance_written(world, world.keys, number, then)
                yield f"{name}: releases {NAMES[binding]}: writes the instance", Kind.WORK, after
            else:
                after = _becomes(world, number, then)
                yield f"{name}: decides to release {NAMES[binding]}", Kind.WORK, after
        if not did:
            yield f"{name}: has nothing to do", Kind.WORK, _becomes(world, number, FORGOTTEN)

    def _take_off(self, world: World, number: int, name: str, writer: Writer) -> Iterator[Step]:
        binding = world.bindings[writer.releasing]
        after = _becomes(world, number, FORGOTTEN)
        same = binding.life == writer.life or not self.rules.finalizer_by_uid
        if same and binding.phase in (Phase.HELD, Phase.DELETING):
            phase = Phase.ABSENT if binding.phase is Phase.DELETING else Phase.NEW
            after = _with_binding(after, writer.releasing, phase)
            yield f"{name}: takes the finalizer off {NAMES[writer.releasing]}", Kind.WORK, after
        else:
            yield f"{name}: finds {NAMES[writer.releasing]} gone", Kind.WORK, after

    # -- section 3: what is in force; step 5: what nothing needs

    def _in_force(self, keys: tuple[str, ...], bindings: Bindings) -> list[int]:
        """The bindings of which one is in force. Several: any of them, for no rule here rests on the choice."""
        active = keys[-1] if keys else ""
        usable = [name for name, binding in enumerate(bindings) if binding.phase is Phase.HELD]
        incumbents = [name for name in usable if ROOT_KEYS[name] == active]
        if incumbents or usable:
            return incumbents or usable
        if self.policy is Policy.ALLOW:
            return [THE_GLOBAL_KEY]
        waiting = [
            name
            for name, binding in enumerate(bindings)
            if binding.phase is Phase.DELETING and ROOT_KEYS[name] == active
        ]
        return waiting or [NONE]

    def _releasable(self, keys: tuple[str, ...], bindings: Bindings) -> list[int]:
        in_force = self._in_force(keys, bindings)
        return [
            name
            for name, binding in enumerate(bindings)
            if binding.phase is Phase.DELETING
            and any(choice != name and self._may_release(keys, bindings, name, choice) for choice in in_force)
        ]

    def _may_release(self, keys: tuple[str, ...], bindings: Bindings, name: int, in_force: int) -> bool:
        if ROOT_KEYS[name] not in keys:
            return True
        if in_force < 0 or ROOT_KEYS[in_force] != ROOT_KEYS[name]:
            return False
        return bindings[in_force].phase is Phase.HELD or not self.rules.live_ground


def _root_key(in_force: int) -> str:
    return ROOT_KEYS[in_force] if in_force >= 0 else GLOBAL


def _becomes(world: World, number: int, writer: Writer) -> World:
    writers = world.writers
    return World(*world[:-1], writers=(*writers[:number], writer, *writers[number + 1 :]))


def _with_binding(world: World, name: int, phase: Phase, life: int | None = None) -> World:
    bindings = world.bindings
    after = Binding(phase, bindings[name].life if life is None else life)
    return world._replace(bindings=(*bindings[:name], after, *bindings[name + 1 :]))


def _instance_written(world: World, keys: tuple[str, ...], number: int = -1, then: Writer = FORGOTTEN) -> World:
    """The instance is written: whoever else had read it would get a 409, and begins anew."""
    writers = tuple(
        then if other == number else (FORGOTTEN if writer.instance else writer)
        for other, writer in enumerate(world.writers)
    )
    return world._replace(keys=keys, writers=writers)
