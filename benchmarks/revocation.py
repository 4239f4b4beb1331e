"""The revocation drill of `make bench`: the root key is taken away while readers open passwords.

First through the engine, which runs in this process with the adapters that the operator has: a real API server, Key
Protect's emulator over HTTP. Then over HTTPS from two gateways, each a process with a look of its own at root keys.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

import replicas
import results
from drill import Act, Drill, Part
from openscale_byok.engine.reconciler import Engine
from openscale_byok.errors import ByokError
from openscale_byok.resources import KINDS, DataMart
from openscale_byok.shell.settings import Settings
from stage import manifests
from stage.scene import NAMESPACE, Scene, raise_scene

DRILL, API_KEY_SECRET = "drill", "key-protect"  # the name of a namespace, and of a Secret
MARTS = 50
GRACE_SECONDS = 5.0
"""The bound is the poll interval and this."""
CACHE_SECONDS = 60
"""The data keys' hard limit, as short as the CRD allows."""
DEFAULT_POLL_SECONDS = 30.0


@dataclass
class Stage:
    """A root key, the identity that may use it, and what is sealed under it."""

    scene: Scene
    root_key: str
    service_id: str
    api_key: str
    namespace: str = DRILL
    names: list[str] = field(default_factory=lambda: [f"mart-{number:02}" for number in range(MARTS)])

    @classmethod
    def set(cls, scene: Scene) -> "Stage":
        """Seal passwords under a root key; the operator's process does it, and then ends."""
        emulator = scene.emulator
        root_key, service_id = emulator.create_root_key(), emulator.create_service_id()
        emulator.grant(service_id, key=root_key)
        made = cls(scene, root_key, service_id, emulator.create_api_key(service_id))
        scene.namespace(DRILL)
        scene.api.create(
            manifests.secret(DRILL, API_KEY_SECRET, {"apikey": made.api_key}),
            manifests.instance(DRILL, DRILL, str(uuid.uuid4()), api_key_secret=API_KEY_SECRET),
            manifests.binding(DRILL, DRILL, DRILL, root_key, dataKeyCacheSeconds=CACHE_SECONDS),
        )
        for name in made.names:
            secret = manifests.secret(DRILL, name, {"password": uuid.uuid4().hex}, handover=True)
            scene.api.create(secret, manifests.datamart(DRILL, name, DRILL, name))
        scene.until(lambda: all(map(_is_ready, scene.api.list(DataMart.KIND, DRILL))), "everything is sealed")
        scene.operator.stop()
        return made

    def disable(self) -> None:
        """Turn the root key off."""
        self.scene.emulator.disable(self.root_key)

    def enable(self) -> None:
        """And on. (Key Protect asks for 30 seconds between the two; nobody here has learned anything by waiting.)"""
        self.scene.emulator.enable(self.root_key, ignore_timing=True)

    def revoke(self) -> None:
        """Take the grant on the root key away."""
        self.scene.emulator.revoke(self.service_id)

    def grant(self) -> None:
        """And give it again."""
        self.scene.emulator.grant(self.service_id, key=self.root_key)

    def delete_api_key(self) -> None:
        """Delete the API key. IAM lets the tokens that were bought with it live on, for an hour: that hour is over."""
        self.scene.emulator.delete_api_key(self.api_key)
        self.scene.emulator.advance(3_601)

    def new_api_key(self) -> None:
        """Another one, in the same Secret."""
        self.api_key = self.scene.emulator.create_api_key(self.service_id)
        data = {"apikey": b64encode(self.api_key.encode()).decode()}
        self.scene.api.patch("Secret", self.namespace, API_KEY_SECRET, {"data": data})

    def cut_off(self) -> None:
        """Every connection to Key Protect and IAM is dropped."""
        self.scene.emulator.fault("*", drop=True)

    def reconnect(self) -> None:
        """They answer again."""
        self.scene.emulator.clear_faults()


def _is_ready(mart: manifests.Object) -> bool:
    conditions = mart.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def _working(engine: Engine, stage: Stage) -> AsyncIterator[None]:
    for kind in KINDS:
        for raw in stage.scene.api.list(kind.KIND, stage.namespace):
            engine.see(kind.KIND, raw, gone=False)
    task = asyncio.create_task(engine.serve())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def play(engine: Engine, stage: Stage, options: argparse.Namespace) -> tuple[list[Part], float]:
    """All the parts of the drill; and the openings a second, while nothing was taken away."""
    ways: list[tuple[str, int, Act, Act, float]] = [
        ("disabled", options.rounds, stage.disable, stage.enable, options.poll_seconds + GRACE_SECONDS),
        ("grant_removed", options.others, stage.revoke, stage.grant, options.poll_seconds + GRACE_SECONDS),
        (
            "api_key_deleted", options.others, stage.delete_api_key, stage.new_api_key,
            options.poll_seconds + GRACE_SECONDS,
        ),
        ("cut_off", options.cut_off, stage.cut_off, stage.reconnect, float(CACHE_SECONDS)),
    ]  # fmt: skip
    parts = []

    async def ask(number: int) -> bool:
        try:
            await engine.open(DataMart.KIND, stage.namespace, stage.names[number % len(stage.names)])
        except ByokError:
            return False
        return True

    async with _working(engine, stage), Drill.of(ask, options.readers, options.poll_seconds) as drill:
        before, began = drill.readers.opened, time.monotonic()
        await asyncio.sleep(2 * options.poll_seconds)
        rate = (drill.readers.opened - before) / (time.monotonic() - began)
        for name, number, take, give_back, bound in ways:
            rounds = [await drill.play(take, give_back, bound) for _ in range(number)]
            if rounds:
                parts.append(Part(name, rounds, bound))
                print(f"{name}: {number} rounds", flush=True)
    return parts, rate


def main() -> int:
    """Measure, print and save. 1 where a bound was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of disabling the root key")
    parser.add_argument("--others", type=int, default=100, help="rounds of removing the grant, and of deleting the key")
    parser.add_argument("--cut-off", type=int, default=1, help="rounds without Key Protect; a minute or more each")
    parser.add_argument("--poll-seconds", type=float, default=0.5, help=f"the default is {DEFAULT_POLL_SECONDS:.0f}")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--gateway-rounds", type=int, default=20, help="of disabling it, with two gateways")
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with raise_scene(lambda text: print(text, flush=True), postgres=False, audited=False) as scene:
        stage = Stage.set(scene)
        parts, rate = run(stage, options)
        if options.gateway_rounds:
            bound = options.poll_seconds + GRACE_SECONDS
            taken = (stage.disable, stage.enable)
            replicated = replicas.drill(scene, stage.namespace, stage.names, taken, options, bound)
            parts.append(replicated)
    return _tell(parts, rate, options)


def run(stage: Stage, options: argparse.Namespace) -> tuple[list[Part], float]:
    """The drill on an engine in this process, composed as the operator is."""
    os.environ["KUBECONFIG"] = str(stage.scene.folder / "operator.kubeconfig")
    from openscale_byok.shell import app  # not before: kubernetes reads KUBECONFIG when it is imported

    settings = Settings(
        namespace=NAMESPACE,
        insecure_http=True,
        iam_url=stage.scene.emulator.iam_url,
        key_protect_url=stage.scene.emulator.url,
        key_poll_seconds=options.poll_seconds,
    )
    found: list[tuple[list[Part], float]] = []

    async def work(engine: Engine) -> None:
        found.append(await play(engine, stage, options))

    asyncio.run(app.run(settings, work))
    return found[0]


def _tell(parts: Sequence[Part], rate: float, options: argparse.Namespace) -> int:
    print()
    header = ("taken away", "rounds", "p50 s", "p99 s", "max s", "bound s", "recovery s")
    print(results.table(header, [part.row() for part in parts]))
    print(f"\n{options.readers} readers, {rate:.0f} openings a second; a look every {options.poll_seconds:g} s")
    # At the default interval the figures are others, and so are their names.
    prefix = "revocation.default_poll." if options.poll_seconds == DEFAULT_POLL_SECONDS else "revocation."
    values: dict[str, float | int | str] = {
        f"{prefix}poll_seconds": options.poll_seconds,
        f"{prefix}readers": options.readers,
        f"{prefix}opens_per_second": round(rate, 1),
    }
    for part in parts:
        first = prefix if part.name == "disabled" else f"{prefix}{part.name}_"
        if part.name == replicas.NAME:
            first = f"gateway.{prefix.replace('.', '_')}"
        values |= {
            f"{first}rounds": len(part.rounds),
            f"{first}p50_seconds": round(part.last(0.5), 3),
            f"{first}p99_seconds": round(part.last(0.99), 3),
            f"{first}max_seconds": round(part.last(1), 3),
            f"{first}bound_seconds": part.bound,
            f"{first}recovery_seconds": round(part.recovery, 3),
        }
        if part.name == "cut_off":
            values[f"{prefix}cut_off_seconds"] = round(part.last(1), 3)
    if not options.dry:
        results.save(values)
    late = [part.name for part in parts if not part.kept]
    print(json.dumps({"later than the bound": late}) if late else "every round ended within its bound")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
