"""The global key: the operator's own root key, in one Secret, behind the port `Kms`.

Versions are named by commitment and append-only. A data key is wrapped as a compact JWE (RFC 7516) whose
header names the version and the additional authenticated data, so it cannot be moved to another instance.
"""

import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.core.source import Source
from openscale_byok.crypto import jwe
from openscale_byok.crypto.data_key import KEY_BYTES, DataKey, commitment
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.ports import Aad, WrappedKey
from openscale_byok.reasons import Reason

TYP = "openscale-byok.global.v1"
CURRENT = "current"


class SecretStore(Protocol):
    """The one Secret that the global key lives in."""

    async def read(self, namespace: str, name: str) -> Source:
        """Read it; `Missing` where it is not there."""
        ...

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        """Create it; `Changed` where someone else has."""
        ...


@dataclass(frozen=True, slots=True)
class GlobalKey:
    """Every version of the global key, and which one wraps."""

    current: str
    versions: Mapping[str, bytes] = field(repr=False)

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """See `ports.Kms`."""
        data_key = DataKey(secrets.token_bytes(KEY_BYTES))
        return data_key, self._wrap(data_key, aad)

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """See `ports.Kms`."""
        try:
            token = jwe.parse(ciphertext)
        except jwe.Malformed as error:
            raise Refused(Reason.TAMPERED, f"the wrapped data key is not one of the global key's: {error}") from None
        version = str(token.header.get("kid", ""))
        if token.header.get("typ") != TYP or token.header.get("aad") != list(aad):
            raise Refused(Reason.TAMPERED, "the wrapped data key was not made for this instance")
        if version not in self.versions:
            text = f"version {version[:8]} of the global key is not in its Secret; restore it from a backup"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text)
        raw = jwe.decrypt(token, AESGCM(self.versions[version]))
        if raw is None or len(raw) != KEY_BYTES:
            raise Refused(Reason.TAMPERED, "the wrapped data key does not verify under the global key")
        return DataKey(raw)

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """See `ports.Kms`."""
        return self._wrap(await self.unwrap(ciphertext, aad), aad)

    async def look(self) -> KeyLook:
        """See `ports.Kms`."""
        return KeyLook(KeyState.ACTIVE, self.current)

    def _wrap(self, data_key: DataKey, aad: Aad) -> WrappedKey:
        header = {"typ": TYP, "kid": self.current, "aad": list(aad)}
        nonce = secrets.token_bytes(jwe.NONCE_BYTES)
        sealed = jwe.encrypt(header, AESGCM(self.versions[self.current]), nonce, data_key.reveal())
        return WrappedKey(sealed, self.current)


def generate_values() -> dict[str, bytes]:
    """The Secret of a first global key: one version, and the word that names it."""
    raw = secrets.token_bytes(KEY_BYTES)
    version = commitment(raw)
    return {version: raw, CURRENT: version.encode("ascii")}


def parse(source: Source) -> GlobalKey:
    """Read the Secret; every version must commit to its name.

    Raises:
        Refused: a version was changed, or the one that wraps is missing.
    """
    versions: dict[str, bytes] = {}
    for name, raw in source.values.items():
        if name == CURRENT:
            continue
        if len(raw) != KEY_BYTES or commitment(raw) != name:
            raise Refused(
                Reason.TAMPERED,
                f"the global key's Secret: version {name[:8]} is not what its name commits to",
            )
        versions[name] = raw
    current = source.values.get(CURRENT, b"").decode("ascii", "replace")
    if current not in versions:
        raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, "the global key's Secret: its current version is missing")
    return GlobalKey(current, versions)


async def load(store: SecretStore, namespace: str, name: str, named: Mapping[str, str]) -> GlobalKey:
    """The global key, created on the first start and never again.

    Args:
        store: where its Secret lives.
        namespace: the operator's own.
        name: the Secret's.
        named: each version that an instance refers to, with that instance's name.

    Raises:
        Refused: a version that is named somewhere is missing. A new key then would only hide the loss.
    """
    try:
        source = await store.read(namespace, name)
    except Missing:
        if named:
            raise _lost(namespace, name, named) from None
        try:
            source = await store.create_secret(namespace, name, generate_values())
        except Changed:
            source = await store.read(namespace, name)  # another start was quicker: its key is the key
    key = parse(source)
    lost = {version: who for version, who in named.items() if version not in key.versions}
    if lost:
        raise _lost(namespace, name, lost)
    return key


def version_of(ciphertext: str) -> str:
    """Which version of the global key wrapped this, or nothing where it is not one of ours."""
    try:
        return str(jwe.parse(ciphertext).header.get("kid", ""))
    except (jwe.Malformed, binascii.Error):
        return ""


def _lost(namespace: str, name: str, lost: Mapping[str, str]) -> Refused:
    some = ", ".join(f"{version[:8]} (named by {who})" for version, who in list(lost.items())[:5])
    text = f"these versions of the global key are missing: {some}; restore it from a backup"
    return Refused(Reason.GLOBAL_KEY_VERSION_MISSING, f"Secret {namespace}/{name}: {text}")
