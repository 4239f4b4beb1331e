"""The generated CRDs: structural by the API server's rules, and equal to the files that people apply."""

import itertools
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

from openscale_byok.resources import KINDS, schema
from openscale_byok.shell.cli.crds import crds as command

ROOT = Path(__file__).parents[2]
CRDS = {document["spec"]["names"]["kind"]: document for document in schema.crds()}
JSON_SCHEMA_PROPS = {
    "description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "minItems", "maxItems", "default", "required", "properties", "items", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip


def nodes(node, path=()):
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from nodes(field, (*path, name))
    if "items" in node:
        yield from nodes(node["items"], (*path, "[]"))


NODES = [
    pytest.param(path, node, id=f"{kind}.{'.'.join(path)}")
    for kind, document in CRDS.items()
    for path, node in nodes(document["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    if path != ("metadata",)
]


@pytest.mark.parametrize(("path", "node"), NODES)
def test_every_node_is_structural_and_bounded(path, node):
    """Each node has a type and bounds, holds only what the server knows, and says what it is."""
    assert set(node) <= JSON_SCHEMA_PROPS
    kind = node["type"]
    assert kind in {"object", "array", "string", "integer", "boolean"}, "no floats, no null"
    if kind == "string":
        assert "enum" in node or "maxLength" in node
    if kind == "integer":
        assert "minimum" in node
        assert "maximum" in node or node["format"] == "int64"
    if kind == "array":
        assert "maxItems" in node
        assert node["x-kubernetes-list-type"] in {"map", "set", "atomic"}
        assert node["x-kubernetes-list-type"] != "set" or node["items"]["type"] != "object"
        assert set(node.get("x-kubernetes-list-map-keys", ())) <= set(node["items"].get("required", ()))
    assert ("properties" in node) == (kind == "object")
    assert set(node.get("required", ())) <= set(node.get("properties", ()))
    for rule in node.get("x-kubernetes-validations", ()):
        assert {"rule", "message", "reason"} <= set(rule)


@pytest.mark.parametrize(("path", "node"), [p for p in NODES if p.values[0] and p.values[0][-1] != "[]"])
def test_every_field_says_what_it_is(path, node):
    """`kubectl explain` shows for each field a text that starts with the field's own name."""
    text = node["description"]
    assert text.startswith((f"{path[-1]} ", f"{path[-1]}: ", f"{path[-1]},"))
    assert text.endswith((".", ")"))


@pytest.mark.parametrize(("path", "node"), NODES)
def test_defaults_are_few(path, node):
    """Defaults stand on optional scalars of the spec only; status has the one that kstatus needs."""
    if path == ("status",):
        assert node["default"] == {"observedGeneration": -1}
    elif path[:1] != ("spec",) or "[]" in path:
        assert "default" not in node
    elif "default" in node:
        assert node["type"] not in {"object", "array"}
    for name in node.get("required", ()):
        assert "default" not in node["properties"][name]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_names_and_columns(kind):
    """Each kind is namespaced, in the category, with a status subresource; each column finds its field."""
    document = CRDS[kind.KIND]["spec"]
    (version,) = document["versions"]
    assert document["scope"] == "Namespaced"
    assert document["names"]["categories"] == ["openscale"]
    assert document["names"]["shortNames"] == [kind.SHORT]
    assert version["subresources"] == {"status": {}}
    root = version["schema"]["openAPIV3Schema"]
    assert set(root["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert root["properties"]["metadata"] == {"type": "object"}, "the API server takes nothing else"
    columns = version["additionalPrinterColumns"]
    assert {"Ready", "Age"} <= {column["name"] for column in columns if not column.get("priority")}
    for path in (row["jsonPath"] for row in [*columns, *version["selectableFields"]]):
        node = root
        for name in path.split("[?")[0].lstrip(".").split("."):
            if name == "metadata":
                break
            node = node["properties"][name]
    assert all(column["description"].endswith(".") for column in columns)


def test_every_kind_fits_a_last_applied_annotation():
    """Plain `kubectl apply` keeps a copy in an annotation of at most 256 KiB: stay far below."""
    assert all(len(text) < 60_000 for text in schema.files().values())


@pytest.mark.parametrize("name", sorted({*schema.files(), *(path.name for path in (ROOT / "crds").iterdir())}))
def test_files_are_what_the_models_say(name):
    """The files that people apply are those that the models generate: none differs, lacks or is left over."""
    path = ROOT / "crds" / name
    stored = path.read_text("utf-8") if path.exists() else None
    assert stored == schema.files().get(name), f"crds/{name} is not what the models say: run `make generate`"


def test_yaml_reads_back():
    """Folding and quoting change nothing: the YAML reads back as the document, every time the same."""
    for document in schema.crds():
        assert yaml.safe_load(schema.to_yaml(document)) == document
    assert schema.files() == schema.files()
    text = "".join(schema.files().values())
    assert "&id" not in text
    assert text.count(schema.GENERATED) == len(KINDS) + 1
    assert not [line for line in text.splitlines() if line.rstrip() != line]


def test_the_command_prints_and_writes(tmp_path):
    """`crds print` and `crds write` give all kinds from the package alone, in any working directory."""
    shown = CliRunner().invoke(command, ["print"], catch_exceptions=False)
    assert list(yaml.safe_load_all(shown.output)) == schema.crds()
    done = CliRunner().invoke(command, ["write", "--directory", str(tmp_path / "new")], catch_exceptions=False)
    assert done.exit_code == 0
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()} == schema.files()


class Union(BaseModel):
    field: int | str


class Unknown(BaseModel):
    field: list[tuple[int, str]]


@pytest.mark.parametrize(("model", "match"), [(Union, "union"), (Unknown, "prefixItems")])
def test_what_has_no_structural_schema_stops_the_build(model, match):
    """A type that the API server has no schema for is refused when generating, not when installing."""
    raw = model.model_json_schema()
    with pytest.raises(ValueError, match=match):
        schema._structural(raw, raw.get("$defs", {}))


def test_rules_of_both_sides_stay():
    """A field's own rules and those of the model that it holds are both enforced."""
    target = {"type": "object", "x-kubernetes-validations": [{"rule": "a", "message": "m"}]}
    raw = {
        "anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}],
        "x-kubernetes-validations": [{"rule": "b", "message": "m"}],
    }
    rules = schema._structural(raw, {"T": target})["x-kubernetes-validations"]
    assert [rule["rule"] for rule in rules] == ["a", "b"]


def test_defaults_vanish_from_list_items():
    """However deep a default stands in a list's item, it does not reach the schema."""
    inner = {"type": "object", "properties": {"x": {"type": "integer", "default": 1, "minimum": 0}}}
    raw = {
        "type": "array",
        "items": {"type": "object", "properties": {"list": {"type": "array", "items": inner}, "o": inner}},
    }
    found = list(nodes(schema._structural(raw, {})))
    assert not [path for path, node in found if "default" in node]
    assert len(list(itertools.filterfalse(lambda row: row[1]["type"] == "object", found))) == 4
