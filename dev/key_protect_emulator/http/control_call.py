"""One call of the control API, and strict reading of its fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from key_protect_emulator.backend import Backend
from key_protect_emulator.errors import ControlError
from key_protect_emulator.keys import Key
from key_protect_emulator.world import Account, Identity, Instance, World

# What a control handler answers; None is an empty object.
Body: TypeAlias = dict[str, Any] | None


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
        if value is not None and not isinstance(value, str):
            raise ControlError(400, f"{name} must be a string")
        return value

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise ControlError(400, f"{name} is required")
        return value

    def number(self, name: str) -> float | None:
        value = self.body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ControlError(400, f"{name} must be a number")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.body.get(name, default)
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
