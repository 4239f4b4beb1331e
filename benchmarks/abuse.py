"""`make bench ONLY=abuse`: what honest callers and probes notice of strangers and greedy neighbours.

One gateway with the settings that it is shipped with, as a process under the chart's rights. Beside each flood go on: a
caller by a connection that stays, one who connects anew for each read, one whose token is new each time, and probes of
`/livez` and `/readyz`. Each is compared with itself in quiet, before and after. All of it shares this machine's
processors, the floods too: they give way, and still cost what handshakes cost both sides.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

import results
from callers import KEPT, LIVE, NEW, NEWCOMER, READY, Callers, Seen
from flood import RANDOM, Flood
from openscale_byok.shell.gateway.side_calls import HEARTBEATS
from reencrypt import BENCH, Client, prepare
from stage import manifests
from stage.gateway_process import Gateway
from stage.scene import Scene, raise_scene

GOAL = 3.0
FRESH = 25
"""Tokens in each window that the gateway has not seen before."""
COUNTED = (KEPT, LIVE, READY)
"""Who goes into `abuse.p99_ratio`; the others connect anew, and share the handshakes' cost: they have figures of their
own."""
WAITERS = "waiters"
PATH = f"/v1/namespaces/{BENCH}/datamarts/mart-00000/credentials"
FOLDER = Path(__file__).parent
ELSEWHERE, HERE = "127.0.0.2", "127.0.0.1"


@dataclass(frozen=True)
class Ground:
    """The gateway, and those who call it."""

    scene: Scene
    client: Client
    gateway: Gateway
    seconds: float

    def window(self, flood: Flood | None = None) -> tuple[dict[str, Seen], dict[str, object]]:
        """What honest callers see now, or beside a flood; and what came of that."""
        (kept,), (new,) = (asyncio.run(self._tokens(name, 1)) for name in ("kept", "new"))
        fresh = asyncio.run(self._tokens("fresh", FRESH))
        health_port = int(self.gateway.health_url.rsplit(":", 1)[1])
        ca = self.scene.gateway_authority()
        order = Callers(self.gateway.port, health_port, ca, PATH, kept, new, fresh, self.seconds)
        with _process("callers.py", asdict(order)) as callers, ExitStack() as stack:
            crowd = stack.enter_context(_process("flood.py", asdict(flood))) if flood is not None else None
            callers.write("begin")
            seen = {name: Seen(**each) for name, each in json.loads(callers.read()).items()}
            return seen, json.loads(crowd.read()) if crowd is not None else {}

    async def _tokens(self, name: str, number: int) -> list[str]:
        """New tokens of a ServiceAccount, each another one."""
        url = f"{self.client.url}/api/v1/namespaces/{BENCH}/serviceaccounts/{name}/token"
        context = ssl.create_default_context(cafile=self.client.ca)
        body = {"spec": {"audiences": ["openscale-byok"], "expirationSeconds": 3_600}}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.client.token}"}) as session:

            async def one() -> str:
                async with session.post(url, json=body, ssl=context) as answer:
                    return str((await answer.json())["status"]["token"])

            return list(await asyncio.gather(*(one() for _ in range(number))))


class _Lines:
    """A process that is talked to by lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def write(self, line: str) -> None:
        """Say something."""
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def read(self) -> str:
        """What it says next."""
        return self._process.stdout.readline() if self._process.stdout is not None else ""


@contextmanager
def _process(script: str, order: dict[str, object]) -> Iterator[_Lines]:
    """A script of this folder that was given its order, and has said that it is under way."""
    argv = [sys.executable, str(FOLDER / script)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        lines = _Lines(process)
        lines.write(json.dumps(order))
        lines.read()
        yield lines


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datamarts", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each window")
    parser.add_argument("--crowd", type=int, default=1_300, help="connections of the largest flood")
    parser.add_argument("--only", default="", help="one flood, by its name")
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    with raise_scene(say, postgres=False, audited=False) as scene:
        say(f"creating {options.datamarts} data marts, sealed under a root key")
        client = Client.of(scene)
        prepare(scene, client, options.datamarts)
        for name in ("kept", "new", "fresh"):
            _account(scene, BENCH, name, "get datamartcredentials")
        with scene.gateway() as gateway:
            floods = _floods(scene, gateway, options)
            ground = Ground(scene, client, gateway, options.seconds)
            token = scene.cluster.token_for(BENCH, "kept", seconds=3_600, audience="openscale-byok")
            scene.until(lambda: gateway.call("GET", PATH, token).status == 200, "passwords are handed out")
            ground.window()  # warm
            quiet, seen = [ground.window()[0]], {}
            for name, order in floods.items():
                seen[name], outcome = ground.window(order)
                say(f"{name}: {outcome}")
                quiet.append(ground.window()[0])
    return _tell(quiet, seen, options)


def _account(scene: Scene, namespace: str, name: str, *rights: str) -> str:
    """A new ServiceAccount's token."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    rules = [manifests.right(each) for each in rights]
    scene.api.create(
        manifests.bare("v1", "ServiceAccount", namespace, name), *manifests.role(namespace, name, subject, rules)
    )
    return scene.cluster.token_for(namespace, name, seconds=3_600, audience="openscale-byok")


def _floods(scene: Scene, gateway: Gateway, options: argparse.Namespace) -> dict[str, Flood]:
    heartbeat, unsent = min(HEARTBEATS), "Host: localhost\r\nContent-Length: 100\r\n\r\n"
    bodiless = [f"POST {heartbeat} HTTP/1.1\r\n{unsent}", f"PUT /v1/nothing HTTP/1.1\r\n{unsent}"]
    stranger = f"GET /v1/entitlements HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {RANDOM}\r\n\r\n"
    lister = _account(scene, BENCH, "lister", "list datamarts", "get openscaleinstances")
    id_ = scene.get("OpenScaleInstance", BENCH, BENCH)["spec"]["serviceInstanceId"]
    listing = (
        f"GET /openscale/{id_}/v2/data_marts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {lister}\r\n\r\n"
    )
    long, port = options.seconds + 4, gateway.port
    health_port = int(gateway.health_url.rsplit(":", 1)[1])
    floods = {
        "bodies": Flood(port, options.crowd, long, bodiless, address=ELSEWHERE),
        "bodies_from_here": Flood(port, options.crowd, long, bodiless, address=HERE),
        "health": Flood(health_port, 300, long, tls=False, address=ELSEWHERE),
        "health_from_here": Flood(health_port, 300, long, tls=False, address=HERE),
        "waits": Flood(port, 512, long, [_wait(scene, gateway)], again=True),
        "tokens": Flood(port, 450, long, [stranger], again=True),
        "lists": Flood(port, 30, long, [listing], again=True),
    }
    return {name: order for name, order in floods.items() if options.only in ("", name)}


def _wait(scene: Scene, gateway: Gateway) -> str:
    """A request that waits for what does not come: its instance is suspended."""
    scene.namespace(WAITERS)
    crn, id_ = scene.emulator.create_root_key(), str(uuid.uuid4())
    scene.create(manifests.secret(WAITERS, "key-protect", {"apikey": scene.api_key(crn)}))
    scene.apply(manifests.instance(WAITERS, WAITERS, id_, api_key_secret="key-protect", suspend=True))  # noqa: S106 -- the name of a Secret
    rights = ("get openscaleinstances", "list,create,delete rootkeybindings", f"bind openscaleinstances/{WAITERS}")
    token, path = _account(scene, WAITERS, "waiter", *rights), f"/openscale/{id_}/v2/user_preferences/user_root_key_crn"
    body = json.dumps({"user_root_key_crn": crn})
    scene.until(lambda: gateway.call("PUT", path, token, body.encode()).status == 202, "a root key can be asked for")
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nPrefer: wait=300\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def _tell(quiet: list[dict[str, Seen]], seen: Mapping[str, dict[str, Seen]], options: argparse.Namespace) -> int:
    names = (KEPT, NEW, NEWCOMER, LIVE, READY)
    calm = {name: statistics.median(each[name].p99 for each in quiet) for name in names}
    rows, values = [("quiet", *(f"{calm[name] * 1e3:.1f}" for name in names), "")], dict[str, float | int | str]()
    ratios: dict[str, float] = dict.fromkeys(names, 0.0)
    for number, (flood, by) in enumerate(seen.items()):
        failed = {name: each.others for name, each in by.items() if each.others}
        # The machine's speed drifts: each flood is held against the quiet right before and after it.
        beside = {name: statistics.mean(each[name].p99 for each in quiet[number : number + 2]) for name in names}
        ratio = {name: by[name].p99 / beside[name] for name in names}
        rows.append((flood, *(f"{by[n].p99 * 1e3:.1f} ({ratio[n]:.1f})" for n in names), json.dumps(failed)))
        for name in names:
            ratios[name] = max(ratios[name], ratio[name])
            values[f"abuse.{flood}.{name}_p99_seconds"] = round(by[name].p99, 5)
            values[f"abuse.{flood}.{name}_p99_ratio"] = round(ratio[name], 2)
            values[f"abuse.{flood}.{name}_not_200"] = sum(by[name].others.values())
    values |= {f"abuse.quiet.{name}_p99_seconds": round(calm[name], 5) for name in names}
    values |= {f"abuse.{name}_p99_ratio": round(ratios[name], 2) for name in names}
    worst = max(ratios[name] for name in COUNTED)
    values["abuse.p99_ratio"] = round(worst, 2)
    print()
    print(results.table(("p99 in ms", *(f"{name} (ratio)" for name in names), "not 200"), rows))
    print(f"\nworst of {', '.join(COUNTED)}: {worst:.1f} times as long as in quiet (goal: at most {GOAL:.0f})")
    if not options.dry and not options.only:
        results.save(values | {"abuse.connections": options.crowd, "abuse.datamarts": options.datamarts})
    return 0 if worst <= GOAL or options.dry else 1


if __name__ == "__main__":
    sys.exit(main())
