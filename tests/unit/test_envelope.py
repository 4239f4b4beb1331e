"""The envelope: what opens, what does not, and that nothing else can come out of it."""

import base64
import dataclasses
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import get_args

import jwcrypto.jwe
import jwcrypto.jwk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe as joserfc_jwe
from joserfc import jwk as joserfc_jwk

from openscale_byok.crypto import jwe
from openscale_byok.crypto.context import TLS_MODES, Context, Departure, Endpoint, Proof, departure, lowered
from openscale_byok.crypto.data_key import DataKey, b64url
from openscale_byok.crypto.envelope import Envelope, Wrapped, compare, open_, parse, seal
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources.datamart import Database

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "envelopes.json").read_text("utf-8"))
VECTORS = GOLDEN["vectors"]
FROZEN = 130, "51d5e27776fba1ec8b4d92f827271a538568aea3ebda4640452368e77cb5ca72"
"""How many vectors were released, and the SHA-256 of their names, envelopes and meanings."""
OF_V1 = 97, "c8b4280754fe11cc7d4ec17ff913ad48b489ed280ce62ecfe55047a75abb8fe5"
OVERTAKEN = {"a later format"}
"""What v1 wrote, under the name of v2: a format of the future then, and one of ours now. Nobody ever wrote it."""

EXPECTED = {
    "tampered": Reason.TAMPERED,
    "context-mismatch": Reason.CONTEXT_MISMATCH,
    "endpoint-changed": Reason.ENDPOINT_CHANGED,
    "newer-format": Reason.NEWER_FORMAT,
}
SECRET = b"CANARY-correct-horse"
CONTEXT = Context(
    instance="00000000-1111-2222-3333-444444444444",
    kind="DataMart",
    namespace="team-a",
    name="credit-risk",
    field="spec.database.password",
    endpoint=Endpoint("PostgreSQL", "db.example.com", 5432, "payload", "openscale"),
)
WRAPPED = Wrapped("global", "CANARY-wrapped-key-AAAA")
KEY = DataKey(bytes(range(100, 132)))
PROVEN = dataclasses.replace(CONTEXT, proof=Proof("VerifyFull", "A" * 43))
SEALED_V1 = seal(SECRET, KEY, CONTEXT, WRAPPED, bytes(12))
SEALED = seal(SECRET, KEY, PROVEN, WRAPPED, bytes(12))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def context_of(vector: dict) -> Context:
    found = vector.get("context", GOLDEN["context"])
    proof = Proof(**found["proof"]) if "proof" in found else None
    return Context(**{**found, "endpoint": Endpoint(**found["endpoint"]), "proof": proof})


def outcome(text: str, context: Context = PROVEN, key: DataKey = KEY) -> Reason | bytes:
    """The secret, or the reason for which it was refused; any other exception fails the test."""
    try:
        return open_(parse(text), key, context)
    except Refused as refused:
        return refused.reason


def printed(envelope: Envelope) -> str:
    """The envelope, printed anew from its parsed parts."""
    sealed, nonce = envelope.token.sealed, envelope.token.nonce
    header = b64url(jwe.canonical(envelope.token.header))
    return f"{header}..{b64url(nonce)}.{b64url(sealed[:-16])}.{b64url(sealed[-16:])}"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["expect"] + ": " + vector["name"])
def test_a_released_vector_means_what_it_meant(vector):
    """Every checked-in envelope still opens, or is refused, as its `expect` word says."""
    key = DataKey(raw(GOLDEN["dataKey"]))
    if vector["expect"] == "opens":
        assert outcome(vector["envelope"], context_of(vector), key) == raw(vector["secret"])
        assert printed(parse(vector["envelope"])) == vector["envelope"], "parses, but prints otherwise"
    elif vector["expect"].startswith("malformed-"):
        with pytest.raises(Refused) as refused:
            parse(vector["envelope"])
        assert refused.value.reason is Reason.TAMPERED
    elif vector["name"] in OVERTAKEN:
        assert outcome(vector["envelope"], context_of(vector), key) is Reason.TAMPERED
    else:
        assert outcome(vector["envelope"], context_of(vector), key) is EXPECTED[vector["expect"]]


def test_vectors_are_only_ever_added():
    """The released vectors are the first in the file, unchanged; a new one goes below them."""
    for count, digest in (OF_V1, FROZEN):
        first = json.dumps(VECTORS[:count], sort_keys=True).encode()
        assert hashlib.sha256(first).hexdigest() == digest, "a released vector was changed, moved or taken out"
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("name", ["a password of a PostgreSQL data mart", "v2: proven by an authority of one's own"])
def test_sealing_again_gives_the_same_bytes_as_the_vector(name):
    """`seal` writes the formats that were released, byte for byte, where the nonce is the same."""
    vector = next(vector for vector in VECTORS if vector["name"] == name)
    written = parse(vector["envelope"])
    key = DataKey(raw(GOLDEN["dataKey"]))
    assert (
        seal(raw(vector["secret"]), key, context_of(vector), written.wrapped, written.token.nonce) == vector["envelope"]
    )


@given(secret=st.binary(max_size=4096), name=st.text(max_size=60), port=st.integers(1, 65_535))
def test_what_was_sealed_opens(secret, name, port):
    """Sealing and opening give the secret back, whatever is in it and in the context."""
    context = dataclasses.replace(
        PROVEN, name=name, endpoint=dataclasses.replace(CONTEXT.endpoint, port=port, database=name)
    )
    try:
        text = seal(secret, KEY, context, WRAPPED, os.urandom(12))
    except UnicodeEncodeError:  # lone surrogates: nothing that JSON from an API server can hold
        return
    assert outcome(text, context) == secret
    assert printed(parse(text)) == text


def test_two_seals_of_one_secret_differ():
    """Equal passwords cannot be told from their envelopes: the nonces differ, and all that follows."""
    one, two = (seal(SECRET, KEY, PROVEN, WRAPPED, nonce) for nonce in (b"a" * 12, b"b" * 12))
    assert [a == b for a, b in zip(one.split("."), two.split("."), strict=True)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("length", [0, 11, 13, 16])
def test_a_nonce_of_another_length_is_not_used(length):
    """Only 96-bit nonces: others are hashed by GCM, and we would not parse them."""
    with pytest.raises(ValueError, match="nonce"):
        seal(SECRET, KEY, CONTEXT, WRAPPED, bytes(length))


@pytest.mark.parametrize("sealed", [SEALED_V1, SEALED], ids=["v1", "v2"])
def test_every_flipped_bit_is_noticed(sealed):
    """No single bit of the header (ctx, kid, rk, wk), nonce, ciphertext or tag can change and still open."""
    parts = sealed.split(".")
    newer = set()
    for index in (0, 2, 3, 4):
        whole = raw(parts[index])
        for bit in range(len(whole) * 8):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            text = ".".join([*parts[:index], b64url(bytes(changed)), *parts[index + 1 :]])
            found = outcome(text)
            if found is Reason.NEWER_FORMAT:
                newer.add(bytes(changed)[whole.index(b"openscale-byok.v") :][:17])
            else:
                assert found is Reason.TAMPERED, f"part {index}, bit {bit}: {found!r}"
    assert newer <= {b"openscale-byok.v%d" % n for n in range(3, 10)}


@pytest.mark.parametrize("field", ["instance", "kind", "namespace", "name", "field"])
def test_copied_from_another_object(field):
    """A genuine envelope of another data mart, namespace, instance, kind or field is `ContextMismatch`."""
    assert outcome(SEALED, dataclasses.replace(PROVEN, **{field: "another"})) is Reason.CONTEXT_MISMATCH


@pytest.mark.parametrize(
    "to", [{"type": "Db2"}, {"host": "evil"}, {"port": 1}, {"database": "x"}, {"username": "x"}], ids=str
)
def test_sent_to_another_endpoint(to):
    """A genuine envelope of this very object does not open for another endpoint: `EndpointChanged`."""
    elsewhere = dataclasses.replace(PROVEN, endpoint=dataclasses.replace(CONTEXT.endpoint, **to))
    assert outcome(SEALED, elsewhere) is Reason.ENDPOINT_CHANGED
    assert outcome(SEALED_V1, elsewhere) is Reason.ENDPOINT_CHANGED
    assert outcome(SEALED, dataclasses.replace(elsewhere, name="another")) is Reason.CONTEXT_MISMATCH


BUNDLES = ("", "A" * 43, "B" * 43)
PROOFS = [Proof(tls, ca) for tls in TLS_MODES for ca in (BUNDLES if tls == "VerifyFull" else ("",))]


@pytest.mark.parametrize("was", PROOFS, ids=str)
@pytest.mark.parametrize("now", PROOFS, ids=str)
def test_a_proof_is_raised_and_never_lowered(was, now):
    """A lower mode, and at VerifyFull any other bundle, none, or one where there was none, needs the password anew."""
    rank = {mode: place for place, mode in enumerate(TLS_MODES)}
    expected = None
    if rank[now.tls] < rank[was.tls]:
        expected = Departure.TLS
    elif was.tls == "VerifyFull" and now.ca != was.ca:
        expected = Departure.CA_BUNDLE
    assert lowered(was, now) is expected
    given, asks = dataclasses.replace(CONTEXT, proof=was), dataclasses.replace(CONTEXT, proof=now)
    found = outcome(seal(SECRET, KEY, given, WRAPPED, bytes(12)), asks)
    assert found == (SECRET if expected is None else Reason.ENDPOINT_CHANGED)


def test_raised_and_lowered_again_is_as_it_was_given():
    """What is allowed depends on what the secret was given for, and on no way that led there."""
    for was, between, now in itertools.product(PROOFS, repeat=3):
        if lowered(was, between) is None and lowered(between, now) is None:
            assert lowered(was, now) is None, "two steps up are never one step down"
        assert lowered(was, was) is None, "back to what it was given for"


def test_the_modes_are_those_of_the_data_mart_from_the_lowest_up():
    """Each mode that a spec may name has its place in the order."""
    assert tuple(reversed(get_args(Database.model_fields["tls"].annotation))) == TLS_MODES


def test_a_v1_says_nothing_of_a_proof():
    """It opens for whatever its object says of that, as it always did: nothing else would open it for ever."""
    for proof in (None, *PROOFS):
        assert outcome(SEALED_V1, dataclasses.replace(CONTEXT, proof=proof)) == SECRET
    assert departure(CONTEXT, dataclasses.replace(PROVEN, name="x")) is Departure.OBJECT


def test_a_mismatch_is_only_said_of_what_was_really_written():
    """A forged context is `Tampered`, never `ContextMismatch` or `EndpointChanged`: their cures differ."""
    header = json.loads(raw(SEALED.split(".")[0]))
    header["ctx"]["endpoint"]["host"] = "evil"
    forged = b64url(jwe.canonical(header)) + "." + SEALED.split(".", 1)[1]
    assert outcome(forged) is Reason.TAMPERED
    with pytest.raises(Refused) as before_it_was_opened:
        compare(parse(forged), PROVEN)
    assert before_it_was_opened.value.reason is Reason.ENDPOINT_CHANGED


def test_another_data_key_opens_nothing():
    """The id in the envelope and the key must fit, and a key under another's id does not verify."""
    other = DataKey(bytes(32))
    assert outcome(SEALED, key=other) is Reason.TAMPERED
    other.id = KEY.id
    assert outcome(SEALED, key=other) is Reason.TAMPERED


def test_an_envelope_under_a_key_that_it_does_not_name():
    """What verifies under a key but names another is `Tampered`: the named id is what retirement counts on."""
    header = json.loads(raw(SEALED.split(".")[0])) | {"kid": DataKey(bytes(32)).id}
    assert outcome(jwe.encrypt(header, KEY.aead, bytes(12), SECRET)) is Reason.TAMPERED


@pytest.mark.parametrize("sealed", [SEALED_V1, SEALED], ids=["v1", "v2"])
def test_joserfc_opens_it(sealed):
    """An independent JOSE library opens our envelope with the data key alone (first of two)."""
    registry = joserfc_jwe.JWERegistry(algorithms=["dir", "A256GCM"], strict_check_header=False)
    found = joserfc_jwe.decrypt_compact(sealed, joserfc_jwk.OctKey.import_key(KEY.reveal()), registry=registry)
    assert found.plaintext == SECRET
    assert found.protected["kid"] == KEY.id


@pytest.mark.parametrize("sealed", [SEALED_V1, SEALED], ids=["v1", "v2"])
def test_jwcrypto_opens_it(sealed):
    """An independent JOSE library opens our envelope with the data key alone (second of two)."""
    token = jwcrypto.jwe.JWE(algs=["dir", "A256GCM"])
    token.deserialize(sealed, jwcrypto.jwk.JWK(kty="oct", k=b64url(KEY.reveal())))
    assert token.payload == SECRET


def test_secrets_show_in_no_repr_and_no_error():
    """Neither the password, the data key nor the wrapped key is in any repr or text of an exception."""
    envelope = parse(SEALED)
    texts = [repr(envelope), repr(KEY), str(KEY), f"{KEY!r:>9}", repr(WRAPPED), repr(envelope.wrapped)]
    for text in (SEALED[:-1], SEALED + ".", SEALED.replace("..", ".AA."), "CANARY", "CANARY....", SEALED[9:]):
        with pytest.raises(Refused) as refused:
            open_(parse(text), KEY, PROVEN)
        texts += [str(refused.value), repr(refused.value), str(refused.value.__cause__)]
    for context, key in ((dataclasses.replace(PROVEN, name="x"), KEY), (PROVEN, DataKey(bytes(32)))):
        with pytest.raises(Refused) as refused:
            open_(envelope, key, context)
        texts += [str(refused.value), repr(refused.value)]
    for text in texts:
        assert "CANARY" not in text
        assert KEY.reveal().hex() not in text
        assert repr(KEY.reveal()) not in text


def check_parser(text: str) -> None:
    """What parses prints to the same bytes; all else is `Refused` for one of two reasons, in our words."""
    try:
        envelope = parse(text)
    except Refused as error:
        refused = error
    else:
        assert printed(envelope) == text
        return
    assert refused.reason in {Reason.TAMPERED, Reason.NEWER_FORMAT}
    assert len(refused.message) < 120


def spliced(source: str, at: int, cut: int, insert: str) -> str:
    at %= len(source) + 1
    return source[:at] + insert + source[at + cut :]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400)
@given(
    text=st.text() | st.text(alphabet=ALPHABET + "..=+/ \n") | st.from_regex(r"[\w-]*\.\.[\w-]{16}\.[\w-]*\.[\w-]{22}")
)
def test_arbitrary_text_is_only_ever_refused(text):
    """The parser meets any text with a refusal, never with another exception."""
    check_parser(text)


@settings(max_examples=400)
@given(
    edits=st.lists(st.tuples(st.integers(0), st.integers(0, 40), st.text(ALPHABET + ".=\n", max_size=8)), max_size=4)
)
def test_mutated_envelopes_are_only_ever_refused(edits):
    """Cuts and insertions anywhere in a genuine envelope are refused, or print as they were read."""
    text = SEALED
    for edit in edits:
        text = spliced(text, *edit)
    check_parser(text)


@settings(max_examples=400)
@given(
    changes=st.dictionaries(st.sampled_from(["alg", "enc", "typ", "kid", "ctx", "rk", "wk", "crit"]), JSON, max_size=3),
    context=st.dictionaries(st.sampled_from(["instance", "name", "field", "endpoint", "uid"]), JSON, max_size=2),
    endpoint=st.dictionaries(st.sampled_from(["type", "host", "port", "database", "tls"]), JSON, max_size=2),
)
def test_any_header_is_only_ever_refused(changes, context, endpoint):
    """A header of any JSON at all in any of its fields is refused, or prints as it was read."""
    header = json.loads(raw(SEALED.split(".")[0]))
    header["ctx"]["endpoint"] |= endpoint
    header["ctx"] |= context
    check_parser(
        b64url(json.dumps(header | changes, sort_keys=True, separators=(",", ":")).encode())
        + SEALED[SEALED.index(".") :]
    )


def test_every_byte_mutated():
    """Each character in turn replaced, doubled and dropped: refused, or prints as it was read."""
    for at, to in itertools.product(range(len(SEALED)), "A9_-.=\0ü"):
        check_parser(SEALED[:at] + to + SEALED[at + 1 :])
    for at in range(len(SEALED)):
        check_parser(SEALED[:at] + SEALED[at + 1 :])
        check_parser(SEALED[:at] + SEALED[at] + SEALED[at:])
