"""IAM's tokens: RS256 JWTs for an identity, and their verification. Time is handed in.

A token stays valid until `exp`, whatever happens to the API key that bought it; and signature and `exp`
decide, not the address at which the emulator happens to listen.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from key_protect_emulator.errors import unauthorized
from key_protect_emulator.world import Identity

LIFETIME: Final = 3_600
REFRESH_LIFETIME: Final = 30 * 86_400
REFRESH: Final = "refresh"  # the audience of a refresh token: it is no access token, and no access token is one
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

    def issue(
        self, who: Identity, issuer: str, grant_type: str, now: float, *, refresh: str = "not_supported"
    ) -> dict[str, Any]:
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
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "expiration": issued + LIFETIME,
            "scope": "ibm openid",
        }

    def issue_refresh(self, api_key_id: str, now: float) -> str:
        """A refresh token for what an API key bought. It names the key, so that it dies with it."""
        claims = {"aud": REFRESH, "sub": api_key_id, "iat": int(now), "exp": int(now) + REFRESH_LIFETIME}
        return jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": KEY_ID})

    def api_key_of_refresh(self, token: str, now: float) -> str | None:
        """The id of the API key that a refresh token names; None if it is none of ours or too old."""
        options: Any = {"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(token, self._public, algorithms=["RS256"], audience=REFRESH, options=options)
            return str(claims["sub"]) if now < float(claims["exp"]) else None
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None

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
