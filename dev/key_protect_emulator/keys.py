"""What a key is, and the state x action matrix. Pure values: no I/O, no clock, no randomness.

The matrix is Key Protect's published one. Deactivated (expired) keys still unwrap and rewrap but no longer
wrap; Destroyed (deleted) keys can only be looked at, restored and purged. There is no state 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from key_protect_emulator.errors import KeyProtectError, refusal

ROOT_KEY_SIZES: Final = (16, 24, 32)
STANDARD_KEY_LIMIT: Final = 7_500


class State(IntEnum):
    ACTIVE = 1
    SUSPENDED = 2
    DEACTIVATED = 3
    DESTROYED = 5


class Action(StrEnum):
    WRAP = "wrap"
    UNWRAP = "unwrap"
    REWRAP = "rewrap"
    ROTATE = "rotate"
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"
    SET_FOR_DELETION = "set_key_for_deletion"
    UNSET_FOR_DELETION = "unset_key_for_deletion"
    SYNC = "sync"
    PATCH = "patch"


_LIVE: Final = frozenset({State.ACTIVE, State.SUSPENDED, State.DEACTIVATED})

MATRIX: Final[Mapping[Action, frozenset[State]]] = {
    Action.WRAP: frozenset({State.ACTIVE}),
    Action.UNWRAP: frozenset({State.ACTIVE, State.DEACTIVATED}),
    Action.REWRAP: frozenset({State.ACTIVE, State.DEACTIVATED}),
    Action.ROTATE: frozenset({State.ACTIVE, State.DEACTIVATED}),
    Action.DISABLE: frozenset({State.ACTIVE}),
    Action.ENABLE: frozenset({State.SUSPENDED}),
    Action.DELETE: _LIVE,
    Action.RESTORE: frozenset({State.DESTROYED}),
    Action.PURGE: frozenset({State.DESTROYED}),
    Action.SET_FOR_DELETION: _LIVE,
    Action.UNSET_FOR_DELETION: _LIVE,
    Action.SYNC: frozenset(State),
    Action.PATCH: frozenset(State),
}

# A destroyed key answers these with 410 Gone; every other forbidden combination is 409.
_GONE: Final = frozenset({Action.WRAP, Action.UNWRAP, Action.REWRAP, Action.DELETE})


@dataclass
class Version:
    """One version of a key's material. Retired versions keep unwrapping until the key is purged."""

    id: str
    created: float
    material: bytes = field(repr=False)


@dataclass
class DeletionMark:
    """First of the two authorizations that a dual-auth key needs before it can be deleted."""

    by: str
    at: float


@dataclass
class Key:
    id: str
    instance: str
    name: str
    extractable: bool
    created: float
    created_by: str
    versions: list[Version]  # oldest first; the last one is current
    state: State = State.ACTIVE
    ring: str = "default"
    imported: bool = False
    description: str = ""
    tags: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    expires: float | None = None
    updated: float = 0.0
    rotated: float | None = None  # last rotation by anyone
    last_action: float | None = None  # last disable, enable, delete, restore, rotate or sync
    synced: float | None = None
    deleted: float | None = None
    deleted_by: str = ""
    deleted_from: State | None = None
    dual_auth_delete: bool = False
    deletion_mark: DeletionMark | None = None
    rotation_enabled: bool | None = None  # None: no rotation policy was ever set
    rotation_months: int = 0
    rotation_since: float = 0.0
    policies: dict[str, dict[str, str]] = field(default_factory=dict)  # policy -> who and when

    @property
    def current(self) -> Version:
        return self.versions[-1]

    def version(self, id_: str) -> Version | None:
        return next((v for v in self.versions if v.id == id_), None)


def permitted(state: State, action: Action) -> bool:
    return state in MATRIX[action]


def refuse_by_state(state: State, action: Action) -> KeyProtectError | None:
    """Why this action cannot be done in this state, or None if it can."""
    if permitted(state, action):
        return None
    if state is State.DESTROYED and action in _GONE:
        return refusal("KEY_DELETED_ERR")
    return refusal("KEY_ACTION_INVALID_STATE_ERR")


def require(key: Key, action: Action) -> None:
    """Raise what Key Protect answers unless the key's state permits the action."""
    error = refuse_by_state(key.state, action)
    if error:
        raise error


def require_root(key: Key) -> None:
    if key.extractable:
        raise refusal("KEY_ROOT_REQ_ERR")
