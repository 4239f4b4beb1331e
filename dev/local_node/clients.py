"""A kubectl and a helm for people, from the one binary that is all of Kubernetes' programs."""

import shlex
from pathlib import Path


def clients(folder: Path, program: Path) -> Path:
    """Write both into a new folder below this one; that folder, for a PATH."""
    made = folder / "bin"
    made.mkdir()
    for name in ("kubectl", "helm"):
        (made / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(program))} {name} "$@"\n')
        (made / name).chmod(0o755)
    return made
