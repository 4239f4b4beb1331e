"""When what a deleted instance holds is destroyed. Once known the time is in its status, and only ever moves later.

Whoever may change the spec of an instance that is being deleted can so take nothing from its retention: neither by
a smaller `retentionDays`, nor by leaving `Shred` and coming back to it.
"""

from datetime import UTC, datetime, timedelta

from openscale_byok.core.view import View
from openscale_byok.resources import RETENTION_DAYS, OpenScaleInstance, SeenDeletion


def seen_deletion(view: View) -> SeenDeletion | None:
    """What the status of an instance is to say of its deletion, once that is seen.

    What is there counts, whatever the spec says by now; without it (it was lost, or an older one is back) the time
    is computed again from the deletion. Where `Shred` takes the place of `Block`, the whole retention is still ahead.
    """
    instance = view.instance
    if instance is None:
        return None
    before, deleted = instance.status.deletion, instance.metadata.deletion_timestamp
    if deleted is None:
        return before
    known = before.shred_time if before is not None else None
    if not _shreds(instance):
        return SeenDeletion(policy="Block", shred_time=known)
    begin = datetime.fromisoformat(deleted)
    if before is not None and before.policy == "Block":
        if view.today is None:
            return before
        begin = max(begin, view.today)
    at = begin + timedelta(days=_days(view, instance))
    if known is not None:
        at = max(at, datetime.fromisoformat(known))
    return SeenDeletion(policy="Shred", shred_time=at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def shred_time(view: View) -> datetime | None:
    """When everything is destroyed, where an instance was deleted with `Shred`."""
    if view.instance is None or not view.instance.metadata.deleting or not _shreds(view.instance):
        return None
    seen = seen_deletion(view)
    return datetime.fromisoformat(seen.shred_time) if seen is not None and seen.shred_time is not None else None


def over(view: View) -> bool:
    """Whether the retention is over: the time has come, and it is the one that the status tells everybody."""
    at = shred_time(view)
    stored = view.instance.status.deletion if view.instance is not None else None
    if at is None or view.today is None or stored != seen_deletion(view):
        return False
    return at <= view.today


def _shreds(instance: OpenScaleInstance) -> bool:
    return instance.spec.deletion is not None and instance.spec.deletion.policy == "Shred"


def _days(view: View, instance: OpenScaleInstance) -> int:
    asked = instance.spec.deletion.retention_days if instance.spec.deletion is not None else None
    return max(RETENTION_DAYS if asked is None else asked, view.minimum_retention_days)
