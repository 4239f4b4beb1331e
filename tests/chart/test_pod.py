"""The pods of operator and gateway: restricted, with their token where clients look for it, and each setting once."""

import json
import re
from typing import Any

import helm_python
import pytest

from openscale_byok import __version__
from openscale_byok.shell.gateway.settings import GatewaySettings
from openscale_byok.shell.settings import OperatorSettings
from stage import chart


def _deployment(values: dict[str, Any], component: str = "operator") -> dict[str, Any]:
    found = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one
        for one in chart.render(values)
        if one["kind"] == "Deployment"
    }
    return found[component]


def _pod(values: dict[str, Any], component: str = "operator") -> dict[str, Any]:
    return _deployment(values, component)["spec"]["template"]["spec"]


def _container(pod: dict[str, Any], component: str) -> dict[str, Any]:
    """The one that is ours."""
    (found,) = (one for one in pod["containers"] if one["name"] == component)
    return dict(found)


EXTRA = ("more", "its")
"""Volumes that the values of these tests add."""


@pytest.fixture(params=["operator", "gateway"])
def component(request: pytest.FixtureRequest, values: dict[str, Any]) -> str:
    """One after the other."""
    if request.param == "gateway" and not values.get("gateway", {}).get("enabled", True):
        pytest.skip("there is no gateway")
    return request.param


def test_the_pod_is_restricted(values, component):
    """What Pod Security's level `restricted` asks for, and a root file system that cannot be written."""
    pod = _pod(values, component)
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert context.items() <= pod["securityContext"].items()
    assert set(pod["securityContext"]) - set(context) <= {"fsGroup", "fsGroupChangePolicy"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    volumes = [one for one in pod["volumes"] if one["name"] not in EXTRA]
    mounted = {next(iter(set(one) - {"name"})) for one in volumes}
    assert mounted - {"secret", "configMap", "persistentVolumeClaim"} == {"projected", "emptyDir"}
    named = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    settings = values.get("settings", {})
    given = {settings.get(name, {}).get("secretName") for name in ("proxy", "caBundle")}
    given |= {values.get("gateway", {}).get("tls", {}).get("secretName")} if component == "gateway" else set()
    assert named == given - {None}, "a Secret is a file only where a value says so"
    for one in (*pod["containers"], *pod.get("initContainers", ())):
        own = {"runAsUser": 1} if one["name"] == "before" else {}
        assert one["securityContext"] == own | {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    container = _container(pod, component)
    assert not any("hostPort" in port for port in container.get("ports", ()))


def test_the_token_is_where_clients_look_for_it(values, component):
    """One container has the token, at the usual path, though it is not mounted automatically."""
    pod = _pod(values, component)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    accounts = [one for one in chart.render(values) if one["kind"] == "ServiceAccount"]
    assert all(account["automountServiceAccountToken"] is False for account in accounts)
    assert all("kube-api-access" not in str(one) for one in pod["containers"] if one["name"] != component)
    found = _container(pod, component)["volumeMounts"]
    others = (*EXTRA, "audit", "certificate", "proxy", "ca-bundle")
    mounts = {mount["name"]: mount["mountPath"] for mount in found if mount["name"] not in others}
    assert mounts == {"kube-api-access": "/var/run/secrets/kubernetes.io/serviceaccount", "tmp": "/tmp"}  # noqa: S108
    (token,) = [volume["projected"] for volume in pod["volumes"] if "projected" in volume]
    paths = {"token": "serviceAccountToken", "ca.crt": "configMap", "namespace": "downwardAPI"}
    assert token["defaultMode"] == 0o444
    for path, source in zip(paths, token["sources"], strict=True):
        entry = source[paths[path]]
        assert [entry["path"]] == [path] if "path" in entry else [item["path"] for item in entry["items"]] == [path]


def test_there_is_one_writer():
    """One replica that goes before the next one comes, with time to end what is under way."""
    spec = _deployment({})["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 20
    assert spec["template"]["spec"]["containers"][0]["args"] == ["run"]


def test_the_selector_finds_the_pod_and_never_changes(values, component):
    """A Deployment's selector is immutable: it holds no version, and no value of the user's may break it."""
    spec = _deployment(values, component)["spec"]
    selector = spec["selector"]["matchLabels"]
    assert set(selector) == {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
    assert selector["app.kubernetes.io/component"] == component
    assert selector.items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, f"ghcr.io/openscale-byok/openscale-byok:{__version__}"),
        ({"repository": "registry.example.com:5000/byok", "tag": "1.2.3"}, "registry.example.com:5000/byok:1.2.3"),
        ({"tag": "1.2.3", "digest": "sha256:" + "a" * 64}, "ghcr.io/openscale-byok/openscale-byok@sha256:" + "a" * 64),
    ],
)
def test_a_digest_decides_over_a_tag(image, expected):
    """Without a tag it is the chart's appVersion; with a digest it is the digest."""
    assert _pod({"image": image})["containers"][0]["image"] == expected


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_values_for_the_pod_arrive_there(everything, component):
    """Annotations, labels, scheduling, pull secrets and the account are those that were given."""
    metadata, pod = (
        _deployment(everything, component)["spec"]["template"]["metadata"],
        _pod(everything, component),
    )
    assert metadata["annotations"] == everything["podAnnotations"]
    assert metadata["labels"]["example.com/l"] == "1"
    assert pod["serviceAccountName"] == f"byok-{component}"
    for name in OF_THE_POD:
        assert pod[name] == everything[name], name
    container = _container(pod, component)
    assert container["env"][-2:] == everything["extraEnv"]
    assert container["volumeMounts"][-1:] == everything["extraVolumeMounts"]
    assert pod["volumes"][-1:] == everything["extraVolumes"]
    assert [one["name"] for one in (*pod["initContainers"], *pod["containers"])] == ["before", component, "beside"]
    deployment = _deployment(everything, component)
    assert everything["deploymentAnnotations"].items() <= deployment["metadata"]["annotations"].items()
    assert deployment["spec"]["revisionHistoryLimit"] == 0
    bare = _pod({"nodeSelector": None}, component)
    assert not {"nodeSelector", *OF_THE_POD, "initContainers"} & set(bare)


OF_THE_POD = (
    *("affinity", "dnsConfig", "dnsPolicy", "hostAliases", "hostUsers", "imagePullSecrets", "priorityClassName"),
    *("runtimeClassName", "tolerations"),
)


def test_the_gateways_own_values_take_the_place_of_those_of_both(everything, of_the_gateway):
    """What is set below `gateway` holds for its pods, whole, and the operator's stay as they were."""
    values = everything | {"gateway": everything["gateway"] | of_the_gateway}
    assert _deployment(values) == _deployment(everything)
    given, deployment = of_the_gateway, _deployment(values, "gateway")
    metadata, pod = (deployment["spec"]["template"][name] for name in ("metadata", "spec"))
    for name in ("affinity", "nodeSelector", "priorityClassName", "tolerations"):
        assert pod[name] == given[name], name
    assert metadata["annotations"] == given["podAnnotations"]
    assert given["podLabels"].items() <= metadata["labels"].items()
    assert "example.com/l" not in metadata["labels"]
    assert given["deploymentAnnotations"].items() <= deployment["metadata"]["annotations"].items()
    assert pod["volumes"][-1:] == given["extraVolumes"]
    assert _container(pod, "gateway")["volumeMounts"][-1:] == given["extraVolumeMounts"]
    assert [one["name"] for one in (*pod["initContainers"], *pod["containers"])] == ["its-first", "gateway", "its"]


def test_the_operator_is_killed_only_for_what_lasts():
    """Its liveness has a minute of silence in it already, and six failures besides; a start has two minutes."""
    (container,) = _pod({})["containers"]
    assert container["ports"] == [{"name": "health", "containerPort": 8082}]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"health"}
    assert [probes[name]["httpGet"]["path"] for name in probes] == ["/livez", "/livez", "/readyz"]
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] == 120
    assert probes["liveness"]["periodSeconds"] * probes["liveness"]["failureThreshold"] == 90


def test_the_operators_port_and_address_arrive(everything, monkeypatch):
    """Where it listens is where the probes ask."""
    for entry in _pod(everything)["containers"][0]["env"]:
        if "value" in entry:
            monkeypatch.setenv(entry["name"], entry["value"])
    found = OperatorSettings()
    assert {"address": found.operator_address, "port": found.operator_health_port} == everything["health"]
    assert _pod(everything)["containers"][0]["ports"][0]["containerPort"] == everything["health"]["port"]


def test_an_account_that_is_there_already_is_used():
    """Where none is made, it is the namespace's own, or the one that was named."""
    assert _pod({"serviceAccount": {"create": False}})["serviceAccountName"] == "default"
    assert _pod({"gateway": {"serviceAccount": {"create": False}}}, "gateway")["serviceAccountName"] == "default"


def _settings(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, component: str = "operator") -> GatewaySettings:
    for entry in _container(_pod(values, component), component)["env"]:
        if "value" in entry:
            monkeypatch.setenv(entry["name"], entry["value"])
    return GatewaySettings()


def test_the_defaults_are_the_operators_own(monkeypatch):
    """An operator in the chart's default environment has the settings of one without any."""
    assert _settings({}, monkeypatch) == GatewaySettings.model_construct()


def test_the_defaults_are_the_gateways_own(monkeypatch):
    """The same for the gateway, but that its certificate is also for the Service's names."""
    found = _settings({}, monkeypatch, "gateway")
    service = [f"openscale-byok-gateway{end}" for end in ("", *(f".openscale-byok{end}" for end in ENDS))]
    assert found.gateway_names == (*service, "localhost", "127.0.0.1")
    own = GatewaySettings.model_construct()
    assert found.model_copy(update={"gateway_names": own.gateway_names}) == own


ENDS = ("", ".svc", ".svc.cluster.local")


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_every_setting_arrives(everything, monkeypatch, component):
    """Each value of the settings is read by operator and gateway as it was given."""
    found = _settings(everything, monkeypatch, component)
    given = everything["settings"]
    assert found.trusted_profiles is True
    for name, value in given.items():
        if name in ("proxy", "caBundle"):
            continue  # test_the_way_to_ibm_arrives
        snake = re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)
        read = json.loads(json.dumps(getattr(found, snake)))
        assert read == value, name


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_the_way_to_ibm_arrives(everything, monkeypatch, component):
    """Proxy and authorities are read as they were given, from files that the pod has."""
    found, given = _settings(everything, monkeypatch, component), everything["settings"]
    assert (found.proxy_url, list(found.no_proxy)) == (given["proxy"]["url"], given["proxy"]["noProxy"])
    container = _container(_pod(everything, component), component)
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    volumes = {volume["name"]: volume for volume in _pod(everything, component)["volumes"]}
    assert volumes[mounts[found.proxy_credentials]]["secret"]["secretName"] == "of-the-proxy"
    folder, _, key = found.ca_bundle.rpartition("/")
    assert (volumes[mounts[folder]]["configMap"], key) == ({"name": "authorities"}, "bundle.pem")
    in_secret = _pod({"settings": {"caBundle": {"secretName": "authorities"}}}, component)["volumes"]
    assert [volume["secret"]["secretName"] for volume in in_secret if "secret" in volume] == ["authorities"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"proxy": {"secretName": "s"}}, "settings.proxy.secretName: there is no proxy"),
        ({"caBundle": {"secretName": "s", "configMapName": "c"}}, "settings.caBundle: name a ConfigMap or a Secret"),
    ],
    ids=["no proxy", "both"],
)
def test_a_way_that_makes_no_sense_is_refused(settings, sentence):
    """By the name of its value."""
    with pytest.raises(helm_python.HelmRenderError, match=sentence):
        chart.render({"settings": settings})


def test_every_setting_of_the_gateway_arrives(everything, monkeypatch):
    """Each of its own values is read by the gateway as it was given."""
    found, given = _settings(everything, monkeypatch, "gateway"), everything["gateway"]
    limits = ("requests_per_second", "burst", "connections", "waits", "waits_of_one_caller")
    for name in ("authority", "address", "port", "health_port", "audiences", *limits):
        camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
        assert json.loads(json.dumps(getattr(found, f"gateway_{name}"))) == given[camel], name
    assert found.gateway_names[-2:] == tuple(given["names"])


@pytest.mark.parametrize(("component", "model"), [("operator", OperatorSettings), ("gateway", GatewaySettings)])
def test_each_setting_is_a_variable_once(values, component, model):
    """The environment holds every setting of the component and no other, and none is there twice."""
    if component == "gateway" and not values.get("gateway", {}).get("enabled", True):
        pytest.skip("there is no gateway")
    container = _container(_pod(values, component), component)
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names))
    ours = {name for name in names if name.startswith("OPENSCALE_BYOK_")}
    assert ours == {f"OPENSCALE_BYOK_{name.upper()}" for name in model.model_fields}
    assert container["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}


@pytest.mark.parametrize("name", ["OPENSCALE_BYOK_LOG_LEVEL", "OPENSCALE_BYOK_NAMESPACE", "TZ"])
def test_no_variable_may_be_there_twice(name):
    """Server-side apply refuses a duplicate; which one counts is nobody's guess."""
    values = {"extraEnv": [{"name": "TZ", "value": "UTC"}, {"name": name, "value": "x"}]}
    with pytest.raises(helm_python.HelmRenderError, match=f"extraEnv: {name} is set already"):
        chart.render(values)
