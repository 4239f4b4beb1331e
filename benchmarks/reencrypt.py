"""`make bench`: N data marts of one instance re-encrypted on a real API server, beside the floor.

The floor is a bare client that writes as many patches of the same size with the same concurrency. The two
alternate in one run, since a shared machine's speed drifts: what counts is the ratio, not the seconds.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

import results
from stage import manifests
from stage.scene import NAMESPACE, OPERATOR_ACCOUNT, Scene, raise_scene

GOAL = 1.3
CONCURRENCY = 32
BENCH = "bench"
GROUP_PATH = "/apis/openscale.byok.dev/v1alpha1"


@dataclass(frozen=True)
class Client:
    """The admin's token and how to reach the API server."""

    url: str
    ca: str
    token: str

    @classmethod
    def of(cls, scene: Scene) -> "Client":
        """Somebody who may do everything, by token."""
        scene.kubectl("create", "serviceaccount", "bench", "-n", NAMESPACE)
        scene.kubectl(
            "create",
            "clusterrolebinding",
            "bench",
            "--clusterrole=cluster-admin",
            f"--serviceaccount={NAMESPACE}:bench",
        )
        token = scene.cluster.token_for(NAMESPACE, "bench", seconds=86_400)
        return cls(scene.cluster.url, str(scene.cluster.ca_file), token)

    def get(self, path: str) -> bytes:
        """GET a path."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})  # noqa: S310 -- the cluster's own URL
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(request, timeout=120, context=context) as answer:  # noqa: S310 -- the cluster's own URL
            return bytes(answer.read())

    def json(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """GET an object."""
        return json.loads(self.get(path))

    def status_patches(self) -> int:
        """How many patches of data marts' status the API server has answered, by its own count."""
        want = ('resource="datamarts"', 'subresource="status"', 'verb="PATCH"')
        lines = self.get("/metrics").decode().splitlines()
        found = [line for line in lines if line.startswith("apiserver_request_total{") and all(w in line for w in want)]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in found)

    def create(self, paths: Iterable[tuple[str, Any]]) -> None:
        """POST objects, many at a time."""
        asyncio.run(self._create(paths))

    async def _create(self, paths: Iterable[tuple[str, Any]]) -> None:
        context = ssl.create_default_context(cafile=self.ca)
        waiting = iter(paths)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), headers={"Authorization": f"Bearer {self.token}"}
        ) as session:

            async def serve() -> None:
                for path, body in waiting:
                    async with session.post(self.url + path, json=body) as answer:
                        if answer.status != 201:
                            raise RuntimeError(f"status {answer.status}: {await answer.text()}")

            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(serve())


@dataclass(frozen=True)
class Round:
    """One round of re-encryption, and the floor beside it."""

    operator: float
    floor: float
    writes: int
    calls: dict[str, int]
    peak_mb: float


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datamarts", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    with raise_scene(say, postgres=False, audited=False) as scene:
        client = Client.of(scene)
        say(f"creating {options.datamarts} data marts, sealed under a root key")
        prepare(scene, client, options.datamarts)
        rounds = []
        for number in range(options.rounds):
            rounds.append(_round(scene, client, options.datamarts, number + 1))
            say(f"round {number + 1}: {rounds[-1].operator:.2f} s, floor {rounds[-1].floor:.2f} s")
    return _tell(options.datamarts, rounds)


def prepare(scene: Scene, client: Client, number: int) -> None:
    """Data marts ``mart-00000`` and so on in namespace `BENCH`, each sealed under one root key."""
    scene.namespace(BENCH)
    crn = scene.emulator.create_root_key()
    scene.create(manifests.secret(BENCH, "key-protect", {"apikey": scene.api_key(crn)}))
    scene.apply(manifests.instance(BENCH, BENCH, str(uuid.uuid4()), api_key_secret="key-protect"))  # noqa: S106 -- the name of a Secret
    scene.apply(manifests.binding(BENCH, BENCH, BENCH, crn))
    names = [f"mart-{n:05}" for n in range(number)]
    secrets = f"/api/v1/namespaces/{BENCH}/secrets"
    marts = f"{GROUP_PATH}/namespaces/{BENCH}/datamarts"
    client.create((secrets, manifests.secret(BENCH, n, {"password": uuid.uuid4().hex}, handover=True)) for n in names)
    client.create((marts, manifests.datamart(BENCH, n, BENCH, n)) for n in names)
    _until_settled(scene, client, number)


def _until_settled(scene: Scene, client: Client, number: int, revision: int = 0) -> None:
    def settled() -> bool:
        status = client.json(f"{GROUP_PATH}/namespaces/{BENCH}/openscaleinstances/{BENCH}").get("status", {})
        properties = status.get("properties", {})
        return (
            status.get("secrets", {}).get("current") == number
            and len(properties.get("dataKeys", ())) == 1
            and properties.get("dataKeyRevision", 0) == revision
            and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
        )

    scene.until(settled, "every data mart is sealed and re-encrypted", 60 + number / 20)


def _round(scene: Scene, client: Client, number: int, revision: int) -> Round:
    marts = _marts(client)
    scene.operator.stop()
    floor = _floor(client, marts, scene.cluster.token_for(NAMESPACE, OPERATOR_ACCOUNT))
    scene.operator.start()
    _until_idle(scene)
    calls, writes = scene.emulator.counts(), client.status_patches()
    offset = len(scene.operator.lines())
    began = time.time()
    scene.kubectl(
        "patch", "openscaleinstance", BENCH, "-n", BENCH, "--type=merge",
        "-p", json.dumps({"spec": {"dataKeyRevision": revision}}),
    )  # fmt: skip
    _until_settled(scene, client, number, revision)
    lines = scene.operator.lines()[offset:]
    minted = next(_time(line) for line in lines if line["event"] == "minted")
    done = max(_time(line) for line in lines if line["event"] == "re-encrypted")
    after = scene.emulator.counts()
    used = {op: after.get(op, 0) - calls.get(op, 0) for op in ("wrap", "unwrap", "rewrap")}
    assert minted >= began - 1  # noqa: S101 -- one clock for both
    return Round(done - minted, floor, client.status_patches() - writes, used, _peak_mb(scene.operator.pid))


def _floor(client: Client, marts: Sequence[Any], token: str) -> float:
    """With the operator's own token: the policy on statuses lets nobody else write them, and costs both the same."""
    patches = []
    for mart in marts:
        sealed = mart["status"]["sealedPassword"]
        status = {
            "sealedPassword": {k: sealed[k] for k in ("dataKey", "envelope")}
            | {"sealedTime": _now(), "stuckUnder": None}
        }
        path = (
            f"{GROUP_PATH}/namespaces/{BENCH}/datamarts/{mart['metadata']['name']}/status?fieldManager=openscale-byok"
        )
        patches.append((path, {"metadata": {"resourceVersion": mart["metadata"]["resourceVersion"]}, "status": status}))
    order = {"url": client.url, "ca": client.ca, "token": token, "concurrency": CONCURRENCY, "patches": patches}
    script = Path(__file__).with_name("floor.py")
    done = subprocess.run(
        [sys.executable, str(script)], input=json.dumps(order), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _marts(client: Client) -> list[Any]:
    found: list[Any] = []
    following = ""
    while True:
        page = client.json(f"{GROUP_PATH}/namespaces/{BENCH}/datamarts?limit=500&continue={following}")
        found += page["items"]
        following = page["metadata"].get("continue", "")
        if not following:
            return found


def _until_idle(scene: Scene) -> None:
    """Until the operator has listed and verified everything: its processor time stands still."""
    stat, last = Path(f"/proc/{scene.operator.pid}/stat"), ""

    def idle() -> bool:
        nonlocal last
        used = " ".join(stat.read_text().rsplit(")", 1)[1].split()[11:13])
        time.sleep(0.7)
        same, last = used == last, used
        return same

    scene.until(idle, "the operator is idle", 120)


def _peak_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _tell(number: int, rounds: Sequence[Round]) -> int:
    ratio = statistics.median(r.operator / r.floor for r in rounds)
    operator, floor = (statistics.median(getattr(r, name) for r in rounds) for name in ("operator", "floor"))
    rows = [
        (str(i + 1), f"{r.operator:.2f}", f"{r.floor:.2f}", f"{r.operator / r.floor:.2f}", str(r.writes),
         " ".join(f"{count} {op}" for op, count in r.calls.items() if count), f"{r.peak_mb:.0f}")
        for i, r in enumerate(rounds)
    ]  # fmt: skip
    print()
    header = ("round", "re-encrypt s", "floor s", "ratio", "data mart writes", "Key Protect", "peak MB")
    print(results.table(header, rows))
    print(f"\n{number} data marts: median ratio {ratio:.2f} (goal: at most {GOAL});")
    print(f"{number / operator:.0f} re-encrypted a second, floor {number / floor:.0f}")
    results.save({
        "reencrypt.datamarts": number,
        "reencrypt.ratio": round(ratio, 3),
        "reencrypt.per_second": round(number / operator, 1),
        "reencrypt.floor_per_second": round(number / floor, 1),
        "reencrypt.writes": rounds[-1].writes,
        "reencrypt.key_protect_calls": sum(rounds[-1].calls.values()),
        "reencrypt.peak_mb": round(max(r.peak_mb for r in rounds), 1),
    })  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
