"""A release over its life, by Helm's own engine on an API server of its own: definitions first, and never back."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
from helm_python import Config

from local_cluster import Cluster
from openscale_byok import __version__
from openscale_byok.resources import GROUP, KINDS
from stage import chart

NAME, CRDS, NAMESPACE = "byok", "byok-crds", "byok-system"
OLDER = "0.0.9"
DATA_MARTS = f"datamarts.{GROUP}"
SMALL: dict[str, Any] = {"gateway": {"replicas": 1}}
MART = {
    "instanceRef": {"name": "i"},
    "displayName": "kept",
    "database": {"type": "PostgreSQL", "host": "h", "port": 5432, "name": "n", "schema": "s", "username": "u"},
}


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """Nobody else's: a release's objects are the whole cluster's."""
    with Cluster.start() as started:
        started.kubectl("create", "namespace", NAMESPACE)
        yield started


@pytest.fixture(scope="module")
def helm(own: Cluster) -> Iterator[Config]:
    """Helm, as the cluster's admin, in the release's namespace."""
    with Config(kubeconfig_path=own.kubeconfig, namespace=NAMESPACE) as found:
        yield found


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both charts as they might have been a version ago: data marts have no displayName yet."""
    folder = tmp_path_factory.mktemp("older")
    for path in (chart.CHART, crds_chart()):
        shutil.copytree(path, folder / path.name)
        about = folder / path.name / "Chart.yaml"
        about.write_text(re.sub(r"(?m)^((?:app)?[vV]ersion): .*$", rf"\1: {OLDER}", about.read_text()))
        (definition,) = (folder / path.name).rglob("datamarts.yaml")
        definition.write_text(_without(definition.read_text(), "displayName"))
    return folder


def crds_chart() -> Path:
    """The chart of the definitions."""
    return chart.CHART.with_name("openscale-byok-crds")


def _without(text: str, field: str) -> str:
    """A definition without one property of its spec."""
    found = re.search(rf"(?m)^( +){field}:\n(?:\1 +.*\n)+", text)
    assert found is not None
    return text.replace(found[0], "", 1)


def definition(cluster: Cluster) -> tuple[str, bool]:
    """The version of the data marts' definition, and whether it knows displayName."""
    found = json.loads(cluster.kubectl("get", "crd", DATA_MARTS, "-o", "json").stdout)
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found["metadata"]["annotations"][f"{GROUP}/version"], "displayName" in schema


def test_no_operator_without_its_definitions(helm: Config) -> None:
    """Helm refuses it before anything is written, and says which two commands there are."""
    with pytest.raises(helm_python.HelmError, match=r"is not there\. Install the definitions first: helm upgrade"):
        helm.install(chart.CHART, NAME, SMALL)


def test_definitions_go_first_and_stay_when_the_operator_goes_back(own: Cluster, helm: Config, older: Path) -> None:
    """An upgrade of the operator waits for its definitions; its rollback leaves them, and no field is lost."""
    helm.install(older / crds_chart().name, CRDS)
    helm.install(older / chart.CHART.name, NAME, SMALL)
    assert definition(own) == (OLDER, False)
    with pytest.raises(
        helm_python.HelmError, match=rf"is of version {OLDER}, this chart is {__version__}.*Upgrade the"
    ):
        helm.upgrade(chart.CHART, NAME, SMALL)

    helm.upgrade(crds_chart(), CRDS)
    helm.upgrade(chart.CHART, NAME, SMALL)
    assert definition(own) == (__version__, True)
    mart = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "DataMart", "metadata": {"name": "m"}, "spec": MART}
    own.kubectl("wait", "--for=condition=Established", f"crd/{DATA_MARTS}", "--timeout=30s")
    own.kubectl("create", "-n", NAMESPACE, "-f", "-", input=json.dumps(mart))

    helm.rollback(NAME, version=1)
    assert definition(own) == (__version__, True)
    own.kubectl("label", "-n", NAMESPACE, "datamart", "m", "a=b")
    assert own.kubectl("get", "-n", NAMESPACE, "datamart", "m", "-o", "jsonpath={.spec.displayName}").stdout == "kept"
    helm.upgrade(chart.CHART, NAME, SMALL)


def test_nothing_brings_an_older_definition_back(own: Cluster, helm: Config, older: Path) -> None:
    """Not the rollback of its own release, no older chart, no kubectl apply: each is refused with the cure."""
    with pytest.raises(helm_python.HelmError, match=rf"is of version {__version__} and does not go back to {OLDER}"):
        helm.rollback(CRDS, version=1)
    with pytest.raises(helm_python.HelmError, match="definitions never go back"):
        helm.upgrade(older / crds_chart().name, CRDS)
    live = json.loads(own.kubectl("get", "crd", DATA_MARTS, "-o", "json").stdout)
    del live["metadata"]["annotations"][f"{GROUP}/version"]
    refused = own.kubectl("replace", "-f", "-", input=json.dumps(live), check=False)
    assert "does not go back to 0.0.0: fields that this one does not know would be dropped" in refused.stderr
    assert definition(own) == (__version__, True)
    own.kubectl("annotate", "crd", DATA_MARTS, "example.com/a=b")
    helm.upgrade(crds_chart(), CRDS)


def test_an_older_operator_works_with_newer_definitions(own: Cluster, helm: Config, older: Path) -> None:
    """Also where it would render some itself: those that are there stay, whoever made them."""
    helm.upgrade(older / chart.CHART.name, NAME, SMALL)
    assert definition(own) == (__version__, True)
    helm.upgrade(chart.CHART, NAME, SMALL)


def test_definitions_of_another_are_taken_on_purpose_only(own: Cluster, helm: Config) -> None:
    """With `crds.enabled` a release does not quietly take over what kubectl or another release made."""
    tried = SMALL | {"crds": {"enabled": True}}
    with pytest.raises(
        helm_python.HelmError, match=rf"of the release {CRDS} in namespace .*--take-ownership --set crds"
    ):
        helm.upgrade(chart.CHART, NAME, tried)
    crds = [f"{kind.PLURAL}.{GROUP}" for kind in KINDS]
    owner = {"meta.helm.sh/release-name": CRDS, "meta.helm.sh/release-namespace": NAMESPACE}
    own.kubectl("annotate", "crd", *crds, *(f"{name}-" for name in owner))
    with pytest.raises(helm_python.HelmError, match=r"of no Helm release \(kubectl apply\).*crds\.enabled=false"):
        helm.upgrade(chart.CHART, NAME, tried)
    with pytest.raises(helm_python.HelmError, match="add both: --take-ownership --set takeOwnership=true"):
        helm.upgrade(crds_chart(), CRDS)
    taken = {"crds": {"enabled": True, "takeOwnership": True}}
    with helm_python.Chart.load(chart.CHART) as loaded:
        rendered = helm.render(loaded, SMALL | taken, name=NAME, namespace=NAMESPACE)
    assert f"name: {DATA_MARTS}" in "".join(rendered.values())
    own.kubectl("annotate", "crd", *crds, *(f"{name}={value}" for name, value in owner.items()))


def roles(cluster: Cluster) -> set[str]:
    """The namespaces in which the operator may read Secrets."""
    found = json.loads(cluster.kubectl("get", "roles", "-A", "-o", "json").stdout)["items"]
    name = f"{NAME}-openscale-byok-secrets"
    return {one["metadata"]["namespace"] for one in found if one["metadata"]["name"] == name}


def notes(helm: Config, values: dict[str, Any]) -> str:
    """What Helm prints at the end."""
    with helm_python.Chart.load(chart.CHART) as loaded:
        return helm.render(loaded, values, name=NAME, namespace=NAMESPACE)["openscale-byok/templates/NOTES.txt"]


def test_a_namespace_that_is_not_there_fails_nothing(own: Cluster, helm: Config) -> None:
    """Not yet, or not any more: it is skipped and named; once it is there, the next upgrade grants in it."""
    own.kubectl("create", "namespace", "team-a")
    granted = SMALL | {"secretAccess": {"namespaces": ["team-a", "team-b", NAMESPACE]}}
    helm.upgrade(chart.CHART, NAME, granted)
    assert roles(own) == {"team-a", NAMESPACE}
    assert "are not there, so nothing was granted in them:\nteam-b. Once they are" in notes(helm, granted)
    own.kubectl("create", "namespace", "team-b")
    helm.upgrade(chart.CHART, NAME, granted)
    assert roles(own) == {"team-a", "team-b", NAMESPACE}
    assert "nothing was granted in them" not in notes(helm, granted)
    if own.has_controller_manager:
        own.kubectl("delete", "namespace", "team-a")
        helm.upgrade(chart.CHART, NAME, granted)
        assert roles(own) == {"team-b", NAMESPACE}


def test_every_object_is_one_that_the_api_server_takes(own: Cluster, helm: Config) -> None:
    """Each object of every variant passes a strict server-side dry run: no unknown field, no value out of bounds."""
    own.kubectl("create", "namespace", "strict")
    for values in VARIANTS:
        documents = chart.render({"crds": {"check": False}} | values, namespace="strict", release=NAME)
        listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        done = own.kubectl(*arguments, "-f", "-", input=listing, check=False)
        assert done.returncode == 0, (values, done.stderr)


EACH_POD: dict[str, Any] = {
    "extraVolumes": [{"name": "v", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "extraContainers": [{"name": "c", "image": "example.com/c:1"}],
    "extraInitContainers": [{"name": "d", "image": "example.com/d:1"}],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["h"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.2"]},
    "affinity": {"podAntiAffinity": {}},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
    "commonLabels": {"example.com/a": "b"},
    "commonAnnotations": {"example.com/a": "b"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "strict"}}],
}
FILE = {"settings": {"auditFile": "/var/log/openscale-byok/audit.log"}}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"crds": {"enabled": True}},
    EACH_POD,
    FILE | {"audit": {"persistence": {"enabled": True}}},
    FILE | {"audit": {"persistence": {"enabled": True, "type": "emptyDir"}}},
    {"networkPolicy": {"enabled": True}, "gateway": {"networkPolicy": {"enabled": True}}},
    {"gateway": {"tls": {"secretName": "t"}, "podDisruptionBudget": {"minAvailable": "50%"}}},
    {"secretAccess": {"clusterWide": True}, "trustedProfiles": {"enabled": True}},
]
