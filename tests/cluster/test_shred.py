"""`spec.deletion` on a real API server: what is destroyed is gone, and was told; what must wait says until when."""

import json
from datetime import datetime, timedelta

import pytest

from openscale_byok.resources import KINDS
from stage.api import ApiError
from stage.team import Team

JWE = "eyJ"
"""How every envelope begins, and every data key that the global key wrapped."""


def shredded(team: Team, **deletion: object) -> tuple[str, str]:
    """An instance with two hand-over passwords and this `spec.deletion`, deleted: its root key and data key."""
    (key,) = team.root_keys()
    team.instance(deletion=deletion)
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    (entry,) = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
    team.delete("OpenScaleInstance", "prod")
    team.delete("RootKeyBinding", "a")
    return key, entry["id"]


def stored(team: Team) -> str:
    """Every status of the namespace, as text."""
    return json.dumps([item["status"] for kind in KINDS for item in team.scene.api.list(kind.KIND, team.namespace)])


def events(team: Team, reason: str) -> list[str]:
    """What was announced of the instance for a reason."""
    found = team.scene.api.list("Event", team.namespace)
    return [e["note"] for e in found if e["reason"] == reason and e["regarding"]["name"] == "prod"]


def test_everything_is_destroyed_and_told(team: Team) -> None:
    """Envelopes, wrapped keys, binding, instance: gone from the API, listed in a last event, without Key Protect."""
    with team.counted() as tally:
        key, data_key = shredded(team, policy="Shred", retentionDays=0)
        team.until_gone("OpenScaleInstance", "prod")
        team.until_gone("RootKeyBinding", "a")
    assert tally.key_protect["wrap"] == 1, "the one of the beginning"
    found = stored(team)
    assert JWE not in found
    assert "dataKeys" not in found
    (note,) = events(team, "Shredded")
    assert "2 sealed passwords of data marts one, two" in note
    assert f"{data_key[:8]} (under {key})" in note
    for name in ("one", "two"):
        team.until_reason("DataMart", name, "Shredded")
        assert "sealedPassword" not in team.get("DataMart", name)["status"]
    team.until_settled()
    team.nothing_written()
    team.instance()
    for name in ("one", "two"):
        team.give_again(name, handover=True)
    team.until_ready("one", "two")
    team.prove("global")


def test_the_retention_says_until_when_and_can_be_left(team: Team) -> None:
    """Everything still opens, binding and instance name the date; `Block` keeps it, and `Shred` again the same date."""
    key, _ = shredded(team, policy="Shred", retentionDays=3)
    found = team.until_reason("OpenScaleInstance", "prod", "Shredding")
    deleted = team.get("OpenScaleInstance", "prod")["metadata"]["deletionTimestamp"]
    until = datetime.fromisoformat(deleted) + timedelta(days=3)
    assert f"on {until:%Y-%m-%dT%H:%M:%SZ} 2 sealed passwords" in found["message"]
    assert "set spec.deletion.policy to Block before" in found["message"]
    team.until_reason("RootKeyBinding", "a", "Shredding")
    team.until(lambda: events(team, "Shredding"), "it is announced")
    team.until_settled()
    team.nothing_written(6)
    team.prove(key)
    team.patch("OpenScaleInstance", "prod", {"spec": {"deletion": {"policy": "Block", "retentionDays": None}}})
    team.until_reason("OpenScaleInstance", "prod", "DataMartsRemain")
    team.prove(key)
    team.patch("OpenScaleInstance", "prod", {"spec": {"deletion": {"policy": "Shred", "retentionDays": 0}}})
    again = team.until_reason("OpenScaleInstance", "prod", "Shredding")
    assert f"on {until:%Y-%m-%dT%H:%M:%SZ} 2 sealed passwords" in again["message"]
    team.until_settled()
    team.prove(key)


def test_who_lowers_the_retention_afterwards_skips_nothing(team: Team) -> None:
    """The time is in the status from the first look on: the API server lets nobody move it earlier, nor take it off."""
    key, _ = shredded(team, policy="Shred", retentionDays=3)
    team.until_reason("OpenScaleInstance", "prod", "Shredding")
    fixed = team.get("OpenScaleInstance", "prod")["status"]["deletion"]
    team.patch("OpenScaleInstance", "prod", {"spec": {"deletion": {"policy": "Shred", "retentionDays": 0}}})
    found = team.until_reason("OpenScaleInstance", "prod", "Shredding")
    assert f"on {fixed['shredTime']} 2 sealed passwords" in found["message"]
    team.until_settled()
    team.prove(key)
    earlier = {"policy": "Shred", "shredTime": "2026-01-01T00:00:00Z"}
    for forged in (earlier, {"policy": "Shred", "shredTime": None}, None):
        with pytest.raises(ApiError, match="may be moved later, but not earlier"):
            team.patch("OpenScaleInstance", "prod", {"status": {"deletion": forged}}, status=True)
    assert team.get("OpenScaleInstance", "prod")["status"]["deletion"] == fixed
    team.patch("OpenScaleInstance", "prod", {"spec": {"deletion": {"policy": "Shred", "retentionDays": 4}}})
    later = datetime.fromisoformat(fixed["shredTime"]) + timedelta(days=1)
    team.until(
        lambda: f"{later:%Y-%m-%dT%H:%M:%SZ}" in team.condition("OpenScaleInstance", "prod").get("message", ""),
        "it is later",
    )


def test_suspend_holds_it_back(team: Team) -> None:
    """With `suspend` nothing is destroyed, and it says so; without it, it goes on."""
    (key,) = team.root_keys()
    team.instance(deletion={"policy": "Shred", "retentionDays": 0}, suspend=False)
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": True}})
    team.delete("OpenScaleInstance", "prod")
    team.until_reason("OpenScaleInstance", "prod", "Suspended")
    team.until_settled()
    team.nothing_written()
    team.prove(key)
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": False}})
    team.until_gone("OpenScaleInstance", "prod")


def test_a_stuck_password_is_destroyed_too(team: Team) -> None:
    """No root key is asked: what cannot be opened now could be, once somebody restores the key."""
    (key,) = team.root_keys()
    team.instance(deletion={"policy": "Shred", "retentionDays": 0})
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.scene.emulator.disable(key)
    team.until_reason("RootKeyBinding", "a", "KeyDisabled")
    team.delete("OpenScaleInstance", "prod")
    team.delete("RootKeyBinding", "a")
    team.until_gone("OpenScaleInstance", "prod")
    team.until_gone("RootKeyBinding", "a")
    assert JWE not in stored(team)


def test_its_namespace_does_not_wait_for_the_retention(team: Team) -> None:
    """Deleted with its namespace, the instance goes once the data marts are gone: nothing is left to keep."""
    shredded(team, policy="Shred", retentionDays=30)
    team.until_reason("OpenScaleInstance", "prod", "Shredding")
    team.scene.api.delete("Namespace", "", team.namespace)
    team.until_gone("OpenScaleInstance", "prod")
