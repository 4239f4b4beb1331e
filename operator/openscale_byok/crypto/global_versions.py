"""Versions of the global key: named by commitment; what each wraps says which one it was.

A data key is wrapped as a compact JWE (RFC 7516) whose header names the version and the additional authenticated
data, so it cannot be moved to another instance. Where a root key in Key Protect stands in for the versions, its
ciphertext is stored behind its CRN, so that it can always be told who opens what.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openscale_byok.crypto import jwe
from openscale_byok.crypto.data_key import ID_CHARACTERS, KEY_BYTES, DataKey, commitment
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

TYP = "openscale-byok.global.v1"
CURRENT = "current"
LEAVING = "leaving."
"""Before the name of a version that is being removed: it opens nothing any more, and is not lost yet."""
_VERSION = re.compile(rf"[A-Za-z0-9_-]{{{ID_CHARACTERS}}}\Z")
_STAMPED = re.compile(r"(crn:[A-Za-z0-9:/._-]{1,250})#(.+)\Z")


@dataclass(frozen=True, slots=True)
class Versions:
    """Every version of the global key, and which one wraps."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def wrap(self, data_key: DataKey, aad: Sequence[str], nonce: bytes) -> str:
        """Wrap a data key by the current version; the nonce is 12 fresh random bytes."""
        header = {"typ": TYP, "kid": self.current, "aad": list(aad)}
        return jwe.encrypt(header, AESGCM(self.keys[self.current]), nonce, data_key.reveal())

    def unwrap(self, ciphertext: str, aad: Sequence[str]) -> DataKey:
        """The data key, by whichever version wrapped it.

        Raises:
            Refused: `Tampered`, or `GlobalKeyVersionMissing` where that version is not here.
        """
        try:
            token = jwe.parse(ciphertext)
        except jwe.Malformed as error:
            raise Refused(Reason.TAMPERED, f"the wrapped data key is not one of the global key's: {error}") from None
        version = str(token.header.get("kid", ""))
        if token.header.get("typ") != TYP or token.header.get("aad") != list(aad):
            raise Refused(Reason.TAMPERED, "the wrapped data key was not made for this instance")
        if version not in self.keys:
            short = version[:8] if _VERSION.match(version) else "of a strange name"
            text = f"version {short} of the global key is not in its Secret: import it from an export or a backup"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text)
        raw = jwe.decrypt(token, AESGCM(self.keys[version]))
        if raw is None or len(raw) != KEY_BYTES:
            raise Refused(Reason.TAMPERED, "the wrapped data key does not verify under the global key")
        return DataKey(raw)


def keys_in(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The versions among a Secret's values; each must commit to its name.

    Raises:
        Refused: one does not.
    """
    found: dict[str, bytes] = {}
    for name, raw in values.items():
        if name == CURRENT or name.startswith(LEAVING):
            continue
        if len(raw) != KEY_BYTES or commitment(raw) != name:
            short = name[:8] if _VERSION.match(name) else "of a strange name"
            text = f"version {short} is not what its name commits to; take it out, and import it from an export"
            raise Refused(Reason.TAMPERED, f"the global key's Secret: {text}")
        found[name] = raw
    return found


def parse(values: Mapping[str, bytes]) -> Versions:
    """Read a Secret's values.

    Raises:
        Refused: a version was changed, or the one that wraps is missing.
    """
    keys, current = keys_in(values), named_current(values)
    if current not in keys:
        text = "the global key's Secret: its current version is missing: import it from an export or a backup"
        raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text)
    return Versions(current, keys)


def named_current(values: Mapping[str, bytes]) -> str:
    """Which version a Secret's values say that wraps."""
    return values.get(CURRENT, b"").decode("ascii", "replace")


def stamp(crn: str, ciphertext: str) -> str:
    """A ciphertext of a root key in Key Protect, as the global key stores it."""
    return f"{crn}#{ciphertext}"


def stamped(wrapped: str) -> tuple[str, str] | None:
    """CRN and ciphertext, where a root key in Key Protect wrapped this; None where a version of the Secret did."""
    found = _STAMPED.match(wrapped)
    return (found[1], found[2]) if found is not None else None


def version_of(wrapped: str) -> str:
    """Which version of the Secret wrapped this, or nothing where it is not one of ours."""
    try:
        version = str(jwe.parse(wrapped).header.get("kid", ""))
    except jwe.Malformed:
        return ""
    return version if _VERSION.match(version) else ""


def line(crn: str) -> str:
    """What every version of a root key in Key Protect begins with, where it is the global key."""
    return crn.rpartition(":")[2] + "/"


def version_in(wrapped: str) -> str:
    """What the wrapped form itself says of the version: a name, or only whose version it is; nothing if neither."""
    by_root_key = stamped(wrapped)
    return line(by_root_key[0]) if by_root_key is not None else version_of(wrapped)
