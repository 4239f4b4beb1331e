"""What people copy for Argo CD, Flux, External Secrets Operator and sealed-secrets is what those CRDs take."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from local_cluster import Cluster
from local_cluster.errors import ClusterError
from openscale_byok.resources import HANDOVER_KEY, HANDOVER_TYPE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CRDS = Path(__file__).parent / "crds"
SECRETS = EXAMPLES / "secrets"
NO_OBJECTS = {"kustomization.yaml", "references.yaml", "sops-rules.yaml", "argocd-cm.yaml"}
"""Files for kustomize, SOPS and Argo CD itself. What kustomize makes is tried elsewhere."""
DOCUMENTS = {
    f"{path.relative_to(EXAMPLES).as_posix()}:{number}": found
    for folder in ("argocd", "flux", "kustomize", "secrets")
    for path in sorted((EXAMPLES / folder).rglob("*.yaml"))
    if path.name not in NO_OBJECTS
    for number, found in enumerate(yaml.safe_load_all(path.read_text()))
}
CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f:key:9f8e7d6c-9f8e-4d7c-8b6a-9f8e7d6c5b4a"
)


@pytest.fixture(scope="module")
def served(crds: Cluster) -> Cluster:
    """The cluster, serving the others' kinds too."""
    files = sorted(CRDS.glob("*.yaml"))
    names = [f"crd/{yaml.safe_load(path.read_text())['metadata']['name']}" for path in files]
    crds.kubectl("apply", *(f"--filename={path}" for path in files))
    crds.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    return crds


def taken(cluster: Cluster, namespace: str, document: dict[str, Any]) -> None:
    """Have the API server look at it, strictly: no unknown field, none of another type. Nothing is stored.

    Raises:
        ClusterError: it refuses.
    """
    text = yaml.safe_dump(document).replace("ROOT_KEY_CRN", CRN)
    document = yaml.safe_load(text)
    if document["kind"] == "RoleBinding":
        document["subjects"][0]["namespace"] = namespace  # as kustomize does
    if document["kind"] != "Namespace":
        document["metadata"]["namespace"] = namespace
    cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=yaml.safe_dump(document))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_api_server_takes_it(served, namespace, name):
    """Every manifest, against the CRDs of whoever it is for."""
    taken(served, namespace, DOCUMENTS[name])


@pytest.mark.parametrize("name", ["secrets/external-secret-password.yaml:0", "flux/team-a.yaml:1"])
def test_a_typing_error_would_be_refused(served, namespace, name):
    """The check above is one: a field that those CRDs do not know is refused."""
    wrong = DOCUMENTS[name] | {"spec": DOCUMENTS[name]["spec"] | {"refreshPolicyy": "CreatedOnce"}}
    with pytest.raises(ClusterError, match="refreshPolicyy"):
        taken(served, namespace, wrong)


def test_what_hands_over_has_the_type_and_one_key():
    """Each recipe for a password makes a Secret that is consumed: the type, one key, and nobody who puts it back."""
    eso = yaml.safe_load((SECRETS / "external-secret-password.yaml").read_text())["spec"]
    assert (eso["refreshPolicy"], eso["target"]["creationPolicy"]) == ("CreatedOnce", "Orphan")
    assert eso["target"]["template"]["type"] == HANDOVER_TYPE
    assert eso["target"]["template"]["mergePolicy"] == "Replace"
    assert list(eso["target"]["template"]["data"]) == [HANDOVER_KEY]
    sealed = yaml.safe_load((SECRETS / "sealed-secret-password.yaml").read_text())["spec"]
    assert sealed["template"]["type"] == HANDOVER_TYPE
    assert list(sealed["encryptedData"]) == [HANDOVER_KEY]
    notes = sealed["template"]["metadata"]["annotations"]
    assert notes == {"sealedsecrets.bitnami.com/skip-set-owner-references": "true"}


def test_sops_leaves_the_type_to_be_read():
    """What SOPS encrypts is the values; a Secret's type and names stay for reviewers, and for Flux."""
    (rule,) = yaml.safe_load((SECRETS / "sops-rules.yaml").read_text())["creation_rules"]
    assert rule["encrypted_regex"] == "^(data|stringData)$"


def test_every_recipe_is_on_the_page():
    """docs/gitops.md names each file of examples that is for a GitOps tool, and none that is not there."""
    page = (ROOT / "docs" / "gitops.md").read_text()
    files = [p for folder in ("argocd", "flux", "secrets") for p in (EXAMPLES / folder).glob("*.yaml")]
    assert not [path.name for path in files if f"examples/{path.relative_to(EXAMPLES).as_posix()}" not in page]
