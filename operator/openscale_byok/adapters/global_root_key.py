"""A root key in Key Protect in place of the global key's Secret, and the way from one to the other.

What wrapped a data key is told by the wrapped form itself: a version of the Secret, or a root key by its CRN. So
after a switch, in whatever direction, what was wrapped before still opens while everything moves.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from openscale_byok.core.key_state import KeyLook
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.global_versions import line, stamp, stamped
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Aad, Kms, WrappedKey
from openscale_byok.reasons import Reason


class GlobalRootKey:
    """The operator's owner's root key. Its wrapped forms carry its CRN, its versions its id."""

    def __init__(self, crn: str, inner: Kms) -> None:
        self._crn = crn
        self._inner = inner
        self._line = line(crn)

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """See `ports.Kms`."""
        async with self._told():
            data_key, wrapped = await self._inner.generate(aad)
        return data_key, self._stamped(wrapped)

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """See `ports.Kms`."""
        async with self._told():
            return await self._inner.unwrap(self._own(ciphertext), aad)

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """See `ports.Kms`."""
        async with self._told():
            return self._stamped(await self._inner.rewrap(self._own(ciphertext), aad))

    async def look(self) -> KeyLook:
        """See `ports.Kms`. What it wrapped itself follows by a rewrap, as under a customer's key; nothing else can."""
        async with self._told():
            found = await self._inner.look()
        return replace(found, version=self._line + found.version, rewraps=self._line)

    def _stamped(self, wrapped: WrappedKey) -> WrappedKey:
        return WrappedKey(stamp(self._crn, wrapped.ciphertext), self._line + wrapped.version)

    def _own(self, ciphertext: str) -> str:
        found = stamped(ciphertext)
        if found is None or found[0] != self._crn:
            raise Refused(Reason.TAMPERED, "the wrapped data key is not one of this root key")
        return found[1]

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Say whose key it is: the owner of an instance has not chosen it."""
        try:
            yield
        except Refused as error:
            raise Refused(error.reason, f"the global key: {error.message}", trace=error.trace) from None
        except Unavailable as error:
            text = f"the global key: {error.message}"
            raise Unavailable(error.reason, text, retry_after=error.retry_after) from None


class GlobalKeys:
    """The global key in force, and those that wrapped before it: each opens its own."""

    def __init__(self, current: Kms, secret: Kms, root_keys: Mapping[str, Kms]) -> None:
        """Take the one that wraps, the Secret's, and those in Key Protect by CRN."""
        self._current = current
        self._secret = secret
        self._root_keys = root_keys

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        """See `ports.Kms`."""
        return await self._current.generate(aad)

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """See `ports.Kms`: by whichever wrapped it."""
        found = stamped(ciphertext)
        if found is None:
            return await self._secret.unwrap(ciphertext, aad)
        kms = self._root_keys.get(found[0])
        if kms is None:
            text = f"the global key: {found[0]} wrapped this data key; name it in OPENSCALE_BYOK_GLOBAL_ROOT_KEY_FORMER"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text)
        return await kms.unwrap(ciphertext, aad)

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        """See `ports.Kms`. Only what the one in force has wrapped: anything else gets another data key instead."""
        return await self._current.rewrap(ciphertext, aad)

    async def look(self) -> KeyLook:
        """See `ports.Kms`."""
        return await self._current.look()
