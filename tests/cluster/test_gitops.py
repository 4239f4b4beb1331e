"""A GitOps tool and our operator on one API server: each writes its own fields, and its account may do it all."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_cluster.errors import ClusterError
from stage.team import Team

KUSTOMIZE = Path(__file__).parents[2] / "examples" / "kustomize"
MANAGER = "argocd-controller"
KINDS = ("OpenScaleInstance", "RootKeyBinding", "DataMart")
Object = dict[str, Any]


@dataclass
class Tool:
    """A GitOps tool: applies what Git holds, by kubectl, as an account of the team."""

    team: Team
    kubeconfig: Path

    def kubectl(self, *args: str, given: list[Object] | None = None) -> str:
        """Run kubectl as this account."""
        text = yaml.safe_dump_all(given) if given is not None else None
        where = (f"--kubeconfig={self.kubeconfig}", f"--namespace={self.team.namespace}")
        return self.team.scene.cluster.kubectl(*where, *args, input=text).stdout

    def apply(self, manifests: list[Object], *how: str) -> None:
        """Server-side apply, as Argo CD and Flux do it."""
        self.kubectl("apply", "--server-side", f"--field-manager={MANAGER}", *how, "-f", "-", given=manifests)


def git(team: Team, *folders: str) -> list[Object]:
    """What Git holds, as kustomize builds it, for this team's namespace and root key."""
    found = []
    for folder in folders:
        built = team.scene.kubectl("kustomize", str(KUSTOMIZE / folder)).replace("team-a", team.namespace)
        found += list(yaml.safe_load_all(built))
    for document in found:
        if document["kind"] == "OpenScaleInstance":
            document["spec"]["serviceInstanceId"] = team.ids.setdefault("openscale", SERVICE_INSTANCE_ID)
        if document["kind"] == "RootKeyBinding":
            document["spec"]["rootKey"]["crn"] = team.keys[0]
    return found


SERVICE_INSTANCE_ID = "3f0c2a9e-5b7d-4c1e-8f6a-9d2b4e7c1a51"


def as_account(team: Team, folder: Path, name: str) -> Tool:
    """A ServiceAccount's own token."""
    token = team.scene.cluster.token_for(team.namespace, name)
    team.vault.add(token)
    return Tool(team, team.scene.cluster.kubeconfig_for_token(token, folder / f"{name}.kubeconfig"))


@pytest.fixture
def tool(team: Team, tmp_path: Path) -> Iterator[Tool]:
    """The example's account with the example's Role; the API key and a hand-over Secret are there."""
    team.root_keys()
    tenant = [found for found in git(team, "tenant") if found["kind"] != "Namespace"]
    team.scene.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(tenant))
    team.passwords["scores"] = team.password()
    team.source("scores-password", handover=True, password=team.passwords["scores"])
    return as_account(team, tmp_path, "gitops")


def until_all_is_well(team: Team) -> None:
    """Sealed under the customer's root key, and its Secret consumed."""
    team.until_protected(team.keys[0], "openscale")
    team.until_reason("DataMart", "scores", "HandedOver", "SourceRemoved")
    team.until_settled()


def stored(team: Team) -> dict[str, Object]:
    """What the API server holds of the three."""
    names = {"OpenScaleInstance": "openscale", "RootKeyBinding": "openscale-root-key", "DataMart": "scores"}
    return {kind: team.get(kind, name) for kind, name in names.items()}


def test_applied_again_nothing_differs(tool: Tool) -> None:
    """No ignoreDifferences is needed: once the operator has done all its work, its next apply changes nothing."""
    team, manifests = tool.team, git(tool.team, "overlays/production/keys", "overlays/production/data-marts")
    tool.apply(manifests)
    until_all_is_well(team)
    before = stored(team)
    diff = tool.kubectl("diff", "--server-side", f"--field-manager={MANAGER}", "-f", "-", given=manifests)
    assert diff == "", "as Argo CD's server-side diff asks"
    tool.apply(manifests)
    assert stored(team) == before, "not even a resourceVersion"
    for kind, found in before.items():
        for owner in found["metadata"]["managedFields"]:
            if owner["manager"] == MANAGER:
                assert "f:status" not in owner["fieldsV1"], kind
            else:
                assert "f:spec" not in owner["fieldsV1"], f"{owner['manager']} wrote a spec of {kind}"
                allowed = {"f:finalizers"} if not owner.get("subresource") else set()
                assert owner["fieldsV1"].get("f:metadata", {}).keys() <= allowed, (kind, owner["manager"])
    manifest = {found["kind"]: found["spec"] for found in manifests}
    for kind in KINDS:
        assert within(manifest[kind], before[kind]["spec"]), "what Git holds is what is there, also by a plain diff"
    team.prove(team.keys[0], instance="openscale")


def within(wanted: Any, found: Any) -> bool:
    """Whether all of it is there as it is; more may be, where the schema fills in defaults."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(name in found and within(wanted[name], found[name]) for name in wanted)
    return bool(wanted == found)


def test_client_side_apply_differs_as_little(tool: Tool) -> None:
    """Argo CD without ServerSideApply: its three-way merge takes off no finalizer and no default."""
    manifests = git(tool.team, "overlays/production/keys", "overlays/production/data-marts")
    tool.kubectl("apply", "-f", "-", given=manifests)
    until_all_is_well(tool.team)
    before = stored(tool.team)
    assert tool.kubectl("diff", "-f", "-", given=manifests) == ""
    tool.kubectl("apply", "-f", "-", given=manifests)
    assert stored(tool.team) == before


def test_the_example_role_is_enough(tool: Tool) -> None:
    """All that a tool does in an object's life: make, change, look, prune. Nothing is refused, with our policies on."""
    team, manifests = tool.team, git(tool.team, "keys", "data-marts")
    tool.apply(manifests)
    until_all_is_well(team)
    for document in manifests:
        if document["kind"] == "DataMart":
            document["spec"]["displayName"] = "Scores"
        if document["kind"] == "OpenScaleInstance":
            document["spec"]["dataKeyRevision"] = 1
        if document["kind"] == "RootKeyBinding":
            document["spec"]["dataKeyCacheSeconds"] = 600
    tool.apply(manifests)
    until_all_is_well(team)
    tool.kubectl("get", "datamarts,openscaleinstances,rootkeybindings", "-o", "name")
    for name in ("datamart/scores", "openscaleinstance/openscale", "rootkeybinding/openscale-root-key"):
        tool.kubectl("delete", name, "--wait=false")
    for kind, name in (("DataMart", "scores"), ("OpenScaleInstance", "openscale")):
        team.until_gone(kind, name)
    team.until_gone("RootKeyBinding", "openscale-root-key")


WITHOUT = {
    "bind": 'the verb "bind" is missing',
    "get": 'the verb "get" is missing on secrets',
    "patch": 'cannot patch resource "openscaleinstances"',
    "create": "cannot create resource",
}


@pytest.mark.parametrize("verb", WITHOUT)
def test_the_example_role_is_not_more_than_enough(tool: Tool, verb: str) -> None:
    """Without one of its verbs the same manifests are refused, with a sentence that says which one is missing."""
    role = tool.team.get("Role", "gitops")
    rules = [rule | {"verbs": [v for v in rule["verbs"] if v != verb]} for rule in role["rules"]]
    tool.team.patch("Role", "gitops", {"rules": [rule for rule in rules if rule["verbs"]]})
    manifests = git(tool.team, "keys", "data-marts")

    def refused() -> bool:
        try:
            tool.apply(manifests, "--dry-run=server")
        except ClusterError as error:
            return WITHOUT[verb] in str(error)
        return False

    tool.team.until(refused, f"it is refused: {WITHOUT[verb]}")


def test_edit_and_binder_are_not_enough(team: Team, tmp_path: Path) -> None:
    """What one would give first: Kubernetes' own `edit` and the chart's binder. Neither may write an instance."""
    team.root_keys()
    team.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tool", "namespace": team.namespace}}
    )
    for role in ("edit", "openscale-byok-binder"):
        subject = f"--serviceaccount={team.namespace}:tool"
        team.scene.kubectl("create", "rolebinding", role, f"--clusterrole={role}", subject, "-n", team.namespace)
    tool = as_account(team, tmp_path, "tool")
    with pytest.raises(ClusterError, match='cannot patch resource "openscaleinstances"'):
        tool.apply(git(team, "keys"))
