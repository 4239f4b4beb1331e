"""Operator and gateway that serve some namespaces only, with the chart's Roles in these; as the audit log has it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster import Cluster, audit
from openscale_byok.resources import GROUP, KINDS
from stage.scene import GATEWAY_ACCOUNT, NAMESPACE, Scene, install_rights, raise_scene
from stage.team import Team, Vault

ROOT = Path(__file__).parents[2]
SERVED, LATER, OUTSIDE = "team-served", "team-later", "team-outside"
ACCESS = {"secretAccess": {"clusterWide": False, "namespaces": [SERVED]}}
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def scoped(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One of two namespaces is served."""
    if "OPENSCALE_DEV_KUBECONFIG" in os.environ:
        pytest.skip("a cluster that was lent has one operator already")
    folder = tmp_path_factory.mktemp("n")
    with Cluster.start(audit=True) as cluster:
        cluster.kubectl("apply", "-k", str(ROOT / "crds"))
        names = [f"crd/{kind.PLURAL}.{GROUP}" for kind in KINDS]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        for name in (SERVED, OUTSIDE):
            cluster.kubectl("create", "namespace", name)
        settings = {"KEY_POLL_SECONDS": "0.25", "NAMESPACES": json.dumps([SERVED])}
        values = {"scope": {"namespaces": [SERVED]}} | ACCESS
        with raise_scene(cluster=cluster, folder=folder, postgres=False, settings=settings, values=values) as raised:
            yield raised
            vault.look("the operator's log", raised.operator.log.read_text())
            assert not vault.leaks


def _asked(scene: Scene) -> list[audit.AuditEvent]:
    """What operator and gateway asked the API server for."""
    log = scene.cluster.audit_log
    assert log is not None
    users = (scene.operator_user, f"system:serviceaccount:{NAMESPACE}:{GATEWAY_ACCOUNT}")
    return [one for one in audit.requests(log) if one.user in users and one.resource]


def test_it_serves_its_namespaces_and_touches_no_other(scoped: Scene, vault: Vault) -> None:
    """In a namespace that is served a password is sealed, bound and read; in another one the same objects stay as they
    were made. Nothing is asked for outside of it, and nothing that is asked for is refused."""
    inside, outside = (Team(scoped, vault, name) for name in (SERVED, OUTSIDE))
    for team in (outside, inside):
        (key,) = team.root_keys()
        team.instance()
        team.bind("a", key)
        team.marts("m", handover=True)
    inside.until_ready("m")
    inside.until_protected(inside.keys[-1])
    with scoped.gateway() as gateway:
        token = inside.caller("reader", "get datamartcredentials")
        found = gateway.call("GET", f"/v1/namespaces/{SERVED}/datamarts/m/credentials", token)
        assert (found.status, found.json["password"]) == (200, inside.passwords["m"])
        admin = outside.caller("reader", "get datamartcredentials")
        assert gateway.call("GET", f"/v1/namespaces/{OUTSIDE}/datamarts/m/credentials", admin).status == 404
    for kind, name in (("OpenScaleInstance", "prod"), ("RootKeyBinding", "a"), ("DataMart", "m")):
        made = outside.get(kind, name)
        assert "finalizers" not in made["metadata"]
        assert "conditions" not in made.get("status", {})
    asked = _asked(scoped)
    assert [one for one in asked if one.code in (401, 403)] == []
    ours = {one.namespace for one in asked if one.group == GROUP}
    assert ours == {SERVED}, "our kinds are listed and watched where they are served, and nowhere else"
    assert {one.namespace for one in asked if one.resource == "secrets"} <= {SERVED, NAMESPACE}


def test_a_namespace_that_comes_later_is_served_too(scoped: Scene, vault: Vault) -> None:
    """What was left out is said, and asked about again; once its Role is there, the process ends well, and whoever
    starts it anew finds it served. So does one that goes keep nobody else from being served."""
    assert scoped.operator.stop() == 0
    scoped.operator.configure(NAMESPACES=json.dumps([SERVED, LATER]))
    scoped.operator.start()
    said = [line for line in scoped.operator.lines() if line["event"] == "namespace not served"]
    assert [line["namespace"] for line in said] == [LATER]
    scoped.namespace(LATER)
    granted = {"secretAccess": {"clusterWide": False, "namespaces": [SERVED, LATER]}}
    install_rights(scoped.cluster, scoped.folder, granted | {"scope": {"namespaces": [SERVED, LATER]}})
    scoped.until(lambda: not scoped.operator.is_alive, "the operator ends, to be started anew", WAIT_SECONDS)
    assert scoped.operator.stop() == 0
    scoped.operator.start()
    team = Team(scoped, vault, LATER)
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m", handover=True)
    team.until_ready("m")
