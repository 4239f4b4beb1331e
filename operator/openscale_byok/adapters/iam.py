"""IAM: an access token for an API key or a trusted profile, kept until most of its life is over.

Source: IBM Cloud IAM Identity Services API, "Create an IAM access token".
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from openscale_byok.adapters.http import exchange
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.reasons import Reason

FRESH_FRACTION = 0.8
"""A token is renewed once this part of its life is over, as IBM's own SDK does."""
RENEWAL_RETRY_SECONDS = 10.0
"""How soon a failed renewal is tried again, while the token at hand is still good."""

Form = Mapping[str, str]


def api_key_form(api_key: str) -> Form:
    """The form of the API-key grant."""
    return {
        "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
        "apikey": api_key,
        "response_type": "cloud_iam",
    }


def trusted_profile_form(cr_token: str, profile_id: str) -> Form:
    """The form of the compute-resource grant."""
    return {
        "grant_type": "urn:ibm:params:oauth:grant-type:cr-token",
        "cr_token": cr_token,
        "profile_id": profile_id,
    }


@dataclass(slots=True)
class _Kept:
    token: str = field(repr=False)
    renew: float
    expires: float


class Iam:
    """Tokens by what they were asked with. The secret itself is not kept: a digest of it is the key."""

    def __init__(self, session: aiohttp.ClientSession, url: str, now: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/identity/token"
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._flights: dict[str, asyncio.Task[str]] = {}

    async def token(self, form: Callable[[], Awaitable[Form]], who: str, cure: str, *, fresh: bool = False) -> str:
        """An access token: the one at hand, renewed beside once most of its life is over; else the answer of IAM.

        However many wait, IAM is asked once, and its failure is everybody's: were each to wait for a timeout
        of its own, an IAM that hangs would hold them up one after the other.

        Args:
            form: reads the credentials; called only when a token must be asked for.
            who: names credentials and their version, so that changed ones do not meet an old token.
            cure: names the field and what to put there, should IAM refuse.
            fresh: the token at hand was refused: ask for another.

        Raises:
            Refused: IAM says no (400, 401, 403).
            Unavailable: no answer.
            ByokError: whatever `form` raises. The token at hand is none the worse for it.
        """
        found = None if fresh else self.at_hand(form, who, cure)
        return found if found is not None else await asyncio.shield(self._flight(_digest(who), form, cure))

    def at_hand(self, form: Callable[[], Awaitable[Form]], who: str, cure: str) -> str | None:
        """The token at hand, if it is good; renewed beside once most of its life is over. Arguments as of `token`."""
        kept = self._kept.get(_digest(who))
        if kept is None or self._now() >= kept.expires:
            return None
        if self._now() >= kept.renew:
            self._flight(_digest(who), form, cure)
        return kept.token

    def forget(self, who: str) -> None:
        """Keep no token of these credentials any more: others took their place."""
        self._kept.pop(_digest(who), None)

    def _flight(self, at: str, form: Callable[[], Awaitable[Form]], cure: str) -> asyncio.Task[str]:
        flight = self._flights.get(at)
        if flight is None:
            flight = self._flights[at] = asyncio.create_task(self._fetch(at, form, cure))
            flight.add_done_callback(lambda done: self._landed(at, done))
        return flight

    def _landed(self, at: str, flight: asyncio.Task[str]) -> None:
        del self._flights[at]
        if not flight.cancelled():
            flight.exception()  # of a renewal nobody else asks

    async def _fetch(self, at: str, form: Callable[[], Awaitable[Form]], cure: str) -> str:
        try:
            asked = await form()
        except ByokError:
            # Whoever may edit a Secret must not end the poll by it: what was bought before is still good.
            self._renew_later(at, 0.0)
            raise
        try:
            kept = self._kept[at] = await self._ask(asked, cure)
        except Unavailable as error:
            self._renew_later(at, error.retry_after or 0.0)
            raise
        except Refused:
            self._kept.pop(at, None)
            raise
        return kept.token

    def _renew_later(self, at: str, seconds: float) -> None:
        if at in self._kept:
            self._kept[at].renew = self._now() + max(RENEWAL_RETRY_SECONDS, seconds)

    async def _ask(self, form: Form, cure: str) -> _Kept:
        answer = await exchange(
            self._session,
            "POST",
            self._url,
            unreachable=Reason.IAM_UNAVAILABLE,
            data=dict(form),
            headers={"Accept": "application/json"},
        )
        if answer.status != 200:
            code = answer.json.get("errorCode", "") if isinstance(answer.json, dict) else ""
            code = code if isinstance(code, str) and code.isalnum() and len(code) < 32 else ""
            at = f"status {answer.status}{f', {code}' if code else ''}"
            text = f"IAM refuses the credentials ({at}); {cure}"
            raise Refused(Reason.CREDENTIALS_REFUSED, text)
        try:
            token, life = str(answer.json["access_token"]), float(answer.json["expires_in"])
        except (KeyError, TypeError, ValueError):
            raise Unavailable(Reason.IAM_UNAVAILABLE, "IAM answers without a token") from None
        now = self._now()
        return _Kept(token, now + life * FRESH_FRACTION, now + life - 10)


def _digest(who: str) -> str:
    return hashlib.sha256(who.encode()).hexdigest()
