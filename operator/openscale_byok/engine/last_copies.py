"""The only copy of a password that went with its data mart: audited, and told by an event on its instance.

The watch shows that it is gone, and not who deleted it (the API server's own audit log does). A deletion while no
operator ran leaves nothing to see.
"""

from collections.abc import Callable, Iterable

from openscale_byok.core.sealable import Sealable
from openscale_byok.engine.audited import deleted_only_copy, told
from openscale_byok.engine.context import Context
from openscale_byok.engine.scope import Key, Scope
from openscale_byok.reasons import Reason

NAMED = 10
"""So many are named in an event; each has an audit line."""


class LastCopies:
    """What has gone and was not told yet, by instance. Told once each: whoever is asked again has nothing left."""

    def __init__(self, context: Context, wake: Callable[[Key], None]) -> None:
        self._context = context
        self._wake = wake
        self._gone: dict[Key, list[Sealable]] = {}

    def went(self, key: Key, sealable: Sealable) -> None:
        """A sealable is gone, in whatever state it was known last. It matters where nothing else holds its password."""
        if sealable.only_copy:
            self._gone.setdefault(key, []).append(sealable)
            self._wake(key)

    async def tell(self, scope: Scope) -> None:
        """Tell of those of one instance. Their lines are no condition of what has happened by then."""
        gone = self._gone.pop(scope.key, [])
        for sealable in gone:
            told(self._context.audit, deleted_only_copy(sealable))
        if gone and scope.instance is not None:
            instance = scope.instance
            await self._context.store.announce(
                instance.KIND, instance.metadata, Reason.ONLY_COPY_DELETED, _text(sorted(s.meta.name for s in gone))
            )


def _text(names: Iterable[str]) -> str:
    listed = list(names)
    some = ", ".join(listed[:NAMED]) + (" …" if len(listed) > NAMED else "")
    marts = "data mart was" if len(listed) == 1 else "data marts were"
    return (
        f"{len(listed)} {marts} deleted, with the only copy of the password: {some}. A backup of the object opens; "
        "spec.deletionProtection refuses such a deletion"
    )
