"""Wrap and unwrap: AES-GCM, and the outer form of Key Protect's ciphertexts. Pure: the nonce is handed in.

A ciphertext is base64 of a JSON object {ciphertext, iv, version, handle}; callers must treat it as opaque.
`handle` names the key version. Additional authenticated data is an *ordered list* of strings: it is
authenticated as canonical JSON, so ["a", "b"], ["b", "a"] and ["ab"] are three different things.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from key_protect_emulator.errors import refusal
from key_protect_emulator.keys import Key, Version

NONCE_SIZE: Final = 12
FORMAT: Final = "4.0.0"
AAD_ITEM_LIMIT: Final = 255
AAD_COUNT_LIMIT: Final = 255
_FIELDS: Final = ("ciphertext", "iv", "version", "handle")


def wrap(version: Version, plaintext: bytes, aad: Sequence[str], nonce: bytes) -> str:
    """Encrypt a data key under one key version."""
    sealed = AESGCM(version.material).encrypt(nonce, plaintext, _authenticated(aad))
    body = {"ciphertext": _b64(sealed), "iv": _b64(nonce), "version": FORMAT, "handle": version.id}
    return _b64(json.dumps(body, separators=(",", ":")).encode())


def unwrap(key: Key, ciphertext: str, aad: Sequence[str]) -> tuple[bytes, Version]:
    """Decrypt with the version that the ciphertext names; raise UNPROCESSABLE_CIPHERTEXT_ERR otherwise.

    Two imported keys with the same material unwrap each other's ciphertexts, as in Key Protect; so an
    imported key tries its versions when the handle is not one of its own.
    """
    nonce, sealed, handle = _parse(ciphertext)
    named = key.version(handle)
    candidates = [named] if named else list(reversed(key.versions)) if key.imported else []
    for version in candidates:
        try:
            return AESGCM(version.material).decrypt(nonce, sealed, _authenticated(aad)), version
        except InvalidTag:
            continue
    raise refusal("UNPROCESSABLE_CIPHERTEXT_ERR")


def _parse(text: str) -> tuple[bytes, bytes, str]:
    try:
        raw = strict_b64decode(text)
        body = json.loads(raw)
        if not isinstance(body, dict) or tuple(body) != _FIELDS or body["version"] != FORMAT:
            raise refusal("UNPROCESSABLE_CIPHERTEXT_ERR")
        if json.dumps(body, separators=(",", ":")).encode() != raw:
            raise refusal("UNPROCESSABLE_CIPHERTEXT_ERR")
        nonce, sealed = strict_b64decode(body["iv"]), strict_b64decode(body["ciphertext"])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise refusal("UNPROCESSABLE_CIPHERTEXT_ERR") from error
    if len(nonce) != NONCE_SIZE or not isinstance(body["handle"], str):
        raise refusal("UNPROCESSABLE_CIPHERTEXT_ERR")
    return nonce, sealed, body["handle"]


def strict_b64decode(text: str) -> bytes:
    """Base64 with one spelling for each value (no stray bits, no white space). Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _b64(raw) != text:
        raise ValueError("not canonical base64")
    return raw


def _authenticated(aad: Sequence[str]) -> bytes | None:
    return json.dumps(list(aad), separators=(",", ":")).encode() if aad else None


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
