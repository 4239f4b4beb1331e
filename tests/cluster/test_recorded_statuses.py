"""What the operator writes is what tests/gitops tries its health checks on: each file there is made, or compared, here.

`make test ARGS=tests/cluster/test_recorded_statuses.py` with OPENSCALE_RECORD_STATUSES=1 writes the files anew.
"""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from stage import manifests
from stage.api import MERGE_PATCH, path
from stage.team import Team
from statuses import FOLDER, RECORD, as_text, normalised

INSTANCE, BINDING, MART = "OpenScaleInstance", "RootKeyBinding", "DataMart"
SECONDS = 20.0
SCENES: dict[str, tuple[str, ...]] = {}
"""Each test's files, so that none is left that nobody makes."""


class Recorder:
    """Compares what an object comes to say with its file; writes the file where that was asked for."""

    def __init__(self, team: Team, names: tuple[str, ...]) -> None:
        self.team, self.left = team, set(names)

    def expect(self, file: str, kind: str, name: str, reason: str) -> None:
        """Wait until Ready has this reason, and then for what the file says."""
        self.team.until_reason(kind, name, reason)
        self.compare(file, lambda: self.team.get(kind, name))

    def compare(self, file: str, look) -> None:
        """The file holds what is seen, at once or a moment later (counts come last)."""
        self.left.remove(file)
        where = FOLDER / f"{file}.json"
        if RECORD in os.environ:
            self.team.until_settled()
            where.write_text(as_text(normalised(look())))
            return
        deadline = time.monotonic() + SECONDS
        while True:
            seen = as_text(normalised(look()))
            if seen == where.read_text() or time.monotonic() > deadline:
                break
        assert seen == where.read_text(), f"record {file} anew: see this file's head"


def scene(*names: str):
    """A test that makes these files."""

    def marked(test):
        SCENES[test.__name__] = names
        return pytest.mark.parametrize("names", [names], ids=[test.__name__.removeprefix("test_")])(test)

    return marked


@pytest.fixture
def record(team: Team, names: tuple[str, ...]):
    """Made or compared by this test: all that it names."""
    recorder = Recorder(team, names)
    yield recorder
    assert not recorder.left


def dry(team: Team, document: dict) -> dict:
    """An object as the API server would store it, before any operator saw it."""
    return dict(team.scene.api.call("POST", path(document["kind"], team.namespace) + "?dryRun=All", document))


def changed(team: Team, kind: str, name: str, spec: dict) -> dict:
    """An object as it would be right after a change, before the operator saw that."""
    where = path(kind, team.namespace, name) + "?dryRun=All"
    return dict(team.scene.api.call("PATCH", where, {"spec": spec}, MERGE_PATCH))


@scene("instance-unseen", "binding-unseen", "datamart-unseen")
def test_not_seen_yet(team: Team, record: Recorder) -> None:
    """Just applied: the schema's default is all that there is."""
    (key,) = team.root_keys()
    guid = "3f0c2a9e-5b7d-4c1e-8f6a-9d2b4e7c1a50"
    documents = {
        "instance-unseen": manifests.instance(team.namespace, "prod", guid),
        "binding-unseen": manifests.binding(team.namespace, "a", "prod", key),
        "datamart-unseen": manifests.datamart(team.namespace, "one", "prod", "one-db"),
    }
    for file, document in documents.items():
        record.compare(file, lambda document=document: dry(team, document))


@scene(
    "binding-in-force", "binding-standby", "binding-releasing", "datamart-changed", "datamart-handed-over",
    "datamart-sealed", "instance-changed", "instance-current", "instance-nothing-to-protect",
)  # fmt: skip
def test_all_is_well(team: Team, record: Recorder) -> None:
    """Sealed under a customer's root key; and right after a change of what was well."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    record.expect("instance-nothing-to-protect", INSTANCE, "prod", "NothingToProtect")
    team.bind("a", key_a)
    record.expect("binding-in-force", BINDING, "a", "InForce")
    team.marts("one")
    team.marts("two", handover=True)
    record.expect("datamart-sealed", MART, "one", "Sealed")
    team.until_reason(MART, "two", "HandedOver", "SourceRemoved")
    record.expect("datamart-handed-over", MART, "two", "Sealed")
    team.bind("b", key_b)
    record.expect("binding-standby", BINDING, "b", "Standby")
    record.expect("instance-current", INSTANCE, "prod", "Current")
    record.compare("instance-changed", lambda: changed(team, INSTANCE, "prod", {"dataKeyRevision": 1}))
    record.compare("datamart-changed", lambda: changed(team, MART, "one", {"description": "another"}))
    team.scene.emulator.disable(key_a)
    team.until_reason(BINDING, "a", "KeyDisabled")
    team.delete(BINDING, "a")
    team.until_reason(BINDING, "a", "Stuck")
    team.scene.emulator.enable(key_a, ignore_timing=True)
    team.until_gone(BINDING, "a")
    team.patch(INSTANCE, "prod", {"spec": {"suspend": True}})
    team.until_reason(INSTANCE, "prod", "Suspended")
    team.delete(BINDING, "b")
    record.expect("binding-releasing", BINDING, "b", "Suspended")


@scene("binding-key-disabled", "datamart-key-disabled", "instance-key-disabled")
def test_the_customer_says_no(team: Team, record: Recorder) -> None:
    """A person must act: the root key was disabled, and a new password waits for it."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.scene.emulator.disable(key)
    record.expect("binding-key-disabled", BINDING, "a", "KeyDisabled")
    record.expect("instance-key-disabled", INSTANCE, "prod", "KeyDisabled")
    team.marts("two")
    record.expect("datamart-key-disabled", MART, "two", "KeyDisabled")


@scene("binding-unreachable", "instance-unreachable")
def test_key_protect_is_away(team: Team, record: Recorder) -> None:
    """Nobody knows: that is no refusal, and may come right by itself."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.scene.emulator.fault("*", status=503, key=key)
    record.expect("binding-unreachable", BINDING, "a", "KeyProtectUnavailable")
    record.expect("instance-unreachable", INSTANCE, "prod", "KeyProtectUnavailable")


@scene("binding-expiring")
def test_a_root_key_that_expires(team: Team, record: Recorder) -> None:
    """It is said early, and nothing is wrong yet."""
    soon = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = team.scene.emulator.create_root_key(expiration=soon)
    team.keys.append(key)
    api_key = team.scene.api_key(key)
    team.vault.add(api_key)
    team.create(manifests.secret(team.namespace, "key-protect", {"apikey": api_key}))
    team.instance()
    team.bind("a", key)
    team.until_reason(BINDING, "a", "KeyExpiring", "KeyUsable")
    record.expect("binding-expiring", BINDING, "a", "InForce")


@scene(
    "binding-instance-not-found", "binding-credentials-missing", "datamart-instance-not-found",
    "datamart-secret-not-found", "instance-waiting-for-root-key",
)  # fmt: skip
def test_something_comes_later(team: Team, record: Recorder) -> None:
    """Whatever is named and not there yet may be applied a second later."""
    key = team.scene.emulator.create_root_key()
    team.keys.append(key)
    team.bind("a", key)
    record.expect("binding-instance-not-found", BINDING, "a", "InstanceNotFound")
    team.marts("one")
    record.expect("datamart-instance-not-found", MART, "one", "InstanceNotFound")
    team.instance("free")
    team.marts("two", instance="free", sources=False)
    record.expect("datamart-secret-not-found", MART, "two", "SecretNotFound")
    team.instance()
    record.expect("binding-credentials-missing", BINDING, "a", "SecretNotFound")
    record.expect("instance-waiting-for-root-key", INSTANCE, "prod", "WaitingForRootKey")


@scene("datamart-endpoint-changed", "datamart-no-root-key", "datamart-password-empty", "instance-conflict",
       "instance-data-marts-remain", "instance-no-root-key")  # fmt: skip
def test_a_person_must_act(team: Team, record: Recorder) -> None:
    """A password that is none, one that was given for another place, an id that is taken, no root key to be had."""
    team.instance()
    team.source("one-db", password="")
    team.marts("one", sources=False)
    record.expect("datamart-password-empty", MART, "one", "PasswordEmpty")
    team.marts("two", handover=True)
    team.until_reason(MART, "two", "HandedOver", "SourceRemoved")
    team.patch(MART, "two", {"spec": {"database": {"host": "elsewhere.example.com"}}})
    record.expect("datamart-endpoint-changed", MART, "two", "EndpointChanged")
    team.ids["twin"] = team.ids["prod"]
    team.instance("twin")
    record.expect("instance-conflict", INSTANCE, "twin", "Conflict")
    team.instance("strict", globalKeyPolicy="Forbid")
    team.marts("three", instance="strict")
    record.expect("datamart-no-root-key", MART, "three", "NoRootKey")
    record.expect("instance-no-root-key", INSTANCE, "strict", "NoRootKey")
    team.delete(INSTANCE, "prod")
    record.expect("instance-data-marts-remain", INSTANCE, "prod", "DataMartsRemain")


@scene("datamart-sealed-suspended", "datamart-suspended", "instance-suspended", "instance-suspended-at-work")
def test_its_owner_suspended_it(team: Team, record: Recorder) -> None:
    """Suspended with nothing left to do, and with something; what is sealed is sealed."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.patch(INSTANCE, "prod", {"spec": {"suspend": True}})
    record.expect("instance-suspended", INSTANCE, "prod", "Suspended")
    assert team.condition(INSTANCE, "prod")["status"] == "True", "as its owner wants it"
    record.expect("datamart-sealed-suspended", MART, "one", "Sealed")
    team.marts("two")
    record.expect("datamart-suspended", MART, "two", "Suspended")
    team.patch(INSTANCE, "prod", {"spec": {"dataKeyRevision": 1}})
    team.until(lambda: team.condition(INSTANCE, "prod").get("status") == "False", "something is left to do")
    record.expect("instance-suspended-at-work", INSTANCE, "prod", "Suspended")


def test_no_file_is_left_over() -> None:
    """Each file is made by a test of this module: none says what no operator writes any more."""
    assert sorted(name for names in SCENES.values() for name in names) == sorted(p.stem for p in FOLDER.glob("*.json"))
