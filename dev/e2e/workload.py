"""A workload with the agent as init container and sidecar: examples/workload.yaml, with what is here for images."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = "/run/db/pg_service.conf"
_GATEWAY = "openscale-byok-gateway.openscale-byok.svc"


def workload(image: str, gateway: str) -> list[dict[str, Any]]:
    """Its objects.

    Args:
        image: has the agent, and a Python in place of psql.
        gateway: the address of its Service: this cluster may have no DNS.
    """
    names = ("serviceaccount", "role", "rolebinding")
    found = [_read(f"workload-{name}.yaml") for name in names]
    found[2]["subjects"][0].pop("namespace")
    found[2]["subjects"][0]["namespace"] = "team-a"
    deployment = _read("workload.yaml")
    pod = deployment["spec"]["template"]["spec"]
    pod["hostAliases"] = [{"ip": gateway, "hostnames": [_GATEWAY]}]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"], container["imagePullPolicy"] = image, "Never"
    for container in pod["initContainers"]:
        container["env"].append({"name": "OPENSCALE_BYOK_AGENT_INTERVAL", "value": "1"})
    pod["containers"][0]["command"] = ["python3", "-c", "import signal; signal.sigwait({signal.SIGTERM})"]
    for document in (*found, deployment):
        document["metadata"]["namespace"] = "team-a"
    return [*found, deployment]


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "examples" / name).read_text()))
