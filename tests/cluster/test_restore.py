"""Backups, object by object, put into another cluster: whichever object is older, and whatever is missing.

One team has an instance for each case; all of them move from root key A to root key B. What is backed up before,
in the middle and after is combined as a backup that takes its time may combine it. The other cluster has the
same Key Protect and the same global key, and nothing else.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from openscale_byok.resources import KINDS
from stage import manifests
from stage.scene import GLOBAL_KEY_SECRET, NAMESPACE, ROOT, Scene, policies, raise_scene
from stage.team import Team, Vault

Object = dict[str, Any]
PAGE = (ROOT / "docs" / "backup.md").read_text()
STRIPPED = re.findall(r'"(\w+)"', re.search(r"del\(.items\[\].metadata\[(.*?)\]\)", PAGE, re.DOTALL)[1])  # type: ignore[index]
"""The fields that the page's own command leaves out."""
RESTORE_ROLE = next(
    role
    for role in yaml.safe_load_all("---\n".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)))
    if role["kind"] == "ClusterRole"
)
ALL = ",".join(kind.PLURAL for kind in KINDS)
NAME = "team-backup"
MARTS = ("one", "two")
MOMENTS = (0, 1, 2)
MIXES = [f"i{instance}m{marts}" for instance in MOMENTS for marts in MOMENTS]
"""The instance as it was then, its data marts as they were then: 0 under A, 1 on the way, 2 under B."""
SPECIAL = ("free", "wiped", "half", "lost", "unbound", "unknown")
CASES = (*MIXES, *SPECIAL)


@dataclass
class Backup:
    """The team's objects as they were before, in the middle of, and after the change of root key."""

    source: Team
    keys: list[str]
    moments: list[dict[tuple[str, str], Object]]

    def of(self, moment: int, kind: str, name: str) -> Object:
        """An object as it was then; a copy."""
        return dict(json.loads(json.dumps(self.moments[moment][kind, name])))

    def instance(self, case: str, moment: int) -> Object:
        """An instance as it was."""
        return self.of(moment, "OpenScaleInstance", case)

    def marts(self, case: str, moment: int) -> list[Object]:
        """Its data marts as they were; in the middle one was re-encrypted already, the other not yet."""
        moments = (2, 0) if moment == 1 else (moment, moment)
        return [self.of(at, "DataMart", f"{case}-{name}") for at, name in zip(moments, MARTS, strict=True)]

    def bindings(self, case: str, letters: str = "ab") -> list[Object]:
        """Its bindings, as they were in the middle: A was being deleted then."""
        return [self.of(1, "RootKeyBinding", f"{case}-{letter}") for letter in letters]

    def secrets(self) -> list[Object]:
        """The Secrets that were not consumed."""
        return [self.of(2, kind, name) for kind, name in self.moments[2] if kind == "Secret"]

    def passwords(self, case: str) -> dict[str, str]:
        """The passwords of its data marts."""
        return {name: text for name, text in self.source.passwords.items() if name.startswith(f"{case}-")}


def export(team: Team) -> dict[tuple[str, str], Object]:
    """`kubectl get -o yaml`, without what belongs to the cluster that it came from."""
    text = team.scene.kubectl("get", f"{ALL},secrets", "-n", team.namespace, "-o", "yaml")
    found = {}
    for item in yaml.load(text, Loader=yaml.CSafeLoader)["items"]:
        item["metadata"] = {key: value for key, value in item["metadata"].items() if key not in STRIPPED}
        found[item["kind"], item["metadata"]["name"]] = item
    return found


@pytest.fixture(scope="module")
def backup(scene: Scene, vault: Vault, beacon: str) -> Iterator[Backup]:
    """A team that moves from root key A to root key B, backed up at three moments."""
    scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    team = Team(scene, vault, NAME, beacon)
    keys = team.root_keys(2)
    moved = [case for case in CASES if case != "free"]
    for case in CASES:
        team.instance(case)
        if case in moved:
            team.bind(f"{case}-a", keys[0], case)
        team.marts(*(f"{case}-{name}" for name in MARTS), instance=case, handover=True)
    for case in CASES:
        team.until_protected(keys[0] if case in moved else "global", case)
        team.until_ready(*(f"{case}-{name}" for name in MARTS))  # an instance is Ready before its last one is sealed
    moments = [export(team)]
    scene.operator.kill()
    scene.emulator.fault("unwrap", key=keys[0], status=503)
    for case in moved:
        team.bind(f"{case}-b", keys[1], case)
        team.delete("RootKeyBinding", f"{case}-a")
    scene.operator.start()
    team.until(lambda: all(len(data_keys(team, case)) == 2 for case in moved), "all have begun to move")
    moments.append(export(team))
    scene.emulator.clear_faults()
    for case in moved:
        team.until_protected(keys[1], case)
        team.until_gone("RootKeyBinding", f"{case}-a")
    moments.append(export(team))
    yield Backup(team, keys, moments)
    scene.api.delete("Namespace", "", NAME)


def data_keys(team: Team, instance: str) -> list[Object]:
    """The data keys that an instance records."""
    return list(team.get("OpenScaleInstance", instance).get("status", {}).get("properties", {}).get("dataKeys", []))


@dataclass
class Site:
    """Another cluster, and who restores into it."""

    scene: Scene
    team: Team
    restorer: str

    def create(self, *objects: Object) -> None:
        """What a restore does first; the API server takes no status here."""
        self._kubectl("create", objects)

    def statuses(self, *objects: Object) -> list[str]:
        """What a restore does then; what the API server refused."""
        done = self._kubectl("replace", [found for found in objects if found.get("status")], "--subresource=status")
        return [line for line in done.splitlines() if "rror" in line or "invalid" in line]

    def _kubectl(self, verb: str, objects: Any, *options: str) -> str:
        words = (f"--kubeconfig={self.restorer}", verb, "-f", "-", *options)
        done = self.scene.cluster.kubectl(*words, input=manifests.as_text(objects), check=verb == "create")
        return done.stderr

    def opened(self, backup: Backup, *cases: str) -> set[str]:
        """Wait until all is Ready; every password opens, as it was given. Under which root keys.

        A restored status says Ready by itself, until the operator has looked: so first of all it must open.
        """
        marts = [f"{case}-{name}" for case in cases for name in MARTS]
        for case in cases:
            self.team.until(lambda case=case: self._opens(case), f"all of {case} opens by what is recorded", 40)
        self.team.until_ready(*marts, seconds=40)
        self.team.until_ready(*cases, kind="OpenScaleInstance", seconds=40)
        used: set[str] = set()
        for case in cases:
            found = self.team.proof(case)
            assert found.holds, (case, found.failures)
            assert found.passwords == backup.passwords(case), case
            used |= found.root_keys
        return used

    def _opens(self, case: str) -> bool:
        found = self.team.proof(case)
        return found.holds and len(found.passwords) == len(MARTS)

    def empty(self) -> None:
        """Begin anew, with nothing left of what was restored before."""
        self.scene.operator.stop()
        for kind in (*(k.KIND for k in KINDS), "Secret"):
            for found in self.scene.api.list(kind, NAME):
                name = found["metadata"]["name"]
                self.scene.api.delete(kind, NAME, name)
                if found["metadata"].get("finalizers"):
                    self.scene.api.patch(kind, NAME, name, {"metadata": {"finalizers": None}})
        self.scene.operator.start()


@pytest.fixture(scope="module")
def there(scene: Scene, vault: Vault, backup: Backup, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another cluster with the same Key Protect, and the global key from its own backup."""
    settings = {"KEY_POLL_SECONDS": "0.25", "SOURCE_REFRESH_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("t")
    values = {"admissionPolicies": policies("system:serviceaccount:default:restorer")}
    with raise_scene(
        folder=folder, postgres=False, settings=settings, values=values, emulator=scene.emulator
    ) as raised:
        raised.operator.stop()
        raised.api.delete("Secret", NAMESPACE, GLOBAL_KEY_SECRET)
        copied = scene.api.get("Secret", NAMESPACE, GLOBAL_KEY_SECRET)
        copied["metadata"] = {"namespace": NAMESPACE, "name": GLOBAL_KEY_SECRET}
        raised.api.create(copied)
        raised.operator.start()
        raised.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-there"}})
        raised.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
        clock = Team(raised, vault, "team-there")
        (key,) = clock.root_keys()
        clock.instance()
        clock.bind("a", key)
        yield Site(raised, Team(raised, vault, NAME, key, passwords=backup.source.passwords), restorer(raised, folder))
        vault.look("the other operator's log", raised.operator.log.read_text())


def restorer(scene: Scene, folder: Path) -> str:
    """A kubeconfig with the rights of the page's own ClusterRole, of a user whom the policy on statuses names."""
    scene.apply(RESTORE_ROLE)
    name = RESTORE_ROLE["metadata"]["name"]
    scene.kubectl("create", "serviceaccount", "restorer", "-n", "default")
    scene.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", "--serviceaccount=default:restorer")
    return str(scene.cluster.kubeconfig_for_token(scene.cluster.token_for("default", "restorer"), folder / "restorer"))


@pytest.fixture(scope="module")
def restored(there: Site, backup: Backup) -> Site:
    """All cases at once, as the page says: the operator does not run; objects, then statuses; then it starts."""
    there.scene.operator.stop()
    objects = [*backup.secrets()]
    for case in MIXES:
        instance, marts = int(case[1]), int(case[3])
        objects += [backup.instance(case, instance), *backup.bindings(case), *backup.marts(case, marts)]
    objects += [backup.instance("free", 2), *backup.marts("free", 2)]
    objects += [without_status(backup.instance("wiped", 1)), *backup.bindings("wiped"), *backup.marts("wiped", 1)]
    first, second = backup.marts("half", 2)
    objects += [backup.instance("half", 2), *backup.bindings("half", "b"), first, without_status(second)]
    lost = [backup.instance("lost", 2), *backup.marts("lost", 2)]
    objects += [*backup.bindings("lost", "b"), *map(without_status, lost)]
    objects += [backup.instance("unbound", 2), *backup.bindings("unbound", "a"), *backup.marts("unbound", 2)]
    objects += [backup.instance("unknown", 0), *backup.bindings("unknown", "a"), *backup.marts("unknown", 2)]
    there.create(*objects)
    assert there.statuses(*objects) == []
    there.scene.operator.start()
    return there


def without_status(found: Object) -> Object:
    """As a backup that took no statuses, or a restore that did not write them."""
    return {part: value for part, value in found.items() if part != "status"}


@pytest.mark.parametrize("case", [*MIXES, "free"])
def test_whichever_is_older_all_of_it_opens(restored: Site, backup: Backup, case: str) -> None:
    """Instance and data marts of any two moments, and both bindings: nothing is asked of anybody."""
    a, b = backup.keys
    used = restored.opened(backup, case)
    assert used == {"global"} if case == "free" else used == {a if case.startswith("i0") else b}
    assert len(data_keys(restored.team, case)) == 1


def test_an_instance_without_its_status_is_rebuilt_from_the_envelopes(restored: Site, backup: Backup) -> None:
    """Half of the envelopes name the former data key, half the new one: both are found again, and said to be."""
    restored.opened(backup, "wiped")
    said = [e for e in restored.scene.api.list("Event", NAME) if e["reason"] == "PropertiesRebuilt"]
    assert [e["regarding"]["name"] for e in said] == ["wiped"]
    assert "2 data keys" in said[0]["note"]


def test_one_data_mart_without_its_status_asks_for_its_password_alone(restored: Site, backup: Backup) -> None:
    """The other one opens; this one says which Secret it waits for, and takes it."""
    team = restored.team
    team.until_ready("half-one")
    found = team.until_reason("DataMart", "half-two", "SecretNotFound")
    assert "half-two-db" in found["message"]
    team.give_again("half-two", handover=True)
    restored.opened(backup, "half")


def test_with_both_statuses_lost_every_password_is_asked_for(restored: Site, backup: Backup) -> None:
    """Nothing is there to open: each data mart says which Secret it waits for. Given again, all is as before."""
    team = restored.team
    for name in MARTS:
        found = team.until_reason("DataMart", f"lost-{name}", "SecretNotFound")
        assert f"lost-{name}-db" in found["message"]
    for name in MARTS:
        team.give_again(f"lost-{name}", handover=True)
    assert restored.opened(backup, "lost") == {backup.keys[1]}


@pytest.mark.parametrize(("case", "reason"), [("unbound", "Stuck"), ("unknown", "UnknownDataKey")])
def test_a_binding_that_is_not_in_the_backup_is_named_and_bound(
    restored: Site, backup: Backup, case: str, reason: str
) -> None:
    """The instance records the data key, or is too old to: no binding names its root key. Created, all opens."""
    team, crn = restored.team, backup.keys[1]
    for name in MARTS:
        found = team.until_reason("DataMart", f"{case}-{name}", reason)
        assert f"no RootKeyBinding in namespace {NAME} names root key {crn}: create one" in found["message"]
        assert found["status"] == "False"
    team.until_reason("OpenScaleInstance", case, "Stuck")
    team.until_settled()
    team.nothing_written()
    team.bind("again" if case == "unbound" else "found", crn, case)
    assert restored.opened(backup, case) == {backup.keys[0]}


def alphabetical(there: Site, objects: list[Object]) -> None:
    """As Velero goes: kind after kind by the alphabet, each object's status right after it; bindings come last."""
    for kind in sorted(kind.KIND for kind in KINDS):
        some = [found for found in objects if found["kind"] == kind]
        there.create(*some)
        there.statuses(*some)


def statuses_late(there: Site, objects: list[Object]) -> None:
    """Everything is there, and the operator has sealed with data keys of its own, when the statuses come."""
    there.create(*objects)
    cases = [found["metadata"]["name"] for found in objects if found["kind"] == "OpenScaleInstance"]
    there.team.until(lambda: all(data_keys(there.team, case) for case in cases), "data keys were made meanwhile", 40)
    refused = there.statuses(*objects)
    assert len(refused) == len(cases), "no Active data key vanishes, not even by a restore"
    assert all("may not vanish" in line for line in refused)


@pytest.mark.parametrize("order", [alphabetical, statuses_late])
def test_with_the_operator_running_nothing_is_lost_either(there: Site, backup: Backup, order: Any) -> None:
    """Not the documented way: the operator makes data keys before the statuses come. Every password opens."""
    there.empty()
    there.create(*backup.secrets())
    objects = [
        o for c in MIXES for o in (*backup.bindings(c), *backup.marts(c, int(c[3])), backup.instance(c, int(c[1])))
    ]
    order(there, objects)
    assert there.opened(backup, *MIXES) <= set(backup.keys)
    there.team.until_settled()


def test_both_clusters_go_on_under_the_same_root_key(there: Site, backup: Backup) -> None:
    """What one of them does to its data keys is nothing to the other: each has its own, in its own status."""
    b = backup.keys[1]
    here, case = backup.source, MIXES[-1]
    there.opened(backup, case)
    before = data_keys(here, case)
    there.team.patch("OpenScaleInstance", case, {"spec": {"dataKeyRevision": 1}})
    there.team.until(
        lambda: [k["id"] for k in data_keys(there.team, case)] not in ([], [k["id"] for k in before]), "new"
    )
    there.opened(backup, case)
    assert data_keys(here, case) == before
    here.until_protected(b, case)
    proof = here.proof(case)
    assert proof.holds
    assert proof.passwords == backup.passwords(case)
