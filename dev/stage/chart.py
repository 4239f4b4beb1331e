"""The chart, rendered by Helm's own engine: so that what runs here has exactly the rights that it would have there."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

CHART = Path(__file__).parents[2] / "helm" / "openscale-byok"
NAME = "openscale-byok"
"""The namespace and the release that README and demo use."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def texts(values: Mapping[str, Any], *, namespace: str = NAME, release: str = NAME) -> dict[str, str]:
    """What Helm makes of each template, NOTES.txt among them.

    Raises:
        helm_python.HelmError: the values do not fit the schema, or a template refuses them.
    """
    with Chart.load(CHART) as chart:
        return chart.render(dict(values), name=release, namespace=namespace)


def render(values: Mapping[str, Any], *, namespace: str = NAME, release: str = NAME) -> list[dict[str, Any]]:
    """Every object of the chart; what the same values give is rendered once, and handed out in copies."""
    return list(json.loads(_rendered(json.dumps(values), namespace, release)))


@cache
def _rendered(values: str, namespace: str, release: str) -> str:
    found = texts(json.loads(values), namespace=namespace, release=release)
    documents = [
        document
        for path in sorted(found)
        if path.endswith(".yaml")
        for document in yaml.load_all(found[path], Loader=_LOADER)
    ]
    return json.dumps([document for document in documents if document is not None])


def rights(values: Mapping[str, Any], *, namespace: str = NAME, release: str = NAME) -> list[dict[str, Any]]:
    """The objects that say who operator and gateway are and what they may do. Their namespaces must exist.

    Take a ServiceAccount's token, and an operator outside of the cluster has the rights of one inside.
    """
    found = render(values, namespace=namespace, release=release)
    return [document for document in found if document["kind"] in RIGHTS]


def policies(values: Mapping[str, Any], *, namespace: str = NAME, release: str = NAME) -> list[dict[str, Any]]:
    """The admission policies, in force in the whole cluster for whoever is not named in them."""
    found = render(values, namespace=namespace, release=release)
    return [document for document in found if document["kind"] in POLICIES]
