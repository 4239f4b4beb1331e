"""A root key is taken away while two gateways hand out what it protects: each learns it, and refuses, for itself."""

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from openscale_byok.engine.key_poll import LATE_SECONDS
from stage.gateway_process import Gateway
from stage.program import Answer
from stage.scene import Scene
from stage.team import API_KEY_SECRET, Team, Vault

READ = "get datamartcredentials"
LIMITS = {"GATEWAY_REQUESTS_PER_SECOND": "1000", "GATEWAY_BURST": "1000"}
POLL_SECONDS = 0.25
"""The scene's; spread by a tenth."""


@dataclass
class Readers:
    """Somebody who may read a data mart, by each of some gateways."""

    team: Team
    token: str
    gateways: list[Gateway]

    @property
    def key(self) -> str:
        """The root key that protects it."""
        return self.team.keys[0]

    @property
    def path(self) -> str:
        """Its credentials."""
        return f"/v1/namespaces/{self.team.namespace}/datamarts/m/credentials"

    def ask(self, gateway: Gateway, **headers: str) -> Answer:
        """One read."""
        return gateway.call("GET", self.path, self.token, headers=headers)

    def until(self, condition: Callable[[Answer], bool], what: str, gateways: list[Gateway] | None = None) -> None:
        """Wait until a read by each gateway is answered so."""
        for gateway in gateways or self.gateways:
            self.team.until(lambda gateway=gateway: condition(self.ask(gateway)), what)

    def until_served(self, gateways: list[Gateway] | None = None) -> None:
        """Wait until each hands the password out."""
        self.until(lambda a: a.status == 200 and a.json["password"] == self.team.passwords["m"], "served", gateways)

    def until_refused(self, code: str, gateways: list[Gateway] | None = None) -> None:
        """Wait until each refuses for this reason, and says that it is a revocation; then it goes on to refuse."""
        self.until(lambda a: a.status == 403 and a.code == code and revoked(a), f"refused: {code}", gateways)
        self.team.polled(6)
        for gateway in gateways or self.gateways:
            assert self.ask(gateway).code == code


def revoked(answer: Answer) -> bool:
    """Whether whoever has the password is told to let it go."""
    return answer.headers.get("openscale-byok-revoked") == "true"


@pytest.fixture(scope="module")
def replicas(scene: Scene, vault: Vault) -> Iterator[list[Gateway]]:
    """Two, each with a memory, a poll and an audit of its own."""
    with scene.gateway("one", **LIMITS) as one, scene.gateway("two", **LIMITS) as two:
        yield [one, two]
        assert one.is_alive
        assert two.is_alive
    for name in ("one", "two"):
        for kind in ("log", "audit"):
            vault.look(f"gateway {name}'s {kind}", (scene.folder / f"{name}.{kind}").read_text())
    assert not vault.leaks


@pytest.fixture
def readers(replicas: list[Gateway], team: Team) -> Readers:
    """One data mart under a root key; both gateways hand its password out."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key, dataKeyCacheSeconds=60)
    team.marts("m")
    team.until_protected(key)
    found = Readers(team, team.caller("reader", READ), replicas)
    found.until_served()
    return found


def test_a_disabled_root_key_is_refused_by_every_replica(readers: Readers) -> None:
    """Also to those who have the password already; and it is served again by each once the root key is enabled."""
    tags = [readers.ask(gateway).headers["etag"] for gateway in readers.gateways]
    assert tags[0] == tags[1], "a poller may ask any of them"
    assert readers.ask(readers.gateways[0], **{"If-None-Match": tags[1]}).status == 304
    readers.team.scene.emulator.disable(readers.key)
    readers.until_refused("KeyDisabled")
    for gateway in readers.gateways:
        refused = readers.ask(gateway, **{"If-None-Match": tags[0]})
        assert (refused.status, refused.code) == (403, "KeyDisabled")
        assert revoked(refused)
        assert readers.team.passwords["m"].encode() not in refused.body
    readers.team.scene.emulator.enable(readers.key, ignore_timing=True)
    readers.until_served()


def test_a_grant_that_was_removed_is_refused_by_every_replica(readers: Readers) -> None:
    """The root key is well, but we may not use it any more: a revocation like any other, until it is granted again."""
    team, emulator = readers.team, readers.team.scene.emulator
    service_id = emulator.create_service_id()
    emulator.grant(service_id, emulator.instance, key=readers.key.rpartition(":")[2])
    api_key = emulator.create_api_key(service_id)
    team.vault.add(api_key)
    team.patch("Secret", API_KEY_SECRET, {"data": None, "stringData": {"apikey": api_key}})
    team.polled(6)  # the Secret is read anew at each look
    readers.until_served()
    emulator.revoke(service_id)
    readers.until_refused("NotAuthorized")
    emulator.grant(service_id, emulator.instance, key=readers.key.rpartition(":")[2])
    readers.until_served()


@pytest.mark.parametrize("way", ["deleted", "emptied", "wrong key"])
def test_nobody_blinds_a_replica(readers: Readers, way: str) -> None:
    """An editor takes the API key away, then the owner disables the root key: each replica refuses all the same; and
    each serves again once both are as they were."""
    team = readers.team
    if way == "deleted":
        team.delete("Secret", API_KEY_SECRET)
    else:
        values = {"apikey": ""} if way == "emptied" else {"apikey": None, "other": "eA=="}
        team.patch("Secret", API_KEY_SECRET, {"data": values})
    team.until_reason(
        "RootKeyBinding", "a", "SecretNotFound" if way == "deleted" else "CredentialsMissing", "KeyUsable"
    )
    team.polled(6)
    readers.until_served()
    team.scene.emulator.disable(readers.key)
    readers.until_refused("KeyDisabled")
    team.scene.emulator.enable(readers.key, ignore_timing=True)
    readers.until_served()
    if way == "deleted":
        team.source(API_KEY_SECRET, apikey=team.scene.api_key(readers.key))
    else:
        team.patch("Secret", API_KEY_SECRET, {"stringData": {"apikey": team.scene.api_key(readers.key)}})
    team.until_reason("RootKeyBinding", "a", "KeyActive", "KeyUsable")
    readers.until_served()


def test_patience_that_is_asked_for_puts_no_look_off(readers: Readers) -> None:
    """Key Protect asked each replica to come back in five minutes; then the root key is disabled, and each refuses."""
    team = readers.team
    before = [_unanswered(gateway) for gateway in readers.gateways]
    team.scene.emulator.fault("metadata", key=readers.key, status=429, retry_after=300)
    for gateway, looks in zip(readers.gateways, before, strict=True):
        team.until(lambda g=gateway, n=looks: _unanswered(g) > n, "each was asked for patience")
    team.scene.emulator.clear_faults()
    team.scene.emulator.disable(readers.key)
    readers.until_refused("KeyDisabled")
    team.scene.emulator.enable(readers.key, ignore_timing=True)
    readers.until_served()


def test_key_protect_away_while_reading(readers: Readers) -> None:
    """Who has the data key at hand goes on for its cache's time; a replica that has it not says why, and when to ask
    again. That is no revocation."""
    team = readers.team
    before = [_unanswered(gateway) for gateway in readers.gateways]
    team.scene.emulator.fault("*", key=readers.key, drop=True)
    for gateway, looks in zip(readers.gateways, before, strict=True):
        team.until(lambda g=gateway, n=looks: _unanswered(g) > n + 2, "each found Key Protect away")
        assert readers.ask(gateway).status == 200
    with team.scene.gateway("cold", **LIMITS) as cold:
        answers: list[Answer] = []

        def said() -> bool:
            answers.append(readers.ask(cold))
            return answers[-1].status == 503 and answers[-1].code == "KeyProtectUnavailable"

        team.until(said, "the cold one says that Key Protect is away")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert {answer.status for answer in answers} == {503}
        assert not any(revoked(answer) for answer in answers)
        team.scene.emulator.clear_faults()
        readers.until_served([cold, *readers.gateways])


def _unanswered(gateway: Gateway) -> float:
    """How many looks at root keys got no answer, by the gateway's own count."""
    lines = gateway.health("/metrics").body.decode().splitlines()
    return sum(float(n.split()[-1]) for n in lines if n.startswith('openscale_byok_key_looks_total{usable="Unknown"}'))


def test_a_replica_that_stood_still_serves_nothing_before_it_has_looked(readers: Readers) -> None:
    """Stopped for longer than the bound, and asked meanwhile: what waits is refused when it goes on."""
    team, (one, two) = readers.team, readers.gateways
    waiting = [_connected(one, readers) for _ in range(8)]
    os.kill(one.pid, signal.SIGSTOP)
    try:
        stood = time.monotonic()
        team.scene.emulator.disable(readers.key)
        for connection in waiting:
            connection.request("GET", readers.path, headers={"Authorization": f"Bearer {readers.token}"})
        readers.until_refused("KeyDisabled", [two])
        longer = 1.1 * POLL_SECONDS + LATE_SECONDS + 0.1
        team.until(lambda: time.monotonic() > stood + longer, "longer than the bound has gone by")
    finally:
        os.kill(one.pid, signal.SIGCONT)
    for connection in waiting:
        assert connection.getresponse().status in (403, 503)
        connection.close()
    readers.until_refused("KeyDisabled", [one])


def _connected(gateway: Gateway, readers: Readers) -> http.client.HTTPSConnection:
    """A connection that is open, by which a password was read once."""
    made = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=gateway.trust(), timeout=60)
    made.request("GET", readers.path, headers={"Authorization": f"Bearer {readers.token}"})
    answer = made.getresponse()
    assert answer.status == 200
    answer.read()
    return made


def test_gateways_need_no_operator(readers: Readers) -> None:
    """With the operator killed they serve; a root key that is disabled then is refused, and served again after that."""
    team = readers.team
    team.scene.operator.kill()
    readers.until_served()
    team.scene.emulator.disable(readers.key)
    readers.until_refused("KeyDisabled")
    team.scene.emulator.enable(readers.key, ignore_timing=True)
    readers.until_served()
    team.scene.operator.start()


def test_a_replica_that_starts_while_the_root_key_is_disabled_never_serves(readers: Readers) -> None:
    """It looks before it hands anything out: from its first answer on it refuses, until the root key is enabled."""
    team = readers.team
    team.scene.emulator.disable(readers.key)
    with team.scene.gateway("late", **LIMITS) as late:
        answers: list[Answer] = []

        def refused() -> bool:
            answers.append(readers.ask(late))
            return answers[-1].status == 403 and answers[-1].code == "KeyDisabled"

        team.until(refused, "the new one refuses")
        assert all(answer.status in (403, 404, 503) for answer in answers)
        team.scene.emulator.enable(readers.key, ignore_timing=True)
        readers.until_served([late, *readers.gateways])
