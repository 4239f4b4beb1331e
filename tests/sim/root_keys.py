"""Root keys in memory, behind the port `Kms`: real AES-GCM, and everything that may happen to them."""

import base64
import json
import secrets
from collections import Counter
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openscale_byok.adapters.key_protect import by_state
from openscale_byok.core.key_state import KeyLook, KeyState
from openscale_byok.crypto.data_key import KEY_BYTES, DataKey
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.ports import Aad, Kms, WrappedKey
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, Credentials, RootKeyBinding

from .gate import Process

NONCE = 12


@dataclass(eq=False)
class RootKey:
    """One customer's root key. Behind the port `Kms` by `MemoryKms`."""

    versions: list[bytes] = field(default_factory=lambda: [secrets.token_bytes(KEY_BYTES)], repr=False)
    state: KeyState = KeyState.ACTIVE
    away: bool = False
    """Key Protect cannot be reached."""
    refused: bool = False
    """IAM refuses the credentials."""
    wraps: bool = True
    """Whether the grant covers wrap."""
    surprise: Exception | None = None
    """What comes instead of it, although no port allows that: a mistake of ours."""
    counts: Counter[str] = field(default_factory=Counter)

    def rotate(self) -> None:
        self.versions.append(secrets.token_bytes(KEY_BYTES))

    def wrap(self, raw: bytes, aad: Aad) -> WrappedKey:
        nonce, number = secrets.token_bytes(NONCE), len(self.versions) - 1
        sealed = AESGCM(self.versions[-1]).encrypt(nonce, raw, _bytes(aad))
        text = base64.b64encode(bytes([number]) + nonce + sealed).decode("ascii")
        return WrappedKey(text, f"v{number}")

    def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        """Whatever the state: what a test may look at, and the operator may not."""
        try:
            blob = base64.b64decode(ciphertext, validate=True)
            return DataKey(AESGCM(self.versions[blob[0]]).decrypt(blob[1 : NONCE + 1], blob[NONCE + 1 :], _bytes(aad)))
        except (InvalidTag, ValueError, IndexError):
            raise Refused(Reason.TAMPERED, "the wrapped data key is not one of this root key") from None


class MemoryKms:
    """The port `Kms` on a root key."""

    def __init__(self, key: RootKey) -> None:
        self._key = key

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        self._allow("wrap", wraps=True)
        if not self._key.wraps:
            raise Refused(Reason.NOT_AUTHORIZED, "the grant does not cover wrap")
        made = DataKey(secrets.token_bytes(KEY_BYTES))
        return made, self._key.wrap(made.reveal(), aad)

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        self._allow("unwrap")
        return self._key.unwrap(ciphertext, aad)

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        self._allow("rewrap")
        return self._key.wrap(self._key.unwrap(ciphertext, aad).reveal(), aad)

    async def look(self) -> KeyLook:
        self._reach("look")
        return KeyLook(self._key.state, f"v{len(self._key.versions) - 1}")

    def _allow(self, what: str, *, wraps: bool = False) -> None:
        self._reach(what)
        state = self._key.state
        if not (state.wraps if wraps else state.unwraps):
            raise by_state(KeyLook(state, ""), what)

    def _reach(self, what: str) -> None:
        self._key.counts[what] += 1
        if self._key.away:
            raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "Key Protect cannot be reached")
        if self._key.refused:
            raise Refused(Reason.CREDENTIALS_REFUSED, "IAM refuses the credentials")


@dataclass(eq=False)
class Vault:
    """Every root key, by CRN, and the global key where the operator has made it."""

    keys: dict[str, RootKey] = field(default_factory=dict)
    global_key: Kms | None = None
    counts: Counter[str] = field(default_factory=Counter)
    canaries: set[str] = field(default_factory=set)

    def key(self, crn: str) -> RootKey:
        return self.keys.setdefault(crn, RootKey())

    def remember(self, made: DataKey) -> DataKey:
        """A data key that was in somebody's memory: its bytes must be nowhere else."""
        raw = made.reveal()
        self.canaries |= {base64.b64encode(raw).decode("ascii").rstrip("="), raw.hex()}
        return made


class GatedKms:
    """A `Kms` that one process calls through its gate."""

    def __init__(self, process: Process, vault: Vault, inner: Kms, name: str) -> None:
        self._process, self._vault, self._inner, self._name = process, vault, inner, name

    async def generate(self, aad: Aad) -> tuple[DataKey, WrappedKey]:
        made, wrapped = await self._ask("wrap", self._inner.generate(aad))
        return self._vault.remember(made), wrapped

    async def unwrap(self, ciphertext: str, aad: Aad) -> DataKey:
        return self._vault.remember(await self._ask("unwrap", self._inner.unwrap(ciphertext, aad)))

    async def rewrap(self, ciphertext: str, aad: Aad) -> WrappedKey:
        return await self._ask("rewrap", self._inner.rewrap(ciphertext, aad))

    async def look(self) -> KeyLook:
        return await self._ask("look", self._inner.look())

    async def _ask(self, what: str, work):
        def effect():
            self._vault.counts[what] += 1
            return _now(work)

        try:
            return await self._process.ask(f"kms.{what} {self._name}", effect)
        finally:
            work.close()


class GatedRootKeys:
    """The port `RootKeys` for one process."""

    def __init__(self, process: Process, vault: Vault, global_key: Kms) -> None:
        self._process, self._vault = process, vault
        self._global = GatedKms(process, vault, global_key, GLOBAL)

    def customer(self, binding: RootKeyBinding, credentials: Credentials | None) -> Kms:
        if credentials is None:
            raise Refused(Reason.CREDENTIALS_MISSING, "neither the binding nor its instance has credentials")
        key = self._vault.key(binding.root_key)
        if key.surprise is not None:
            raise key.surprise
        return GatedKms(self._process, self._vault, MemoryKms(key), binding.root_key)

    def global_key(self) -> Kms:
        return self._global


def _now(work):
    """The outcome of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("an effect must not wait")


def _bytes(aad: Aad) -> bytes:
    return json.dumps(aad).encode()
