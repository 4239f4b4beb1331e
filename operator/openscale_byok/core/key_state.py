"""The states of a root key, as Key Protect names them, and what each still allows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

    def expires_within(self, notice: timedelta, now: datetime) -> bool:
        """Whether an active root key reaches its expiration date soon. A date that cannot be read is none."""
        try:
            at = datetime.fromisoformat(self.until)
        except ValueError:
            return False
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return self.state is KeyState.ACTIVE and at - now <= notice
