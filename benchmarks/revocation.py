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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

import replicas
import results
from drill import Act, Drill, Part
from drill_stage import CACHE_SECONDS, Stage
from openscale_byok.engine.reconciler import Engine
from openscale_byok.errors import ByokError
from openscale_byok.resources import KINDS, DataMart
from openscale_byok.shell.settings import OperatorSettings
from stage.scene import NAMESPACE, raise_scene

GRACE_SECONDS = 5.0
"""The bound is the poll interval and this."""
DEFAULT_POLL_SECONDS = 30.0


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
        *((f"blinded_{name}", options.blinded, take, stage.mend, options.poll_seconds + GRACE_SECONDS)
          for name, take in stage.blinded().items()),
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
    parser.add_argument("--blinded", type=int, default=20, help="rounds of each way to put something in between")
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

    settings = OperatorSettings(
        operator_address="127.0.0.1",
        operator_health_port=0,
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
    blinded = [each for part in parts if part.name.startswith("blinded_") for each in part.rounds]
    if blinded:
        every = Part("blinded", blinded, options.poll_seconds + GRACE_SECONDS)
        values[f"{prefix}blinded_p99_seconds"] = round(every.last(0.99), 3)
        values[f"{prefix}blinded_rounds"] = len(blinded)
    if not options.dry:
        results.save(values)
    late = [part.name for part in parts if not part.kept]
    print(json.dumps({"later than the bound": late}) if late else "every round ended within its bound")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
