"""The audit of a running operator: hand-over, change of root key, release, shred; one chain over every restart.

That no secret is in it is looked at once, at the session's end, over all that every test made (conftest.py).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openscale_byok.core.audit_chain import verify
from stage.scene import AUDIT_LOG
from stage.team import Team

Line = dict[str, Any]


def lines(team: Team) -> list[Line]:
    """What was written about this team, in order."""
    path = team.scene.folder / AUDIT_LOG
    raw = (path.with_suffix(".kept") if path.is_symlink() else path).read_text().splitlines()
    found = [json.loads(line) for line in raw if line.endswith("}}")]
    return [line for line in found if line.get("target", {}).get("namespace") == team.namespace]


def outcomes(team: Team, action: str) -> list[tuple[str, str, str]]:
    """Name, outcome and reason of each line of an action."""
    found = [line for line in lines(team) if line["action"] == action]
    return [(f["target"]["name"], f["outcome"], f.get("reason", {}).get("reasonCode", "")) for f in found]


def pair(name: str, reason: str = "") -> list[tuple[str, str, str]]:
    """Two lines: about to be done, and done."""
    return [(name, "pending", reason), (name, "success", reason)]


@contextmanager
def no_room(team: Team) -> Iterator[None]:
    """The audit on a device that is full."""
    path = team.scene.folder / AUDIT_LOG
    kept = path.rename(path.with_suffix(".kept"))
    path.symlink_to("/dev/full")
    try:
        yield
    finally:
        kept.replace(path)


def test_a_source_is_kept_while_its_deletion_cannot_be_audited(team: Team) -> None:
    """Sealed, not consumed, and the data mart says why; nobody spins; with room again it is consumed, and on record."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    with no_room(team):
        team.marts("one", handover=True)
        found = team.until_reason("DataMart", "one", "AuditUnavailable")
        assert "No space left on device" in found["message"]
        assert team.condition("DataMart", "one", "Sealed")["status"] == "True"
        team.until_settled()
        team.nothing_written()
        assert team.get("Secret", "one-db")
        assert not outcomes(team, "secret.handover/delete")
    team.until_gone("Secret", "one-db", 60)
    team.until_ready("one")
    assert outcomes(team, "secret.handover/delete") == pair("one-db")


def test_what_the_operator_does_for_good_is_on_record(team: Team) -> None:
    """Each with a line before and one after it, by the keys that it was under; and the whole file is one chain."""
    key_a, key_b = team.root_keys(2)
    team.instance(deletion={"policy": "Shred", "retentionDays": 0})
    team.bind("a", key_a)
    team.until_protected(key_a)
    team.marts("one", handover=True)
    team.until_ready("one")
    team.until_gone("Secret", "one-db")
    assert outcomes(team, "secret.handover/delete") == pair("one-db")
    (consumed,) = [x for x in lines(team) if x["action"] == "secret.handover/delete" and x["outcome"] == "success"]
    assert consumed["target"]["belongsTo"] == "DataMart/one"
    assert consumed["rootKey"] == key_a
    assert consumed["observer"]["name"] == "operator"

    team.scene.operator.restart()
    team.bind("b", key_b)
    team.until_reason("RootKeyBinding", "b", "Standby")
    team.delete("RootKeyBinding", "a")
    team.until_protected(key_b)
    team.until_gone("RootKeyBinding", "a")
    team.until(lambda: outcomes(team, "rootkeybinding/release") == pair("a", "Released"), "the release is audited")
    changed = [x for x in lines(team) if x["action"] == "openscaleinstance.rootkey/update"]
    assert [x["rootKey"] for x in changed if x["outcome"] == "success"] == [key_a, key_b]

    team.delete("OpenScaleInstance", "prod")
    team.delete("RootKeyBinding", "b")
    team.until_gone("OpenScaleInstance", "prod")
    assert outcomes(team, "openscaleinstance/shred") == [*pair("one"), *pair("prod")]
    with (team.scene.folder / AUDIT_LOG).open("rb") as file:
        seen = verify(file)
    assert (seen.fault, seen.began) == (None, (1,))


def test_the_only_copy_of_a_password_leaves_a_trace(team: Team) -> None:
    """Deleted after a hand-over: an audit line, and an event on the instance. A kept one leaves none."""
    team.instance()
    team.marts("one", handover=True)
    team.marts("two")
    team.until_reason("DataMart", "one", "HandedOver", "SourceRemoved")
    team.until_ready("two")
    for name in ("two", "one"):
        team.delete("DataMart", name)
        team.until_gone("DataMart", name)

    def told() -> list[str]:
        events = team.scene.api.list("Event", team.namespace)
        return [e["regarding"]["name"] for e in events if e["reason"] == "OnlyCopyDeleted"]

    team.until(lambda: told() == ["prod"], "an event on the instance tells of it")
    assert outcomes(team, "datamart.password/delete") == [("one", "success", "OnlyCopyDeleted")]
