"""Request bodies: their bytes off the wire, and their JSON as a Go server decodes it. Pure but for `read`.

Key Protect is written in Go, and so are its clients: `encoding/json` matches the names of fields in any case (IBM's
own Go client sends `Tags` and `KeyRingID`), the last of two spellings counts, and `null` stands for "not given".
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from aiohttp import web

LIMIT: Final = 1024 * 1024  # bytes, of what was sent and of what it unpacks to
_GZIP: Final = 16 + zlib.MAX_WBITS

# Every field of a request, as Key Protect spells it. No two differ in case only.
FIELDS: Final = (
    "metadata", "collectionType", "collectionTotal", "resources",
    "type", "name", "aliases", "description", "tags", "extractable", "expirationDate", "keyRingID",
    "payload", "encryptionAlgorithm", "encryptedNonce", "iv",
    "plaintext", "ciphertext", "aad",
    "dualAuthDelete", "rotation", "enabled", "interval_month",
    "policy_type", "policy_data", "attributes", "allowed_ip", "allowed_network",
    "create_root_key", "create_standard_key", "import_root_key", "import_standard_key", "enforce_token",
    "expiration", "maxAllowedRetrievals",
    "profile", "profile_data", "crk_id", "certificate",
)  # fmt: skip
_SPELLING: Final = {name.casefold(): name for name in FIELDS}


class BodyError(Exception):
    """The body cannot be used: 413 if it is too large, 400 if it is not what its headers say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


async def read(request: web.Request) -> bytes:
    """The body, unpacked if it says that it is gzip. Raises BodyError.

    The server is started with `auto_decompress=False`: aiohttp itself answers a wrong gzip with 500.
    """
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise BodyError(413, "The body is too large") from error
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return raw
    if encoding != "gzip":
        raise BodyError(400, "The Content-Encoding of the body is not supported: use gzip, or none")
    return _unzipped(raw)


def _unzipped(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(raw, LIMIT + 1)
    except zlib.error as error:
        raise BodyError(400, "The body is not gzip, and its Content-Encoding says so") from error
    if len(plain) > LIMIT:
        raise BodyError(413, "The body is too large")
    if not unpacker.eof or unpacker.unused_data:
        raise BodyError(400, "The body is not one whole gzip stream")
    return plain


def decoded(raw: bytes) -> object:
    """The JSON of a body, its fields spelt as Key Protect spells them. Raises ValueError or RecursionError."""
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_fields, parse_constant=_refuse_constant)


def _fields(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {_SPELLING.get(name.casefold(), name): value for name, value in pairs}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
