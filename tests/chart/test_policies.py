"""The admission policies as the chart renders them; what they do is tested on an API server."""

from typing import Any

import pytest

from openscale_byok.core.preferences import LABELS
from openscale_byok.resources import ABANDON_ANNOTATION, API_VERSION, FINALIZER, GROUP, HANDOVER_TYPE
from stage import chart

NAMESPACE = "ns"
BY_SWITCH = {
    "accounts": {"accounts"},
    "bind": {"bind"},
    "deletion": {"crd-deletion", "datamart-deletion", "namespace-deletion"},
    "finalizer": {"finalizer"},
    "rollback": {"crd-rollback"},
    "secrets": {"secrets"},
    "status": {"status"},
}
EVERY = set().union(*BY_SWITCH.values())
OPERATOR, GATEWAY = (f"system:serviceaccount:ns:r-openscale-byok{end}" for end in ("", "-gateway"))


def policies(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The policies' specs by what they are about; each must be bound, once, to refuse."""
    found = chart.policies(values, namespace=NAMESPACE, release="r")
    specs = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [one["spec"] for one in found if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert bindings == [{"policyName": name, "validationActions": ["Deny"]} for name in specs]
    return {name.removeprefix("openscale-byok-"): spec for name, spec in specs.items()}


def test_all_are_there_and_fail_closed():
    """By default each is in force; one that cannot be evaluated refuses."""
    found = policies({})
    assert set(found) == EVERY
    assert {spec["failurePolicy"] for spec in found.values()} == {"Fail"}


@pytest.mark.parametrize("switch", BY_SWITCH)
def test_each_can_be_switched_off(switch):
    """It goes, the others stay."""
    assert set(policies({"admissionPolicies": {switch: {"enabled": False}}})) == EVERY - BY_SWITCH[switch]


def test_in_a_scope_they_look_at_its_namespaces():
    """What our own accounts do is looked at wherever they do it, and definitions are in no namespace."""
    found = chart.policies({"scope": {"namespaces": ["a", "b"]}}, namespace=NAMESPACE, release="r")
    bindings = {one["spec"]["policyName"]: one["spec"] for one in found if one["kind"].endswith("Binding")}
    expression = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}
    selected = {"namespaceSelector": {"matchExpressions": [expression]}}
    everywhere = {f"openscale-byok-{name}" for name in ("accounts", "crd-deletion", "crd-rollback")}
    for name, spec in bindings.items():
        assert spec.get("matchResources") == (None if name in everywhere else selected), name
    assert {f"openscale-byok-{name}" for name in EVERY} == set(bindings)


def test_without_objects_of_the_cluster_there_is_none():
    """`scope.clusterObjects: false`: nobody may make them."""
    values = {"scope": {"namespaces": ["a"], "clusterObjects": False}, "gateway": {"enabled": False}}
    assert policies(values | {"crds": {"enabled": False}}) == {}


def test_they_look_at_what_they_are_about_and_at_nothing_else():
    """A kind of ours, or a version, that comes later is not left open: where no field is looked at, all of them are."""
    rules = {name: spec["matchConstraints"]["resourceRules"] for name, spec in policies({}).items()}
    ours = {"apiGroups": [GROUP], "apiVersions": ["*"], "resources": ["*"]}
    first = {"apiGroups": [GROUP], "apiVersions": [API_VERSION.rpartition("/")[2]]}
    core = {"apiGroups": [""], "apiVersions": ["v1"]}
    changes = ["CREATE", "DELETE", "UPDATE"]
    assert rules == {
        "accounts": [
            core | {"operations": changes, "resources": ["configmaps", "secrets"]},
            core | {"operations": ["CREATE"], "resources": ["serviceaccounts/token"]},
            ours | {"operations": changes},
        ],
        "bind": [first | {"operations": changes, "resources": ["rootkeybindings"]}],
        "crd-deletion": [
            {
                "apiGroups": ["apiextensions.k8s.io"],
                "apiVersions": ["v1"],
                "operations": ["DELETE"],
                "resources": ["customresourcedefinitions"],
            }
        ],
        "crd-rollback": [
            {
                "apiGroups": ["apiextensions.k8s.io"],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["customresourcedefinitions"],
            }
        ],
        "datamart-deletion": [first | {"operations": ["DELETE"], "resources": ["datamarts"]}],
        "finalizer": [ours | {"operations": ["UPDATE"]}],
        "namespace-deletion": [core | {"operations": ["DELETE"], "resources": ["namespaces"]}],
        "secrets": [ours | {"operations": ["CREATE", "UPDATE"]}],
        "status": [ours | {"operations": ["CREATE", "UPDATE"], "resources": ["*/status"]}],
    }


def test_they_speak_of_what_the_code_writes():
    """Our finalizer, the gateway's label, the owner's word and the type of a hand-over are spelt as in the code."""
    found = {name: str(spec) for name, spec in policies({}).items()}
    ((label, value),) = LABELS.items()
    assert f"'{FINALIZER}' in " in found["finalizer"]
    assert f"'{FINALIZER}' in " in found["bind"]
    for name in ("accounts", "bind"):
        assert f"?labels[?'{label}'].orValue('') == '{value}'" in found[name].replace("\\", "")
    assert f"?annotations[?'{ABANDON_ANNOTATION}']" in found["bind"].replace("\\", "")
    assert f"== '{HANDOVER_TYPE}'" in found["accounts"].replace("\\", "")


def _writers(values: dict[str, Any]) -> str:
    (validation,) = policies(values)["status"]["validations"]
    return " ".join(validation["expression"].split())


def test_the_accounts_are_those_that_run():
    """The policy on statuses names operator and gateway under whatever name they run, and those who restore."""
    mart = "request.resource.resource == 'datamarts' && request.userInfo.username =="
    assert _writers({}) == f'request.userInfo.username in ["{OPERATOR}"] || {mart} "{GATEWAY}"'
    values = {"serviceAccount": {"name": "o"}, "gateway": {"serviceAccount": {"name": "g"}}}
    who = 'request.userInfo.username in ["system:serviceaccount:ns:o"]'
    assert _writers(values) == f'{who} || {mart} "system:serviceaccount:ns:g"'
    assert _writers(values | {"gateway": {"enabled": False}}) == who
    values = {"gateway": {"enabled": False}, "admissionPolicies": {"status": {"restoreUsers": ["a", "b"]}}}
    assert _writers(values) == f'request.userInfo.username in ["{OPERATOR}","a","b"]'


@pytest.mark.parametrize("gateway", [True, False])
def test_the_other_policies_name_the_same_accounts(gateway):
    """Under the names that they run by; where there is no gateway, no account of its name is spoken of."""
    values = {"serviceAccount": {"name": "o"}, "gateway": {"enabled": gateway, "serviceAccount": {"name": "g"}}}
    found = policies(values | {"admissionPolicies": {"status": {"restoreUsers": ["me"]}}})
    operator, other = (f"system:serviceaccount:ns:{name}" for name in "og")
    (ours,) = found["accounts"]["matchConditions"]
    assert ours["expression"] == f'request.userInfo.username in ["{operator}"' + (f',"{other}"]' if gateway else "]")
    assert found["finalizer"]["matchConditions"][1]["expression"] == f'request.userInfo.username != "{operator}"'
    assert f'request.userInfo.username in ["{operator}","me"]' in found["bind"]["matchConditions"][2]["expression"]
    naming = [each["expression"] for each in found["secrets"]["validations"]]
    assert [f'request.userInfo.username != "{other}"' in each for each in naming] == [gateway, gateway]


def test_what_the_accounts_may_write_is_what_the_chart_has_them_write():
    """Names and namespace of their own Secrets follow the values."""
    values = {"settings": {"globalKeySecret": "the-key"}, "gateway": {"authority": "the-authority"}}
    (own,) = (each for each in policies(values)["accounts"]["variables"] if each["name"] == "own")
    assert " ".join(own["expression"].split()) == (
        "request.namespace == \"ns\" && request.operation != 'DELETE' && object.metadata.name == "
        '(variables.operator ? "the-key" : "the-authority")'
    )


def test_the_controllers_are_those_of_the_value():
    """Where controllers share one user, that user is let through in place of the two."""
    (_, condition, _) = policies({"admissionPolicies": {"bind": {"controllers": ["c"]}}})["bind"]["matchConditions"]
    assert 'request.userInfo.username in ["c"]' in condition["expression"]
    (_, condition, _) = policies({})["bind"]["matchConditions"]
    for name in ("generic-garbage-collector", "namespace-controller"):
        assert f'"system:serviceaccount:kube-system:{name}"' in condition["expression"]
