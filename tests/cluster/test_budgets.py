"""What each thing costs, counted exactly on the API server and in Key Protect (DESIGN section 5)."""

from stage import manifests
from stage.team import Team

SOME = 25
CONSTANT = 14
"""Holds, conditions of instance and binding, events: it does not grow with the number of secrets."""


def many(team: Team, number: int = SOME) -> list[str]:
    """Data marts whose passwords lie in one Secret."""
    names = [f"m{n:02}" for n in range(number)]
    team.passwords = {name: team.password() for name in names}
    team.source("all", **team.passwords)
    team.create(*(manifests.datamart(team.namespace, name, "prod", "all", key=name) for name in names))
    return names


def test_first_seals_a_change_of_root_key_and_a_rotation(team: Team) -> None:
    """N seals: 2N writes. A new data key: 1 wrap, 1 unwrap. Old -> new: 1 unwrap more, N writes. Rewrap: none."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    with team.counted() as tally:
        names = many(team)
        team.until_ready(*names)
        team.until_settled()
    assert tally.writes["datamarts/status"] <= 2 * SOME
    assert tally.written <= 2 * SOME + CONSTANT, tally
    assert not tally.key_protect

    with team.counted() as tally:
        team.bind("a", key_a)
        team.until_protected(key_a)
        team.until_settled()
    assert tally.key_protect["wrap"] == tally.key_protect["unwrap"] == 1, tally
    assert tally.writes["datamarts/status"] == SOME
    assert tally.written <= SOME + CONSTANT, tally
    team.prove(key_a)

    team.bind("b", key_b)
    team.until_reason("RootKeyBinding", "b", "Standby")
    with team.counted() as tally:
        team.scene.operator.restart()  # an empty cache: the old data key must be unwrapped again
        team.delete("RootKeyBinding", "a")
        team.until_protected(key_b)
        team.until_gone("RootKeyBinding", "a")
        team.until_settled()
    assert tally.key_protect["wrap"] == 1
    assert tally.key_protect["unwrap"] <= 2, "one to prove the new, one to open the old"
    assert tally.writes["datamarts/status"] == SOME
    assert tally.written <= SOME + CONSTANT, tally

    with team.counted() as tally:
        version = team.scene.emulator.rotate(key_b, ignore_timing=True)
        team.until(lambda: versions(team) == {version}, "the data key is rewrapped")
        team.until_settled()
    assert tally.key_protect["rewrap"] == 1
    assert tally.key_protect["wrap"] == 0
    assert tally.key_protect["unwrap"] <= 1
    assert tally.writes["datamarts/status"] == 0
    assert tally.written <= 4, tally
    team.prove(key_b)
    team.nothing_written()


def test_a_raised_revision_is_a_new_data_key_under_the_same_root_key(team: Team) -> None:
    """1 wrap and 1 unwrap; all is re-encrypted, once; the former data key is retired."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    before = data_keys(team)
    with team.counted() as tally:
        team.patch("OpenScaleInstance", "prod", {"spec": {"dataKeyRevision": 1}})
        team.until(lambda: not data_keys(team) & before and len(data_keys(team)) == 1, "another data key alone")
        team.until_protected(key)
        team.until_settled()
    assert tally.key_protect["wrap"] == tally.key_protect["unwrap"] == 1
    assert tally.writes["datamarts/status"] == 2
    team.prove(key)


def test_suspend_stops_writes_but_not_the_poll(team: Team) -> None:
    """Suspended: a new binding, a new data mart and a rotation change nothing that is stored; resumed, all follows."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    team.bind("a", key_a)
    team.until_protected(key_a)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": True}})
    team.until_reason("OpenScaleInstance", "prod", "Suspended")
    before = data_keys(team)
    team.scene.emulator.rotate(key_a, ignore_timing=True)
    team.marts("two", handover=True)
    team.until_reason("DataMart", "two", "Suspended")
    team.bind("b", key_b)
    team.delete("RootKeyBinding", "a")
    team.until_settled()
    looks = team.looks()
    team.nothing_written()
    assert team.looks() > looks, "the key's state is still looked at"
    assert team.get("Secret", "two-db")
    assert data_keys(team) == before
    assert team.get("RootKeyBinding", "a"), "it carries our finalizer"
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": False}})
    team.until_protected(key_b)
    team.until_ready("one", "two")
    team.until_gone("RootKeyBinding", "a")
    team.prove(key_b)


def versions(team: Team) -> set[str]:
    """The root key's versions that wrap the data keys."""
    entries = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
    return {entry["rootKeyVersion"] for entry in entries}


def data_keys(team: Team) -> set[str]:
    """The ids of the data keys."""
    return {entry["id"] for entry in team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]}
