"""Every right that the chart grants, word for word: it cannot grow, or shrink, without a change of this file."""

from typing import Any

import pytest

from stage import chart

GROUP = "openscale.byok.dev"
CLUSTER, OWN = "*", "ns"
Right = tuple[str, str, str, str, str]
"""Where ('*': in the whole cluster), group, resource, verb, name ('' : any)."""

CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)
OPERATOR: set[Right] = {
    (CLUSTER, GROUP, "openscaleinstances", "get", ""),
    (CLUSTER, GROUP, "openscaleinstances", "list", ""),
    (CLUSTER, GROUP, "openscaleinstances", "watch", ""),
    (CLUSTER, GROUP, "openscaleinstances", "patch", ""),
    (CLUSTER, GROUP, "openscaleinstances/status", "patch", ""),
    (CLUSTER, GROUP, "rootkeybindings", "list", ""),
    (CLUSTER, GROUP, "rootkeybindings", "watch", ""),
    (CLUSTER, GROUP, "rootkeybindings", "patch", ""),
    (CLUSTER, GROUP, "rootkeybindings/status", "patch", ""),
    (CLUSTER, GROUP, "datamarts", "list", ""),
    (CLUSTER, GROUP, "datamarts", "watch", ""),
    (CLUSTER, GROUP, "datamarts/status", "patch", ""),
    (CLUSTER, "events.k8s.io", "events", "create", ""),
    (OWN, "", "secrets", "get", "openscale-byok-global-key"),
    (OWN, "", "secrets", "create", ""),
}


def secrets_in(*namespaces: str) -> set[Right]:
    """What is granted where Secrets are."""
    return {(namespace, "", "secrets", verb, "") for namespace in namespaces for verb in ("get", "delete")}


def tokens_in(*namespaces: str, names: tuple[str, ...] = ("",)) -> set[Right]:
    """What trusted profiles add."""
    return {(place, "", "serviceaccounts/token", "create", name) for place in namespaces for name in names}


def granted(values: dict[str, Any], account: str) -> set[Right]:
    """The rights of a ServiceAccount, through every binding that names it. Each role must be bound."""
    found = chart.rights(values, namespace=OWN, release="r")
    rules = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one.get("rules") for one in found
    }
    roles = {key for key in rules if key[0] == "Role" or (key[0] == "ClusterRole" and not _for_users(found, key[2]))}
    held: set[Right] = set()
    for binding in (one for one in found if one["kind"].endswith("Binding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": OWN}]
        namespace = binding["metadata"].get("namespace")
        role = binding["roleRef"]
        key = (role["kind"], namespace if role["kind"] == "Role" else None, role["name"])
        held |= {
            (namespace or CLUSTER, group, resource, verb, name)
            for rule in rules[key]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
            for name in rule.get("resourceNames", [""])
        }
        roles.remove(key)
    assert roles == set(), "a role that nobody is bound to"
    return held


def _for_users(found: list[dict[str, Any]], name: str) -> bool:
    (role,) = [one for one in found if one["kind"] == "ClusterRole" and one["metadata"]["name"] == name]
    return any(label.startswith("rbac.authorization.k8s.io/aggregate-to-") for label in role["metadata"]["labels"])


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ({}, set()),
        ({"trustedProfiles": {"enabled": True}}, set()),
        ({"secretAccess": {"namespaces": ["a", "b"]}}, secrets_in("a", "b")),
        (
            {"secretAccess": {"namespaces": ["a"]}, "trustedProfiles": {"enabled": True}},
            secrets_in("a") | tokens_in("a"),
        ),
        (
            {
                "secretAccess": {"namespaces": ["a"]},
                "trustedProfiles": {"enabled": True, "serviceAccounts": ["x", "y"]},
            },
            secrets_in("a") | tokens_in("a", names=("x", "y")),
        ),
        ({"secretAccess": {"namespaces": ["a"]}, "trustedProfiles": {"serviceAccounts": ["x"]}}, secrets_in("a")),
        ({"secretAccess": {"namespaces": ["a"], "clusterWide": True}}, secrets_in(CLUSTER)),
        (
            {"secretAccess": {"clusterWide": True}, "trustedProfiles": {"enabled": True}},
            secrets_in(CLUSTER) | tokens_in(CLUSTER),
        ),
        ({"secretAccess": {"namespaces": [OWN]}}, secrets_in(OWN)),
        ({"settings": {"globalRootKey": CRN}}, {(OWN, "", "secrets", "get", "openscale-byok-global-root-key")}),
        (
            {"settings": {"globalRootKeyFormer": CRN, "globalRootKeySecret": "kp"}},
            {(OWN, "", "secrets", "get", "kp")},
        ),
    ],
    ids=str,
)
def test_the_operators_rights_are_these(values, more):
    """The operator holds exactly the rights of this file, and those of the switches that were set."""
    assert granted(values, "r-openscale-byok") == OPERATOR | more


def test_the_name_of_the_global_key_is_the_one_that_may_be_read():
    """Under another name it is that Secret, and the former one is out of reach."""
    held = granted({"settings": {"globalKeySecret": "other"}}, "r-openscale-byok")
    assert {right for right in held if right[2:4] == ("secrets", "get")} == {(OWN, "", "secrets", "get", "other")}


@pytest.mark.parametrize(
    ("account", "expected"),
    [({"create": False}, "default"), ({"create": False, "name": "mine"}, "mine"), ({"name": "mine"}, "mine")],
)
def test_the_rights_are_bound_to_the_account_that_runs(account, expected):
    """Whoever brings their own ServiceAccount finds it bound."""
    assert granted({"serviceAccount": account}, expected) == OPERATOR


def test_nothing_is_granted_where_rights_come_from_elsewhere():
    """`rbac.create: false` leaves the operator without a role."""
    kinds = {one["kind"] for one in chart.rights({"rbac": {"create": False}, "userRoles": {}})}
    assert kinds == {"ServiceAccount", "ClusterRole"}


ALL = ("datamarts", "openscaleinstances", "rootkeybindings")
READ, WRITE = ("get", "list", "watch"), ("create", "delete", "deletecollection", "patch", "update")


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ({}, {"view": (ALL, READ), "edit": (("datamarts",), WRITE), "admin": (ALL, WRITE)}),
        (
            {"editKinds": ["datamarts", "rootkeybindings"]},
            {"view": (ALL, READ), "edit": (("datamarts", "rootkeybindings"), WRITE), "admin": (ALL, WRITE)},
        ),
        ({"editKinds": []}, {"view": (ALL, READ), "admin": (ALL, WRITE)}),
        ({"aggregateToView": False, "aggregateToEdit": False, "aggregateToAdmin": False}, {}),
        ({"aggregateToAdmin": False}, {"view": (ALL, READ), "edit": (("datamarts",), WRITE)}),
    ],
    ids=str,
)
def test_people_get_what_kubernetes_own_roles_say(roles, expected):
    """view reads, edit writes data marts and no binding, admin writes all; nobody writes /status."""
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = {}
    for one in chart.rights({"userRoles": roles}):
        labels = [name for name in one["metadata"]["labels"] if name.startswith(prefix)]
        if not labels:
            continue
        (rule,) = one["rules"]
        assert rule["apiGroups"] == [GROUP]
        found[labels[0].removeprefix(prefix)] = (tuple(rule["resources"]), tuple(rule["verbs"]))
        assert len(labels) == 1
    assert found == expected


@pytest.mark.parametrize(
    "values", [{}, {"secretAccess": {"clusterWide": True}, "trustedProfiles": {"enabled": True}}], ids=str
)
def test_no_wildcard_and_no_list_of_secrets(values):
    """No rule says `*`, and none lists or watches Secrets, however wide the grant."""
    for one in chart.rights(values):
        for rule in one.get("rules", []):
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            if "secrets" in rule["resources"]:
                assert not {"list", "watch", "update", "patch", "deletecollection"} & set(rule["verbs"])
