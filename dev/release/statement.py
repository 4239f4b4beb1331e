"""Sums, and provenance: an in-toto statement (v1) with SLSA's predicate (v1), of what was built from what. Unsigned."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from image_builder.python_packages import ROOT

SOURCE = "https://github.com/openscale-byok/openscale-byok"
_PAGE = f"{SOURCE}/blob/main/docs/release.md"
_LOCKS = ("requirements/runtime.txt", "requirements/dev.txt", "requirements/setup.txt")
"""What the commit pins; the commit names them already, and so they can be compared without it."""


def sha256(path: Path) -> str:
    """A file's sum, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(files: Iterable[Path]) -> str:
    """The sums as `sha256sum --check` reads them."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(files))


def provenance(
    files: Iterable[Path], *, version: str, commit: str, time: int, architectures: Sequence[str]
) -> dict[str, Any]:
    """What was built, from which commit, by which recipe. It names neither the machine nor the time of the build:
    the same commit gives the same statement.

    Args:
        files: what was built.
        version: of all of it.
        commit: that it was built from.
        time: of the commit, in seconds since the epoch.
        architectures: of the images and archives.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": {"sha256": sha256(path)}} for path in sorted(files)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{_PAGE}#how-it-is-built",
                "externalParameters": {"version": version, "architectures": list(architectures)},
                "internalParameters": {"SOURCE_DATE_EPOCH": time},
                "resolvedDependencies": [
                    {"uri": f"git+{SOURCE}", "digest": {"gitCommit": commit}},
                    *({"uri": f"{SOURCE}/blob/{commit}/{lock}", "digest": {"sha256": sha256(ROOT / lock)}}
                      for lock in _LOCKS),
                ],
            },
            "runDetails": {"builder": {"id": f"{_PAGE}#who-builds"}},
        },
    }  # fmt: skip


def write(output: Path, files: Sequence[Path], statement: dict[str, Any], version: str) -> list[Path]:
    """Write the statement, and then the sums of everything, the statement among it."""
    stated = output / f"openscale-byok-{version}.provenance.json"
    stated.write_text(json.dumps(statement, indent=1) + "\n", encoding="utf-8")
    summed = output / "SHA256SUMS"
    summed.write_text(sums([*files, stated]), encoding="utf-8")
    return [stated, summed]
