"""The chart as one file for `kubectl apply`: rendered with its defaults, after its namespace and definitions."""

from pathlib import Path
from typing import Any

import yaml

from image_builder.python_packages import ROOT
from stage.chart import NAME, render

_HEAD = """\
# openscale-byok {version}: definitions, namespace, and the chart rendered with its defaults. Generated: change values
# by the chart, or patch this file by kustomize.
#   kubectl apply --server-side -f install.yaml
# The operator may read Secrets in no namespace yet: helm/openscale-byok/README.md says how to grant it.
"""
_FIRST = (
    "Namespace", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "ConfigMap",
    "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
    "Service", "Deployment",
)  # fmt: skip
"""The order in which Helm installs; any other kind comes after all of these."""
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def objects() -> list[dict[str, Any]]:
    """Every object, in the order in which Helm installs them; nothing that only Helm runs (hooks)."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME, "labels": dict(_RESTRICTED)}}
    definitions = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in _definitions()]
    rendered = [found for found in render({"crds": {"enabled": False}}) if not _hook(found)]
    return sorted([namespace, *definitions, *rendered], key=_place)


def write(output: Path, version: str) -> Path:
    """Write `install.yaml`."""
    written = output / "install.yaml"
    body = yaml.safe_dump_all(objects(), sort_keys=False, explicit_start=True, width=120, allow_unicode=True)
    written.write_text(_HEAD.format(version=version) + body, encoding="utf-8")
    return written


def _definitions() -> list[Path]:
    return sorted(path for path in (ROOT / "crds").glob("*.yaml") if path.name != "kustomization.yaml")


def _hook(found: dict[str, Any]) -> bool:
    return "helm.sh/hook" in (found["metadata"].get("annotations") or {})


def _place(found: dict[str, Any]) -> tuple[int, str, str]:
    kind = found["kind"]
    place = _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
    return place, kind, found["metadata"]["name"]
