"""Who signed a token, by the public keys that the API server publishes (OpenID discovery).

It is no proof that the token still counts: that only a TokenReview says. It tells whose token it is before anybody is
asked, and nobody who makes tokens up gets that far.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import jwt
import structlog

from openscale_byok.adapters.iam_tokens import BAD_TOKEN
from openscale_byok.errors import ByokError
from openscale_byok.ports import Clock

log = structlog.get_logger("openscale_byok")

PATH = "/openid/v1/jwks"
FRESH_SECONDS = 600.0
ASK_AGAIN_SECONDS = 10.0
"""Anybody can make up names of keys: the API server is not asked more often than this, whatever tokens name."""
MOST_KEYS = 64
_ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]
_NO_ISSUER: Any = {"require": ["exp", "sub"], "verify_iss": False, "verify_iat": False}


class ApiServer(Protocol):
    """What is needed of the cluster; `adapters.api_server.ApiServer` has it."""

    async def call(self, method: str, path: str) -> dict[str, Any]:
        """Ask for something; the answer's JSON."""
        ...


class ServiceAccountKeys:
    """The keys that the cluster signs tokens of ServiceAccounts with, by their names."""

    def __init__(self, cluster: ApiServer, audiences: Sequence[str], clock: Clock) -> None:
        self._cluster = cluster
        self._audiences = tuple(audiences)
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    def signer(self, token: str) -> str:
        """Whose token this is, as its signature shows: a subject, for one of our audiences and not over. Else nothing.

        It waits for nothing. A key that is not at hand is asked for meanwhile: until it is there, its tokens are like
        any stranger's.
        """
        try:
            name = jwt.get_unverified_header(token).get("kid")
            age = self._clock.monotonic() - self._asked
            key = self._keys.get(name) if isinstance(name, str) else None
            if age >= (FRESH_SECONDS if key is not None else ASK_AGAIN_SECONDS):
                self._ask()
            if key is None:
                return ""
            claims = jwt.decode(token, key, algorithms=_ALGORITHMS, audience=self._audiences, options=_NO_ISSUER)
            return str(claims["sub"])[:512]
        except BAD_TOKEN:
            return ""

    async def refresh(self) -> None:
        """Ask for the keys. Where there is no answer, those that are known stay."""
        self._asked = self._clock.monotonic()
        try:
            answer = await self._cluster.call("GET", PATH)
        except (ByokError, ValueError) as error:
            log.warning(
                "the cluster's signing keys are not known: a new token waits with strangers'",
                path=PATH,
                error=type(error).__name__,
            )
            return
        self._keys = dict(_usable(answer))

    async def close(self) -> None:
        """End what is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _ask(self) -> None:
        if self._flight is None or self._flight.done():
            self._asked = self._clock.monotonic()
            self._flight = asyncio.create_task(self.refresh())


def _usable(body: object) -> Iterator[tuple[str, jwt.PyJWK]]:
    """The keys of a JWKS by which signatures may be checked."""
    listed = body.get("keys") if isinstance(body, Mapping) else None
    for found in listed[:MOST_KEYS] if isinstance(listed, list) else []:
        if isinstance(found, dict) and isinstance(name := found.get("kid"), str) and found.get("kty") in ("RSA", "EC"):
            try:
                yield name, jwt.PyJWK(found)
            except BAD_TOKEN:
                continue
