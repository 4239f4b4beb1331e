"""One call of the control API, and strict reading of its fields: what is misspelt or of no use is refused by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import ControlError
from key_protect_emulator.keys import Key
from key_protect_emulator.world import Account, Identity, Instance, World

# What a control handler answers; None is an empty object.
Body: TypeAlias = dict[str, Any] | None
Handler: TypeAlias = "Callable[[ControlCall], Body]"

TEXT_LIMIT: Final = 100_000  # characters; a JWKS is the longest thing that anybody hands in


@dataclass(frozen=True)
class ControlRoute:
    """One operation of the control API. `fields` are those of its body; None leaves their judgement to the handler."""

    method: str
    path: str
    handler: Handler
    fields: tuple[str, ...] | None = ()

    def check(self, body: Mapping[str, Any]) -> None:
        """Raises ControlError if the body holds a field that the operation does not know."""
        unknown = sorted(set(body) - set(self.fields)) if self.fields is not None else []
        if unknown:
            known = ", ".join(self.fields or ()) or "none"
            raise ControlError(400, f"unknown fields: {', '.join(unknown)}; known here: {known}")


@dataclass(frozen=True)
class ControlCall:
    backend: Backend
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]

    @property
    def world(self) -> World:
        return self.backend.world

    @property
    def now(self) -> float:
        return self.backend.clock.now()

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.body.get(name, default)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise ControlError(400, f"{name} must be a string")
        if not writable(value):
            raise ControlError(400, f"{name} holds half of a surrogate pair")
        return value

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise ControlError(400, f"{name} is required")
        return value

    def number(self, name: str) -> float | None:
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ControlError(400, f"{name} must be a number")
        if abs(value) > 1e15 or math.isnan(value):
            raise ControlError(400, f"{name} is too large a number")
        return float(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ControlError(400, f"{name} must be true or false")
        return value

    def account(self) -> Account:
        """The account named in the body; the first one if none is named."""
        id_ = self.text("account") or self.world.bootstrap["account"]
        if id_ not in self.world.accounts:
            raise ControlError(404, "no such account")
        return self.world.accounts[id_]

    def instance(self) -> Instance:
        """The instance named in the body by id or CRN; the first one if none is named."""
        name = self.text("instance") or self.world.bootstrap["instance"]
        id_ = name.split(":")[7] if name.startswith("crn:") and name.count(":") >= 7 else name
        if id_ not in self.world.instances:
            raise ControlError(404, "no such instance")
        return self.world.instances[id_]

    def identity(self, id_: str) -> Identity:
        found = self.world.identities.get(id_.removeprefix("iam-"))
        if found is None:
            raise ControlError(404, "no such service ID or trusted profile")
        return found

    def key(self, id_or_crn: str) -> tuple[Instance, Key]:
        id_ = id_or_crn.rpartition(":")[2]
        for instance in self.world.instances.values():
            if id_ in instance.keys:
                return instance, instance.keys[id_]
        raise ControlError(404, "no such key")


def writable(text: str) -> bool:
    """Whether a text from JSON can leave as UTF-8: JSON can spell halves of surrogate pairs, which cannot."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)
