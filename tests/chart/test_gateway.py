"""The gateway's Deployment, Service, disruption budget and network policy."""

from typing import Any

import pytest

from openscale_byok.shell.gateway.connections import Limits
from stage import chart

SELECTOR = {
    "app.kubernetes.io/name": "openscale-byok",
    "app.kubernetes.io/instance": "openscale-byok",
    "app.kubernetes.io/component": "gateway",
}


def of_gateway(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its objects in the release's namespace, by kind; its Service is the API's, not that of metrics."""
    return {
        one["kind"]: one
        for one in chart.render(values)
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "gateway"
        and one["metadata"].get("namespace")
        and "openscale.byok.dev/metrics" not in one["metadata"]["labels"]
    }


def container(values: dict[str, Any]) -> dict[str, Any]:
    """Its one container."""
    (found,) = of_gateway(values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_goes_away_as_a_whole():
    """`gateway.enabled: false` leaves nothing that is labelled as its."""
    labels = [one["metadata"]["labels"] for one in chart.render({"gateway": {"enabled": False}})]
    assert "gateway" not in {found["app.kubernetes.io/component"] for found in labels}


def test_it_is_never_fewer_than_wanted():
    """Two replicas, apart from each other where that is possible; an update brings a new one before an old one goes."""
    spec = of_gateway({})["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for one in spread:
        assert (one["whenUnsatisfiable"], one["labelSelector"]["matchLabels"]) == ("ScheduleAnyway", SELECTOR)


def test_a_drain_takes_one_at_a_time():
    """A disruption budget where there are several; one alone must not stop a node from being drained."""
    budget = of_gateway({})["PodDisruptionBudget"]["spec"]
    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": SELECTOR},
    }
    assert "PodDisruptionBudget" not in of_gateway({"gateway": {"replicas": 1}})


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"maxUnavailable": "25%"}, {"maxUnavailable": "25%"}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": 0}, {"minAvailable": 0}),
        ({"minAvailable": "50%", "maxUnavailable": 2}, {"minAvailable": "50%"}),
    ],
)
def test_a_budget_says_one_of_two(budget, expected):
    """What may go or what must stay: Kubernetes takes one of them; the latter where it is given."""
    spec = of_gateway({"gateway": {"podDisruptionBudget": budget}})["PodDisruptionBudget"]["spec"]
    assert {name: spec[name] for name in spec if name.endswith("vailable")} == expected


def test_a_spread_of_ones_own(everything):
    """It takes the place of the default, and speaks of the gateway's pods where it does not say of which."""
    spread = of_gateway(everything)["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    given = everything["gateway"]["topologySpreadConstraints"]
    assert spread == [given[0] | {"labelSelector": {"matchLabels": SELECTOR}}, given[1]]


def test_it_is_asked_on_the_other_port_how_it_is():
    """Each probe asks /livez or /readyz on the health port, which is not in the Service."""
    found = container({"gateway": {"port": 9443, "healthPort": 9081}})
    assert found["args"] == ["gateway"]
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    assert ports == {"https": 9443, "health": 9081}
    paths = {name: found[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert paths == {
        name: {"path": path, "port": "health"}
        for name, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz"))
    }
    (port,) = of_gateway({"gateway": {"port": 9443}})["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (8443, "https")


def test_it_has_time_to_end_what_is_under_way():
    """The kubelet kills it later than it would take at worst: nobody is sent here, requests end, or are cancelled."""
    limits, pod = Limits(), of_gateway({})["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > limits.announce + 2 * limits.drain


def test_the_service_finds_it():
    """The Service selects the gateway's pods and not the operator's, under the name that the certificate has."""
    service = of_gateway({})["Service"]
    assert service["spec"]["selector"] == SELECTOR
    (names,) = (one["value"] for one in container({})["env"] if one["name"] == "OPENSCALE_BYOK_GATEWAY_NAMES")
    assert f'"{service["metadata"]["name"]}.openscale-byok.svc"' in names


def test_helm_test_has_a_pod_with_no_right_but_a_token_for_the_gateway(everything):
    """It is restricted as the others are, runs the same image, names the Service, and is for `helm test` only."""
    for values in ({}, everything):
        (pod,) = (one for one in chart.render(values) if one["kind"] == "Pod")
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        spec, found = pod["spec"], of_gateway(values)["Deployment"]["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        (gateway,) = (one for one in found["containers"] if one["name"] == "gateway")
        assert container["image"] == gateway["image"]
        assert container["securityContext"] == gateway["securityContext"]
        assert spec["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in spec
        service = of_gateway(values)["Service"]
        port = service["spec"]["ports"][0]["port"]
        assert f"https://{service['metadata']['name']}.openscale-byok.svc:{port}" in container["command"]
        (token,) = (one["projected"]["sources"][0] for one in spec["volumes"] if "projected" in one)
        assert (
            token["serviceAccountToken"]["audience"]
            == values.get("gateway", {}).get("audiences", ["openscale-byok"])[0]
        )
    assert not [one for one in chart.render({"gateway": {"enabled": False}}) if one["kind"] == "Pod"]


def test_a_certificate_from_elsewhere_is_read_from_files():
    """The Secret is mounted whole, so that the kubelet renews it, where the settings say that it is."""
    pod = of_gateway({"gateway": {"tls": {"secretName": "t"}}})["Deployment"]["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == "certificate"]
    assert volume["secret"] == {"secretName": "t", "defaultMode": 0o444}
    (found,) = pod["containers"]
    (mount,) = [one for one in found["volumeMounts"] if one["name"] == "certificate"]
    assert "subPath" not in mount
    assert mount["readOnly"] is True
    given = {one["name"]: one.get("value") for one in found["env"]}
    assert given["OPENSCALE_BYOK_GATEWAY_CERTIFICATE"] == f"{mount['mountPath']}/tls.crt"
    assert given["OPENSCALE_BYOK_GATEWAY_PRIVATE_KEY"] == f"{mount['mountPath']}/tls.key"
