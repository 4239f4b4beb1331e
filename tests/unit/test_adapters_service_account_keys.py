"""Whose signature is on a token, by the keys that a cluster publishes: what it says is believed of no other token."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from openscale_byok.adapters.service_account_keys import ASK_AGAIN_SECONDS, FRESH_SECONDS, PATH, ServiceAccountKeys
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason

RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())
SUBJECT = "system:serviceaccount:team:app"


class Cluster:
    """Publishes keys, and counts how often it is asked."""

    def __init__(self) -> None:
        self.answer: Any = {"keys": [jwk(RSA, "rsa"), jwk(EC, "ec")]}
        self.asked: list[tuple[str, str]] = []
        self.seconds = 0.0

    async def call(self, method: str, path: str) -> Any:
        self.asked.append((method, path))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.now(UTC)


def jwk(key: Any, name: str) -> dict[str, Any]:
    """A public key, as an API server publishes it."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    found = json.loads(algorithm.to_jwk(key.public_key()))
    return {**found, "kid": name, "use": "sig", "alg": "RS256" if key is not EC else "ES256"}


def token(key: Any = RSA, name: str = "rsa", algorithm: str = "RS256", **other: Any) -> str:
    """A token; claims that are None are left out."""
    claims = {"sub": SUBJECT, "aud": ["openscale-byok"], "exp": time.time() + 600, "iss": "https://cluster"} | other
    kept = {key: value for key, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm, {"kid": name})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def keys(cluster: Cluster):
    made = ServiceAccountKeys(cluster, ("openscale-byok", "b"), cluster)
    await made.refresh()
    yield made
    await made.close()


async def test_a_token_of_the_clusters_names_its_subject(keys, cluster):
    """By either kind of key, for any audience of ours; nobody is asked for that."""
    assert keys.signer(token()) == SUBJECT
    assert keys.signer(token(EC, "ec", "ES256", aud=["x", "b"])) == SUBJECT
    assert cluster.asked == [("GET", PATH)]


@pytest.mark.parametrize(
    "made",
    [
        lambda: token(OTHER),
        lambda: token(name="ec"),
        lambda: token(EC, "rsa", "ES256"),
        lambda: token("s" * 32, algorithm="HS256"),
        lambda: token(None, algorithm="none"),
        lambda: token(aud="https://kubernetes.default.svc"),
        lambda: token(aud=None),
        lambda: token(exp=time.time() - 60),
        lambda: token(exp=None),
        lambda: token(sub=None),
        lambda: token(nbf=time.time() + 600),
        lambda: token()[:-6] + "AAAAAA",
        lambda: "a.b.c",
        lambda: "",
        lambda: "[" * 10_000,
    ],
)
async def test_every_other_token_names_nobody(keys, made):
    """Whatever is odd about it: then it waits as strangers do."""
    assert keys.signer(made()) == ""


async def test_made_up_keys_cost_the_api_server_little(keys, cluster):
    """A key that is not at hand is asked for at most once in ASK_AGAIN_SECONDS; a new one is found that way."""
    for _ in range(3):
        for n in range(100):
            assert keys.signer(token(OTHER, f"made-up-{n}")) == ""
            await asyncio.sleep(0)
        cluster.seconds += ASK_AGAIN_SECONDS
    assert len(cluster.asked) <= 3
    cluster.answer = {"keys": [jwk(OTHER, "new")]}
    assert keys.signer(token(OTHER, "new")) == "", "it is asked for meanwhile"
    await asyncio.sleep(0)
    assert keys.signer(token(OTHER, "new")) == SUBJECT
    assert keys.signer(token()) == "", "what is published no more counts no more"


async def test_a_withdrawn_key_counts_no_longer_than_keys_are_kept(keys, cluster):
    """Once keys are older than FRESH_SECONDS they are asked for again, while what is known serves on."""
    cluster.answer = {"keys": []}
    cluster.seconds = FRESH_SECONDS
    assert keys.signer(token()) == SUBJECT
    await asyncio.sleep(0)
    assert keys.signer(token()) == ""


@pytest.mark.parametrize(
    "answer",
    [
        Unavailable(Reason.CLUSTER_UNAVAILABLE, "away"),
        Refused(Reason.CLUSTER_UNAVAILABLE, "forbidden"),
        ValueError("no JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_without_an_answer_what_is_known_stays(keys, cluster, answer):
    """And nobody who asks is told of it."""
    cluster.answer = answer
    await keys.refresh()
    assert keys.signer(token()) == SUBJECT


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"keys": None}, {"keys": ["x", {"kid": 1}, {"kid": "a", "kty": "oct"}]}]
)
async def test_an_answer_that_is_none_of_a_jwks_names_nobody(keys, cluster, answer):
    """As if there were no keys."""
    cluster.answer = answer
    await keys.refresh()
    assert keys.signer(token()) == ""
