"""Control API: accounts, service IDs, API keys, trusted profiles, token issuers, grants."""

import json
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from key_protect_emulator.backend import new_account, new_api_key, new_identity
from key_protect_emulator.errors import ControlError
from key_protect_emulator.grants import ROLES
from key_protect_emulator.http.control_call import Body, ControlCall, ControlRoute, writable
from key_protect_emulator.world import Assumer, ComputeLink, Grant, TokenIssuer


def create_account(call: ControlCall) -> Body:
    return {"id": new_account(call.world, call.text("name") or "").id}


def create_service_id(call: ControlCall) -> Body:
    who = new_identity(call.world, call.account().id, call.text("name") or "service", "ServiceId")
    return {"id": who.id, "iam_id": who.iam_id, "account": who.account}


def delete_identity(call: ControlCall) -> None:
    who = call.identity(call.path["id"])
    world = call.world
    del world.identities[who.id]
    world.api_keys = {id_: key for id_, key in world.api_keys.items() if key.identity != who.id}
    world.grants = [grant for grant in world.grants if grant.identity != who.id]
    world.links = [link for link in world.links if link.profile != who.id]
    world.assumers = [assumer for assumer in world.assumers if who.id not in {assumer.profile, assumer.identity}]


def create_api_key(call: ControlCall) -> Body:
    api_key = new_api_key(call.world, call.identity(call.path["id"]).id)
    return {"id": api_key.id, "api_key": api_key.value}


def delete_api_key(call: ControlCall) -> None:
    wanted = call.needed("api_key")
    found = [k.id for k in call.world.api_keys.values() if wanted in {k.id, k.value}]
    if not found:
        raise ControlError(404, "no such API key")
    for id_ in found:
        del call.world.api_keys[id_]


def create_token_issuer(call: ControlCall) -> None:
    """Make IAM accept a cluster's service account tokens: its issuer and a JWKS or one public key."""
    issuer, pem, jwks = call.needed("issuer"), call.text("public_key_pem"), call.body.get("jwks")
    if (pem is None) == (jwks is None):
        raise ControlError(400, "give either jwks or public_key_pem")
    keys = jwks if jwks is not None else {"keys": [_jwk(pem or "")]}
    try:
        jwt.PyJWKSet.from_dict(keys)
    except Exception as error:  # PyJWT lets through whatever the parts of a bad key make `cryptography` raise
        raise ControlError(400, "jwks holds no usable key") from error
    call.world.issuers[issuer] = TokenIssuer(issuer, call.text("audience") or "iam", keys)


def _jwk(pem: str) -> dict[str, Any]:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ControlError(400, "public_key_pem is not a public key") from error
    if isinstance(key, rsa.RSAPublicKey):
        return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key)), "use": "sig"}
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key)), "use": "sig"}
    raise ControlError(400, "public_key_pem must be an RSA or EC key")


def create_trusted_profile(call: ControlCall) -> Body:
    links = call.body.get("links", [])
    wanted = {"issuer", "namespace", "service_account"}
    if not isinstance(links, list) or not all(isinstance(link, dict) and set(link) == wanted for link in links):
        raise ControlError(400, "links is a list of {issuer, namespace, service_account}")
    if not all(isinstance(value, str) and value and writable(value) for link in links for value in link.values()):
        raise ControlError(400, "issuer, namespace and service_account of a link are strings that say something")
    profile = new_identity(call.world, call.account().id, call.needed("name"), "Profile")
    call.world.links += [ComputeLink(profile=profile.id, **link) for link in links]
    return {"id": profile.id, "iam_id": profile.iam_id, "account": profile.account}


def trust_identity(call: ControlCall) -> None:
    """Let an identity assume a trusted profile with its own access token (IAM's grant type `assume`)."""
    profile, who = call.identity(call.path["id"]), call.identity(call.needed("identity"))
    if profile.kind != "Profile":
        raise ControlError(404, "no such trusted profile")
    assumer = Assumer(profile.id, who.id)
    if assumer not in call.world.assumers:
        call.world.assumers.append(assumer)


def add_grant(call: ControlCall) -> None:
    grant = _grant(call)
    if grant not in call.world.grants:
        call.world.grants.append(grant)


def remove_grants(call: ControlCall) -> Body:
    """Take away what matches; without a role, every role at that place; without a place, everywhere."""
    who = call.identity(call.needed("identity"))
    role = call.text("role")
    instance = call.instance().id if call.text("instance") else None
    key = _key_id(call)
    before = len(call.world.grants)
    call.world.grants = [
        grant
        for grant in call.world.grants
        if grant.identity != who.id
        or (role is not None and grant.role != role)
        or (instance is not None and grant.instance != instance)
        or (key is not None and grant.key != key)
    ]
    return {"removed": before - len(call.world.grants)}


def _grant(call: ControlCall) -> Grant:
    who, role = call.identity(call.needed("identity")), call.text("role") or "Reader"
    if role not in ROLES:
        raise ControlError(400, f"role must be one of {', '.join(ROLES)}")
    instance = call.instance() if call.text("instance") else None
    if instance is not None and instance.account != who.account:
        raise ControlError(400, "the instance belongs to another account than the identity")
    key = _key_id(call)
    if key is not None and instance is None:
        raise ControlError(400, "a grant on a key names its instance too")
    if key is not None and instance is not None and key not in instance.keys:
        raise ControlError(404, "the instance has no such key")
    return Grant(who.id, who.account, role, instance.id if instance else None, key)


def _key_id(call: ControlCall) -> str | None:
    key = call.text("key")
    return key.rpartition(":")[2] if key else None


def list_grants(call: ControlCall) -> Body:
    return {"grants": [vars(grant) for grant in call.world.grants]}


_GRANT: Final = ("identity", "role", "instance", "key")

ROUTES: Final = (
    ControlRoute("POST", "/accounts", create_account, ("name",)),
    ControlRoute("POST", "/service-ids", create_service_id, ("account", "name")),
    ControlRoute("DELETE", "/service-ids/{id}", delete_identity),
    ControlRoute("POST", "/service-ids/{id}/api-keys", create_api_key),
    ControlRoute("DELETE", "/api-keys", delete_api_key, ("api_key",)),
    ControlRoute("POST", "/token-issuers", create_token_issuer, ("issuer", "audience", "jwks", "public_key_pem")),
    ControlRoute("POST", "/trusted-profiles", create_trusted_profile, ("account", "name", "links")),
    ControlRoute("DELETE", "/trusted-profiles/{id}", delete_identity),
    ControlRoute("POST", "/trusted-profiles/{id}/identities", trust_identity, ("identity",)),
    ControlRoute("GET", "/grants", list_grants),
    ControlRoute("POST", "/grants", add_grant, _GRANT),
    ControlRoute("DELETE", "/grants", remove_grants, _GRANT),
)
