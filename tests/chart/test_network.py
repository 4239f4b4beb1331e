"""NetworkPolicies: on demand, for who calls operator and gateway, and for what the two call."""

from typing import Any

import pytest

from stage import chart

API = {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]}
DNS = {"ports": [{"port": port, "protocol": protocol} for protocol in ("UDP", "TCP") for port in (53, 5353)]}
TEST_POD = {"name": "openscale-byok", "instance": "openscale-byok", "component": "test"}
HTTPS = {"ports": [{"port": "https", "protocol": "TCP"}]}
HEALTH = {"ports": [{"port": "health", "protocol": "TCP"}]}


def policies(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The specs by component; each is about the pods of its component."""
    found = {}
    for one in chart.render(values):
        if one["kind"] == "NetworkPolicy":
            component = one["metadata"]["labels"]["app.kubernetes.io/component"]
            assert one["spec"].pop("podSelector")["matchLabels"]["app.kubernetes.io/component"] == component
            found[component] = one["spec"]
    return found


def ibm(*ports: int) -> dict[str, Any]:
    """The way to Key Protect and IAM."""
    return {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def test_they_are_there_on_demand():
    """Each component's policy has a switch of its own; by default there is none."""
    assert policies({}) == {}
    assert set(policies({"networkPolicy": {"enabled": True}})) == {"operator"}
    assert set(policies({"gateway": {"networkPolicy": {"enabled": True}}})) == {"gateway"}
    assert set(policies({"networkPolicy": {"enabled": True}, "gateway": {"enabled": False}})) == {"operator"}


def test_nobody_calls_the_operator():
    """Nothing comes in but for its metrics, to peers that are named; the gateway's API is for all, or for some."""
    both = {"networkPolicy": {"enabled": True}, "gateway": {"networkPolicy": {"enabled": True}}}
    found = policies(both)
    assert "Ingress" in found["operator"]["policyTypes"]
    assert "ingress" not in found["operator"]
    assert found["gateway"]["ingress"] == [HTTPS]
    peers = [{"namespaceSelector": {}}]
    found = policies(
        {
            "networkPolicy": {"enabled": True, "metricsFrom": peers},
            "gateway": {"networkPolicy": {"enabled": True, "from": peers, "metricsFrom": [{"podSelector": {}}]}},
        }
    )
    assert found["operator"]["ingress"] == [HEALTH | {"from": peers}]
    test = {f"app.kubernetes.io/{name}": value for name, value in TEST_POD.items()}
    peers = [*peers, {"podSelector": {"matchLabels": test}}]
    assert found["gateway"]["ingress"] == [HTTPS | {"from": peers}, HEALTH | {"from": [{"podSelector": {}}]}]


def test_both_call_three_things(everything):
    """The API server, DNS, Key Protect with IAM, on the ports and to the peers that were given; and what was added."""
    both = {"networkPolicy": {"enabled": True}, "gateway": {"networkPolicy": {"enabled": True}}}
    for spec in policies(both).values():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert spec["egress"] == [API, DNS, ibm(443)]
    given = everything["networkPolicy"]["egress"]
    for spec in policies(everything).values():
        assert spec["egress"] == [
            ibm(8443) | {"to": given["apiServer"]["to"]},
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}], "to": given["dns"]["to"]},
            ibm(3128) | {"to": given["keyProtect"]["to"]},
            *given["more"],
        ]
    free = policies({"networkPolicy": {"enabled": True, "egress": {"enabled": False}}})["operator"]
    assert free == {"policyTypes": ["Ingress"]}


@pytest.mark.parametrize(
    ("proxy", "ports"),
    [
        ({"url": "http://proxy.example.com:3128"}, (3128,)),
        ({"url": "https://proxy.example.com:8443/"}, (8443,)),
        ({"url": "http://proxy.example.com:3128", "noProxy": ["*.private.example.com"]}, (3128, 443)),
    ],
    ids=["http", "https", "some directly"],
)
def test_through_a_proxy_its_port_is_open(proxy, ports):
    """What goes through a proxy needs the proxy's port, and 443 only for hosts that are asked directly."""
    values = {"networkPolicy": {"enabled": True}, "settings": {"proxy": proxy}}
    assert policies(values)["operator"]["egress"] == [API, DNS, ibm(*ports)]
