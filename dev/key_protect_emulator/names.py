"""What names, aliases and ring ids may look like. Pure."""

import re
import uuid
from typing import Final

from key_protect_emulator.errors import refusal

ALIASES_PER_KEY: Final = 5
RINGS_PER_INSTANCE: Final = 50
RESERVED: Final = frozenset(
    {
        "key", "keys", "metadata", "policy", "policies", "registration", "registrations", "ring", "rings",
        "rotate", "wrap", "unwrap", "rewrap", "version", "versions", "allowed_ip",
    }
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{2,90}")
_RING: Final = re.compile(r"[A-Za-z0-9-]{2,100}")


def check_alias(alias: str) -> str:
    if not _NAME.fullmatch(alias) or alias in RESERVED or is_uuid(alias):
        raise refusal("INVALID_FIELD_ERR", "The field `alias` is not a valid alias.", field="alias")
    return alias


def check_ring(ring: str) -> str:
    if not _RING.fullmatch(ring):
        raise refusal("INVALID_FIELD_ERR", "The field `keyRingID` is not a valid key ring id.", field="keyRingID")
    return ring


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
