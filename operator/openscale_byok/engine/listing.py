"""Reads everything of an instance afresh, in the order that the rules of the store need."""

from openscale_byok.engine.context import Context
from openscale_byok.engine.scope import Scope
from openscale_byok.errors import Missing

RELIST_SECONDS = 600.0
"""A watch can miss a deletion (kopf never compares a list with what it knew); a list does not."""


async def list_anew(context: Context, scope: Scope) -> None:
    """Read everything of the instance afresh, and replace what was known."""
    store = context.store
    try:
        await context.read_instance(scope)
    except Missing:
        scope.see_instance(None)
    # From here on events count: one that comes before the lists' answers is newer than they may be.
    scope.listed = True
    try:
        bindings = await store.bindings(*scope.key)
        scope.list_bindings(bindings.version, bindings.items)
        await context.list_marts(scope)
    except BaseException:
        scope.listed = False
        raise
    scope.relist_due = context.clock.monotonic() + RELIST_SECONDS * (0.9 + context.jitter() / 5)
    scope.troubles.pop("list", None)
