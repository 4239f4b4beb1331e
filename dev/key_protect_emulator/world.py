"""Everything the emulator remembers: accounts, instances, keys, identities, grants. Plain values."""

import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from key_protect_emulator.keys import Key, Version
from key_protect_emulator.kmip import Adapter
from key_protect_emulator.lifecycle import purged_by_time, settle


@dataclass
class Account:
    id: str
    name: str = ""


@dataclass
class Ring:
    id: str
    created: float
    created_by: str


@dataclass
class ImportToken:
    """A key pair and a nonce that prove an import was made for us and now."""

    created: float
    expires: float
    expiration: int
    max_retrievals: int
    retrievals: int
    private_pem: str = field(repr=False)
    nonce: bytes = field(repr=False)


@dataclass
class InstancePolicy:
    enabled: bool
    attributes: dict[str, Any]
    created: float
    created_by: str
    updated: float
    updated_by: str


@dataclass
class Instance:
    """One Key Protect instance: the value of the Bluemix-Instance header."""

    id: str
    account: str
    region: str
    name: str
    created: float
    keys: dict[str, Key] = field(default_factory=dict)
    rings: dict[str, Ring] = field(default_factory=dict)
    policies: dict[str, InstancePolicy] = field(default_factory=dict)
    import_token: ImportToken | None = None
    kmip_adapters: dict[str, Adapter] = field(default_factory=dict)

    @property
    def crn(self) -> str:
        return f"crn:v1:bluemix:public:kms:{self.region}:a/{self.account}:{self.id}::"

    def key_crn(self, key_id: str) -> str:
        return f"crn:v1:bluemix:public:kms:{self.region}:a/{self.account}:{self.id}:key:{key_id}"

    def find(self, id_or_alias: str) -> Key | None:
        key = self.keys.get(id_or_alias)
        return key or next((k for k in self.keys.values() if id_or_alias in k.aliases), None)


@dataclass
class Identity:
    """A service ID or a trusted profile: what a token is issued for and a grant is given to."""

    id: str  # ServiceId-... or Profile-...; the token's iam_id is this with "iam-" before it
    account: str
    name: str
    kind: str  # "ServiceId" or "Profile"

    @property
    def iam_id(self) -> str:
        return f"iam-{self.id}"


@dataclass
class ApiKey:
    id: str
    identity: str
    value: str = field(repr=False)


@dataclass
class ComputeLink:
    """Which Kubernetes service account, of which token issuer, may become a trusted profile."""

    profile: str
    issuer: str
    namespace: str
    service_account: str


@dataclass
class Assumer:
    """Which identity may assume a trusted profile with its own access token."""

    profile: str
    identity: str


@dataclass
class TokenIssuer:
    """A cluster whose service account tokens IAM accepts: its issuer and its public keys (a JWKS)."""

    issuer: str
    audience: str
    jwks: dict[str, Any]


@dataclass
class Grant:
    """A role for an identity: on an account, on one instance of it, or on one key of that."""

    identity: str
    account: str
    role: str
    instance: str | None = None
    key: str | None = None


@dataclass
class World:
    signing_key_pem: str = field(repr=False)
    clock_offset: float = 0.0
    format: int = 1
    accounts: dict[str, Account] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)
    api_keys: dict[str, ApiKey] = field(default_factory=dict)
    issuers: dict[str, TokenIssuer] = field(default_factory=dict)
    links: list[ComputeLink] = field(default_factory=list)
    assumers: list[Assumer] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    bootstrap: dict[str, str] = field(default_factory=dict)  # what the first start made


def new_version(now: float) -> Version:
    """A fresh 256-bit version of a generated key."""
    return Version(str(uuid.uuid4()), now, secrets.token_bytes(32))


def settle_key(instance: Instance, key: Key, now: float) -> bool:
    """Apply what time alone did to one key. True if anything changed."""
    if purged_by_time(key, now):
        del instance.keys[key.id]
        return True
    return settle(key, now, new_version)


def settle_instance(instance: Instance, now: float) -> bool:
    changes = [settle_key(instance, key, now) for key in list(instance.keys.values())]  # all, not the first
    return any(changes)
