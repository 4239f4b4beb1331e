"""The chart's policy on statuses, on a real API server: who writes them, and what others get to read."""

import json

import pytest

from openscale_byok.resources import KINDS
from stage import manifests
from stage.api import AS_RESTORER, MERGE_PATCH, RESTORER, path
from stage.impersonation import COLLECTOR, GATEWAY, OPERATOR, REFUSED, as_user, outcome_of
from stage.scene import NAMESPACE, OPERATOR_ACCOUNT
from stage.team import Team


@pytest.fixture
def bound(team: Team) -> Team:
    """An instance under a binding, with a data mart; each has a status."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m")
    team.until_ready("m")
    return team


def test_who_may_write_a_status(bound: Team) -> None:
    """The operator, the gateway for data marts, the one who restores; nobody else, though they may do everything."""
    names = {"OpenScaleInstance": "prod", "RootKeyBinding": "a", "DataMart": "m"}
    assert set(names) == {kind.KIND for kind in KINDS}, "a kind that comes later is not forgotten"
    nowhere, everywhere = dict.fromkeys(names, REFUSED), dict.fromkeys(names, "passes")
    expected = {
        OPERATOR: everywhere,
        RESTORER: everywhere,
        GATEWAY: nowhere | {"DataMart": "passes"},
        "kubernetes-admin": nowhere,
        COLLECTOR: nowhere,
        f"system:serviceaccount:{bound.namespace}:{OPERATOR_ACCOUNT}": nowhere,
        f"system:serviceaccount:{NAMESPACE}:default": nowhere,
    }

    def written(user: str, kind: str, method: str) -> str:
        where, headers = path(kind, bound.namespace, names[kind]), as_user(user, "system:masters")
        sent, type_ = (bound.get(kind, names[kind]), "application/json") if method == "PUT" else ({}, MERGE_PATCH)
        call = bound.scene.api.call
        return outcome_of(lambda: call(method, f"{where}/status?dryRun=All", sent, type_, headers))

    for method in ("PATCH", "PUT"):
        assert {who: {kind: written(who, kind, method) for kind in names} for who in expected} == expected


def test_the_gateway_with_the_charts_rights_writes_the_status_of_data_marts(bound: Team) -> None:
    """Its token is its ServiceAccount's: it writes the status of data marts, and has no right to another."""
    words = (
        "auth",
        "whoami",
        f"--kubeconfig={bound.scene.gateway_kubeconfig}",
        "-o",
        "jsonpath={.status.userInfo.username}",
    )
    assert bound.scene.kubectl(*words) == GATEWAY

    def said(kind: str, name: str) -> str:
        where = f"{path(kind, bound.namespace, name)}/status?dryRun=All"
        return outcome_of(lambda: bound.scene.api.call("PATCH", where, {}, MERGE_PATCH, as_user(GATEWAY)))

    assert said("DataMart", "m") == "passes"
    assert "cannot patch resource" in said("OpenScaleInstance", "prod")
    assert "cannot patch resource" in said("RootKeyBinding", "a")


def test_the_refused_status_says_whom_to_ask(bound: Team) -> None:
    """The cluster's admin reads who writes it, and what to do about a restore."""
    words = ("patch", "openscaleinstance", "prod", "-n", bound.namespace, "--type=merge", "-p", "{}")
    done = bound.scene.cluster.kubectl(*words, "--subresource=status", check=False)
    assert f'may not write the status of openscaleinstances "prod" in namespace "{bound.namespace}"' in done.stderr
    assert f"only {OPERATOR} does" in done.stderr
    assert "To restore a backup, ask whoever installed the Helm release" in done.stderr
    assert "to name the user in admissionPolicies.status.restoreUsers" in done.stderr
    assert bound.scene.cluster.kubectl(*words, "--subresource=status", *AS_RESTORER, check=False).stderr == ""


def test_a_status_sent_with_the_object_is_dropped(bound: Team) -> None:
    """Whoever may write data marts cannot bring a status along, so the policy on /status has no hole beside it."""
    forged = {
        "status": {"sealedPassword": {"dataKey": "A" * 43, "envelope": "e", "sealedTime": "2026-01-01T00:00:00Z"}}
    }
    new = manifests.datamart(bound.namespace, "new", "prod", "new-db") | forged
    answer = bound.scene.api.call("POST", f"{path('DataMart', bound.namespace)}?dryRun=All", new)
    assert "sealedPassword" not in json.dumps(answer)
    before = bound.get("DataMart", "m")["status"]["sealedPassword"]
    assert bound.patch("DataMart", "m", forged)["status"]["sealedPassword"] == before
