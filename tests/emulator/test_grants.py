"""IAM's other grants: a refresh token in place of an API key, and a trusted profile that an identity assumes."""

import jwt
import pytest

APIKEY = "urn:ibm:params:oauth:grant-type:apikey"
ASSUME = "urn:ibm:params:oauth:grant-type:assume"
CLIENT = {"Authorization": "Basic Yng6Yng=", "Content-Type": "application/x-www-form-urlencoded"}


def refresh_token(emulator, wire, api_key: str) -> str:
    """What redstone gets: it names itself as the client bx."""
    form = f"grant_type={APIKEY}&apikey={api_key}&response_type=cloud_iam&uaa_client_id=cf".encode()
    return wire.send(emulator.url, "POST", "/oidc/token", form, CLIENT).json["refresh_token"]


def test_refresh_token(customer, wire) -> None:
    """A refresh token buys access tokens for the identity of its API key, without the API key."""
    refresh = refresh_token(customer.emulator, wire, customer.api_key)
    customer.emulator.advance(3_601)
    form = f"grant_type=refresh_token&refresh_token={refresh}".encode()
    reply = wire.send(customer.emulator.url, "POST", "/oidc/token", form, CLIENT)
    assert (reply.status, reply.json["token_type"]) == (200, "Bearer")
    customer.token = reply.json["access_token"]
    assert customer.call("GET", "/keys").status == 200
    claims = jwt.decode(customer.token, options={"verify_signature": False})
    assert customer.emulator.service_id == claims["sub"]
    assert reply.json["refresh_token"].count(".") == 2


def test_refresh_token_is_no_access_token(customer, wire) -> None:
    """A refresh token opens nothing in Key Protect, and an access token refreshes nothing."""
    access = customer.token
    customer.token = refresh_token(customer.emulator, wire, customer.api_key)
    assert customer.call("GET", "/keys").status == 401
    for token in (access, "x", "x.y.z"):
        reply = wire.ask_token(customer.emulator.url, grant_type="refresh_token", refresh_token=token)
        assert (reply.status, reply.json["errorCode"]) == (400, "BXNIM0408E")


def test_refresh_token_ends(emulator, wire) -> None:
    """A refresh token ends with its API key, and after 30 days."""
    service = emulator.create_service_id()
    for end in ("key", "time"):
        api_key = emulator.create_api_key(service)
        refresh = refresh_token(emulator, wire, api_key)
        if end == "key":
            emulator.delete_api_key(api_key)
        else:
            emulator.advance(30 * 86_400 + 1)
        reply = wire.ask_token(emulator.url, grant_type="refresh_token", refresh_token=refresh)
        assert (reply.status, reply.json["errorCode"]) == (400, "BXNIM0408E")


@pytest.fixture
def profile(customer) -> str:
    """A trusted profile called `assumed` that may read the instance; nobody may assume it yet."""
    profile = customer.emulator.create_trusted_profile("assumed")
    customer.emulator.grant(profile, customer.instance)
    return profile


def test_assume(customer, wire, profile) -> None:
    """A trusted identity becomes the profile with its own access token, which names the profile by id, CRN or name."""
    emulator = customer.emulator
    emulator.trust_identity(profile, emulator.service_id)
    crn = f"crn:v1:bluemix:public:iam-identity::a/{emulator.account}::profile:{profile}"
    for named in (
        {"profile_id": profile},
        {"profile_crn": crn},
        {"profile_name": "assumed", "account": emulator.account},
    ):
        reply = wire.ask_token(emulator.url, grant_type=ASSUME, access_token=customer.token, **named)
        assert (reply.status, reply.json["refresh_token"]) == (200, "not_supported")
        claims = jwt.decode(reply.json["access_token"], options={"verify_signature": False})
        assert (f"iam-{profile}", "Profile", ASSUME) == (claims["iam_id"], claims["sub_type"], claims["grant_type"])
    customer.token = reply.json["access_token"]
    assert customer.call("GET", "/keys").status == 200
    assert customer.create().status == 401


def test_assume_needs_trust(customer, wire, profile) -> None:
    """Without the profile's trust, with a token that is none, or for a profile that is none, nothing is assumed."""
    emulator = customer.emulator
    cases = {
        "BXNIM0398E": {"access_token": customer.token, "profile_id": profile},
        "BXNIM0408E": {"access_token": "x", "profile_id": profile},
        "BXNIM0109E": {"access_token": customer.token},
    }
    for code, form in cases.items():
        reply = wire.ask_token(emulator.url, grant_type=ASSUME, **form)
        assert (400, code) == (reply.status, reply.json["errorCode"])
    emulator.trust_identity(profile, emulator.service_id)
    for wrong in ({"profile_id": "Profile-none"}, {"profile_name": "assumed", "account": "other"}):
        reply = wire.ask_token(emulator.url, grant_type=ASSUME, access_token=customer.token, **wrong)
        assert (reply.status, reply.json["errorCode"]) == (400, "BXNIM0398E")


def test_trust_ends_with_the_identity(emulator, wire, profile) -> None:
    """Whoever is deleted assumes nothing any more, with a token that is still valid."""
    service = emulator.create_service_id()
    token = emulator.token(emulator.create_api_key(service))
    emulator.trust_identity(profile, service)
    assert wire.ask_token(emulator.url, grant_type=ASSUME, access_token=token, profile_id=profile).status == 200
    emulator.delete_service_id(service)
    assert wire.ask_token(emulator.url, grant_type=ASSUME, access_token=token, profile_id=profile).status == 400
