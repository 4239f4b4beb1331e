"""Run a Promela model of this folder through spin and the C compiler, and say what spin found."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROMELA = Path(__file__).parent / "promela"
CURE = "apt-get install --no-install-recommends spin gcc libc6-dev"
_COUNTS = re.compile(r"depth reached (\d+), errors: (\d+).*?^\s*([\d.e+]+) states, stored", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What spin says of one model: how many states it stored, and how deep it was when it found an error (0: none)."""

    states: int
    error_at: int


class NoVerdictError(RuntimeError):
    """The model does not compile, or the search is not whole: never to be taken for a pass."""


def missing() -> str:
    """What this machine lacks to run a model, with the cure; empty where nothing."""
    lacks = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    return f"{' and '.join(lacks)} not installed: {CURE}" if lacks else ""


def verify(model: str, *macros: str, progress: bool = False, seconds: float = 300, megabytes: int = 2000) -> Verdict:
    """Explore a model.

    Args:
        model: the name of a file in promela/, without its ending.
        macros: what is defined, such as KEYS=2 or NO_STUCK_MARK.
        progress: look for runs that never settle, with weak fairness; else breadth first for a false assertion, so
            that the first one is a shortest one.
        seconds: after which the search is given up.
        megabytes: of memory, likewise.

    Raises:
        NoVerdictError: the search did not end by itself.
    """
    defined = [f"-D{macro}" for macro in (*macros, *(["PROGRESS"] if progress else []))]
    search = ["-DNFAIR=3"] if progress else ["-DSAFETY", "-DBFS"]
    options = ["-a", "-f", "-m1000000"] if progress else []
    with tempfile.TemporaryDirectory() as folder:
        _call(["spin", "-a", *defined, str(PROMELA / f"{model}.pml")], folder, seconds)
        _call(["gcc", "-O1", "-w", f"-DMEMLIM={megabytes}", *search, "-o", "pan", "pan.c"], folder, seconds)
        said = _call(["./pan", "-E", "-w20", *options], folder, seconds)
    counts = _COUNTS.search(said)
    whole = "Search not completed" not in said or "errors: 1" in said
    if counts is None or not whole or "max search depth too small" in said or "out of memory" in said:
        raise NoVerdictError(f"{model} {' '.join(defined)}:\n{said[-2000:]}")
    depth, errors, states = counts.groups()
    return Verdict(int(float(states)), int(depth) if int(errors) else 0)


def _call(command: list[str], folder: str, seconds: float) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoVerdictError(f"{command[0]} was not done in {seconds} s") from error
    said = done.stdout + done.stderr
    if done.returncode and command[0] != "./pan":
        raise NoVerdictError(f"{' '.join(command)}:\n{said[-2000:]}")
    return said
