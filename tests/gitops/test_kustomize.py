"""The examples for kustomize, built by kubectl's own: names reach the fields that name, protection reaches all."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from local_cluster import Cluster
from openscale_byok.resources import API_VERSION, KINDS
from stage import kustomize

EXAMPLES = Path(__file__).parents[2] / "examples"
KUSTOMIZE = EXAMPLES / "kustomize"
Built = dict[tuple[str, str], dict[str, Any]]
OURS = {"DataMart", "OpenScaleInstance", "RootKeyBinding"}


def build(cluster: Cluster, folder: Path) -> Built:
    """What kustomize makes of a folder, by kind and name."""
    text = cluster.kubectl("kustomize", str(folder)).stdout
    return {(found["kind"], found["metadata"]["name"]): found for found in yaml.safe_load_all(text)}


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """A team's own overlay beside our folders: all three kinds, generated Secrets, and a prefix of its names."""
    where = KUSTOMIZE / "overlays" / f"test-{os.getpid()}"
    where.mkdir()
    try:
        (where / "role.yaml").write_text((EXAMPLES / "workload-role.yaml").read_text())
        (where / "bind.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "openscale.byok.dev/v1alpha1",
                    "kind": "RootKeyBinding",
                    "metadata": {"name": "second"},
                    "spec": {
                        "instanceRef": {"name": "openscale"},
                        "rootKey": {"crn": "ROOT_KEY_CRN"},
                        "credentials": {"trustedProfile": {"id": "Profile-1", "serviceAccountName": "profile"}},
                    },
                }
            )
        )
        (where / "account.yaml").write_text("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: profile\n")
        yield where
    finally:
        for path in where.iterdir():
            path.unlink()
        where.rmdir()


KUSTOMIZATION = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "namePrefix": "prod-",
    "resources": ["../../keys", "../../data-marts", "role.yaml", "bind.yaml", "account.yaml"],
    "secretGenerator": [
        {"name": "key-protect", "literals": ["apikey=an-api-key"]},
        {"name": "scores-password", "type": "openscale.byok.dev/handover", "literals": ["password=a-password"]},
    ],
}


def test_a_prefix_reaches_every_field_that_names(cluster, overlay):
    """Instance, binding, Secrets with digests, ServiceAccount and a Role's resourceNames: all name what is there."""
    components = {"components": ["../../components/references"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(KUSTOMIZATION | components))
    built = build(cluster, overlay)
    (api_key,) = (name for kind, name in built if kind == "Secret" and name.startswith("prod-key-protect-"))
    (password,) = (name for kind, name in built if kind == "Secret" and name.startswith("prod-scores-password-"))
    instance = built["OpenScaleInstance", "prod-openscale"]["spec"]
    first, second = (built["RootKeyBinding", f"prod-{n}"]["spec"] for n in ("openscale-root-key", "second"))
    mart = built["DataMart", "prod-scores"]["spec"]
    assert instance["credentials"]["apiKeySecretRef"]["name"] == api_key
    assert {found["instanceRef"]["name"] for found in (first, second, mart)} == {"prod-openscale"}
    assert second["credentials"]["trustedProfile"]["serviceAccountName"] == "prod-profile"
    assert mart["database"]["password"]["secretRef"]["name"] == password
    assert built["Role", "prod-read-scores"]["rules"][0]["resourceNames"] == ["prod-scores"]
    assert built["Secret", password]["type"] == "openscale.byok.dev/handover"
    assert base64.b64decode(built["Secret", password]["data"]["password"]) == b"a-password"


def test_without_the_component_a_prefix_breaks_them(cluster, overlay):
    """kustomize does not know our fields by itself: what the component is for."""
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(KUSTOMIZATION))
    built = build(cluster, overlay)
    assert built["DataMart", "prod-scores"]["spec"]["instanceRef"]["name"] == "openscale"


def test_each_reference_of_the_kinds_is_configured(cluster, crds):
    """A field of the CRDs that names another object, and that the component forgot, would break under a prefix."""
    configured = yaml.safe_load((KUSTOMIZE / "components" / "references" / "references.yaml").read_text())
    known = {
        (field["kind"], field["path"])
        for reference in configured["nameReference"]
        for field in reference["fieldSpecs"]
        if field["kind"] in OURS
    }
    text = crds.kubectl("get", "crd", "-o", "yaml").stdout
    found = set()
    for crd in yaml.safe_load(text)["items"]:
        if crd["spec"]["names"]["kind"] in OURS:
            spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            found |= {(crd["spec"]["names"]["kind"], path) for path in references(spec, "spec")}
    assert known == found


def references(schema: dict[str, Any], where: str) -> Iterator[str]:
    """The paths of fields that name another object: the name in a ...Ref, and a ...ServiceAccountName."""
    for name, inner in schema.get("properties", {}).items():
        path = f"{where}/{name}"
        if name.endswith("Ref"):
            yield f"{path}/name"
        elif name.lower().endswith("serviceaccountname"):
            yield path
        else:
            yield from references(inner, path)


def test_protection_reaches_every_data_mart_and_namespace(cluster):
    """One component, whatever the data marts: nobody has to think of it for each."""
    built = build(cluster, KUSTOMIZE / "overlays" / "production" / "data-marts")
    assert built
    assert all(found["spec"]["deletionProtection"] is True for found in built.values())
    (namespace,) = (found for (kind, _), found in build(cluster, KUSTOMIZE / "tenant").items() if kind == "Namespace")
    assert namespace["metadata"]["labels"] == {"openscale.byok.dev/deletion-protection": "true"}


def test_data_marts_are_built_apart_from_keys(cluster):
    """A mistake among the data marts touches no key: neither build holds the other's kinds."""
    production = KUSTOMIZE / "overlays" / "production"
    assert {kind for kind, _ in build(cluster, production / "keys")} == {"OpenScaleInstance", "RootKeyBinding"}
    assert {kind for kind, _ in build(cluster, production / "data-marts")} == {"DataMart"}


def test_what_must_not_go_asks_first(cluster):
    """Argo CD asks before it prunes or deletes any of the three kinds; Flux never prunes keys."""
    production = KUSTOMIZE / "overlays" / "production"
    for (kind, name), found in (
        build(cluster, production / "keys") | build(cluster, production / "data-marts")
    ).items():
        notes = found["metadata"]["annotations"]
        assert notes["argocd.argoproj.io/sync-options"] == "Prune=confirm,Delete=confirm", name
        assert (notes.get("kustomize.toolkit.fluxcd.io/prune") == "disabled") == (kind != "DataMart")


def test_waves_follow_the_references(cluster):
    """Who is named comes in an earlier wave than who names: Secrets, instance, binding, data marts."""
    production = KUSTOMIZE / "overlays" / "production"
    built = build(cluster, production / "keys") | build(cluster, production / "data-marts")
    waves = {
        kind: int(found["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for (kind, _), found in built.items()
    }
    assert waves == {"OpenScaleInstance": 0, "RootKeyBinding": 1, "DataMart": 2}
    for path in (EXAMPLES / "secrets").glob("*.yaml"):
        found = yaml.safe_load(path.read_text())
        if found.get("kind") in ("ExternalSecret", "SealedSecret"):
            assert int(found["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) < 0, path


def test_the_role_of_the_tenant_fits_what_is_applied(cluster):
    """It names the Secrets that keys and data marts name, and its account is bound in the team's namespace."""
    tenant = build(cluster, KUSTOMIZE / "tenant")
    named = {name for rule in tenant["Role", "gitops"]["rules"] for name in rule.get("resourceNames", ())}
    production = KUSTOMIZE / "overlays" / "production"
    built = build(cluster, production / "keys") | build(cluster, production / "data-marts")
    assert named == set(secrets_of(list(built.values())))
    assert tenant["RoleBinding", "gitops"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "gitops", "namespace": "team-a"}
    ]


def secrets_of(value: Any) -> Iterator[str]:
    """The names in each ...SecretRef, at any depth."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name.lower().endswith("secretref"):
            yield inner["name"]
        else:
            yield from secrets_of(inner)
    for inner in value if isinstance(value, list) else ():
        yield from secrets_of(inner)


@pytest.mark.parametrize("kind", ["OpenScaleInstance", "RootKeyBinding", "DataMart"])
def test_the_bases_say_what_the_plain_examples_say(kind):
    """Whoever goes from `kubectl apply` to Git finds the same objects, but for what Git adds."""
    plain = {found["kind"]: found for path in EXAMPLES.glob("*.yaml") for found in yaml.safe_load_all(path.read_text())}
    based = {
        found["kind"]: found
        for folder in ("keys", "data-marts")
        for path in (KUSTOMIZE / folder).glob("*.yaml")
        for found in yaml.safe_load_all(path.read_text())
    }
    ours, theirs = based[kind]["spec"], plain[kind]["spec"]
    assert based[kind]["apiVersion"] == API_VERSION
    differs = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differs <= {"globalKeyPolicy", "dataKeyCacheSeconds"}


# The operator itself -----------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / kustomize.FOLDER
CHART_LABELS = {"app.kubernetes.io/managed-by", "helm.sh/chart"}
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir())


def test_what_is_generated_is_what_the_chart_renders_now():
    """Nobody changed the chart, or a file of these by hand, without `make generate`."""
    stale = [str(path) for path, text in kustomize.files().items() if (ROOT / path).read_text() != text]
    assert not stale, "run `make generate`"


def test_each_overlay_stands_for_values_of_the_chart():
    """There is one for each set of values, and no other."""
    assert sorted(kustomize.OVERLAYS) == OVERLAYS


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_what_the_chart_renders(cluster, name):
    """Built, it is the chart with the overlay's values, without Helm's labels; and namespaces, CRDs, the emulator."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(DEPLOY / "overlays" / name)).stdout))
    found = {key_of(document): document for document in built}
    assert len(found) == len(built)
    expected = kustomize.objects(kustomize.OVERLAYS[name])
    assert not [key for key in expected if found.get(key) != expected[key]]
    assert not [key for key in found if CHART_LABELS & set(found[key]["metadata"].get("labels", {}))]
    besides = {key for key in found if key not in expected}
    namespaces = {"openscale-byok"} | ({"key-protect"} if name == "try-out" else set())
    assert {key[2] for key in besides if key[0] == "Namespace"} == namespaces
    assert len([key for key in besides if key[0] == "CustomResourceDefinition"]) == len(KINDS)
    emulator = {("Deployment", "key-protect", "key-protect"), ("Service", "key-protect", "key-protect")}
    others = {key for key in besides if key[0] not in ("Namespace", "CustomResourceDefinition")}
    assert others == (emulator if name == "try-out" else set())


def key_of(document: dict[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    return document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_valid(cluster, name):
    """Strictly by Kubernetes' own schemas, as every variant of the chart is."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(DEPLOY / "overlays" / name)).stdout))
    for document in built:
        if document["kind"] != "CustomResourceDefinition":
            kubernetes_validate.validate(document, "1.36", strict=True)


def test_the_emulator_is_reached_where_the_operator_looks_for_it(cluster):
    """The try-out's Service, port and public address are those of the operator's settings."""
    built = cluster.kubectl("kustomize", str(DEPLOY / "overlays" / "try-out")).stdout
    found = {key_of(document): document for document in yaml.safe_load_all(built)}
    service = found["Service", "key-protect", "key-protect"]
    address = f"http://key-protect.key-protect.svc:{service['spec']['ports'][0]['port']}"
    assert address == kustomize.EMULATOR
    (container,) = found["Deployment", "key-protect", "key-protect"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][container["args"].index("--public-url") + 1] == address
