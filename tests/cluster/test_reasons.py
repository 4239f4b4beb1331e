"""Reasons of the page for the night that no other story here produces, each with what helps."""

from collections.abc import Iterator

import pytest

from openscale_byok.core.shortlist import MOST_BINDINGS
from openscale_byok.resources import MAX_RETIRING
from stage import manifests
from stage.api import ApiError
from stage.scene import Scene
from stage.team import API_KEY_SECRET, Team

UNCONFIRMED = "reasons-test-unconfirmed"


def test_nothing_to_protect(team: Team) -> None:
    """An instance alone is well, and no data key is made that a binding would replace at once."""
    team.instance()
    assert team.until_reason("OpenScaleInstance", "prod", "NothingToProtect")["status"] == "True"
    assert "properties" not in team.get("OpenScaleInstance", "prod")["status"]
    (key,) = team.root_keys()
    team.bind("a", key)
    team.until_protected(key)


def test_no_credentials_anywhere(team: Team) -> None:
    """Neither the binding nor its instance has any: Stalled, with the field; given to the instance, it just works."""
    (key,) = team.root_keys()
    team.create(manifests.instance(team.namespace, "prod", "0a1b2c3d-0000-4000-8000-00000000c4ed"))
    team.bind("a", key)
    team.marts("one", handover=True)
    assert "spec.credentials" in team.until_reason("RootKeyBinding", "a", "CredentialsMissing")["message"]
    assert team.condition("RootKeyBinding", "a", "Stalled")["status"] == "True"
    team.until_reason("DataMart", "one", "WaitingForRootKey")
    team.until_settled()
    team.nothing_written()
    reference = {"apiKeySecretRef": {"name": API_KEY_SECRET, "key": "apikey"}}
    team.patch("OpenScaleInstance", "prod", {"spec": {"credentials": reference}})
    team.until_protected(key)
    team.until_ready("one")
    team.prove(key)


def test_before_the_first_answer(team: Team) -> None:
    """While Key Protect is still to answer for the first time nothing is known, and nothing is sealed elsewhere."""
    (key,) = team.root_keys()
    team.scene.emulator.fault("metadata", key=key, delay=15.0)
    team.instance()
    team.bind("a", key)
    team.marts("one", handover=True)
    assert team.until_reason("RootKeyBinding", "a", "CheckingKey")["status"] == "Unknown"
    team.until_reason("DataMart", "one", "WaitingForRootKey")
    assert "properties" not in team.get("OpenScaleInstance", "prod")["status"]
    team.scene.emulator.clear_faults()
    team.until_protected(key, seconds=60)
    team.until_ready("one")  # an instance is protected before its first secret is sealed
    team.prove(key)


def test_a_binding_that_was_torn_away(team: Team) -> None:
    """Somebody took its finalizer off by hand: which root key is missing is said, and bound again, all opens."""
    (key,) = team.root_keys()
    team.instance(globalKeyPolicy="Forbid")
    team.bind("a", key)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.delete("RootKeyBinding", "a")
    team.until_reason("RootKeyBinding", "a", "StillNeeded")
    team.patch("RootKeyBinding", "a", {"metadata": {"finalizers": None}})
    team.until_gone("RootKeyBinding", "a")
    team.scene.operator.restart()
    found = team.until_reason("OpenScaleInstance", "prod", "NoBinding", "KeyUsable")
    assert (found["status"], key in found["message"]) == ("False", True)
    team.until_settled()
    team.nothing_written()
    team.bind("again", key)
    team.until_protected(key)
    team.until_ready("one")
    team.prove(key)


@pytest.fixture
def unconfirmed(scene: Scene) -> Iterator[dict[str, str]]:
    """A label: while a data mart has it, nobody can say that its password is sealed."""
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["datamarts/status"], "operations": ["UPDATE"]}]
    match = {"resourceRules": rules, "objectSelector": {"matchLabels": {UNCONFIRMED: "yes"}}}
    ready = 'object.status.?conditions.orValue([]).exists(c, c.type == "Ready" && c.status == "True")'
    denial = {"expression": f"!{ready}", "reason": "Forbidden", "message": "held by a test"}
    policy = {"matchConstraints": match, "validations": [denial], "failurePolicy": "Fail"}
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": UNCONFIRMED}}
    scene.apply(
        api | {"kind": "ValidatingAdmissionPolicy", "spec": policy},
        api
        | {
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": UNCONFIRMED, "validationActions": ["Deny"]},
        },
    )
    yield {UNCONFIRMED: "yes"}
    scene.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", UNCONFIRMED)


def test_sealed_and_not_ready_yet(team: Team, unconfirmed: dict[str, str]) -> None:
    """Whoever cannot write that the check went well says that it is being checked; it opens already, and goes on."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.until(lambda: _denied(team, unconfirmed), "the policy is in force")
    team.passwords["one"] = team.password()
    team.source("one-db", handover=True, password=team.passwords["one"])
    mart = manifests.datamart(team.namespace, "one", "prod", "one-db")
    mart["metadata"]["labels"] = unconfirmed
    team.create(mart)
    team.until_reason("DataMart", "one", "CheckingSeal")
    team.polled()
    assert team.condition("DataMart", "one")["reason"] == "CheckingSeal"
    team.prove(key)
    team.patch("DataMart", "one", {"metadata": {"labels": dict.fromkeys(unconfirmed)}})
    team.until_ready("one", seconds=90)
    team.until_gone("Secret", "one-db")
    team.prove(key)


def _denied(team: Team, label: dict[str, str]) -> bool:
    """Whether the policy holds for a data mart that nobody seals: its instance does not exist."""
    name = "probe"
    if not team.get("DataMart", name):
        probe = manifests.datamart(team.namespace, name, "nowhere", "nothing")
        probe["metadata"]["labels"] = label
        team.create(probe)
    ready = {"type": "Ready", "status": "True", "reason": "Probe", "message": "", "observedGeneration": 1}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    try:
        team.patch("DataMart", name, {"status": {"conditions": [ready]}}, status=True)
    except ApiError as error:
        if error.status != 403:
            raise
        team.delete("DataMart", name)
        return True
    return False


def test_too_many_former_data_keys(team: Team) -> None:
    """Each root key is lost with a password still under it: the ninth change has to wait, says so, and loses nothing.

    One root key back, and it goes on; all of them back, and everything is where it belongs.
    """
    keys = team.root_keys(MAX_RETIRING + 2)
    team.instance()
    for number, key in enumerate(keys[:-1]):
        team.bind(f"k{number}", key)
        if number:
            team.delete("RootKeyBinding", f"k{number - 1}")
        team.until(lambda key=key: _active(team) == key, f"root key {number} is in force")
        team.marts(f"m{number}", handover=True)
        team.until_ready(f"m{number}")
        if number < MAX_RETIRING:
            team.scene.emulator.disable(key)
            team.until_reason("RootKeyBinding", f"k{number}", "KeyDisabled")
    team.bind("last", keys[-1])
    team.delete("RootKeyBinding", f"k{MAX_RETIRING}")
    found = team.until_reason("OpenScaleInstance", "prod", "TooManyDataKeys")
    assert str(MAX_RETIRING) in found["message"]
    assert team.condition("OpenScaleInstance", "prod", "Stalled")["status"] == "True"
    instance = team.get("OpenScaleInstance", "prod")["status"]
    assert (len(instance["properties"]["dataKeys"]), instance["secrets"]["stuck"]) == (MAX_RETIRING + 1, MAX_RETIRING)
    team.until_settled()
    team.nothing_written()
    team.scene.emulator.enable(keys[0], ignore_timing=True)
    team.until(lambda: _active(team) == keys[-1], "the last root key is in force", 90)
    for key in keys[1:MAX_RETIRING]:
        team.scene.emulator.enable(key, ignore_timing=True)
    team.until_protected(keys[-1], seconds=90)
    team.prove(keys[-1])


def test_too_many_bindings(team: Team) -> None:
    """Of an instance 16 are looked at: the others say so, keep nothing from working, and one moves up when one goes."""
    key, another = team.root_keys(2)
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.create(
        *(manifests.binding(team.namespace, f"crowd-{n:02}", "prod", another) for n in range(MOST_BINDINGS + 1))
    )
    extra = team.until_reason("RootKeyBinding", f"crowd-{MOST_BINDINGS}", "TooManyBindings")
    assert str(MOST_BINDINGS) in extra["message"]
    assert team.condition("RootKeyBinding", f"crowd-{MOST_BINDINGS}", "Stalled")["status"] == "True"
    last = f"crowd-{MOST_BINDINGS - 1:02}"
    team.until_reason("RootKeyBinding", last, "TooManyBindings")
    assert not team.get("RootKeyBinding", last)["metadata"].get("finalizers")
    team.marts("one", handover=True)
    team.until_ready("one")
    team.until_settled()
    team.nothing_written()
    team.delete("RootKeyBinding", "crowd-00")
    team.until_gone("RootKeyBinding", "crowd-00")
    team.until_reason("RootKeyBinding", last, "Standby")
    team.until_reason("RootKeyBinding", "a", "InForce")


def _active(team: Team) -> str:
    """The root key that the instance's Active data key is under."""
    keys = team.get("OpenScaleInstance", "prod").get("status", {}).get("properties", {}).get("dataKeys", [])
    return next((key["rootKey"] for key in keys if key["state"] == "Active"), "")
