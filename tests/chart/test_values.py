"""The values: refused by name where they are wrong, documented one by one; and what Helm says once it has them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from openscale_byok import __version__
from openscale_byok.shell.gateway.settings import GatewaySettings
from stage import chart

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())
FOR_PARENTS = {"global", "enabled"}
"""Values that Helm hands to a chart that is a dependency: the schema lets them through, nothing uses them."""


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Each value by its path. What is passed on as it is (a security context) counts as one."""
    found = {}
    for name, value in values.items():
        node = SCHEMA
        for part in f"{prefix}{name}".split("."):
            node = node["properties"][part]
        if isinstance(value, dict) and "properties" in node:
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"health": {"port": 0}}, "/health/port"),
    ({"metrics": {"serviceMonitor": {"enable": True}}}, "'enable' not allowed"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "/metrics/podMonitor/interval"),
    ({"metrics": {"rules": {"runbookUrl": "a#b"}}}, "/metrics/rules/runbookUrl"),
    ({"health": {"prot": 1}}, "'prot' not allowed"),
    ({"setings": {}}, "'setings' not allowed"),
    ({"watchNamespaces": ["a"]}, "'watchNamespaces' not allowed"),
    ({"replicas": 2}, "'replicas' not allowed"),
    ({"crds": {"kept": True}}, "'kept' not allowed"),
    ({"crds": {"enabled": "yes"}}, "/crds/enabled"),
    ({"image": {"tag": 1.0}}, "/image/tag"),
    ({"image": {"tag": "a b"}}, "/image/tag"),
    ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
    ({"image": {"repository": "example.com/byok@sha256:0"}}, "/image/repository"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
    ({"fullnameOverride": "Not-A-Name"}, "/fullnameOverride"),
    ({"serviceAccount": {"annotations": {"a": 1}}}, "/serviceAccount/annotations/a"),
    ({"secretAccess": {"namespaces": "team-a"}}, "/secretAccess/namespaces"),
    ({"secretAccess": {"namespaces": ["team-a", "team-a"]}}, "/secretAccess/namespaces"),
    ({"secretAccess": {"namespaces": ["*"]}}, "/secretAccess/namespaces/0"),
    ({"trustedProfiles": True}, "/trustedProfiles"),
    ({"scope": {"namespaces": ["team-*"]}}, "/scope/namespaces/0"),
    ({"scope": {"namespace": "a"}}, "'namespace' not allowed"),
    ({"userRoles": {"editKinds": ["secrets"]}}, "/userRoles/editKinds/0"),
    ({"userRoles": {"create": "no"}}, "/userRoles/create"),
    ({"admissionPolicies": {"bind": False}}, "/admissionPolicies/bind"),
    ({"admissionPolicies": {"status": {"restoreUsers": "velero"}}}, "/admissionPolicies/status/restoreUsers"),
    ({"admissionPolicies": {"status": {"restoreUsers": ["a b"]}}}, "/admissionPolicies/status/restoreUsers/0"),
    ({"gateway": {"replicas": 0}}, "/gateway/replicas"),
    ({"gateway": {"tls": {"secret": "t"}}}, "'secret' not allowed"),
    ({"gateway": {"authority": ""}}, "/gateway/authority"),
    ({"gateway": {"names": ["a b"]}}, "/gateway/names/0"),
    ({"gateway": {"audiences": []}}, "/gateway/audiences"),
    ({"gateway": {"port": 0}}, "/gateway/port"),
    ({"gateway": {"requestsPerSecond": 0}}, "/gateway/requestsPerSecond"),
    ({"gateway": {"service": {"type": "ExternalName"}}}, "/gateway/service/type"),
    ({"gateway": {"networkPolicy": {"from": [{}]}}}, "/gateway/networkPolicy/from/0"),
    ({"settings": {"globalKeySecret": ""}}, "/settings/globalKeySecret"),
    ({"settings": {"globalKeySecret": "a, b"}}, "/settings/globalKeySecret"),
    ({"settings": {"globalRootKey": "my-key"}}, "/settings/globalRootKey"),
    ({"settings": {"globalRootKeyFormer": "crn:v1:"}}, "/settings/globalRootKeyFormer"),
    ({"settings": {"globalRootKeySecret": ""}}, "/settings/globalRootKeySecret"),
    ({"settings": {"globalRootKeyEndpoint": "kp.example.com"}}, "/settings/globalRootKeyEndpoint"),
    ({"settings": {"iamUrl": "iam.cloud.ibm.com"}}, "/settings/iamUrl"),
    ({"settings": {"keyProtectUrl": "ftp://x"}}, "/settings/keyProtectUrl"),
    ({"settings": {"proxy": {"url": "http://me:secret@proxy:3128"}}}, "/settings/proxy/url"),
    ({"settings": {"proxy": {"noProxy": ["10.0.0.0/8"]}}}, "/settings/proxy/noProxy/0"),
    ({"settings": {"caBundle": {"configMap": "c"}}}, "'configMap' not allowed"),
    ({"settings": {"caBundle": {"key": "a/b"}}}, "/settings/caBundle/key"),
    ({"settings": {"allowedEndpoints": "https://kp.example.com"}}, "/settings/allowedEndpoints"),
    ({"settings": {"allowedRootKeys": {"team-a": "crn:v1:"}}}, "/settings/allowedRootKeys/team-a"),
    ({"settings": {"allowedRootKeys": {"Team A": []}}}, "'Team A' not allowed"),
    ({"settings": {"allowedRootKeys": {"*": [""]}}}, "/settings/allowedRootKeys"),
    ({"settings": {"allowedInstances": {"prod": "team-a"}}}, "'prod' not allowed"),
    ({"settings": {"allowedInstances": {"*": "Team A"}}}, "/settings/allowedInstances"),
    ({"settings": {"minimumRetentionDays": 0.5}}, "/settings/minimumRetentionDays"),
    ({"settings": {"keyPollSeconds": 0}}, "/settings/keyPollSeconds"),
    ({"settings": {"writesInFlight": 1.5}}, "/settings/writesInFlight"),
    ({"settings": {"logLevel": "INFO"}}, "/settings/logLevel"),
    ({"extraEnv": [{"name": "A"}]}, "/extraEnv/0"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value"),
    ({"resources": {"limit": {}}}, "'limit' not allowed"),
    ({"resources": {"limits": {"memroy": "1Gi"}}}, "'memroy' not allowed"),
    ({"gateway": {"resources": {"limts": {"memory": "1Gi"}}}}, "'limts' not allowed"),
    ({"image": {"tga": "1"}}, "'tga' not allowed"),
    ({"extraVolumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "'hostPath' not allowed"),
    ({"gateway": {"podDisruptionBudget": {"minAvailable": "half"}}}, "/gateway/podDisruptionBudget/minAvailable"),
    ({"gateway": {"topologySpreadConstraints": [{"whenUnsatisfiable": "Maybe"}]}}, "/whenUnsatisfiable"),
    ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
    ({"dnsPolicy": "Cluster"}, "/dnsPolicy"),
    ({"nodeSelector": {"a": True}}, "/nodeSelector/a"),
    ({"tolerations": [{"effect": "NoExecution"}]}, "/tolerations/0/effect"),
    ({"affinity": {"podAfinity": {}}}, "'podAfinity' not allowed"),
]


@pytest.mark.parametrize(("values", "where"), REFUSED, ids=[json.dumps(values) for values, _ in REFUSED])
def test_a_wrong_value_is_refused_by_name(values, where):
    """A typing error, a wrong type or a value out of bounds stops the installation and names the field."""
    with pytest.raises(helm_python.HelmValuesError) as refused:
        chart.render(values)
    assert where in str(refused.value)


FREE = {"global", "extraObjects[]"}
"""Objects that are somebody else's: of `global` the template refuses what nobody reads."""


def objects(node: dict[str, Any], path: tuple[str, ...], shown: set[str]) -> Iterator[tuple[str, ...]]:
    """The path of each object that the schema knows ('[]': of an item), each definition where it is reached first."""
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/definitions/")
        if name not in shown:
            shown.add(name)
            yield from objects(SCHEMA["definitions"][name], path, shown)
        return
    types = node.get("type", [])
    if "object" in (types if isinstance(types, list) else [types]) and not isinstance(
        node.get("additionalProperties"), dict
    ):
        yield path
    for name, below in node.get("properties", {}).items():
        yield from objects(below, (*path, name), shown)
    for below in node.get("allOf", []):
        yield from objects(below, path, shown)
    if "items" in node:
        yield from objects(node["items"], (*path, "[]"), shown)


OBJECTS = list(objects(SCHEMA, (), set()))


def refusal(loaded: helm_python.Chart, path: tuple[str, ...]) -> str:
    """What Helm says of a made-up key in the object at this path; '' where it takes it."""
    values: Any = {"made up": 1}
    for part in reversed(path):
        values = [values] if part == "[]" else {part: values}
    try:
        loaded.validate_schema(values)
    except helm_python.HelmValuesError as refused:
        return str(refused)
    return ""


def test_a_made_up_key_is_refused_in_every_object():
    """Wherever the schema knows an object, of ours or of Kubernetes, a key that is none stops the installation."""
    assert len(OBJECTS) > 100
    with helm_python.Chart.load(chart.CHART) as loaded:
        said = {".".join(path).replace(".[]", "[]"): refusal(loaded, path) for path in OBJECTS}
    assert {path for path, text in said.items() if "'made up' not allowed" not in text} == FREE
    assert not any(said[path] for path in FREE)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"global": {"imageRegistry": "r"}}, "global.imageRegistry: nothing reads it"),
        ({"enabled": False}, "enabled: nothing reads it"),
    ],
    ids=str,
)
def test_what_is_for_a_parent_is_refused_without_one(values, sentence):
    """A chart that has this one as a dependency may hand it `global` and `enabled`; to all others they mean nothing."""
    with pytest.raises(helm_python.HelmRenderError, match=sentence):
        chart.render(values)


def test_as_a_dependency_it_takes_what_helm_hands_down(tmp_path):
    """Below another chart, the other's globals and the condition come along, and change nothing."""
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "openscale-byok").symlink_to(chart.CHART)
    (tmp_path / "templates").mkdir()
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    (tmp_path / "Chart.yaml").write_text(json.dumps(parent))
    with helm_python.Chart.load(tmp_path) as loaded:
        found = loaded.render({"global": {"a": 1}, "openscale-byok": {"enabled": True}}, name="r", namespace="ns")
    alone = chart.texts({}, namespace="ns", release="r")
    assert {path.rpartition("/templates/")[2] for path in found} == {
        path.rpartition("/templates/")[2] for path in alone
    }


RATES = ("requestsPerSecond", "burst", "connections", "waits", "waitsOfOneCaller")


def test_the_schema_has_the_bounds_of_operator_and_gateway():
    """What the schema lets through they take: the same bounds on each side, but that a port is one."""
    bounds = {"minimum", "maximum", "exclusiveMinimum"}
    settings = GatewaySettings.model_json_schema()["properties"]
    of_gateway = SCHEMA["properties"]["gateway"]["properties"]
    numbers = {name: of_gateway[name] for name in RATES}
    theirs = {f"gateway{name[0].upper()}{name[1:]}": found for name, found in numbers.items()}
    for name, found in (SCHEMA["properties"]["settings"]["properties"] | theirs).items():
        if name in ("proxy", "caBundle"):
            continue  # groups of texts
        snake = re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)
        of_operator = {key: value for key, value in settings[snake].items() if key in bounds}
        assert {key: value for key, value in found.items() if key in bounds} == of_operator, name
        if "enum" in found:
            assert settings[snake].get("enum") in (None, found["enum"])
            assert settings[snake].get("pattern") in (None, f"^({'|'.join(found['enum'])})$")


def test_schema_and_values_have_the_same_names():
    """Every value has a default to read and every name of the schema is one of them."""

    def names(node: dict[str, Any], values: dict[str, Any], path: str) -> None:
        assert set(node["properties"]) - (set() if path else FOR_PARENTS) == set(values), path
        for name, value in values.items():
            below = node["properties"][name]
            if isinstance(value, dict) and "properties" in below:
                names(below, value, f"{path}.{name}")

    names(SCHEMA, VALUES, "")


def test_every_value_is_documented():
    """README.md's table has each value with its default, in the order of values.yaml, and no other."""
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \| (.+) \|$", (chart.CHART / "README.md").read_text(), re.MULTILINE)
    documented = {name: yaml.safe_load(default) for name, default, _ in rows}
    assert list(documented.items()) == list(_leaves(VALUES).items())
    assert len(rows) == len(documented)


def test_the_chart_says_what_it_is():
    """Chart.yaml is complete; its versions are the package's; Kubernetes is new enough for selectableFields."""
    found = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert (found["version"], found["appVersion"]) == (__version__, __version__)
    example = (ROOT / "examples" / "workload.yaml").read_text()
    assert set(re.findall(r"openscale-byok/openscale-byok:(\S+)", example)) == {__version__}
    assert (found["apiVersion"], found["type"], found["kubeVersion"]) == ("v2", "application", ">=1.32.0-0")
    assert all(found[name] for name in ("name", "description", "home", "sources", "keywords", "maintainers"))


def _notes(values: dict[str, Any]) -> str:
    return chart.texts(values, namespace="ns", release="r")["openscale-byok/templates/NOTES.txt"]


def test_the_notes_tell_the_next_two_commands():
    """After an installation one reads how to wait for it, how to look at it, and what to back up."""
    text = _notes({"secretAccess": {"namespaces": ["team-a"]}})
    assert "kubectl --namespace ns rollout status deployment/r-openscale-byok\n" in text
    assert "kubectl get openscale --all-namespaces\n" in text
    assert "https://r-openscale-byok-gateway.ns.svc:8443\n" in text
    assert "kubectl --namespace ns get configmap openscale-byok-gateway-ca" in text
    assert "get configmap" not in _notes({"gateway": {"tls": {"secretName": "t"}}})
    assert "gateway" not in _notes({"gateway": {"enabled": False}})
    assert "ns/openscale-byok-global-key" in text
    crn = (
        "crn:v1:bluemix:public:kms:us-south:a/"
        + "0" * 32
        + ":{0}:key:{0}".format("0" * 8 + "-0000" * 3 + "-" + "0" * 12)
    )
    assert crn in _notes({"settings": {"globalRootKey": crn}})
    assert "WARNING" not in text


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({}, "may read the Secrets of no namespace"),
        ({"secretAccess": {"clusterWide": True}}, "may get and delete any Secret"),
        ({"crds": {"enabled": True, "keep": False}}, "crds.keep is off"),
        ({"admissionPolicies": {"rollback": {"enabled": False}}}, "drops fields of every object"),
        ({"admissionPolicies": {"bind": {"enabled": False}}}, "may write RootKeyBindings decides"),
        ({"admissionPolicies": {"status": {"enabled": False}}}, "may write a status puts former passwords back"),
        ({"trustedProfiles": {"enabled": True}}, "tokens of every ServiceAccount"),
        ({"settings": {"insecureHttp": True}}, "in the clear"),
        (
            {
                "scope": {"namespaces": ["team-a"], "clusterObjects": False},
                "gateway": {"enabled": False},
                "crds": {"enabled": False},
                "admissionPolicies": {"bind": {"enabled": False}},
            },
            "no admission policy protects",
        ),
    ],
)
def test_the_notes_warn(values, warning):
    """Who widens what the operator may do, or narrows what protects them, is told so once."""
    granted = {"secretAccess": {"namespaces": ["team-a"]}} if values else {}
    text = _notes(granted | values)
    assert text.count("WARNING") == 1
    assert warning in text
