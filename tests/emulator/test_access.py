"""Who may do what: tokens, roles, keys granted one by one, accounts."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from key_protect_emulator.control import EmulatorError

DENIED = (401, "")
ALL = "Reader ReaderPlus Writer Manager KeyPurge"
WHO_MAY = {
    "list": "Reader ReaderPlus Writer Manager",
    "metadata": "Reader ReaderPlus Writer Manager",
    "wrap": "Reader ReaderPlus Writer Manager",
    "unwrap": "Reader ReaderPlus Writer Manager",
    "rewrap": "Reader ReaderPlus Writer Manager",
    "get": "ReaderPlus Writer Manager",
    "create": "Writer Manager",
    "rotate": "Writer Manager",
    "sync": "Writer Manager",
    "disable": "Manager",
    "delete": "Manager",
    "patch": "Manager",
    "policies": "Manager",
    "purge": "KeyPurge",
}


@pytest.fixture
def someone(customer, wire):
    """Makes a service ID with one role, somewhere."""

    def make(role: str | None, instance=customer.instance, key: str | None = None):
        service_id = customer.emulator.create_service_id()
        if role:
            customer.emulator.grant(service_id, instance, key, role)
        api_key = customer.emulator.create_api_key(service_id)
        made = wire.Customer(customer.emulator, customer.instance, api_key).renew()
        made.service_id = service_id
        return made

    return make


def attempt(who, owner, operation: str):
    """Do one operation on a key that is in the right state for it."""
    key = owner.root_key()
    ciphertext = owner.wrap(key)["ciphertext"]
    if operation == "purge":
        owner.emulator.delete(key)
        owner.emulator.advance(4 * 3_600)
        who.renew()
    calls = {
        "list": lambda: who.call("GET", "/keys"),
        "metadata": lambda: who.call("GET", f"/keys/{key}/metadata"),
        "get": lambda: who.call("GET", f"/keys/{key}"),
        "create": who.create,
        "delete": lambda: who.call("DELETE", f"/keys/{key}"),
        "patch": lambda: who.call("PATCH", f"/keys/{key}", {"keyRingID": "default"}),
        "policies": lambda: who.call("GET", f"/keys/{key}/policies"),
        "purge": lambda: who.call("DELETE", f"/keys/{key}/purge"),
    }
    if operation in calls:
        return calls[operation]()
    return who.act(key, operation, {"ciphertext": ciphertext} if "wrap" in operation[1:] else None)


@pytest.mark.parametrize("operation", WHO_MAY)
@pytest.mark.parametrize("role", ALL.split())
def test_roles(customer, someone, role: str, operation: str) -> None:
    """A role may do exactly what Key Protect's table of roles says; anything else is 401."""
    reply = attempt(someone(role), customer, operation)
    expected = role in WHO_MAY[operation].split()
    assert expected is (reply.status < 300), reply
    if not expected:
        assert reply.outcome == DENIED


def test_no_grant_is_unauthorized(customer, someone) -> None:
    """Without a grant everything is 401, whether the key exists or not."""
    who = someone(None)
    for path in (f"/keys/{customer.root_key()}/metadata", "/keys/none/metadata", "/keys"):
        assert who.call("GET", path).outcome == DENIED


def test_grant_on_one_key(customer, someone) -> None:
    """A grant on one key opens that key alone, is invisible in lists, and 404 turns into 401."""
    mine, other = customer.root_key(), customer.root_key(aliases=["other"])
    who = someone("Reader", key=mine)
    assert who.act(mine, "wrap").status == 200
    for key in (other, "other", "none"):
        assert who.act(key, "wrap").outcome == DENIED
    assert ((listed := who.call("GET", "/keys")).status, listed.json["resources"]) == (200, [])


def test_revoke_takes_effect_at_once(customer, someone) -> None:
    """A revoked grant refuses the next call with the same, still valid token."""
    key = customer.root_key()
    who = someone("Reader")
    assert who.act(key, "wrap").status == 200
    assert customer.emulator.revoke(who.service_id, customer.instance) == 1
    assert who.act(key, "wrap").outcome == DENIED
    customer.emulator.grant(who.service_id, customer.instance, role="Reader")
    assert who.act(key, "wrap").status == 200


def test_other_instances_and_accounts(customer, someone, wire) -> None:
    """A grant does not reach another instance, and nothing reaches another account."""
    emulator = customer.emulator
    who = someone("Manager")
    who.instance = emulator.create_instance()
    assert who.call("GET", "/keys").outcome == DENIED
    foreign = emulator.create_instance(emulator.create_account("other"))
    assert wire.Customer(emulator, foreign, emulator.api_key).renew().call("GET", "/keys").outcome == DENIED
    with pytest.raises(EmulatorError, match="another account"):
        emulator.grant(who.service_id, foreign)


def test_instances_are_apart(customer, wire) -> None:
    """A key of one instance does not exist in another."""
    other = wire.Customer(customer.emulator, customer.emulator.create_instance(), customer.api_key).renew()
    assert other.act(customer.root_key(), "wrap").outcome == (404, "KEY_NOT_FOUND_ERR")


def test_instance_header(customer, wire) -> None:
    """Bluemix-Instance is required; one that does not exist is 401."""
    url, path = customer.emulator.url, "/api/v2/keys"
    bearer = {"Authorization": f"Bearer {customer.token}"}
    assert wire.send(url, "GET", path, None, bearer).status == 400
    assert wire.send(url, "GET", path, None, {**bearer, "Bluemix-Instance": "none"}).status == 401
    assert wire.send(url, "GET", path, None, {"Bluemix-Instance": customer.instance.id}).status == 401


# -- tokens --------------------------------------------------------------------------------------


def test_token_is_a_real_jwt(emulator, wire) -> None:
    """A token verifies with the published keys alone, and carries the claims that clients read."""
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "response_type": "cloud_iam"}
    for path in ("/identity/token", "/oidc/token"):
        reply = wire.ask_token(emulator.url, path, apikey=emulator.api_key, **form)
        body = reply.json
        assert (reply.status, body["token_type"], body["refresh_token"]) == (200, "Bearer", "not_supported")
    configuration = wire.send(emulator.url, "GET", "/identity/.well-known/openid-configuration").json
    keys = jwt.PyJWKSet.from_dict(wire.send(emulator.url, "GET", "/identity/keys").json)
    key = keys[jwt.get_unverified_header(body["access_token"])["kid"]]
    # The emulator's clock may be ahead of ours.
    claims = jwt.decode(
        body["access_token"],
        key,
        algorithms=["RS256"],
        issuer=configuration["issuer"],
        options={"verify_iat": False},
    )
    assert (f"iam-{emulator.service_id}", emulator.service_id) == (claims["iam_id"], claims["sub"])
    assert emulator.account == claims["account"]["bss"]
    assert 3_600 == claims["exp"] - claims["iat"] == body["expires_in"]
    assert claims["exp"] == body["expiration"]


def foreign_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_bad_tokens_are_refused(customer) -> None:
    """Expired, foreign, unsigned, symmetric, truncated and missing tokens are all 401."""
    claims = jwt.decode(customer.token, options={"verify_signature": False})
    head, body, signature = customer.token.split(".")
    public = customer.call  # keep the good token at hand
    assert public("GET", "/keys").status == 200
    tokens = {
        "foreign": jwt.encode(claims, foreign_key(), algorithm="RS256"),
        "none": jwt.encode(claims, None, algorithm="none"),
        "symmetric": jwt.encode(claims, "x" * 64, algorithm="HS256"),
        "unsigned": f"{head}.{body}.",
        "bent": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "noise": "noise",
        "empty": "",
    }
    for name, token in tokens.items():
        customer.token = token
        assert customer.call("GET", "/keys").outcome == DENIED, name


def test_token_expires_on_the_clock(customer) -> None:
    """A token is refused from its exp on; a fresh one works."""
    customer.emulator.advance(3_598)
    assert customer.call("GET", "/keys").status == 200
    customer.emulator.advance(2)
    assert customer.call("GET", "/keys").outcome == DENIED
    assert customer.renew().call("GET", "/keys").status == 200


def test_deleted_api_key(customer, someone, wire) -> None:
    """A deleted API key buys no new token; tokens that it bought stay valid until they expire."""
    who, form = someone("Reader"), {"grant_type": "urn:ibm:params:oauth:grant-type:apikey"}
    customer.emulator.delete_api_key(who.api_key)
    reply = wire.ask_token(customer.emulator.url, apikey=who.api_key, **form)
    assert (reply.status, reply.json["errorCode"]) == (400, "BXNIM0415E")
    assert {"errorCode", "errorMessage", "context"} <= set(reply.json)
    assert who.call("GET", "/keys").status == 200
    customer.emulator.advance(3_601)
    assert who.call("GET", "/keys").outcome == DENIED


def test_deleted_service_id(customer, someone) -> None:
    """A deleted service ID has neither API keys nor grants any more."""
    who = someone("Reader")
    customer.emulator.delete_service_id(who.service_id)
    assert who.call("GET", "/keys").outcome == DENIED
    with pytest.raises(EmulatorError) as refused:
        who.renew()
    assert refused.value.code == "BXNIM0415E"


@pytest.mark.parametrize(
    "form",
    [{}, {"grant_type": "password"}, {"grant_type": "urn:ibm:params:oauth:grant-type:apikey"}],
    ids=["nothing", "unknown grant", "no API key"],
)
def test_bad_token_requests(emulator, wire, form) -> None:
    """A token request that makes no sense is 400 with a BXNIM code."""
    reply = wire.ask_token(emulator.url, **form)
    assert reply.status == 400
    assert reply.json["errorCode"].startswith("BXNIM")


# -- trusted profiles: a Kubernetes service account's token buys an IAM token -----------------------


@pytest.fixture
def cluster_key():
    return foreign_key()


@pytest.fixture
def profile(emulator, cluster_key) -> str:
    pem = cluster_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    emulator.trust_issuer("https://cluster", public_key_pem=pem.decode())
    return emulator.create_trusted_profile(
        "profile", issuer="https://cluster", namespace="ns", service_account="operator"
    )


def service_account_token(key, algorithm: str = "RS256", **changes) -> str:
    now = int(time.time())
    place = {"namespace": "ns", "serviceaccount": {"name": "operator", "uid": "u"}}
    claims = {
        "iss": "https://cluster",
        "aud": ["iam"],
        "sub": "system:serviceaccount:ns:operator",
        "iat": now,
        "exp": now + 600,
        "kubernetes.io": place,
        **changes,
    }
    return jwt.encode(claims, key, algorithm=algorithm)


def exchange(emulator, wire, token: str, **who: str):
    grant = "urn:ibm:params:oauth:grant-type:cr-token"
    return wire.ask_token(emulator.url, grant_type=grant, cr_token=token, **who)


def test_trusted_profile(customer, wire, profile, cluster_key) -> None:
    """A linked service account's token, with the profile's id or name, buys a token that has its grants."""
    emulator, token = customer.emulator, service_account_token(cluster_key)
    emulator.grant(profile, customer.instance, role="Reader")
    for who in ({"profile_id": profile}, {"profile_id": f"iam-{profile}"}, {"profile_name": "profile"}):
        reply = exchange(emulator, wire, token, **who)
        assert reply.status == 200
    customer.token = exchange(emulator, wire, token, profile_id=profile).json["access_token"]
    claims = jwt.decode(customer.token, options={"verify_signature": False})
    assert (f"iam-{profile}", "Profile") == (claims["iam_id"], claims["sub_type"])
    assert customer.call("GET", "/keys").status == 200
    assert customer.create().outcome == DENIED


def test_trusted_profile_by_jwks(emulator, wire) -> None:
    """The issuer may be given as a JWKS, as `kubectl get --raw /openid/v1/jwks` prints it; EC keys too."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "k1", "use": "sig"}
    emulator.trust_issuer("https://other", jwks={"keys": [jwk]})
    profile = emulator.create_trusted_profile(
        "by-jwks", issuer="https://other", namespace="ns", service_account="operator"
    )
    token = service_account_token(key, "ES256", iss="https://other")
    assert exchange(emulator, wire, token, profile_id=profile).status == 200


REFUSED_CLAIMS = {
    "other service account": {"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "x"}}},
    "other namespace": {"kubernetes.io": {"namespace": "x", "serviceaccount": {"name": "operator"}}},
    "no service account": {"kubernetes.io": "x"},
    "other audience": {"aud": ["x"]},
    "other issuer": {"iss": "https://elsewhere"},
    "expired": {"exp": 1},
    "bad exp": {"exp": "never"},
}


@pytest.mark.parametrize("changes", REFUSED_CLAIMS.values(), ids=REFUSED_CLAIMS)
def test_refused_service_accounts(emulator, wire, profile, cluster_key, changes) -> None:
    """A token of another account, namespace, audience or issuer, or an old one, buys nothing."""
    reply = exchange(emulator, wire, service_account_token(cluster_key, **changes), profile_id=profile)
    assert reply.status == 400
    assert reply.json["errorCode"].startswith("BXNIM")


def test_refused_signatures(emulator, wire, profile, cluster_key) -> None:
    """A service account token with another key's signature, or none, or for another profile, is refused."""
    none = service_account_token(None, "none")
    for token in (service_account_token(foreign_key()), none, "noise", ""):
        assert exchange(emulator, wire, token, profile_id=profile).status == 400
    good = service_account_token(cluster_key)
    assert exchange(emulator, wire, good, profile_id="Profile-unknown").status == 400
    assert exchange(emulator, wire, good).status == 400
