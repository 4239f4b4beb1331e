"""Who may do what: roles, and the match of a grant with a request. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from key_protect_emulator.world import Grant

_READER: Final = frozenset(
    {
        "head",
        "list",
        "metadata",
        "versions",
        "wrap",
        "unwrap",
        "rewrap",
        "registrations",
        "rings.list",
        "allowed_ip_port",
    }
)
_READER_PLUS: Final = _READER | {"get"}
_WRITER: Final = _READER_PLUS | {
    "create",
    "create_with_policies",
    "rotate",
    "set_key_for_deletion",
    "unset_key_for_deletion",
    "sync",
    "aliases.create",
    "aliases.delete",
    "rings.create",
    "import_tokens.create",
    "import_tokens.get",
}
_MANAGER: Final = _WRITER | {
    "disable",
    "enable",
    "delete",
    "restore",
    "patch",
    "rings.delete",
    "key_policies.get",
    "key_policies.put",
    "instance_policies.get",
    "instance_policies.put",
    "kmip.list",
    "kmip.get",
    "kmip.create",
    "kmip.delete",
}

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "Reader": _READER,
    "ReaderPlus": _READER_PLUS,
    "Writer": _WRITER,
    "Manager": _MANAGER,
    "KeyPurge": frozenset({"purge"}),
}

# Every name that counts and faults know.
OPERATIONS: Final[frozenset[str]] = frozenset().union(*ROLES.values()) | {
    "iam.token",
    "iam.keys",
    "iam.configuration",
    "unknown",
}


def allows(
    grants: Iterable[Grant], identity: str, account: str, instance: str, key: str | None, operation: str
) -> bool:
    """True if some grant of this identity covers the operation there.

    A grant on one key covers that key only: it never opens the list, nor a key that does not exist.
    """
    return any(_covers(grant, identity, account, instance, key) and operation in ROLES[grant.role] for grant in grants)


def sees_all(grants: Iterable[Grant], identity: str, account: str, instance: str) -> bool:
    return any(_covers(grant, identity, account, instance, None) for grant in grants)


def _covers(grant: Grant, identity: str, account: str, instance: str, key: str | None) -> bool:
    if grant.identity != identity or grant.account != account:
        return False
    if grant.instance is not None and grant.instance != instance:
        return False
    return grant.key is None or (key is not None and grant.key == key)
