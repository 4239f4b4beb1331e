"""What goes wrong on a cluster, and what platform teams do to it while people read."""

import json
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from e2e.cluster import get, kubectl, until, value
from e2e.load import reading, said
from e2e.pods import RELEASE
from e2e.scene import AUTHORITY, Scene
from openscale_byok.crypto import authority
from openscale_byok.crypto.authority import Authorities, Authority
from stage import manifests

GATEWAY = f"{RELEASE}-gateway"
TOO_LITTLE = "48Mi"
"""Of memory for the operator: it is killed for it as it starts."""


def crash(scene: Scene) -> str:
    """Operator and gateways are killed, all at once; nothing is lost, and nothing has to be done."""
    kubectl("delete", "pods", "--namespace", RELEASE, "--all", "--grace-period=0", "--force", "--wait=false")
    scene.ready()
    took = until("the binding is in force again", lambda: scene.protected(scene.root_key))
    scene.works()
    return f"in force again after {took:.1f} s more, psql logs in"


def roll(scene: Scene) -> str:
    """The gateway is rolled while people read, some by a connection that they keep: no read fails."""
    del scene
    with reading() as count:
        kubectl("rollout", "restart", "--namespace", RELEASE, f"deployment/{GATEWAY}")
        kubectl("rollout", "status", "--namespace", RELEASE, f"deployment/{GATEWAY}", "--timeout=180s")
        until("the former pods have ended", lambda: _pods() == 2)
    return f"every gateway was replaced during {count.reads} reads, none failed"


def new_authority(scene: Scene) -> str:
    """The gateway's certificate authority changes while people read, as its dates say: no read fails.

    Years are not waited for: the Secret is written as it would be after them, with authorities that are that old.
    """
    now = datetime.now(UTC)
    former = authority.parse({name: value(RELEASE, AUTHORITY, name) for name in ("tls.crt", "tls.key")}, AUTHORITY)
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    announced = Authorities(authority.create(key, serial, now), former.newest)
    _write(announced)
    until("the next authority is announced", lambda: _bundle().count("BEGIN") == 2, 90)
    scene.give_authority()
    with reading() as count:
        before = set(said()["issuers"])
        aged = authority.create(key, serial, now - timedelta(days=40))
        _write(Authorities(aged, _aged(former.newest, now)))
        took = until("another authority has signed", lambda: not before >= set(said()["issuers"]), 120)
        kubectl("rollout", "restart", "--namespace", RELEASE, f"deployment/{GATEWAY}")
        kubectl("rollout", "status", "--namespace", RELEASE, f"deployment/{GATEWAY}", "--timeout=180s")
    scene.give_authority()
    return f"another authority signs after {took:.1f} s, during {count.reads} reads, none failed"


def out_of_memory(scene: Scene) -> str:
    """The operator is killed for want of memory, again and again: people read on; with memory it goes on by itself."""
    scene.helm("upgrade", wait=False, resources={"limits": {"memory": TOO_LITTLE}, "requests": {"memory": TOO_LITTLE}})
    until("it was killed for that", lambda: "OOMKilled" in _ends(), 120)
    scene.works()
    scene.helm("upgrade")
    took = until("the binding is in force", lambda: scene.protected(scene.root_key))
    return f"OOMKilled with {TOO_LITTLE}; meanwhile psql logged in; in force {took:.1f} s after it had memory again"


def _ends() -> set[str]:
    """Why the operator's containers ended."""
    selector = ("--selector", "app.kubernetes.io/component=operator", "--output", "json")
    pods = json.loads(kubectl("get", "pods", "--namespace", RELEASE, *selector))["items"]
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", ())]
    states = [status.get(name, {}) for status in statuses for name in ("state", "lastState")]
    return {state["terminated"]["reason"] for state in states if "terminated" in state}


def _pods() -> int:
    selector = ("--selector", "app.kubernetes.io/component=gateway", "--output", "name")
    return len(kubectl("get", "pods", "--namespace", RELEASE, *selector).split())


def _bundle() -> str:
    return str(get(RELEASE, "configmap", AUTHORITY)["data"]["ca.crt"])


def _write(authorities: Authorities) -> None:
    values = {name: raw for name, raw in authorities.values().items() if raw is not None}
    document = manifests.secret(RELEASE, AUTHORITY, values)
    kubectl("patch", "secret", "--namespace", RELEASE, AUTHORITY, "--type=merge", "--patch-file=/dev/stdin",
            text=json.dumps({"data": document["data"]}))  # fmt: skip


def _aged(found: Authority, now: datetime) -> Authority:
    """The same authority, as if five sixths of its time were over."""
    return authority.create(found.key, found.certificate.serial_number, now - timedelta(days=310))


STEPS = (crash, roll, new_authority, out_of_memory)
