"""Every state of a root key and every way between them, as its binding, its instance, events and the log tell it.

One row is one way there and back, on a team's own root keys. The rows run side by side: each has an instance,
a binding, a sealed password and an API key of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stage.team import Team

DAY = 86_400.0


def in_days(team: Team, days: float) -> str:
    """A date on Key Protect's clock."""
    at = datetime.fromtimestamp(team.scene.emulator.now() + days * DAY, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Row:
    """One root key, and what hangs on it."""

    team: Team
    name: str
    crn: str
    service_id: str
    api_key: str

    # What the customer does -----------------------------------------------------------------------------

    def disable(self) -> None:
        self.team.scene.emulator.disable(self.crn)

    def enable(self) -> None:
        """Key Protect allows it 30 seconds after the key was disabled."""
        self.team.scene.emulator.advance(31)
        self.team.scene.emulator.enable(self.crn)

    def destroy(self) -> None:
        self.team.scene.emulator.delete(self.crn)

    def restore(self) -> None:
        """As with enabling."""
        self.team.scene.emulator.advance(31)
        self.team.scene.emulator.restore(self.crn)

    def revoke(self) -> None:
        self.team.scene.emulator.revoke(self.service_id)

    def grant(self) -> None:
        self.team.scene.emulator.grant(self.service_id, self.team.scene.emulator.instance, key=self.key_id)

    def wrong_api_key(self) -> None:
        self._write("cnry-no-such-api-key")

    def no_api_key(self) -> None:
        self._write("")

    def delete_api_key(self) -> None:
        """No new token for it; the one at hand is refused, as it is once its life is over."""
        self.team.scene.emulator.delete_api_key(self.api_key)
        self.team.scene.emulator.fault("*", key=self.crn, status=401, times=1)

    def new_api_key(self) -> None:
        self.api_key = self.team.scene.emulator.create_api_key(self.service_id)
        self.team.vault.add(self.api_key)
        self._write(self.api_key)

    def same_api_key(self) -> None:
        self._write(self.api_key)

    def _write(self, value: str) -> None:
        self.team.patch("Secret", f"{self.name}-key", {"stringData": {"apikey": value}})

    # What one sees --------------------------------------------------------------------------------------

    @property
    def key_id(self) -> str:
        return self.crn.rpartition(":")[2]

    def usable(self, kind: str) -> dict[str, Any]:
        """The condition KeyUsable of the binding or of the instance."""
        return self.team.condition(kind, self.name, "KeyUsable")

    def shows(self, reason: str) -> bool:
        """Whether binding and instance both say so."""
        return all(self.usable(kind).get("reason") == reason for kind in ("RootKeyBinding", "OpenScaleInstance"))

    def events(self, kind: str) -> list[tuple[str, str]]:
        """Type and reason of the events about the binding or the instance."""
        return [
            (event["type"], event["reason"])
            for event in self.team.scene.api.list("Event", self.team.namespace)
            if (event["regarding"]["kind"], event["regarding"]["name"]) == (kind, self.name)
        ]

    def logged(self) -> list[dict[str, Any]]:
        """What the log says of the root key, change by change."""
        return [
            line
            for line in self.team.scene.operator.lines()
            if line["event"] == "root key" and line["namespace"] == self.team.namespace and line["binding"] == self.name
        ]

    def dropped(self) -> int:
        """How many unwrapped data keys of this binding were dropped, as the log says."""
        uid = self.team.get("RootKeyBinding", self.name)["metadata"]["uid"]
        return sum(
            line["number"]
            for line in self.team.scene.operator.lines()
            if line["event"] == "data keys dropped" and line["binding_uid"] == uid
        )

    def calls(self, operation: str) -> int:
        """Calls to Key Protect for this root key."""
        counted = self.team.scene.emulator.all_counts()["keys"].get(self.key_id, {})
        return int(counted.get(operation, 0))


@dataclass(frozen=True)
class Story:
    """A way to a state, what is seen there, and the way back (none: it does not come back)."""

    there: Callable[[Row], None]
    reason: str
    back: Callable[[Row], None] | None
    state: str
    """As the binding shows it: the last that Key Protect told."""
    says: tuple[str, ...]
    """Parts of the message."""
    dated: bool = False
    """Whether the message names the date."""


def purge(row: Row) -> None:
    """Destroyed, seen to be so, and purged. With a grant on the one key only, it could not even be looked at."""
    row.team.scene.emulator.grant(row.service_id, row.team.scene.emulator.instance)
    row.destroy()
    row.team.until(lambda: row.shows("KeyDestroyed"), f"{row.name} is destroyed")
    row.team.scene.emulator.purge(row.crn, ignore_timing=True)


def purge_unseen(row: Row) -> None:
    """The same, where the grant is on the one key: with the key there is nothing left that it allows to look at."""
    row.destroy()
    row.team.until(lambda: row.shows("KeyDestroyed"), f"{row.name} is destroyed")
    row.team.scene.emulator.purge(row.crn, ignore_timing=True)


RESTORE, FIELD = "restore it in Key Protect before", "credentials.apiKeySecretRef"
STORIES = {
    "disabled": Story(Row.disable, "KeyDisabled", Row.enable, "Suspended", ("enable it",)),
    "destroyed": Story(Row.destroy, "KeyDestroyed", Row.restore, "Destroyed", (RESTORE,), dated=True),
    "purged": Story(purge, "KeyNotFound", None, "Destroyed", ("purged",)),
    "purged-unseen": Story(purge_unseen, "NotAuthorized", None, "Destroyed", ("grant them the role Reader",)),
    "revoked": Story(Row.revoke, "NotAuthorized", Row.grant, "Active", ("grant them the role Reader",)),
    "api-key-refused": Story(Row.wrong_api_key, "CredentialsRefused", Row.new_api_key, "Active", (FIELD, "apikey")),
    "api-key-deleted": Story(Row.delete_api_key, "CredentialsRefused", Row.new_api_key, "Active", (FIELD, "BXNIM")),
}


def rows(team: Team, names: list[str], **more: Any) -> dict[str, Row]:
    """Each with one hand-over password sealed, its data key at hand, and everything settled."""
    emulator, found = team.scene.emulator, {}
    for name in names:
        crn, service_id = emulator.create_root_key(name=name, **more), emulator.create_service_id()
        team.keys.append(crn)
        emulator.grant(service_id, emulator.instance, key=crn.rpartition(":")[2])
        row = found[name] = Row(team, name, crn, service_id, emulator.create_api_key(service_id))
        team.source(f"{name}-key", apikey=row.api_key)
        team.instance(name)
        team.bind(name, crn, name, credentials={"apiKeySecretRef": {"name": f"{name}-key", "key": "apikey"}})
        team.marts(f"{name}-one", instance=name, handover=True)
    team.until_ready(*(f"{name}-one" for name in names), seconds=60)
    for name, row in found.items():
        team.until_protected(row.crn, name)
    team.until_settled()
    return found


def test_every_clear_no_and_the_way_back(team: Team) -> None:
    """Told everywhere, with the date and the cure; nothing opens or is sealed; it comes back by itself.

    What was unwrapped before is dropped: a new password needs the data key that was at hand a moment ago, and
    is not sealed with it; once the root key is back, it is unwrapped anew.
    """
    found = rows(team, list(STORIES))
    for name, row in found.items():
        STORIES[name].there(row)
    for name, row in found.items():
        story = STORIES[name]
        team.until(lambda row=row, story=story: row.shows(story.reason), f"{name}: {story.reason}", 40)
        for kind in ("RootKeyBinding", "OpenScaleInstance"):
            said = row.usable(kind)
            assert said["status"] == "False", name
            assert all(part in said["message"] for part in story.says), (name, said)
            assert team.condition(kind, name, "Stalled")["status"] == "True"
            team.until(lambda r=row, k=kind, s=story: ("Warning", s.reason) in r.events(k), f"{name}: an event")
        if story.dated:
            assert team.scene.emulator.key(row.crn)["restoreExpirationDate"] in row.usable("RootKeyBinding")["message"]
        assert team.get("RootKeyBinding", name)["status"]["keyState"] == story.state
        last = row.logged()[-1]
        assert (last["reason"], last["usable"], last["level"]) == (story.reason, "False", "warning"), last
        assert last["state"] in (story.state, "Unknown"), "where the call itself was refused, no state was seen"
        assert row.dropped() == 1, f"{name}: the data key at hand is dropped, once"

    unwraps = {name: row.calls("unwrap") for name, row in found.items()}
    for name in found:
        team.marts(f"{name}-two", instance=name, handover=True)
    for name in found:
        team.until_reason("DataMart", f"{name}-two", STORIES[name].reason)
    team.until_settled()
    with team.counted() as tally:
        team.wait(6)
    assert not tally.writes, team.standing()
    assert not set(tally.key_protect) - {"metadata"}, tally
    assert tally.key_protect["metadata"] <= 2 * 10 * len(found), "a 401 costs one fresh token and one more look"
    for name, row in found.items():
        assert row.calls("unwrap") == unwraps[name], f"{name}: it was not asked for what its root key refuses"

    lasting = {name: row for name, row in found.items() if STORIES[name].back is not None}
    for name, row in lasting.items():
        STORIES[name].back(row)
    for name, row in lasting.items():
        team.until(lambda row=row: row.shows("KeyActive"), f"{name} is back", 40)
        team.until_ready(f"{name}-one", f"{name}-two", seconds=40)
        for kind in ("RootKeyBinding", "OpenScaleInstance"):
            team.until(
                lambda r=row, k=kind: ("Normal", "KeyActive") in r.events(k), f"{name}: an event that it is back"
            )
            assert row.events(kind).count(("Normal", "KeyActive")) == 1, "said once"
        assert row.logged()[-1]["reason"] == "KeyActive"
        assert row.calls("unwrap") == unwraps[name] + 1, f"{name}: unwrapped anew, once"
    assert team.condition("DataMart", "purged-two")["reason"] == "KeyNotFound"
    assert team.get("Secret", "purged-two-db"), "a hand-over is consumed only once it is sealed"
    team.until_settled()
    team.nothing_written()


def test_what_is_no_refusal(team: Team) -> None:
    """One 401 means a fresh token, a rotation a rewrap, an expiry no new data key, an API key that was emptied a token
    that is not renewed: what is sealed opens all along."""
    soon = in_days(team, 1 / 24)
    found = rows(team, ["stale-token", "rotated", "emptied"]) | rows(team, ["expires"], expiration=soon)
    emulator, names = team.scene.emulator, list(found)
    row = found["expires"]
    said = row.usable("RootKeyBinding")
    assert (said["status"], said["reason"]) == ("True", "KeyExpiring")
    assert soon in said["message"]

    with team.counted() as tally:
        emulator.fault("*", key=found["stale-token"].crn, status=401, times=1)
        version = emulator.rotate(found["rotated"].crn, ignore_timing=True)
        shown = lambda: team.get("RootKeyBinding", "rotated")["status"]["keyVersion"] == version  # noqa: E731
        team.until(shown, "the binding shows the newest version")
        team.until(lambda: ("Normal", "DataKeyRewrapped") in found["rotated"].events("OpenScaleInstance"), "an event")
        team.until_settled()
    assert tally.writes["datamarts/status"] == 0
    assert (tally.key_protect["rewrap"], tally.key_protect["unwrap"], tally.key_protect["wrap"]) == (1, 1, 0), "proven"
    assert emulator.all_counts()["statuses"]["metadata"]["401"] >= 1
    assert not [line for line in found["stale-token"].logged() if line["usable"] == "False"]
    (entry,) = team.get("OpenScaleInstance", "rotated")["status"]["properties"]["dataKeys"]
    assert entry["rootKeyVersion"] == version
    found["emptied"].no_api_key()
    team.until(lambda: found["emptied"].shows("CredentialsMissing"), "said, while the token at hand is good")
    for kind in ("RootKeyBinding", "OpenScaleInstance"):
        said = found["emptied"].usable(kind)
        assert said["status"] == "True"
        assert "is empty; until its end, the access token at hand is used" in said["message"]
    team.marts("emptied-two", instance="emptied", handover=True)
    team.until_ready("emptied-two")
    found["emptied"].same_api_key()
    team.until(lambda: found["emptied"].shows("KeyActive"), "it is there again")
    for name in names[:3]:
        assert found[name].dropped() == 0
        assert team.condition("OpenScaleInstance", name)["status"] == "True"

    emulator.advance(2 * 3_600 + 60)  # Key Protect takes up to an hour for it
    team.until(lambda: row.shows("KeyExpired"), "it is expired", 40)
    for kind in ("RootKeyBinding", "OpenScaleInstance"):
        said = row.usable(kind)
        assert said["status"] == "True", "it still opens"
        assert soon in said["message"]
        assert team.condition(kind, "expires")["status"] == "True"
        team.until(lambda k=kind: ("Warning", "KeyExpired") in row.events(k), "an event")
    assert team.get("RootKeyBinding", "expires")["status"]["keyState"] == "Deactivated"
    assert row.dropped() == 0
    team.marts("expires-two", instance="expires", handover=True)
    team.until_ready("expires-two")
    team.patch("OpenScaleInstance", "expires", {"spec": {"dataKeyRevision": 1}})
    team.until_reason("OpenScaleInstance", "expires", "KeyExpired")
    team.until_settled()
    team.nothing_written()


def test_iam_refuses_by_401_too(team: Team) -> None:
    """Told as a 400 is; taken back by IAM, it recovers at the next poll without anyone touching the cluster."""
    (row,) = rows(team, ["one"]).values()
    team.scene.emulator.fault("iam.token", status=401, body='{"errorCode": "BXNIM0462E"}')
    row.new_api_key()
    team.until(lambda: row.shows("CredentialsRefused"), "IAM refuses")
    assert "status 401, BXNIM0462E" in row.usable("RootKeyBinding")["message"]
    assert row.dropped() == 1
    team.scene.emulator.clear_faults()
    team.until(lambda: row.shows("KeyActive"), "IAM gives tokens again")
    team.until_settled()
    team.nothing_written()


POLLS = 20


def test_one_poll_for_one_root_key_with_one_set_of_credentials(team: Team) -> None:
    """Two bindings with both alike share it; one with other credentials looks for itself."""
    (key,) = team.root_keys()
    team.source("other", apikey=team.scene.api_key(key))
    for name in ("prod", "twin", "other"):
        team.instance(name)
    team.bind("prod", key)
    team.until_protected(key)
    alone = looks(team)
    team.bind("twin", key, "twin")
    team.until_protected(key, "twin")
    shared = looks(team)
    team.bind("other", key, "other", credentials={"apiKeySecretRef": {"name": "other", "key": "apikey"}})
    team.until_protected(key, "other")
    apart = looks(team)
    most = POLLS * 1.1 / 0.9 + 2
    assert max(alone, shared) <= most, "spread by a tenth"
    assert apart > most


def looks(team: Team) -> int:
    """Looks at the team's root key while the beacon is looked at so many times."""
    before = team.looks()
    team.wait(POLLS)
    return team.looks() - before
