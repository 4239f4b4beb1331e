"""What Flux and Helm make of the statuses that our operator writes: kstatus, and the expressions that Flux gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml

from kstatus import kstatus
from openscale_byok.resources import API_VERSION, KINDS
from statuses import load

FLUX = Path(__file__).parents[2] / "examples" / "flux"
STATUSES = load()
KUSTOMIZATIONS = {
    found["metadata"]["name"]: found
    for found in yaml.safe_load_all((FLUX / "team-a.yaml").read_text())
    if found["kind"] == "Kustomization"
}
CHECKS = {found["kind"]: found for found in KUSTOMIZATIONS["keys"]["spec"]["healthCheckExprs"]}
KSTATUS = {
    "Current": """binding-expiring binding-in-force binding-standby datamart-handed-over datamart-sealed
        datamart-sealed-suspended instance-current instance-nothing-to-protect instance-suspended""",
    "Failed": """binding-key-disabled datamart-endpoint-changed datamart-key-disabled datamart-password-empty
        instance-conflict instance-key-disabled""",
    "Terminating": "binding-releasing instance-data-marts-remain",
    "InProgress": """binding-credentials-missing binding-instance-not-found binding-unreachable binding-unseen
        datamart-changed datamart-instance-not-found datamart-no-root-key datamart-secret-not-found datamart-suspended
        datamart-unseen instance-changed instance-no-root-key instance-suspended-at-work instance-unreachable
        instance-unseen instance-waiting-for-root-key""",
}
MEANT = {name: status for status, names in KSTATUS.items() for name in names.split()}
SUSPENDED = {"binding-releasing", "datamart-suspended", "instance-suspended-at-work"}
"""Not ready, and nobody is at work on it: Flux's own expressions say that it is not waited for."""


def holds(expression: str, found: Mapping[str, Any]) -> bool:
    """Whether a CEL expression is true of an object; an error, as of a field that is not there, is one here too."""
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))
    value = program.evaluate({name: celpy.json_to_cel(inner) for name, inner in found.items()})
    assert isinstance(value, celpy.celtypes.BoolType)
    return bool(value)


def flux(found: Mapping[str, Any]) -> str:
    """What Flux makes of it: the generation first, then the expressions in its order; InProgress where none is true."""
    if found["status"].get("observedGeneration", found["metadata"]["generation"]) != found["metadata"]["generation"]:
        return "InProgress"
    check = CHECKS[found["kind"]]
    for status, name in (("InProgress", "inProgress"), ("Failed", "failed"), ("Current", "current")):
        if name in check and holds(check[name], found):
            return status
    return "InProgress"


def test_every_status_has_its_verdict():
    """No recorded status is left out of the table above, and none is in two rows."""
    assert sorted(STATUSES) == sorted(name for names in KSTATUS.values() for name in names.split())


@pytest.mark.parametrize("name", MEANT)
def test_kstatus(name):
    """Well is Current, what may come by itself InProgress, what needs a person Failed, what goes Terminating."""
    assert kstatus(STATUSES[name]) == MEANT[name]


@pytest.mark.parametrize("name", MEANT)
def test_expressions(name):
    """They say what kstatus says, but that what is suspended is not waited for. (They do not look at deletions.)"""
    if MEANT[name] == "Terminating" and name not in SUSPENDED:
        assert flux(STATUSES[name]) == "InProgress"
    else:
        assert flux(STATUSES[name]) == ("Current" if name in SUSPENDED else MEANT[name])


@pytest.mark.parametrize("status", [{}, {"conditions": []}, {"observedGeneration": 1}], ids=["empty", "none", "seen"])
@pytest.mark.parametrize("kind", [kind.KIND for kind in KINDS])
def test_expressions_want_nothing_that_may_be_missing(kind, status):
    """An expression that meets a field that is not there would make Flux give up: none of them does."""
    assert flux({"kind": kind, "metadata": {"generation": 1}, "spec": {}, "status": status}) == "InProgress"


def test_each_kind_that_a_kustomization_applies_has_expressions():
    """The keys' Kustomization has them for all kinds, the data marts' for its own, and they are the same."""
    assert set(CHECKS) == {kind.KIND for kind in KINDS}
    (data_marts,) = KUSTOMIZATIONS["data-marts"]["spec"]["healthCheckExprs"]
    assert data_marts == CHECKS["DataMart"]
    assert {check["apiVersion"] for check in CHECKS.values()} == {API_VERSION}


@pytest.mark.parametrize("name", [name for name in STATUSES if "suspended" in name])
def test_suspend_is_nothing_in_progress(name):
    """No condition says that anything is under way, or wrong, where nothing is but its owner's wish."""
    said = {c["type"]: c["status"] for c in STATUSES[name]["status"]["conditions"]}
    assert not said.keys() & {"Reconciling", "Stalled"}
