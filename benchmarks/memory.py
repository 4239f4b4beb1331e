"""`make bench ONLY=memory`: what objects cost operator and gateway in memory, as processes on a real API server.

Ordinary data marts, all of one instance; and fat ones, whose annotations are as large as the API server lets them be.
Each peak is of a process that saw them come, and of one that was started when all were there; the higher one counts.
"""

import argparse
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from reencrypt import GROUP_PATH, Client
from stage import manifests
from stage.gateway_process import Gateway
from stage.program import Program
from stage.scene import Scene, raise_scene

GOAL_MB = 250
SETTLE_SECONDS = 900.0
HOME = "memory"
FAT_BYTES = 255_000
"""The API server refuses annotations of more than 262,144 bytes together."""


@dataclass(frozen=True)
class Peaks:
    """Megabytes."""

    operator: float
    gateway: float


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datamarts", type=int, default=10_000)
    parser.add_argument("--fat", type=int, default=1_000)
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()
    sorts = (("ordinary", options.datamarts, 0), ("fat", options.fat, FAT_BYTES))
    measured = [(name, number, _measure(number, size)) for name, number, size in sorts if number]
    rows = [(f"{number} {name}", f"{p.operator:.0f}", f"{p.gateway:.0f}") for name, number, p in measured]
    print(f"\n{results.table(('data marts', 'operator MB', 'gateway MB'), rows)}")
    print(f"\npeaks; goal: at most {GOAL_MB} MB each")
    for name, number, peaks in measured if not options.dry else ():
        infix = "" if name == "ordinary" else f"{name}_"
        results.save({
            f"memory.operator_mb_{infix}{number}": round(peaks.operator, 1),
            f"memory.gateway_mb_{infix}{number}": round(peaks.gateway, 1),
        })  # fmt: skip
    return 0


def _measure(number: int, annotation_bytes: int) -> Peaks:
    with raise_scene(_say, postgres=False, audited=False) as scene:
        client = Client.of(scene)
        with scene.gateway("first") as gateway:
            _say(f"creating {number} data marts, each with {annotation_bytes} bytes of annotation")
            _create(scene, client, number, annotation_bytes)
            seen = [(_peak_mb(scene.operator), _peak_mb(gateway))]
        _say("starting operator and gateway anew")
        scene.operator.restart()
        with _ready(scene) as gateway:
            _re_encrypt(scene, client, number)
            seen.append((_peak_mb(scene.operator), _peak_mb(gateway)))
        _say(f"peaks: {seen}")
        return Peaks(max(operator for operator, _ in seen), max(gateway for _, gateway in seen))


def _create(scene: Scene, client: Client, number: int, annotation_bytes: int) -> None:
    scene.namespace(HOME)
    crn = scene.emulator.create_root_key()
    scene.create(manifests.secret(HOME, "key-protect", {"apikey": scene.api_key(crn)}))
    scene.apply(manifests.instance(HOME, HOME, str(uuid.uuid4()), api_key_secret="key-protect"))  # noqa: S106 -- the name of a Secret
    scene.apply(manifests.binding(HOME, HOME, HOME, crn))
    names = [f"mart-{n:05}" for n in range(number)]
    secrets = f"/api/v1/namespaces/{HOME}/secrets"
    client.create((secrets, manifests.secret(HOME, n, {"password": uuid.uuid4().hex}, handover=True)) for n in names)
    client.create((f"{GROUP_PATH}/namespaces/{HOME}/datamarts", _mart(name, annotation_bytes)) for name in names)
    _until_settled(scene, client, number, 0)


def _mart(name: str, annotation_bytes: int) -> dict[str, Any]:
    found = manifests.datamart(HOME, name, HOME, name)
    if annotation_bytes:
        found["metadata"]["annotations"] = {"example.org/fat": name.ljust(annotation_bytes, "x")}
    return found


def _re_encrypt(scene: Scene, client: Client, number: int) -> None:
    """Every object is opened, sealed, written and seen once more."""
    patch = '{"spec": {"dataKeyRevision": 1}}'
    scene.kubectl("patch", "openscaleinstance", HOME, "-n", HOME, "--type=merge", "-p", patch)
    _until_settled(scene, client, number, 1)


def _until_settled(scene: Scene, client: Client, number: int, revision: int) -> None:
    def settled() -> bool:
        status = client.json(f"{GROUP_PATH}/namespaces/{HOME}/openscaleinstances/{HOME}").get("status", {})
        properties = status.get("properties", {})
        return (
            status.get("secrets", {}).get("current") == number
            and len(properties.get("dataKeys", ())) == 1
            and properties.get("dataKeyRevision", 0) == revision
            and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
        )

    scene.until(settled, f"{number} data marts are sealed and the instance is Ready", SETTLE_SECONDS)


@contextmanager
def _ready(scene: Scene) -> Iterator[Gateway]:
    with scene.gateway("second") as gateway:
        scene.until(lambda: gateway.health("/readyz").status == 200, "the gateway is ready", SETTLE_SECONDS)
        yield gateway


def _peak_mb(program: Program) -> float:
    text = Path(f"/proc/{program.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
