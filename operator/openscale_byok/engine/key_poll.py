"""The key-state poll: each root key's metadata, asked again and again, so that a revocation takes effect.

One poll serves only bindings with the same root key *and* the same credentials: another tenant's bad API key
must not stop mine, nor mine keep theirs alive.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from openscale_byok.core.conditions import key_usable
from openscale_byok.core.key_state import KeyLook
from openscale_byok.core.view import UNCHECKED, KeyStanding
from openscale_byok.engine.context import Context, log
from openscale_byok.engine.scope import Key, Scope, backoff
from openscale_byok.errors import ByokError, Refused, Unavailable
from openscale_byok.ports import KeySeen
from openscale_byok.reasons import Reason
from openscale_byok.resources import Credentials, RootKeyBinding

EXPIRY_NOTICE = timedelta(days=30)
LOOK_SECONDS = 60.0
"""How long a look may take, with a token bought for it; then it is one without an answer."""
LATE_SECONDS = 5.0
"""What a busy process may add. A poll that runs is never later than both, whatever Key Protect does."""
PollKey = tuple[str, str, str, str]


@dataclass(slots=True)
class _Poll:
    binding: RootKeyBinding
    credentials: Credentials | None
    followers: dict[str, Scope] = field(default_factory=dict)  # by binding uid
    task: asyncio.Task[None] | None = None
    due: float = float("-inf")
    """When the next look begins, by the last one that ended."""


class KeyPoll:
    """Follows the root keys of every binding."""

    def __init__(self, context: Context, wake: Callable[[Key], None]) -> None:
        self._context = context
        self._wake = wake
        self._polls: dict[PollKey, _Poll] = {}
        self._of: dict[str, PollKey] = {}

    def follow(self, scope: Scope) -> None:
        """Poll for each binding of a scope, and for none that is gone. The first look is at once."""
        present = {b.metadata.uid: b for b in scope.bindings.values()}
        for uid in [uid for uid, key in self._of.items() if uid not in present and self._mine(key, uid, scope)]:
            self._leave(uid)
        for uid, binding in present.items():
            credentials = scope.credentials_of(binding)
            key = _key(binding, credentials)
            if self._of.get(uid) == key:
                continue
            if uid in self._of:
                # What other credentials were told, and gave, says nothing of these.
                scope.keys[uid] = UNCHECKED
                self._context.data_keys.drop(uid)
            self._leave(uid)
            self._join(key, binding, credentials, scope)

    def watches(self, uid: str) -> bool:
        """Whether this binding's root key is looked at: the last look is no older than it is where the poll runs.

        One without an answer counts: that Key Protect cannot be reached was found then. What does not count is
        that nobody looked, as in a process that was stopped for an hour and has just gone on.
        """
        key = self._of.get(uid)
        poll = self._polls.get(key) if key is not None else None
        return poll is not None and self._context.clock.monotonic() <= poll.due + LOOK_SECONDS + LATE_SECONDS

    def stop(self) -> None:
        """End every poll."""
        for uid in list(self._of):
            self._leave(uid)

    def _mine(self, key: PollKey, uid: str, scope: Scope) -> bool:
        poll = self._polls.get(key)
        return poll is not None and poll.followers.get(uid) is scope

    def _join(self, key: PollKey, binding: RootKeyBinding, credentials: Credentials | None, scope: Scope) -> None:
        poll = self._polls.get(key)
        if poll is None:
            poll = self._polls[key] = _Poll(binding, credentials)
            poll.task = asyncio.create_task(self._serve(poll), name=f"key poll {binding.metadata.name}")
        else:
            other = next(iter(poll.followers.items()), None)
            if other is not None and other[0] in other[1].keys:
                scope.keys[binding.metadata.uid] = other[1].keys[other[0]]
                scope.reopen(binding.root_key)  # the poll has nothing new to say, but to this scope it is
        poll.followers[binding.metadata.uid] = scope
        self._of[binding.metadata.uid] = key

    def _leave(self, uid: str) -> None:
        key = self._of.pop(uid, None)
        poll = self._polls.get(key) if key is not None else None
        if key is None or poll is None:
            return
        poll.followers.pop(uid, None)
        if not poll.followers:
            del self._polls[key]
            if poll.task is not None:
                poll.task.cancel()

    async def _serve(self, poll: _Poll) -> None:
        tries, interval = 0, self._context.tuning.key_poll_seconds
        while True:
            trouble = await self._look(poll)
            wait = interval * (0.9 + self._context.jitter() / 5)
            tries = tries + 1 if isinstance(trouble, Unavailable) else 0
            if isinstance(trouble, Unavailable):
                wait = max(min(wait, backoff(tries, self._context.jitter())), trouble.retry_after or 0.0)
            poll.due = self._context.clock.monotonic() + wait
            await asyncio.sleep(wait)

    async def _look(self, poll: _Poll) -> ByokError | None:
        try:
            kms = self._context.root_keys.customer(poll.binding, poll.credentials)
            look = await _answered(kms.look())
            found = KeyStanding(look, expiring=look.expires_within(EXPIRY_NOTICE, self._context.clock.now()))
        except (Refused, Unavailable) as error:
            found = KeyStanding(trouble=error)
        except Exception as error:  # noqa: BLE001 -- a poll that ended would leave a revocation unnoticed for ever
            log.error("unexpected", root_key=poll.binding.root_key, error=type(error).__name__)
            text = f"the look at the root key failed ({type(error).__name__})"
            found = KeyStanding(trouble=Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, text))
        for uid, scope in list(poll.followers.items()):
            self._learned(uid, scope, poll.binding.root_key, found)
        return found.trouble

    def _learned(self, uid: str, scope: Scope, root_key: str, found: KeyStanding) -> None:
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
        self._tell(uid, scope, root_key, found, changed=changed)
        if changed:
            scope.reopen(root_key)
            self._wake(scope.key)

    def _expire(self, uid: str, scope: Scope) -> None:
        """What may not be used any more does not stay in memory either."""
        binding = _named(uid, scope)
        if binding is not None:
            self._context.data_keys.expire(uid, float(binding.spec.data_key_cache_seconds))

    def _tell(self, uid: str, scope: Scope, root_key: str, found: KeyStanding, *, changed: bool) -> None:
        binding, said = _named(uid, scope), key_usable(found)
        if binding is None:
            return  # gone while the look was under way
        seen = KeySeen(
            namespace=scope.key[0],
            binding=binding.metadata.name,
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
    return next((b for b in scope.bindings.values() if b.metadata.uid == uid), None)


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


def _key(binding: RootKeyBinding, credentials: Credentials | None) -> PollKey:
    endpoint = binding.spec.root_key.endpoint or ""
    return binding.metadata.namespace, binding.root_key, endpoint, repr(credentials)
