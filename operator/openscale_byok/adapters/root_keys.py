"""Where root keys are found: which endpoint, with which credentials, and whether that is allowed here."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import aiohttp

from openscale_byok.adapters.global_root_key import GlobalRootKey
from openscale_byok.adapters.iam import Form, Iam, api_key_form, trusted_profile_form
from openscale_byok.adapters.key_protect import KeyProtectKey, Token
from openscale_byok.errors import CredentialsUnavailable, Missing, Refused, Unavailable
from openscale_byok.ports import Kms, SourceReader
from openscale_byok.reasons import Reason
from openscale_byok.resources import Credentials, RootKeyBinding, RootKeyCRN, SecretKeyRef, crn

TOKEN_AUDIENCE = "iam"
READ_SECONDS = 1.0
"""How long a look waits for the API server to show the credentials anew, before it goes on with the token at hand:
whoever keeps the API server busy must not hold up a revocation by it."""
FORM_SECONDS = 3.0
"""How long it may take where there is no other way to a token."""
MOST_AT_HAND = 4_096
"""Root keys that are kept as they were made: each opening of a password asks for one. They hold no answer, no token."""


class ServiceAccountTokens(Protocol):
    """TokenRequests, where the operator's owner grants them."""

    async def service_account_token(self, namespace: str, name: str, audience: str) -> str:
        """A short-lived token of a ServiceAccount."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator's owner allows."""

    endpoints: Sequence[str] = ()
    """Endpoints that a binding may name; ``https://*.example.com`` stands for every host below."""
    root_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """CRN prefixes by namespace (``*``: every other one). Empty: every root key is allowed everywhere."""
    trusted_profiles: bool = False
    default_endpoint: str = ""
    """An endpoint instead of the one that follows from the CRN; for a private network, and for tests."""

    def endpoint(self, root_key: RootKeyCRN, named: str | None) -> str:
        """The endpoint of a root key. A token only ever goes to one that is allowed.

        Raises:
            Refused: the binding names one that is not.
        """
        if named is None:
            return self.default_endpoint or root_key.default_endpoint
        if named in (root_key.default_endpoint, self.default_endpoint) or any(
            _matches(pattern, named) for pattern in self.endpoints
        ):
            return named
        text = f"spec.rootKey.endpoint: {named} is not on the operator's allow-list; leave it out, or have it allowed"
        raise Refused(Reason.ENDPOINT_NOT_ALLOWED, text)

    def check(self, namespace: str, root_key: str) -> None:
        """Whether a namespace may use a root key.

        Raises:
            Refused: it may not.
        """
        if not self.root_keys:
            return
        prefixes = self.root_keys.get(namespace, self.root_keys.get("*", ()))
        if not any(_within(prefix, root_key) for prefix in prefixes):
            text = f"spec.rootKey.crn: namespace {namespace} may not use this root key; have its CRN prefix allowed"
            raise Refused(Reason.ROOT_KEY_NOT_ALLOWED, text)


class RootKeyDirectory:
    """Behind the port `RootKeys`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        iam: Iam,
        sources: SourceReader,
        accounts: ServiceAccountTokens,
        policy: Policy,
        global_key: Kms,
    ) -> None:
        self._session = session
        self._iam = iam
        self._sources = sources
        self._accounts = accounts
        self._policy = policy
        self._global_key = global_key
        self._known: dict[tuple[str, str], _ApiKey] = {}
        self._made = lru_cache(MOST_AT_HAND)(self._customer)

    def global_key(self) -> Kms:
        """See `ports.RootKeys`."""
        return self._global_key

    def customer(self, binding: RootKeyBinding, credentials: Credentials | None) -> Kms:
        """See `ports.RootKeys`."""
        at = binding.spec.root_key
        return self._made(binding.metadata.namespace, binding.root_key, at.endpoint, credentials)

    def _customer(self, namespace: str, text: str, named: str | None, credentials: Credentials | None) -> Kms:
        """By what is named, and a policy that never changes: so it may be kept. A refusal is not."""
        try:
            root_key = crn.parse(text)
        except ValueError as error:
            raise Refused(Reason.INVALID_OBJECT, f"spec.rootKey.crn: {error}") from None
        self._policy.check(namespace, text)
        endpoint = self._policy.endpoint(root_key, named)
        if credentials is None:
            cure = "spec.credentials: neither this binding nor its OpenScaleInstance names any; set one of the two"
            raise Refused(Reason.CREDENTIALS_MISSING, cure)
        return KeyProtectKey(self._session, root_key, endpoint, self._tokens(namespace, credentials))

    def _tokens(self, namespace: str, credentials: Credentials) -> "_ApiKeyTokens | _ProfileTokens":
        if credentials.api_key_secret_ref is not None:
            return _ApiKeyTokens(self._iam, self._sources, namespace, credentials.api_key_secret_ref, self._known)
        profile = credentials.trusted_profile
        if profile is None:
            raise Refused(Reason.CREDENTIALS_MISSING, "spec.credentials: set apiKeySecretRef or trustedProfile")
        if not self._policy.trusted_profiles:
            text = "spec.credentials.trustedProfile: switched off in this operator; use apiKeySecretRef"
            raise Refused(Reason.TRUSTED_PROFILE_OFF, text)
        return _ProfileTokens(self._iam, self._accounts, namespace, profile.id, profile.service_account_name)


def owners_root_key(
    session: aiohttp.ClientSession, iam: Iam, sources: SourceReader, at: SecretKeyRef, namespace: str, endpoint: str,
    root_key: RootKeyCRN,
) -> Kms:  # fmt: skip
    """A root key of the operator's owner, with the API key in a Secret of the operator's own namespace."""
    tokens = _ApiKeyTokens(iam, sources, namespace, at, {}, "OPENSCALE_BYOK_GLOBAL_ROOT_KEY_SECRET")
    named_in = "OPENSCALE_BYOK_GLOBAL_ROOT_KEY (or …_FORMER)"
    return GlobalRootKey(root_key.text, KeyProtectKey(session, root_key, endpoint, tokens, named_in))


@dataclass(slots=True)
class _ApiKey:
    """The API key that a Secret held when it was last read."""

    digest: str
    successor: bool
    """It took the place of another one, and IAM has not said yet whose it is."""


@dataclass(frozen=True, slots=True)
class _ApiKeyTokens:
    """Tokens for an API key in a Secret. The Secret is read again at each look, so that a new key counts soon.

    Whoever may edit the Secret must not blind the look by it: where it cannot be read, the token that was bought with
    what it held serves until its end. Where it holds another API key, nothing of the former one counts any more.
    """

    iam: Iam
    sources: SourceReader
    namespace: str
    ref: SecretKeyRef
    known: dict[tuple[str, str], _ApiKey]
    asked_in: str = "credentials.apiKeySecretRef"
    """The field or setting that names the Secret."""

    async def token(self, *, fresh: bool = False, look: bool = False) -> Token:
        """See `key_protect.Tokens`."""
        if look or fresh or self._at not in self.known:
            try:
                self._learn(await self._read(READ_SECONDS if self._at in self.known else FORM_SECONDS))
            except (CredentialsUnavailable, Refused) as error:
                found = None if fresh else self._at_hand(error)
                if found is None:
                    raise
                return found
        key = self.known[self._at]
        try:
            text = await self.iam.token(self._form, self._who(key), self._cure, fresh=fresh)
        except CredentialsUnavailable:
            raise
        except Unavailable:
            if not key.successor:
                raise
            # It would be an outage that whoever edits the Secret brings about: until now the look went on.
            text = f"{self.asked_in}: Secret {self.ref.name} holds another API key, and IAM, asked whose, cannot answer"
            raise Refused(Reason.CREDENTIALS_MISSING, text) from None
        key.successor = False
        return Token(text, key.digest)

    def _at_hand(self, error: CredentialsUnavailable | Refused) -> Token | None:
        """The token that was bought with what the Secret held before, if it is good; with why there is no other."""
        key = self.known.get(self._at)
        text = self.iam.at_hand(self._form, self._who(key), self._cure) if key is not None else None
        lasting = error.reason is not Reason.CLUSTER_UNAVAILABLE
        if key is None or text is None:
            return None
        return Token(text, key.digest, (error.reason, error.message) if lasting else None)

    @property
    def _cure(self) -> str:
        return f"put a valid API key into {self.asked_in}: Secret {self.ref.name}, key {self.ref.key}"

    @property
    def _at(self) -> tuple[str, str]:
        return self.namespace, f"{self.ref.name}/{self.ref.key}"

    def _who(self, key: _ApiKey) -> str:
        return f"{self._at}{key.digest}"

    def _learn(self, key: str) -> None:
        digest, before = hashlib.sha256(key.encode()).hexdigest(), self.known.get(self._at)
        if before is None or before.digest != digest:
            self.known[self._at] = _ApiKey(digest, successor=before is not None)
            if before is not None:
                self.iam.forget(self._who(before))

    async def _form(self) -> Form:
        return api_key_form(await self._read(FORM_SECONDS))

    async def _read(self, seconds: float) -> str:
        where = f"{self.asked_in}: Secret {self.ref.name}"
        try:
            async with asyncio.timeout(seconds):
                source = await self.sources.read(self.namespace, self.ref.name)
        except Missing:
            text = f"{where} does not exist in this namespace (yet)"
            raise CredentialsUnavailable(Reason.SECRET_NOT_FOUND, text) from None
        except Unavailable as error:
            raise CredentialsUnavailable(error.reason, f"{where}: {error.message}") from None
        except TimeoutError:
            text = f"{where}: the API server does not answer"
            raise CredentialsUnavailable(Reason.CLUSTER_UNAVAILABLE, text) from None
        try:
            key = source.values[self.ref.key].decode("ascii").strip()
        except KeyError:
            raise Refused(Reason.CREDENTIALS_MISSING, f"{where} has no key {self.ref.key}; add it") from None
        except UnicodeDecodeError:
            raise Refused(Reason.CREDENTIALS_REFUSED, f"{where}, key {self.ref.key}: not an API key") from None
        if not key:
            raise Refused(Reason.CREDENTIALS_MISSING, f"{where}, key {self.ref.key}: the API key is empty")
        return key


@dataclass(frozen=True, slots=True)
class _ProfileTokens:
    """Tokens for a trusted profile, by a ServiceAccount of the binding's own namespace."""

    iam: Iam
    accounts: ServiceAccountTokens
    namespace: str
    profile: str
    account: str

    async def token(self, *, fresh: bool = False, look: bool = False) -> Token:  # noqa: ARG002 -- nothing to read anew
        """See `key_protect.Tokens`."""
        who = f"{self.namespace}/{self.account}"
        cure = f"have the profile in credentials.trustedProfile trust ServiceAccount {who}"
        return Token(await self.iam.token(self._form, f"{who}/{self.profile}", cure, fresh=fresh))

    async def _form(self) -> Form:
        where = "credentials.trustedProfile"
        try:
            async with asyncio.timeout(FORM_SECONDS):
                cr_token = await self.accounts.service_account_token(self.namespace, self.account, TOKEN_AUDIENCE)
        except Missing:
            text = f"{where}: ServiceAccount {self.account} does not exist in this namespace (yet)"
            raise CredentialsUnavailable(Reason.CREDENTIALS_NOT_FOUND, text) from None
        except Unavailable as error:
            raise CredentialsUnavailable(error.reason, f"{where}: {error.message}") from None
        except TimeoutError:
            text = f"{where}: the API server does not answer"
            raise CredentialsUnavailable(Reason.CLUSTER_UNAVAILABLE, text) from None
        return trusted_profile_form(cr_token, self.profile)


def _within(prefix: str, root_key: str) -> bool:
    """Whether a CRN begins with these parts: whole ones, so that account abc does not stand for abcd."""
    return root_key == prefix or root_key.startswith(prefix if prefix.endswith(":") else f"{prefix}:")


def _matches(pattern: str, endpoint: str) -> bool:
    scheme, _, host = pattern.partition("://")
    if not host.startswith("*."):
        return pattern == endpoint
    named_scheme, _, named_host = endpoint.partition("://")
    return scheme == named_scheme and named_host.endswith(host[1:]) and len(named_host) > len(host) - 1
