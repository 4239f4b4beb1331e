"""Bring-your-own material: plain payloads, and payloads encrypted for an import token.

With a token the client encrypts the material with the token's RSA public key (RSAES_OAEP_SHA_256), and
proves that it holds the token by sending the token's nonce encrypted with AES-GCM *under that material*
(`encryptedNonce`, `iv`).
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from key_protect_emulator.ciphertext import strict_b64decode
from key_protect_emulator.errors import refusal
from key_protect_emulator.keys import ROOT_KEY_SIZES, STANDARD_KEY_LIMIT
from key_protect_emulator.world import ImportToken

ALGORITHM: Final = "RSAES_OAEP_SHA_256"
NONCE_SIZE: Final = 12
RSA_BITS: Final = 2048
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def new_import_token(expiration: int, max_retrievals: int, now: float) -> ImportToken:
    private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ImportToken(
        created=now,
        expires=now + expiration,
        expiration=expiration,
        max_retrievals=max_retrievals,
        retrievals=0,
        private_pem=pem.decode(),
        nonce=secrets.token_bytes(NONCE_SIZE),
    )


def retrieve(token: ImportToken | None, now: float) -> ImportToken:
    """One retrieval of the token, or IMPORT_TOKEN_EXPIRED_ERR."""
    if token is None or now >= token.expires or token.retrievals >= token.max_retrievals:
        raise refusal("IMPORT_TOKEN_EXPIRED_ERR")
    token.retrievals += 1
    return token


def public_pem(token: ImportToken) -> bytes:
    return (
        _private(token)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def is_secure_import(fields: Mapping[str, Any]) -> bool:
    return any(fields.get(name) for name in ("encryptionAlgorithm", "encryptedNonce", "iv"))


def open_payload(token: ImportToken | None, fields: Mapping[str, Any], now: float) -> bytes:
    """The key material of a create, import or rotate body; its size is for the caller to judge."""
    payload = _field(fields, "payload")
    if not is_secure_import(fields):
        return payload
    if fields.get("encryptionAlgorithm") != ALGORITHM:
        raise refusal("INVALID_FIELD_ERR", f"encryptionAlgorithm must be {ALGORITHM}", field="encryptionAlgorithm")
    if token is None or now >= token.expires:
        raise refusal("IMPORT_TOKEN_EXPIRED_ERR")
    try:
        material = _private(token).decrypt(payload, _OAEP)
    except ValueError as error:
        raise refusal(
            "INVALID_FIELD_ERR", "the payload does not open with the import token", field="payload"
        ) from error
    _check_nonce(token, material, _field(fields, "encryptedNonce"), _field(fields, "iv"))
    return material


def root_material(material: bytes) -> bytes:
    if len(material) not in ROOT_KEY_SIZES:
        raise refusal("INVALID_FIELD_ERR", "a root key has 16, 24 or 32 bytes", field="payload")
    return material


def standard_material(material: bytes) -> bytes:
    if not 1 <= len(material) <= STANDARD_KEY_LIMIT:
        raise refusal("INVALID_FIELD_ERR", f"a standard key has 1 to {STANDARD_KEY_LIMIT} bytes", field="payload")
    return material


def _check_nonce(token: ImportToken, material: bytes, sealed: bytes, iv: bytes) -> None:
    try:
        nonce = AESGCM(material).decrypt(iv, sealed, None)
    except (InvalidTag, ValueError) as error:
        raise refusal("INCORRECT_NONCE_IV_ERR") from error
    # Clients encrypt either the nonce's bytes or the base64 text in which they received it.
    if nonce not in {token.nonce, base64.b64encode(token.nonce)}:
        raise refusal("INCORRECT_NONCE_ERR")


def _field(fields: Mapping[str, Any], name: str) -> bytes:
    try:
        return strict_b64decode(fields[name])
    except (KeyError, TypeError, ValueError) as error:
        raise refusal("INVALID_FIELD_ERR", f"{name} must be base64", field=name) from error


def _private(token: ImportToken) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(token.private_pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the import token's key is not an RSA key")
    return key
