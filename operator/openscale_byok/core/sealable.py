"""An object that holds a secret, whatever its kind, and how its envelope stands against the properties.

::

    properties.dataKeys      Retiring ──────┐        Active ───────┐
                             (only opens)   │        (seals, opens)│
    envelopes                        names it: STALE        names it: CURRENT
                                            └── re-encrypt ──────►─┘
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from hashlib import sha256
from sys import intern
from typing import Any

from openscale_byok.core.departures import ca_trouble, context_of, text_of
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.context import Context, Departure, Proof, departure
from openscale_byok.crypto.envelope import Envelope
from openscale_byok.errors import ByokError, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    Condition,
    DataMart,
    Meta,
    Properties,
    SealedSource,
    SecretKeyRef,
)

SECRET_ID_CHARACTERS = 32


class Standing(Enum):
    """How a stored envelope stands."""

    UNSEALED = auto()
    """There is none."""
    CURRENT = auto()
    """It names the Active data key."""
    STALE = auto()
    """It names a recorded data key that is not Active."""
    UNKNOWN = auto()
    """It names a data key that is not recorded, in the view at hand."""
    FLAWED = auto()
    """It cannot be this object's: not parsed, or written for another object."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a reader of the secret uses it, as the spec says now. The envelope says how little may prove the server."""

    tls: str = ""
    schema: str = ""
    ca_bundle: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What OpenScale's API shows of an object besides: no part of how it is sealed."""

    display_name: str | None = None
    description: str | None = None
    sealed_time: str = ""
    secret_id: str = ""
    """Of what is sealed: tells nothing of it, and is another after each seal. Empty where nothing is."""


@dataclass(frozen=True, slots=True)
class Sealable:
    """The sealable side of an object: where its secret comes from, and how it is stored."""

    kind: str
    meta: Meta
    observed_generation: int
    instance: str
    source_ref: SecretKeyRef | None
    """Nothing where the password is given through the gateway."""
    revision: int
    context: Context
    envelope: Envelope | None
    flaw: Refused | None
    sealed_source: SealedSource | None
    stuck_under: str | None
    conditions: tuple[Condition, ...]
    manner: Manner = Manner()
    shown: Shown = Shown()
    first_seen: Proof | None = None
    """Where the envelope is a v1, which says nothing of it: how the server was proven when that envelope was first
    seen. So it is bound to what the object said then, and never to what somebody writes before it is sealed anew."""
    ca_trouble: Refused | None = None
    """Why nothing can prove the server: the caBundle cannot be read."""

    @property
    def uid(self) -> str:
        """The object's uid."""
        return self.meta.uid

    @property
    def stored(self) -> bool:
        """Whether it holds an envelope, be it one that cannot be read."""
        return self.envelope is not None or self.flaw is not None

    @property
    def only_copy(self) -> bool:
        """Whether what it holds is nowhere else, as its status says: handed over, given, or its Secret is gone."""
        removed = self.condition("SourceRemoved")
        return self.stored and removed is not None and removed.status == "True"

    @property
    def unbound(self) -> bool:
        """Whether its envelope is a v1: to be sealed once more, as a v2."""
        return self.first_seen is not None

    @property
    def given_for(self) -> Context | None:
        """What its password was given for. Whatever seals it anew without asking for it keeps that."""
        if self.envelope is None or self.first_seen is None:
            return self.envelope.context if self.envelope is not None else None
        return replace(self.envelope.context, proof=self.first_seen)

    @property
    def departed(self) -> Departure | None:
        """In what the object has departed from what its password was given for."""
        given = self.given_for
        return None if given is None else departure(given, self.context)

    @property
    def elsewhere(self) -> bool:
        """Whether its password was given for another endpoint, or for one that had to prove more."""
        return self.departed is not None

    def expect_kept(self) -> None:
        """Expect that the password may go where the object says, as it says.

        Raises:
            Refused: `EndpointChanged` or `CABundleInvalid`.
        """
        given, departed = self.given_for, self.departed
        if given is not None and departed is not None:
            raise Refused(Reason.ENDPOINT_CHANGED, text_of(departed, given, self.context))
        if self.ca_trouble is not None:
            raise self.ca_trouble.with_traceback(None)

    def after(self, known: "Sealable") -> "Sealable":
        """This, knowing what it was before: a v1 envelope that was here already keeps what it was first seen with."""
        same = known.envelope is not None and self.envelope is not None and known.envelope.text == self.envelope.text
        if self.first_seen is None or known.uid != self.uid or not same:
            return self
        return replace(self, first_seen=known.first_seen)

    @property
    def unanswered(self) -> bool:
        """Whether the spec asks for another source, or another look, than the one that was sealed from."""
        source = self.sealed_source
        if source is None or self.source_ref is None:
            return False
        if source.given:
            return True  # a Secret is named since
        if source.name is None:
            return False
        asked = (self.source_ref.name, self.source_ref.key, self.revision)
        return (source.name, source.key, source.revision) != asked

    @property
    def ready(self) -> bool:
        """Whether it was found safely sealed, for the spec that it has now."""
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True" and self.observed_generation == self.meta.generation

    def condition(self, type_: str) -> Condition | None:
        """One of its conditions."""
        return next((found for found in self.conditions if found.type == type_), None)

    def standing(self, properties: Properties) -> Standing:
        """How its envelope stands against the properties."""
        return self.standing_among({entry.id: entry.active for entry in properties.data_keys})

    def standing_among(self, active: Mapping[str, bool]) -> Standing:
        """How its envelope stands against the recorded data keys: for each id, whether it is Active."""
        if self.flaw is not None:
            return Standing.FLAWED
        if self.envelope is None:
            return Standing.UNSEALED
        found = active.get(self.envelope.data_key)
        if found is None:
            return Standing.UNKNOWN
        return Standing.CURRENT if found else Standing.STALE


def from_datamart(mart: DataMart, service_instance_id: str) -> Sealable:
    """A data mart as something to seal. A stored envelope that is not its own becomes its flaw."""
    at, stored = mart.spec.database, mart.status.sealed_password
    context = context_of(mart, service_instance_id)
    envelope, flaw = None, None
    if stored is not None:
        try:
            envelope = envelopes.parse(stored.envelope)
        except Refused as error:
            flaw = error
        else:
            if departure(envelope.context, context) is Departure.OBJECT:
                envelope, flaw = (
                    None,
                    Refused(Reason.CONTEXT_MISMATCH, "the stored envelope was written for another object"),
                )
            elif envelope.context == context:
                envelope = replace(envelope, context=context)  # equal, and kept once
    return Sealable(
        kind=mart.KIND,
        meta=mart.metadata,
        observed_generation=mart.status.observed_generation,
        instance=mart.spec.instance_ref.name,
        source_ref=mart.spec.database.password.secret_ref,
        revision=mart.spec.database.password.revision,
        context=context,
        envelope=envelope,
        flaw=flaw,
        sealed_source=stored.source if stored else None,
        stuck_under=stored.stuck_under if stored else None,
        conditions=tuple(map(_shared, mart.status.conditions)),
        manner=Manner(at.tls, at.schema_, intern(at.ca_bundle) if at.ca_bundle is not None else None),
        shown=_shown(mart),
        first_seen=context.proof if envelope is not None and envelope.context.proof is None else None,
        ca_trouble=ca_trouble(at.ca_bundle),
    )


def _shown(mart: DataMart) -> Shown:
    spec, stored = mart.spec, mart.status.sealed_password
    name = None if spec.display_name == mart.metadata.name else spec.display_name
    if stored is None:
        return Shown(name, spec.description)
    digest = sha256(stored.envelope.encode()).hexdigest()[:SECRET_ID_CHARACTERS]
    return Shown(name, spec.description, stored.sealed_time, digest)


@lru_cache(maxsize=1_024)
def _shared(condition: Condition) -> Condition:
    """An equal condition: thousands of objects say the same, and it is kept once."""
    return condition


def as_stored(envelope: Envelope, time: str, source: SealedSource | None = None) -> dict[str, Any]:
    """An envelope as a merge patch of ``status.sealedPassword``.

    Args:
        envelope: to be stored.
        time: when it was sealed.
        source: where its secret came from; None leaves what is stored.
    """
    found: dict[str, Any] = {
        "dataKey": envelope.data_key,
        "envelope": envelope.text,
        "sealedTime": time,
        "stuckUnder": None,
    }
    if source is not None:
        found["source"] = source.dump()  # None takes out what a former source left there
    return found


@dataclass(frozen=True, slots=True)
class Note:
    """What the engine remembers of a sealable, for as long as it runs. Losing it costs reads, never a secret."""

    judged: str = ""
    """The envelope's text that this process wrote or opened, or tried to open with its data key."""
    broken: Refused | None = None
    """Why the envelope that was judged does not open although its data key does."""
    mark_read: str = ""
    """A stuck mark that names an unknown data key even after the instance was read again: a former Active one."""
    source_trouble: ByokError | None = None
    """What the last look at the source found wrong; `Missing` included."""
    source_looked: int = -1
    """The generation for which the source was last looked at."""
    source_due: float = 0.0
    """When to look at the source again, in monotonic seconds."""
    fresh: bool = False
    """Whether the source was looked at since its condition was last settled."""
    looks: int = 0
    """Looks in vain since the last good one: they get rarer."""
    idle_since: tuple[int, float] | None = None
    """The generation for which, and when, it was first found held with no delete of its source to come."""
    hold_due: float = 0.0
    """When to ask again whether it may be free, in monotonic seconds."""

    def with_(self, **changes: object) -> "Note":
        """A copy with changes."""
        return replace(self, **changes)  # type: ignore[arg-type] # names are checked by replace() itself


NO_NOTE = Note()
