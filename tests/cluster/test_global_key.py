"""The global key on a real API server: rotated, lost, restored, removed, and in Key Protect instead of its Secret.

It is one for the whole cluster, so these tests have a cluster of their own, and each has it for itself.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from escrow import SCRIPT, opened
from former_versions import as_former_version
from openscale_byok.crypto.global_versions import CURRENT
from openscale_byok.resources import OpenScaleInstance
from sim.certificates import certificate
from stage import manifests
from stage.operator_process import Operator
from stage.scene import GLOBAL_KEY_SECRET, NAMESPACE, Scene, raise_scene
from stage.team import Team, Vault

ROOT_KEY_SECRET = "openscale-byok-global-root-key"
FROM_THE_SECRET = {"GLOBAL_ROOT_KEY": "", "GLOBAL_ROOT_KEY_FORMER": ""}
_numbers = count(1)


@pytest.fixture(scope="module")
def stage(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A cluster of its own with an operator. At its end no secret is in the log, and no exception."""
    if "OPENSCALE_DEV_KUBECONFIG" in os.environ:
        pytest.skip("a cluster that was lent has one operator, and one global key, already")
    settings = {"KEY_POLL_SECONDS": "0.25", "SOURCE_REFRESH_SECONDS": "1"}
    with raise_scene(folder=tmp_path_factory.mktemp("g"), postgres=False, settings=settings) as raised:
        yield raised
        vault.look("the operator's log", raised.operator.log.read_text())
        assert not [line for line in raised.operator.lines() if line.get("event") == "unexpected"]
        assert not vault.leaks


@dataclass
class Owner:
    """The operator's owner: the commands, run as the cluster's admin, and what they printed."""

    team: Team
    folder: Path
    phrase: Path
    runs: list[str] = field(default_factory=list)

    @property
    def operator(self) -> Operator:
        return self.team.scene.operator

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run `openscale-byok global-key`; what it printed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENSCALE_BYOK_")}
        environment["KUBECONFIG"] = str(self.team.scene.cluster.kubeconfig)
        command = [sys.executable, "-m", "openscale_byok", "global-key", *arguments]
        found = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.team.vault.look(f"global-key {arguments[0]}", found.stdout + found.stderr)
        assert found.returncode == code, found.stdout + found.stderr
        return found.stdout + found.stderr

    def export(self, name: str = "key") -> Path:
        """Export to a new file."""
        file = self.folder / name
        self.run("export", str(file), f"--passphrase-file={self.phrase}")
        return file

    def bring_back(self, file: Path) -> None:
        """Import a file."""
        self.run("import", str(file), f"--passphrase-file={self.phrase}")

    def versions(self) -> dict[str, bytes]:
        """The Secret's values."""
        values = self.team.scene.api.get("Secret", NAMESPACE, GLOBAL_KEY_SECRET).get("data", {})
        found = {name: base64.b64decode(text) for name, text in values.items()}
        for name, raw in found.items():
            self.team.vault.add(raw) if name != CURRENT else None
        return found

    @property
    def current(self) -> str:
        """The version that wraps."""
        return self.versions()[CURRENT].decode()

    def said_free(self) -> list[str]:
        """The versions that the operator's log says nothing names any more."""
        return [line["version"] for line in self.operator.lines() if line.get("event") == "former version free"]

    def delete(self) -> None:
        """Delete the Secret."""
        self.team.scene.api.delete("Secret", NAMESPACE, GLOBAL_KEY_SECRET)

    def refuses(self) -> str:
        """The operator does not start; what it says."""
        with pytest.raises(RuntimeError) as refused:
            self.operator.start()
        assert "GlobalKeyVersionMissing" in str(refused.value)
        return str(refused.value)

    def restart(self, **settings: str) -> None:
        """Start the operator with these settings."""
        self.operator.stop()
        self.operator.configure(**settings)
        self.operator.start()

    def root_key(self) -> str:
        """A root key of its own in Key Protect, and the Secret with its API key."""
        emulator = self.team.scene.emulator
        crn = emulator.create_root_key(name="owners")
        api_key = self.team.scene.api_key(crn)
        self.team.vault.add(api_key)
        self.team.scene.api.delete("Secret", NAMESPACE, ROOT_KEY_SECRET)
        self.team.create(manifests.secret(NAMESPACE, ROOT_KEY_SECRET, {"apikey": api_key}))
        return crn


@pytest.fixture
def team(stage: Scene, vault: Vault) -> Iterator[Team]:
    """A team that is the only one; gone from the cluster, with all that names a version, before the next one comes."""
    name = f"globe-{next(_numbers)}"
    stage.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    found = Team(stage, vault, name)
    (key,) = found.root_keys()
    found.instance("customers")
    found.bind("a", key, instance="customers")
    found.until_protected(key, instance="customers")
    yield found
    if not stage.operator.is_alive:
        stage.operator.configure(**FROM_THE_SECRET)
        stage.operator.start()
    found.search()
    stage.api.delete("Namespace", "", name)
    if stage.cluster.has_controller_manager:
        stage.until(lambda: not stage.api.get("Namespace", "", name), f"{name} is gone")


@pytest.fixture
def owner(team: Team, tmp_path: Path) -> Owner:
    """The operator's owner, with a passphrase."""
    phrase = team.password()
    (tmp_path / "phrase").write_text(phrase)
    return Owner(team, tmp_path, tmp_path / "phrase")


def under(team: Team, version: str, instance: str = "prod", seconds: float = 30) -> None:
    """Wait until an instance is well, with one data key, wrapped by this version (or by one that begins so)."""

    def done() -> bool:
        keys = team.get("OpenScaleInstance", instance).get("status", {}).get("properties", {}).get("dataKeys", [])
        return len(keys) == 1 and keys[0]["rootKeyVersion"].startswith(version)

    team.until(done, f"{instance} is under version {version[:8]}", seconds)
    team.until_ready(instance, kind="OpenScaleInstance", seconds=seconds)


def looks(team: Team, crn: str) -> int:
    """How often a root key was looked at."""
    return int(team.scene.emulator.all_counts()["keys"].get(crn.rpartition(":")[2], {}).get("metadata", 0))


def populated(team: Team, owner: Owner) -> str:
    """An instance under the global key with passwords handed over and kept; the version it is under."""
    team.instance()
    team.marts("one", "two", handover=True)
    team.marts("kept")
    team.until_ready("one", "two", "kept")
    under(team, owner.current)
    return owner.current


def test_two_first_starts_at_once_make_one_key(owner: Owner, team: Team) -> None:
    """Nothing names a version yet and two operators find no Secret: one key, and both run on it."""
    operator = owner.operator
    operator.stop()
    owner.delete()
    path = team.scene.folder / "operator.kubeconfig"
    named = {"IAM_URL": team.scene.emulator.iam_url, "KEY_PROTECT_URL": team.scene.emulator.url}
    second = Operator(path, team.scene.folder / "second.log", {**named, "NAMESPACE": NAMESPACE})
    processes = [second, operator]
    try:
        for process in processes:
            process.launch()
        for process in processes:
            process.await_started()
        assert len(owner.versions()) == 2, "one version, and the word that names it"
    finally:
        second.stop()
    assert owner.versions()[owner.current]
    populated(team, owner)
    team.prove("global")


def test_rotated_while_data_marts_exist(owner: Owner, team: Team) -> None:
    """Everything is re-encrypted under a new data key, said once; then the former version goes, and all opens."""
    former = populated(team, owner)
    owner.operator.stop()
    owner.run("rotate")
    assert "named by" in owner.run("remove", former[:8], code=1), "everything names it still"
    owner.operator.start()
    assert owner.current != former
    under(team, owner.current)
    team.until_ready("one", "two", "kept")
    team.prove("global")
    team.until(owner.said_free, "the log says that the former version is free")
    assert owner.said_free() == [former[:8]]
    assert f"may go: openscale-byok global-key remove {former[:8]}" in owner.run("verify")
    owner.run("remove", former[:8])
    assert set(owner.versions()) == {CURRENT, owner.current}
    owner.operator.restart()
    team.until_settled()
    team.until_ready("one", "two", "kept")
    team.prove("global")
    assert owner.said_free() == [former[:8]], "said once, and of no other version"


def test_rotated_under_the_running_operator(owner: Owner, team: Team) -> None:
    """It learns of the new version by itself; what is under a customer's key is not touched."""
    former = populated(team, owner)
    before = team.get("OpenScaleInstance", "customers")
    owner.run("rotate")
    under(team, owner.current)
    team.until_ready("one", "two", "kept")
    team.prove("global")
    team.until_settled()
    assert team.get("OpenScaleInstance", "customers")["status"] == before["status"]
    team.nothing_written()
    owner.run("verify")
    team.until(lambda: former[:8] in owner.said_free(), "the log says that the former version is free")


def test_somebody_without_us_opens_everything(owner: Owner, team: Team) -> None:
    """The 60 lines of docs/envelope.md, over an export, a backup and Key Protect's API: what is under the global key, a
    customer's root key, and a root key in the global key's place, in both formats; and nothing without these."""
    assert len(SCRIPT.splitlines()) <= 60
    populated(team, owner)
    team.marts("theirs", instance="customers", handover=True, tls="VerifyFull", ca_bundle=certificate())
    team.until_ready("one", "two", "kept", "theirs")
    owner.operator.stop()
    as_former_version(team, "two")
    (phrase,) = owner.phrase.read_text().splitlines()
    api_key = team.scene.api_key(*team.keys)
    team.vault.add(api_key)
    both = {"PASSPHRASE": phrase, "IBMCLOUD_API_KEY": api_key}
    file = owner.export()
    found = opened(team, owner.folder / "a", file, **both)
    assert {one["name"]: one["password"] for one in found} == team.passwords
    assert next(one for one in found if one["name"] == "theirs")["proof"]["tls"] == "VerifyFull"
    assert {one["host"] for one in found} == {"db.example.com"}
    told = opened(team, owner.folder / "b", None, code=1, **both)
    assert {one["name"] for one in told if "password" in one} == {"theirs"}, "the export is needed"
    told = opened(team, owner.folder / "c", file, code=1, PASSPHRASE=phrase, IBMCLOUD_API_KEY="none")
    assert {one["name"] for one in told if "password" in one} == team.passwords.keys() - {"theirs"}

    crn = owner.root_key()
    owner.operator.configure(GLOBAL_ROOT_KEY=crn)
    owner.operator.start()
    under(team, f"{crn.rpartition(':')[2]}/")
    api_key = team.scene.api_key(*team.keys, crn)
    team.vault.add(api_key)
    found = opened(team, owner.folder / "d", None, IBMCLOUD_API_KEY=api_key)
    assert {one["name"]: one["password"] for one in found} == team.passwords
    owner.restart(GLOBAL_ROOT_KEY="", GLOBAL_ROOT_KEY_FORMER=crn)
    under(team, owner.current)
    owner.restart(**FROM_THE_SECRET)
    team.until_settled()


def test_lost_with_the_operator_down(owner: Owner, team: Team) -> None:
    """It refuses to start and says what is missing and who names it; an import brings everything back."""
    version = populated(team, owner)
    file = owner.export()
    owner.operator.stop()
    owner.delete()
    said = owner.refuses()
    assert version[:8] in said
    assert "is missing" in said
    assert f"DataMart {team.namespace}/" in said or f"OpenScaleInstance {team.namespace}/prod" in said
    assert not owner.versions(), "no new key hides the loss"
    assert f"MISSING: version {version}" in owner.run("verify", code=3)
    owner.bring_back(file)
    owner.operator.start()
    team.until_settled()
    team.prove("global")
    owner.run("verify")


def test_lost_under_the_running_operator(owner: Owner, team: Team) -> None:
    """The instance says at once that it is gone and what helps; nothing else suffers; it comes back by itself."""
    populated(team, owner)
    file = owner.export()
    owner.delete()
    found = team.until_reason("OpenScaleInstance", "prod", "GlobalKeyVersionMissing")
    assert "import" in found["message"]
    assert team.condition("OpenScaleInstance", "prod", "Stalled")["status"] == "True"
    team.marts("late", handover=True)
    team.until_reason("DataMart", "late", "GlobalKeyVersionMissing")
    team.marts("other", instance="customers", handover=True)
    team.until_ready("other")
    assert not owner.versions()
    team.until_settled()
    team.nothing_written()
    owner.bring_back(file)
    team.until_ready("prod", kind="OpenScaleInstance")
    team.until_ready("one", "two", "kept", "late")
    team.passwords.pop("other")
    team.prove("global")


def test_one_version_is_missing(owner: Owner, team: Team) -> None:
    """Whoever names it says so, and nobody else: the operator starts, new instances are protected, nothing is lost."""
    former = populated(team, owner)
    file = owner.export()
    owner.operator.stop()
    owner.run("rotate")
    team.scene.api.patch("Secret", NAMESPACE, GLOBAL_KEY_SECRET, {"data": {former: None}})
    owner.operator.start()
    found = team.until_reason("OpenScaleInstance", "prod", "GlobalKeyVersionMissing")
    assert former[:8] in found["message"]
    assert team.condition("OpenScaleInstance", "prod", "Stalled")["status"] == "True"
    said = owner.run("verify", code=3)
    assert f"MISSING: version {former}" in said
    assert f"{team.namespace}/one" in said
    team.instance("fresh")
    mine, team.passwords = team.passwords, {}
    team.marts("three", instance="fresh", handover=True)
    team.until_ready("three")
    team.prove("global", instance="fresh")
    team.until_settled()
    team.nothing_written()
    owner.bring_back(file)
    under(team, owner.current, seconds=100)
    team.passwords = mine
    team.until_ready("one", "two", "kept")
    team.prove("global")


def test_a_key_protect_key_instead(owner: Owner, team: Team) -> None:
    """From the Secret to Key Protect and back, each time everything moves by itself, and in between it is a key of
    Key Protect's: rotated by a rewrap alone, disabled and refused, enabled and back."""
    populated(team, owner)
    crn = owner.root_key()
    key = crn.rpartition(":")[2]
    team.keys.append(crn)
    owner.restart(GLOBAL_ROOT_KEY=crn)
    under(team, f"{key}/")
    team.until_ready("one", "two", "kept")
    team.prove("global")
    assert f"{crn}: named by" in owner.run("verify")

    team.until_settled()
    with team.counted() as tally:
        version = team.scene.emulator.rotate(crn)
        under(team, f"{key}/{version}")
        team.until_settled()
    assert tally.writes["datamarts/status"] == 0
    assert (tally.key_protect["rewrap"], tally.key_protect["wrap"]) == (1, 0)
    team.prove("global")

    team.instance("another")
    before = looks(team, crn), looks(team, team.keys[0])
    team.wait(6)
    assert looks(team, crn) - before[0] <= looks(team, team.keys[0]) - before[1] + 2, "one poll serves everybody"

    team.scene.emulator.disable(crn)
    found = team.until_reason("OpenScaleInstance", "prod", "KeyDisabled")
    assert found["message"].startswith("the global key: ")
    assert team.condition("OpenScaleInstance", "prod", "Stalled")["status"] == "True"
    team.marts("late", handover=True)
    team.until_settled()
    assert not team.get("DataMart", "late")["status"].get("sealedPassword")
    team.nothing_written()
    team.scene.emulator.enable(crn, ignore_timing=True)
    team.until_ready("prod", kind="OpenScaleInstance")
    team.until_ready("late")
    team.prove("global")

    owner.restart(GLOBAL_ROOT_KEY="", GLOBAL_ROOT_KEY_FORMER=crn)
    under(team, owner.current)
    team.until_ready("one", "two", "kept", "late")
    owner.restart(**FROM_THE_SECRET)
    team.until_settled()
    team.prove("global")


def test_an_instance_that_cannot_be_read(owner: Owner, team: Team) -> None:
    """It stops nobody else's start. But it may name a version: without the Secret there is no new key."""
    crd = json.loads(team.scene.kubectl("get", "crd", "openscaleinstances.openscale.byok.dev", "-o", "json"))
    (version,) = crd["spec"]["versions"]
    loose = {**version, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    loose.pop("selectableFields")
    name = "openscaleinstances.openscale.byok.dev"
    for versions, before in (([loose], True), ([version], False)):
        change = json.dumps({"spec": {"versions": versions}})
        team.scene.kubectl("patch", "crd", name, "--type=merge", "-p", change)
        if before:
            strange = {"apiVersion": "openscale.byok.dev/v1alpha1", "kind": OpenScaleInstance.KIND}
            strange |= {"metadata": {"namespace": team.namespace, "name": "strange"}, "spec": {"serviceInstanceId": 5}}
            team.until(lambda one=strange: _created(team, one), "the loose CRD is served")
    owner.operator.restart()
    names = [line.get("name") for line in owner.operator.lines() if line.get("event") == "invalid object"]
    assert f"OpenScaleInstance {team.namespace}/strange" in names
    populated(team, owner)
    team.delete("DataMart", "one")
    for mart in ("one", "two", "kept"):
        team.delete("DataMart", mart)
        team.until_gone("DataMart", mart)
    team.delete("OpenScaleInstance", "prod")
    team.until_gone("OpenScaleInstance", "prod")
    file = owner.export()
    owner.operator.stop()
    owner.delete()
    assert f"{team.namespace}/strange, perhaps" in owner.refuses()
    owner.bring_back(file)
    owner.operator.start()
    team.delete("OpenScaleInstance", "strange")


def _created(team: Team, strange: dict) -> bool:
    try:
        team.create(strange)
    except RuntimeError:
        return False
    return True
