"""Who asks and what they may do, remembered for seconds: the port `Reviews` asks anew each time.

A yes that was withdrawn is used for `KNOWN_SECONDS` or `ALLOWED_SECONDS` at most, counted from before it was asked
for. Without an answer there is no yes: nothing older serves while the API server is away.

A right to read is asked for once without a name, which the API defines as *all*, and by name only where that is
refused: whoever may read a thousand objects costs as many questions as whoever reads one.
"""

import hashlib
from dataclasses import dataclass

from openscale_byok.core.caller import Access, Caller
from openscale_byok.engine.answers import MOST, Answer, Answers
from openscale_byok.engine.pace import Pace
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

REFUSED_PER_SECOND = 5.0
"""Refused tokens that were asked about, of one address (and of each signer there): more are not asked about."""
REFUSED_BURST = 50
TOO_MANY_REFUSED = "too many tokens that came from your address were refused; try again later"

LONGEST_NAME = 253
"""Characters of any name in Kubernetes."""
READ = "get"
"""The one verb whose right is asked for without a name first. What changes something is rare, and asked by its name."""
NO_OBJECT = "(every object)"
"""A name that no object can have. *All* is believed of who may read this one besides: RBAC takes a Role's
`resourceNames: [""]` (a template whose value was forgotten) for the right to what has no name; that is no object."""


@dataclass(frozen=True, slots=True)
class _No:
    """A refusal as it is kept: an exception would keep the frames of whoever it was raised to."""

    reason: Reason
    message: str
    trace: str


@dataclass(frozen=True, slots=True)
class _Every:
    """A question about all objects of a kind. No question about one object is ever equal to it, whatever its name."""

    caller: Caller
    verb: str
    resource: str
    namespace: str
    group: str
    about: str
    """As in `Access`: what was answered about one id is not remembered for another one."""

    def access(self, name: str) -> Access:
        """The question about one of them."""
        return Access(self.verb, self.resource, self.namespace, name, self.group, self.about)


class Rights:
    """What the gateway asks before anything else."""

    def __init__(self, reviews: Reviews, clock: Clock, most: int = MOST) -> None:
        self._reviews = reviews
        self._clock = clock
        self._refused = Pace(REFUSED_PER_SECOND, REFUSED_BURST, clock, most, TOO_MANY_REFUSED)
        self._callers: Answers[bytes, Caller | _No] = Answers(clock, most)
        self._accesses: Answers[tuple[Caller, Access] | _Every, bool] = Answers(clock, most)

    async def caller(self, token: str, network: str = "") -> Caller:
        """Who holds a token. Where that is known, nothing is waited for. The token itself is not kept: a digest is.

        Args:
            token: as it was sent.
            network: where it came from (`core.network`). One that sends bad tokens is slowed down before anybody is
                asked. Tokens whose signer is known are not counted with it: whoever shares an address with
                strangers does not share their fate.

        Raises:
            Refused: `NotAuthenticated`; why is in its trace, for the log.
            Unavailable: nobody could be asked, or too many ask (`TooManyRequests`).
        """
        # Whatever bytes a header held: they are to be refused, not to fail.
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = self._callers.known(digest)
        if found is None:
            found = await self._ask_who(digest, token, network)
        if isinstance(found, _No):
            raise Refused(found.reason, found.message, trace=found.trace)
        return found

    async def _ask_who(self, digest: bytes, token: str, network: str) -> Caller | _No:
        signer = self._reviews.signer(token)
        flow = f"{network} {signer}"
        counted = None if self._callers.proven(digest) else flow
        return await self._callers.ask(digest, lambda: self._who(token, counted), flow, vouched=bool(signer))

    async def allowed(self, caller: Caller, access: Access) -> bool:
        """Whether they may. Where that is known, nothing is waited for.

        Raises:
            Unavailable: nobody could be asked, or too many ask (`TooManyRequests`).
        """
        if len(access.name) > LONGEST_NAME or len(access.namespace) > LONGEST_NAME:
            return False  # nothing has such a name; and what is kept of a question is bounded by what may be asked
        if access.verb != READ or not access.name:
            return await self._named(caller, access)
        every = _Every(caller, access.verb, access.resource, access.namespace, access.group, access.about)
        # What is known by name needs no other question; and a no by name stays none where all is allowed since.
        if self._accesses.known(every) or self._accesses.known((caller, access)):
            return True
        return await self._all(every, access) or await self._named(caller, access)

    async def _named(self, caller: Caller, access: Access) -> bool:
        """Whether they may do just this."""
        about = (caller, access)
        found = self._accesses.known(about)
        return await self._accesses.ask(about, lambda: self._may(*about), caller.user) if found is None else found

    async def _all(self, every: _Every, access: Access) -> bool:
        """Whether they may do this to every object of a kind in a namespace."""
        found = self._accesses.known(every)
        if found is not None:
            return found
        # Who reads by name asks this first: they are no newcomer by that.
        vouched = self._accesses.proven((every.caller, access))
        return await self._accesses.ask(every, lambda: self._may_all(every), every.caller.user, vouched=vouched)

    async def close(self) -> None:
        """End what is under way."""
        await self._callers.close()
        await self._accesses.close()

    async def _who(self, token: str, counted: str | None) -> Answer[Caller | _No]:
        """Ask about a token; one that is refused counts against *counted*."""
        now = self._clock.now().timestamp()
        if counted is not None:
            self._refused.take(counted)
        try:
            caller = await self._reviews.caller(token)
        except Refused as error:
            return Answer(_No(error.reason, error.message, error.trace), good=False, seconds=REFUSED_SECONDS)
        except BaseException:
            self._give_back(counted)
            raise
        self._give_back(counted)
        left = KNOWN_SECONDS if caller.expires is None else min(KNOWN_SECONDS, caller.expires - now)
        return Answer(caller, good=True, seconds=left)

    def _give_back(self, counted: str | None) -> None:
        if counted is not None:
            self._refused.give_back(counted)

    async def _may(self, caller: Caller, access: Access) -> Answer[bool]:
        return await self._asked((caller, access))

    async def _may_all(self, every: _Every) -> Answer[bool]:
        return await self._asked(*((every.caller, every.access(name)) for name in ("", NO_OBJECT)))

    async def _asked(self, *about: tuple[Caller, Access]) -> Answer[bool]:
        """Whether all of this is allowed."""
        for caller, access in about:
            if not await self._reviews.allowed(caller, access):
                return Answer(value=False, good=False, seconds=DENIED_SECONDS)
        return Answer(value=True, good=True, seconds=ALLOWED_SECONDS)
