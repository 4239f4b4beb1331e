"""What an envelope is bound to: what the secret is, where it may go, and how the server there is proven."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

TLS_MODES = ("Disable", "Require", "VerifyFull")
"""From the one that proves nothing of a server to the one that proves all."""
CHECKED = "VerifyFull"
"""The one mode in which an authority vouches for the server."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a sealed password may go, and nowhere else."""

    type: str
    host: str
    port: int
    database: str
    username: str


@dataclass(frozen=True, slots=True)
class Proof:
    """How the server at an endpoint is proven to be the one that is meant."""

    tls: str
    ca: str
    """Digest of the authorities' certificates (`certificates.digest`); nothing where the client's own are asked."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a secret is. No Kubernetes UID is in it: a restored backup must open."""

    instance: str  # service instance id
    kind: str
    namespace: str
    name: str
    field: str
    endpoint: Endpoint
    proof: Proof | None = None
    """Nothing in envelopes of v1, which say nothing of it."""

    def header(self) -> dict[str, Any]:
        """As the envelope's header holds it."""
        found = asdict(self)
        if self.proof is None:
            del found["proof"]
        return found


class Departure(StrEnum):
    """In what an object has departed from that for which its secret was given."""

    OBJECT = "object"
    """It is another one: no password can be given for that."""
    ENDPOINT = "endpoint"
    TLS = "tls"
    """A lower mode: the server has to prove less."""
    CA_BUNDLE = "caBundle"
    """Other authorities, who may vouch for another server; or none where there were, or any where there were none."""


def departure(given: Context, now: Context) -> Departure | None:
    """The one rule of what a secret may be used for: what keeps it from being used as the object says now, if anything.

    A v1, which says nothing of a proof, asks for none.
    """
    if given == now:
        return None
    if replace(given, endpoint=now.endpoint, proof=now.proof) != now:
        return Departure.OBJECT
    if given.endpoint != now.endpoint:
        return Departure.ENDPOINT
    return None if given.proof is None or now.proof is None else lowered(given.proof, now.proof)


def lowered(given: Proof, now: Proof) -> Departure | None:
    """In what a proof is less than the one that a secret was given for, if in anything.

    It may be raised, and lowered again, no further than to what the secret was given for: that is what the envelope
    says, until the secret is given anew. Below `VerifyFull` nobody vouches for the server, so that any authority is
    more. At `VerifyFull` no bundle can be said to be more than another: one more authority proves more servers, and
    one's own in place of the public ones proves one's own server. So each change counts.
    """
    if TLS_MODES.index(now.tls) < TLS_MODES.index(given.tls):
        return Departure.TLS
    return Departure.CA_BUNDLE if given.tls == CHECKED and given.ca != now.ca else None
