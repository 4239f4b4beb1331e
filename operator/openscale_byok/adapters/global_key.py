"""The global key: the operator's own root key, in one Secret, behind the port `Kms`.

Its versions are append-only and named by commitment. It is created once, and only where nothing names a version yet.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.core.source import Source
from openscale_byok.crypto.data_key import KEY_BYTES, DataKey, commitment
from openscale_byok.crypto.global_versions import CURRENT, Versions, parse
from openscale_byok.crypto.jwe import NONCE_BYTES
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.ports import Aad, WrappedKey
from openscale_byok.reasons import Reason


class SecretStore(Protocol):
    """The one Secret that the global key lives in."""

    async def read(self, namespace: str, name: str) -> Source:
        """Read it; `Missing` where it is not there."""
        ...

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        """Create it; `Changed` where someone else has."""
        ...


class GlobalKey:
    """The global key as its Secret holds it now.

    The Secret is read for every call, as Key Protect would be asked, and no version is kept in memory. So a new
    version counts at once, for whoever wraps, opens or looks; and what a customer's root key does to its data keys,
    this one does too. A Secret that was deleted or changed is a clear no: unwrapped data keys are dropped at the next
    look, and every instance under it says why, while somebody can still bring it back. Did the operator go on with
    what it remembers, the loss would show at its next start, when nobody has the key any more. An API server that
    does not answer is no answer: data keys that were unwrapped serve on until the limit of the cache. A single
    version that vanished refuses what it wrapped, by name, at the next unwrap.
    """

    def __init__(self, store: SecretStore, namespace: str, name: str) -> None:
        self._store = store
        self._namespace = namespace
        self._name = name

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """See `ports.Kms`."""
        data_key = DataKey(secrets.token_bytes(KEY_BYTES))
        return data_key, _wrap(await self.versions(), data_key, aad)

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """See `ports.Kms`."""
        return (await self.versions()).unwrap(ciphertext, aad)

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """See `ports.Kms`."""
        versions = await self.versions()
        return _wrap(versions, versions.unwrap(ciphertext, aad), aad)

    async def look(self) -> KeyLook:
        """See `ports.Kms`. A new version asks for new data keys: the former one may have been read by others."""
        return KeyLook(KeyState.ACTIVE, (await self.versions()).current, rewraps=None)

    async def versions(self) -> Versions:
        """What the Secret holds now.

        Raises:
            Refused: it is not there, or not what its names commit to.
        """
        try:
            source = await self._store.read(self._namespace, self._name)
        except Missing:
            text = f"Secret {self._namespace}/{self._name} of the global key is gone: import it from an export"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text) from None
        return parse(source.values)


def _wrap(versions: Versions, data_key: DataKey, aad: Aad) -> WrappedKey:
    return WrappedKey(versions.wrap(data_key, aad, secrets.token_bytes(NONCE_BYTES)), versions.current)


def new_version() -> tuple[str, bytes]:
    """A fresh version: its name, which commits to it, and the key."""
    raw = secrets.token_bytes(KEY_BYTES)
    return commitment(raw), raw


def generate_values() -> dict[str, bytes]:
    """The Secret of a first global key: one version, and the word that names it."""
    version, raw = new_version()
    return {version: raw, CURRENT: version.encode("ascii")}


async def create_once(
    store: SecretStore, namespace: str, name: str, naming: Callable[[], Awaitable[Mapping[str, str]]]
) -> GlobalKey:
    """The global key, created on the first start and never again.

    It refuses to start only where starting would hide a loss: the Secret is missing or broken while something names
    a version. Where the Secret is well and merely lacks a version that some instances name, it starts: just those
    instances say `GlobalKeyVersionMissing`, and nothing of theirs is lost. (The design would refuse then, too. But
    whoever can write one instance's status could then stop the operator for everybody.)

    Args:
        store: where its Secret lives.
        namespace: the operator's own.
        name: the Secret's.
        naming: each version that something names, with what names it; asked only where the Secret is not well.

    Raises:
        Refused: the Secret is missing or broken, and something names a version.
    """
    key = GlobalKey(store, namespace, name)
    try:
        await store.read(namespace, name)
    except Missing:
        named = await naming()
        if named:
            raise _lost(namespace, name, "missing", named) from None
        with suppress(Changed):  # another start was quicker: its key is the key
            await store.create_secret(namespace, name, generate_values())
    try:
        await key.versions()
    except Refused as error:
        named = await naming()
        if named:
            raise _lost(namespace, name, f"broken ({error.message})", named) from None
    return key


def _lost(namespace: str, name: str, how: str, named: Mapping[str, str]) -> Refused:
    some = ", ".join(f"{version[:8]} (named by {who})" for version, who in list(named.items())[:5])
    text = f"it is {how}, and these versions of the global key are needed: {some}; import them from an export"
    return Refused(Reason.GLOBAL_KEY_VERSION_MISSING, f"Secret {namespace}/{name}: {text}, or restore a backup")
