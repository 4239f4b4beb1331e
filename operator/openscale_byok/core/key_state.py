"""The states of a root key, as Key Protect names them, and what each still allows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from openscale_byok.reasons import Reason


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
    rewraps: str | None = ""
    """What a data key's version begins with, if a rewrap brings it up to this one. Any other data key gets a
    successor, and what it sealed is re-encrypted; with None that is so for every version but this: a version that
    was readable may have leaked, and a rewrap would leave what was sealed to whoever has it."""
    asked_with: str = field(default="", repr=False, compare=False)
    """Stands for the credentials that it was asked with; others have another."""
    unread: tuple[Reason, str] | None = None
    """Why the credentials that it was asked with could not be read again: only a token that was bought before is left,
    and its life ends."""

    def behind(self, version: str) -> bool:
        """Whether a data key that this version wrapped is to be rewrapped."""
        return version != self.version and self.rewraps is not None and version.startswith(self.rewraps)

    def left(self, version: str) -> bool:
        """Whether a data key that this version wrapped is to be replaced by another data key."""
        return version != self.version and not self.behind(version)

    @property
    def expires(self) -> float | None:
        """When an active root key expires, in seconds since the epoch. A date that cannot be read is none."""
        try:
            at = datetime.fromisoformat(self.until)
        except ValueError:
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return at.timestamp() if self.state is KeyState.ACTIVE else None

    def expires_within(self, notice: timedelta, now: datetime) -> bool:
        """Whether an active root key reaches its expiration date soon. A date that cannot be read is none."""
        expires = self.expires
        return expires is not None and expires - now.timestamp() <= notice.total_seconds()
