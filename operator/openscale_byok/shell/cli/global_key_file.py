"""The file that a global key is kept in a safe as: its versions, sealed under a passphrase.

The text that is sealed is JSON: ``{"format": "openscale-byok.global-key.v1", "current": …, "versions": {…}}``, each
version in base64 under its name. What seals it is a compact JWE (see `crypto.passphrase`) that any JOSE library opens.
"""

import base64
import binascii
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from openscale_byok.crypto import passphrase as passphrases
from openscale_byok.crypto.data_key import KEY_BYTES
from openscale_byok.crypto.global_versions import CURRENT, Versions, parse
from openscale_byok.crypto.jwe import NONCE_BYTES
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

FORMAT = "openscale-byok.global-key.v1"
MAX_BYTES = 1_000_000


def write(path: Path, versions: Versions, passphrase: str) -> None:
    """Write a new file that only its owner may read.

    Raises:
        FileExistsError: there is one already; it is left alone.
        OSError: it cannot be written; nothing is left of it.
    """
    encoded = {name: base64.b64encode(raw).decode("ascii") for name, raw in versions.keys.items()}
    text = json.dumps({"format": FORMAT, "current": versions.current, "versions": encoded}).encode()
    random = (secrets.token_bytes(size) for size in (passphrases.SALT_BYTES, KEY_BYTES, NONCE_BYTES))
    sealed = passphrases.seal(text, passphrase, *random) + "\n"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def read(path: Path, passphrase: str) -> Versions:
    """Read a file that `write` wrote; every version must commit to its name.

    Raises:
        Refused: it is something else, was changed, or has another passphrase.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        sealed = file.read(MAX_BYTES).decode("ascii", "replace").strip()
    try:
        found = json.loads(passphrases.open_(sealed, passphrase))
        if found["format"] != FORMAT:
            raise Refused(Reason.NEWER_FORMAT, f"the file is not of format {FORMAT}")
        values = {name: base64.b64decode(text, validate=True) for name, text in found["versions"].items()}
        return parse(values | {CURRENT: found["current"].encode()})
    except passphrases.Unopened as error:
        raise Refused(Reason.TAMPERED, f"the file does not open: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise Refused(Reason.TAMPERED, "the file opens, and does not hold a global key") from None
