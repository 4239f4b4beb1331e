"""IAM's public keys (a JWKS): kept for a while, asked for anew where a token names one that is not among them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from openscale_byok.adapters.http import exchange
from openscale_byok.core.caller import not_authenticated
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Clock
from openscale_byok.reasons import Reason

FRESH_SECONDS = 600.0
"""Keys are asked for again once they are older than this: a key that IAM withdraws leaves us by then."""
KEPT_SECONDS = 3_600.0
"""For how long keys serve on while IAM cannot be reached: an access token lives no longer either."""
ASK_AGAIN_SECONDS = 5.0
"""Anybody can make up names of keys: IAM is not asked more often than this, whatever tokens name."""
ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=3)
"""Shorter than for other calls to IBM: somebody waits for an answer of ours, and holds up others who are new."""
SMALLEST_BITS = 2_048


class IamKeys:
    """The RSA keys that IAM signs with, by their names."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clock: Clock) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/identity/keys"
        self._clock = clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._learned = self._not_before = float("-inf")
        self._failure: Unavailable | None = None
        self._flight: asyncio.Task[None] | None = None

    async def key(self, name: str) -> RSAPublicKey:
        """The key of this name (``kid``).

        Raises:
            Refused: `NotAuthenticated`: IAM has no such key.
            Unavailable: IAM cannot be reached, and no key of this name is at hand that is young enough.
        """
        known = self.at_hand(name)
        if known is not None and self._age() < FRESH_SECONDS:
            return known
        try:
            await self._refresh()
        except Unavailable:
            if known is None:
                raise
            return known
        if name not in self._keys:
            raise not_authenticated("iam: no such signing key")
        return self._keys[name]

    def at_hand(self, name: str) -> RSAPublicKey | None:
        """The key of this name, where it is known and young enough; IAM is not asked."""
        return self._keys.get(name) if self._age() < KEPT_SECONDS else None

    def _age(self) -> float:
        return self._clock.monotonic() - self._learned

    async def _refresh(self) -> None:
        """Ask IAM, once for however many wait; unless that was done a moment ago: then its last answer holds."""
        if self._flight is None:
            now = self._clock.monotonic()
            if now < self._not_before:
                if self._failure is not None:
                    raise Unavailable(self._failure.reason, self._failure.message, trace=self._failure.trace)
                return
            self._not_before = now + ASK_AGAIN_SECONDS
            self._flight = asyncio.create_task(self._fetch(now))
            self._flight.add_done_callback(self._landed)
        await asyncio.shield(self._flight)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # perhaps nobody waits any more

    async def _fetch(self, asked: float) -> None:
        try:
            keys = await self._ask()
        except Unavailable as error:
            self._failure = error
            self._not_before = max(self._not_before, asked + (error.retry_after or 0.0))
            raise
        # All of them at once: one that is missing now was withdrawn.
        self._keys, self._learned, self._failure = keys, asked, None

    async def _ask(self) -> dict[str, RSAPublicKey]:
        answer = await exchange(
            self._session,
            "GET",
            self._url,
            unreachable=Reason.IAM_UNAVAILABLE,
            timeout=ANSWER_TIMEOUT,
            headers={"Accept": "application/json"},
        )
        keys = dict(_usable(answer.json)) if answer.status == 200 else {}
        if not keys:
            text = f"IAM answers {answer.status} without a public key that we could use"
            raise Unavailable(Reason.IAM_UNAVAILABLE, text)
        return keys


def _usable(body: Any) -> Iterator[tuple[str, RSAPublicKey]]:  # noqa: ANN401 -- JSON
    """The keys of a JWKS that RS256 signatures may be checked with; others are for somebody else."""
    listed = body.get("keys") if isinstance(body, dict) else None
    for found in listed if isinstance(listed, list) else []:
        if not isinstance(found, dict) or not isinstance(name := found.get("kid"), str):
            continue
        if found.get("kty") != "RSA" or found.get("use", "sig") != "sig" or found.get("alg", "RS256") != "RS256":
            continue
        try:
            key = jwt.algorithms.RSAAlgorithm.from_jwk({"kty": "RSA", "n": found["n"], "e": found["e"]})
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            continue
        if isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_BITS:
            yield name, key
