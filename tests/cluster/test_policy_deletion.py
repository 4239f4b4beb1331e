"""The chart's policies on deletion, on a real API server: what is the only copy does not go in passing."""

import pytest

from openscale_byok.resources import GROUP, KINDS
from stage import manifests
from stage.api import path
from stage.gateway_process import Gateway
from stage.impersonation import ALL, COLLECTOR, NAMESPACES, PASSES, REFUSED, as_user, grant, outcome_of
from stage.team import Team

LABEL = f"{GROUP}/deletion-protection"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def protected(team: Team) -> Team:
    """Two data marts, one of them protected, whose passwords are nowhere else."""
    team.instance()
    team.marts("free", "kept", handover=True)
    team.patch("DataMart", "kept", {"spec": {"deletionProtection": True}})
    team.until_ready("free", "kept")
    return team


def deleted(team: Team, where: str, user: str, *groups: str) -> str:
    """What becomes of a DELETE; nothing is deleted."""
    return outcome_of(lambda: team.scene.api.call("DELETE", f"{where}?dryRun=All", more=as_user(user, *groups)))


def test_a_protected_data_mart_stays(protected: Team) -> None:
    """For everybody, alone or with all others, until its field says otherwise; unprotected ones go."""
    grant(protected, "editor", ("datamarts", ALL, ()))
    many = path("DataMart", protected.namespace)
    kept, free = (path("DataMart", protected.namespace, name) for name in ("kept", "free"))
    for user, groups in (
        ("editor", ()),
        ("somebody", ("system:masters",)),
        (COLLECTOR, ("system:masters",)),
        (NAMESPACES, ("system:masters",)),
    ):
        assert deleted(protected, kept, user, *groups) == REFUSED
        assert deleted(protected, many, user, *groups) == REFUSED
        assert deleted(protected, free, user, *groups) == PASSES
    words = ("delete", "datamart", "kept", "-n", protected.namespace)
    said = protected.scene.cluster.kubectl(*words, check=False).stderr
    assert f'DataMart "kept" in namespace "{protected.namespace}" is protected from deletion' in said
    assert "set spec.deletionProtection to false first" in said
    protected.prove("global")
    protected.patch("DataMart", "kept", {"spec": {"deletionProtection": False}})
    protected.scene.kubectl(*words)
    protected.until_gone("DataMart", "kept")


def test_the_gateway_says_so(protected: Team, gateway: Gateway) -> None:
    """A data mart of the gateway's that its owner protected is not deleted by OpenScale's API: DeletionProtected."""
    token = protected.caller("caller", "get,list,patch,delete datamarts", "get openscaleinstances")
    protected.patch("DataMart", "kept", {"metadata": {"labels": {f"{GROUP}/managed-by": "gateway"}}})
    where = f"/openscale/{protected.ids['prod']}/v2/data_marts/kept"
    answer = gateway.call("DELETE", where, token)
    assert (answer.status, answer.json["errors"][0]["code"]) == (409, "DeletionProtected")
    assert "set spec.deletionProtection to false" in answer.json["errors"][0]["message"]
    patch = [{"op": "replace", "path": "/description", "value": "new"}]
    assert gateway.call("PATCH", where, token, patch).status == 200
    spec = protected.get("DataMart", "kept")["spec"]
    assert (spec["description"], spec["deletionProtection"]) == ("new", True), "a change leaves it protected"


def test_a_namespace_that_is_deleted_takes_them_along(protected: Team) -> None:
    """Its credentials go as well, in any order, so nothing could be saved: nothing hangs."""
    if not protected.scene.cluster.has_controller_manager:
        pytest.skip("no controller-manager here: it is what empties a namespace")
    protected.scene.api.delete("Namespace", "", protected.namespace)
    protected.until(
        lambda: not protected.scene.api.get("Namespace", "", protected.namespace), "the namespace is gone", 60
    )


def test_a_namespace_with_the_label_stays(team: Team) -> None:
    """For everybody, until the label is taken off; other labels, and other values of this one, protect nothing."""
    where, namespace = path("Namespace", "", team.namespace), team.namespace
    team.scene.kubectl("label", "namespace", namespace, f"{LABEL}=true")
    for user in ("somebody", NAMESPACES):
        assert deleted(team, where, user, "system:masters") == REFUSED
    said = team.scene.cluster.kubectl("delete", "namespace", namespace, "--dry-run=server", check=False).stderr
    assert f'Namespace "{namespace}" is protected from deletion' in said
    team.scene.kubectl("label", "namespace", namespace, f"{LABEL}=false", "--overwrite")
    assert deleted(team, where, "somebody", "system:masters") == PASSES
    team.scene.kubectl("label", "namespace", namespace, f"{LABEL}=true", "--overwrite")
    assert deleted(team, where, "somebody", "system:masters") == REFUSED
    cure = said.partition("take its label off first: kubectl ")[2].split()
    team.scene.kubectl(*cure)
    assert deleted(team, where, "somebody", "system:masters") == PASSES


def test_a_definition_stays_until_it_is_annotated(team: Team) -> None:
    """With it would go every object of its kind, whatever protects it. Others' definitions are theirs."""
    for kind in KINDS:
        name = f"{kind.PLURAL}.{GROUP}"
        assert deleted(team, f"{DEFINITIONS}/{name}", "somebody", "system:masters") == REFUSED
        team.scene.kubectl("annotate", "crd", name, f"{GROUP}/allow-deletion=true")
        try:
            assert deleted(team, f"{DEFINITIONS}/{name}", "somebody", "system:masters") == PASSES
            assert deleted(team, DEFINITIONS, "somebody", "system:masters") == REFUSED, "all of them, two are not"
        finally:
            team.scene.kubectl("annotate", "crd", name, f"{GROUP}/allow-deletion-")
    said = team.scene.cluster.kubectl("delete", "crd", f"datamarts.{GROUP}", "--dry-run=server", check=False).stderr
    assert "every DataMart of the cluster would go with it" in said
    other = manifests.bare("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "things.example.com")
    del other["metadata"]["namespace"]
    other["spec"] = {
        "group": "example.com",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Namespaced",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    }
    team.scene.apply(other)
    team.scene.kubectl("delete", "crd", "things.example.com")
