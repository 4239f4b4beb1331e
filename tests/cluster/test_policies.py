"""The chart's admission policies on a real API server, under which the operator of these tests runs.

Who may bind a root key, and who may write a status: a table of who and what for each, and what people get to read.
"""

import json
import shlex

import pytest

from openscale_byok.resources import GROUP
from stage import manifests
from stage.api import AS_RESTORER, MERGE_PATCH, RESTORER, ApiError, path
from stage.scene import GATEWAY_ACCOUNT, NAMESPACE, OPERATOR_ACCOUNT
from stage.team import Team

ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)
OPERATOR, GATEWAY = (f"system:serviceaccount:{NAMESPACE}:{name}" for name in (OPERATOR_ACCOUNT, GATEWAY_ACCOUNT))
COLLECTOR, NAMESPACES = (
    f"system:serviceaccount:kube-system:{name}" for name in ("generic-garbage-collector", "namespace-controller")
)
REFUSED = "the policy refuses it"


def as_user(user: str, *groups: str) -> dict[str, str]:
    """Headers that make the admin this user."""
    return {"Impersonate-User": user} | ({"Impersonate-Group": groups[0]} if groups else {})


def grant(team: Team, user: str, *rules: tuple[str, tuple[str, ...], tuple[str, ...]]) -> None:
    """Rights in the team's namespace: resource, verbs, names."""
    api, name = {"apiVersion": "rbac.authorization.k8s.io/v1"}, user.replace(":", "-")
    listed = [
        {"apiGroups": [GROUP], "resources": [resource], "verbs": list(verbs)}
        | ({"resourceNames": list(names)} if names else {})
        for resource, verbs, names in rules
    ]
    metadata = {"metadata": {"name": name, "namespace": team.namespace}}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    team.scene.apply(
        api | {"kind": "Role", "rules": listed} | metadata,
        api | {"kind": "RoleBinding", "roleRef": ref, "subjects": [subject]} | metadata,
    )


def outcome(team: Team, headers: dict[str, str], does: str, name: str = "a") -> str:
    """What the API server says, of a dry run: "passes", or who refuses."""
    one, many = path("RootKeyBinding", team.namespace, name), path("RootKeyBinding", team.namespace)
    changes = {
        "spec": {"spec": {"dataKeyCacheSeconds": 120}},
        "owner": {"metadata": {"ownerReferences": [owner(team)]}},
        "label": {"metadata": {"labels": {"a": "b"}}},
        "annotation": {"metadata": {"annotations": {"a": "b"}}},
        "finalizer": {"metadata": {"finalizers": ["example.com/mine"]}},
    }
    try:
        if does == "create":
            instance = {"a": "prod", "b": "other"}[name]
            new = manifests.binding(team.namespace, "new", instance, CRN)
            team.scene.api.call("POST", f"{many}?dryRun=All", new, more=headers)
        elif does.startswith("delete"):
            where = many if does == "delete all" else one
            team.scene.api.call("DELETE", f"{where}?dryRun=All", more=headers)
        else:
            team.scene.api.call("PATCH", f"{one}?dryRun=All", changes[does], MERGE_PATCH, headers)
    except ApiError as error:
        return told(error)
    return "passes"


def told(error: ApiError) -> str:
    """Whether it was a policy of ours that refused, or else what."""
    return REFUSED if error.status == 403 and "ValidatingAdmissionPolicy 'openscale-byok-" in str(error) else str(error)


def owner(team: Team) -> dict[str, object]:
    """A reference to an object that anybody may make."""
    uid = team.get("Secret", "key-protect")["metadata"]["uid"]
    return {"apiVersion": "v1", "kind": "Secret", "name": "key-protect", "uid": uid}


@pytest.fixture
def bound(team: Team) -> Team:
    """Two instances, each under a binding that the operator has taken; nobody has a right yet."""
    keys = team.root_keys(2)
    for instance, binding, key in zip(("prod", "other"), "ab", keys, strict=True):
        team.instance(instance)
        team.bind(binding, key, instance)
        team.until_protected(key, instance)
    return team


def reads_credentials(team: Team, user: str) -> bool:
    """What the gateway asks about its callers (`kubectl auth can-i` does not know resources that nothing serves)."""
    asked = {"verb": "get", "group": GROUP, "resource": "datamartcredentials", "namespace": team.namespace, "name": "m"}
    spec = {"user": user, "groups": ["system:authenticated"], "resourceAttributes": asked}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = team.scene.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


LOOKED_AT = ("create", "spec", "owner", "delete", "delete all")
NOT_LOOKED_AT = ("label", "annotation", "finalizer")


def test_who_may_bind(bound: Team) -> None:
    """Rights on bindings alone make none, change none and delete none; labels and finalizers need no more."""
    bindings = ("rootkeybindings", ALL, ())
    grant(bound, "editor", bindings)
    grant(bound, "binder", bindings, ("openscaleinstances", ("bind",), ()))
    grant(bound, "binder-of-other", bindings, ("openscaleinstances", ("bind",), ("other",)))
    grant(bound, "reader", ("rootkeybindings", ("get",), ()), ("openscaleinstances", ("bind",), ()))
    everything = dict.fromkeys((*LOOKED_AT, *NOT_LOOKED_AT), "passes")
    only_labels = dict.fromkeys(LOOKED_AT, REFUSED) | dict.fromkeys(NOT_LOOKED_AT, "passes")
    expected = {"editor": only_labels, "binder": everything, "binder-of-other": only_labels}
    found = {who: {does: outcome(bound, as_user(who), does) for does in everything} for who in expected}
    assert found == expected
    assert {does: outcome(bound, {}, does) for does in everything} == everything, "the cluster's admin"
    on_other = {does: outcome(bound, as_user("binder-of-other"), does, "b") for does in everything}
    assert on_other == everything | {"delete all": REFUSED}, "one of all is prod's"
    assert 'cannot create resource "rootkeybindings"' in outcome(bound, as_user("reader"), "create"), "both are needed"


def test_the_refusal_says_what_is_missing_and_how_to_grant_it(bound: Team) -> None:
    """The message names the verb, the instance, the namespace, and a command that works as it stands but for names."""
    grant(bound, "editor", ("rootkeybindings", ALL, ()))
    new = manifests.binding(bound.namespace, "new", "prod", CRN)
    with pytest.raises(ApiError) as refused:
        bound.scene.api.call("POST", path("RootKeyBinding", bound.namespace), new, more=as_user("editor"))
    message = str(refused.value)
    assert (
        'editor may not create a RootKeyBinding: the verb "bind" is missing on '
        f'openscaleinstances.openscale.byok.dev "prod" in namespace "{bound.namespace}". Have it granted: '
    ) in message
    command = message.partition("Have it granted: kubectl ")[2].replace("NAME", "binders").replace("USER", "editor")
    bound.scene.kubectl(*shlex.split(command))
    bound.until(lambda: outcome(bound, as_user("editor"), "create") == "passes", "what was granted is in force")


def test_kubernetes_own_admin_of_a_namespace_may_bind_and_edit_may_not(bound: Team) -> None:
    """`admin` has the verb `bind` by the chart's aggregated role; `edit` does not even write bindings."""
    if not bound.scene.cluster.has_controller_manager:
        pytest.skip("no controller-manager here: it is what puts aggregated roles together")
    for role in ("admin", "edit"):
        bound.scene.kubectl(
            "create", "rolebinding", role, f"--clusterrole={role}", f"--user=an-{role}", "-n", bound.namespace
        )
    bound.until(lambda: outcome(bound, as_user("an-admin"), "create") == "passes", "an admin may bind")
    assert 'cannot create resource "rootkeybindings"' in outcome(bound, as_user("an-edit"), "create")
    # And an admin lets somebody read credentials without reading any: RBAC wants its own `bind` for that.
    bound.scene.kubectl(
        *("create", "rolebinding", "readers", "--clusterrole=openscale-byok-credentials-reader", "--user=reader"),
        *("-n", bound.namespace, "--as=an-admin"),
    )
    bound.until(lambda: reads_credentials(bound, "reader"), "what an admin granted is in force")
    assert not reads_credentials(bound, "an-admin")
    assert not reads_credentials(bound, "an-edit")


def test_controllers_delete_what_goes_with_its_owner_or_namespace(bound: Team) -> None:
    """They are let through for that alone: neither makes a binding nor changes one."""
    masters = "system:masters"
    grant(bound, COLLECTOR, ("rootkeybindings", ALL, ()))
    grant(bound, NAMESPACES, ("rootkeybindings", ALL, ()))
    grant(bound, "somebody", ("rootkeybindings", ALL, ()))
    passes = {"delete", "delete all", "owner", *NOT_LOOKED_AT}
    expected = {does: "passes" if does in passes else REFUSED for does in (*LOOKED_AT, *NOT_LOOKED_AT)}
    for user in (COLLECTOR, NAMESPACES):
        assert {does: outcome(bound, as_user(user), does) for does in expected} == expected
    near = "system:serviceaccount:kube-systems:namespace-controller"
    grant(bound, near, ("rootkeybindings", ALL, ()))
    assert outcome(bound, as_user(near), "delete") == REFUSED
    assert outcome(bound, as_user("somebody", masters), "delete") == "passes", "who may do all may bind"


def test_a_binding_goes_with_its_owner_and_with_its_namespace(bound: Team) -> None:
    """The real controllers delete bindings, the operator takes its finalizer off, and nothing hangs."""
    scene = bound.scene
    if not scene.cluster.has_controller_manager:
        pytest.skip("no controllers here")
    bound.source("owner", any="thing")
    reference = owner(bound) | {"name": "owner", "uid": bound.get("Secret", "owner")["metadata"]["uid"]}
    bound.patch("RootKeyBinding", "a", {"metadata": {"ownerReferences": [reference]}})
    bound.delete("Secret", "owner")
    bound.until_gone("RootKeyBinding", "a", 40)
    bound.until_protected("global")
    assert bound.get("RootKeyBinding", "b")
    scene.api.delete("Namespace", "", bound.namespace)
    bound.until(lambda: not scene.api.get("Namespace", "", bound.namespace), "the namespace is gone", 45)


def test_who_may_write_a_status(bound: Team) -> None:
    """The operator, the gateway for data marts, the one who restores; nobody else, though they may do everything."""
    bound.marts("m")
    bound.until_ready("m")
    names = {"OpenScaleInstance": "prod", "RootKeyBinding": "a", "DataMart": "m"}
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
        try:
            if method == "PUT":
                whole = bound.get(kind, names[kind])
                bound.scene.api.call("PUT", f"{where}/status?dryRun=All", whole, more=headers)
            else:
                bound.scene.api.call("PATCH", f"{where}/status?dryRun=All", {}, MERGE_PATCH, headers)
        except ApiError as error:
            return told(error)
        return "passes"

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
    bound.marts("m")
    bound.until_ready("m")

    def said(kind: str, name: str) -> str:
        where = f"{path(kind, bound.namespace, name)}/status?dryRun=All"
        try:
            bound.scene.api.call("PATCH", where, {}, MERGE_PATCH, as_user(GATEWAY))
        except ApiError as error:
            return str(error)
        return "passes"

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
    bound.marts("m")
    bound.until_ready("m")
    forged = {
        "status": {"sealedPassword": {"dataKey": "A" * 43, "envelope": "e", "sealedTime": "2026-01-01T00:00:00Z"}}
    }
    new = manifests.datamart(bound.namespace, "new", "prod", "new-db") | forged
    answer = bound.scene.api.call("POST", f"{path('DataMart', bound.namespace)}?dryRun=All", new)
    assert "sealedPassword" not in json.dumps(answer)
    before = bound.get("DataMart", "m")["status"]["sealedPassword"]
    assert bound.patch("DataMart", "m", forged)["status"]["sealedPassword"] == before
