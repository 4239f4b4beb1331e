"""Something to see: three teams, a change of a root key, reads, one that is disabled, one that expires, slow calls."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from stage import manifests
from stage.gateway_process import Gateway
from stage.scene import Scene
from stage.team import Team, Vault

MARTS = 40
DAYS = 12.0
"""Until the third team's root key expires."""
Say = Callable[[str], None]


def play(scene: Scene, gateway: Gateway, say: Say, seconds: float) -> None:
    """Have it happen; *seconds* is how long each part lasts, as the picture's axis shows it."""
    retail, risk, fraud = teams = [_team(scene, name) for name in ("retail", "risk", "fraud")]
    keys = [_protected(team) for team in teams]
    with _reading(retail, gateway):
        say("passwords are sealed under each team's root key, and read")
        time.sleep(seconds)
        say("retail changes its root key: everything is re-encrypted")
        second = scene.emulator.create_root_key(name="retail-second")
        retail.bind("second", second)
        retail.delete("RootKeyBinding", "first")
        retail.until_protected(second, seconds=300)
        time.sleep(seconds)
        say("Key Protect becomes slow, and once does not answer")
        scene.emulator.fault("metadata", delay=0.8)
        time.sleep(seconds / 2)
        scene.emulator.clear_faults()
        scene.emulator.fault("metadata", status=503, times=12)
        time.sleep(seconds / 2)
        scene.emulator.clear_faults()
        say("risk disables its root key")
        scene.emulator.disable(keys[1])
        risk.until_reason("RootKeyBinding", "first", "KeyDisabled", seconds=120)
        say("fraud's root key expires in twelve days")
        expires = datetime.fromtimestamp(scene.emulator.now() + DAYS * 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fraud.bind("expiring", scene.emulator.create_root_key(name="expiring", expiration=expires))
        time.sleep(seconds)


def _team(scene: Scene, name: str) -> Team:
    return Team(scene, Vault(), scene.namespace(name))


def _protected(team: Team) -> str:
    """An instance with its passwords under a root key of its own."""
    key = team.scene.emulator.create_root_key(name=team.namespace)
    team.create(manifests.secret(team.namespace, "key-protect", {"apikey": team.scene.api_key()}))
    team.instance()
    team.bind("first", key)
    team.marts(*(f"m{number}" for number in range(MARTS)))
    team.until_protected(key, seconds=300)
    return key


@contextmanager
def _reading(team: Team, gateway: Gateway) -> Iterator[None]:
    """Somebody who may reads a password again and again, and somebody who may not tries."""
    tokens = team.caller("app", "get datamartcredentials"), team.caller("stranger", "get datamarts")
    over = threading.Event()

    def read() -> None:
        number = 0
        while not over.wait(0.1):
            number += 1
            path = f"/v1/namespaces/{team.namespace}/datamarts/m{number % MARTS}/credentials"
            with contextlib.suppress(OSError):
                gateway.call("GET", path, tokens[number % 5 == 0])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join()
