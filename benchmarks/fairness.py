"""`make bench ONLY=fairness`: what a noisy namespace costs a quiet one.

The noisy one has many instances, data marts and bindings; its root keys answer slowly, and its objects change as fast
as the API server lets them. Measured in the quiet one, before and during that: the time from a new data mart to Ready,
and from a root key's disabling to the last password that a gateway hands out. Beside it a bare write to the API server,
as the storm costs that too, which is none of ours.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from reencrypt import GROUP_PATH, Client
from stage import manifests
from stage.gateway_process import Gateway
from stage.scene import Scene, raise_scene

GOAL, GRACE_SECONDS = 2.0, 5.0
QUIET, NOISY, READER = "quiet", "noisy", "reader"
CONNECTIONS = 16
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Measured:
    """Seconds, each the median of the rounds but for the last, which is the longest."""

    seal: float
    write: float
    revocation: float


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20, help="of the noisy namespace")
    parser.add_argument("--datamarts", type=int, default=20, help="of each of them")
    parser.add_argument("--bindings", type=int, default=20, help="of each of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="that the storm takes at most")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--poll-seconds", type=float, default=2.0)
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()
    settings = {"KEY_POLL_SECONDS": str(options.poll_seconds)}
    with raise_scene(_say, postgres=False, audited=False, settings=settings) as scene:
        client = Client.of(scene)
        key = _tenant(scene, QUIET, 1, 0)
        slow = _tenant(scene, NOISY, options.instances, options.bindings)
        paths = _noisy_marts(scene, client, options)
        with scene.gateway(KEY_POLL_SECONDS=str(options.poll_seconds)) as gateway:
            ask = _asking(scene, gateway)
            quiet = _measure(scene, client, key, ask, options, "quiet")
            with _storm(scene, client, slow, paths, options.seconds) as changed:
                noisy = _measure(scene, client, key, ask, options, "noisy")
            changes = changed()
    return _tell(quiet, noisy, changes, options)


def _tenant(scene: Scene, namespace: str, instances: int, more_bindings: int) -> str:
    scene.namespace(namespace)
    crn = scene.emulator.create_root_key()
    scene.create(manifests.secret(namespace, "key-protect", {"apikey": scene.api_key(crn)}))
    for number in range(instances):
        name = f"i{number}"
        made = manifests.instance(namespace, name, str(uuid.uuid4()), api_key_secret="key-protect")  # noqa: S106 -- the name of a Secret
        others = [manifests.binding(namespace, f"{name}-{n}", name, crn) for n in range(more_bindings)]
        scene.apply(made, manifests.binding(namespace, name, name, crn), *others)
    return crn


def _noisy_marts(scene: Scene, client: Client, options: argparse.Namespace) -> list[str]:
    path = f"{GROUP_PATH}/namespaces/{NOISY}/datamarts"
    names = [(f"i{i}", f"i{i}-{n}") for i in range(options.instances) for n in range(options.datamarts)]
    secrets = f"/api/v1/namespaces/{NOISY}/secrets"
    client.create((secrets, manifests.secret(NOISY, name, {"password": uuid.uuid4().hex})) for _, name in names)
    client.create((path, manifests.datamart(NOISY, name, instance, name)) for instance, name in names)

    def sealed() -> bool:
        return all(_ready(mart) for mart in client.json(path)["items"])

    scene.until(sealed, "the noisy namespace is sealed", 600)
    return [f"{path}/{name}" for _, name in names]


@contextmanager
def _storm(scene: Scene, client: Client, slow: str, paths: list[str], seconds: float) -> Iterator[Callable[[], int]]:
    """Changes, and slow answers about the noisy namespace's root key, for as long as the block lasts."""
    order = {"url": client.url, "ca": client.ca, "token": client.token, "paths": paths}
    order |= {"seconds": seconds, "connections": CONNECTIONS}
    scene.emulator.fault("*", key=slow, delay=SLOW_SECONDS)
    script = Path(__file__).with_name("storm.py")
    started = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    try:
        assert started.stdin is not None  # noqa: S101 -- asked for above
        started.stdin.write(json.dumps(order))
        started.stdin.close()
        started.stdin = None
        time.sleep(3.0)  # it is under way
        yield lambda: int(told[0])
        if started.poll() is not None:
            raise RuntimeError("the storm was over before the measurement: give it more --seconds")
        told.append(started.communicate(timeout=seconds + 30)[0] or "0")
    finally:
        started.kill()
        started.wait()
        scene.emulator.clear_faults()


def _asking(scene: Scene, gateway: Gateway) -> Callable[[], bool]:
    """Whether the gateway hands out the quiet namespace's password."""
    subject = {"kind": "ServiceAccount", "name": READER, "namespace": QUIET}
    scene.api.create(
        manifests.bare("v1", "ServiceAccount", QUIET, READER),
        *manifests.role(QUIET, READER, subject, [manifests.right("get datamartcredentials")]),
    )
    token = scene.cluster.token_for(QUIET, READER, seconds=7_200, audience="openscale-byok")
    path = f"/v1/namespaces/{QUIET}/datamarts/read/credentials"
    scene.create(
        manifests.secret(QUIET, "read", {"password": uuid.uuid4().hex}), manifests.datamart(QUIET, "read", "i0", "read")
    )

    def ask() -> bool:
        return gateway.call("GET", path, token).status == 200

    scene.until(ask, "the gateway hands out the password", 60)
    return ask


def _measure(
    scene: Scene, client: Client, key: str, ask: Callable[[], bool], options: argparse.Namespace, name: str
) -> Measured:
    seals, writes = [], []
    for number in range(options.rounds):
        began = time.monotonic()
        client.create([(f"/api/v1/namespaces/{QUIET}/configmaps", _config_map(f"{name}-{number}"))])
        writes.append(time.monotonic() - began)
        seals.append(_seal(client, f"{name}-{number}"))
    scene.emulator.disable(key)
    taken = last = time.monotonic()
    while time.monotonic() < taken + 2 * options.poll_seconds + GRACE_SECONDS:
        asked = time.monotonic()
        last = asked if ask() else last
        time.sleep(0.02)
    scene.emulator.enable(key, ignore_timing=True)
    scene.until(ask, "the password is handed out again", 60)
    found = Measured(statistics.median(seals), statistics.median(writes), last - taken)
    _say(f"{name}: {found}")
    return found


def _seal(client: Client, name: str) -> float:
    """From a new data mart to its being Ready."""
    path = f"{GROUP_PATH}/namespaces/{QUIET}/datamarts"
    secret = manifests.secret(QUIET, name, {"password": uuid.uuid4().hex})
    client.create([(f"/api/v1/namespaces/{QUIET}/secrets", secret)])
    client.create([(path, manifests.datamart(QUIET, name, "i0", name))])
    began = time.monotonic()
    while not _ready(client.json(f"{path}/{name}")):
        if time.monotonic() > began + 120:
            raise TimeoutError(f"{name} is not sealed")
        time.sleep(0.01)
    return time.monotonic() - began


def _config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def _ready(mart: dict[str, Any]) -> bool:
    conditions = mart.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _tell(quiet: Measured, noisy: Measured, changes: int, options: argparse.Namespace) -> int:
    rows = [
        (name, f"{found.seal * 1000:.0f}", f"{found.write * 1000:.0f}", f"{found.revocation:.2f}")
        for name, found in (("quiet", quiet), ("noisy", noisy))
    ]
    print(f"\n{results.table(('', 'new data mart ms', 'bare write ms', 'last password s'), rows)}")
    ratio, floor = noisy.seal / quiet.seal, noisy.write / quiet.write
    bound = options.poll_seconds + GRACE_SECONDS
    print(f"\nratio {ratio:.2f} (goal: at most {GOAL}), of a bare write {floor:.2f}; {changes} changes")
    print(f"revocation within {noisy.revocation:.2f} s (bound: {bound:.0f} s)")
    if not options.dry:
        results.save({
            "fairness.ratio": round(ratio, 2),
            "fairness.floor_ratio": round(floor, 2),
            "fairness.revocation_seconds": round(noisy.revocation, 2),
            "fairness.changes": changes,
        })  # fmt: skip
    return 0 if noisy.revocation <= bound else 1


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
