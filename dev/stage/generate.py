"""`make generate`: everything in the repository that follows from the models, written anew.

`crds/`, as `kubectl apply -k crds` takes it, and the same as templates of the chart.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from openscale_byok.resources import schema

ROOT = Path(__file__).parents[2]
CHART_CRDS = Path("helm", "openscale-byok", "templates", "crds")

_FIRST = "{{- if .Values.crds.enabled }}\n"
_LAST = "{{- end }}\n"
_METADATA = """metadata:
  labels:
    {{- include "openscale-byok.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


def files() -> dict[Path, str]:
    """Every generated file, by its path below the root of the repository."""
    crds = schema.files()
    templates = {name: text for name, text in crds.items() if name != "kustomization.yaml"}
    return {Path("crds", name): text for name, text in crds.items()} | {
        CHART_CRDS / name: _template(text) for name, text in templates.items()
    }


def write(root: Path, texts: Mapping[Path, str]) -> list[Path]:
    """Write those that differ, and say which."""
    changed = [path for path, text in texts.items() if not (root / path).is_file() or (root / path).read_text() != text]
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(texts[path], encoding="utf-8")
    return changed


def main() -> int:
    """Write them all."""
    for path in write(ROOT, files()):
        print(path)
    return 0


def _template(text: str) -> str:
    """A CRD as a template: behind its switch, with labels, and told to stay where that is wanted."""
    escaped = text.replace("{{", '{{ "{{" }}')
    return _FIRST + escaped.replace("\nmetadata:\n", "\n" + _METADATA, 1) + _LAST


if __name__ == "__main__":
    sys.exit(main())
