"""The admission policies as the chart renders them; what they do is tested on an API server."""

from typing import Any

import pytest

from openscale_byok.resources import API_VERSION, GROUP, KINDS
from stage import chart

NAMESPACE = "ns"


def policies(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The policies' specs by what they are about; each must be bound, once, to refuse."""
    found = chart.policies(values, namespace=NAMESPACE, release="r")
    specs = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [one["spec"] for one in found if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert bindings == [{"policyName": name, "validationActions": ["Deny"]} for name in specs]
    return {name.removeprefix("r-openscale-byok-"): spec for name, spec in specs.items()}


def test_both_are_there_and_fail_closed():
    """By default both are in force; one that cannot be evaluated refuses."""
    found = policies({})
    assert list(found) == ["bind", "status"]
    assert {spec["failurePolicy"] for spec in found.values()} == {"Fail"}


@pytest.mark.parametrize("name", ["bind", "status"])
def test_each_can_be_switched_off(name):
    """One goes, the other stays."""
    assert set(policies({"admissionPolicies": {name: {"enabled": False}}})) == {"bind", "status"} - {name}


def test_they_look_at_our_kinds_only():
    """Bindings, and the status of each kind that there is: one that comes later is not forgotten."""
    rules = {name: spec["matchConstraints"]["resourceRules"] for name, spec in policies({}).items()}
    ours = {"apiGroups": [GROUP], "apiVersions": [API_VERSION.rpartition("/")[2]]}
    statuses = sorted(f"{kind.PLURAL}/status" for kind in KINDS)
    assert rules == {
        "bind": [ours | {"operations": ["CREATE", "DELETE", "UPDATE"], "resources": ["rootkeybindings"]}],
        "status": [ours | {"operations": ["CREATE", "UPDATE"], "resources": statuses}],
    }


def _writers(values: dict[str, Any]) -> str:
    (validation,) = policies(values)["status"]["validations"]
    return " ".join(validation["expression"].split())


def test_the_accounts_are_those_that_run():
    """The policy on statuses names operator and gateway under whatever name they run, and those who restore."""
    operator, gateway = (f"system:serviceaccount:ns:r-openscale-byok{end}" for end in ("", "-gateway"))
    mart = "request.resource.resource == 'datamarts' && request.userInfo.username =="
    assert _writers({}) == f'request.userInfo.username in ["{operator}"] || {mart} "{gateway}"'
    values = {"serviceAccount": {"name": "o"}, "gateway": {"serviceAccount": {"name": "g"}}}
    who = 'request.userInfo.username in ["system:serviceaccount:ns:o"]'
    assert _writers(values) == f'{who} || {mart} "system:serviceaccount:ns:g"'
    assert _writers(values | {"gateway": {"enabled": False}}) == who
    values = {"gateway": {"enabled": False}, "admissionPolicies": {"status": {"restoreUsers": ["a", "b"]}}}
    assert _writers(values) == f'request.userInfo.username in ["{operator}","a","b"]'


def test_the_controllers_are_those_of_the_value():
    """Where controllers share one user, that user is let through in place of the two."""
    (_, condition) = policies({"admissionPolicies": {"bind": {"controllers": ["c"]}}})["bind"]["matchConditions"]
    assert 'request.userInfo.username in ["c"]' in condition["expression"]
    (_, condition) = policies({})["bind"]["matchConditions"]
    for name in ("generic-garbage-collector", "namespace-controller"):
        assert f'"system:serviceaccount:kube-system:{name}"' in condition["expression"]
