"""The data key: 32 secret bytes, and the id that commits to them."""

import base64
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
COMMITMENT_LABEL = b"openscale-byok data key commitment v1"
ID_CHARACTERS = 43  # base64url of 32 bytes, without padding


def commitment(key: bytes) -> str:
    """The id of a key: base64url(HKDF-SHA256(key, info=label)), 32 bytes long (RFC 5869).

    AES-GCM alone does not commit to its key: one ciphertext can be made to open under two keys. An id
    derived from the key does, so a wrapped key swapped for another is noticed before it is used.
    """
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=COMMITMENT_LABEL).derive(key)
    return b64url(derived)


def b64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class DataKey:
    """A data key in memory. Shows its id, never its bytes."""

    __slots__ = ("_aead", "_raw", "id")

    def __init__(self, raw: bytes) -> None:
        """Take the 32 raw bytes.

        Raises:
            ValueError: the length is not 32.
        """
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes, not {len(raw)}")
        self._raw = raw
        self._aead = AESGCM(raw)
        self.id = commitment(raw)

    @property
    def aead(self) -> AESGCM:
        """The cipher, made once: its key schedule is most of the cost of sealing a short secret."""
        return self._aead

    def reveal(self) -> bytes:
        """The raw bytes, for an adapter that must wrap them itself. Named so that it can be searched for."""
        return self._raw

    def __repr__(self) -> str:
        return f"DataKey({self.id[:8]}…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataKey) and hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> str:
        raise TypeError("a data key is never pickled")
