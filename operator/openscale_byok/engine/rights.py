"""Who asks and what they may do, remembered for seconds: the port `Reviews` asks anew each time.

A yes that was withdrawn is used for `KNOWN_SECONDS` or `ALLOWED_SECONDS` at most, counted from before it was asked
for. Without an answer there is no yes: nothing older serves while the API server is away.
"""

import hashlib
from dataclasses import dataclass

from openscale_byok.core.caller import Access, Caller
from openscale_byok.engine.answers import MOST, Answer, Answers
from openscale_byok.errors import Refused
from openscale_byok.ports import Clock, Reviews
from openscale_byok.reasons import Reason

KNOWN_SECONDS = 5.0
"""A good token. The API server itself remembers one for ten seconds: what it is deleted for takes that long besides."""
REFUSED_SECONDS = 10.0
"""A bad token stays bad: only one that is not valid yet would be good later."""
ALLOWED_SECONDS = 5.0
"""A right. Long enough that a thousand readers of one password a second are one question in five seconds."""
DENIED_SECONDS = 10.0
"""The lack of a right: whoever was just given one waits this long. Longer than a yes, as asking in vain is cheaper to
wait for than a password is to take back."""

LONGEST_NAME = 253
"""Characters of any name in Kubernetes."""


@dataclass(frozen=True, slots=True)
class _No:
    """A refusal as it is kept: an exception would keep the frames of whoever it was raised to."""

    reason: Reason
    message: str
    trace: str


class Rights:
    """What the gateway asks before anything else."""

    def __init__(self, reviews: Reviews, clock: Clock, most: int = MOST) -> None:
        self._reviews = reviews
        self._clock = clock
        self._callers: Answers[bytes, Caller | _No] = Answers(clock, most)
        self._accesses: Answers[tuple[Caller, Access], bool] = Answers(clock, most)

    async def caller(self, token: str) -> Caller:
        """Who holds a token. Where that is known, nothing is waited for. The token itself is not kept: a digest is.

        Raises:
            Refused: `NotAuthenticated`; why is in its trace, for the log.
            Unavailable: nobody could be asked, or too many ask (`TooManyRequests`).
        """
        # Whatever bytes a header held: they are to be refused, not to fail.
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = self._callers.known(digest)
        if found is None:
            found = await self._callers.ask(digest, lambda: self._who(token))
        if isinstance(found, _No):
            raise Refused(found.reason, found.message, trace=found.trace)
        return found

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """Whether they may. Where that is known, nothing is waited for.

        Raises:
            Unavailable: nobody could be asked, or too many ask (`TooManyRequests`).
        """
        if len(access.name) > LONGEST_NAME or len(access.namespace) > LONGEST_NAME:
            return False  # nothing has such a name; and what is kept of a question is bounded by what may be asked
        about = (caller, access)
        found = self._accesses.known(about)
        return await self._accesses.ask(about, lambda: self._may(caller, access)) if found is None else found

    async def close(self) -> None:
        """End what is under way."""
        await self._callers.close()
        await self._accesses.close()

    async def _who(self, token: str) -> Answer[Caller | _No]:
        now = self._clock.now().timestamp()
        try:
            caller = await self._reviews.caller(token)
        except Refused as error:
            return Answer(_No(error.reason, error.message, error.trace), good=False, seconds=REFUSED_SECONDS)
        left = KNOWN_SECONDS if caller.expires is None else min(KNOWN_SECONDS, caller.expires - now)
        return Answer(caller, good=True, seconds=left)

    async def _may(self, caller: Caller, access: Access) -> Answer[bool]:
        yes = await self._reviews.allowed(caller, access)
        return Answer(yes, good=yes, seconds=ALLOWED_SECONDS if yes else DENIED_SECONDS)
