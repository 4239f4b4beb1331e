"""The key-state poll: each root key's metadata, asked again and again, so that a revocation takes effect.

One poll serves only bindings with the same root key *and* the same credentials: another tenant's bad API key
must not stop mine, nor mine keep theirs alive.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from openscale_byok.core.conditions import key_usable
from openscale_byok.core.key_state import KeyLook
from openscale_byok.core.view import UNCHECKED, KeyStanding
from openscale_byok.engine.context import GLOBAL_HOLDER, GLOBAL_LIMIT_SECONDS, Context, log
from openscale_byok.engine.scope import Key, Scope, backoff
from openscale_byok.errors import ByokError, CredentialsUnavailable, Refused, Unavailable
from openscale_byok.ports import Kms
from openscale_byok.ports.observers import KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, Credentials, RootKeyBinding

EXPIRY_NOTICE = timedelta(days=30)
LOOK_SECONDS = 60.0
"""How long a look may take, with a token bought for it; then it is one without an answer."""
PATIENCE_SECONDS = 10.0
"""For how long, at least, credentials that were never there are waited for, before a person must act."""
SPACE_SECONDS = 1.0
"""Between two looks, however long the first took."""
LATE_SECONDS = 5.0
"""What a busy process may add to the interval, and to a look. A poll that runs is never later than that."""
PollKey = tuple[str, str, str, str]
Follower = tuple[Key, str]
"""Whose scope, and the holder that the standing is for: a binding's uid, or the global key."""


@dataclass(slots=True)
class _Poll:
    root_key: str
    kms: Callable[[], Kms]
    followers: dict[Follower, Scope] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    counts_until: float = float("-inf")
    """How long what is known may be relied on: until the next look should have begun; and once it has, in time, until
    it should have ended. One that begins late changes nothing of that: only its answer does."""
    answered: bool = False
    """Whether Key Protect ever said how the root key is."""
    asked_with: str = ""
    """Stands for the credentials of the last answer."""
    bare_since: float | None = None
    """Since when there is nothing to ask it with."""
    looked: float | None = None
    """When the last look ended."""
    heard: float | None = None
    """When Key Protect answered last: yes or no."""


class KeyPoll:
    """Follows the root keys of every binding, and the global key: one poll of that serves everybody."""

    def __init__(self, context: Context, wake: Callable[[Key], None]) -> None:
        self._context = context
        self._wake = wake
        self._polls: dict[PollKey, _Poll] = {}
        self._of: dict[Key, dict[str, PollKey]] = {}
        """By scope and holder: what one instance follows is found without looking at the others."""

    def follow(self, scope: Scope) -> None:
        """Poll for each root key that a scope may use, and for none that it may not any more. The first look is at
        once."""
        wanted = {} if scope.empty else self._wanted(scope)
        followed = self._of.get(scope.key, {})
        for holder in [holder for holder in followed if holder not in wanted]:
            self._leave((scope.key, holder))
            if holder != GLOBAL_HOLDER and scope.keys.pop(holder, None) is not None:
                # It is there, and nobody looks from here on: what was last said, and given, is not to be relied on.
                self._context.data_keys.drop(holder)
        for holder, (key, root_key, kms) in wanted.items():
            follower = (scope.key, holder)
            if followed.get(holder) == key and self._polls[key].followers[follower] is scope:
                continue
            if followed.get(holder, key) != key:
                # What other credentials were told, and gave, says nothing of these.
                scope.keys[holder] = UNCHECKED
                self._context.data_keys.drop(holder)
            self._leave(follower)
            self._join(key, root_key, kms, follower, scope)

    def watches(self, scope: Scope, holder: str) -> bool:
        """Whether a root key is looked at for a scope: the last look is no older than it is where the poll runs.

        One without an answer counts: that Key Protect cannot be reached was found then. What does not count is
        that nobody looked, as in a process that stood still for longer than the interval and has just gone on.
        """
        key = self._of.get(scope.key, {}).get(holder)
        poll = self._polls.get(key) if key is not None else None
        return poll is not None and self._context.clock.monotonic() <= poll.counts_until

    def looks(self, scope: Scope, holder: str) -> tuple[float | None, float | None]:
        """When the last look for a scope ended, and when the last one was answered with a yes or a no."""
        key = self._of.get(scope.key, {}).get(holder)
        poll = self._polls.get(key) if key is not None else None
        return (poll.looked, poll.heard) if poll is not None else (None, None)

    def stop(self) -> None:
        """End every poll."""
        for follower in [(scope, holder) for scope, followed in self._of.items() for holder in followed]:
            self._leave(follower)

    def _wanted(self, scope: Scope) -> dict[str, tuple[PollKey, str, Callable[[], Kms]]]:
        """What to poll, by holder."""
        root_keys = self._context.root_keys
        found: dict[str, tuple[PollKey, str, Callable[[], Kms]]] = {}
        for binding in scope.shortlist.looked_at:
            credentials = scope.credentials_of(binding)
            kms = partial(root_keys.customer, binding, credentials)
            found[binding.metadata.uid] = (_key(binding, credentials), binding.root_key, kms)
        return found | {GLOBAL_HOLDER: (_GLOBAL_POLL, GLOBAL, root_keys.global_key)}

    def _join(self, key: PollKey, root_key: str, kms: Callable[[], Kms], follower: Follower, scope: Scope) -> None:
        poll = self._polls.get(key)
        if poll is None:
            poll = self._polls[key] = _Poll(root_key, kms)
            poll.task = asyncio.create_task(self._serve(poll), name=f"key poll {root_key}")
        else:
            other = next(iter(poll.followers.items()), None)
            if other is not None and other[0][1] in other[1].keys:
                scope.keys[follower[1]] = other[1].keys[other[0][1]]
                scope.reopen(root_key)  # the poll has nothing new to say, but to this scope it is
        poll.followers[follower] = scope
        self._of.setdefault(follower[0], {})[follower[1]] = key

    def _leave(self, follower: Follower) -> None:
        followed = self._of.get(follower[0], {})
        key = followed.pop(follower[1], None)
        if not followed:
            self._of.pop(follower[0], None)
        poll = self._polls.get(key) if key is not None else None
        if key is None or poll is None:
            return
        poll.followers.pop(follower, None)
        if not poll.followers:
            del self._polls[key]
            if poll.task is not None:
                poll.task.cancel()

    async def _serve(self, poll: _Poll) -> None:
        tries, interval = 0, self._context.tuning.key_poll_seconds
        clock = self._context.clock
        while True:
            began = clock.monotonic()
            if began <= poll.counts_until:
                poll.counts_until = began + LOOK_SECONDS + LATE_SECONDS
            trouble = await self._look(poll)
            # Spread so that not all come at once, and never beyond the interval: that is what an owner is promised.
            wait = interval * (0.8 + self._context.jitter() / 5)
            # From one beginning to the next: what was answered late may have been true only at the beginning.
            wait = max(wait - (clock.monotonic() - began), min(wait, SPACE_SECONDS))
            tries = tries + 1 if isinstance(trouble, Unavailable) else 0
            if isinstance(trouble, Unavailable):
                # Whoever asks for patience is given it within the interval: while nobody looks, a no goes unnoticed.
                wait = min(wait, max(backoff(tries, self._context.jitter()), trouble.retry_after or 0.0))
            poll.counts_until = clock.monotonic() + wait + LATE_SECONDS
            await asyncio.sleep(wait)

    async def _look(self, poll: _Poll) -> ByokError | None:
        try:
            look = await _answered(poll.kms().look())
            found = KeyStanding(look, expiring=look.expires_within(EXPIRY_NOTICE, self._context.clock.now()))
            self._credentials_of(poll, look)
        except CredentialsUnavailable as error:
            found = self._bare(poll, error)
        except (Refused, Unavailable) as error:
            found = KeyStanding(trouble=error)
        except Exception as error:  # noqa: BLE001 -- a poll that ended would leave a revocation unnoticed for ever
            log.error("unexpected", root_key=poll.root_key, error=type(error).__name__)
            text = f"the look at the root key failed ({type(error).__name__})"
            found = KeyStanding(trouble=Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, text))
        if found.look is not None:
            poll.bare_since = None
        poll.looked = self._context.clock.monotonic()
        if not isinstance(found.trouble, Unavailable):
            poll.heard = poll.looked
        for number, ((_, holder), scope) in enumerate(list(poll.followers.items())):
            # What is said of the global key is said once, whoever follows it.
            self._learned(holder, scope, poll.root_key, found, tell=holder != GLOBAL_HOLDER or number == 0)
        return found.trouble

    def _credentials_of(self, poll: _Poll, look: KeyLook) -> None:
        """Where others took the place of those that it was asked with before, what these gave is used no more."""
        if poll.answered and look.asked_with != poll.asked_with:
            for _, holder in poll.followers:
                self._context.data_keys.drop(holder)
        poll.answered, poll.asked_with = True, look.asked_with

    def _bare(self, poll: _Poll, error: CredentialsUnavailable) -> KeyStanding:
        """There is nothing to ask Key Protect with, by the doing of somebody in the cluster.

        Then what was unwrapped is not used any more, as after a refusal: an owner who says no at this moment would not
        be heard. Where nothing was answered yet, the credentials may still be on their way.
        """
        now, interval = self._context.clock.monotonic(), self._context.tuning.key_poll_seconds
        poll.bare_since = now if poll.bare_since is None else poll.bare_since
        for _, holder in poll.followers:
            self._context.data_keys.drop(holder)
        lasting = (
            now - poll.bare_since >= max(interval, PATIENCE_SECONDS) and error.reason is not Reason.CLUSTER_UNAVAILABLE
        )
        if not poll.answered and not lasting:
            return KeyStanding(trouble=error)
        text = f"{error.message}: until it is there, Key Protect cannot be asked, and nothing is opened"
        return KeyStanding(trouble=Refused(Reason.CREDENTIALS_MISSING, text))

    def _learned(self, uid: str, scope: Scope, root_key: str, found: KeyStanding, *, tell: bool) -> None:
        if uid != GLOBAL_HOLDER and _named(uid, scope) is None:
            return  # gone while the look was under way: nobody would renew what it says
        before = scope.keys.get(uid)
        if isinstance(found.trouble, Unavailable):
            if before is not None:
                # A clear no holds until a good look: losing sight of Key Protect does not take it back. And an
                # outage that looks a little different each time is said once.
                stays = isinstance(before.trouble, Refused) or _same_outage(before.trouble, found.trouble)
                found = before if stays else replace(before, trouble=found.trouble)
            self._expire(uid, scope)
        scope.keys[uid] = found
        if found.refused:
            # Does not queue behind anything: from here on no cached data key of this binding is used.
            self._context.data_keys.drop(uid)
        changed = before is None or _said(before) != _said(found)
        if tell:
            self._tell(uid, scope, root_key, found, changed=changed)
        if changed:
            scope.reopen(root_key)
            self._wake(scope.key)

    def _expire(self, uid: str, scope: Scope) -> None:
        """What may not be used any more does not stay in memory either."""
        binding = _named(uid, scope)
        if uid == GLOBAL_HOLDER:
            self._context.data_keys.expire(uid, GLOBAL_LIMIT_SECONDS)
        elif binding is not None:
            self._context.data_keys.expire(uid, float(binding.spec.data_key_cache_seconds))

    def _tell(self, uid: str, scope: Scope, root_key: str, found: KeyStanding, *, changed: bool) -> None:
        binding, said = _named(uid, scope), key_usable(found)
        seen = KeySeen(
            namespace=scope.key[0] if binding is not None else "",
            binding=binding.metadata.name if binding is not None else "",
            uid=uid,
            root_key=root_key,
            state=found.look.state.value if found.look is not None else "Unknown",
            reason=said.reason,
            usable=said.status,
            until=found.look.until if found.look is not None else "",
            changed=changed,
            trace=found.trouble.trace if found.trouble is not None else "",
        )
        for observer in self._context.observers:
            with contextlib.suppress(Exception):
                observer.key_seen(seen)


def _named(uid: str, scope: Scope) -> RootKeyBinding | None:
    return next((b for b in scope.shortlist.looked_at if b.metadata.uid == uid), None)


def _same_outage(before: ByokError | None, after: Unavailable) -> bool:
    return isinstance(before, Unavailable) and before.reason is after.reason


async def _answered(look: Awaitable[KeyLook]) -> KeyLook:
    """A look's answer, in bounded time: a poll that waited for ever would leave a revocation unnoticed too."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look
    except TimeoutError:
        text = f"no answer about the root key within {LOOK_SECONDS:.0f} s"
        raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, text) from None


def _said(standing: KeyStanding) -> tuple[object, ...]:
    trouble = standing.trouble
    return standing.look, standing.expiring, type(trouble), trouble and trouble.reason, trouble and trouble.message


_GLOBAL_POLL: PollKey = ("", GLOBAL, "", "")


def _key(binding: RootKeyBinding, credentials: Credentials | None) -> PollKey:
    endpoint = binding.spec.root_key.endpoint or ""
    return binding.metadata.namespace, binding.root_key, endpoint, repr(credentials)
