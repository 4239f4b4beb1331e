"""JWE compact serialization (RFC 7516) with ``alg: dir`` and ``enc: A256GCM``, strictly parsed.

There is one way to write a thing and we refuse every other: what parses prints back to the same bytes.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openscale_byok.crypto.data_key import b64url

NONCE_BYTES = 12
TAG_BYTES = 16
MAX_CHARACTERS = 32_768
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")


class Malformed(ValueError):
    """Not a token that we would have written. The text says which part, never what it holds."""


@dataclass(frozen=True, slots=True)
class Token:
    """A parsed compact JWE: its protected header as text and as an object, and the sealed parts."""

    protected: str
    header: Mapping[str, Any]
    nonce: bytes
    sealed: bytes  # ciphertext and tag


def canonical(header: Mapping[str, Any]) -> bytes:
    """The one way to print a header: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def encrypt(header: Mapping[str, Any], aead: AESGCM, nonce: bytes, plaintext: bytes) -> str:
    """Seal under a key that is used directly; see `seal`."""
    return seal(header, aead, nonce, plaintext)[0]


def seal(header: Mapping[str, Any], aead: AESGCM, nonce: bytes, plaintext: bytes) -> tuple[str, Token]:
    """Seal under a key that is used directly: the text, and what `parse` would make of it.

    The nonce is random and never used twice with one key. With 96 random bits the chance of a repeat stays
    below 2^-32 for 2^32 messages under one key (NIST SP 800-38D, section 8.3); an instance seals some
    thousands.

    Raises:
        ValueError: the nonce does not have 12 bytes.
    """
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    full = {"alg": "dir", "enc": "A256GCM", **header}
    protected = b64url(canonical(full))
    sealed = aead.encrypt(nonce, plaintext, protected.encode("ascii"))
    text = f"{protected}..{b64url(nonce)}.{b64url(sealed[:-TAG_BYTES])}.{b64url(sealed[-TAG_BYTES:])}"
    return text, Token(protected, full, nonce, sealed)


def parse(text: str) -> Token:
    """Read a compact JWE that `encrypt` could have written.

    Raises:
        Malformed: it is something else.
    """
    if len(text) > MAX_CHARACTERS:
        raise Malformed("longer than any that we write")
    parts = text.split(".")
    if len(parts) != 5 or parts[1]:
        raise Malformed("not the five parts of a compact JWE with an empty key")
    protected, _, nonce_part, ciphertext_part, tag_part = parts
    header = _header(protected)
    nonce, tag = _decode(nonce_part, "nonce"), _decode(tag_part, "tag")
    if len(nonce) != NONCE_BYTES or len(tag) != TAG_BYTES:
        raise Malformed("nonce or tag of the wrong length")
    return Token(protected, header, nonce, _decode(ciphertext_part, "ciphertext") + tag)


def decrypt(token: Token, aead: AESGCM) -> bytes | None:
    """The plaintext, or None where the key, the header or the ciphertext is not the one that was sealed."""
    try:
        return aead.decrypt(token.nonce, token.sealed, token.protected.encode("ascii"))
    except InvalidTag:
        return None


def _header(protected: str) -> Mapping[str, Any]:
    raw = _decode(protected, "protected header")
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("the protected header is not JSON") from None
    if not isinstance(header, dict) or header.get("alg") != "dir" or header.get("enc") != "A256GCM":
        raise Malformed("the protected header does not say alg=dir, enc=A256GCM")
    try:
        same = canonical(header) == raw
    except (ValueError, RecursionError):
        same = False
    if not same:
        # Two spellings of one header would be two additional-data strings for one meaning.
        raise Malformed("the protected header is not printed canonically")
    return header


def _decode(part: str, what: str) -> bytes:
    # b64decode would skip foreign characters and accept stray bits: both would be second spellings.
    if not _BASE64URL.match(part):
        raise Malformed(f"the {what} is not base64url")
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise Malformed(f"the {what} is not base64url") from None
    if b64url(raw) != part:
        raise Malformed(f"the {what} is not canonical base64url")
    return raw
