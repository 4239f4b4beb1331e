"""IAM's tokens: grants in, RS256 JWTs out, and their verification. Time is handed in.

A token stays valid until `exp`, whatever happens to the API key that bought it; and signature and `exp`
decide, not the address at which the emulator happens to listen.
"""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from key_protect_emulator.errors import IamError, unauthorized
from key_protect_emulator.world import Identity, World

APIKEY: Final = "urn:ibm:params:oauth:grant-type:apikey"
CR_TOKEN: Final = "urn:ibm:params:oauth:grant-type:cr-token"
LIFETIME: Final = 3_600
KEY_ID: Final = "20260101000000"
_REQUIRED: Final = ("exp", "iat", "iam_id", "sub", "account")


@dataclass(frozen=True)
class Caller:
    """Whom a valid token speaks for."""

    iam_id: str
    identity: str
    account: str


def new_signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class TokenMint:
    """Issues and verifies with one RSA key."""

    def __init__(self, private_pem: str) -> None:
        key = serialization.load_pem_private_key(private_pem.encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the signing key is not an RSA key")
        self._private = key
        self._public = key.public_key()

    def jwks(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._public))
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "n": public["n"],
                    "e": public["e"],
                    "alg": "RS256",
                    "use": "sig",
                    "kid": KEY_ID,
                }
            ]
        }

    def issue(self, who: Identity, issuer: str, grant_type: str, now: float) -> dict[str, Any]:
        """The body of a successful answer of /identity/token."""
        issued = int(now)
        claims = {
            "iam_id": who.iam_id,
            "id": who.iam_id,
            "realmid": "iam",
            "jti": str(uuid.uuid4()),
            "identifier": who.id,
            "name": who.name,
            "sub": who.id,
            "sub_type": who.kind,
            "account": {"valid": True, "bss": who.account, "frozen": True},
            "iat": issued,
            "exp": issued + LIFETIME,
            "iss": issuer,
            "grant_type": grant_type,
            "scope": "ibm openid",
            "client_id": "default",
            "acr": 1,
            "amr": ["pwd"],
        }
        token = jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": KEY_ID})
        return {
            "access_token": token,
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "expiration": issued + LIFETIME,
            "scope": "ibm openid",
        }

    def verify(self, authorization: str | None, now: float) -> Caller:
        """Read an Authorization header, or raise what Key Protect answers."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized()
        try:
            claims = jwt.decode(
                token.strip(),
                self._public,
                algorithms=["RS256"],
                # Time is checked below, on the emulator's clock.
                options={
                    "require": list(_REQUIRED),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            expires, account = float(claims["exp"]), str(claims["account"]["bss"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            raise unauthorized("The token is not valid") from error
        if now >= expires:
            raise unauthorized("The token has expired")
        return Caller(iam_id=claims["iam_id"], identity=claims["sub"], account=account)


def identify(world: World, form: Mapping[str, str], cluster_now: float) -> tuple[Identity, str]:
    """Whom a token request speaks for, and its grant type. Clusters live in real time: `cluster_now`."""
    grant_type = form.get("grant_type", "")
    if grant_type == APIKEY:
        return _by_api_key(world, form.get("apikey", "")), grant_type
    if grant_type == CR_TOKEN:
        return _by_compute_resource(world, form, cluster_now), grant_type
    if not grant_type:
        raise IamError(400, "BXNIM0109E", "Property missing or empty", "Property 'grant_type' missing or empty.")
    raise IamError(400, "BXNIM0107E", "Provided grant type is not supported", "The emulator knows apikey and cr-token.")


def _by_api_key(world: World, value: str) -> Identity:
    if not value:
        raise IamError(400, "BXNIM0109E", "Property missing or empty", "Property 'apikey' missing or empty.")
    for api_key in world.api_keys.values():
        if secrets.compare_digest(api_key.value.encode(), value.encode()):
            return world.identities[api_key.identity]
    raise IamError(400, "BXNIM0415E", "Provided API key could not be found.")


def _by_compute_resource(world: World, form: Mapping[str, str], now: float) -> Identity:
    token = form.get("cr_token", "")
    if not token:
        raise IamError(400, "BXNIM0109E", "Property missing or empty", "Property 'cr_token' missing or empty.")
    claims = _verify_compute_token(world, token, now)
    namespace, name = _service_account(claims)
    profile = _profile(world, form)
    for link in world.links:
        if profile is None or link.profile != profile.id or link.issuer != claims["iss"]:
            continue
        if (link.namespace, link.service_account) == (namespace, name):
            return profile
    raise IamError(
        400,
        "BXNIM0398E",
        "Selected trusted profile not eligible.",
        f"The given token of '{namespace}:{name}' is not permitted to assume the indicated trusted profile.",
    )


def _service_account(claims: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name, from the claims that Kubernetes puts into a bound service account token."""
    place = claims.get("kubernetes.io")
    account = place.get("serviceaccount") if isinstance(place, dict) else None
    if not isinstance(place, dict) or not isinstance(account, dict):
        return "", ""
    return str(place.get("namespace", "")), str(account.get("name", ""))


def _profile(world: World, form: Mapping[str, str]) -> Identity | None:
    wanted_id, wanted_name = form.get("profile_id", ""), form.get("profile_name", "")
    if not wanted_id and not wanted_name:
        raise IamError(400, "BXNIM0109E", "Property missing or empty", "Property 'profile_id' missing or empty.")
    for who in world.identities.values():
        if who.kind == "Profile" and (wanted_id in {who.id, who.iam_id} or (not wanted_id and who.name == wanted_name)):
            return who
    return None


def _verify_compute_token(world: World, token: str, now: float) -> dict[str, Any]:
    refused = IamError(400, "BXNIM0408E", "Provided compute resource token is not valid.")
    try:
        named = jwt.get_unverified_header(token).get("kid")
        issuer = world.issuers[jwt.decode(token, options={"verify_signature": False})["iss"]]
        known = jwt.PyJWKSet.from_dict(issuer.jwks).keys
        keys = [key for key in known if named is None or key.key_id in {None, named}]
        claims: dict[str, Any] = jwt.decode(
            token,
            keys[0],
            algorithms=["RS256", "ES256"],
            audience=issuer.audience,
            options={"require": ["exp", "iat", "iss", "sub"], "verify_exp": False, "verify_iat": False},
        )
        expires = float(claims["exp"])
    except (jwt.PyJWTError, KeyError, IndexError, TypeError, ValueError) as error:
        raise refused from error
    if now >= expires:
        raise IamError(400, "BXNIM0407E", "Provided compute resource token has expired.")
    return claims
