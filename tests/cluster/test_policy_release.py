"""The policies as Helm installs them, on an API server of their own: type-checked, upgraded, and once in a cluster."""

import json
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
from helm_python import Chart, Config

from local_cluster import Cluster
from stage import chart

NAME, NAMESPACE = "byok", "byok-system"
SMALL: dict[str, Any] = {"gateway": {"replicas": 1}, "crds": {"enabled": True}}


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """Nobody else's: a release's objects are the whole cluster's."""
    with Cluster.start() as started:
        yield started


@pytest.fixture(scope="module")
def installed(own: Cluster) -> Cluster:
    """One release, by Helm's own engine."""
    with config(own, NAMESPACE) as helm, Chart.load(chart.CHART) as loaded:
        helm.install(loaded, NAME, SMALL, namespace=NAMESPACE, create_namespace=True)
    return own


def config(cluster: Cluster, namespace: str) -> Config:
    """Helm, as the cluster's admin."""
    return Config(kubeconfig_path=cluster.kubeconfig, namespace=namespace)


def policies(cluster: Cluster) -> list[dict[str, Any]]:
    """The policies as the API server has them."""
    return list(json.loads(cluster.kubectl("get", "validatingadmissionpolicies", "-o", "json").stdout)["items"])


def test_no_expression_is_doubtful(installed: Cluster) -> None:
    """Kubernetes' own type checker knows every field that they speak of."""
    if not installed.has_controller_manager:
        pytest.skip("no controller-manager here: it is what checks types")
    checked = ("--for=jsonpath={.status.observedGeneration}", "--timeout=30s")
    installed.kubectl("wait", "validatingadmissionpolicies", "--all", *checked)
    assert {one["metadata"]["name"]: one["status"]["typeChecking"] for one in policies(installed)} == {
        f"openscale-byok-{name}": {}
        for name in (
            *("accounts", "bind", "crd-deletion", "crd-rollback", "datamart-deletion", "finalizer"),
            *("namespace-deletion", "secrets", "status"),
        )
    }


def test_a_release_is_upgraded_under_its_own_policies(installed: Cluster) -> None:
    """Nothing of what Helm writes is refused, and what was switched off is gone."""
    with config(installed, NAMESPACE) as helm, Chart.load(chart.CHART) as loaded:
        helm.upgrade(loaded, NAME, SMALL | {"admissionPolicies": {"secrets": {"enabled": False}}})
        assert len(policies(installed)) == 8
        helm.upgrade(loaded, NAME, SMALL)
        assert len(policies(installed)) == 9


def test_a_second_release_is_refused_with_a_sentence(installed: Cluster) -> None:
    """Another name, or the same name in another namespace: it says which release is there, and writes nothing."""
    sentence = (
        f"one release for each cluster: the release {NAME} in namespace {NAMESPACE} is there, and its operator serves "
        f"all namespaces; upgrade that one (helm upgrade {NAME} --namespace {NAMESPACE}), or uninstall it first"
    )
    for name, namespace in (("second", NAMESPACE), (NAME, "default"), ("second", "default")):
        with config(installed, namespace) as helm, Chart.load(chart.CHART) as loaded:
            with pytest.raises(helm_python.HelmError, match="one release for each cluster") as refused:
                helm.install(loaded, name, SMALL, namespace=namespace)
            assert sentence in str(refused.value)
    for kind in ("deployments", "clusterroles"):
        found = json.loads(installed.kubectl("get", kind, "-A", "-o", "json").stdout)["items"]
        assert not [one for one in found if one["metadata"]["name"].startswith("second")]


def test_uninstalled_it_leaves_the_definitions(installed: Cluster) -> None:
    """They are kept, and go only once they are annotated; a release that keeps none takes its own along."""
    with config(installed, NAMESPACE) as helm, Chart.load(chart.CHART) as loaded:
        helm.uninstall(NAME)
        assert policies(installed) == []
        assert "datamarts.openscale.byok.dev" in installed.kubectl("get", "crds", "-o", "name").stdout
        helm.install(loaded, NAME, SMALL | {"crds": {"enabled": True, "keep": False}}, namespace=NAMESPACE)
        helm.uninstall(NAME)
        assert policies(installed) == []
        assert "datamarts.openscale.byok.dev" not in installed.kubectl("get", "crds", "-o", "name").stdout
