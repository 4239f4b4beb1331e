"""The chart's policy on bindings, on a real API server: who may make, change, mark and delete one."""

import shlex

import pytest

from openscale_byok.resources import ABANDON_ANNOTATION, FINALIZER, GROUP
from stage import manifests
from stage.api import MERGE_PATCH, RESTORER, ApiError, path
from stage.impersonation import (
    ALL,
    COLLECTOR,
    NAMESPACES,
    OPERATOR,
    REFUSED,
    as_user,
    grant,
    outcome_of,
)
from stage.team import Team

CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)


def outcome(team: Team, headers: dict[str, str], does: str, name: str = "a") -> str:
    """What the API server says, of a dry run: "passes", or who refuses."""
    one, many = path("RootKeyBinding", team.namespace, name), path("RootKeyBinding", team.namespace)
    changes = {
        "spec": {"spec": {"dataKeyCacheSeconds": 120}},
        "owner": {"metadata": {"ownerReferences": [owner(team)]}},
        "label": {"metadata": {"labels": {"a": "b"}}},
        "annotation": {"metadata": {"annotations": {"a": "b"}}},
        "finalizer": {"metadata": {"finalizers": ["example.com/mine", FINALIZER, "example.com/yours"]}},
        "the gateway's label": {"metadata": {"labels": {f"{GROUP}/managed-by": "gateway"}}},
        "its former label": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "openscale-byok-gateway"}}},
        "Helm's label": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
        "abandon": {"metadata": {"annotations": {ABANDON_ANNOTATION: "0123456789abcdef"}}},
    }

    def request() -> None:
        if does == "create":
            instance = {"a": "prod", "b": "other"}[name]
            new = manifests.binding(team.namespace, "new", instance, CRN)
            team.scene.api.call("POST", f"{many}?dryRun=All", new, more=headers)
        elif does.startswith("delete"):
            where = many if does == "delete all" else one
            team.scene.api.call("DELETE", f"{where}?dryRun=All", more=headers)
        else:
            team.scene.api.call("PATCH", f"{one}?dryRun=All", changes[does], MERGE_PATCH, headers)

    return outcome_of(request)


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


MARKS = ("the gateway's label", "its former label", "abandon")
LOOKED_AT = ("create", "spec", "owner", "delete", "delete all", *MARKS)
NOT_LOOKED_AT = ("label", "annotation", "finalizer", "Helm's label")


def test_who_may_bind(bound: Team) -> None:
    """Rights on bindings alone make none, change none, delete none, and give none away; other metadata need no more."""
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
    passes = {"delete", "delete all", "owner", *MARKS, *NOT_LOOKED_AT}
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


def test_the_operator_and_who_restores_put_marks_and_nothing_else(bound: Team) -> None:
    """Neither needs `bind` for metadata, with the rights of an editor; both need it for a spec, an owner, an object."""
    grant(bound, OPERATOR, ("rootkeybindings", ALL, ()))
    grant(bound, RESTORER, ("rootkeybindings", ALL, ()))
    expected = dict.fromkeys((*MARKS, *NOT_LOOKED_AT), "passes") | dict.fromkeys(("create", "spec", "owner"), REFUSED)
    assert {does: outcome(bound, as_user(RESTORER), does) for does in expected} == expected
    # What else the operator may not, the policy on accounts says.
    assert {does: outcome(bound, as_user(OPERATOR), does) for does in ("create", "spec", "owner", "finalizer")} == {
        "create": REFUSED, "spec": REFUSED, "owner": REFUSED, "finalizer": "passes",
    }  # fmt: skip


def test_a_mark_is_looked_at_when_it_goes_as_when_it_comes(bound: Team) -> None:
    """Who may not set the gateway's label or the owner's word may not take them off, nor change them, either."""
    grant(bound, "editor", ("rootkeybindings", ALL, ()))
    marks = {"labels": {f"{GROUP}/managed-by": "gateway", "a": "b"}, "annotations": {ABANDON_ANNOTATION: "1", "a": "b"}}
    bound.patch("RootKeyBinding", "a", {"metadata": marks})

    def said(change: dict[str, object]) -> str:
        where = f"{path('RootKeyBinding', bound.namespace, 'a')}?dryRun=All"
        call = bound.scene.api.call
        return outcome_of(lambda: call("PATCH", where, {"metadata": change}, MERGE_PATCH, as_user("editor")))

    assert said({"labels": {f"{GROUP}/managed-by": None}}) == REFUSED
    assert said({"labels": None}) == REFUSED
    assert said({"annotations": {ABANDON_ANNOTATION: "2"}}) == REFUSED
    assert said({"annotations": None}) == REFUSED
    assert said({"labels": {"a": None}, "annotations": {"a": "c"}}) == "passes"
