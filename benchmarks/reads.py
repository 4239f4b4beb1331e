"""`make bench`: credentials read from a gateway over TLS, beside the floor.

The gateway is a process as its pod runs it: under the chart's rights, with a real API server, Key Protect's emulator
over HTTP, and an audit line on a disk for each password that it hands out. The floor is the same web server with TLS
answering a constant. Both are loaded in turn in one run, since a shared machine's speed drifts. What a read costs the
gateway's processor drifts less than reads a second do: neighbours take time, not work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

import results
from load import MOST_SAMPLES, Load, Order
from openscale_byok.crypto import authority
from reencrypt import BENCH, Client, prepare
from stage import manifests
from stage.gateway_process import Gateway
from stage.program import Answer
from stage.scene import Scene, raise_scene

GOAL = 2_000
MANY_GOAL = 1.3
CONNECTIONS = 16
LISTS_AT_ONCE = 4
HOT, MANY, UNCHANGED, FLOOR = "one data mart", "many data marts", "one, unchanged (304)", "the floor"
LIST = "the list of all (OpenScale's API)"
NAMES = {HOT: "", MANY: "many_marts_", UNCHANGED: "unchanged_", LIST: "list_", FLOOR: "floor_"}
FOLDER = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """Something that answers over TLS, and its process."""

    port: int
    ca: str
    pid: int

    def processor_seconds(self) -> float:
        """That it has taken so far."""
        used = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, used)) / TICKS


@dataclass(frozen=True)
class Measured:
    """A load, and the microseconds of the server's processor that each answer cost."""

    load: Load
    microseconds: float


@dataclass(frozen=True)
class Reads:
    """Whom to load with what."""

    gateway: Server
    floor: Server
    requests: dict[str, Sequence[str]]
    seconds: float

    def measure(self, what: str, seconds: float | None = None) -> Measured:
        """One load.

        Raises:
            RuntimeError: an answer was another than it must be, or the load took longer than what it loads.
        """
        server = self.floor if what == FLOOR else self.gateway
        connections = LISTS_AT_ONCE if what == LIST else CONNECTIONS
        order = Order(server.port, server.ca, self.requests[what], connections, seconds or self.seconds, MOST_SAMPLES)
        before = server.processor_seconds()
        done = subprocess.run(
            [sys.executable, str(FOLDER / "load.py")],
            input=json.dumps(asdict(order)), capture_output=True, text=True, check=True,
        )  # fmt: skip
        found, used = Load(**json.loads(done.stdout)), server.processor_seconds() - before
        if set(found.statuses) != {"304" if what == UNCHANGED else "200"}:
            raise RuntimeError(f"{what}: answers were {found.statuses}")
        return Measured(found, used / found.answers * 1e6)


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datamarts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load; five in a round")
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    with raise_scene(say, postgres=False, audited=False) as scene:
        say(f"creating {options.datamarts} data marts, sealed under a root key")
        prepare(scene, Client.of(scene), options.datamarts)
        limits = {"GATEWAY_REQUESTS_PER_SECOND": "100000", "GATEWAY_BURST": "100000"}
        with scene.gateway(**limits) as gateway, _composed(scene, gateway, options) as reads:
            for what in (FLOOR, HOT, MANY):  # warm: each data key, right and object once
                reads.measure(what, options.seconds / 2)
            rounds = []
            for number in range(options.rounds):
                rounds.append({what: reads.measure(what) for what in (HOT, FLOOR, MANY, UNCHANGED, LIST)})
                said = (f"{what} {found.load.per_second:.0f}/s" for what, found in rounds[-1].items())
                say(f"round {number + 1}: {', '.join(said)}")
            say(f"load average of this machine's {os.cpu_count()} processors: {os.getloadavg()[0]:.1f}")
    return _tell(rounds, options)


@contextmanager
def _composed(scene: Scene, gateway: Gateway, options: argparse.Namespace) -> Iterator[Reads]:
    """The gateway, and a floor that answers what the gateway answered once."""
    token = _reader(scene)
    paths = [_path(f"mart-{number:05}") for number in range(options.datamarts)]
    scene.until(lambda: gateway.call("GET", paths[0], token).status == 200, "the gateway hands passwords out")
    answer = gateway.call("GET", paths[0], token)
    instance = scene.api.get("OpenScaleInstance", BENCH, BENCH)
    requests = {
        HOT: [_request(paths[0], token)],
        MANY: [_request(path, token) for path in paths],
        UNCHANGED: [_request(paths[0], token, f"If-None-Match: {answer.headers['etag']}\r\n")],
        LIST: [_request(f"/openscale/{instance['spec']['serviceInstanceId']}/v2/data_marts", token)],
        FLOOR: [_request(paths[0], token)],
    }
    with _floor(answer) as floor:
        ours = Server(gateway.port, scene.gateway_authority(), gateway.pid)
        yield Reads(ours, floor, requests, options.seconds)


def _reader(scene: Scene) -> str:
    """The token of a workload that may read each data mart."""
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": BENCH}
    scene.api.create(
        manifests.bare("v1", "ServiceAccount", BENCH, "reader"),
        *manifests.role(
            BENCH, "reader", subject, [manifests.right("get datamartcredentials"), manifests.right("list datamarts")]
        ),
    )
    return scene.cluster.token_for(BENCH, "reader", seconds=3_600, audience="openscale-byok")


def _path(name: str) -> str:
    return f"/v1/namespaces/{BENCH}/datamarts/{name}/credentials"


def _request(path: str, token: str, more: str = "") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n"


@contextmanager
def _floor(answer: Answer) -> Iterator[Server]:
    now, keys = datetime.now(UTC), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    signer = authority.create(keys[0], 1, now)
    leaf = authority.leaf(signer, keys[1], 2, ("127.0.0.1",), now)
    dull = {"date", "server", "content-length", "connection"}
    order = {
        "certificate": authority.pem(leaf).decode(),
        "key": authority.private_pem(keys[1]).decode(),
        "body": answer.body.decode(),
        "headers": {name: value for name, value in answer.headers.items() if name not in dull},
    }
    argv = [sys.executable, str(FOLDER / "constant.py")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the floor has no pipes")
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        yield Server(int(process.stdout.readline()), authority.pem(signer.certificate).decode(), process.pid)
        process.stdin.close()


def _tell(rounds: Sequence[dict[str, Measured]], options: argparse.Namespace) -> int:
    def median(what: str, name: str) -> float:
        return statistics.median(getattr(each[what].load, name) for each in rounds)

    rows, values = [], dict[str, float | int | str]()
    for what, name in NAMES.items():
        rate, p50, p99 = (median(what, each) for each in ("per_second", "p50", "p99"))
        cost = statistics.median(each[what].microseconds for each in rounds)
        ratio = statistics.median(each[FLOOR].load.per_second / each[what].load.per_second for each in rounds)
        rows.append((what, f"{rate:.0f}", f"{p50 * 1e3:.1f}", f"{p99 * 1e3:.1f}", f"{cost:.0f}", f"{ratio:.2f}"))
        values |= {
            f"gateway.{name}reads_per_second": round(rate, 1),
            f"gateway.{name}p50_seconds": round(p50, 5),
            f"gateway.{name}p99_seconds": round(p99, 5),
            f"gateway.{name}processor_microseconds": round(cost, 1),
        } | ({f"gateway.{name}ratio": round(ratio, 3)} if what != FLOOR else {})
    cost = statistics.median(each[MANY].microseconds / each[HOT].microseconds for each in rounds)
    values["gateway.many_marts_cost"] = round(cost, 3)
    print()
    print(results.table(("read", "reads/s", "p50 ms", "p99 ms", "processor us", "floor/this"), rows))
    reached = f"{median(HOT, 'per_second'):.0f} reads a second warm (goal: at least {GOAL})"
    print(f"\nmany data marts cost {cost:.2f} times one (goal: at most {MANY_GOAL})")
    print(f"{reached}; {CONNECTIONS} connections, {options.datamarts} data marts, medians of {len(rounds)} rounds")
    if not options.dry:
        results.save(values | {"gateway.datamarts": options.datamarts, "gateway.connections": CONNECTIONS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
