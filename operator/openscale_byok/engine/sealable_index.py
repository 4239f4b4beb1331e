"""Which instance holds a sealable of some name, and which sealables read some Secret: without a look at all others.

A namespace may have thousands of either, and both questions are asked for each password that is read or handed over.
"""

from openscale_byok.core.sealable import Sealable

Key = tuple[str, str]
_Found = dict[tuple[Key, str], None]  # in the order in which they came


class SealableIndex:
    """Told of each sealable that is kept, changed or forgotten."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], _Found] = {}
        self._reading: dict[tuple[str, str], _Found] = {}

    def named(self, namespace: str, name: str) -> list[Key]:
        """The instances that hold a sealable of this name."""
        return [key for key, _ in self._named.get((namespace, name), ())]

    def reading(self, namespace: str, secret: str) -> list[tuple[Key, str]]:
        """The instances and names of the sealables that read this Secret, or were sealed from it."""
        return list(self._reading.get((namespace, secret), ()))

    def move(self, key: Key, before: Sealable | None, after: Sealable | None) -> None:
        """An instance holds one in place of another of the same name; None: it held none, or holds none now."""
        for index, at, now in (
            (self._named, _names(before), _names(after)),
            (self._reading, _secrets(before), _secrets(after)),
        ):
            sealable = after or before
            if at == now or sealable is None:
                continue
            place = key, sealable.meta.name
            for name in at - now:
                found = index[key[0], name]
                found.pop(place, None)
                if not found:
                    del index[key[0], name]
            for name in now - at:
                index.setdefault((key[0], name), {})[place] = None


def _names(sealable: Sealable | None) -> set[str]:
    return {sealable.meta.name} if sealable is not None else set()


def _secrets(sealable: Sealable | None) -> set[str]:
    if sealable is None:
        return set()
    asked = sealable.source_ref.name if sealable.source_ref is not None else None
    sealed = sealable.sealed_source.name if sealable.sealed_source is not None else None
    return {name for name in (asked, sealed) if name}
