"""IAM's tokens behind the port `Reviews`: real HTTP, the emulator's IAM, and every token that is not one of its own.

For tokens that IAM would never issue, the emulator serves public keys whose private halves are ours.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from key_protect_emulator.control import Emulator
from openscale_byok.adapters.iam_keys import ASK_AGAIN_SECONDS, FRESH_SECONDS, KEPT_SECONDS
from openscale_byok.adapters.iam_tokens import LEEWAY_SECONDS, IamTokens, issuers_of
from openscale_byok.adapters.reviews import AskedReviews
from openscale_byok.core.caller import Caller
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import TABLE, Reason

KID = "a-key"
MARKER = "marker-that-nobody-may-repeat"


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, epoch: float) -> None:
        self.epoch, self.seconds = epoch, 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch, UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class NobodysTokens:
    """An API server that knows no token, and remembers for which it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def review(self, kind: str, spec: Mapping[str, Any]) -> Any:
        self.asked.append(spec["token"])
        return {"authenticated": False, "user": {}}


class NoKeys:
    """Of a cluster that publishes none."""

    def signer(self, token: str) -> str:
        return "" if token else "nobody"


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(key: rsa.RSAPrivateKey, kid: str = KID, **other: str) -> dict[str, Any]:
    """The public half, as IAM lists it."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {"kty": "RSA", "n": public["n"], "e": public["e"], "alg": "RS256", "use": "sig", "kid": kid} | other


OURS, STRANGERS = new_key(), new_key()


class Signer:
    """Whoever holds IAM's private key: they can say anything."""

    def __init__(self, emulator: Emulator, now: float) -> None:
        self.emulator, self.now = emulator, now
        self.serve(jwk(OURS))

    def serve(self, *keys: dict[str, Any]) -> None:
        """What IAM's address for public keys answers from now on."""
        self.emulator.clear_faults("iam.keys")
        body = json.dumps({"keys": keys})
        self.emulator.fault("iam.keys", status=200, body=body, content_type="application/json")

    def claims(self, **other: Any) -> dict[str, Any]:
        """Those of a good token, some of them changed; None takes one out."""
        issuer = f"{self.emulator.iam_url}/identity"
        good = {"iss": issuer, "iam_id": "iam-ServiceId-1", "sub": "ServiceId-1", "iat": self.now, "exp": self.now + 60}
        return {name: value for name, value in (good | other).items() if value is not None}

    def token(self, key: rsa.RSAPrivateKey = OURS, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        return jwt.encode(self.claims(**claims), key, "RS256", {"kid": KID} | dict(header or {}))

    def raw(self, header: Mapping[str, Any], payload: str | None = None, signature: bytes | None = None) -> str:
        """A token made by hand, signed with IAM's own key unless it is signed otherwise."""
        parts = [json.dumps(header), json.dumps(self.claims()) if payload is None else payload]
        signed = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
        if signature is None:
            signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed.encode(), OURS)
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def hs256_with_the_public_key(self) -> str:
        """The confusion of 2015: the public key, which everybody knows, as an HMAC secret."""
        pem = OURS.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        unsigned = self.raw({"alg": "HS256", "kid": KID, "typ": "JWT"}, signature=b"").rstrip(".")
        digest = hmac.new(pem, unsigned.encode(), hashlib.sha256).digest()
        return f"{unsigned}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@pytest.fixture
def clock(emulator: Emulator) -> Clock:
    return Clock(float(int(emulator.now())))  # whole seconds: a timestamp rounds the rest


@pytest.fixture
def signer(emulator: Emulator, clock: Clock) -> Signer:
    return Signer(emulator, clock.epoch)


@pytest.fixture
def api_server() -> NobodysTokens:
    return NobodysTokens()


@pytest.fixture
def tokens(session: aiohttp.ClientSession, emulator: Emulator, clock: Clock) -> IamTokens:
    return IamTokens(session, emulator.iam_url, clock)


@pytest.fixture
def reviews(api_server: NobodysTokens, tokens: IamTokens) -> AskedReviews:
    return AskedReviews(api_server, tokens, ("openscale-byok",), NoKeys())


async def refused(call) -> Refused:
    """The refusal that a call ends with: the same words for every bad token."""
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.reason is Reason.NOT_AUTHENTICATED
    assert caught.value.message == TABLE[Reason.NOT_AUTHENTICATED].meaning
    assert caught.value.trace
    assert caught.value.__cause__ is None
    return caught.value


async def unavailable(call) -> Unavailable:
    """What a call ends with while IAM is away."""
    with pytest.raises(Unavailable) as caught:
        await call
    assert caught.value.reason is Reason.IAM_UNAVAILABLE
    return caught.value


# Good ones ---------------------------------------------------------------------------------------------


async def test_a_token_that_iam_sells(emulator, reviews, clock, api_server):
    """An access token, bought with an API key, is the user iam:<iam_id>, in no group; IAM's keys are asked for once."""
    service_id = emulator.create_service_id()
    api_key = emulator.create_api_key(service_id)
    found = [await reviews.caller(emulator.token(api_key)) for _ in range(3)]
    assert found == [Caller(f"iam:iam-{service_id}", "iam")] * 3
    assert found[0].expires == pytest.approx(clock.epoch + 3600, abs=60)
    assert emulator.counts()["iam.keys"] == 1
    assert api_server.asked == [], "IAM's tokens are nobody else's business"


@pytest.mark.parametrize(
    "iam_id",
    [
        "IBMid-270003GUSX",
        "iam-Profile-9fd84246-7df4-4667-94e4-8ecde51d5ac5",
        "crn-crn:v1:bluemix:public:x:us::::",
        "a@b",
    ],
)
async def test_every_sort_of_identity(signer, reviews, iam_id):
    """Users, service IDs, trusted profiles and services: each is named as IAM names it."""
    assert (await reviews.caller(signer.token(iam_id=iam_id))).user == f"iam:{iam_id}"


@pytest.mark.parametrize("name", ["groups", "group", "roles", "user", "extra", "username", "sub"])
async def test_no_claim_makes_it_a_group_or_another_user(signer, reviews, name):
    """Whoever has IAM issue claims of their choice is who `iam_id` says, in no group of the cluster."""
    caller = await reviews.caller(signer.token(**{name: ["system:masters"] if name != "sub" else "system:masters"}))
    assert (caller.user, caller.groups, caller.extra) == ("iam:iam-ServiceId-1", (), ())


@pytest.mark.parametrize("claims", [{"exp": -1.0}, {"iat": 9.0, "exp": 60.0}, {"nbf": 9.0}, {"exp": 1.5}], ids=str)
async def test_clocks_differ_a_little(signer, reviews, claims):
    """By so much a token may be over or from the future."""
    assert await reviews.caller(signer.token(**{name: signer.now + value for name, value in claims.items()}))


def test_the_issuers_of_ibm():
    """IBM's addresses are one IAM, also over its private network; of another address, only its own issuer counts."""
    ibm = {"https://iam.cloud.ibm.com/identity", "https://private.iam.cloud.ibm.com/identity"}
    assert issuers_of("https://iam.cloud.ibm.com") == ibm
    assert issuers_of("https://private.iam.cloud.ibm.com/") == ibm
    regional = "https://private.us-south.iam.cloud.ibm.com"
    assert issuers_of(regional) == ibm | {f"{regional}/identity"}
    for other in ("http://127.0.0.1:8081", "https://xiam.cloud.ibm.com", "https://iam.cloud.ibm.com.example.com"):
        assert issuers_of(other) == {f"{other}/identity"}


# Bad ones ----------------------------------------------------------------------------------------------

BAD = {
    "alg none": lambda s: s.raw({"alg": "none", "kid": KID}, signature=b""),
    "alg None": lambda s: s.raw({"alg": "None", "kid": KID}),
    "no alg": lambda s: s.raw({"kid": KID}),
    "alg a list": lambda s: s.raw({"alg": ["RS256"], "kid": KID}),
    "HS256 with the public key": lambda s: s.hs256_with_the_public_key(),
    "RS512": lambda s: jwt.encode(s.claims(), OURS, "RS512", {"kid": KID}),
    "PS256": lambda s: jwt.encode(s.claims(), OURS, "PS256", {"kid": KID}),
    "signed by another": lambda s: s.token(STRANGERS),
    "signed by nobody": lambda s: s.raw({"alg": "RS256", "kid": KID}, signature=b""),
    "changed": lambda s: _changed(s.token()),
    "a key of its own in the header": lambda s: s.token(STRANGERS, {"jwk": jwk(STRANGERS)}),
    "a key elsewhere in the header": lambda s: s.token(STRANGERS, {"jku": "https://example.com/keys"}),
    "another key": lambda s: s.token(header={"kid": "another"}),
    "no key": lambda s: s.raw({"alg": "RS256"}),
    "a key that is no text": lambda s: s.raw({"alg": "RS256", "kid": 1}),
    "critical": lambda s: s.raw({"alg": "RS256", "kid": KID, "crit": ["exp"]}),
    "detached": lambda s: s.raw({"alg": "RS256", "kid": KID, "b64": False, "crit": ["b64"]}),
    "expired": lambda s: s.token(exp=s.now - LEEWAY_SECONDS),
    "expired long ago": lambda s: s.token(exp=0),
    "from the future": lambda s: s.token(iat=s.now + LEEWAY_SECONDS + 1, exp=s.now + 99),
    "not yet": lambda s: s.token(nbf=s.now + LEEWAY_SECONDS + 1),
    "no end": lambda s: s.token(exp=None),
    "no beginning": lambda s: s.token(iat=None),
    "an end that is text": lambda s: s.token(exp=str(s.now + 60)),
    "an end that is true": lambda s: s.token(exp=True),
    "an end that is NaN": lambda s: s.token(exp=float("nan")),
    "an infinite end": lambda s: s.token(exp=float("inf")),
    "an end beyond numbers": lambda s: s.token(exp=10**400),
    "a beginning that is true": lambda s: s.token(iat=True),
    "a beginning that is NaN": lambda s: s.token(iat=float("nan")),
    "a start that is null": lambda s: s.raw({"alg": "RS256", "kid": KID}, json.dumps(s.claims() | {"nbf": None})),
    "no iam_id": lambda s: s.token(iam_id=None),
    "an empty iam_id": lambda s: s.token(iam_id=""),
    "an iam_id that is a list": lambda s: s.token(iam_id=["iam-ServiceId-1"]),
    "an iam_id on two lines": lambda s: s.token(iam_id="iam-ServiceId-1\n"),
    "an iam_id with spaces": lambda s: s.token(iam_id="iam-ServiceId-1 admin"),
    "an iam_id that does not end": lambda s: s.token(iam_id="a" * 300),
    "no issuer": lambda s: s.token(iss=None),
    "another issuer": lambda s: s.token(iss="https://iam.example.com/identity"),
    "an issuer that begins as IAM's": lambda s: s.token(iss=f"{s.emulator.iam_url}/identity/x"),
    "an issuer that is a list": lambda s: s.raw(
        {"alg": "RS256", "kid": KID}, json.dumps(s.claims() | {"iss": [f"{s.emulator.iam_url}/identity"]})
    ),
    "claims that are a list": lambda s: s.raw({"alg": "RS256", "kid": KID}, json.dumps([s.claims()])),
    "claims that do not end": lambda s: s.raw({"alg": "RS256", "kid": KID}, "[" * 8_000),
    "a header that does not end": lambda s: "W1tb" * 2_000 + "." + s.token().split(".", 1)[1],
    "two parts": lambda s: s.token().rpartition(".")[0],
    "four parts": lambda s: s.token() + ".AAAA",
    "100 kB": lambda s: s.token(more="x" * 100_000),
    "empty": lambda s: "",
    "garbage": lambda s: "garbage",
    "dots": lambda s: "..",
    "two tokens": lambda s: f"{s.token()} {s.token()}",
    "a line break": lambda s: s.token() + "\n",
    "no text": lambda s: s.token() + "\udcff",
    "letters beyond ASCII": lambda s: s.token() + "é",
}


def _changed(token: str) -> str:
    """Another identity in the same token."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps(claims | {"iam_id": "IBMid-1"}).encode()).decode().rstrip("=")
    return f"{header}.{other}.{signature}"


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_and_told_nothing(signer, reviews, tokens, name):
    """The same words for each, none of the token's own; the good one beside it is let in."""
    token = BAD[name](signer)
    errors = [await refused(reviews.caller(token))]
    if len(token) < 16_000 and re.fullmatch(r"[\w.-]*", token, re.ASCII):
        # Also where the issuer that it names had not sent it elsewhere.
        errors.append(await refused(tokens.caller(token)))
    for error in errors:
        assert not token or token[-40:] not in f"{error!r}{error.trace}{error.__context__!r}"
        assert "\n" not in error.trace
    assert await reviews.caller(signer.token())


async def test_what_iam_did_not_issue_is_for_the_api_server(signer, reviews, api_server):
    """Only the issuer chooses who is asked; and nobody is asked about what cannot be a token."""
    other, none = signer.token(iss="https://kubernetes.default.svc"), signer.token(iss=None)
    opaque = "sha256~opaque-token"
    for token in (signer.token(STRANGERS), other, none, opaque, "x" * 20_000, "two words", ""):
        await refused(reviews.caller(token))
    assert api_server.asked == [other, none, opaque]


# IAM's keys --------------------------------------------------------------------------------------------


async def test_a_new_key_is_found_and_a_withdrawn_one_is_gone(signer, reviews, clock, emulator):
    """IAM rotates: tokens by the new key are good at once, by one call; from then on the former key's are not."""
    await reviews.caller(signer.token())
    clock.seconds += ASK_AGAIN_SECONDS
    signer.serve(jwk(STRANGERS, "new"))
    emulator.reset_counts()
    await asyncio.gather(*(reviews.caller(signer.token(STRANGERS, {"kid": "new"})) for _ in range(20)))
    assert emulator.counts()["iam.keys"] == 1
    await refused(reviews.caller(signer.token()))


async def test_a_key_that_is_withdrawn_leaves_by_itself(signer, reviews, clock):
    """Nobody has to name a new one: after FRESH_SECONDS IAM is asked what its keys are."""
    await reviews.caller(signer.token())
    signer.serve(jwk(STRANGERS, "new"))
    clock.seconds = FRESH_SECONDS - 1
    assert await reviews.caller(signer.token(exp=signer.now + 9e3))
    clock.seconds = FRESH_SECONDS
    await refused(reviews.caller(signer.token(exp=signer.now + 9e3)))


async def test_made_up_keys_cost_iam_little(signer, reviews, clock, emulator):
    """A thousand tokens that name a thousand keys are one call in ASK_AGAIN_SECONDS, however they come."""
    await reviews.caller(signer.token())
    clock.seconds = ASK_AGAIN_SECONDS
    emulator.reset_counts()
    made_up = [signer.raw({"alg": "RS256", "kid": f"made-up-{n}"}, signature=b"x") for n in range(1_000)]
    for token in made_up[:10]:
        await refused(reviews.caller(token))
    await asyncio.gather(*(refused(reviews.caller(token)) for token in made_up[10:]))
    assert emulator.counts()["iam.keys"] == 1
    clock.seconds += ASK_AGAIN_SECONDS
    await asyncio.gather(*(refused(reviews.caller(token)) for token in made_up))
    assert emulator.counts()["iam.keys"] == 2


async def test_iam_is_away(signer, reviews, clock, emulator):
    """Known keys serve for KEPT_SECONDS after they were learned, then nothing does; it comes back by itself."""
    long = signer.token(exp=signer.now + 2 * KEPT_SECONDS)
    assert await reviews.caller(long)
    emulator.clear_faults()
    emulator.fault("iam.keys", status=503, body=MARKER)
    emulator.reset_counts()
    clock.seconds = KEPT_SECONDS - 1
    assert [await reviews.caller(long) for _ in range(5)]
    assert emulator.counts()["iam.keys"] == 1
    await unavailable(reviews.caller(signer.token(header={"kid": "new"}))), "it may be good: nobody can say"
    clock.seconds = KEPT_SECONDS
    for _ in range(3):
        assert MARKER not in repr(await unavailable(reviews.caller(long)))
    signer.serve(jwk(OURS))
    clock.seconds += ASK_AGAIN_SECONDS
    assert await reviews.caller(long)


async def test_iam_was_never_reached(signer, reviews, clock, emulator):
    """Without any key no token is good, and none is bad: it is asked again, and not at every request."""
    emulator.clear_faults()
    emulator.fault("iam.keys", drop=True)
    emulator.reset_counts()
    for _ in range(5):
        await unavailable(reviews.caller(signer.token()))
    assert emulator.counts().get("iam.keys", 0) <= 2, "once, or twice where a connection at hand turned out to be cut"
    signer.serve(jwk(OURS))
    await unavailable(reviews.caller(signer.token()))
    clock.seconds = ASK_AGAIN_SECONDS
    assert await reviews.caller(signer.token())


async def test_iam_asks_for_patience(signer, reviews, clock, emulator):
    """A Retry-After is honoured."""
    emulator.clear_faults()
    emulator.fault("iam.keys", status=429, retry_after=60)
    await unavailable(reviews.caller(signer.token()))
    signer.serve(jwk(OURS))
    clock.seconds = 59.0
    await unavailable(reviews.caller(signer.token(exp=signer.now + 99)))
    clock.seconds = 60.0
    assert await reviews.caller(signer.token(exp=signer.now + 99))


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        "{}",
        '{"keys": null}',
        '{"keys": []}',
        '{"keys": [1, null, {}, {"kid": "a-key"}]}',
        json.dumps({"keys": [{"kty": "RSA", "kid": KID, "n": 1, "e": "AQAB"}]}),
        json.dumps({"keys": [{"kty": "RSA", "kid": KID, "n": "!", "e": "AQAB"}]}),
        json.dumps({"keys": [jwk(OURS, kty="oct"), jwk(OURS, use="enc"), jwk(OURS, alg="HS256")]}),
        json.dumps({"keys": [jwk(new_key(1024))]}),
        json.dumps({"keys": [{"kty": "oct", "kid": KID, "k": "c2VjcmV0"}]}),
    ],
    ids=lambda body: body[:30],
)
async def test_keys_that_are_none(signer, reviews, emulator, body):
    """An answer without a key of IAM's sort is no answer: nothing becomes good by it, or bad."""
    emulator.clear_faults()
    emulator.fault("iam.keys", status=200, body=body, content_type="application/json")
    error = await unavailable(reviews.caller(signer.token()))
    assert KID not in repr(error)


async def test_a_strange_key_beside_a_good_one(signer, reviews):
    """What IAM may list some day does not keep today's tokens out."""
    signer.serve({"kty": "EC", "kid": "ec", "crv": "P-256"}, {"kid": 7}, jwk(new_key(1024), "small"), jwk(OURS))
    assert await reviews.caller(signer.token())
    await refused(reviews.caller(signer.token(header={"kid": "small"})))


async def test_whose_token_it_is_shows_before_anybody_is_asked(reviews, signer, clock):
    """Once IAM's keys are at hand, a good token names its user by itself; every other one names nobody, and IAM is
    asked for nothing."""
    assert reviews.signer(signer.token()) == ""
    await reviews.caller(signer.token())
    assert reviews.signer(signer.token()) == "iam:iam-ServiceId-1"
    signer.emulator.fault("iam.keys", status=500, body="")
    bad = (
        signer.token(STRANGERS), signer.token(header={"kid": "another"}), signer.token(exp=signer.now - 60),
        signer.token(iss="https://iam.example.com/identity"), signer.hs256_with_the_public_key(), "garbage", "",
    )  # fmt: skip
    assert [reviews.signer(token) for token in bad] == [""] * len(bad)
