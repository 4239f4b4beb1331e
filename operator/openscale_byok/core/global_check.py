"""Whether the global key's Secret holds what is named, and what of it nothing names any more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from openscale_byok.core.global_names import UNREADABLE, Naming
from openscale_byok.crypto.global_versions import LEAVING, Versions, stamped
from openscale_byok.errors import Refused


@dataclass(slots=True)
class Check:
    """What was found."""

    named: dict[str, list[str]] = field(default_factory=dict)
    """What names each version that is there."""
    free: list[str] = field(default_factory=list)
    """Versions that nothing names, and that do not wrap: they may go."""
    missing: dict[str, list[str]] = field(default_factory=dict)
    """What names each version that is not there."""
    broken: list[str] = field(default_factory=list)
    """What does not open although its version is there, or cannot be read at all."""
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    """What names a root key in Key Protect (by CRN): not looked into here."""

    @property
    def well(self) -> bool:
        """Whether everything that is named is there and opens."""
        return not self.missing and not self.broken


def check(
    versions: Versions,
    namings: Iterable[Naming],
    service_instances: Mapping[tuple[str, str], str],
    unreadable: Iterable[str] = (),
) -> Check:
    """Hold what is named against what is there; every wrapped data key is really unwrapped.

    Args:
        versions: what the Secret holds.
        namings: every wrapped data key under the global key, wherever it stands.
        service_instances: the service instance id of each instance, which its data keys are bound to.
        unreadable: objects that may name something, and cannot be read.
    """
    found = Check(named={version: [] for version in versions.keys})
    for naming in namings:
        by_root_key = stamped(naming.wrapped)
        if by_root_key is not None:
            found.elsewhere.setdefault(by_root_key[0], []).append(naming.where)
        else:
            _look_into(found, versions, naming, service_instances.get(naming.instance))
    found.broken += [f"{name}: not of the shape that its CRD demands" for name in unreadable]
    found.free = sorted(v for v, by in found.named.items() if not by and v != versions.current)
    return found


def _look_into(found: Check, versions: Versions, naming: Naming, service_instance: str | None) -> None:
    if naming.version == UNREADABLE:
        found.broken.append(f"{naming.where}: what it carries under the global key cannot be read")
        return
    there = naming.version in versions.keys
    (found.named if there else found.missing).setdefault(naming.version, []).append(naming.where)
    if not there or service_instance is None:
        return  # without its instance nobody knows what it is bound to
    try:
        opened = versions.unwrap(naming.wrapped, ("openscale-byok", service_instance))
        trouble = "" if opened.id == naming.data_key else "it unwraps to another data key than it is named for"
    except Refused as error:
        trouble = error.message
    if trouble:
        found.broken.append(f"{naming.where}: data key {naming.data_key[:8]}: {trouble}")


def leaving(values: Mapping[str, bytes]) -> list[str]:
    """The versions whose removal was begun and not ended."""
    return sorted(name.removeprefix(LEAVING) for name in values if name.startswith(LEAVING))
