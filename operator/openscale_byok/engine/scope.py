"""Everything known of one instance: its objects as last seen, and what the engine remembers of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.core.sealable import NO_NOTE, Note, Sealable, from_datamart
from openscale_byok.core.shortlist import MOST_BINDINGS, Shortlist, shortlist
from openscale_byok.core.view import KeyStanding, View
from openscale_byok.engine.claims import Claims
from openscale_byok.engine.sealable_index import SealableIndex
from openscale_byok.errors import ByokError, Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    GLOBAL,
    Credentials,
    DataMart,
    Meta,
    OpenScaleInstance,
    Properties,
    RootKeyBinding,
)

Key = tuple[str, str]
"""Namespace and name."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
LIST_RETRY_SECONDS = 5.0
"""How rarely a list that goes on failing is tried again because of events: what mended it may be one of them."""


class WentBack(RuntimeError):
    """The cluster shows an older state of itself than one before: it was restored under us.

    Nothing that this process remembers may be relied on: it ends, and starts anew.
    """


def forward(before: int, version: int) -> int:
    """A version that was read, where it is no older than what was known before the read began.

    Raises:
        WentBack: it is older.
    """
    if version < before:
        raise WentBack("the cluster's resourceVersion went backwards, so it was restored from a backup")
    return version


def nobody_minds(key: Key, sealable: Sealable) -> None:
    """Whoever hands passwords out needs not know what went."""
    del key, sealable


@dataclass(slots=True)
class Failure:
    """A failed try: what it said, how often in a row, and when to try again."""

    error: ByokError
    tries: int
    due: float
    failed: float = 0.0
    """When it failed last."""


@dataclass(slots=True)
class Said:
    """The last status that was reported of an object, how often in a row, and when it may be said again."""

    says: tuple[object, ...]
    times: int = 0
    due: float = 0.0


def backoff(tries: int, jitter: float) -> float:
    """Seconds until the next try: doubling to a minute, and spread so that many do not come at once.

    Args:
        tries: failures in a row, from 1.
        jitter: between 0 and 1.
    """
    return min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** (tries - 1)) * (0.75 + jitter / 2)


@dataclass(slots=True)
class Scope:
    """One instance and what belongs to it. A list replaces; an event only moves forward."""

    key: Key
    instance: OpenScaleInstance | None = None
    bindings: dict[str, RootKeyBinding] = field(default_factory=dict)
    sealables: dict[str, Sealable] = field(default_factory=dict)  # by name
    notes: dict[str, Note] = field(default_factory=dict)
    keys: dict[str, KeyStanding] = field(default_factory=dict)
    closed: dict[str, Failure] = field(default_factory=dict)
    troubles: dict[str, Failure] = field(default_factory=dict)
    listed: bool = False
    listed_bindings: int = -1
    listed_marts: int = -1
    departed: dict[str, int] = field(default_factory=dict)
    """Deleted, by uid, at which version: a list from before does not bring it back."""
    in_flight: set[str] = field(default_factory=set)
    deferred: dict[str, tuple[bool, dict[str, Any]]] = field(default_factory=dict)
    last_report: float = float("-inf")
    said: dict[str, Said] = field(default_factory=dict)  # by uid
    relist_due: float = 0.0
    _shortlist: Shortlist | None = None
    claims: Claims = field(default_factory=Claims, repr=False)
    """Kept by whoever has many scopes: told which service instance id this one claims."""
    policy: InstancePolicy = field(default_factory=InstancePolicy, repr=False)
    index: SealableIndex = field(default_factory=SealableIndex, repr=False)
    """Likewise: told which sealables this one has."""
    went: Callable[[Key, Sealable], None] = field(default=nobody_minds, repr=False)
    """Told of each sealable that was deleted, as it was known last."""

    @property
    def read(self) -> bool:
        """Whether a list of everything was taken in, and nothing has come into doubt since: what is not here is not
        there. While the first list is under way, events count already (`listed`), and most is not here yet."""
        return self.listed and self.listed_marts >= 0

    @property
    def unread(self) -> bool:
        """Whether it holds an instance that was never listed, by no fault of its own objects."""
        trouble = self.troubles.get("list")
        faulty = trouble is not None and isinstance(trouble.error, Refused)
        return self.instance is not None and self.listed_marts < 0 and not faulty

    # Events -------------------------------------------------------------------------------------------

    def known_version(self, kind: str, name: str) -> int:
        """The resourceVersion that an object is known with; -1 where it is not known."""
        known: Meta | None = None
        if kind == OpenScaleInstance.KIND:
            known = self.instance.metadata if self.instance is not None else None
        elif kind == RootKeyBinding.KIND:
            known = self.bindings[name].metadata if name in self.bindings else None
        else:
            known = self.sealables[name].meta if name in self.sealables else None
        return known.version if known is not None else -1

    def see_instance(self, instance: OpenScaleInstance | None) -> bool:
        """Take in an instance as an event or a read shows it; whether that was news."""
        known = self.instance
        if instance is None:
            self._become(None)
            self.listed = False
            return known is not None
        if known is not None and known.metadata.uid == instance.metadata.uid:
            if instance.metadata.version <= known.metadata.version:
                return False
            for entry in instance.properties.data_keys:
                before = known.properties.find(entry.id)
                if before is not None and before.wrapped != entry.wrapped:
                    self.closed.pop(entry.id, None)  # another wrapped form: what was said of the former is void
        else:
            self.listed = False  # what belongs to it carries the identity of the former one
        self._become(instance)
        return True

    def _become(self, instance: OpenScaleInstance | None) -> None:
        before, self.instance, self._shortlist = self.instance, instance, None
        self.claims.move(self.key, *(i.spec.service_instance_id if i is not None else "" for i in (before, instance)))

    def see_binding(self, binding: RootKeyBinding, *, gone: bool = False) -> bool:
        """Take in a binding; whether that was news."""
        name, known = binding.metadata.name, self.bindings.get(binding.metadata.name)
        self._shortlist = None
        if gone:
            self.departed[binding.metadata.uid] = binding.metadata.version
            self.keys.pop(binding.metadata.uid, None)
            return self.bindings.pop(name, None) is not None
        if known is not None and known.metadata.version >= binding.metadata.version:
            return False
        if known is None and binding.metadata.version <= self.listed_bindings:
            return False  # a late event of something that a later list did not show
        self.bindings[name] = binding
        return True

    def see_mart(self, raw: dict[str, Any], *, gone: bool = False) -> bool:
        """Take in a data mart as an event shows it; whether that was news."""
        meta = raw["metadata"]
        if meta["uid"] in self.in_flight:
            # Most probably our own write. What it really was shows once the write has answered.
            self.deferred[meta["uid"]] = (gone, raw)
            return False
        known, version = self.sealables.get(meta["name"]), int(meta["resourceVersion"])
        if not self._is_news(known, version, gone=gone):
            return False
        if gone:
            self.departed[meta["uid"]] = version
            if known is not None and known.uid == meta["uid"]:
                self.forget(known)
                self.went(self.key, known)
                return True
            return False
        self.put(self._sealable(DataMart.of(raw)))
        return True

    def see_stored(self, mart: DataMart) -> bool:
        """Take in a data mart as the API server answered a write with; whether that was news. What was heard since, its
        deletion also, is newer."""
        meta = mart.metadata
        if meta.uid in self.departed or not self._is_news(self.sealables.get(meta.name), meta.version, gone=False):
            return False
        self.put(self._sealable(mart))
        return True

    def _is_news(self, known: Sealable | None, version: int, *, gone: bool) -> bool:
        if known is None:
            return version > self.listed_marts  # else a later list did not show it
        return gone or version > known.meta.version

    def landed(self, uid: str) -> None:
        """A write of ours has answered: take in what came for this object meanwhile."""
        self.in_flight.discard(uid)
        waiting = self.deferred.pop(uid, None)
        if waiting is not None:
            self.see_mart(waiting[1], gone=waiting[0])

    # Lists --------------------------------------------------------------------------------------------

    def list_bindings(self, version: int, bindings: Iterable[RootKeyBinding]) -> None:
        """Replace the bindings by a consistent list, but for what events have told since it was made."""
        self.listed_bindings = forward(self.listed_bindings, version)
        self._shortlist = None
        since = {name: known for name, known in self.bindings.items() if known.metadata.version > version}
        self.bindings = {b.metadata.name: b for b in bindings if b.metadata.uid not in self.departed} | since
        self._forget_departed()
        uids = {GLOBAL, *(b.metadata.uid for b in self.bindings.values())}
        self.keys = {uid: standing for uid, standing in self.keys.items() if uid in uids}

    def list_marts(self, version: int, marts: Iterable[Sealable]) -> None:
        """Replace the data marts by a consistent list, but for what events have told since it was made."""
        self.listed_marts = forward(self.listed_marts, version)
        since = [known for known in self.sealables.values() if known.meta.version > version]
        before = self.sealables
        self.sealables = {mart.meta.name: self._known(mart) for mart in marts if mart.uid not in self.departed}
        own = [known for known in since if known.context.instance == self.service_instance_id]
        self.sealables |= {known.meta.name: known for known in own}
        for name in before.keys() | self.sealables.keys():
            self.index.move(self.key, before.get(name), self.sealables.get(name))
        here = {known.uid for known in self.sealables.values()}
        for known in before.values():
            if known.uid not in here:
                self.went(self.key, known)
        if len(own) < len(since) or any(
            mart.context.instance != self.service_instance_id for mart in self.sealables.values()
        ):
            self.listed = False  # one carries the identity of a former instance: list once more
        self._forget_departed()
        uids = {s.uid for s in self.sealables.values()}
        self.notes = {uid: note for uid, note in self.notes.items() if uid in uids}

    def _forget_departed(self) -> None:
        listed = min(self.listed_bindings, self.listed_marts)
        self.departed = {uid: version for uid, version in self.departed.items() if version > listed}

    # Sealables ----------------------------------------------------------------------------------------

    def put(self, sealable: Sealable) -> None:
        """Keep a sealable as it is now."""
        self.index.move(self.key, self.sealables.get(sealable.meta.name), sealable)
        self.sealables[sealable.meta.name] = sealable

    def forget(self, sealable: Sealable) -> None:
        """It is gone."""
        known = self.sealables.get(sealable.meta.name)
        if known is not None and known.uid == sealable.uid:  # else it was made anew under its name
            self.index.move(self.key, self.sealables.pop(sealable.meta.name), None)
        self.notes.pop(sealable.uid, None)
        self.said.pop(sealable.uid, None)

    def note(self, sealable: Sealable, **changes: object) -> None:
        """Remember something of a sealable."""
        self.notes[sealable.uid] = self.notes.get(sealable.uid, NO_NOTE).with_(**changes)

    def sealable_of(self, raw: dict[str, Any]) -> Sealable:
        """A data mart that the API server has just answered with."""
        return self._sealable(DataMart.of(raw))

    def _sealable(self, mart: DataMart) -> Sealable:
        return self._known(from_datamart(mart, self.service_instance_id))

    def _known(self, found: Sealable) -> Sealable:
        """With what was known of it before."""
        known = self.sealables.get(found.meta.name)
        return found if known is None else found.after(known)

    @property
    def service_instance_id(self) -> str:
        """Its instance's; empty where there is none."""
        return self.instance.spec.service_instance_id if self.instance is not None else ""

    # Root keys ----------------------------------------------------------------------------------------

    @property
    def shortlist(self) -> Shortlist:
        """The bindings whose root keys are asked about. Of many it is found anew only where one of them has changed."""
        if len(self.bindings) <= MOST_BINDINGS:
            return Shortlist(tuple(self.bindings.values()))
        if self._shortlist is None:
            properties = self.instance.properties if self.instance is not None else Properties()
            self._shortlist = shortlist(self.bindings.values(), properties)
        return self._shortlist

    def credentials_of(self, binding: RootKeyBinding) -> Credentials | None:
        """The binding's credentials, else its instance's."""
        if binding.spec.credentials is not None:
            return binding.spec.credentials
        return self.instance.spec.credentials if self.instance is not None else None

    def binding_for(self, root_key: str) -> RootKeyBinding | None:
        """A binding that may use this root key: one that is not refused first, then the older."""
        found = [b for b in self.shortlist.looked_at if b.root_key == root_key]
        found.sort(key=lambda b: (self._refused(b), b.metadata.creation_timestamp, b.metadata.name))
        return found[0] if found else None

    def _refused(self, binding: RootKeyBinding) -> bool:
        standing = self.keys.get(binding.metadata.uid)
        return standing is not None and standing.refused

    def learn_version(self, root_key: str, version: str) -> None:
        """A root key has just wrapped something: its newest version is this one, whatever the last look said.

        Were the look believed, every data key minted between a rotation and the next look would be rewrapped,
        and found behind again, without end.
        """
        uids = [b.metadata.uid for b in self.shortlist.looked_at if b.root_key == root_key]
        for uid in [GLOBAL] if root_key == GLOBAL else uids:
            known = self.keys.get(uid)
            if known is not None and known.look is not None:
                self.keys[uid] = replace(known, look=replace(known.look, version=version))

    # Failures -----------------------------------------------------------------------------------------

    def fail(self, book: dict[str, Failure], subject: str, error: ByokError, now: float, jitter: float) -> None:
        """Remember a failed try, and when the next one may be."""
        tries = book[subject].tries + 1 if subject in book else 1
        wait = LAST_RETRY_SECONDS if isinstance(error, Refused) else backoff(tries, jitter)
        if isinstance(error, (Changed, Missing)):
            wait /= 10  # the list is read anew before the next try
        if isinstance(error, Unavailable) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        book[subject] = Failure(error, tries, now + wait, now)

    def list_wait(self, now: float) -> float:
        """Seconds until a list that failed may be tried again, whatever wakes it; zero where none failed.

        Else it would be tried as often as somebody makes events.
        """
        failure = self.troubles.get("list")
        if failure is None:
            return 0.0
        due = failure.due
        if not isinstance(failure.error, Unavailable) or failure.error.retry_after is None:
            due = min(due, failure.failed + min(LIST_RETRY_SECONDS, backoff(failure.tries, 0.5)))
        return max(0.0, due - now)

    def say(self, uid: str, says: tuple[object, ...], now: float, jitter: float) -> None:
        """Remember what was reported.

        To say the same of an object again means that somebody else said something different meanwhile: an
        operator that should have ended, and knows other things. Each would correct the other as fast as the
        API server answers; so the same thing is said again ever more rarely.
        """
        before = self.said.get(uid)
        again = before is not None and before.says == says
        times = before.times + 1 if before is not None and again else 0
        self.said[uid] = Said(says, times, now + backoff(times, jitter) if times else now)

    def reopen(self, root_key: str) -> None:
        """Something changed about a root key: what failed because of it may be tried again at once."""
        for entry in self.instance.properties.data_keys if self.instance else ():
            if entry.root_key == root_key:
                self.closed.pop(entry.id, None)
                self.troubles.pop(f"rewrap:{entry.id}", None)
        for sealable in self.sealables.values():
            self._reopen_unknown(sealable, root_key)
        self.troubles.pop("mint", None)

    def _reopen_unknown(self, sealable: Sealable, root_key: str) -> None:
        """What a data key that is recorded nowhere kept closed: only the envelope itself says what wrapped it."""
        envelope = sealable.envelope
        if envelope is None or envelope.wrapped.root_key != root_key:
            return
        self.closed.pop(envelope.data_key, None)
        broken = self.notes.get(sealable.uid, NO_NOTE).broken
        if broken is not None and broken.reason is Reason.UNKNOWN_DATA_KEY:
            self.note(sealable, judged="", broken=None)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to look after."""
        return self.instance is None and not self.bindings and not self.sealables

    def view(self, now: float, conflict: Refused | None, today: datetime | None = None) -> View:
        """What a plan rests on."""
        return View(
            namespace=self.key[0],
            name=self.key[1],
            instance=self.instance,
            conflict=conflict,
            bindings=self.shortlist.looked_at,
            beyond=self.shortlist.beyond,
            keys=self.keys,
            sealables=tuple(self.sealables.values()),
            notes=self.notes,
            closed={
                key: failure.error
                for key, failure in self.closed.items()
                if failure.due > now or isinstance(failure.error, Refused)
            },
            shut=frozenset(key for key, failure in self.closed.items() if failure.due > now),
            troubles={name: failure.error for name, failure in self.troubles.items() if failure.due > now},
            now=now,
            today=today,
            minimum_retention_days=self.policy.minimum_retention_days,
            last_report=self.last_report,
            disputed={uid: said.due for uid, said in self.said.items() if said.due > now},
        )
