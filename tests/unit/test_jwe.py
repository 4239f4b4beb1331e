"""JWE compact serialization: one spelling for each token, and every other refused."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.crypto import jwe

AEAD = AESGCM(bytes(32))
TOKEN = jwe.encrypt({"kid": "k"}, AEAD, bytes(12), b"CANARY")


@given(
    header=st.dictionaries(
        st.text('abcdé"\\', min_size=1, max_size=3), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_a_header_prints_one_way(header):
    """Order and spelling of the header given do not matter: it prints one way, and reads back as it was."""
    backwards = dict(reversed(header.items()))
    one, two = (jwe.encrypt(given, AEAD, bytes(12), b"x") for given in (header, backwards))
    assert one == two
    assert jwe.parse(one).header == {"alg": "dir", "enc": "A256GCM", **header}


def test_parts_are_taken_apart():
    """The nonce, ciphertext, tag and header are those that were written."""
    token = jwe.parse(TOKEN)
    assert (token.nonce, len(token.sealed)) == (bytes(12), len(b"CANARY") + 16)
    assert token.protected == TOKEN.split(".")[0]
    assert token.header == {"alg": "dir", "enc": "A256GCM", "kid": "k"}
    assert jwe.decrypt(token, AEAD) == b"CANARY"


def test_the_wrong_key_gives_nothing():
    """Under another key there is no plaintext and no exception that could carry one."""
    assert jwe.decrypt(jwe.parse(TOKEN), AESGCM(b"\x01" * 32)) is None


def test_length_is_bounded_before_anything_is_decoded():
    """The longest text that is looked at has 32,768 characters; one more is refused unread."""
    with pytest.raises(jwe.Malformed, match="longer"):
        jwe.parse("A" * (jwe.MAX_CHARACTERS + 1))
    with pytest.raises(jwe.Malformed, match="five parts"):
        jwe.parse("A" * jwe.MAX_CHARACTERS)


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("part", ["SECRETWORD=", "SECRETWORD", "SECRET WORD", "SECRETWORDü"])
def test_a_refusal_never_quotes(at, part):
    """What was wrong with a token is said by the name of its part, never by what it held."""
    parts = TOKEN.split(".")
    parts[at] = part
    text = ".".join(parts)
    try:
        jwe.parse(text)
    except jwe.Malformed as error:
        said = f"{error!r} {error.__cause__!r}"
    else:
        said = ""
        assert at == 3, "only a ciphertext may be any base64url"
    assert "SECRET" not in said
