"""The definitions of values.schema.json that are Kubernetes' own, so that a typing error in them is refused too.

What a value passes on to a pod (a volume, a toleration) refers to `#/definitions/io.k8s.…`; this puts there what
Kubernetes' OpenAPI says, with no field besides, and whatever that refers to in turn.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate

Node = dict[str, Any]

PREFIX = "#/definitions/io.k8s."
_VOLUME = "io.k8s.api.core.v1.Volume"
_RESTRICTED = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "name", "persistentVolumeClaim", "projected"),
    "secret",
}
"""The volumes that Pod Security's level `restricted` admits: no value makes the pods need more."""
_CORE = "io.k8s.api.core.v1."
_WORDS = {
    (f"{_CORE}Toleration", "effect"): ["NoSchedule", "PreferNoSchedule", "NoExecute"],
    (f"{_CORE}Toleration", "operator"): ["Exists", "Equal", "Lt", "Gt"],
    (f"{_CORE}TopologySpreadConstraint", "whenUnsatisfiable"): ["DoNotSchedule", "ScheduleAnyway"],
}
"""What Kubernetes' OpenAPI leaves to the description."""
_LEFT_OUT = {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"managedFields", "ownerReferences"}}
"""What only the API server writes."""


def complete(text: str) -> str:
    """The schema with Kubernetes' definitions as they are needed, each on a line of its own, behind those by hand."""
    document = json.loads(text)
    own = {name: node for name, node in document.pop("definitions", {}).items() if not name.startswith("io.k8s.")}
    head = json.dumps(document | {"definitions": own}, indent=2, ensure_ascii=False)
    found: dict[str, Node] = {}
    wanted = [*_references(document), *_references(own)]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _definition(name)
            wanted += _references(found[name])
    lines = [f"    {json.dumps(name)}: {json.dumps(found[name], sort_keys=True)}" for name in sorted(found)]
    return head.removesuffix("\n  }\n}") + ",\n" + ",\n".join(lines) + "\n  }\n}\n"


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str) and node["$ref"].startswith(PREFIX):
            yield node["$ref"].removeprefix("#/definitions/")
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)


@cache
def _kubernetes() -> dict[str, Node]:
    """Every definition of the newest Kubernetes that is known here, strictly."""
    version = f"v{kubernetes_validate.latest_version()}-local-strict"
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / version
    return dict(json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"])


def _definition(name: str) -> Node:
    node = dict(_bare(_kubernetes()[name]))
    left_out = set(node.get("properties", ())) - _RESTRICTED if name == _VOLUME else _LEFT_OUT.get(name, set())
    if left_out:
        node["properties"] = {key: inner for key, inner in node["properties"].items() if key not in left_out}
    for (of, field), words in _WORDS.items():
        if of == name:
            node["properties"] = node["properties"] | {field: {"enum": words}}
    return node


def _bare(node: Any, *, named: bool = False) -> Any:  # noqa: ANN401 -- JSON
    """Without descriptions and Kubernetes' own marks, which a check does not need; references lead into our schema.

    Args:
        node: a schema, or a map of schemas by name.
        named: whether it is such a map, so that a field may be called `description`.
    """
    if isinstance(node, list):
        return [_bare(inner) for inner in node]
    if not isinstance(node, dict):
        return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
    kept = (key for key in node if named or not (key == "description" or key.startswith("x-kubernetes")))
    return {key: _bare(node[key], named=key == "properties" and not named) for key in kept}
