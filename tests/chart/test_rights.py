"""Every right that the chart grants, word for word: it cannot grow, or shrink, without a change of this file."""

from typing import Any

import helm_python
import pytest

from stage import chart, rights_table

GROUP = "openscale.byok.dev"
CLUSTER, OWN = "*", "ns"
Right = tuple[str, str, str, str, str]
"""Where ('*': in the whole cluster), group, resource, verb, name ('' : any)."""


def _told(value: object) -> str:
    """The name of a row: the same in every process, so that several can share the tests."""
    return str(sorted(value) if isinstance(value, set) else value)


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
    (CLUSTER, GROUP, "datamarts", "patch", ""),
    (CLUSTER, GROUP, "datamarts/status", "patch", ""),
    (CLUSTER, "events.k8s.io", "events", "create", ""),
    (OWN, "", "secrets", "get", "openscale-byok-global-key"),
    (OWN, "", "secrets", "create", ""),
}
GATEWAY: set[Right] = {
    *((CLUSTER, GROUP, "openscaleinstances", verb, "") for verb in ("bind", "get", "list", "watch")),
    *((CLUSTER, GROUP, "rootkeybindings", verb, "") for verb in ("create", "delete", "list", "watch")),
    *((CLUSTER, GROUP, "datamarts", verb, "") for verb in ("create", "delete", "get", "list")),
    *((CLUSTER, GROUP, "datamarts", verb, "") for verb in ("patch", "watch")),
    (CLUSTER, GROUP, "datamarts/status", "patch", ""),
    (CLUSTER, "authentication.k8s.io", "tokenreviews", "create", ""),
    (CLUSTER, "authorization.k8s.io", "subjectaccessreviews", "create", ""),
    (CLUSTER, "", "/openid/v1/jwks", "get", ""),
    (OWN, "", "secrets", "get", "openscale-byok-global-key"),
}
AUTHORITY: set[Right] = {
    (OWN, "", kind, verb, name)
    for kind in ("configmaps", "secrets")
    for verb, name in (("create", ""), *((verb, "openscale-byok-gateway-ca") for verb in ("get", "patch")))
}
"""What the gateway needs more while it makes its own certificate."""


def secrets_in(*namespaces: str) -> set[Right]:
    """What is granted where Secrets are."""
    return {(namespace, "", "secrets", verb, "") for namespace in namespaces for verb in ("get", "delete")}


def tokens_in(*namespaces: str, names: tuple[str, ...] = ("",)) -> set[Right]:
    """What trusted profiles add."""
    return {(place, "", "serviceaccounts/token", "create", name) for place in namespaces for name in names}


def granted(values: dict[str, Any], account: str) -> set[Right]:
    """The rights of a ServiceAccount, through every binding that names it. Each role but those of users is bound."""
    found = chart.rights(values, namespace=OWN, release="r")
    rules = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one.get("rules") for one in found
    }
    roles = {key for key in rules if key[0] == "Role" or (key[0] == "ClusterRole" and not _for_users(found, key[2]))}
    held: set[Right] = set()
    for binding in (one for one in found if one["kind"].endswith("Binding")):
        namespace = binding["metadata"].get("namespace")
        role = binding["roleRef"]
        key = (role["kind"], namespace if role["kind"] == "Role" else None, role["name"])
        roles.remove(key)
        (subject,) = binding["subjects"]
        assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", OWN)
        if subject["name"] == account:
            held |= {
                (namespace or CLUSTER, group, resource, verb, name)
                for rule in rules[key]
                for group in rule.get("apiGroups", [""])
                for resource in (*rule.get("resources", ()), *rule.get("nonResourceURLs", ()))
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    assert roles == set(), "a role that nobody is bound to"
    return held


def _for_users(found: list[dict[str, Any]], name: str) -> bool:
    if name in (f"r-openscale-byok-{role}" for role in ("binder", "credentials-reader")):
        return True
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
    ids=_told,
)
def test_the_operators_rights_are_these(values, more):
    """Operator and gateway hold exactly the rights of this file, and those of the switches that were set.

    Of Secrets that are granted the gateway may get each, and delete none.
    """
    assert granted(values, "r-openscale-byok") == OPERATOR | more
    readable = {right for right in more if right[2:4] != ("secrets", "delete")}
    assert granted(values, "r-openscale-byok-gateway") == GATEWAY | AUTHORITY | readable


REVIEWS = {right for right in GATEWAY if right[0] == CLUSTER and right[1] != GROUP}


def _in(rights: set[Right], *namespaces: str) -> set[Right]:
    """What is granted in the whole cluster, in these only; but reviews, which no Role can grant."""
    wide = {right for right in rights - REVIEWS if right[0] == CLUSTER}
    return (rights - wide) | {(namespace, *right[1:]) for namespace in namespaces for right in wide}


@pytest.mark.parametrize("namespaces", [("a", "b"), (OWN,)], ids="-".join)
def test_who_serves_some_namespaces_has_rights_in_these(namespaces):
    """The same rights as ever, by Roles in each; of the cluster the gateway keeps what it asks about its callers, and
    the operator nothing."""
    values = {"scope": {"namespaces": [*namespaces]}, "secretAccess": {"namespaces": [namespaces[0]]}}
    more = secrets_in(namespaces[0])
    assert granted(values, "r-openscale-byok") == _in(OPERATOR, *namespaces) | more
    readable = {right for right in more if right[3] == "get"}
    assert granted(values, "r-openscale-byok-gateway") == _in(GATEWAY, *namespaces) | AUTHORITY | readable
    assert CLUSTER not in {right[0] for right in granted(values, "r-openscale-byok")}


def test_without_objects_of_the_cluster_there_are_none():
    """Everything that is rendered then is in a namespace."""
    values = {"scope": {"namespaces": ["a"], "clusterObjects": False}}
    found = chart.render(values | {"gateway": {"enabled": False}, "crds": {"enabled": False}})
    assert all(one["metadata"].get("namespace") for one in found), [one["kind"] for one in found]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"secretAccess": {"clusterWide": True}}, "secretAccess.clusterWide: only scope.namespaces are served"),
        ({"secretAccess": {"namespaces": ["c"]}}, "secretAccess.namespaces: c is not served"),
        ({"scope": {"clusterObjects": False}}, "gateway.enabled: the gateway asks the API server who its callers are"),
        (
            {"scope": {"clusterObjects": False}, "gateway": {"enabled": False}, "crds": {"enabled": True}},
            r"crds.enabled: .*kubectl apply -k crds",
        ),
        ({"scope": {"clusterObjects": False, "namespaces": []}}, "name the namespaces to serve in scope.namespaces"),
    ],
    ids=range(5),
)
def test_what_does_not_go_with_a_scope_is_refused_with_a_sentence(values, sentence):
    """By the name of its value, with the cure."""
    merged = values | {"scope": {"namespaces": ["a"]} | values.get("scope", {})}
    with pytest.raises(helm_python.HelmRenderError, match=sentence):
        chart.render(merged)


def test_a_certificate_from_elsewhere_needs_no_authority():
    """With `gateway.tls.secretName` the gateway creates no Secret and no ConfigMap; the kubelet mounts the files."""
    assert granted({"gateway": {"tls": {"secretName": "t"}}}, "r-openscale-byok-gateway") == GATEWAY


def test_the_name_of_the_authority_is_the_one_that_may_be_written():
    """Under another name it is that Secret and that ConfigMap."""
    held = granted({"gateway": {"authority": "other"}}, "r-openscale-byok-gateway")
    assert held - GATEWAY == {(*right[:4], "other" if right[4] else "") for right in AUTHORITY}


def test_without_the_gateway_nothing_is_granted_to_it():
    """`gateway.enabled: false`: no account, no right, no role to read what nobody gives out."""
    found = chart.rights({"gateway": {"enabled": False}}, namespace=OWN, release="r")
    assert [one["metadata"]["name"] for one in found if "gateway" in one["metadata"]["name"]] == []
    assert "r-openscale-byok-credentials-reader" not in {one["metadata"]["name"] for one in found}


@pytest.mark.parametrize(
    ("account", "expected"),
    [({"create": False, "name": "mine"}, "mine"), ({"name": "mine"}, "mine"), ({"create": False}, "default")],
)
def test_the_gateways_rights_are_bound_to_the_account_that_runs(account, expected):
    """Whoever brings an account of their own for the gateway finds it bound."""
    assert granted({"gateway": {"serviceAccount": account}}, expected) == GATEWAY | AUTHORITY


@pytest.mark.parametrize(
    "values",
    [
        {"serviceAccount": {"name": "same"}, "gateway": {"serviceAccount": {"name": "same"}}},
        {"serviceAccount": {"create": False}, "gateway": {"serviceAccount": {"create": False}}},
    ],
)
def test_operator_and_gateway_share_no_account(values):
    """One account would have the rights of both, and the policies could not tell them apart: it is refused by name."""
    with pytest.raises(helm_python.HelmRenderError, match=r"gateway.serviceAccount.name: \w+ is the operator's"):
        chart.render(values)


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
    """`rbac.create: false` leaves operator and gateway without a role."""
    found = chart.rights({"rbac": {"create": False}}, release="r")
    assert {one["kind"] for one in found} == {"ServiceAccount", "ClusterRole"}
    assert all(_for_users(found, one["metadata"]["name"]) for one in found if one["kind"] == "ClusterRole")


ALL = ("datamarts", "openscaleinstances", "rootkeybindings")
READ, WRITE = ("get", "list", "watch"), ("create", "delete", "deletecollection", "patch", "update")
ADMIN = [
    {"apiGroups": [GROUP], "resources": ["openscaleinstances"], "verbs": ["bind"]},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "resourceNames": ["openscale-byok-credentials-reader"],
        "verbs": ["bind"],
    },
]


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
    """view reads, edit writes data marts and no binding, admin writes all and binds; nobody writes /status."""
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = {}
    for one in chart.rights({"userRoles": roles}):
        labels = [name for name in one["metadata"]["labels"] if name.startswith(prefix)]
        if not labels:
            continue
        rule, *more = one["rules"]
        assert rule["apiGroups"] == [GROUP]
        assert more == (ADMIN if "admin" in labels[0] else [])
        found[labels[0].removeprefix(prefix)] = (tuple(rule["resources"]), tuple(rule["verbs"]))
        assert len(labels) == 1
    assert found == expected


def test_owners_find_roles_to_bind_in_their_namespaces():
    """Who may bind, and who may read credentials: by no other role, and to nobody until an owner binds it."""
    found = {one["metadata"]["name"]: one for one in chart.rights({}) if one["kind"] == "ClusterRole"}
    binder, reader = (found[f"openscale-byok-{name}"] for name in ("binder", "credentials-reader"))
    for role in (binder, reader):
        assert not [label for label in role["metadata"]["labels"] if "aggregate" in label]
    assert binder["rules"] == [
        {"apiGroups": [GROUP], "resources": ["openscaleinstances"], "verbs": ["bind", "get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["rootkeybindings"], "verbs": sorted((*READ, *WRITE))},
    ]
    assert reader["rules"] == [{"apiGroups": [GROUP], "resources": ["datamartcredentials"], "verbs": ["get"]}]
    granting = [name for name, role in found.items() if "datamartcredentials" in str(role["rules"])]
    assert granting == ["openscale-byok-credentials-reader"]


@pytest.mark.parametrize(
    "values", [{}, {"secretAccess": {"clusterWide": True}, "trustedProfiles": {"enabled": True}}], ids=str
)
def test_no_wildcard_and_no_list_of_secrets(values):
    """No rule says `*`, and none lists or watches Secrets, however wide the grant."""
    for one in chart.rights(values):
        for rule in one.get("rules", []):
            assert "*" not in [one for named in rule.values() for one in named]
            if "secrets" in rule.get("resources", ()):
                assert not {"list", "watch", "update", "deletecollection"} & set(rule["verbs"])
                assert "patch" not in rule["verbs"] or rule["resourceNames"] == ["openscale-byok-gateway-ca"]


def test_each_right_in_the_readme_has_its_reason():
    """`make generate` stops at a rule that has no reason, and at a reason that no rule needs any more.

    That the tables are what the chart grants now is what `make generate --check` looks at.
    """
    readme = (chart.CHART / "README.md").read_text()
    key = next(key for key in rights_table.WHYS if key[2] == "`datamarts/status`")
    without = {name: why for name, why in rights_table.WHYS.items() if name != key}
    with pytest.raises(ValueError, match=r"rules without a reason: .*datamarts/status"):
        rights_table.complete(readme, without)
    with pytest.raises(ValueError, match=r"without a rule: .*'nobody'"):
        rights_table.complete(readme, rights_table.WHYS | {("nobody", "", "", ""): rights_table.WHYS[key]})
