"""The cluster that KUBECONFIG names, by kubectl and helm as a person has them."""

import base64
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stage.child import die_with_parent

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


def claim(true: bool, what: str) -> None:  # noqa: FBT001 -- a claim is true or not
    """Fail the story where something is not so.

    Raises:
        StoryFailed: it is not.
    """
    if not true:
        raise StoryFailed(f"not so: {what}")


def succeeds(*arguments: str) -> bool:
    """Whether kubectl ends with 0."""
    return subprocess.run(["kubectl", *arguments], capture_output=True, check=False).returncode == 0


def value(namespace: str, secret: str, key: str) -> bytes:
    """One value of a Secret; empty where there is none."""
    return base64.b64decode(get(namespace, "secret", secret).get("data", {}).get(key, ""))


@contextlib.contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[int]:
    """A port on loopback that leads to one in a pod, while this holds.

    Args:
        namespace: of the target.
        target: as `kubectl port-forward` takes it: svc/NAME or pod/NAME.
        port: there.

    Raises:
        StoryFailed: kubectl ended instead.
    """
    command = ["kubectl", "port-forward", "--namespace", namespace, target, f":{port}"]
    with (
        tempfile.TemporaryFile("w+") as log,  # not a pipe: it says a line for each connection, and nobody reads them
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent) as process,
    ):

        def said() -> str:
            return os.pread(log.fileno(), 4096, 0).decode()

        try:
            until(f"port-forward {target}", lambda: "->" in said() or process.poll() is not None)
            here = re.search(r"127\.0\.0\.1:(\d+) ->", said())
            if here is None:
                raise StoryFailed(f"kubectl port-forward {target}: {said().strip()}")
            yield int(here[1])
        finally:
            process.terminate()


def _run(command: Sequence[str], text: str | None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoryFailed(f"{' '.join(command[:6])} exited with {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout
