"""Who else reads a source: the data marts of a namespace, over all of its instances."""

from openscale_byok.core.handover import hands_over
from openscale_byok.core.sealable import Sealable, Standing
from openscale_byok.engine.scope import Scope
from openscale_byok.engine.world import World
from openscale_byok.resources import Properties, SealedSource


class Readers:
    """Looks through what is known of a namespace."""

    def __init__(self, world: World) -> None:
        self._world = world

    def waiting(self, sealable: Sealable) -> str:
        """Until when the source that this one was sealed from is needed by others, in words; or nothing.

        One that names an instance which does not exist needs nothing: else whoever may make a data mart could keep a
        neighbour's password in plain form for ever. An instance that was not read yet may have some that do.
        """
        ref = sealable.source_ref
        if ref is None:
            return ""
        for scope in self._world.of_namespace(sealable.meta.namespace):
            if not scope.read and scope.key[1] != sealable.instance and scope.instance is not None:
                return f"OpenScaleInstance {scope.key[1]} was read: its data marts may need it too"
        for scope, other in self._world.reading(sealable.meta.namespace, ref.name):
            if scope.instance is None:
                continue
            named = other.source_ref is not None and other.source_ref.name == ref.name
            if named and other.uid != sealable.uid and not _served(scope, other, sealable.sealed_source):
                return f"DataMart {other.meta.name} is sealed from it too"
        return ""

    def handed_over_to(self, namespace: str, name: str) -> str:
        """The data mart that was sealed from a hand-over Secret of this name, and safely so; or nothing."""
        for scope, other in self._world.reading(namespace, name):
            source = other.sealed_source
            if source is not None and hands_over(other) and source.name == name and _safe(scope, other):
                return other.meta.name
        return ""


def _served(scope: Scope, sealable: Sealable, source: SealedSource | None) -> bool:
    """Whether a sealable is safely sealed, checked, from just this state of the source, for where it goes now."""
    own = sealable.sealed_source
    if own is None or source is None or (own.uid, own.resource_version) != (source.uid, source.resource_version):
        return False
    return sealable.ready and not sealable.elsewhere and _safe(scope, sealable)


def _safe(scope: Scope, sealable: Sealable) -> bool:
    properties = scope.instance.properties if scope.instance is not None else Properties()
    return sealable.standing(properties) is Standing.CURRENT
