"""A text sealed under a passphrase: a compact JWE that any JOSE library opens (RFC 7516, RFC 7518 section 4.8).

``alg: PBES2-HS512+A256KW`` derives a key from the passphrase (PBKDF2), which wraps (AES Key Wrap, RFC 3394) the
random key that seals the text (``enc: A256GCM``).
"""

import base64
import binascii
import json

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from openscale_byok.crypto.data_key import KEY_BYTES, b64url
from openscale_byok.crypto.jwe import NONCE_BYTES, TAG_BYTES, canonical

ALG = "PBES2-HS512+A256KW"
ROUNDS = 600_000
"""Of PBKDF2. OWASP asks for 210,000 with SHA-512."""
MAX_ROUNDS = 10_000_000
SALT_BYTES = 16


class Unopened(ValueError):
    """Not a text of this kind, or not under this passphrase: the two cannot be told apart."""


def seal(text: bytes, passphrase: str, salt: bytes, key: bytes, nonce: bytes) -> str:
    """Seal a text. Salt (16 bytes), key (32) and nonce (12) are fresh and random."""
    header = {"alg": ALG, "enc": "A256GCM", "p2s": b64url(salt), "p2c": ROUNDS}
    protected = b64url(canonical(header))
    wrapped = aes_key_wrap(_derived(passphrase, salt, ROUNDS), key)
    sealed = AESGCM(key).encrypt(nonce, text, protected.encode("ascii"))
    parts = (wrapped, nonce, sealed[:-TAG_BYTES], sealed[-TAG_BYTES:])
    return ".".join((protected, *map(b64url, parts)))


def open_(sealed: str, passphrase: str) -> bytes:
    """The text.

    Raises:
        Unopened: it is something else, was changed, or has another passphrase.
    """
    try:
        protected, wrapped, nonce, ciphertext, tag = sealed.split(".")
        header = json.loads(_decode(protected))
        salt, rounds = _decode(header["p2s"]), header["p2c"]
        if header["alg"] != ALG or header["enc"] != "A256GCM" or type(rounds) is not int:
            raise Unopened("not sealed under a passphrase by us")
        if not 1_000 <= rounds <= MAX_ROUNDS or len(_decode(nonce)) != NONCE_BYTES:
            raise Unopened("not sealed under a passphrase by us")
        key = aes_key_unwrap(_derived(passphrase, salt, rounds), _decode(wrapped))
        return AESGCM(key).decrypt(_decode(nonce), _decode(ciphertext) + _decode(tag), protected.encode("ascii"))
    except (InvalidTag, InvalidUnwrap):
        raise Unopened("another passphrase, or changed since") from None
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise Unopened("not sealed under a passphrase by us") from None


def _derived(passphrase: str, salt: bytes, rounds: int) -> bytes:
    salted = ALG.encode("ascii") + b"\0" + salt
    return PBKDF2HMAC(SHA512(), KEY_BYTES, salted, rounds).derive(passphrase.encode())


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
