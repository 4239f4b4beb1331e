"""`spec.dataKeyRevision`: a new data key on demand and everything re-encrypted, while reads go on."""

import pytest

from stage import manifests
from stage.proof import Proof
from stage.team import Team

SOME = 60
"""Secrets: enough that one sees them move."""


def settled(team: Team) -> tuple[str, list[str]]:
    """A binding in force and many secrets under it."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    names = [f"m{n:02}" for n in range(SOME)]
    team.passwords = {name: team.password() for name in names}
    team.source("all", **team.passwords)
    team.create(*(manifests.datamart(team.namespace, name, "prod", "all", key=name) for name in names))
    team.until_ready(*names, seconds=60)
    team.until_settled()
    return key, names


def revise(team: Team, revision: int) -> None:
    """Ask for a new data key."""
    team.patch("OpenScaleInstance", "prod", {"spec": {"dataKeyRevision": revision}})


def data_keys(team: Team) -> dict[str, str]:
    """The recorded data keys, and the state of each."""
    properties = team.get("OpenScaleInstance", "prod")["status"]["properties"]
    return {entry["id"]: entry["state"] for entry in properties["dataKeys"]}


def answered(team: Team) -> int:
    """The revision that is answered."""
    return int(team.get("OpenScaleInstance", "prod")["status"]["properties"].get("dataKeyRevision", 0))


def done(team: Team, revision: int, former: set[str]) -> bool:
    """Whether one data key is left, another than any of the former ones, and everything is under it."""
    found, status = data_keys(team), team.get("OpenScaleInstance", "prod")["status"]
    return (
        answered(team) == revision and len(found) == 1 and not set(found) & former and status["secrets"]["stale"] == 0
    )


def read_all(team: Team) -> Proof:
    """Read every password as any reader may: the data marts, with the instance as it was before and after them."""
    before, marts = team.get("OpenScaleInstance", "prod"), team.scene.api.list("DataMart", team.namespace)
    after = team.get("OpenScaleInstance", "prod")
    recorded = [found["status"]["properties"]["dataKeys"] for found in (before, after)]
    after["status"]["properties"]["dataKeys"] = list({e["id"]: e for keys in recorded for e in keys}.values())
    opener = team.scene.opener()
    found = opener.open_all(after, marts)
    for data_key in opener.data_keys:
        team.vault.add(data_key)
    return found


def test_every_password_opens_at_every_moment(team: Team) -> None:
    """Read again and again while everything moves, by who knows nothing of the operator: each is there, every time."""
    key, names = settled(team)
    former = set(data_keys(team))
    reads = 0
    with team.counted() as tally:
        revise(team, 1)

        def read_and_done() -> bool:
            nonlocal reads
            found = read_all(team)
            assert found.holds, found.failures
            assert found.passwords == team.passwords
            assert found.root_keys == {key}
            reads += 1
            return done(team, 1, former)

        team.until(read_and_done, "everything is under the new data key", 60)
        team.until_settled()
    assert reads >= 2
    assert tally.key_protect["wrap"] == 1
    assert tally.writes["datamarts/status"] == SOME, "each once"
    team.until_ready(*names)
    team.prove(key)
    team.nothing_written()


def test_raised_twice_quickly(team: Team) -> None:
    """Raised again while the first is still moving, by steps or by a leap: the last is answered, by one data key."""
    key, names = settled(team)
    former = set(data_keys(team))
    revise(team, 1)
    team.until(lambda: answered(team) == 1, "the first is under way")
    first = set(data_keys(team))
    revise(team, 2)
    revise(team, 7)
    team.until(lambda: done(team, 7, former | first), "the last is answered", 60)
    found = team.proof()
    assert found.passwords == team.passwords
    team.until_ready(*names)
    team.until_settled()
    team.nothing_written()
    team.prove(key)


@pytest.mark.parametrize("operation", ["*", "wrap", "unwrap"])
def test_asked_for_while_key_protect_is_away(team: Team, operation: str) -> None:
    """Not Ready, and it says why; nothing is half made and reads go on; it is done once Key Protect is back."""
    key, names = settled(team)
    former = data_keys(team)
    team.scene.emulator.fault(operation, key=key, status=503)
    if operation == "*":
        team.until_reason("RootKeyBinding", "a", "KeyProtectUnavailable", "KeyUsable")
    revise(team, 1)
    found = team.until_reason("OpenScaleInstance", "prod", "KeyProtectUnavailable")
    assert found["status"] in ("False", "Unknown")
    assert team.condition("OpenScaleInstance", "prod", "Reconciling")["status"] == "True"
    team.until_settled()
    with team.counted() as tally:
        team.wait(8)
    assert not tally.writes
    assert tally.key_protect["wrap"] <= 4, "ever more rarely"
    assert data_keys(team) == former
    for name in names:
        assert team.condition("DataMart", name)["status"] == "True"
    team.scene.emulator.clear_faults()
    team.prove(key)
    team.until(lambda: done(team, 1, set(former)), "it is answered", 90)
    team.until_settled()
    team.prove(key)
