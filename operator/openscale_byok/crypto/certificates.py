"""The certificates of a CA bundle: what they are, whatever else its PEM text says."""

from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from openscale_byok.crypto.data_key import b64url

_UNREADABLE = b"not certificates\0"
REMEMBERED = 64
"""Digests of so many bundles are kept: most data marts share theirs, and each is asked for at every event."""


def readable(pem: str) -> bool:
    """Whether it holds one or more certificates, each of which can be parsed."""
    return _read(pem)[0]


def digest(pem: str) -> str:
    """What stands for the certificates of a bundle: base64url(SHA-256) of their sorted SHA-256 digests (of the DER).

    Comments, blanks, order and repetition change what a client trusts in nothing, and so they change nothing here.
    What cannot be read has a digest, too, which differs from that of every bundle that can be.
    """
    return _read(pem)[1]


@lru_cache(maxsize=REMEMBERED)
def _read(pem: str) -> tuple[bool, str]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode("ascii", "replace"))
    except Exception:  # noqa: BLE001 -- somebody else's bytes: of a version that is none it raises no ValueError
        found = []
    if not found:
        return False, b64url(sha256(_UNREADABLE + pem.encode("utf-8", "surrogatepass")).digest())
    each = {sha256(one.public_bytes(Encoding.DER)).digest() for one in found}
    return True, b64url(sha256(b"".join(sorted(each))).digest())
