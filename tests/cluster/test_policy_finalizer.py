"""The chart's policy on our finalizer, on a real API server: nobody takes it off in passing, or without a right."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from local_cluster import Cluster
from openscale_byok.resources import FINALIZER
from stage import manifests
from stage.api import MERGE_PATCH, ApiError, Object, path
from stage.impersonation import ALL, COLLECTOR, KINDS, NAMESPACES, OPERATOR, PASSES, REFUSED, as_user, grant, outcome_of
from stage.team import Team

JSON_PATCH = "application/json-patch+json"
EDITOR = tuple((kind, ALL, ()) for kind in KINDS)
FOREIGN = ["example.com/one", "example.com/two"]
HELD = {"OpenScaleInstance": "prod", "RootKeyBinding": "a", "DataMart": "held"}


@pytest.fixture
def held(team: Team) -> Iterator[Team]:
    """One of each kind with our finalizer and others, and no operator: it takes off what it need not hold."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.scene.operator.stop()
    mart = manifests.datamart(team.namespace, "held", "nowhere", "none")
    mart["metadata"]["finalizers"] = [FINALIZER]
    team.create(mart)
    for kind, name in HELD.items():
        team.patch(kind, name, {"metadata": {"finalizers": [FOREIGN[0], FINALIZER, FOREIGN[1]]}})
    yield team
    team.scene.operator.start()
    team.delete("DataMart", HELD["DataMart"])
    for kind, name in HELD.items():
        team.until(lambda kind=kind, name=name: freed(team, kind, name), f"the {kind} is kept by nobody else")


def freed(team: Team, kind: str, name: str) -> bool:
    """Leave our finalizer alone on what the operator sees; whether nothing foreign is left."""
    finalizers = team.get(kind, name).get("metadata", {}).get("finalizers", [])
    rest = [each for each in finalizers if each == FINALIZER and kind != "DataMart"]
    if finalizers != rest:
        with contextlib.suppress(ApiError):  # the operator was quicker
            team.patch(kind, name, {"metadata": {"finalizers": rest}})
    return finalizers == rest


def changed(team: Team, kind: str, finalizers: object, user: str, *groups: str) -> str:
    """What becomes of a merge patch of the finalizers; nothing is stored."""
    where, change = f"{path(kind, team.namespace, HELD[kind])}?dryRun=All", {"metadata": {"finalizers": finalizers}}
    headers = as_user(user, *groups)
    return outcome_of(lambda: team.scene.api.call("PATCH", where, change, MERGE_PATCH, headers))


def replaced(team: Team, kind: str, finalizers: list[str] | None) -> str:
    """What becomes of a PUT by the admin, as `kubectl replace` and Argo CD's `Replace=true` send it."""
    whole = team.get(kind, HELD[kind])
    whole["metadata"] = {name: whole["metadata"][name] for name in ("name", "namespace")}
    if finalizers is not None:
        whole["metadata"]["finalizers"] = finalizers
    whole["metadata"]["resourceVersion"] = team.get(kind, HELD[kind])["metadata"]["resourceVersion"]
    where = f"{path(kind, team.namespace, HELD[kind])}?dryRun=All"
    return outcome_of(lambda: team.scene.api.call("PUT", where, whole))


@pytest.mark.parametrize("kind", list(HELD))
def test_it_stays_on_what_is_not_being_deleted(held: Team, kind: str) -> None:
    """Merge patch, JSON Patch, replace: refused to everybody, the cluster's admin included; the operator passes."""
    grant(held, "binder", *EDITOR, ("openscaleinstances", ("bind",), ()))
    for user, groups in (("binder", ()), ("somebody", ("system:masters",)), (COLLECTOR, ("system:masters",))):
        assert changed(held, kind, FOREIGN, user, *groups) == REFUSED, user
        assert changed(held, kind, None, user, *groups) == REFUSED, user
    where = f"{path(kind, held.namespace, HELD[kind])}?dryRun=All"
    index = [{"op": "remove", "path": "/metadata/finalizers"}]
    assert outcome_of(lambda: held.scene.api.call("PATCH", where, index, JSON_PATCH)) == REFUSED
    assert replaced(held, kind, None) == REFUSED
    assert replaced(held, kind, FOREIGN) == REFUSED
    assert changed(held, kind, FOREIGN, OPERATOR, "system:masters") == PASSES


@pytest.mark.parametrize("kind", list(HELD))
def test_others_come_go_and_change_their_order(held: Team, kind: str) -> None:
    """Foreign finalizers are nobody's business, the garbage collector's own among them."""
    grant(held, "editor", *EDITOR)
    for finalizers in (
        [FINALIZER],
        [FOREIGN[1], FINALIZER, FOREIGN[0]],
        [*FOREIGN, FINALIZER, "example.com/three"],
    ):
        assert changed(held, kind, finalizers, "editor") == PASSES
        assert replaced(held, kind, finalizers) == PASSES
    for user in (COLLECTOR, NAMESPACES):
        assert changed(held, kind, [FINALIZER, "foregroundDeletion"], user, "system:masters") == PASSES


@pytest.mark.parametrize("kind", list(HELD))
def test_of_what_is_being_deleted_it_goes_by_who_decides_about_root_keys(held: Team, kind: str) -> None:
    """The way out where no operator runs any more: with `bind`; an editor waits for the operator."""
    held.delete(kind, HELD[kind])
    bind = {"OpenScaleInstance": "prod", "RootKeyBinding": "prod", "DataMart": "nowhere"}[kind]
    grant(held, "editor", *EDITOR)
    grant(held, "binder", *EDITOR, ("openscaleinstances", ("bind",), (bind,)))
    grant(held, "binder-of-another", *EDITOR, ("openscaleinstances", ("bind",), ("another",)))
    expected = {"editor": REFUSED, "binder": PASSES, "binder-of-another": REFUSED}
    assert {user: changed(held, kind, FOREIGN, user) for user in expected} == expected
    assert changed(held, kind, [FINALIZER], "editor") == PASSES


def test_kubectl_says_what_to_do(held: Team) -> None:
    """`kubectl replace` and an apply with `finalizers:` of its own are refused, with the cure; server-side merges."""
    manifest: Object = {
        "apiVersion": "openscale.byok.dev/v1alpha1",
        "kind": "OpenScaleInstance",
        "metadata": {"name": "prod", "namespace": held.namespace},
        "spec": held.get("OpenScaleInstance", "prod")["spec"],
    }
    cluster: Cluster = held.scene.cluster
    found = cluster.kubectl("replace", "-f", "-", input=json.dumps(manifest), check=False).stderr
    assert f'may not take the finalizer {FINALIZER} off OpenScaleInstance "prod"' in found
    assert "Keep it in metadata.finalizers (kubectl replace), or leave metadata.finalizers out of the manifest" in found
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))  # without finalizers: passes
    manifest["metadata"]["finalizers"] = [FOREIGN[0]]
    found = cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest), check=False).stderr
    assert "may not take the finalizer" in found
    server = ("apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f", "-")
    cluster.kubectl(*server, input=json.dumps(manifest))
    assert FINALIZER in held.get("OpenScaleInstance", "prod")["metadata"]["finalizers"]
    # What kubectl edit and `kubectl get | kubectl replace` send holds it, so they work.
    whole = held.get("OpenScaleInstance", "prod")
    whole["spec"]["dataKeyRevision"] = 1
    cluster.kubectl("replace", "-f", "-", input=json.dumps(whole))
    assert held.get("OpenScaleInstance", "prod")["spec"]["dataKeyRevision"] == 1


def test_the_plan_puts_back_what_is_missing(team: Team) -> None:
    """Where the policy was off, or somebody was the operator: instance and binding have it again, foreign ones stay."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    for kind, name in (("OpenScaleInstance", "prod"), ("RootKeyBinding", "a")):
        headers, change = as_user(OPERATOR, "system:masters"), {"metadata": {"finalizers": [FOREIGN[0]]}}
        team.scene.api.call("PATCH", path(kind, team.namespace, name), change, MERGE_PATCH, headers)

        def there(kind: str = kind, name: str = name) -> bool:
            return set(team.get(kind, name)["metadata"]["finalizers"]) == {FOREIGN[0], FINALIZER}

        team.until(there, f"the {kind} has it again, beside the other")
        team.patch(kind, name, {"metadata": {"finalizers": [FINALIZER]}})
    team.marts("m")
    team.until_ready("m")
    team.prove(key)


def test_the_status_is_no_way_around(held: Team) -> None:
    """A PATCH of the status cannot take it off either: the API server keeps metadata as they are there."""
    status = {"metadata": {"finalizers": None}, "status": {}}
    before = held.get("RootKeyBinding", "a")["metadata"]["finalizers"]
    held.patch("RootKeyBinding", "a", status, status=True)
    assert held.get("RootKeyBinding", "a")["metadata"]["finalizers"] == before
    with pytest.raises(ApiError, match="may not take the finalizer"):
        held.patch("RootKeyBinding", "a", {"metadata": {"finalizers": ["openscale.byok.dev/other"]}})
