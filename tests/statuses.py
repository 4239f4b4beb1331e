"""Statuses as the operator wrote them in a cluster test, kept as files: what GitOps tools' health checks are tried on.

What differs from run to run (times, ids, keys, ciphertexts) is replaced by fixed words, so that a file changes only
where the operator says something else.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "gitops" / "statuses"
RECORD = "OPENSCALE_RECORD_STATUSES"
"""Set it (to 1), and the cluster test writes the files in place of comparing them."""

TIME = "2026-01-01T00:00:00Z"
GUID = "00000000-1111-2222-3333-444444444444"
ACCOUNT = "0123456789abcdef0123456789abcdef"
_FIXED = {
    "createdTime": TIME, "deletionTimestamp": TIME, "lastTransitionTime": TIME, "sealedTime": TIME,
    "dataKey": "data-key", "envelope": "envelope", "id": "data-key", "keyVersion": GUID, "resourceVersion": "1",
    "rootKeyVersion": GUID, "uid": GUID, "wrapped": "wrapped",
}  # fmt: skip
_METADATA = ("deletionTimestamp", "finalizers", "generation", "name")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ACCOUNT = re.compile(r"a/[0-9a-f]{32}")
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def normalised(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what is another in each run."""
    metadata = {name: raw["metadata"][name] for name in _METADATA if name in raw["metadata"]}
    kept = {name: raw[name] for name in ("apiVersion", "kind", "spec", "status")}
    return dict(_fixed(kept | {"metadata": metadata | {"namespace": "team-a"}}, raw["metadata"]["namespace"]))


def _fixed(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {name: _FIXED.get(name) or _fixed(inner, namespace) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fixed(inner, namespace) for inner in value]
    if isinstance(value, str):
        fixed = _ACCOUNT.sub(f"a/{ACCOUNT}", _TIME.sub(TIME, _GUID.sub(GUID, value)))
        return _ADDRESS.sub("key-protect.example.com", fixed).replace(namespace, "team-a")
    return value


def as_text(found: Mapping[str, Any]) -> str:
    """As the file holds it."""
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def load() -> dict[str, dict[str, Any]]:
    """All that were recorded, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
