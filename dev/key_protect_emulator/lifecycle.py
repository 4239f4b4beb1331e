"""How a key moves through its states, and every rule that names a duration. Pure: time is handed in.

| rule                                   | answer when broken                |
|----------------------------------------|-----------------------------------|
| enable: 30 s after disable             | 409 REQ_TOO_EARLY_ERR             |
| restore: 30 s after delete             | 409 REQ_TOO_EARLY_ERR             |
| restore: within 30 days of delete      | 400 KEY_RESTORE_EXPIRED           |
| restore: before the expiration date,   | 400 KEY_EXPIRED_ERR               |
|   unless it was Deactivated already    |                                   |
| purge: 4 h after delete                | 409 REQ_TOO_EARLY_ERR             |
| rotate: once an hour                   | 409 KEY_ROTATION_NOT_PERMITTED    |
| sync: one hour after the last action   | 409 REQ_TOO_EARLY_ERR             |
| dual-auth mark: 7 days, by another     | 409 AUTHORIZATIONS_NOT_MET        |

By itself, with time: a key expires one hour after its expiration date (Key Protect says "within an hour"),
is purged 90 days after its deletion, and is rotated when its rotation policy says so.
"""

from collections.abc import Callable
from typing import Final

from key_protect_emulator.errors import refusal
from key_protect_emulator.keys import Action, DeletionMark, Key, State, Version, require, require_root

SECOND_ACTION_DELAY: Final = 30.0
ROTATION_SPACING: Final = 3_600.0
SYNC_SPACING: Final = 3_600.0
EXPIRY_LAG: Final = 3_600.0
PURGE_DELAY: Final = 4 * 3_600.0
DAY: Final = 86_400.0
RESTORE_PERIOD: Final = 30 * DAY
AUTO_PURGE: Final = 90 * DAY
MARK_PERIOD: Final = 7 * DAY
MONTH: Final = 30 * DAY

NewVersion = Callable[[float], Version]


def disable(key: Key, now: float) -> None:
    require_root(key)
    require(key, Action.DISABLE)
    key.state = State.SUSPENDED
    _acted(key, now)


def enable(key: Key, now: float, *, ignore_timing: bool = False) -> None:
    require_root(key)
    require(key, Action.ENABLE)
    if not ignore_timing:
        _wait(key.last_action, SECOND_ACTION_DELAY, now)
    key.state = State.ACTIVE
    _acted(key, now)


def delete(key: Key, by: str, now: float) -> None:
    require(key, Action.DELETE)
    if key.dual_auth_delete and not _authorized_by_another(key, by, now):
        raise refusal("AUTHORIZATIONS_NOT_MET")
    key.deleted_from, key.state = key.state, State.DESTROYED
    key.deleted, key.deleted_by = now, by
    key.deletion_mark = None
    _acted(key, now)


def restore(key: Key, now: float, *, ignore_timing: bool = False) -> None:
    require(key, Action.RESTORE)
    deleted = key.deleted or 0.0
    if not ignore_timing:
        _wait(key.last_action, SECOND_ACTION_DELAY, now)
        if now - deleted > RESTORE_PERIOD:
            raise refusal("KEY_RESTORE_EXPIRED")
    # What was Deactivated stays so; what expired unnoticed or in the meantime cannot come back.
    if key.deleted_from is not State.DEACTIVATED and key.expires is not None and now >= key.expires:
        raise refusal("KEY_EXPIRED_ERR")
    key.state = State.DEACTIVATED if key.deleted_from is State.DEACTIVATED else State.ACTIVE
    key.deleted, key.deleted_by, key.deleted_from = None, "", None
    _acted(key, now)


def check_purge(key: Key, now: float, *, ignore_timing: bool = False) -> None:
    """Raise unless the key may be purged now; removing it is the caller's part."""
    require(key, Action.PURGE)
    if not ignore_timing:
        _wait(key.deleted, PURGE_DELAY, now)


def rotate(key: Key, version: Version, now: float, *, ignore_timing: bool = False) -> None:
    require_root(key)
    require(key, Action.ROTATE)
    if not ignore_timing and key.rotated is not None and now - key.rotated < ROTATION_SPACING:
        raise refusal("KEY_ROTATION_NOT_PERMITTED")
    key.versions.append(version)
    key.rotated = now
    _acted(key, now)


def sync(key: Key, now: float) -> None:
    require(key, Action.SYNC)
    _wait(max(filter(None, (key.last_action, key.synced)), default=None), SYNC_SPACING, now)
    key.synced = now


def set_for_deletion(key: Key, by: str, now: float) -> None:
    require(key, Action.SET_FOR_DELETION)
    if not key.dual_auth_delete:
        raise refusal("NOT_DUAL_AUTH_ERR")
    key.deletion_mark = DeletionMark(by, now)
    key.updated = now


def unset_for_deletion(key: Key, now: float) -> None:
    require(key, Action.UNSET_FOR_DELETION)
    if not key.dual_auth_delete:
        raise refusal("NOT_DUAL_AUTH_ERR")
    key.deletion_mark = None
    key.updated = now


def settle(key: Key, now: float, new_version: NewVersion) -> bool:
    """Let happen what time alone brings, purge excepted. True if anything changed."""
    changed = False
    if key.state in {State.ACTIVE, State.SUSPENDED} and _expired(key, now):
        key.state, key.updated, changed = State.DEACTIVATED, now, True
    if key.deletion_mark and now - key.deletion_mark.at > MARK_PERIOD:
        key.deletion_mark, changed = None, True
    while _rotation_due(key, now):
        due = key.rotation_since + key.rotation_months * MONTH
        key.versions.append(new_version(due))
        key.rotated = key.rotation_since = key.updated = due
        changed = True
    return changed


def purged_by_time(key: Key, now: float) -> bool:
    return key.state is State.DESTROYED and now - (key.deleted or now) >= AUTO_PURGE


def _rotation_due(key: Key, now: float) -> bool:
    if not key.rotation_enabled or key.imported or key.state is not State.ACTIVE:
        return False
    return now >= key.rotation_since + key.rotation_months * MONTH


def _expired(key: Key, now: float) -> bool:
    return key.expires is not None and now >= key.expires + EXPIRY_LAG


def _authorized_by_another(key: Key, by: str, now: float) -> bool:
    mark = key.deletion_mark
    return mark is not None and mark.by != by and now - mark.at <= MARK_PERIOD


def _wait(since: float | None, seconds: float, now: float) -> None:
    if since is not None and now - since < seconds:
        remaining = seconds - (now - since)
        raise refusal("REQ_TOO_EARLY_ERR", f"The key was updated recently: wait {remaining:.0f} s and try again.")


def _acted(key: Key, now: float) -> None:
    key.last_action = key.updated = now
