"""The story as far as it shows without a cluster: Kubernetes knows its objects, its page names each step."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from e2e import pods, story

README = Path(story.__file__).with_name("README.md")
OBJECTS = {
    "namespace": [pods.namespace("team")],
    "emulator": pods.emulator(),
    "database": pods.database(),
    "workload": pods.workload(),
    "readers": pods.readers(),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_kubernetes_knows_its_objects(name: str) -> None:
    """Strictly: a field that is mistyped would be passed over by a cluster."""
    for document in OBJECTS[name]:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def _containers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    specs = [document["spec"] for document in documents if document["kind"] in ("Pod", "Deployment")]
    pods_of = [spec.get("template", {}).get("spec", spec) for spec in specs]
    return [one for pod in pods_of for one in (*pod.get("initContainers", ()), *pod["containers"])]


def test_no_image_is_looked_for_elsewhere() -> None:
    """Each container runs an image that was loaded, and never one that a registry has under that name."""
    containers = [one for documents in OBJECTS.values() for one in _containers(documents)]
    assert {one["imagePullPolicy"] for one in containers} == {"Never"}


def test_the_page_names_each_step() -> None:
    """The README's table has every step of both stories, and no other."""
    rows = re.findall(r"^\| (`[^|]+) \|", README.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {step.__name__ for step in (*story.SMOKE, *story.WHOLE)}
