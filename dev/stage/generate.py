"""`make generate`: everything in the repository that follows from the models, written anew.

`crds/`, as `kubectl apply -k crds` takes it, and the same as templates of the chart; the gateway's OpenAPI document;
Kubernetes' own definitions in the schema of the chart's values.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from openscale_byok.resources import schema
from openscale_byok.shell.gateway import openapi
from stage import values_schema

ROOT = Path(__file__).parents[2]
CHART_CRDS = Path("helm", "openscale-byok", "templates", "crds")
VALUES_SCHEMA = Path("helm", "openscale-byok", "values.schema.json")
OPENAPI = Path("docs", "openapi.json")

_FIRST = "{{- if .Values.crds.enabled }}\n"
_LAST = "{{- end }}\n"
_METADATA = """metadata:
  labels:
    {{- include "openscale-byok.labels" . | nindent 4 }}
  annotations:
    {{- if .Values.crds.keep }}
    helm.sh/resource-policy: keep
    {{- else }}
    openscale.byok.dev/allow-deletion: "true"
    {{- end }}
    {{- with omit .Values.commonAnnotations "helm.sh/resource-policy" "openscale.byok.dev/allow-deletion" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
"""


def files() -> dict[Path, str]:
    """Every generated file, by its path below the root of the repository."""
    crds = schema.files()
    templates = {name: text for name, text in crds.items() if name != "kustomization.yaml"}
    return (
        {Path("crds", name): text for name, text in crds.items()}
        | {CHART_CRDS / name: _template(text) for name, text in templates.items()}
        | {OPENAPI: json.dumps(openapi.document(), indent=2) + "\n"}
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


def _template(text: str) -> str:
    """A CRD as a template: behind its switch, with labels, and told to stay where that is wanted."""
    escaped = text.replace("{{", '{{ "{{" }}')
    return _FIRST + escaped.replace("\nmetadata:\n", "\n" + _METADATA, 1) + _LAST


if __name__ == "__main__":
    sys.exit(main())
