"""KMIP adapters, their client certificates and their objects: what is remembered, and what may be deleted. Pure.

Objects are made over the KMIP protocol, which the emulator does not speak; the control API makes them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol, TypeVar

from key_protect_emulator.errors import plain, refusal

ADAPTERS_PER_INSTANCE: Final = 200
CERTIFICATES_PER_ADAPTER: Final = 200
SYMMETRIC_KEY: Final = 2  # the only type of object that Key Protect's KMIP server makes


class ObjectState(IntEnum):
    """The states of the KMIP specification (1.4, section 3.22)."""

    PRE_ACTIVE = 1
    ACTIVE = 2
    DEACTIVATED = 3
    COMPROMISED = 4
    DESTROYED = 5
    DESTROYED_COMPROMISED = 6


DESTROYED: Final = frozenset({ObjectState.DESTROYED, ObjectState.DESTROYED_COMPROMISED})
LISTED: Final = frozenset(ObjectState) - DESTROYED


@dataclass
class Certificate:
    id: str
    name: str
    certificate: str
    created_at: str
    created_by: str


@dataclass
class KmipObject:
    id: str
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str
    state: ObjectState = ObjectState.ACTIVE
    kmip_object_type: int = SYMMETRIC_KEY
    destroyed_at: str = ""
    destroyed_by: str = ""


@dataclass
class Adapter:
    id: str
    name: str
    description: str
    profile: str
    profile_data: dict[str, str]  # crk_id: the root key under which its objects lie
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str
    certificates: dict[str, Certificate] = field(default_factory=dict)
    objects: dict[str, KmipObject] = field(default_factory=dict)


class _Named(Protocol):
    id: str
    name: str


N = TypeVar("N", bound=_Named)


def find(among: Mapping[str, N], id_or_name: str, what: str) -> N:
    """The adapter or certificate of that id or name. Raises 404."""
    for entry in among.values():
        if id_or_name in {entry.id, entry.name}:
            return entry
    raise plain(404, f"The {what} does not exist")


def find_object(adapter: Adapter, id_: str) -> KmipObject:
    """Raises 404."""
    if id_ not in adapter.objects:
        raise plain(404, "The KMIP object does not exist")
    return adapter.objects[id_]


def check_adapter_deletion(adapter: Adapter) -> None:
    """An adapter goes with its certificates, once its objects are destroyed. Raises 409."""
    if any(item.state not in DESTROYED for item in adapter.objects.values()):
        raise plain(409, "The KMIP adapter still has KMIP objects that are not destroyed")


def check_key_deletion(adapters: Iterable[Adapter], key: str) -> None:
    """A root key under which an adapter's objects lie cannot be deleted, by force neither. Raises 409."""
    if any(adapter.profile_data["crk_id"] == key for adapter in adapters):
        raise refusal("PROTECTED_RESOURCE_ERR", "Key is protecting one or more KMIP adapters")


def destroy(item: KmipObject, by: str, at: str, *, force: bool) -> None:
    """Destroy an object's key material. An active one only by force. Raises 409, and 410 for a second time."""
    if item.state in DESTROYED:
        raise plain(410, "The KMIP object is destroyed already")
    if item.state is ObjectState.ACTIVE and not force:
        raise plain(409, "The KMIP object is active: revoke it first, or use force")
    compromised = item.state is ObjectState.COMPROMISED
    item.state = ObjectState.DESTROYED_COMPROMISED if compromised else ObjectState.DESTROYED
    item.destroyed_at = item.updated_at = at
    item.destroyed_by = item.updated_by = by
