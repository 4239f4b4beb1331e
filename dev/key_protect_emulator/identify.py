"""Whom a token request speaks for: the grants of IAM. Time is handed in.

| grant         | proof                                            | speaks for                        |
|---------------|--------------------------------------------------|-----------------------------------|
| apikey        | an API key                                       | its service ID                    |
| refresh_token | a refresh token, which names its API key         | that key's service ID             |
| cr-token      | a Kubernetes service account's token             | a trusted profile that links it   |
| assume        | the access token of an identity                  | a trusted profile that trusts it  |

Clusters live in real time, so a service account's token is judged by `cluster_now`; all else by the emulator's clock.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from key_protect_emulator.errors import IamError, KeyProtectError
from key_protect_emulator.iam import TokenMint
from key_protect_emulator.world import ApiKey, Identity, World

APIKEY: Final = "urn:ibm:params:oauth:grant-type:apikey"
CR_TOKEN: Final = "urn:ibm:params:oauth:grant-type:cr-token"
ASSUME: Final = "urn:ibm:params:oauth:grant-type:assume"
REFRESH_TOKEN: Final = "refresh_token"
GRANT_TYPES: Final = (APIKEY, REFRESH_TOKEN, CR_TOKEN, ASSUME)


@dataclass(frozen=True)
class Proven:
    """Whom a request speaks for; with an API key behind it, where a refresh token may be given."""

    identity: Identity
    api_key: ApiKey | None = None


def identify(world: World, mint: TokenMint, form: Mapping[str, str], now: float, cluster_now: float) -> Proven:
    """Raises IamError if the request proves nothing."""
    grant_type = form.get("grant_type", "")
    if grant_type == APIKEY:
        return _by_api_key(world, _needed(form, "apikey"))
    if grant_type == REFRESH_TOKEN:
        return _by_refresh_token(world, mint, _needed(form, "refresh_token"), now)
    if grant_type == CR_TOKEN:
        return Proven(_by_compute_resource(world, form, cluster_now))
    if grant_type == ASSUME:
        return Proven(_by_assuming(world, mint, form, now))
    _needed(form, "grant_type")
    known = ", ".join(GRANT_TYPES)
    raise IamError(400, "BXNIM0107E", "Provided grant type is not supported", f"The emulator knows {known}.")


def _needed(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise IamError(400, "BXNIM0109E", "Property missing or empty", f"Property '{name}' missing or empty.")
    return form[name]


def _by_api_key(world: World, value: str) -> Proven:
    for api_key in world.api_keys.values():
        if secrets.compare_digest(api_key.value.encode(), value.encode()):
            return Proven(world.identities[api_key.identity], api_key)
    raise IamError(400, "BXNIM0415E", "Provided API key could not be found.")


def _by_refresh_token(world: World, mint: TokenMint, token: str, now: float) -> Proven:
    api_key = world.api_keys.get(mint.api_key_of_refresh(token, now) or "")
    if api_key is None:
        raise IamError(400, "BXNIM0408E", "Provided refresh_token is expired or not valid.")
    return Proven(world.identities[api_key.identity], api_key)


def _by_assuming(world: World, mint: TokenMint, form: Mapping[str, str], now: float) -> Identity:
    try:
        caller = mint.verify(f"Bearer {_needed(form, 'access_token')}", now)
    except KeyProtectError as error:
        raise IamError(400, "BXNIM0408E", "Provided access_token is expired or not valid.") from error
    profile = _profile(world, form)
    if profile and any((a.profile, a.identity) == (profile.id, caller.identity) for a in world.assumers):
        return profile
    raise _not_eligible(f"'{caller.iam_id}' is not permitted to assume the indicated trusted profile.")


def _by_compute_resource(world: World, form: Mapping[str, str], now: float) -> Identity:
    claims = _verify_compute_token(world, _needed(form, "cr_token"), now)
    namespace, name = _service_account(claims)
    profile = _profile(world, form)
    for link in world.links:
        if profile is None or link.profile != profile.id or link.issuer != claims["iss"]:
            continue
        if (link.namespace, link.service_account) == (namespace, name):
            return profile
    given = f"The given token of '{namespace}:{name}'"
    raise _not_eligible(f"{given} is not permitted to assume the indicated trusted profile.")


def _not_eligible(details: str) -> IamError:
    return IamError(400, "BXNIM0398E", "Selected trusted profile not eligible.", details)


def _service_account(claims: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name, from the claims that Kubernetes puts into a bound service account token."""
    place = claims.get("kubernetes.io")
    account = place.get("serviceaccount") if isinstance(place, dict) else None
    if not isinstance(place, dict) or not isinstance(account, dict):
        return "", ""
    return str(place.get("namespace", "")), str(account.get("name", ""))


def _profile(world: World, form: Mapping[str, str]) -> Identity | None:
    """The trusted profile that a request names: by id, by CRN (which ends in the id), or by name."""
    wanted, name, account = form.get("profile_id", ""), form.get("profile_name", ""), form.get("account", "")
    wanted = wanted or form.get("profile_crn", "").rpartition(":")[2]
    if not name:
        wanted = wanted or _needed(form, "profile_id")
    for who in world.identities.values():
        if who.kind != "Profile":
            continue
        if wanted in {who.id, who.iam_id} or (not wanted and who.name == name and account in {"", who.account}):
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
