"""The cluster that KUBECONFIG names, by kubectl and helm as a person has them."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

_POLL_SECONDS = 0.5


class StoryFailed(RuntimeError):
    """Something that was promised did not hold."""


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl; what it printed.

    Raises:
        StoryFailed: it failed.
    """
    return _run(["kubectl", *arguments], text)


def helm(*arguments: str, text: str | None = None) -> str:
    """Run helm; what it printed. Raises as `kubectl`."""
    return _run(["helm", *arguments], text)


def apply(*documents: dict[str, Any]) -> None:
    """Apply objects as a person would."""
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)}))


def get(namespace: str, kind: str, name: str) -> dict[str, Any]:
    """One object, or {} where there is none."""
    found = kubectl("get", "--ignore-not-found", "--namespace", namespace, kind, name, "--output", "json")
    return dict(json.loads(found)) if found else {}


def condition(document: dict[str, Any], type_: str) -> tuple[str, str]:
    """Status and reason of a condition, where it speaks of the object as it is now."""
    for found in document.get("status", {}).get("conditions", []):
        if found["type"] == type_ and found.get("observedGeneration") == document["metadata"]["generation"]:
            return found["status"], found["reason"]
    return "", ""


def until(what: str, holds: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for a condition; the seconds that it took.

    Raises:
        StoryFailed: it did not hold in time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise StoryFailed(f"not within {seconds:.0f} s: {what}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


def _run(command: Sequence[str], text: str | None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoryFailed(f"{' '.join(command[:6])} exited with {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout
