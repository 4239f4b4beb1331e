"""`make bench ONLY=fairness`: what a noisy namespace costs a quiet one.

The noisy one has many instances, data marts and bindings; its root keys answer slowly, and its objects change all the
time. Measured in the quiet one, before and during that: the time from a new data mart to Ready, and from a root key's
disabling to the last password that a gateway hands out. Beside it the API calls of a seal, by a bare client: where they
take longer too, the API server is what everybody waits for, and none of ours. So by default the storm is no faster than
the API server of a small machine bears; `--rate 10000` is as fast as it lets them.
"""

import argparse
import http.client
import json
import ssl
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
from urllib.parse import urlsplit

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
    calls: float
    revocation: float


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20, help="of the noisy namespace")
    parser.add_argument("--datamarts", type=int, default=20, help="of each of them")
    parser.add_argument("--bindings", type=int, default=20, help="of each of them")
    parser.add_argument("--seconds", type=float, default=300.0, help="that the storm takes at most")
    parser.add_argument("--rate", type=float, default=40.0, help="changes a second at most")
    parser.add_argument("--rounds", type=int, default=31)
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
            with _storm(scene, client, slow, paths, options) as changed:
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
def _storm(
    scene: Scene, client: Client, slow: str, paths: list[str], options: argparse.Namespace
) -> Iterator[Callable[[], int]]:
    """Changes, and slow answers about the noisy namespace's root key, for as long as the block lasts."""
    order = {"url": client.url, "ca": client.ca, "token": client.token, "paths": paths}
    order |= {"seconds": options.seconds, "rate": options.rate, "connections": CONNECTIONS}
    scene.emulator.fault("*", key=slow, delay=SLOW_SECONDS)
    script = Path(__file__).with_name("storm.py")
    started = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    try:
        assert started.stdin is not None  # noqa: S101 -- asked for above
        started.stdin.write(json.dumps(order) + "\n")
        started.stdin.flush()
        time.sleep(3.0)  # it is under way
        yield lambda: int(told[0])
        if started.poll() is not None:
            raise RuntimeError("the storm was over before the measurement: give it more --seconds")
        told.append(started.communicate(timeout=60)[0] or "0")
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
    seals, calls, bare = [], [], _Connection(client)
    for number in range(options.rounds):
        seals.append(_seal(bare, f"{name}-{number}"))
        calls.append(_calls_of_a_seal(bare, f"{name}-{number}"))
    scene.emulator.disable(key)
    taken = last = time.monotonic()
    while time.monotonic() < taken + 2 * options.poll_seconds + GRACE_SECONDS:
        asked = time.monotonic()
        last = asked if ask() else last
        time.sleep(0.02)
    scene.emulator.enable(key, ignore_timing=True)
    scene.until(ask, "the password is handed out again", 60)
    found = Measured(statistics.median(seals), statistics.median(calls), last - taken)
    _say(f"{name}: {found}")
    return found


class _Connection:
    """A bare client on one connection that stays: no handshake is in what it measures."""

    def __init__(self, client: Client) -> None:
        address = urlsplit(client.url)
        context = ssl.create_default_context(cafile=client.ca)
        self._http = http.client.HTTPSConnection(address.hostname or "", address.port, timeout=120, context=context)
        self._headers = {"Authorization": f"Bearer {client.token}"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call, and the JSON of its answer."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        text = None if body is None else json.dumps(body)
        self._http.request(method, path, text, self._headers | {"Content-Type": kind})
        answer = self._http.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        return found


def _seal(client: _Connection, name: str) -> float:
    """From a new data mart to its being Ready."""
    path = f"{GROUP_PATH}/namespaces/{QUIET}/datamarts"
    secret = manifests.secret(QUIET, name, {"password": uuid.uuid4().hex})
    client.ask("POST", f"/api/v1/namespaces/{QUIET}/secrets", secret)
    client.ask("POST", path, manifests.datamart(QUIET, name, "i0", name))
    began = time.monotonic()
    while not _ready(client.ask("GET", f"{path}/{name}")):
        if time.monotonic() > began + 120:
            raise TimeoutError(f"{name} is not sealed")
        time.sleep(0.005)
    return time.monotonic() - began


def _calls_of_a_seal(client: _Connection, name: str) -> float:
    """What a first seal asks of the API server, one after the other: twice the source, and a write of the data mart."""
    secret, mart = f"/api/v1/namespaces/{QUIET}/secrets/{name}", f"{GROUP_PATH}/namespaces/{QUIET}/datamarts/{name}"
    began = time.monotonic()
    for step in ("sealed", "confirmed"):
        client.ask("GET", secret)
        client.ask("PATCH", mart, {"metadata": {"annotations": {"example.org/floor": step}}})
    return time.monotonic() - began


def _ready(mart: dict[str, Any]) -> bool:
    conditions = mart.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _tell(quiet: Measured, noisy: Measured, changes: int, options: argparse.Namespace) -> int:
    rows = [
        (name, f"{found.seal * 1000:.0f}", f"{found.calls * 1000:.0f}", f"{found.revocation:.2f}")
        for name, found in (("quiet", quiet), ("noisy", noisy))
    ]
    print(f"\n{results.table(('', 'new data mart ms', 'its calls, bare, ms', 'last password s'), rows)}")
    ratio, floor = noisy.seal / quiet.seal, noisy.calls / quiet.calls
    bound = options.poll_seconds + GRACE_SECONDS
    print(
        f"\na seal takes {ratio:.2f} times as long (goal: at most {GOAL}), its calls by a bare client {floor:.2f} times"
    )
    print(f"{changes} changes")
    print(f"revocation within {noisy.revocation:.2f} s (bound: {bound:.0f} s)")
    if not options.dry:
        results.save({
            "fairness.ratio": round(ratio, 2),
            "fairness.floor_ratio": round(floor, 2),
            "fairness.revocation_seconds": round(noisy.revocation, 2),
            "fairness.changes": changes,
        })  # fmt: skip
    return 0 if noisy.revocation <= bound and ratio <= GOAL else 1


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
