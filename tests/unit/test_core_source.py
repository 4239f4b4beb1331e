"""What a source may hold."""

import pytest

from openscale_byok.core.source import Source, password
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import HANDOVER_KEY, HANDOVER_TYPE, MAX_PASSWORD_BYTES, SecretKeyRef

CANARY = b"c4n4ry"
LONGEST = b"x" * MAX_PASSWORD_BYTES
# type, values, key -> the password, or why not
ROWS = {
    "a password": ("Opaque", {"p": b"secret"}, "p", b"secret"),
    "among others": ("Opaque", {"p": b"secret", "q": b"other"}, "p", b"secret"),
    "not only ASCII, with spaces": ("Opaque", {"p": " schön 🔑 ".encode()}, "p", " schön 🔑 ".encode()),
    "the longest": ("Opaque", {"p": LONGEST}, "p", LONGEST),
    "a hand-over": (HANDOVER_TYPE, {HANDOVER_KEY: b"secret"}, HANDOVER_KEY, b"secret"),
    "no such key": ("Opaque", {"q": CANARY}, "p", Reason.SECRET_KEY_MISSING),
    "nothing in it": ("Opaque", {}, "p", Reason.SECRET_KEY_MISSING),
    "empty": ("Opaque", {"p": b""}, "p", Reason.PASSWORD_EMPTY),
    "too long": ("Opaque", {"p": LONGEST + b"x"}, "p", Reason.PASSWORD_TOO_LONG),
    "a line break": ("Opaque", {"p": CANARY + b"\n"}, "p", Reason.PASSWORD_NOT_TEXT),
    "a null byte": ("Opaque", {"p": CANARY + b"\0"}, "p", Reason.PASSWORD_NOT_TEXT),
    "a delete character": ("Opaque", {"p": CANARY + b"\x7f"}, "p", Reason.PASSWORD_NOT_TEXT),
    "not UTF-8": ("Opaque", {"p": CANARY + b"\xff"}, "p", Reason.PASSWORD_NOT_TEXT),
    "a hand-over with more": (
        HANDOVER_TYPE, {HANDOVER_KEY: CANARY, "q": CANARY}, HANDOVER_KEY, Reason.HANDOVER_NOT_EXCLUSIVE,
    ),
    "a hand-over by another name": (HANDOVER_TYPE, {"p": CANARY}, "p", Reason.HANDOVER_NOT_EXCLUSIVE),
    "an empty hand-over": (HANDOVER_TYPE, {}, HANDOVER_KEY, Reason.HANDOVER_NOT_EXCLUSIVE),
    "a hand-over, another key asked for": (
        HANDOVER_TYPE, {HANDOVER_KEY: CANARY}, "p", Reason.SECRET_KEY_MISSING,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("type_", "values", "key", "wanted"), ROWS.values(), ids=ROWS)
def test_the_password_in_a_source(type_, values, key, wanted):
    """Only what a database could take is sealed, byte for byte; what is refused is never quoted."""
    source, ref = Source("u", "1", type_, values), SecretKeyRef(name="s", key=key)
    if isinstance(wanted, bytes):
        assert password(source, ref) == wanted
        return
    with pytest.raises(Refused) as refused:
        password(source, ref)
    assert refused.value.reason is wanted
    assert "Secret s" in refused.value.message
    assert CANARY.decode() not in refused.value.message + repr(source)
