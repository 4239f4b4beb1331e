"""IAM's access tokens: verified here, by its public keys, and turned into who asks.

Signature, issuer and time decide, in this order of trust: nothing that a token says is used before its signature
was checked, but for the name of the key to check it with. A token that IAM issued is good until it expires,
whatever happens to what bought it: IAM offers no faster way.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from openscale_byok.adapters.iam_keys import IamKeys
from openscale_byok.core.caller import Caller, not_authenticated
from openscale_byok.errors import Refused
from openscale_byok.ports import Clock

LEEWAY_SECONDS = 10.0
"""By so much the clocks of IAM and of ours may differ."""
BAD_TOKEN = (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError)
"""All that parsing something made up has ever raised."""
_MUCH_LATER = 1e12
_IBM = "iam.cloud.ibm.com"
_IAM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255}")
_OPTIONS: Any = {
    "require": ["iss", "exp", "iat", "iam_id"],
    # By our own clock, and by rules that take no number for another: below.
    **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss"), False),
}


def issuers_of(iam_url: str) -> frozenset[str]:
    """What IAM's tokens may call their issuer. IBM's public and private addresses are one IAM, with the same keys."""
    found = {f"{iam_url.rstrip('/')}/identity"}
    host = urlsplit(iam_url).hostname or ""
    if host == _IBM or host.endswith(f".{_IBM}"):
        found |= {f"https://{_IBM}/identity", f"https://private.{_IBM}/identity"}
    return frozenset(found)


class IamTokens:
    """Access tokens of one IAM."""

    def __init__(self, session: aiohttp.ClientSession, iam_url: str, clock: Clock) -> None:
        self.issuers = issuers_of(iam_url)
        self._keys = IamKeys(session, iam_url, clock)
        self._clock = clock

    async def caller(self, token: str) -> Caller:
        """Whom a token speaks for: the user ``iam:<iam_id>``, who is in no group.

        Raises:
            Refused: `NotAuthenticated`.
            Unavailable: IAM's keys are not at hand, and it cannot be reached.
        """
        return self._verified(token, await self._keys.key(_key_name(token)))

    def signer(self, token: str) -> str:
        """The user that a token speaks for, as far as a key at hand shows; else nothing."""
        try:
            key = self._keys.at_hand(_key_name(token))
            return self._verified(token, key).user if key is not None else ""
        except Refused:
            return ""

    def _verified(self, token: str, key: RSAPublicKey) -> Caller:
        try:
            claims = jwt.decode(token, key, algorithms=["RS256"], options=_OPTIONS)
        except BAD_TOKEN as error:
            raise not_authenticated(f"iam: {type(error).__name__}") from None
        issuer = claims["iss"]
        if not isinstance(issuer, str) or issuer not in self.issuers:
            raise not_authenticated("iam: another issuer")
        expires = self._check_time(claims)
        iam_id = claims["iam_id"]
        if not isinstance(iam_id, str) or not _IAM_ID.fullmatch(iam_id):
            raise not_authenticated("iam: no usable iam_id")
        return Caller(f"iam:{iam_id}", "iam", expires=expires)

    def _check_time(self, claims: Mapping[str, Any]) -> float:
        now = self._clock.now().timestamp()
        expires, issued, begins = (seconds(claims.get(name)) for name in ("exp", "iat", "nbf"))
        if expires is None or issued is None or (begins is None and "nbf" in claims):
            raise not_authenticated("iam: a time that is no number")
        if now >= expires + LEEWAY_SECONDS:
            raise not_authenticated("iam: expired")
        if max(issued, begins or 0.0) > now + LEEWAY_SECONDS:
            raise not_authenticated("iam: not valid yet")
        return expires


def _key_name(token: str) -> str:
    """The name of the key that a token says it is signed with; only of one that could be IAM's."""
    try:
        header = jwt.get_unverified_header(token)
    except BAD_TOKEN as error:
        raise not_authenticated(f"iam: {type(error).__name__}") from None
    name = header.get("kid")
    if header.get("alg") != "RS256" or "crit" in header or "b64" in header or not isinstance(name, str):
        raise not_authenticated("iam: a header that is not IAM's")
    return name


def seconds(claim: object) -> float | None:
    """A time since the epoch, where a claim is one. NaN is none: nothing is later than it, so nothing would expire."""
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not 0 <= claim < _MUCH_LATER:
        return None
    return float(claim)
