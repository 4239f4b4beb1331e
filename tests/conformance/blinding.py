"""A root key that is looked at by the real poll, over real HTTP, and everything that may stand between the two.

Time is real but for what a test lets pass at once; the interval is short, so that a test waits for looks and not for
clocks.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from key_protect_emulator.control import Emulator
from openscale_byok.adapters import http
from openscale_byok.adapters.egress import Way
from openscale_byok.adapters.global_key import GlobalKey, generate_values
from openscale_byok.adapters.iam import Iam
from openscale_byok.adapters.root_keys import Policy, RootKeyDirectory
from openscale_byok.core.source import Source
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.engine.context import Context, Tuning, aad_of
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.key_poll import KeyPoll
from openscale_byok.engine.scope import Scope
from openscale_byok.errors import ByokError, Missing, Unavailable
from openscale_byok.ports.observers import KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.resources import RootKeyBinding
from sim.views import instance
from stage.connect_proxy import ConnectProxy, connect_proxy
from stage.tls_relay import TlsRelay

POLL_SECONDS = 0.05
CACHE_SECONDS = 14_400
"""The longest that a binding may ask for: longer than any token lives."""
TOKEN_SECONDS = 3_600.0
ANSWER_SECONDS = 1.0
"""How long an answer may take here; `http.TIMEOUT` is ten times that."""
SECRET, ACCOUNT, UID = "key-protect", "openscale", "uid-a"
IAM_HOST = "localhost"
"""By another name than Key Protect: it is asked without the proxy."""
ISSUER = "https://cluster.example.com"


class Clock:
    """The port `Clock`, and a way to let time pass."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Namespace:
    """What the team keeps in its namespace, and whoever may edit it there may change."""

    values: dict[str, bytes] | None = field(default=None, repr=False)
    forbidden: bool = False
    hangs: bool = False
    account: bool = True
    signing: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2_048), repr=False
    )

    async def read(self, namespace: str, name: str) -> Source:
        if self.hangs:
            await asyncio.Event().wait()
        self._allow(f"Secret {name}")
        if self.values is None:
            raise Missing(Reason.CHANGED_MEANWHILE, f"Secret {name} does not exist")
        return Source("uid", "1", "Opaque", self.values)

    async def delete(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        raise AssertionError("credentials are never deleted")

    async def create_secret(self, namespace: str, name: str, values: object) -> Source:
        raise AssertionError("behind the port nothing is ever created")

    async def service_account_token(self, namespace: str, name: str, audience: str) -> str:
        self._allow(f"ServiceAccount {name}")
        if not self.account:
            raise Missing(Reason.CHANGED_MEANWHILE, f"ServiceAccount {name} does not exist")
        place = {"namespace": namespace, "serviceaccount": {"name": name}}
        claims = {"iss": ISSUER, "sub": name, "aud": audience, "iat": time.time(), "exp": time.time() + TOKEN_SECONDS}
        return jwt.encode({**claims, "kubernetes.io": place}, self.signing, "RS256", headers={"kid": "one"})

    def jwks(self) -> dict[str, object]:
        """The public half, for IAM."""
        found = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.signing.public_key()))
        return {"keys": [{**found, "kid": "one", "alg": "RS256", "use": "sig"}]}

    def _allow(self, what: str) -> None:
        if self.forbidden:
            raise Unavailable(Reason.SECRET_FORBIDDEN, f"the operator may not read {what} here")


@dataclass
class Stage:
    """A binding that is followed, with a data key under its root key; and every hand that may reach in between."""

    emulator: Emulator
    relay: TlsRelay
    namespace: Namespace
    clock: Clock
    context: Context
    crn: str
    service_id: str
    scope: Scope
    looked: "Looks"
    proxy: ConnectProxy
    api_key: str = field(repr=False)
    data_key: DataKey | None = field(default=None, repr=False)
    wrapped: str = field(default="", repr=False)

    # What somebody does -------------------------------------------------------------------------------

    def another_identity(self, *, granted: bool) -> None:
        """The API key of somebody else takes the place of the one that was there."""
        other = self.emulator.create_service_id()
        if granted:
            self.emulator.grant(other, self.emulator.instance, role="Reader")
        self.namespace.values = {"apikey": self.emulator.create_api_key(other).encode()}

    def tokens_end(self) -> None:
        """The life of every token that is at hand is over."""
        self.clock.ahead += TOKEN_SECONDS

    def cache_ends(self) -> None:
        self.clock.ahead += CACHE_SECONDS

    def fault(self, operation: str, **trouble: object) -> None:
        self.emulator.fault(operation, **trouble)  # type: ignore[arg-type] # its own arguments

    def metadata_of(self, crn: str) -> str:
        """What Key Protect says of another key."""
        return json.dumps({"resources": [self.emulator.key(crn)]})

    # What comes of it ---------------------------------------------------------------------------------

    async def open(self) -> bool | ByokError:
        """Whether the data key may be used now; else why not."""
        assert self.data_key is not None
        try:
            found = await self.context.unwrap(self.scope, self.data_key.id, self.crn, self.wrapped)
        except ByokError as error:
            return error
        return found == self.data_key


class Looks:
    """Listens to the poll, so that a test may wait for it."""

    def __init__(self) -> None:
        self.number = 0
        self._news = asyncio.Event()

    def key_seen(self, seen: KeySeen) -> None:
        if seen.uid == UID:
            self.number += 1
            self._news.set()

    def data_keys_dropped(self, holder: str, number: int) -> None:
        """Nothing of it is asked."""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def pass_by(self, number: int) -> None:
        """Until so many more have ended."""
        wanted = self.number + number
        await self.until(lambda: self.number >= wanted)


@asynccontextmanager
async def staged(emulator: Emulator, folder: Path, *, profile: bool, tls: bool, proxied: bool) -> AsyncIterator[Stage]:
    """Followed, looked at and found well; no data key is at hand yet."""
    crn, namespace, clock, looks = emulator.create_root_key(emulator.instance), Namespace(), Clock(), Looks()
    relay = TlsRelay(folder, emulator.url)
    service_id = emulator.create_service_id()
    emulator.grant(service_id, emulator.instance, role="Reader")
    api_key = emulator.create_api_key(service_id)
    namespace.values = {"apikey": api_key.encode()}
    credentials: dict[str, object] = {"apiKeySecretRef": {"name": SECRET, "key": "apikey"}}
    if profile:
        emulator.trust_issuer(ISSUER, jwks=namespace.jwks())
        made = emulator.create_trusted_profile("blinded", issuer=ISSUER, namespace="n", service_account=ACCOUNT)
        emulator.grant(made, emulator.instance, role="Reader")
        credentials = {"trustedProfile": {"id": made, "serviceAccountName": ACCOUNT}}
    async with AsyncExitStack() as stack:
        proxy = stack.enter_context(connect_proxy())
        way = Way(proxy.url if proxied else "", direct=[IAM_HOST], ca_bundle=str(relay.authority))
        limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        session = await stack.enter_async_context(http.open_session(way, limit))
        await stack.enter_async_context(relay.serving())
        policy = Policy(default_endpoint=relay.url if tls or proxied else emulator.url, trusted_profiles=True)
        secret = GlobalKey(_Fixed(), "byok", "global-key")
        iam = Iam(session, emulator.iam_url.replace("127.0.0.1", IAM_HOST), now=clock.monotonic)
        directory = RootKeyDirectory(session, iam, namespace, namespace, policy, global_key=secret)
        tuning = Tuning(key_poll_seconds=POLL_SECONDS)
        keys = DataKeys(clock)
        context = Context(None, None, directory, clock, keys, None, tuning, (looks,))  # type: ignore[arg-type] # unused
        scope = Scope(("n", "prod"), instance=instance(), bindings={"a": _binding(crn, credentials)})
        poll = KeyPoll(context, lambda _: None)
        stage = Stage(emulator, relay, namespace, clock, context, crn, service_id, scope, looks, proxy, api_key)
        kms, _ = context.kms(scope, crn)
        stage.data_key, made_key = await kms.generate(aad_of(scope.instance))
        stage.wrapped = made_key.ciphertext
        poll.follow(scope)
        try:
            await looks.until(lambda: UID in scope.keys and scope.keys[UID].look is not None)
            yield stage
        finally:
            poll.stop()
            await keys.close()


class _Fixed:
    """The global key's Secret."""

    def __init__(self) -> None:
        self._values = generate_values()

    async def read(self, namespace: str, name: str) -> Source:
        return Source("uid", "1", "Opaque", self._values)

    async def create_secret(self, namespace: str, name: str, values: object) -> Source:
        raise AssertionError("behind the port nothing is ever created")


def _binding(crn: str, credentials: dict[str, object]) -> RootKeyBinding:
    meta = {"name": "a", "namespace": "n", "uid": UID, "resourceVersion": "1", "generation": 1}
    spec = {"instanceRef": {"name": "prod"}, "rootKey": {"crn": crn}, "dataKeyCacheSeconds": CACHE_SECONDS}
    return RootKeyBinding.of({"metadata": meta, "spec": {**spec, "credentials": credentials}})
