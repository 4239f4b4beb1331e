"""`ports.Reviews`: the API server says who holds its tokens and what anybody may do; IAM's tokens are verified here.

Every doubt is a no. Why a token is refused is for the log: a caller learns only that it is.
"""

import re
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any, Literal, Protocol

import jwt

from openscale_byok.adapters.iam_tokens import BAD_TOKEN, IamTokens, seconds
from openscale_byok.adapters.service_account_keys import ServiceAccountKeys
from openscale_byok.core.caller import Access, Caller, not_authenticated
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")
"""RFC 6750's b64token. The longest that we have seen are some 2,000 characters."""


class ApiServer(Protocol):
    """What is needed of the cluster; `adapters.cluster.Cluster` has it."""

    async def review(self, kind: Literal["TokenReview", "SubjectAccessReview"], spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        """Ask one question; the status of the answer."""
        ...


class AskedReviews:
    """See `ports.Reviews`."""

    def __init__(self, cluster: ApiServer, iam: IamTokens, audiences: Sequence[str], keys: ServiceAccountKeys) -> None:
        self._cluster = cluster
        self._iam = iam
        self._audiences = tuple(audiences)
        self._keys = keys

    async def caller(self, token: str) -> Caller:
        """See `ports.Reviews`. The issuer that a token names decides who is asked about it, and nothing else."""
        if not _TOKEN.fullmatch(token):
            raise not_authenticated("not a bearer token")
        claims = _unverified(token)
        if self._is_iams(claims):
            return await self._iam.caller(token)
        return await self._kubernetes(token, claims.get("exp"))

    def signer(self, token: str) -> str:
        """See `ports.Reviews`."""
        if not _TOKEN.fullmatch(token):
            return ""
        return self._iam.signer(token) if self._is_iams(_unverified(token)) else self._keys.signer(token)

    def _is_iams(self, claims: Mapping[str, Any]) -> bool:
        issuer = claims.get("iss")
        return isinstance(issuer, str) and issuer in self._iam.issuers

    async def _kubernetes(self, token: str, expires: object) -> Caller:
        """Whom the API server says.

        It repeats the audiences that it checked. One that knows nothing of audiences repeats none, and would let
        through a token that was made for somebody else.
        """
        try:
            status = await self._cluster.review("TokenReview", {"token": token, "audiences": list(self._audiences)})
        except Refused:
            raise not_authenticated("tokenreview: invalid") from None
        found = status if isinstance(status, dict) else {}
        if found.get("error") or found.get("authenticated") is not True:
            raise not_authenticated("tokenreview: not authenticated")  # its own words may quote the token
        if not set(_texts(found.get("audiences"))) & set(self._audiences):
            raise not_authenticated("tokenreview: made for another audience")
        user = found.get("user")
        name = user.get("username") if isinstance(user, dict) else None
        if not isinstance(user, dict) or not isinstance(name, str) or not name:
            raise Unavailable(Reason.CLUSTER_UNAVAILABLE, "the API server answers a TokenReview without a user")
        extra = user.get("extra") or {}
        return Caller(
            user=name,
            by="kubernetes",
            uid=str(user.get("uid") or ""),
            groups=_texts(user.get("groups")),
            extra=tuple(sorted((str(key), _texts(values)) for key, values in extra.items())),
            # Who made the token up could not have it authenticated; and it can only make an answer's life shorter.
            expires=seconds(expires),
        )

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """See `ports.Reviews`. An error of one authorizer leaves the decision of the others as it is."""
        resource, _, subresource = access.resource.partition("/")
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "version": "*",
            "resource": resource,
            "subresource": subresource,
            "namespace": access.namespace,
            "name": access.name,
        }
        spec = {
            "user": caller.user,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": {key: list(values) for key, values in caller.extra},
            "resourceAttributes": attributes,
        }
        try:
            status = await self._cluster.review("SubjectAccessReview", spec)
        except Refused:
            return False  # a question that the API server does not even take
        return isinstance(status, dict) and status.get("allowed") is True and status.get("denied", False) is False


def _unverified(token: str) -> Mapping[str, Any]:
    """What a token says of itself, believed by nobody. Not every token says something: nothing, then."""
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except BAD_TOKEN:
        return {}


def _texts(found: object) -> tuple[str, ...]:
    # Interned: ten thousand callers are in the same groups.
    return tuple(intern(text) for text in found if isinstance(text, str)) if isinstance(found, list) else ()
