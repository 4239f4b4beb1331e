"""The whole table of removals: whatever is taken away, and whenever, where does it end, and what brings it back?

A row is played on the real API server: settled under root key A, two passwords, everything on its way to leave A.
What it must come to is said by `expected`, in one place and with the reasons. The rows of one removal are played
side by side, as the operator works on them: 24 teams at once.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from stage.api import ApiError
from stage.scene import Scene, Tally
from stage.team import Team, condition

MARTS = ("one", "two")
HOLD = "removals-test-hold"
POLLS = 4


class Removal(StrEnum):
    """What is taken away."""

    BINDING = "binding-deleted"
    DISABLED = "disabled"
    DESTROYED = "destroyed"
    PURGED = "purged"
    GRANT = "grant-removed"
    API_KEY = "api-key-Secret-deleted"
    AWAY = "Key-Protect-away"


class Moment(StrEnum):
    """When: before the re-encryption begins, with one password moved and one not, or once it is over."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    removal: Removal
    moment: Moment
    handover: bool
    standby: bool
    policy: str

    def __str__(self) -> str:
        source = "hand-over" if self.handover else "kept"
        standby = "standby" if self.standby else "alone"
        return f"{self.removal}-{self.moment}-{source}-{standby}-{self.policy}"

    @property
    def leaves(self) -> bool:
        """Whether there is a root key to go to once the binding is deleted: a Standby's, or the global key."""
        return self.standby or self.policy == "Allow"


ROWS = [Row(*row) for row in product(Removal, Moment, (False, True), (True, False), ("Allow", "Forbid"))]

SAID = {
    Removal.BINDING: "KeyActive",
    Removal.DISABLED: "KeyDisabled",
    Removal.DESTROYED: "KeyDestroyed",
    Removal.PURGED: "KeyNotFound",
    Removal.GRANT: "NotAuthorized",
    Removal.API_KEY: "CredentialsMissing",
    Removal.AWAY: "KeyProtectUnavailable",
}
"""What the binding says of its root key after each removal, once no token is left: `KeyUsable`."""
NOTICED = SAID | {Removal.API_KEY: "SecretNotFound"}
"""And at first: while the token at hand is good, a missing Secret is only said."""
IN_MEMORY = (Removal.API_KEY, Removal.AWAY)
"""What was unwrapped, and the token, serve on for a while."""


@dataclass(frozen=True)
class End:
    """How a row ends before anyone brings anything back."""

    binding: str
    """Its reason, or "gone"."""
    instance: str
    """Its reason."""
    usable: str = ""
    """The binding's reason for `KeyUsable`, while there is a binding."""
    marts: tuple[str, ...] = ("Sealed", "Sealed")
    stuck: tuple[str, ...] = ()
    digest: bool = False


MOVED = End("gone", "Current")


def expected(row: Row) -> End:
    """Where a row ends, and why.

    ========================  ======================================================================================
    it ends                   because
    ========================  ======================================================================================
    moved                     nothing was left under A when it went (*after*); or A works (*binding deleted*); or
                              what was left is sealed anew from its kept source, which is looked at again and again
                              anyway; or there is no answer, and the data key was unwrapped less than
                              `dataKeyCacheSeconds` ago, or a token is at hand (*during*)
    held                      `Forbid` and no Standby: there is nothing to move to, so the binding stays in force. It
                              names that cure, and beside it what is wrong with the root key. Nothing is stuck: all
                              opens again with the root key, and none of it can be moved before another is bound
    waiting                   no clear no, nothing in the cache, and the source was consumed: what cannot be unwrapped
                              now may be in a minute, so that nothing is called stuck
    stuck                     a clear no, and the source was consumed: counted, named, with the digest for `abandon`
    ========================  ======================================================================================

    Rows that collapse, each played all the same: with a Standby, `Forbid` and `Allow` are one; with somewhere to go,
    so are all removals *after*, and all with a kept source; with nowhere to go, so are the moments and sources.
    """
    said = SAID[row.removal]
    if not row.leaves:
        works = row.removal is Removal.BINDING
        return End("StillNeeded", "Current" if works else said, said)
    if row.removal is Removal.BINDING or row.moment is Moment.AFTER or not row.handover:
        return MOVED
    if row.removal in IN_MEMORY and row.moment is Moment.DURING:
        return MOVED
    if row.removal is Removal.AWAY:
        return End("Releasing", "ReEncrypting", said)
    left = MARTS if row.moment is Moment.BEFORE else MARTS[1:]
    marts = tuple("Stuck" if name in left else "Sealed" for name in MARTS)
    return End("Stuck", "Stuck", said, marts, left, digest=True)


# The stage -------------------------------------------------------------------------------------------------------


@dataclass
class Play:
    """A row, its team, and what came of it."""

    row: Row
    team: Team
    a: str = ""
    b: str = ""
    owner: str = ""
    sealed: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    end: End | None = None
    trouble: str = ""

    @property
    def target(self) -> str:
        """The root key that everything is to be under once the row is over."""
        return self.b if self.row.standby or not self.row.leaves else "global"

    def set_up(self) -> None:
        """Root key A in force, B beside it where the row has a Standby, and two data marts."""
        team, emulator = self.team, self.team.scene.emulator
        self.a, self.b = (emulator.create_root_key(name=f"{team.namespace}-{name}") for name in "ab")
        team.keys += [self.a, self.b]
        self.owner = emulator.create_service_id()
        emulator.grant(self.owner, emulator.instance)
        team.source("key-protect", apikey=emulator.create_api_key(self.owner))
        team.source("key-protect-b", apikey=team.scene.api_key(self.b))
        team.instance(globalKeyPolicy=self.row.policy)
        team.bind("a", self.a)
        team.marts(*MARTS, handover=self.row.handover)

    def settle(self) -> None:
        """Everything sealed under A; the Standby comes second, so that A is the one in force."""
        self.team.until_protected(self.a)
        self.team.until_ready(*MARTS)
        if self.row.standby:
            self.bind_b()
            self.team.until_reason("RootKeyBinding", "b", "Standby")

    def bind_b(self) -> None:
        """Bind B, with an API key of its own: what is taken from A is not taken from B."""
        self.team.bind("b", self.b, credentials={"apiKeySecretRef": {"name": "key-protect-b", "key": "apikey"}})

    # The re-encryption ------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have everything re-encrypted: away from A by deleting its binding, else to A's next data key.

        Where the removal *is* the deletion of the binding, the re-encryption that it meets is the latter too.
        """
        if self.row.leaves and self.row.removal is not Removal.BINDING:
            self.team.delete("RootKeyBinding", "a")
        else:
            self.team.patch("OpenScaleInstance", "prod", {"spec": {"dataKeyRevision": 1}})

    def hold(self) -> None:
        """From now on nobody can write the second data mart's status."""
        self._label("yes")

        def held() -> bool:
            try:
                self.team.patch("DataMart", MARTS[1], {}, status=True)
            except ApiError as error:
                return error.status == 403
            return False

        self.team.until(held, "the second data mart is held")

    def let_go(self) -> None:
        """It can be written again."""
        self._label(None)

    def half(self) -> None:
        """Wait until the first password has moved and the second has not."""
        self.team.until(lambda: self._data_key(MARTS[0]) != self._data_key(MARTS[1]), "the first has moved")

    def over(self) -> None:
        """Wait until the re-encryption is over."""
        if self.row.leaves and self.row.removal is not Removal.BINDING:
            self.team.until_gone("RootKeyBinding", "a")
        self.team.until(lambda: self._properties().get("dataKeyRevision", 0) == self._asked(), "the revision is made")
        self.team.until(lambda: len(self._properties()["dataKeys"]) == 1, "one data key is left")

    # The removal ------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """Take away what the row names."""
        emulator = self.team.scene.emulator
        match self.row.removal:
            case Removal.BINDING:
                self.team.delete("RootKeyBinding", "a")
            case Removal.DISABLED:
                emulator.disable(self.a)
            case Removal.DESTROYED:
                emulator.delete(self.a)
            case Removal.PURGED:
                emulator.delete(self.a)
                emulator.purge(self.a, ignore_timing=True)
            case Removal.GRANT:
                emulator.revoke(self.owner)
            case Removal.API_KEY:
                self.team.delete("Secret", "key-protect")
            case Removal.AWAY:
                emulator.fault("*", key=self.a, status=503)

    def noticed(self) -> None:
        """Wait until the operator says so, where it still looks at A."""
        if self.team.get("RootKeyBinding", "a"):
            self.team.until_reason("RootKeyBinding", "a", NOTICED[self.row.removal], "KeyUsable")

    def bring_back(self) -> None:
        """Give back what was taken; a purged root key never comes back, nor does a deleted binding by itself."""
        emulator = self.team.scene.emulator
        match self.row.removal:
            case Removal.DISABLED:
                emulator.enable(self.a, ignore_timing=True)
            case Removal.DESTROYED:
                emulator.restore(self.a, ignore_timing=True)
            case Removal.GRANT:
                emulator.grant(self.owner, emulator.instance)
            case Removal.API_KEY:
                self.team.source("key-protect", apikey=emulator.create_api_key(self.owner))
            case Removal.AWAY:
                emulator.clear_faults()
        if not self.row.leaves:
            self.bind_b()
        if self.row.removal is Removal.PURGED and self.row.handover:
            for name in MARTS if not self.row.leaves else expected(self.row).stuck:
                self.team.give_again(name, handover=True)

    # What came of it ----------------------------------------------------------------------------------------------

    def found(self) -> End:
        """How everything stands."""
        binding, instance = self.team.get("RootKeyBinding", "a"), self.team.get("OpenScaleInstance", "prod")
        told = condition(instance, "Encrypted")
        return End(
            binding=condition(binding).get("reason", "") if binding else "gone",
            instance=condition(instance).get("reason", ""),
            usable=condition(binding, "KeyUsable").get("reason", ""),
            marts=tuple(self.team.condition("DataMart", name).get("reason", "") for name in MARTS),
            stuck=tuple(name for name in MARTS if told.get("reason") == "Stuck" and name in told["message"]),
            digest=bool(binding.get("status", {}).get("stuckDigest")),
        )

    def judge(self) -> None:
        """Hold what came of it against the table."""
        self.end = self.found()
        instance = self.team.get("OpenScaleInstance", "prod")
        assert instance["status"]["secrets"]["stuck"] == len(self.end.stuck)
        ready = condition(instance)["status"] == "True"
        proof = self.team.proof()
        lost = set(MARTS) - set(proof.passwords)
        if self.end.instance in ("ReEncrypting", "Stuck"):
            said = condition(self.team.get("RootKeyBinding", "a"), "KeyUsable")["message"]
            for told in (condition(instance), condition(self.team.get("RootKeyBinding", "a"))):
                assert said in told["message"], "it waits, or is stuck, and does not say what for"
        if self.end.instance == "Stuck" and self.row.removal is Removal.DESTROYED:
            until = self.team.scene.emulator.key(self.a)["restoreExpirationDate"]
            assert until in condition(instance)["message"], "by when it must be restored"
        assert not lost or not ready, f"{lost} do not open, and the instance is Ready"
        assert lost <= set(self.end.stuck) or self.end.instance in (*SAID.values(), "ReEncrypting"), proof.failures
        assert proof.passwords.items() <= self.team.passwords.items()
        bindings = 2 if self.row.standby else 1
        calls = dict(self.tally.key_protect)
        assert not self.tally.writes, f"a hot loop: {dict(self.tally.writes)}"
        assert set(calls) <= {"metadata"}, f"a hot loop: {calls}"
        # A refused token is believed only after a fresh one: two calls for a look. Some slack at both ends.
        assert calls.get("metadata", 0) <= 2 * bindings * (POLLS + 3), f"a hot loop: {calls}"
        if self.end.binding == "gone" and not self.row.standby:
            assert not calls, "a binding that is gone is not polled any more"
        # Each look reads the API key, each missing or kept source is looked at in its turn; nothing is listed, but for
        # a list that is due anyway.
        reads = dict(self.tally.reads)
        assert reads.pop("secrets", 0) <= (2 * bindings + len(MARTS)) * (POLLS + 3), f"a hot loop: {self.tally.reads}"
        assert max(reads.values(), default=0) <= 1, f"a hot loop: {reads}"

    def finished(self) -> None:
        """Everything moved, the binding is gone, every password opens."""
        self.team.until_protected(self.target)
        self.team.until_gone("RootKeyBinding", "a")
        self.team.until_ready(*MARTS)
        self.team.prove(self.target)

    # Small things -------------------------------------------------------------------------------------------------

    def _label(self, value: str | None) -> None:
        self.team.patch("DataMart", MARTS[1], {"metadata": {"labels": {HOLD: value}}})

    def _data_key(self, name: str) -> str:
        return str(self.team.get("DataMart", name)["status"]["sealedPassword"]["dataKey"])

    def _properties(self) -> dict[str, Any]:
        return dict(self.team.get("OpenScaleInstance", "prod")["status"]["properties"])

    def _asked(self) -> int:
        return int(self.team.get("OpenScaleInstance", "prod")["spec"].get("dataKeyRevision", 0))


def each(plays: list[Play], do: Callable[[Play], object]) -> None:
    """Do something with each row; one that fails is out, and says why, and the others go on."""
    for play in plays:
        if not play.trouble:
            try:
                do(play)
            except (AssertionError, TimeoutError, KeyError) as error:
                play.trouble = f"{type(error).__name__} in {getattr(do, '__name__', do)}: {error}"


def of(plays: list[Play], *moments: Moment) -> list[Play]:
    """The rows of these moments."""
    return [play for play in plays if play.row.moment in moments]


@pytest.fixture(scope="module")
def holdable(scene: Scene) -> Iterator[None]:
    """While a data mart has the label, nobody can write its status: the middle of a re-encryption stands still."""
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["datamarts/status"], "operations": ["UPDATE"]}]
    match = {"resourceRules": rules, "objectSelector": {"matchLabels": {HOLD: "yes"}}}
    denial = {"expression": "false", "reason": "Forbidden", "message": "held by a test"}
    policy = {"matchConstraints": match, "validations": [denial], "failurePolicy": "Fail"}
    binding = {"policyName": HOLD, "validationActions": ["Deny"]}
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": HOLD}}
    scene.apply(
        api | {"kind": "ValidatingAdmissionPolicy", "spec": policy},
        api | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    )
    yield
    scene.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", HOLD)


@pytest.fixture(scope="module")
def plays(
    request: pytest.FixtureRequest,
    holdable: None,
    crowd: Callable[[int], AbstractContextManager[list[Team]]],
) -> Iterator[dict[Row, Play]]:
    """All rows of one removal, played side by side."""
    rows = [row for row in ROWS if row.removal is request.param]
    with crowd(len(rows)) as teams:
        played = [Play(row, team) for row, team in zip(rows, teams, strict=True)]
        play(played, teams[0].scene)
        yield {found.row: found for found in played}


def play(played: list[Play], scene: Scene) -> None:
    """One removal, all its rows, from the stage to the end."""
    removal = played[0].row.removal
    before, during, after = (of(played, moment) for moment in Moment)
    each(played, Play.set_up)
    each(played, Play.settle)
    each(during, Play.hold)
    each(during + after, Play.begin)
    each(during, Play.half)
    each(after, Play.over)

    each(played, Play.remove)
    if removal is not Removal.BINDING:
        each(played, Play.noticed)
    each(during, Play.let_go)
    if removal in IN_MEMORY:
        each(during, Play.over)  # what was unwrapped before still serves
        scene.operator.restart()  # and now the cache is empty
    each(before, Play.begin)
    if removal is not Removal.BINDING:
        each([p for p in played if not p.row.leaves], lambda p: p.team.delete("RootKeyBinding", "a"))

    each(played, lambda p: p.team.until(lambda: p.found() == expected(p.row), f"{expected(p.row)}, not {p.found()}"))
    teams = [p.team for p in played]
    teams[0].until_settled(*teams[1:])
    with ExitStack() as stack:
        for p in played:
            p.tally = stack.enter_context(p.team.counted())
        tokens = scene.emulator.counts()["iam.token"]
        teams[0].wait(POLLS)
        tokens = scene.emulator.counts()["iam.token"] - tokens
    # IAM is not told whose root key it is for: at most a fresh token for each look that is refused, the beacon's too.
    assert tokens <= (1 + sum(1 + p.row.standby for p in played)) * (POLLS + 3), f"a hot loop: {tokens} tokens"
    each(played, Play.judge)
    each(played, Play.bring_back)
    each(played, Play.finished)


@pytest.mark.parametrize(
    ("plays", "row"),
    [pytest.param(row.removal, row, id=str(row)) for row in ROWS],
    indirect=["plays"],
    scope="module",  # else each row would be played anew
)
def test_removal(plays: dict[Row, Play], row: Row) -> None:
    """It ends as the table says, quietly, with every secret either open or named; given back, the job is finished."""
    found = plays[row]
    assert not found.trouble, f"{row}: {found.trouble}"
    assert found.end == expected(row)


def test_abandon_takes_the_digest_of_the_list_as_it_is_now(team: Team) -> None:
    """The word for a former list does nothing and is answered by the present one; what is let go is kept, and told."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts(*MARTS, handover=True)
    team.until_ready(*MARTS)
    team.scene.emulator.delete(key)
    team.until_reason("RootKeyBinding", "a", "KeyDestroyed", "KeyUsable")
    team.delete("RootKeyBinding", "a")

    def digest() -> str:
        return str(team.get("RootKeyBinding", "a")["status"].get("stuckDigest", ""))

    def annotate(word: str) -> None:
        team.patch("RootKeyBinding", "a", {"metadata": {"annotations": {"openscale.byok.dev/abandon": word}}})

    team.until(lambda: digest() and "2 of 2" in team.condition("RootKeyBinding", "a")["message"], "both are stuck")
    former = digest()
    team.give_again("one", handover=True)
    team.until_ready("one")
    team.until(lambda: digest() not in ("", former), "the list is another one")
    annotate(former)
    team.until_settled()
    assert f"openscale.byok.dev/abandon={digest()}" in team.condition("RootKeyBinding", "a")["message"]
    team.nothing_written()
    kept = team.get("DataMart", "two")["status"]["sealedPassword"]["envelope"]
    annotate(digest())
    team.until_gone("RootKeyBinding", "a")
    team.until_reason("OpenScaleInstance", "prod", "Stuck")
    team.until(
        lambda: "Abandoned" in {e.get("reason") for e in team.scene.api.list("Event", team.namespace)},
        "an event says so",
    )
    team.until_settled()
    team.nothing_written()
    assert team.get("DataMart", "two")["status"]["sealedPassword"]["envelope"] == kept
    keys = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
    assert {entry["rootKey"] for entry in keys} == {key, "global"}
    team.scene.emulator.restore(key, ignore_timing=True)
    team.bind("again", key)
    team.until_protected(key)
    team.until_ready(*MARTS)
    team.prove(key)
