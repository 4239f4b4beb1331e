"""Deletion in any order, and starts that must be refused."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openscale_byok.resources import API_VERSION, GROUP
from stage.api import ApiError
from stage.scene import GLOBAL_KEY_SECRET, NAMESPACE
from stage.team import Team


def test_an_instance_is_held_by_its_data_marts(team: Team) -> None:
    """Deleted first, it waits and names them; new data marts are not sealed; it goes with the last one."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.delete("OpenScaleInstance", "prod")
    team.delete("RootKeyBinding", "a")
    found = team.until_reason("OpenScaleInstance", "prod", "DataMartsRemain")
    assert "one, two" in found["message"]
    team.marts("late", handover=True)
    team.until_reason("DataMart", "late", "Deleting")
    team.until_settled()
    team.nothing_written()
    assert team.get("Secret", "late-db"), "nothing is sealed any more, so nothing is consumed"
    del team.passwords["late"]
    team.prove(key)
    team.delete("DataMart", "late")
    with team.counted() as tally:
        team.delete("DataMart", "one")
        team.delete("DataMart", "two")
        team.until_gone("OpenScaleInstance", "prod")
        team.until_gone("RootKeyBinding", "a")
    assert not {"wrap", "unwrap", "rewrap"} & set(tally.key_protect)


@pytest.mark.parametrize("order", ["bindings first", "instance first", "data marts first", "all at once"])
def test_deletion_in_any_order_ends(team: Team, order: str) -> None:
    """Whatever goes first, nothing hangs; what is left in between stays readable."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", handover=True)
    team.until_ready("one")
    objects = {"OpenScaleInstance": "prod", "RootKeyBinding": "a", "DataMart": "one", "Secret": "key-protect"}
    first = {"bindings first": "RootKeyBinding", "instance first": "OpenScaleInstance", "data marts first": "DataMart"}
    if order in first:
        team.delete(first[order], objects[first[order]])
        if order == "bindings first":
            team.until_protected("global")
        team.until_settled()
    for kind, name in objects.items():
        team.delete(kind, name)
    for kind, name in objects.items():
        team.until_gone(kind, name)


@pytest.fixture
def stopped(team: Team) -> Iterator[Team]:
    """A team whose operator is down, for a start by hand."""
    assert team.scene.operator.stop() == 0
    yield team
    if not team.scene.operator.is_alive:
        team.scene.operator.start()


def refused_start(team: Team, kubeconfig: Path) -> str:
    """Start the operator by hand; it must refuse: exit code 1. What it says."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENSCALE_BYOK_", "KUBE"))}
    environment |= {"OPENSCALE_BYOK_NAMESPACE": NAMESPACE, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-m", "openscale_byok", "run"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_missing_version_of_the_global_key_refuses_to_start(stopped: Team) -> None:
    """A new global key would only hide the loss: it says which version is missing and who names it, and ends."""
    team, api = stopped, stopped.scene.api
    team.scene.operator.start()
    team.instance()
    team.marts("one")
    team.until_ready("one")
    assert team.scene.operator.stop() == 0
    secret = api.get("Secret", NAMESPACE, GLOBAL_KEY_SECRET)
    version = base64.b64decode(secret["data"]["current"]).decode()
    kept = {part: secret[part] for part in ("apiVersion", "kind", "type", "data")}
    kept["metadata"] = {"name": GLOBAL_KEY_SECRET, "namespace": NAMESPACE}
    api.delete("Secret", NAMESPACE, GLOBAL_KEY_SECRET)
    try:
        said = refused_start(team, team.scene.folder / "operator.kubeconfig")
        assert not api.get("Secret", NAMESPACE, GLOBAL_KEY_SECRET), "none was made instead"
    finally:
        api.create(kept)
    assert "GlobalKeyVersionMissing" in said
    assert version[:8] in said
    assert f"{team.namespace}/prod" in said
    assert "restore" in said
    team.scene.operator.start()
    team.prove("global")
    team.nothing_written()


def test_a_missing_kind_refuses_to_start(stopped: Team) -> None:
    """Without a CRD kopf would only warn, and be blind: it names the kind, and how to install it."""
    name = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rootkeybindings.{GROUP}"
    api = stopped.scene.api
    document = api.call("GET", name)
    served = [version | {"served": False} for version in document["spec"]["versions"]]
    patch = "application/merge-patch+json"
    api.call("PATCH", name, {"spec": {"versions": served}}, patch)

    def serves() -> bool:
        found = api.call("GET", f"/apis/{API_VERSION}")["resources"]
        return any(resource["name"] == "rootkeybindings" for resource in found)

    def answers() -> bool:
        try:
            api.list("RootKeyBinding", stopped.namespace)
        except ApiError:  # 404, then 429: its storage is being initialized
            return False
        return serves()

    try:
        stopped.until(lambda: not serves(), "the kind is not served")
        said = refused_start(stopped, stopped.scene.folder / "operator.kubeconfig")
    finally:
        api.call("PATCH", name, {"spec": {"versions": document["spec"]["versions"]}}, patch)
        stopped.until(answers, "the kind is served again")
    assert "RootKeyBinding" in said
    assert "kubectl apply -k crds" in said


def test_a_signal_right_after_the_start_ends_it_at_once(stopped: Team) -> None:
    """While kopf still asks for kinds and watches: nothing of it is tried a second time, and none of it is an error."""
    operator = stopped.scene.operator
    begun = len(operator.lines())
    for _ in range(12):
        operator.start()
        assert operator.stop() in (0, -signal.SIGTERM)
    lines = operator.lines()[begun:]
    assert not [line for line in lines if "attempt #2" in line["event"]]
    assert not [line for line in lines if line["level"] == "error"]
