"""What names the global key: wrapped data keys in properties, and those that envelopes carry themselves."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.global_versions import stamped, version_of
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataMart, OpenScaleInstance

UNREADABLE = "?"
"""In place of a version: what names it cannot be read."""


@dataclass(frozen=True, slots=True)
class Naming:
    """One wrapped data key under the global key, and where it stands."""

    where: str
    instance: tuple[str, str]
    data_key: str
    wrapped: str = field(repr=False)

    @property
    def version(self) -> str:
        """The version of the Secret that wrapped it; a root key's CRN where one of Key Protect did."""
        by_root_key = stamped(self.wrapped)
        return by_root_key[0] if by_root_key is not None else version_of(self.wrapped) or UNREADABLE

    @property
    def in_secret(self) -> bool:
        """Whether it needs a version of the Secret."""
        return stamped(self.wrapped) is None


def of_instance(instance: OpenScaleInstance) -> Iterator[Naming]:
    """Every recorded data key under the global key."""
    for entry in instance.properties.data_keys:
        if entry.root_key == GLOBAL:
            yield Naming(f"OpenScaleInstance {'/'.join(instance.key)}", instance.key, entry.id, entry.wrapped)


def of_datamart(mart: DataMart) -> Naming | None:
    """What a data mart's envelope carries, if the global key wrapped it.

    One of a newer format cannot be read here, and may name anything. One that does not parse opens for nobody.
    """
    sealed = mart.status.sealed_password
    if sealed is None:
        return None
    where, instance = f"DataMart {'/'.join(mart.key)}", (mart.metadata.namespace, mart.spec.instance_ref.name)
    try:
        envelope = envelopes.parse(sealed.envelope)
    except Refused as error:
        return Naming(where, instance, "", "") if error.reason is Reason.NEWER_FORMAT else None
    if envelope.wrapped.root_key != GLOBAL:
        return None
    return Naming(where, instance, envelope.data_key, envelope.wrapped.ciphertext)
