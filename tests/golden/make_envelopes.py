"""Adds vectors to envelopes.json: `python tests/golden/make_envelopes.py`.

Vectors are only ever added: one whose name is there already is left as it is, even when this script would now
write another. What an envelope once meant it means for as long as anyone may hold one.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from openscale_byok.crypto import jwe
from openscale_byok.crypto.context import Context, Endpoint, Proof
from openscale_byok.crypto.data_key import DataKey, b64url
from openscale_byok.crypto.envelope import Wrapped, seal

FILE = Path(__file__).with_name("envelopes.json")
KEY = DataKey(bytes(range(32)))
OTHER_KEY = DataKey(bytes(range(32, 64)))
NONCE = bytes(range(12))
ROOT_KEY = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-3333-4444-555555555555:key:66666666-7777-8888-9999-aaaaaaaaaaaa"
)
POSTGRES = Endpoint("PostgreSQL", "db.example.com", 5432, "payload", "openscale")
CONTEXT = Context(
    instance="00000000-1111-2222-3333-444444444444",
    kind="DataMart",
    namespace="team-a",
    name="credit-risk",
    field="spec.database.password",
    endpoint=POSTGRES,
)
CA = b64url(bytes(range(64, 96)))
OTHER_CA = b64url(bytes(range(96, 128)))
WRAPPED = Wrapped(ROOT_KEY, base64.b64encode(b"a data key as Key Protect wrapped it").decode())
SECRET = b"correct horse battery staple"


def moved(**changes: Any) -> Context:
    """The context with another endpoint."""
    return replace(CONTEXT, endpoint=replace(POSTGRES, **changes))


def proven(tls: str, ca: str = "", context: Context = CONTEXT) -> Context:
    """The context with a proof of its endpoint, as from v2 on."""
    return replace(context, proof=Proof(tls, ca))


def again(text: str, **changes: Any) -> str:
    """The envelope with another header, which its tag does not cover."""
    first, rest = text.split(".", 1)
    header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    header |= {name: value for name, value in changes.items() if value is not None}
    return (
        b64url(jwe.canonical({k: v for k, v in header.items() if k not in changes or changes[k] is not None}))
        + "."
        + rest
    )


def printed(raw: bytes, text: str) -> str:
    """The envelope with a header of these bytes."""
    return b64url(raw) + "." + text.split(".", 1)[1]


def with_part(text: str, index: int, part: str) -> str:
    """The envelope with one of its five parts replaced."""
    parts = text.split(".")
    parts[index] = part
    return ".".join(parts)


def flipped(part: str) -> str:
    """The part with its first bit flipped."""
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    return b64url(bytes([raw[0] ^ 0x80]) + raw[1:])


def opening() -> list[dict[str, Any]]:
    """Envelopes that open."""
    db2 = moved(type="Db2", host="2001:db8::1", port=50001, database="BLUDB", username="jürgen")
    cases = [
        ("a password of a PostgreSQL data mart", SECRET, CONTEXT, WRAPPED),
        ("names that are not ASCII", "pässwörd ☃".encode(), replace(db2, name="größe"), WRAPPED),
        ("under the global key", SECRET, CONTEXT, Wrapped("global", "v1:" + "A" * 64)),
        ("a wrapped key of 400 bytes", SECRET, CONTEXT, Wrapped(ROOT_KEY, "B" * 536)),
        ("the longest password", b"x" * 4096, CONTEXT, WRAPPED),
        ("nothing sealed", b"", CONTEXT, WRAPPED),
        ("a secret that is no text", bytes(range(256)), CONTEXT, WRAPPED),
        ("quotes and a newline in a name", SECRET, moved(database='a"b\\c\nd'), WRAPPED),
    ]
    return [
        vector(name, "opens", seal(secret, KEY, context, wrapped, NONCE), context=context, secret=secret)
        for name, secret, context, wrapped in cases
    ]


def refused() -> list[dict[str, Any]]:
    """Envelopes of our shape that must not open."""
    text = seal(SECRET, KEY, CONTEXT, WRAPPED, NONCE)
    _, _, nonce, sealed, tag = text.split(".")
    other = replace(CONTEXT, name="fraud")
    tampered = [
        ("a bit of the nonce", with_part(text, 2, flipped(nonce)), CONTEXT),
        ("a bit of the ciphertext", with_part(text, 3, flipped(sealed)), CONTEXT),
        ("a bit of the tag", with_part(text, 4, flipped(tag)), CONTEXT),
        ("no ciphertext", with_part(text, 3, ""), CONTEXT),
        ("another root key", again(text, rk="global"), CONTEXT),
        ("another wrapped key", again(text, wk="AAAA"), CONTEXT),
        ("re-addressed to the one who asks", again(text, ctx=other.header()), other),
        ("re-addressed to another endpoint", again(text, ctx=moved(host="evil").header()), moved(host="evil")),
        ("sealed under another key", seal(SECRET, OTHER_KEY, CONTEXT, WRAPPED, NONCE), CONTEXT),
        (
            "another key's envelope under this key's id",
            again(seal(SECRET, OTHER_KEY, CONTEXT, WRAPPED, NONCE), kid=KEY.id),
            CONTEXT,
        ),
        ("this key's envelope under another's id", again(text, kid=OTHER_KEY.id), CONTEXT),
    ]
    mismatched = [
        ("of another data mart", other),
        ("of another namespace", replace(CONTEXT, namespace="team-b")),
        ("of another instance", replace(CONTEXT, instance="99999999-1111-2222-3333-444444444444")),
        ("of another kind", replace(CONTEXT, kind="IntegratedSystem")),
        ("of another field", replace(CONTEXT, field="spec.token")),
        ("of another data mart and endpoint", replace(moved(host="elsewhere"), name="fraud")),
    ]
    changes: list[dict[str, Any]] = [
        {"type": "Db2"},
        {"host": "db.example.org"},
        {"port": 5433},
        {"database": "other"},
        {"username": "root"},
    ]
    return [
        *(vector(name, "tampered", found, context=asker) for name, found, asker in tampered),
        *(vector(name, "context-mismatch", text, context=asker) for name, asker in mismatched),
        *(vector(f"another {next(iter(to))}", "endpoint-changed", text, context=moved(**to)) for to in changes),
        vector("a later format", "newer-format", again(text, typ="openscale-byok.v2")),
        vector("a much later format", "newer-format", again(text, typ="openscale-byok.v12", more=[1])),
    ]


def malformed() -> list[dict[str, Any]]:
    """Texts that we never write: each is refused before any key is touched."""
    text = seal(SECRET, KEY, CONTEXT, WRAPPED, NONCE)
    protected, _, nonce, sealed, tag = text.split(".")
    raw = base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4))
    header = json.loads(raw)
    accented = seal(SECRET, KEY, replace(CONTEXT, name="größe"), WRAPPED, NONCE)
    escaped = {**header, "ctx": header["ctx"] | {"name": "größe"}}
    context = header["ctx"]
    odd_bits = nonce[:-1] + "-"
    short_tag = b64url(base64.urlsafe_b64decode(tag + "==")[:12])

    def within(**changes: Any) -> str:
        return again(text, ctx=context | changes)

    def endpoint(**changes: Any) -> str:
        return within(endpoint=context["endpoint"] | changes)

    cases = {
        "empty": "",
        "dots": "....",
        "four-parts": f"{protected}.{nonce}.{sealed}.{tag}",
        "six-parts": text + ".",
        "encrypted-key": with_part(text, 1, "AAAA"),
        "trailing-newline": text + "\n",
        "leading-space": " " + text,
        "padding": with_part(text, 2, nonce + "="),
        "base64-not-url": with_part(text, 3, "+/+/"),
        "length-one-of-four": with_part(text, 3, "AAAAA"),
        "second-spelling-of-bits": with_part(text, 4, tag[:-1] + "x"),
        "odd-nonce": with_part(text, 2, odd_bits + "A"),
        "nonce-of-11-bytes": with_part(text, 2, b64url(NONCE[:11])),
        "nonce-of-16-bytes": with_part(text, 2, b64url(bytes(16))),
        "tag-of-12-bytes": with_part(text, 4, short_tag),
        "no-tag": with_part(text, 4, ""),
        "not-ascii": with_part(text, 3, "ü"),
        "too-long": with_part(text, 3, "A" * 32_768),
        "header-empty": with_part(text, 0, ""),
        "header-not-json": printed(b"{", text),
        "header-a-list": printed(b"[]", text),
        "header-null": printed(b"null", text),
        "header-not-utf8": printed(b'{"alg":"\xff"}', text),
        "header-with-bom": printed(b"\xef\xbb\xbf" + raw, text),
        "header-in-utf16": printed(raw.decode().encode("utf-16"), text),
        "header-with-spaces": printed(json.dumps(header, sort_keys=True).encode(), text),
        "header-unsorted": printed(json.dumps(dict(reversed(header.items())), separators=(",", ":")).encode(), text),
        "header-twice-the-same": printed(raw[:-1] + b',"wk":"AAAA"}', text),
        "header-escaped": printed(json.dumps(escaped, sort_keys=True, separators=(",", ":")).encode(), accented),
        "header-with-lone-surrogate": printed(raw.replace(b"credit-risk", b"\\ud800"), text),
        "header-nested-deeply": printed(b"[" * 20_000, text),
        "header-number-too-long": printed(b"1" * 5_000, text),
        "alg-none": again(text, alg="none"),
        "alg-a256kw": again(text, alg="A256KW"),
        "no-alg": again(text, alg=None),
        "enc-a128gcm": again(text, enc="A128GCM"),
        "compressed": again(text, zip="DEF"),
        "critical": again(text, crit=["exp"]),
        "no-typ": again(text, typ=None),
        "typ-foreign": again(text, typ="JWT"),
        "typ-zero": again(text, typ="openscale-byok.v0"),
        "typ-endless": again(text, typ="openscale-byok.v99999"),
        "typ-a-number": again(text, typ=1),
        "no-kid": again(text, kid=None),
        "kid-short": again(text, kid=KEY.id[:-1]),
        "kid-with-newline": again(text, kid=KEY.id + "\n"),
        "kid-a-list": again(text, kid=[KEY.id]),
        "no-rk": again(text, rk=None),
        "rk-a-number": again(text, rk=1),
        "no-wk": again(text, wk=None),
        "wk-empty": again(text, wk=""),
        "wk-too-long": again(text, wk="A" * 8_193),
        "no-ctx": again(text, ctx=None),
        "ctx-a-list": again(text, ctx=[1]),
        "ctx-a-text": again(text, ctx="endpoint"),
        "ctx-with-more": within(uid="1"),
        "ctx-name-a-number": within(name=1),
        "ctx-without-name": again(text, ctx={k: v for k, v in context.items() if k != "name"}),
        "endpoint-null": within(endpoint=None),
        "endpoint-with-more": endpoint(tls="Disable"),
        "port-a-text": endpoint(port="5432"),
        "port-a-truth": endpoint(port=True),
        "port-a-fraction": endpoint(port=5432.0),
        "port-not-a-number": endpoint(port=float("nan")),
        "username-null": endpoint(username=None),
    }
    return [vector(name.replace("-", " "), f"malformed-{name}", found) for name, found in cases.items()]


def with_proof() -> list[dict[str, Any]]:
    """What v2 added: how the endpoint is proven."""

    def row(name: str, expect: str, given: Context, asked: Context) -> dict[str, Any]:
        secret = SECRET if expect == "opens" else None
        return vector(f"v2: {name}", expect, seal(SECRET, KEY, given, WRAPPED, NONCE), context=asked, secret=secret)

    public, own, encrypted, plain = proven("VerifyFull"), proven("VerifyFull", CA), proven("Require"), proven("Disable")
    theirs = proven("VerifyFull", OTHER_CA)
    opens = [
        ("proven by public authorities", public, public),
        ("proven by an authority of one's own", own, own),
        ("encrypted only", encrypted, encrypted),
        ("not proven", plain, plain),
        ("raised from Disable", plain, encrypted),
        ("raised from Require", encrypted, public),
        ("raised from Require to any authority", encrypted, theirs),
        ("a v1 says nothing of it", CONTEXT, plain),
    ]
    departed = [
        ("lowered to Require", public, encrypted),
        ("lowered to Disable", public, plain),
        ("lowered from Require to Disable", encrypted, plain),
        ("an authority's bundle and lowered", own, plain),
        ("another bundle", own, theirs),
        ("a bundle taken out", own, public),
        ("a bundle where there was none", public, own),
        ("raised, and another endpoint", encrypted, proven("VerifyFull", context=moved(host="evil"))),
    ]
    text = seal(SECRET, KEY, own, WRAPPED, NONCE)
    return [
        *(row(name, "opens", given, asked) for name, given, asked in opens),
        *(row(name, "endpoint-changed", given, asked) for name, given, asked in departed),
        row("of another data mart, and lowered", "context-mismatch", own, replace(plain, name="fraud")),
        vector("v2: re-addressed to Disable", "tampered", again(text, ctx=plain.header()), context=plain),
        vector("v2: re-addressed to another bundle", "tampered", again(text, ctx=theirs.header()), context=theirs),
        vector("v2: the format after it", "newer-format", again(text, typ="openscale-byok.v3"), context=own),
    ]


def malformed_proof() -> list[dict[str, Any]]:
    """Proofs that we never write."""
    text = seal(SECRET, KEY, proven("VerifyFull", CA), WRAPPED, NONCE)
    header = json.loads(base64.urlsafe_b64decode(text.split(".")[0] + "=="))

    def proof(found: object) -> str:
        return again(text, ctx=header["ctx"] | {"proof": found})

    cases = {
        "v1-with-a-proof": again(text, typ="openscale-byok.v1"),
        "v2-without-a-proof": again(text, ctx=CONTEXT.header()),
        "proof-null": proof(None),
        "proof-a-list": proof(["VerifyFull", CA]),
        "proof-without-ca": proof({"tls": "VerifyFull"}),
        "proof-without-tls": proof({"ca": CA}),
        "proof-with-more": proof({"tls": "VerifyFull", "ca": CA, "name": "db"}),
        "tls-unknown": proof({"tls": "VerifyCA", "ca": CA}),
        "tls-a-number": proof({"tls": 2, "ca": CA}),
        "ca-null": proof({"tls": "VerifyFull", "ca": None}),
        "ca-short": proof({"tls": "VerifyFull", "ca": CA[:-1]}),
        "ca-with-newline": proof({"tls": "VerifyFull", "ca": CA + "\n"}),
        "ca-a-certificate": proof({"tls": "VerifyFull", "ca": "-----BEGIN CERTIFICATE-----"}),
    }
    return [vector(f"v2: {name.replace('-', ' ')}", f"malformed-{name}", found) for name, found in cases.items()]


def vector(
    name: str, expect: str, text: str, *, context: Context = CONTEXT, secret: bytes | None = None
) -> dict[str, Any]:
    """One row of the file."""
    row = {"name": name, "expect": expect, "envelope": text}
    asked = {} if context == CONTEXT else {"context": context.header()}
    return row | asked | ({} if secret is None else {"secret": b64url(secret)})


def main() -> None:
    """Add what is not there yet."""
    stored: dict[str, Any] = {"dataKey": b64url(KEY.reveal()), "context": CONTEXT.header(), "vectors": []}
    if FILE.exists():
        stored = json.loads(FILE.read_text("utf-8"))
    names = {row["name"] for row in stored["vectors"]}
    added = [
        row
        for row in (*opening(), *refused(), *malformed(), *with_proof(), *malformed_proof())
        if row["name"] not in names
    ]
    stored["vectors"] += added
    FILE.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(added)} vectors added, {len(names)} left as they were")


if __name__ == "__main__":
    main()
