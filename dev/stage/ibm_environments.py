"""Environments of their own for IBM's clients: each holds exactly what its lock file says, and is made once."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def python_of(name: str) -> Path:
    """The interpreter of the environment that ``requirements/<name>.txt`` locks; made where it is missing.

    Raises:
        RuntimeError: it cannot be made; the message has pip's own words.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    lock = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openscale-byok"
    folder = cache / f"{name}-{lock}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
        try:
            _run([sys.executable, "-m", "venv", str(draft)])
            # This file may move before it is used: nothing but bin/python is called afterwards.
            install = ["install", "-q", "--require-hashes", "--only-binary", ":all:", "-r", str(requirements)]
            _run([str(draft / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *install])
            with contextlib.suppress(OSError):  # somebody else was faster
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder / "bin" / "python"


def environment() -> dict[str, str]:
    """Ours, without what could lead a client elsewhere: proxies, IBM settings, our own packages."""
    unwanted = ("IBM_", "BLUEMIX", "PYTHON", "PYTEST")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted) and "proxy" not in k.lower()}
    return {**kept, "NO_PROXY": "*"}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} failed:\n{done.stderr[-2000:]}")
