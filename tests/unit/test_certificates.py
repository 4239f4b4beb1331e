"""The digest of a caBundle: of what a client trusts, and of nothing else in the text."""

import itertools
import re
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.crypto.certificates import digest, readable
from openscale_byok.resources import CERTIFICATES
from sim.certificates import BROKEN, certificate

A, B, C = (certificate(name) for name in "abc")
COMMENT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="-"), max_size=40)


@pytest.mark.parametrize(
    "same",
    [A + B, B + A, A + B + A, A + "\n\n\n" + B, (A + B).replace("\n", "\r\n"), f"# a\n{A}issuer=CN = b\n{B}--\n"],
)
def test_what_a_client_trusts_is_the_same(same):
    """Order, repetition, blanks, line ends and comments change nothing."""
    assert readable(same)
    assert digest(same) == digest(A + B)
    assert re.match(CERTIFICATES, same)


@given(before=COMMENT, between=COMMENT, after=COMMENT)
def test_comments_are_no_change(before, between, after):
    """Whatever is beside the certificates (RFC 7468: explanatory text)."""
    text = f"{before}\n{A}{between}\n{B}{after}"
    assert readable(text)
    assert digest(text) == digest(A + B)


def test_other_certificates_have_another_digest():
    """One more, one less, or another one."""
    bundles = ["".join(some) for n in (1, 2, 3) for some in itertools.combinations((A, B, C), n)]
    assert len({digest(bundle) for bundle in bundles}) == len(bundles)


@pytest.mark.parametrize(
    "bad", ["", "x", BROKEN, A + BROKEN, A[:-40] + "-----END CERTIFICATE-----\n", A.replace("M", "N")]
)
def test_what_cannot_be_read_is_told(bad):
    """It stands for no authority, and is not the same as any bundle that can be read, nor as another that cannot."""
    assert not readable(bad)
    assert len({digest(text) for text in (bad, bad + " ", A, B)}) == 4


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "comment",
        A.replace("CERTIFICATE", "PRIVATE KEY"),
        A + A.replace("CERTIFICATE", "EC PRIVATE KEY"),
        A.replace("CERTIFICATE", "ENCRYPTED PRIVATE KEY") + A,
        A.replace("-----END", "----END"),
        "-----\n" + A,
    ],
)
def test_a_key_beside_it_is_refused_at_admission(bad):
    """Whatever else is in PEM begins with five dashes, which no comment holds: a private key is not stored."""
    assert not re.match(CERTIFICATES, bad)


def test_a_certificate_of_no_version_is_none():
    """It parses as far as its version, which the library refuses by an exception of another family."""
    der = ssl.PEM_cert_to_DER_cert(A)
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    odd = ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"))
    assert re.match(CERTIFICATES, odd), "the API server takes it"
    assert not readable(odd)
    assert digest(odd) != digest(A)
