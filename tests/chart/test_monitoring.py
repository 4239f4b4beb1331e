"""What Prometheus and Grafana are given: Services by default, and the Prometheus operator's kinds only when asked."""

from typing import Any

import helm_python
import pytest
import yaml

from stage import chart

ALL = {"metrics": {name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "rules", "dashboard")}}


def of_kind(values: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    return [one for one in chart.render(values) if one["kind"] == kind]


def test_nothing_of_the_prometheus_operator_is_there_unasked():
    """A cluster without its CRDs would refuse the whole release."""
    assert not [one for one in chart.render({}) if one["apiVersion"].startswith("monitoring.coreos.com/")]
    assert not of_kind({}, "ConfigMap")


def test_services_select_the_health_ports():
    """Each Service finds the pods of its component and their port named health, ready or not."""
    pods = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]
        for one in of_kind({}, "Deployment")
    }
    found = {one["metadata"]["name"]: one for one in of_kind({}, "Service") if "metrics" in one["metadata"]["name"]}
    assert set(found) == {"openscale-byok-metrics", "openscale-byok-gateway-metrics"}
    for service in found.values():
        spec, pod = service["spec"], pods[service["metadata"]["labels"]["app.kubernetes.io/component"]]
        assert spec["selector"].items() <= pod["metadata"]["labels"].items()
        (port,) = spec["ports"]
        ports = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
        assert (port["targetPort"], port["port"]) == ("health", ports["health"])
        assert spec["publishNotReadyAddresses"] is True
    assert not [one for one in of_kind({"gateway": {"enabled": False}}, "Service") if "gateway" in str(one)]
    assert not of_kind({"metrics": {"service": {"enabled": False}}, "gateway": {"enabled": False}}, "Service")


@pytest.mark.parametrize(
    ("kind", "endpoints"), [("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")]
)
def test_monitors_find_what_is_to_be_scraped(kind, endpoints):
    """By labels that Services or pods have; and our label `namespace` stays that of the object."""
    (monitor,) = of_kind(ALL, kind)
    wanted = monitor["spec"]["selector"]["matchLabels"]
    if kind == "ServiceMonitor":
        labels = [one["metadata"]["labels"] for one in of_kind(ALL, "Service")]
    else:
        labels = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind(ALL, "Deployment")]
    assert sum(wanted.items() <= each.items() for each in labels) == 2
    (endpoint,) = monitor["spec"][endpoints]
    assert endpoint["honorLabels"] is True
    assert endpoint["path"] == "/metrics"


def test_a_service_monitor_needs_services():
    """Without them it would find nothing, and nobody would notice."""
    values = {"metrics": {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}}
    with pytest.raises(helm_python.HelmRenderError, match=r"metrics\.serviceMonitor needs metrics\.service\.enabled"):
        chart.render(values)


def test_the_rules_are_those_of_the_file_with_ones_own_runbooks():
    """PrometheusRule and file are the same but for the page that alerts lead to."""
    page = "https://wiki.example.com/byok"
    values = {"metrics": {"rules": {"enabled": True, "labels": {"release": "p"}, "runbookUrl": page}}}
    (rule,) = of_kind(values, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "p"
    text = (chart.CHART / "files" / "alerts.yaml").read_text()
    plain = yaml.safe_load(text)
    for each in plain["groups"][0]["rules"]:
        each["annotations"]["runbook_url"] = f"{page}#{each['alert'].lower()}"
    assert rule["spec"] == plain


def test_the_dashboard_is_where_grafanas_sidecar_looks():
    """A ConfigMap with the usual label, and the file as it is."""
    (found,) = of_kind(ALL, "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert yaml.safe_load(found["data"]["openscale-byok.json"])["uid"] == "openscale-byok"
