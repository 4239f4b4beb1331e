"""`make generate`: everything in the repository that follows from the models, written anew.

`crds/`, as `kubectl apply -k crds` takes it, and the same as templates of both charts; the gateway's OpenAPI document;
Kubernetes' own definitions in the schema of the chart's values; the list of metrics; the tables of rights in the
chart's README.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openscale_byok.resources import GROUP, KINDS, schema
from openscale_byok.shell.gateway import openapi
from stage import metrics_page, rights_table, values_schema

ROOT = Path(__file__).parents[2]
CHART_CRDS = Path("helm", "openscale-byok", "templates", "crds")
CRDS_CHART = Path("helm", "openscale-byok-crds", "templates")
CHART_README = Path("helm", "openscale-byok", "README.md")
VALUES_SCHEMA = Path("helm", "openscale-byok", "values.schema.json")
OPENAPI = Path("docs", "openapi.json")
METRICS = Path("docs", "metrics.md")


@dataclass(frozen=True, slots=True)
class _Place:
    """A chart that holds the definitions as templates."""

    folder: Path
    first: str  # with NAME in place of the definition's
    last: str
    metadata: str


_PLACES = (
    _Place(
        CHART_CRDS,
        '{{- if include "openscale-byok.crd" (dict "root" . "name" "NAME") }}\n',
        "{{- end }}\n",
        """metadata:
  labels:
    {{- include "openscale-byok.labels" . | nindent 4 }}
  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- else }}
    openscale.byok.dev/allow-deletion: "true"
    {{- end }}
    openscale.byok.dev/version: {{ .Chart.Version | quote }}
    {{- with omit .Values.commonAnnotations "helm.sh/resource-policy" "openscale.byok.dev/allow-deletion" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
""",
    ),
    _Place(
        CRDS_CHART,
        '{{- include "openscale-byok-crds.check" (dict "root" . "name" "NAME") }}\n',
        "",
        """metadata:
  labels:
    {{- include "openscale-byok-crds.labels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
    openscale.byok.dev/version: {{ .Chart.Version | quote }}
    {{- with omit .Values.commonAnnotations "helm.sh/resource-policy" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
""",
    ),
)


def files() -> dict[Path, str]:
    """Every generated file, by its path below the root of the repository."""
    crds = schema.files()
    named = ((kind, f"{kind.PLURAL}.yaml", f"{kind.PLURAL}.{GROUP}") for kind in KINDS)
    templates = {
        place.folder / file: _template(place, name, schema.crd(kind)) for kind, file, name in named for place in _PLACES
    }
    return (
        {Path("crds", name): text for name, text in crds.items()}
        | templates
        | {METRICS: metrics_page.text()}
        | {OPENAPI: json.dumps(openapi.document(), indent=2) + "\n"}
        | {CHART_README: rights_table.complete((ROOT / CHART_README).read_text(encoding="utf-8"))}
        | {VALUES_SCHEMA: values_schema.complete((ROOT / VALUES_SCHEMA).read_text(encoding="utf-8"))}
    )


def stale(root: Path, texts: Mapping[Path, str]) -> list[Path]:
    """Those that are missing, or that differ."""
    return [path for path, text in texts.items() if not (root / path).is_file() or (root / path).read_text() != text]


def write(root: Path, texts: Mapping[Path, str]) -> list[Path]:
    """Write those that differ, and say which."""
    changed = stale(root, texts)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(texts[path], encoding="utf-8")
    return changed


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write them all; with --check only say which ones differ."""
    parser = argparse.ArgumentParser(prog="python -m stage.generate", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file is not as it was made"
    )
    if not parser.parse_args(arguments).check:
        for path in write(root, files()):
            print(path)
        return 0
    differing = stale(root, files())
    for path in differing:
        print(f"{path} is not as the models make it: run `make generate`", file=sys.stderr)
    return 1 if differing else 0


def _template(place: _Place, name: str, definition: Mapping[str, Any]) -> str:
    """A CRD as a template: behind its chart's checks, with labels, told to stay where that is wanted."""
    bare = {**definition, "metadata": {"name": name}}
    escaped = (schema.GENERATED + schema.to_yaml(bare)).replace("{{", '{{ "{{" }}')
    text = escaped.replace("\nmetadata:\n", "\n" + place.metadata, 1)
    return place.first.replace("NAME", name) + text + place.last


if __name__ == "__main__":
    sys.exit(main())
