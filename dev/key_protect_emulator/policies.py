"""Key policies and instance policies: what may be set, and what a set policy forbids. Pure."""

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from key_protect_emulator.errors import refusal
from key_protect_emulator.keys import Key
from key_protect_emulator.world import Instance, InstancePolicy

KEY_POLICIES: Final = ("dualAuthDelete", "rotation")
_ACCESS: Final = (
    "create_root_key",
    "create_standard_key",
    "import_root_key",
    "import_standard_key",
    "enforce_token",
)
INSTANCE_POLICIES: Final[Mapping[str, tuple[str, ...]]] = {
    "allowedIP": ("allowed_ip",),
    "allowedNetwork": ("allowed_network",),
    "dualAuthDelete": (),
    "keyCreateImportAccess": _ACCESS,
    "metrics": (),
    "rotation": ("interval_month",),
}


def set_dual_auth(key: Key, policy: object, now: float) -> None:
    enabled = _enabled(policy, "dualAuthDelete")
    key.dual_auth_delete, key.updated = enabled, now
    if not enabled:
        key.deletion_mark = None


def set_rotation(key: Key, policy: object, now: float) -> None:
    if key.extractable:
        raise refusal("KEY_ROOT_REQ_ERR")
    if key.imported:
        raise refusal("BAD_BODY_ERR", "A rotation policy needs a root key that Key Protect generated.")
    if not isinstance(policy, dict):
        raise refusal("INVALID_FIELD_ERR", "rotation must be an object", field="rotation")
    given = {name: value for name, value in policy.items() if value is not None}
    enabled = _enabled({"enabled": given.get("enabled", True)}, "rotation")
    key.rotation_months = _months(given.get("interval_month", key.rotation_months or None))
    key.rotation_enabled, key.rotation_since, key.updated = enabled, now, now


def apply_overrides(key: Key, fields: Mapping[str, Any], by: str, now: float) -> None:
    """The policies of POST /keys_with_policy_overrides. They stand for the instance's, which then do not apply."""
    if fields.get("dualAuthDelete") is not None:
        set_dual_auth(key, fields["dualAuthDelete"], now)
        stamp(key, "dualAuthDelete", by)
    if fields.get("rotation") is not None:
        set_rotation(key, fields["rotation"], now)
        stamp(key, "rotation", by)


def stamp(key: Key, policy: str, by: str) -> None:
    key.policies[policy] = {"by": by}


def inherit(instance: Instance, key: Key, now: float) -> None:
    """Instance policies for dual authorization and rotation shape keys that are created afterwards."""
    dual_auth, rotation = instance.policies.get("dualAuthDelete"), instance.policies.get("rotation")
    if dual_auth and dual_auth.enabled:
        key.dual_auth_delete = True
    if rotation and rotation.enabled and not key.extractable and not key.imported:
        key.rotation_enabled, key.rotation_since = True, now
        key.rotation_months = int(rotation.attributes["interval_month"])


def check_create_access(instance: Instance, *, extractable: bool, imported: bool, secure: bool) -> None:
    policy = instance.policies.get("keyCreateImportAccess")
    if policy is None or not policy.enabled:
        return
    kind = f"{'import' if imported else 'create'}_{'standard' if extractable else 'root'}_key"
    if not policy.attributes.get(kind, True):
        raise refusal("KEY_CREATE_IMPORT_ACCESS_ERR")
    if imported and policy.attributes.get("enforce_token", False) and not secure:
        raise refusal("KEY_CREATE_IMPORT_ACCESS_ERR", "An import token must be used to import keys.")


def instance_policy(instance: Instance, resource: Mapping[str, Any], by: str, now: float) -> tuple[str, InstancePolicy]:
    """One instance policy's kind and new value, from its resource {policy_type, policy_data{enabled, attributes}}."""
    kind = resource.get("policy_type")
    body = resource.get("policy_data")
    if (
        not isinstance(kind, str)
        or kind not in INSTANCE_POLICIES
        or not isinstance(body, dict)
        or set(resource) - {"policy_type", "policy_data"}
    ):
        raise refusal("BAD_BODY_ERR")
    enabled = _enabled(body, "policy_data")
    attributes = {} if body.get("attributes") is None else body["attributes"]
    if not isinstance(attributes, dict) or set(attributes) - set(INSTANCE_POLICIES[kind]):
        raise refusal("BAD_BODY_ERR")
    attributes = {name: value for name, value in attributes.items() if value is not None}
    former = instance.policies.get(kind)
    if not attributes and former is not None:
        attributes = former.attributes
    if enabled or attributes:
        _check_attributes(kind, attributes)
    created, created_by = (former.created, former.created_by) if former else (now, by)
    return kind, InstancePolicy(enabled, dict(attributes), created, created_by, now, by)


def ip_allowed(instance: Instance, address: str) -> bool:
    """An allowedIP policy that does not name the caller's address refuses, as a missing permission does."""
    policy = instance.policies.get("allowedIP")
    if policy is None or not policy.enabled:
        return True
    caller = ipaddress.ip_address(address)
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
        caller = caller.ipv4_mapped  # an IPv4 caller, seen by a socket that takes both
    return any(caller in ipaddress.ip_network(net, strict=False) for net in policy.attributes["allowed_ip"])


def _check_attributes(kind: str, attributes: Mapping[str, Any]) -> None:
    if kind == "allowedNetwork" and attributes.get("allowed_network") not in ("public-and-private", "private-only"):
        raise refusal("INVALID_FIELD_ERR", "allowed_network is public-and-private or private-only", field="attributes")
    if kind == "rotation":
        _months(attributes.get("interval_month"))
    if kind == "keyCreateImportAccess" and not all(isinstance(value, bool) for value in attributes.values()):
        raise refusal("INVALID_FIELD_ERR", "keyCreateImportAccess attributes are true or false", field="attributes")
    if kind == "allowedIP":
        _check_networks(attributes.get("allowed_ip"))


def _check_networks(networks: object) -> None:
    if not isinstance(networks, list) or not networks:
        raise refusal("INVALID_FIELD_ERR", "allowed_ip is a list of addresses", field="attributes")
    for network in networks:
        if not _is_network(network):
            wanted = "each of allowed_ip is an IPv4 or IPv6 address or subnet, such as 192.0.2.0/24"
            raise refusal("INVALID_FIELD_ERR", wanted, field="attributes")


def _is_network(text: object) -> bool:
    try:
        # ipaddress takes numbers and pairs for addresses too; and a zone, which no list of addresses can mean.
        return isinstance(text, str) and "%" not in text and bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def _enabled(policy: object, field: str) -> bool:
    if not isinstance(policy, dict) or not isinstance(policy.get("enabled"), bool):
        raise refusal("INVALID_FIELD_ERR", f"{field}.enabled must be true or false", field=field)
    return bool(policy["enabled"])


def _months(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 12:
        raise refusal("INVALID_FIELD_ERR", "interval_month is a number from 1 to 12", field="interval_month")
    return value
