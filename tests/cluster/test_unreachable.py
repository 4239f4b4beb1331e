"""Unreachable is not refused: every way not to get an answer, at every moment. One table of ways, a test a moment.

Whatever the way: `Unknown` or Reconciling with one message that stays, never Stalled; nothing is dropped, lost or
stuck; few calls; and it goes on by itself. The ways run side by side, each with an instance and root keys of
its own.
"""

from typing import Any

import pytest

from stage.strangers import ANSWERS, Strangers
from stage.team import Team

PAGE = "<html><body>cnry-proxy</body></html>"
HTML = {"body": PAGE, "content_type": "text/html"}
WAYS: dict[str, dict[str, Any]] = {
    "dropped": {"drop": True},
    "500": {"status": 500},
    "502": {"status": 502, **HTML},
    "503": {"status": 503},
    "429": {"status": 429},
    "429-later": {"status": 429, "retry_after": 6},
    "html-200": {"status": 200, **HTML},
    "html-403": {"status": 403, **HTML},
    "html-404": {"status": 404, **HTML},
    "empty": {"status": 200, "body": ""},
    "half": {"status": 200, "body": '{"resources": [{"state": 1'},
    "redirect": {"status": 307},
    "slow": {"delay": 15.0},
    "answer-lost": {"drop": True, "after": True},
}
"""As faults of the emulator."""

POLLS = 10
"""So long one looks at how often it calls. Retry-After asks for more than twice that."""
EACH_TWICE = 2 * (POLLS + 2)
"""aiohttp tries a dropped connection twice; and the wait ends within a poll or two of its count, not at it."""


class Ways:
    """Each way's instance, with its own root keys."""

    def __init__(self, team: Team) -> None:
        self.team = team
        number = len(WAYS)
        keys = team.root_keys(2 * number)
        self.first = dict(zip(WAYS, keys[:number], strict=True))
        self.second = dict(zip(WAYS, keys[number:], strict=True))
        for name in WAYS:
            team.instance(name)

    def bind(self, names: dict[str, str], suffix: str) -> None:
        for way, crn in names.items():
            self.team.bind(f"{way}-{suffix}", crn, way)

    def marts(self, suffix: str) -> None:
        for way in WAYS:
            self.team.marts(f"{way}-{suffix}", instance=way, handover=True)

    def until_ready(self, suffix: str) -> None:
        self.team.until_ready(*(f"{way}-{suffix}" for way in WAYS), seconds=90)

    def protected(self, names: dict[str, str]) -> None:
        """Wait until each is under its root key, and see every password open under that alone."""
        for way, crn in names.items():
            self.team.until_protected(crn, way, seconds=120)
        for way, crn in names.items():
            proof = self.team.proof(way)
            wanted = {n: p for n, p in self.team.passwords.items() if n.rpartition("-")[0] == way}
            assert (proof.holds, proof.passwords, proof.root_keys) == (True, wanted, {crn}), (way, proof.failures)

    def trouble(self, operation: str, names: dict[str, str]) -> None:
        for way, fault in WAYS.items():
            self.team.scene.emulator.fault(operation, key=names[way], **fault)

    def calls(self, names: dict[str, str], operation: str) -> dict[str, int]:
        """Calls by way."""
        counted = self.team.scene.emulator.all_counts()["keys"]
        return {way: counted.get(crn.rpartition(":")[2], {}).get(operation, 0) for way, crn in names.items()}

    def never_stalled(self, suffix: str) -> None:
        for way in WAYS:
            for kind, name in (("RootKeyBinding", f"{way}-{suffix}"), ("OpenScaleInstance", way)):
                assert not self.team.condition(kind, name, "Stalled"), self.team.standing()

    def said_once_and_asked_rarely(self, names: dict[str, str], operation: str, most: int) -> None:
        """No write at any try, and no more calls than that while so many polls go by."""
        self.team.until_settled()
        before = self.calls(names, operation)
        with self.team.counted() as tally:
            self.team.wait(POLLS)
        assert not tally.writes, self.team.standing()
        after = self.calls(names, operation)
        asked = {way: after[way] - before[way] for way in WAYS}
        assert max(asked.values()) <= most, asked
        assert asked["slow"] <= 1
        if operation != "metadata":  # a look is never put off: a no would go unnoticed meanwhile
            assert asked["429-later"] <= 1, "Retry-After is honoured"


@pytest.fixture
def ways(team: Team) -> Ways:
    """Every way, with an instance each."""
    return Ways(team)


def test_while_settled(team: Team, ways: Ways) -> None:
    """What was unwrapped serves on: what is sealed stays Ready, new passwords are sealed; only the poll calls."""
    ways.bind(ways.first, "a")
    ways.marts("one")
    ways.until_ready("one")
    ways.protected(ways.first)
    ways.trouble("*", ways.first)
    for way in WAYS:
        found = team.until_reason("RootKeyBinding", f"{way}-a", "KeyProtectUnavailable", "KeyUsable", 40)
        assert found["status"] == "Unknown"
        assert PAGE[6:20] not in found["message"]
        found = team.until_reason("OpenScaleInstance", way, "KeyProtectUnavailable", "KeyUsable")
        assert found["status"] == "Unknown"
        assert team.condition("RootKeyBinding", f"{way}-a", "Reconciling")["status"] == "True"
    ways.marts("two")
    ways.until_ready("two")
    ways.never_stalled("a")
    ways.said_once_and_asked_rarely(ways.first, "metadata", EACH_TWICE)
    assert not any(line["number"] for line in dropped(team)), "no answer is no reason to drop anything"
    team.scene.emulator.clear_faults()
    for way in WAYS:
        team.until_ready(f"{way}-a", kind="RootKeyBinding", seconds=60)
    ways.protected(ways.first)


def test_at_the_first_look(team: Team, ways: Ways) -> None:
    """Nothing is sealed under anything else meanwhile, and nothing minted; the source is kept."""
    ways.trouble("*", ways.first)
    ways.bind(ways.first, "a")
    ways.marts("one")
    for way in WAYS:
        found = team.until_reason("RootKeyBinding", f"{way}-a", "KeyProtectUnavailable", seconds=40)
        assert found["status"] == "Unknown"
        found = team.until_reason("DataMart", f"{way}-one", "WaitingForRootKey")
        assert team.condition("DataMart", f"{way}-one", "Reconciling")["status"] == "True"
        assert "properties" not in team.get("OpenScaleInstance", way)["status"]
        assert team.get("Secret", f"{way}-one-db")
    ways.never_stalled("a")
    ways.said_once_and_asked_rarely(ways.first, "metadata", EACH_TWICE)
    team.scene.emulator.clear_faults()
    ways.until_ready("one")
    ways.protected(ways.first)


def test_at_the_first_wrap(team: Team, ways: Ways) -> None:
    """The look is well, and the wrap gets no answer: said by its reason, tried ever more rarely, nothing half made."""
    ways.trouble("wrap", ways.first)
    ways.bind(ways.first, "a")
    ways.marts("one")
    for way in WAYS:
        for kind, name in (("OpenScaleInstance", way), ("RootKeyBinding", f"{way}-a"), ("DataMart", f"{way}-one")):
            team.until_reason(kind, name, "KeyProtectUnavailable", seconds=40)
            assert team.condition(kind, name, "Reconciling")["status"] == "True"
        assert "properties" not in team.get("OpenScaleInstance", way)["status"]
    ways.never_stalled("a")
    ways.said_once_and_asked_rarely(ways.first, "wrap", 4)
    team.scene.emulator.clear_faults()
    ways.until_ready("one")
    ways.protected(ways.first)


def test_in_the_middle_of_a_change(team: Team, ways: Ways) -> None:
    """The old root keys cannot be reached while everything leaves them: nothing is stuck or lost; it goes on."""
    ways.bind(ways.first, "a")
    ways.marts("one")
    ways.until_ready("one")
    ways.protected(ways.first)
    team.scene.operator.kill()
    ways.trouble("unwrap", ways.first)
    ways.bind(ways.second, "b")
    for way in WAYS:
        team.delete("RootKeyBinding", f"{way}-a")
    team.scene.operator.start()
    for way in WAYS:
        team.until_reason("OpenScaleInstance", way, "ReEncrypting", seconds=40)
    ways.said_once_and_asked_rarely(ways.first, "unwrap", 4)
    ways.never_stalled("a")
    for way in WAYS:
        assert team.get("OpenScaleInstance", way)["status"]["secrets"]["stuck"] == 0
    team.scene.emulator.clear_faults()
    ways.protected(ways.second)
    for way in WAYS:
        team.until_gone("RootKeyBinding", f"{way}-a")


def test_somebody_else_answers(team: Team, stranger: Strangers) -> None:
    """Nobody at the port, a reset, half an answer, no HTTP, no TLS, a certificate of an unknown authority."""
    (key,) = team.root_keys()
    for name in ANSWERS:
        team.instance(name)
        team.marts(f"{name}-one", instance=name, handover=True)
        team.bind(name, key, name, rootKey={"crn": key, "endpoint": stranger.urls[name]})
    for name in ANSWERS:
        found = team.until_reason("RootKeyBinding", name, "KeyProtectUnavailable")
        assert found["status"] == "Unknown"
        assert stranger.urls[name].split("/")[2] in found["message"], "it says who"
        assert ("certificate" in found["message"]) == (name == "unknown-ca")
        assert not team.condition("RootKeyBinding", name, "Stalled")
        team.until_reason("DataMart", f"{name}-one", "WaitingForRootKey")
    team.until_settled()
    before = stranger.connections.copy()
    with team.counted() as tally:
        team.wait(POLLS)
    assert not tally.writes, "the message stays the same"
    asked = stranger.connections - before
    assert max(asked.values()) <= EACH_TWICE, asked
    assert not tally.key_protect, "nobody goes to another endpoint instead"
    for name in ANSWERS:
        team.delete("RootKeyBinding", name)
    team.until_ready(*(f"{name}-one" for name in ANSWERS))


def dropped(team: Team) -> list[dict[str, Any]]:
    """What the log says was dropped of this team's bindings that are there now."""
    uids = {found["metadata"]["uid"] for found in team.scene.api.list("RootKeyBinding", team.namespace)}
    lines = team.scene.operator.lines()
    return [line for line in lines if line["event"] == "data keys dropped" and line["binding_uid"] in uids]


IAM_WAYS = {name: WAYS[name] for name in ("dropped", "500", "503", "429", "429-later", "html-200", "empty", "slow")}


@pytest.mark.parametrize("way", IAM_WAYS)
def test_iam_away_without_a_token(team: Team, way: str) -> None:
    """IAMUnavailable and Unknown, at a first bind; said once, asked rarely, and it recovers by itself."""
    (key,) = team.root_keys()
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.scene.emulator.fault("iam.token", **IAM_WAYS[way])
    team.bind("a", key)
    found = team.until_reason("RootKeyBinding", "a", "IAMUnavailable", seconds=40)
    assert found["status"] == "Unknown"
    assert team.condition("RootKeyBinding", "a", "Reconciling")["status"] == "True"
    assert not team.condition("RootKeyBinding", "a", "Stalled")
    team.until_settled()
    before = team.scene.emulator.counts()["iam.token"]
    team.nothing_written(POLLS)
    asked = team.scene.emulator.counts()["iam.token"] - before
    assert asked <= (1 if way == "slow" else EACH_TWICE)
    team.scene.emulator.clear_faults()
    team.until_protected(key, seconds=60)
    team.prove(key)


def test_iam_away_with_a_token(team: Team) -> None:
    """A token that is still good is used: nothing is said, nothing waits, and IAM is not asked at all."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.scene.emulator.fault("iam.token", status=503)
    before = team.scene.emulator.counts()["iam.token"]
    team.patch("OpenScaleInstance", "prod", {"spec": {"dataKeyRevision": 1}})
    team.marts("one", handover=True)
    team.until_ready("one")
    team.until_settled()
    team.nothing_written()
    assert team.scene.emulator.counts()["iam.token"] == before
    assert team.condition("RootKeyBinding", "a", "KeyUsable")["status"] == "True"
    team.scene.emulator.clear_faults()
    team.prove(key)


def test_iam_away_in_the_middle_of_a_change(team: Team) -> None:
    """Started anew without a token while everything moves: nothing is stuck, and it goes on once IAM answers."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    team.bind("a", key_a)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.until_protected(key_a)
    team.scene.operator.kill()
    team.scene.emulator.fault("iam.token", status=503)
    team.bind("b", key_b)
    team.delete("RootKeyBinding", "a")
    team.scene.operator.start()
    team.until_reason("RootKeyBinding", "b", "IAMUnavailable", "KeyUsable")
    team.until_reason("OpenScaleInstance", "prod", "IAMUnavailable", "KeyUsable")
    team.until_reason("RootKeyBinding", "a", "IAMUnavailable", "KeyUsable")
    with team.counted() as tally:
        asked = team.scene.emulator.counts()["iam.token"] + POLLS
        team.until(lambda: team.scene.emulator.counts()["iam.token"] >= asked, "IAM was asked again and again")
    assert not tally.writes, team.standing()
    assert team.get("OpenScaleInstance", "prod")["status"]["secrets"]["stuck"] == 0
    assert not team.condition("OpenScaleInstance", "prod", "Stalled")
    team.scene.emulator.clear_faults()
    team.until_protected(key_b, seconds=60)
    team.until_gone("RootKeyBinding", "a")
    team.prove(key_b)
