"""Says, once, that nothing names a former version of the global key any more.

Only what this process saw named is spoken of. `openscale-byok global-key verify` says it of every version.
"""

from collections.abc import Mapping

from openscale_byok.core.global_names import UNREADABLE, Naming, of_instance
from openscale_byok.core.view import UNCHECKED
from openscale_byok.engine.context import log
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.resources import GLOBAL


class FormerVersions:
    """What each scope was seen to name since it last had nothing left to do."""

    def __init__(self) -> None:
        self._named: dict[Key, set[str]] = {}
        self._leaving: set[str] = set()

    def see(self, scope: Scope) -> None:
        """Remember what a scope names, before a step is planned that may change it.

        Not only where it comes to rest: after a start, or with two rotations in a row, work begins before that.
        """
        named = _named_in(scope)
        if named:
            self._named.setdefault(scope.key, set()).update(named)

    def settled(self, scope: Scope, scopes: Mapping[Key, Scope]) -> None:
        """A scope has nothing left to do: what it named before and names no more may be free."""
        named = _named_in(scope)
        before = self._named.pop(scope.key, set())
        if named:
            self._named[scope.key] = named
        self._leaving |= before - named
        if not self._leaving or not all(other.listed for other in scopes.values() if not other.empty):
            return
        self._leaving -= set[str]().union(*(_named_in(other) for other in scopes.values()))
        wrapping = _wrapping(scopes)
        if not wrapping:
            return  # nobody was told yet which version wraps: that one is no former one
        free = self._leaving - wrapping
        for version in sorted(free):
            text = "nothing names this version of the global key any more; see: openscale-byok global-key verify"
            log.info("former version free", version=version[:8], message=text)
        # A scope that left it too, and settles only later, has nothing to add to what was said.
        for known in self._named.values():
            known.difference_update(free)
        # The one that wraps, left by an instance that is gone, waits here until a rotation makes it a former one.
        self._leaving -= free


def _wrapping(scopes: Mapping[Key, Scope]) -> set[str]:
    """The version that wraps, by the last look at the global key; an older one too, where a scope knows only that."""
    looks = (scope.keys.get(GLOBAL, UNCHECKED).look for scope in scopes.values())
    return {look.version for look in looks if look is not None}


def _named_in(scope: Scope) -> set[str]:
    """The versions that a scope's properties and envelopes name. Most envelopes carry the same wrapped data key."""
    at = scope.key
    found = list(of_instance(scope.instance)) if scope.instance is not None else []
    envelopes = (sealable.envelope for sealable in scope.sealables.values())
    carried = {e.wrapped.ciphertext for e in envelopes if e is not None and e.wrapped.root_key == GLOBAL}
    found += [Naming("", at, "", wrapped) for wrapped in carried]
    return {naming.version for naming in found if naming.in_secret} - {UNREADABLE}
