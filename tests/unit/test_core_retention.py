"""When what a deleted instance holds is destroyed: a time that is known only ever moves later."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from openscale_byok.core.findings import shreds
from openscale_byok.core.retention import seen_deletion, shred_time
from openscale_byok.core.view import View
from sim.views import NEW, entry, instance, mart, reported, view

TODAY = datetime(2026, 12, 1, tzinfo=UTC)
"""Deleted was everything here on 2026-11-23, at midnight."""
SHRED = {"policy": "Shred", "retentionDays": 10}
THE_TENTH_DAY = "2026-12-03T00:00:00Z"


def deleted(deletion=None, seen=None, minimum: int = 0, **spec) -> View:
    """What is observed of a deleted instance with one sealed password."""
    spec |= {} if deletion is None else {"deletion": deletion}
    found = instance([entry(NEW)], deleting=True, seen_deletion=seen, **spec)
    return view(found, marts=[mart(under=NEW)], today=TODAY, minimum_retention_days=minimum)


def known(at: str | None = THE_TENTH_DAY, policy: str = "Shred") -> dict[str, str]:
    """What a status says of a deletion."""
    return {"policy": policy} | ({} if at is None else {"shredTime": at})


CASES = {
    "first seen": (deleted(SHRED), "Shred", THE_TENTH_DAY),
    "nothing asked for": (deleted({"policy": "Shred"}), "Shred", "2026-12-23T00:00:00Z"),
    "the owner asks for more": (deleted(SHRED, minimum=20), "Shred", "2026-12-13T00:00:00Z"),
    "the owner asks for less": (deleted(SHRED, minimum=5), "Shred", THE_TENTH_DAY),
    "lowered": (deleted(SHRED | {"retentionDays": 0}, known()), "Shred", THE_TENTH_DAY),
    "no longer said": (deleted({"policy": "Shred"}, known("2027-06-01T00:00:00Z")), "Shred", "2027-06-01T00:00:00Z"),
    "raised": (deleted(SHRED | {"retentionDays": 11}, known()), "Shred", "2026-12-04T00:00:00Z"),
    "the owner's minimum raised": (deleted(SHRED, known(), minimum=11), "Shred", "2026-12-04T00:00:00Z"),
    "the owner's minimum lowered": (deleted(SHRED | {"retentionDays": 0}, known(), minimum=0), "Shred", THE_TENTH_DAY),
    "suspended": (deleted(SHRED | {"retentionDays": 0}, known(), suspend=True), "Shred", THE_TENTH_DAY),
    "Block": (deleted({"policy": "Block"}), "Block", None),
    "nothing said": (deleted(), "Block", None),
    "from Shred to Block": (deleted({"policy": "Block"}, known()), "Block", THE_TENTH_DAY),
    "spec.deletion removed": (deleted(None, known()), "Block", THE_TENTH_DAY),
    "from Block to Shred": (deleted(SHRED, known(None, "Block")), "Shred", "2026-12-11T00:00:00Z"),
    "from Block to Shred, at once": (
        deleted(SHRED | {"retentionDays": 0}, known(policy="Block")), "Shred", THE_TENTH_DAY,
    ),
    "from Block to Shred, at once, with a minimum": (
        deleted(SHRED | {"retentionDays": 0}, known(None, "Block"), minimum=3), "Shred", "2026-12-04T00:00:00Z",
    ),
    "the status is lost": (deleted(SHRED), "Shred", THE_TENTH_DAY),
    "an older status is back": (deleted(SHRED, known("2026-11-25T00:00:00Z")), "Shred", THE_TENTH_DAY),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "policy", "at"), CASES.values(), ids=CASES)
def test_the_time_is_never_earlier_than_one_that_is_known(seen, policy, at):
    """What a spec says after the deletion can only make it later; and to be told so takes one write."""
    found = seen_deletion(seen)
    assert found is not None
    assert (found.policy, found.shred_time) == (policy, at)
    assert (shred_time(seen) is not None) == (policy == "Shred")
    settled = reported(seen)
    assert settled.instance is not None
    assert settled.instance.status.deletion == found
    assert seen_deletion(settled) == found
    assert seen_deletion(replace(settled, today=TODAY.replace(day=28))) == found


def test_nothing_is_destroyed_at_a_time_that_the_status_does_not_tell():
    """It is written before it counts: who lowers it meanwhile meets a time that is fixed."""
    late = replace(deleted(SHRED | {"retentionDays": 1}), today=TODAY)
    assert not shreds(late)
    assert shreds(reported(late))


def test_an_instance_that_is_not_deleted_has_no_time():
    """And what a backup brought along of a former deletion stays as it is."""
    fresh = view(instance([entry(NEW)], deletion=SHRED), today=TODAY)
    assert (seen_deletion(fresh), shred_time(fresh), seen_deletion(view())) == (None, None, None)
    restored = view(instance([entry(NEW)], deletion=SHRED, seen_deletion=known()), today=TODAY)
    assert seen_deletion(restored) == restored.instance.status.deletion
    assert shred_time(restored) is None
