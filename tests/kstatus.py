"""What Flux's and Helm's waiting reads in an object: the rules of cli-utils' kstatus, in Python, for the tests."""

from collections.abc import Mapping
from typing import Any


def kstatus(raw: Mapping[str, Any]) -> str:
    """What `status.Compute` says of a custom resource: Terminating, InProgress, Failed or Current.

    Its order: the deletion; the generation; whichever of Reconciling and Stalled comes first; at last Ready.
    """
    meta, status = raw["metadata"], raw.get("status", {})
    if meta.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    for found in status.get("conditions", ()):
        if found["type"] == "Reconciling" and found["status"] == "True":
            return "InProgress"
        if found["type"] == "Stalled" and found["status"] == "True":
            return "Failed"
    ready = next((found["status"] for found in status.get("conditions", ()) if found["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"
