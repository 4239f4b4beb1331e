"""What the engine needs of the world: small protocols, with their contracts in prose.

Every port raises only `errors.Refused`, `errors.Unavailable` (of which `Changed` is one) and
`errors.Missing`; an adapter translates whatever else its library raises, and never lets a body, a token or
a key into the text.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.caller import Access, Caller
from openscale_byok.core.key_state import KeyLook
from openscale_byok.core.sealable import Sealable
from openscale_byok.core.source import Source
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.reasons import Reason
from openscale_byok.resources import (
    Credentials,
    DataMart,
    Meta,
    OpenScaleInstance,
    RootKeyBinding,
)

T = TypeVar("T", covariant=True)

BEGINS_SOON_SECONDS = 5.0
"""Until then what rests on something that was just seen is sent, however many wait for a turn; or not at all."""

Aad = tuple[str, ...]
"""Additional authenticated data of a wrapped data key; the same list in the same order opens it."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A wrapped data key and the root key's version that wrapped it."""

    ciphertext: str = field(repr=False)
    version: str


class Kms(Protocol):
    """One root key, with the right to use it. A conformance suite is part of this port.

    Raises, from every method: `Refused` for a clear no (its reason says which), `Unavailable` otherwise.
    """

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """A new random data key, in both forms."""
        ...

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """The data key. `Refused(Tampered)` where the ciphertext is not one of this root key, or the AAD differs."""
        ...

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """The same data key under the newest version; the old ciphertext keeps opening."""
        ...

    async def look(self) -> KeyLook:
        """The state of the root key, asked anew."""
        ...


class RootKeys(Protocol):
    """Where root keys are found."""

    def customer(self, binding: RootKeyBinding, credentials: Credentials | None) -> Kms:
        """The root key of a binding, used with these credentials.

        Raises:
            Refused: no credentials, or the endpoint or key is not allowed here.
        """
        ...

    def global_key(self) -> Kms:
        """The operator's own root key."""
        ...


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A consistent list and the version of the store that it shows."""

    version: int
    items: tuple[T, ...]
    unreadable: tuple[str, ...] = ()
    """Objects of another shape than their CRD demands, where these are left out and named instead."""


class Store(Protocol):
    """The cluster's objects of our three kinds. Reads are consistent; every write is a compare-and-swap."""

    async def instance(self, namespace: str, name: str) -> OpenScaleInstance:
        """Read one instance afresh. `Missing` where there is none."""
        ...

    async def instances(self) -> Listing[OpenScaleInstance]:
        """Every instance of the cluster; one that cannot be read is named apart, and stops nobody else's."""
        ...

    async def version(self) -> int:
        """The version of the store as it is now: no older than that of any instance that was read before."""
        ...

    async def bindings(self, namespace: str, instance: str) -> Listing[RootKeyBinding]:
        """The bindings that name an instance."""
        ...

    async def datamarts(self, namespace: str, instance: str) -> Listing[DataMart]:
        """The data marts that name an instance."""
        ...

    async def sealables(self, namespace: str, instance: str, service_instance_id: str) -> Listing[Sealable]:
        """What they hold that is sealed: all that is kept of a data mart, and a third of its memory."""
        ...

    async def patch_status(self, kind: str, meta: Meta, status: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into the status, if the object is still at ``meta.resource_version``; the object as stored.

        Raises `Changed` (409) and `Missing` (404) besides.
        """
        ...

    async def patch_finalizers(self, kind: str, meta: Meta, finalizers: Sequence[str]) -> dict[str, Any]:
        """Set the finalizers, if the object is still at ``meta.resource_version``; the object as stored.

        It is sent within `BEGINS_SOON_SECONDS` or not at all (`Unavailable`).
        """
        ...

    async def announce(self, kind: str, meta: Meta, reason: Reason, message: str) -> None:
        """Post an event. Never fails: events are not the record."""
        ...


class Objects(Protocol):
    """Our objects as somebody wants them, who was found to have the right; specs, never statuses."""

    async def datamart(self, namespace: str, name: str) -> DataMart:
        """Read one data mart afresh. `Missing` where there is none."""
        ...

    async def create(
        self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str]
    ) -> dict[str, Any]:
        """Create an object; as stored. `Changed` where one of this name exists, `Refused` where its CRD says no."""
        ...

    async def patch_spec(self, kind: str, meta: Meta, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into the spec, if the object is still at ``meta.resource_version``; the object as stored."""
        ...

    async def remove(self, kind: str, meta: Meta) -> None:
        """Delete just this object (by its uid). `Missing` where it is gone."""
        ...


class SourceReader(Protocol):
    """Secrets, one at a time and by name: there is no right to list or watch them."""

    async def read(self, namespace: str, name: str) -> Source:
        """Read a Secret afresh. `Missing` where there is none; `Unavailable(SecretForbidden)` without the right."""
        ...

    async def delete(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """Delete exactly the Secret that was read: `Changed` where it is another by now, `Missing` where gone.

        It is sent within `BEGINS_SOON_SECONDS` or not at all (`Unavailable`): what makes it right to delete was seen
        just before.
        """
        ...


class Reviews(Protocol):
    """Who somebody is, and what they may do, asked anew each time: nothing is remembered here."""

    async def caller(self, token: str) -> Caller:
        """Who holds a bearer token that was made for us.

        Raises:
            Refused: `NotAuthenticated`; why is for the log alone.
            Unavailable: whoever vouches for it cannot be reached.
        """
        ...

    def signer(self, token: str) -> str:
        """Whose token this is by its signature alone, as keys at hand show; nothing where they do not.

        It decides who waits behind whom, and nothing else: a token that was signed may be withdrawn since. Nobody is
        asked, and nothing waited for.
        """
        ...

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """Whether the API server's authorizer lets them. `Unavailable` where it cannot be reached."""
        ...


class Turns(Protocol):
    """So many turns at once, of something that all namespaces share; none of them waits for all that another wants."""

    def turn(self, flow: str) -> AbstractAsyncContextManager[None]:
        """A turn for as long as the block lasts."""
        ...


class Audit(Protocol):
    """The record of who did what. What is audited does not happen, or is not answered, unless its line is written."""

    def write(self, event: AuditEvent) -> None:
        """Write one line; it is with the operating system when this returns.

        Raises:
            Unavailable: `AuditUnavailable`: it was not written.
        """
        ...


class Clock(Protocol):
    """Time, handed in: wall time for what people read, monotonic seconds for what we measure."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...
