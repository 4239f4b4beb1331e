"""The chart as Helm's own engine renders it: objects that Kubernetes knows, the same ones each time."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from openscale_byok import __version__
from openscale_byok.resources import KINDS, schema
from stage import chart, generate

ROOT = Path(__file__).parents[2]
CRDS = chart.CHART.with_name("openscale-byok-crds")
OLDEST, NEWEST = "1.32", kubernetes_validate.latest_version()


@cache
def _validate(text: str, version: str) -> None:
    """Validate an object once, though many switches leave it as it is: this reads all of Kubernetes' schemas."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


class _Strict(yaml.SafeLoader):
    """YAML in which a key may be there once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is there twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


def test_helm_finds_nothing_to_warn_of(values):
    """`helm lint --strict` has neither an error nor a warning, whatever is switched on."""
    report = helm_python.lint(chart.CHART, values, strict=True, kube_version=f"v{NEWEST}")
    assert report["errors"] == []
    assert [found["error"] for found in report["messages"] if found["severity"] > 1] == []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_one_that_kubernetes_knows(values, version):
    """Each object has the fields of its kind and no other, in the oldest and in the newest Kubernetes."""
    for document in chart.render(values):
        _validate(json.dumps(document), version)


def test_no_key_is_there_twice(values):
    """A key that is there twice in YAML is refused by some and halved by others: no template writes one."""
    for path, text in chart.texts(values).items():
        if path.endswith(".yaml"):
            list(yaml.load_all(text, Loader=_Strict))


def test_the_same_values_give_the_same_text(values):
    """Nothing random, no clock, no look at a cluster: Argo CD would see a difference for ever."""
    assert chart.texts(values) == chart.texts(values)


def test_names_are_unique_and_labelled(values):
    """No two objects are the same one, and each carries the recommended labels."""
    documents = chart.render(values)
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in documents]
    assert len(keys) == len(set(keys))
    for document in (one for one in documents if one["kind"] != "ConfigMap"):  # extraObjects are as they were given
        labels = {name for name in document["metadata"]["labels"] if name.startswith("app.kubernetes.io/")}
        assert labels == {
            f"app.kubernetes.io/{name}"
            for name in ("name", "instance", "version", "component", "part-of", "managed-by")
        }
        assert document["metadata"]["labels"]["helm.sh/chart"] == f"openscale-byok-{__version__}"


def test_every_object_has_the_common_labels_and_annotations(everything):
    """Each object, its pods too (labels), has what is common; what the chart itself says there stays as it is."""
    for document in (one for one in chart.render(everything) if one["kind"] != "ConfigMap"):
        metadata = document["metadata"]
        pods = [document["spec"]["template"]["metadata"]] if document["kind"] == "Deployment" else []
        for labels in (one["labels"] for one in (metadata, *pods)):
            assert (labels["example.com/team"], labels["app.kubernetes.io/name"]) == ("true", "openscale-byok")
        assert metadata["annotations"]["example.com/owner"] == "1"
        own = document["kind"] in ("ServiceAccount", "Service")
        assert metadata["annotations"]["a"] == ("b" if own else "another")


def test_extra_objects_are_templates(everything):
    """Objects and texts are rendered with what the release knows."""
    found = [one["metadata"] for one in chart.render(everything, namespace="ns") if one["kind"] == "ConfigMap"]
    assert found == [{"name": "more", "namespace": "ns"}, {"name": "byok-more"}]


def test_two_releases_share_no_name_but_crds_and_policies():
    """Names follow from the release, so one release cannot take over what another one made.

    Policies have one name whatever the release: two of a kind would each forbid the other's operator its writes.
    """

    def names(release: str) -> set[tuple[str, str]]:
        found = chart.render({}, release=release)
        return {(one["kind"], one["metadata"]["name"]) for one in found}

    shared = names("one") & names("two")
    assert {kind for kind, _ in shared} == set(chart.POLICIES)
    assert len(shared) == 2 * 9, "all of them"


def test_the_default_is_complete():
    """The default renders operator and gateway, their rights, policies, roles of users; CRDs have their own chart."""
    counted: dict[str, int] = {}
    for document in chart.render({}):
        counted[document["kind"]] = counted.get(document["kind"], 0) + 1
    assert counted == {
        "Deployment": 2,
        "PodDisruptionBudget": 1,
        "Pod": 1,  # of `helm test`
        "Service": 3,  # two are of metrics
        "ServiceAccount": 2,
        "ClusterRole": 7,
        "ClusterRoleBinding": 2,
        "Role": 2,
        "RoleBinding": 2,
        "ValidatingAdmissionPolicy": 9,
        "ValidatingAdmissionPolicyBinding": 9,
    }


def test_generated_files_are_as_the_models_make_them():
    """`make generate` would change nothing: crds/ and the chart's copies follow from the models."""
    assert [str(path) for path, text in generate.files().items() if (ROOT / path).read_text() != text] == []
    for folder in (generate.CHART_CRDS, generate.CRDS_CHART):
        on_disk = {path.name for path in (ROOT / folder).glob("*.yaml")}
        assert on_disk == {f"{kind.PLURAL}.yaml" for kind in KINDS}


def of_its_own(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart of the definitions renders."""
    with helm_python.Chart.load(CRDS) as loaded:
        texts = loaded.render(values, name="r", namespace="ns")
    return [yaml.safe_load(text) for path, text in texts.items() if path.endswith(".yaml") and text.strip()]


KEPT = {"helm.sh/resource-policy": "keep"}
GOING = {"openscale.byok.dev/allow-deletion": "true"}


@pytest.mark.parametrize(
    ("render", "word"),
    [
        (lambda: chart.render({"crds": {"enabled": True}}), KEPT),
        (lambda: chart.render({"crds": {"enabled": True, "keep": False}}), GOING),
        (lambda: of_its_own({}), KEPT),
    ],
    ids=["kept", "not kept", "of their own"],
)
def test_both_charts_install_the_same_crds(render, word):
    """Rendered CRDs are those of crds/ with their version, apart from Helm's labels and its word to keep them."""
    rendered = {one["metadata"]["name"]: one for one in render() if one["kind"] == "CustomResourceDefinition"}
    for expected in schema.crds():
        found = rendered.pop(expected["metadata"]["name"])
        assert found["metadata"]["annotations"] == word | expected["metadata"]["annotations"]
        assert found | {"metadata": 0} == expected | {"metadata": 0}
    assert rendered == {}


def test_the_chart_of_the_definitions_is_as_strict():
    """Nothing to warn of; its values are documented, have a schema, and take a made-up key nowhere."""
    given = {"takeOwnership": True, "commonLabels": {"a": "b"}, "commonAnnotations": {"c": "d", **KEPT}}
    for values in ({}, given):
        report = helm_python.lint(CRDS, values, strict=True, kube_version=f"v{NEWEST}")
        assert [found["error"] for found in report["messages"] if found["severity"] > 1] == []
        for document in of_its_own(values):
            _validate(json.dumps(document), NEWEST)
    for document in of_its_own(given | {"commonLabels": {"a": "b", "app.kubernetes.io/name": "other"}}):
        assert document["metadata"]["labels"]["a"] == "b"
        assert document["metadata"]["labels"]["app.kubernetes.io/name"] == "openscale-byok"
        assert document["metadata"]["annotations"]["c"] == "d"
    with pytest.raises(helm_python.HelmValuesError, match="'takeOwnershp' not allowed"):
        of_its_own({"takeOwnershp": True})
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", (CRDS / "README.md").read_text(), re.MULTILINE)
    values = yaml.safe_load((CRDS / "values.yaml").read_text())
    assert {name: yaml.safe_load(default) for name, default in rows} == values


def test_both_charts_are_of_one_version():
    """An operator is installed with the definitions of its own version."""
    own, main = (yaml.safe_load((path / "Chart.yaml").read_text()) for path in (CRDS, chart.CHART))
    for name in ("version", "appVersion", "kubeVersion", "icon"):
        assert own[name] == main[name]


def test_braces_in_a_description_stay_text():
    """A model's text may hold two braces: Helm does not take them for a template."""
    text = generate._template(generate._PLACES[0], "n", {"a": "x", "metadata": {}, "b": "{{ .Release.Name }}"})
    assert "b: '{{ \"{{\" }} .Release.Name }}'" in text


def test_generating_writes_only_what_differs(tmp_path):
    """A second run writes nothing; a file that was edited is written anew."""
    texts = {Path("a", "b.yaml"): "1\n", Path("c.yaml"): "2\n"}
    assert generate.write(tmp_path, texts) == list(texts)
    assert generate.write(tmp_path, texts) == []
    (tmp_path / "c.yaml").write_text("edited")
    assert generate.write(tmp_path, texts) == [Path("c.yaml")]
    assert (tmp_path / "c.yaml").read_text() == "2\n"


def test_checking_says_what_differs_and_writes_nothing(tmp_path, capsys):
    """`--check` names each file that is missing or was edited, and fails; after a run it has nothing to say."""
    assert generate.main(["--check"], tmp_path) == 1
    assert "crds/datamarts.yaml is not as the models make it" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert generate.main([], tmp_path) == 0
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 0
    assert capsys.readouterr().err == ""
