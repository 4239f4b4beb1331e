"""The gateway's serving certificate, where it has none in files: from an authority that all replicas share.

When a certificate changes, so does the TLS context of *new* connections; those that are open go on as they are.
Whatever goes wrong once the gateway serves, it goes on with what it has, and says so in the log.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from openscale_byok.adapters.tls import server_context
from openscale_byok.core.source import Source
from openscale_byok.crypto import authority
from openscale_byok.crypto.authority import TERMS, Authorities, Authority, Terms
from openscale_byok.errors import Changed, Missing, Refused, Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

log = structlog.get_logger("openscale_byok")

BUNDLE = "ca.crt"
LOOK_SECONDS = 30.0
_TRIES = 5


class ServingCertificate(Protocol):
    """What the listener needs of a certificate."""

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        ...

    async def follow(self) -> None:
        """Keep it up to date, until cancelled."""
        ...


class AuthorityStore(Protocol):
    """The Secret of the authority, and the ConfigMap that publishes it."""

    async def read(self, namespace: str, name: str) -> Source:
        """See `ports.SourceReader`."""
        ...

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        """Create the Secret; `Changed` where someone else has."""
        ...

    async def write_secret(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, bytes | None]
    ) -> None:
        """Merge into the Secret that was read; `Changed` where it is another by now."""
        ...

    async def config_map(self, namespace: str, name: str) -> tuple[str, dict[str, str]]:
        """The ConfigMap's resourceVersion and values; `Missing` where there is none."""
        ...

    async def write_config_map(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, str]
    ) -> None:
        """Merge into the ConfigMap that was read, or create it ("")."""
        ...


class OwnCertificate:
    """A short-lived certificate that each replica makes for itself, signed by the authority that all share.

    The authority is created once, and a new one long before it is over; every write is a compare-and-swap, so replicas
    agree without talking. Deleting its Secret is how an owner gets rid of it: a new one is made, and the ConfigMap
    then names no other.
    """

    def __init__(
        self,
        store: AuthorityStore,
        namespace: str,
        name: str,
        names: Sequence[str],
        clock: Clock,
        *,
        terms: Terms = TERMS,
        seconds: float = LOOK_SECONDS,
    ) -> None:
        """Nothing is asked yet: see `start`.

        Args:
            store: the cluster.
            namespace: ours.
            name: of the Secret and of the ConfigMap.
            names: host names and addresses for the certificate.
            clock: for every date.
            terms: how long certificates are valid.
            seconds: between two looks at the Secret.

        Raises:
            Refused: a name is neither a host name nor an address, or there is none.
        """
        if not names:
            text = "OPENSCALE_BYOK_GATEWAY_NAMES: at least one host name or address is needed for a certificate of ours"
            raise Refused(Reason.CERTIFICATE_INVALID, text)
        for each in names:
            authority.general_name(each)
        self._store, self._namespace, self._name = store, namespace, name
        self._names, self._clock, self._terms, self._seconds = tuple(names), clock, terms, seconds
        self._context: ssl.SSLContext | None = None
        self._signer: x509.Certificate | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        self._trouble = ""

    @property
    def context(self) -> ssl.SSLContext:
        """See `ServingCertificate`."""
        if self._context is None:
            raise RuntimeError("start() comes first")
        return self._context

    async def start(self) -> "OwnCertificate":
        """Find or create the authority, publish it, make the first certificate.

        Raises:
            Refused: the Secret does not hold an authority; the message names it.
            Unavailable: the API server cannot be reached, or lets us read or write neither.
        """
        await self.look_again()
        return self

    async def follow(self) -> None:
        """See `ServingCertificate`."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.look_again()
                self._trouble = ""
            except (Refused, Unavailable, Missing) as error:
                if error.message != self._trouble:
                    log.error("the certificate authority cannot be looked at; the certificate before serves on",
                              reason=error.reason.value, message=error.message)  # fmt: skip
                self._trouble = error.message

    async def look_again(self) -> None:
        """Bring Secret, ConfigMap and certificate to what they should be now.

        Raises:
            Refused, Unavailable: as `start`; the certificate is the one before.
        """
        for _ in range(_TRIES):
            try:
                signer = await self._agree()
                break
            except (Changed, Missing):
                continue  # another replica was quicker: what it wrote is looked at now
        else:
            text = f"Secret and ConfigMap {self._namespace}/{self._name} change while they are looked at; trying again"
            raise Unavailable(Reason.CHANGED_MEANWHILE, text)
        now = self._clock.now()
        if signer.certificate != self._signer or now >= self._renew_at:
            key = ec.generate_private_key(ec.SECP256R1())
            made = authority.leaf(signer, key, x509.random_serial_number(), self._names, now, self._terms)
            self._context = server_context(authority.pem(made), authority.private_pem(key))
            self._signer = signer.certificate
            self._renew_at = now + (made.not_valid_after_utc - now) * 2 / 3
            log.info("new serving certificate", until=made.not_valid_after_utc.isoformat())

    async def _agree(self) -> Authority:
        """Who signs, after Secret and ConfigMap are what they should be. `Changed`, `Missing`: look again."""
        # The ConfigMap is read before the Secret: whoever holds an older Secret finds a newer ConfigMap changed, and
        # never puts the older bundle over it.
        version, published = await self._published()
        found = await self._authorities()
        now = self._clock.now()
        bundle = found.bundle(now)
        if published.get(BUNDLE) != bundle:
            await self._store.write_config_map(self._namespace, self._name, version, {BUNDLE: bundle})
        return found.signer(now)

    async def _published(self) -> tuple[str, dict[str, str]]:
        try:
            return await self._store.config_map(self._namespace, self._name)
        except Missing:
            return "", {}

    async def _authorities(self) -> Authorities:
        """What the Secret holds, made or renewed where that is due."""
        now = self._clock.now()
        where = f"Secret {self._namespace}/{self._name} (OPENSCALE_BYOK_GATEWAY_AUTHORITY)"
        try:
            source = await self._store.read(self._namespace, self._name)
        except Missing:
            made = Authorities(self._new(now))
            values = {name: raw for name, raw in made.values().items() if raw is not None}
            await self._store.create_secret(self._namespace, self._name, values)
            log.info("new certificate authority", until=made.newest.expires.isoformat())
            return made
        if source.values:
            found = authority.parse(source.values, where)
            if not found.due(now):
                return found
            following = found.followed_by(self._new(now))
        else:
            following = Authorities(self._new(now))  # an empty Secret, as a chart may leave one: for us to fill
        await self._store.write_secret(self._namespace, self._name, source.resource_version, following.values())
        log.info("new certificate authority", until=following.newest.expires.isoformat())
        return following

    def _new(self, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return authority.create(key, x509.random_serial_number(), now, self._terms)
