"""The pods around the product: Key Protect's emulator, PostgreSQL, the workload, and who reads all the time."""

from pathlib import Path
from typing import Any

import yaml

from e2e.images import EMULATOR, OPERATOR, POSTGRES

ROOT = Path(__file__).parents[2]
TEAM, KEY_PROTECT, DATABASE = "team-a", "key-protect", "database"
RELEASE = "openscale-byok"
NAMESPACES = (RELEASE, TEAM, KEY_PROTECT, DATABASE)
GATEWAY = "https://openscale-byok-gateway.openscale-byok.svc:8443"
KEY_PROTECT_PORT, DATABASE_PORT = 8900, 5432
KEY_PROTECT_URL = f"http://key-protect.{KEY_PROTECT}.svc:{KEY_PROTECT_PORT}"
DATABASE_HOST = f"postgres.{DATABASE}.svc"
Object = dict[str, Any]

_BARE = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
_READER = Path(__file__).with_name("reader.py")


def namespace(name: str) -> Object:
    """One in which only what Pod Security calls restricted may run."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def emulator() -> list[Object]:
    """Key Protect and IAM, behind a Service."""
    arguments = ["--host", "0.0.0.0", "--port", str(KEY_PROTECT_PORT)]  # noqa: S104 -- of its pod
    arguments += ["--public-url", KEY_PROTECT_URL, "--remote-control"]
    container = {"image": EMULATOR, "args": arguments}
    return _served(KEY_PROTECT, "key-protect", KEY_PROTECT_PORT, container, {})


def database() -> list[Object]:
    """PostgreSQL, behind a Service."""
    container = {"image": POSTGRES, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pod = {"volumes": [{"name": "data", "emptyDir": {}}], "securityContext": {"fsGroup": 65532}}
    return _served(DATABASE, "postgres", DATABASE_PORT, container, pod)


def workload() -> list[Object]:
    """examples/workload.yaml: the agent in two containers, and psql. Only its images are those that are here."""
    found = [_read(f"workload-{name}.yaml") for name in ("serviceaccount", "role", "rolebinding")]
    found[2]["subjects"][0]["namespace"] = TEAM
    deployment = _read("workload.yaml")
    pod = deployment["spec"]["template"]["spec"]
    for container in pod["initContainers"]:
        container["image"] = OPERATOR
        container["env"].append({"name": "OPENSCALE_BYOK_AGENT_INTERVAL", "value": "1"})
    pod["containers"][0]["image"] = POSTGRES
    pod["containers"][0]["env"] = [one for one in pod["containers"][0]["env"] if one["name"] != "PGSSLROOTCERT"]
    pod["containers"][0]["command"] = ["python3", "-c", "import signal; signal.sigwait({signal.SIGTERM})"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["imagePullPolicy"] = "Never"
    return [_in_team(document) for document in (*found, deployment)]


def readers() -> list[Object]:
    """A pod that reads the data mart's credentials all the time, and counts what failed."""
    deployment = _read("workload.yaml")
    deployment["metadata"]["name"] = "readers"
    labels = {"app.kubernetes.io/name": "readers"}
    deployment["spec"]["selector"]["matchLabels"] = deployment["spec"]["template"]["metadata"]["labels"] = labels
    pod = deployment["spec"]["template"]["spec"]
    mounts = [mount for mount in pod["initContainers"][0]["volumeMounts"] if mount["name"] != "credentials"]
    url = f"{GATEWAY}/v1/namespaces/{TEAM}/datamarts/scores/credentials"
    pod["initContainers"], pod["terminationGracePeriodSeconds"] = [], 1
    pod["containers"] = [
        {
            "name": "readers",
            "image": OPERATOR,
            "imagePullPolicy": "Never",
            "command": ["python3", "-c", _READER.read_text(), url],
            "volumeMounts": mounts,
            "securityContext": _BARE,
        }
    ]
    return [_in_team(deployment)]


def _served(namespace: str, name: str, port: int, container: Object, pod: Object) -> list[Object]:
    labels, meta = {"app.kubernetes.io/name": name}, {"name": name, "namespace": namespace}
    full = {
        "name": name, "imagePullPolicy": "Never", "securityContext": _BARE,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}, **container,
    }  # fmt: skip
    service = {"selector": labels, "ports": [{"port": port}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "labels": labels},
            "spec": {"containers": [full], **pod},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]


def _in_team(document: Object) -> Object:
    document["metadata"]["namespace"] = TEAM
    return document


def _read(name: str) -> Object:
    return dict(yaml.safe_load((ROOT / "examples" / name).read_text()))
