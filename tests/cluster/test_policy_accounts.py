"""The chart's policy on the accounts of operator and gateway, on a real API server: neither becomes the other."""

import pytest

from openscale_byok.resources import FINALIZER, GROUP, HANDOVER_TYPE
from stage import manifests
from stage.api import MERGE_PATCH, Object, path
from stage.impersonation import GATEWAY, OPERATOR, PASSES, REFUSED, as_user, outcome_of
from stage.scene import (
    GATEWAY_ACCOUNT,
    GATEWAY_AUTHORITY,
    GLOBAL_KEY_SECRET,
    NAMESPACE,
    OPERATOR_ACCOUNT,
)
from stage.team import Team

CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)
TOKEN_TYPE = "kubernetes.io/service-account-token"  # a type
OWN = {f"{GROUP}/managed-by": "gateway"}
ACCOUNTS = {OPERATOR: OPERATOR_ACCOUNT, GATEWAY: GATEWAY_ACCOUNT}


def ask(team: Team, user: str, method: str, where: str, body: object = None, *groups: str) -> str:
    """A request that stores nothing; with the group, RBAC allows it anything."""
    type_ = MERGE_PATCH if method == "PATCH" else "application/json"
    headers = as_user(user, *groups)
    return outcome_of(lambda: team.scene.api.call(method, f"{where}?dryRun=All", body, type_, headers))


def masters(team: Team, user: str, method: str, where: str, body: object = None) -> str:
    """The same, whatever RBAC says: only the policies are left."""
    return ask(team, user, method, where, body, "system:masters")


def secret(name: str, type_: str = "Opaque", account: str = "", namespace: str = NAMESPACE) -> Object:
    """A Secret; one with an account is what Kubernetes puts that account's token into."""
    notes = {"annotations": {"kubernetes.io/service-account.name": account}} if account else {}
    metadata = {"name": name, "namespace": namespace, **notes}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_}


def token(*audiences: str) -> Object:
    """A TokenRequest."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600} | ({"audiences": list(audiences)} if audiences else {}),
    }


def token_of(account: str, namespace: str = NAMESPACE) -> str:
    """Where a token of an account is made."""
    return f"{path('ServiceAccount', namespace, account)}/token"


@pytest.fixture
def bare(team: Team) -> Team:
    """One of each kind that an operator never sees (their instance is not there), and a hand-over Secret."""
    team.create(
        manifests.datamart(team.namespace, "m", "nowhere", "none"),
        manifests.binding(team.namespace, "b", "nowhere", CRN),
    )
    team.source("h", handover=True, password=team.password())
    team.source("kept", password=team.password())
    return team


@pytest.mark.parametrize("user", [OPERATOR, GATEWAY])
def test_an_account_gets_no_token_of_another(team: Team, user: str) -> None:
    """Neither by a Secret that Kubernetes fills, nor by asking: each was a way from the gateway to the operator."""
    other = OPERATOR_ACCOUNT if user == GATEWAY else GATEWAY_ACCOUNT
    secrets = path("Secret", NAMESPACE)
    team.until(lambda: team.scene.api.get("ServiceAccount", team.namespace, "default"), "the namespace has its account")
    for account in (other, "default"):
        filled = secret("another", TOKEN_TYPE, account)
        assert ask(team, user, "POST", secrets, filled) == REFUSED, "RBAC lets it through"
        for own in (GATEWAY_AUTHORITY, GLOBAL_KEY_SECRET):
            assert ask(team, user, "POST", secrets, secret(own, TOKEN_TYPE, account)) == REFUSED
        for audiences in ((), ("https://kubernetes.default.svc",), ("openscale-byok",), ("iam", "openscale-byok")):
            assert ask(team, user, "POST", token_of(account), token(*audiences)) == REFUSED, audiences
    assert ask(team, user, "POST", token_of("default", team.namespace), token()) == REFUSED, "of a team's account"


@pytest.mark.parametrize("user", [OPERATOR, GATEWAY])
def test_a_token_for_iam_leads_nowhere_but_to_iam(team: Team, user: str) -> None:
    """It is made, for trusted profiles; the API server takes it from nobody."""
    team.create(manifests.bare("v1", "ServiceAccount", team.namespace, "kp"))
    made = team.scene.api.call("POST", token_of("kp", team.namespace), token("iam"), more=as_user(user))
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": made["status"]["token"]},
    }
    team.vault.add(made["status"]["token"])
    answer = team.scene.api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert not answer["status"].get("authenticated", False)


def test_which_secrets_and_config_maps_each_writes(bare: Team) -> None:
    """Its own by name, of type Opaque, in its own namespace; the operator deletes what is handed over, and no other."""
    own = {OPERATOR: GLOBAL_KEY_SECRET, GATEWAY: GATEWAY_AUTHORITY}
    secrets, maps = path("Secret", NAMESPACE), path("ConfigMap", NAMESPACE)

    def creates(user: str, name: str, namespace: str = NAMESPACE, type_: str = "Opaque") -> str:
        """Creates it, or finds that it is there: then the policy was asked before."""
        new = secret(name, type_, namespace=namespace)
        found = masters(bare, user, "POST", path("Secret", namespace), new)
        return PASSES if found.startswith("409") else found

    for user, name in own.items():
        other = own[GATEWAY if user == OPERATOR else OPERATOR]
        assert creates(user, name) == PASSES
        assert creates(user, name, type_=HANDOVER_TYPE) == REFUSED
        assert creates(user, name, bare.namespace) == REFUSED
        assert creates(user, other) == REFUSED
        assert creates(user, "any") == REFUSED
        generated = secret("") | {"metadata": {"generateName": name, "namespace": NAMESPACE}}
        assert masters(bare, user, "POST", secrets, generated) == REFUSED
        assert masters(bare, user, "PATCH", path("Secret", bare.namespace, "kept"), {"data": {"a": "YQ=="}}) == REFUSED
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any", "namespace": NAMESPACE}}
        assert masters(bare, user, "POST", maps, config) == REFUSED
        assert masters(bare, user, "PATCH", path("ConfigMap", NAMESPACE, "kube-root-ca.crt"), {}) == REFUSED
        assert masters(bare, user, "DELETE", path("ConfigMap", NAMESPACE, "kube-root-ca.crt")) == REFUSED
        assert masters(bare, user, "DELETE", path("Secret", bare.namespace, "kept")) == REFUSED
        handed_over = masters(bare, user, "DELETE", path("Secret", bare.namespace, "h"))
        assert handed_over == (PASSES if user == OPERATOR else REFUSED)


def test_the_operator_changes_finalizers_and_nothing_else(bare: Team) -> None:
    """No spec, label, annotation or owner; it makes no object of ours and deletes none."""
    uid = bare.get("Secret", "kept")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "kept", "uid": uid}
    changes: dict[str, tuple[Object, str]] = {
        "finalizer": ({"metadata": {"finalizers": [FINALIZER]}}, PASSES),
        "nothing": ({}, PASSES),
        "label": ({"metadata": {"labels": OWN}}, REFUSED),
        "annotation": ({"metadata": {"annotations": {"a": "b"}}}, REFUSED),
        "owner": ({"metadata": {"ownerReferences": [owner]}}, REFUSED),
    }
    for kind, name, spec in (
        ("DataMart", "m", {"displayName": "x"}),
        ("RootKeyBinding", "b", {"dataKeyCacheSeconds": 60}),
    ):
        where = path(kind, bare.namespace, name)
        for what, (change, expected) in (changes | {"spec": ({"spec": spec}, REFUSED)}).items():
            assert masters(bare, OPERATOR, "PATCH", where, change) == expected, (kind, what)
        assert masters(bare, OPERATOR, "DELETE", where) == REFUSED
        new = bare.get(kind, name) | {"metadata": {"name": "new", "namespace": bare.namespace}}
        assert masters(bare, OPERATOR, "POST", path(kind, bare.namespace), new) == REFUSED


def test_an_object_as_large_as_may_be_is_no_hindrance(bare: Team) -> None:
    """What CEL may cost is counted: 250 kB of annotations and 2,000 finalizers keep the operator from nothing."""
    where, foreign = path("DataMart", bare.namespace, "m"), [f"example.com/{number}" for number in range(2_000)]
    notes = {f"example.com/{number}": "x" * 25_000 for number in range(10)}
    bare.scene.operator.stop()  # it would take its finalizer off
    try:
        bare.patch("DataMart", "m", {"metadata": {"annotations": notes, "finalizers": [*foreign, FINALIZER]}})
        assert masters(bare, OPERATOR, "PATCH", where, {"metadata": {"finalizers": foreign}}) == PASSES
        assert masters(bare, OPERATOR, "PATCH", where, {"metadata": {"annotations": None}}) == REFUSED
        assert masters(bare, "somebody", "PATCH", where, {"metadata": {"finalizers": foreign}}) == REFUSED
    finally:
        bare.delete("DataMart", "m")
        bare.patch("DataMart", "m", {"metadata": {"finalizers": None}})
        bare.scene.operator.start()


def test_the_gateway_touches_what_it_made(bare: Team) -> None:
    """With its label, it makes and deletes, and changes a data mart's spec; what Git keeps stays as it is."""
    for kind, name, spec in (
        ("DataMart", "m", {"displayName": "x"}),
        ("RootKeyBinding", "b", {"dataKeyCacheSeconds": 60}),
    ):
        new = bare.get(kind, name)
        new["metadata"] = {"name": "new", "namespace": bare.namespace, "labels": OWN}
        new["spec"].get("database", {}).pop("password", None)
        many, one = path(kind, bare.namespace), path(kind, bare.namespace, name)
        assert masters(bare, GATEWAY, "POST", many, new) == PASSES
        held = new | {"metadata": new["metadata"] | {"finalizers": [FINALIZER]}}
        assert masters(bare, GATEWAY, "POST", many, held) == REFUSED
        new["metadata"]["labels"] = {}
        assert masters(bare, GATEWAY, "POST", many, new) == REFUSED
        for method, body in (("DELETE", None), ("PATCH", {"spec": spec}), ("PATCH", {"metadata": {"labels": OWN}})):
            assert masters(bare, GATEWAY, method, one, body) == REFUSED, (kind, method, body)
        for label in (OWN, {"app.kubernetes.io/managed-by": "openscale-byok-gateway"}):
            bare.patch(kind, name, {"metadata": {"labels": label}})
            assert masters(bare, GATEWAY, "DELETE", one) == PASSES
            changed = masters(bare, GATEWAY, "PATCH", one, {"spec": spec})
            assert changed == (PASSES if kind == "DataMart" else REFUSED)
            for metadata in ({"labels": None}, {"annotations": {"a": "b"}}, {"finalizers": [FINALIZER]}):
                assert masters(bare, GATEWAY, "PATCH", one, {"metadata": metadata}) == REFUSED, metadata
            bare.patch(kind, name, {"metadata": {"labels": None}})
    instance = manifests.instance(bare.namespace, "new", "00000000-1111-2222-3333-444444444444")
    instance["metadata"]["labels"] = OWN
    assert masters(bare, GATEWAY, "POST", path("OpenScaleInstance", bare.namespace), instance) == REFUSED


def test_nothing_else_that_the_chart_grants_leads_to_the_other_account(team: Team) -> None:
    """No pod that runs as the other, no impersonation, no role or binding, no certificate; events only tell."""
    rbac, name = "/apis/rbac.authorization.k8s.io/v1", {"metadata": {"name": "new", "namespace": NAMESPACE}}
    for user in ACCOUNTS:
        other = next(account for known, account in ACCOUNTS.items() if known != user)
        containers = {"serviceAccountName": other, "containers": [{"name": "a", "image": "a"}]}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": OPERATOR_ACCOUNT}
        tried = {
            f"/api/v1/namespaces/{NAMESPACE}/pods": {"apiVersion": "v1", "kind": "Pod", "spec": containers},
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts": {"apiVersion": "v1", "kind": "ServiceAccount"},
            f"{rbac}/namespaces/{NAMESPACE}/rolebindings": {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": reference,
            },
            f"{rbac}/namespaces/{NAMESPACE}/roles": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"},
        }  # fmt: skip
        for where, body in tried.items():
            assert "cannot create resource" in ask(team, user, "POST", where, body | name), where
        event = {
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "eventTime": "2026-01-01T00:00:00.000000Z",
            "action": "a", "type": "Normal", "reason": "R", "note": "n",
            "reportingController": "c", "reportingInstance": "i",
            "regarding": {"apiVersion": "v1", "kind": "Secret", "namespace": NAMESPACE, "name": GLOBAL_KEY_SECRET},
        }  # fmt: skip
        said = ask(team, user, "POST", path("Event", NAMESPACE), event | name)
        assert said == PASSES if user == OPERATOR else "cannot create resource" in said
        template = path("ServiceAccount", NAMESPACE, other)
        assert "cannot patch resource" in ask(team, user, "PATCH", template, {"secrets": [{"name": GATEWAY_AUTHORITY}]})
        asked = {"verb": "impersonate", "resource": "serviceaccounts", "namespace": NAMESPACE, "name": other}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": asked},
        }
        found = team.scene.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        assert not found["status"]["allowed"]
