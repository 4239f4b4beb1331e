"""Runs the programs that a build needs, and says which one failed."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from image_builder.errors import BuildError

_LAST = 2_000


def run(command: Sequence[str | Path], *, folder: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Run a program to its end; what it printed.

    Raises:
        BuildError: it is not installed, or it failed: with the end of what it said.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=folder, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BuildError(f"{words[0]} is not installed") from None
    if done.returncode:
        raise BuildError(f"{' '.join(words[:3])} failed:\n{done.stderr[-_LAST:]}")
    return done.stdout
