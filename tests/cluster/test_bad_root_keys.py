"""Bindings that cannot work: each names the field and the cure, protects nothing by pretence, and never loops."""

from datetime import UTC, datetime
from typing import Any

import pytest

from stage import manifests
from stage.team import API_KEY_SECRET, Team

OPENSCALE_IDS = "key:00000000-0000-4000-8000-000000000000"


def test_every_bad_root_key_names_field_and_cure_and_nothing_falls_to_the_global_key(team: Team) -> None:
    """Unknown, another account's, a standard key, an endpoint that is not allowed: told apart; first seals wait."""
    emulator = team.scene.emulator
    (good,) = team.root_keys()
    foreign = emulator.create_root_key(emulator.create_instance(emulator.create_account()))
    standard = emulator.create_root_key(name="standard", extractable=True)
    unknown = good.rsplit(":", 2)[0] + ":" + OPENSCALE_IDS
    team.keys += [foreign, standard, unknown]
    team.source("admin", apikey=emulator.api_key)
    admin = {"apiKeySecretRef": {"name": "admin", "key": "apikey"}}
    bad: dict[str, tuple[str, dict[str, Any], str, str]] = {
        "unknown": (unknown, {"credentials": admin}, "KeyNotFound", "rootKey.crn"),
        "foreign": (foreign, {}, "NotAuthorized", "grant them the role Reader"),
        "standard": (standard, {"credentials": admin}, "KeyNotRoot", "rootKey.crn"),
    }
    for name, (crn, spec, *_) in bad.items():
        team.instance(name)
        team.marts(f"{name}-mart", instance=name)
        team.bind(name, crn, name, **spec)
    team.instance("endpoint")
    team.create(
        manifests.binding(team.namespace, "endpoint", "endpoint", good)
        | {
            "spec": {
                "instanceRef": {"name": "endpoint"},
                "rootKey": {"crn": good, "endpoint": "https://kp.attacker.example"},
            }
        }
    )
    bad["endpoint"] = (good, {}, "EndpointNotAllowed", "spec.rootKey.endpoint")
    for name, (_, _, reason, text) in bad.items():
        found = team.until_reason("RootKeyBinding", name, reason)
        assert found["status"] == "False"
        assert text in found["message"]
        assert team.condition("RootKeyBinding", name, "KeyUsable")["status"] == "False"
        assert team.condition("RootKeyBinding", name, "Stalled")["status"] == "True"
    for name in ("unknown", "foreign", "standard"):
        found = team.until_reason("DataMart", f"{name}-mart", "WaitingForRootKey")
        assert f"RootKeyBinding {name}" in found["message"]
        assert "properties" not in team.get("OpenScaleInstance", name)["status"]
    team.until_settled()
    team.nothing_written()
    for name in ("unknown", "foreign", "standard"):
        team.delete("RootKeyBinding", name)
    for name in ("unknown", "foreign", "standard"):
        team.until_gone("RootKeyBinding", name)
        team.until_ready(f"{name}-mart")


def test_a_binding_waits_for_its_instance_and_its_api_key(team: Team) -> None:
    """Applied in the wrong order: InstanceNotFound, then SecretNotFound, both Reconciling; at length a person is
    asked to act; and once all is there it just works."""
    key = team.scene.emulator.create_root_key()
    team.keys.append(key)
    team.bind("a", key)
    team.marts("one")
    for kind, name in (("RootKeyBinding", "a"), ("DataMart", "one")):
        found = team.until_reason(kind, name, "InstanceNotFound")
        assert "spec.instanceRef" in found["message"]
        assert team.condition(kind, name, "Reconciling")["status"] == "True"
        assert not team.condition(kind, name, "Stalled")
    team.until_settled()
    team.nothing_written()
    team.instance()
    found = team.until_reason("RootKeyBinding", "a", "SecretNotFound")
    assert API_KEY_SECRET in found["message"]
    team.until_reason("DataMart", "one", "WaitingForRootKey")
    found = team.until_reason("RootKeyBinding", "a", "CredentialsMissing")
    assert API_KEY_SECRET in found["message"]
    assert team.condition("RootKeyBinding", "a", "Stalled")["status"] == "True"
    team.until_settled()
    team.nothing_written()
    team.source(API_KEY_SECRET, apikey=team.scene.api_key(key))
    team.until_protected(key)
    team.until_ready("one")
    team.prove(key)


def test_an_api_key_that_iam_refuses_is_said_and_its_successor_taken_up(team: Team) -> None:
    """CredentialsRefused names the Secret's field, IAM is not hammered, and a new API key in the Secret counts."""
    key = team.scene.emulator.create_root_key()
    team.keys.append(key)
    team.source(API_KEY_SECRET, apikey="cnry-no-such-api-key")
    team.instance()
    team.bind("a", key)
    found = team.until_reason("RootKeyBinding", "a", "CredentialsRefused")
    assert "API key" in found["message"]
    assert team.condition("RootKeyBinding", "a", "Stalled")["status"] == "True"
    team.until_settled()
    before = team.scene.emulator.counts()["iam.token"]
    team.nothing_written(5)
    assert team.scene.emulator.counts()["iam.token"] - before <= 12, "one try for each poll"
    good = team.scene.api_key(key)
    team.vault.add(good)
    team.patch("Secret", API_KEY_SECRET, {"stringData": {"apikey": good}})
    team.until_protected(key)


def test_two_bindings_at_once(team: Team) -> None:
    """Exactly one comes into force, the older; the other is Standby; nothing flips when either is looked at again."""
    key_a, key_b = team.root_keys(2)
    team.bind("a", key_a)
    team.bind("b", key_b)
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.until(
        lambda: {team.get("RootKeyBinding", n)["status"].get("role") for n in "ab"} == {"InForce", "Standby"}, "roles"
    )
    in_force = team.get("OpenScaleInstance", "prod")["status"]["properties"]["userRootKeyCRN"]
    team.until_settled()
    team.nothing_written()
    team.prove(in_force)


def test_two_bindings_of_the_same_root_key(team: Team) -> None:
    """The second takes over without a new data key; the first goes at once."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.bind("a2", key)
    team.until_reason("RootKeyBinding", "a2", "Standby")
    with team.counted() as tally:
        team.delete("RootKeyBinding", "a")
        team.until_gone("RootKeyBinding", "a")
        team.until_reason("RootKeyBinding", "a2", "InForce")
    assert tally.key_protect["wrap"] == 0
    assert tally.writes["datamarts/status"] == 0
    team.prove(key)


def test_forbid_seals_nothing_without_a_root_key_and_keeps_the_last_binding(team: Team) -> None:
    """NoRootKey until one is bound; the last binding stays in force, with its finalizer, until another takes over."""
    key_a, key_b = team.root_keys(2)
    team.instance(globalKeyPolicy="Forbid")
    team.marts("one", handover=True)
    found = team.until_reason("DataMart", "one", "NoRootKey")
    assert "spec.globalKeyPolicy" in found["message"]
    assert team.condition("DataMart", "one", "Reconciling")["status"] == "True"
    assert team.condition("OpenScaleInstance", "prod")["reason"] == "NoRootKey"
    team.nothing_written()
    assert team.get("Secret", "one-db")

    team.bind("a", key_a)
    team.until_protected(key_a)
    team.until_ready("one")
    team.delete("RootKeyBinding", "a")
    found = team.until_reason("RootKeyBinding", "a", "StillNeeded")
    assert "create another RootKeyBinding" in found["message"]
    assert team.get("RootKeyBinding", "a")["status"]["role"] == "InForce"
    team.marts("two", handover=True)
    team.until_ready("two")
    team.prove(key_a)
    team.until_settled()
    team.nothing_written()

    team.bind("b", key_b)
    team.until_protected(key_b)
    team.until_gone("RootKeyBinding", "a")
    team.prove(key_b)
    team.delete("RootKeyBinding", "b")
    team.until_reason("RootKeyBinding", "b", "StillNeeded")
    team.patch("OpenScaleInstance", "prod", {"spec": {"globalKeyPolicy": "Allow"}})
    team.until_protected("global")
    team.until_gone("RootKeyBinding", "b")
    team.prove("global")


def test_forbid_does_not_leave_the_global_key_until_told_and_then_refuses_new_seals(team: Team) -> None:
    """Forbid set later, with no binding: what is sealed stays readable, nothing new is put under the global key."""
    team.instance()
    team.marts("one", handover=True)
    team.until_ready("one")
    team.patch("OpenScaleInstance", "prod", {"spec": {"globalKeyPolicy": "Forbid"}})
    team.marts("two", handover=True)
    team.until_reason("DataMart", "two", "NoRootKey")
    del team.passwords["two"]
    team.prove("global")
    team.until_settled()
    team.nothing_written()


@pytest.mark.parametrize("standby", [True, False])
def test_a_root_key_that_cannot_unwrap_is_never_left_behind_silently(team: Team, standby: bool) -> None:
    """Disabled, then its binding deleted: the secrets are stuck, counted, named and kept; enabled, all moves on."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    team.bind("a", key_a)
    team.until_protected(key_a)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    if standby:
        team.bind("b", key_b)
        team.until_reason("RootKeyBinding", "b", "Standby")
    team.scene.emulator.disable(key_a)
    team.until_reason("RootKeyBinding", "a", "KeyDisabled", "KeyUsable")
    team.delete("RootKeyBinding", "a")
    text = "2 of 2 secrets cannot be opened (one, two): enable or restore their root key"
    team.until(lambda: text in team.condition("RootKeyBinding", "a").get("message", ""), "all are counted and named")
    for name in ("one", "two"):
        found = team.until_reason("DataMart", name, "Stuck")
        assert "disabled" in found["message"]
        assert f"give the password again in Secret {name}-db" in found["message"]
    assert team.get("OpenScaleInstance", "prod")["status"]["secrets"]["stuck"] == 2
    team.until_settled()
    team.nothing_written(6)
    team.give_again("two", handover=True)
    team.until_ready("two", seconds=90)
    team.scene.emulator.enable(key_a, ignore_timing=True)
    team.until_protected(key_b if standby else "global")
    team.until_gone("RootKeyBinding", "a")
    team.prove(key_b if standby else "global")


def test_a_stuck_binding_goes_by_its_owners_word_alone_and_loses_nothing(team: Team) -> None:
    """Only the digest of the stuck list lets it go. What is stuck stays sealed, and moves on once the key is back."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.scene.emulator.delete(key)
    team.until_reason("RootKeyBinding", "a", "KeyDestroyed", "KeyUsable")
    team.delete("RootKeyBinding", "a")
    team.until(lambda: team.get("RootKeyBinding", "a")["status"].get("stuckDigest"), "the stuck list has a digest")
    digest = team.get("RootKeyBinding", "a")["status"]["stuckDigest"]
    assert f"openscale.byok.dev/abandon={digest}" in team.condition("RootKeyBinding", "a")["message"]
    before = {name: team.get("DataMart", name)["status"]["sealedPassword"]["envelope"] for name in ("one", "two")}
    team.patch("RootKeyBinding", "a", {"metadata": {"annotations": {"openscale.byok.dev/abandon": "0" * 16}}})
    team.until_settled()
    assert team.get("RootKeyBinding", "a"), "a word for another list lets nothing go"
    team.patch("RootKeyBinding", "a", {"metadata": {"annotations": {"openscale.byok.dev/abandon": digest}}})
    team.until_gone("RootKeyBinding", "a")
    team.until_settled()
    after = {name: team.get("DataMart", name)["status"]["sealedPassword"]["envelope"] for name in ("one", "two")}
    assert before == after
    keys = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
    assert key in {entry["rootKey"] for entry in keys}, "the wrapped data key is kept"
    team.scene.emulator.restore(key, ignore_timing=True)
    team.bind("again", key)
    team.until_ready("one", "two", seconds=30)
    team.until_protected(key)
    team.prove(key)


def test_an_expiry_is_announced_before_it_happens(team: Team) -> None:
    """Within 30 days of its expiration the binding says so, with the date and the cure; protection goes on as it is."""
    soon = datetime.fromtimestamp(team.scene.emulator.now() + 20 * 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    team.root_keys()
    key = team.scene.emulator.create_root_key(name="expires-soon", expiration=soon)
    team.keys.append(key)
    team.source("soon-key-protect", apikey=team.scene.api_key(key))
    team.instance()
    team.bind("a", key, credentials={"apiKeySecretRef": {"name": "soon-key-protect", "key": "apikey"}})
    team.marts("one")
    team.until_ready("one")
    found = team.until_reason("RootKeyBinding", "a", "KeyExpiring", "KeyUsable")
    assert soon[:10] in found["message"]
    assert "bind another" in found["message"]
    assert found["status"] == "True"
    assert team.condition("RootKeyBinding", "a")["status"] == "True"
    team.until(
        lambda: "KeyExpiring" in {e.get("reason") for e in team.scene.api.list("Event", team.namespace)},
        "an event says so",
    )
    team.nothing_written()
