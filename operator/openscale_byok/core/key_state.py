"""The states of a root key, as Key Protect names them, and what each still allows."""

from dataclasses import dataclass
from enum import StrEnum


class KeyState(StrEnum):
    """The states of Key Protect's keys that an answer can show (its numbers are 1, 2, 3 and 5)."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    DEACTIVATED = "Deactivated"
    DESTROYED = "Destroyed"

    @property
    def wraps(self) -> bool:
        """Whether it can wrap a new data key."""
        return self is KeyState.ACTIVE

    @property
    def unwraps(self) -> bool:
        """Whether what it wrapped can be unwrapped: an expired key still opens."""
        return self in (KeyState.ACTIVE, KeyState.DEACTIVATED)


@dataclass(frozen=True, slots=True)
class KeyLook:
    """What a root key's metadata says."""

    state: KeyState
    version: str
    until: str = ""
    """The date that matters in this state, as the other side printed it: expiry, or the end of restore."""
