"""What a source may hold: the rules that a Secret passes before its password is sealed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import HANDOVER_KEY, HANDOVER_TYPE, MAX_PASSWORD_BYTES, SecretKeyRef


@dataclass(frozen=True, slots=True)
class Source:
    """A Secret as it was read."""

    uid: str
    resource_version: str
    type: str
    values: Mapping[str, bytes] = field(repr=False)

    @property
    def handover(self) -> bool:
        """Whether its owner lets us delete it once its password is safely sealed: the type says so."""
        return self.type == HANDOVER_TYPE


def password(source: Source, ref: SecretKeyRef) -> bytes:
    """The password in a source.

    Raises:
        Refused: it holds none that a database could take, or deleting it would lose something else.
    """
    where = f"Secret {ref.name}, key {ref.key}"
    if source.handover and (set(source.values) != {HANDOVER_KEY}):
        raise Refused(
            Reason.HANDOVER_NOT_EXCLUSIVE,
            f"Secret {ref.name}: a Secret of type {HANDOVER_TYPE} is deleted once it is sealed, so it must hold "
            f"one key, '{HANDOVER_KEY}', and it holds {len(source.values)}; give each password a Secret of its own",
        )
    found = source.values.get(ref.key)
    if found is None:
        raise Refused(
            Reason.SECRET_KEY_MISSING,
            f"{where}: there is no such key; add it, or name another in spec.database.password.secretRef.key",
        )
    return acceptable(found, where)


def acceptable(found: bytes, where: str) -> bytes:
    """What a database could take as a password, wherever it came from.

    Raises:
        Refused: it could take none of this; *where* names the field.
    """
    if not found:
        raise Refused(Reason.PASSWORD_EMPTY, f"{where}: the password is empty; write it there")
    if len(found) > MAX_PASSWORD_BYTES:
        raise Refused(
            Reason.PASSWORD_TOO_LONG,
            f"{where}: {len(found)} bytes; a password has at most {MAX_PASSWORD_BYTES}",
        )
    if not _is_text(found):
        raise Refused(
            Reason.PASSWORD_NOT_TEXT,
            f"{where}: not UTF-8 text without control characters, which no database takes as a password; "
            "encode it only once, and mind a line break at its end",
        )
    return found


def _is_text(raw: bytes) -> bool:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(ord(character) < 0x20 or ord(character) == 0x7F for character in text)
