"""Every operation of the customer API: method, path, name, handler, and whether it changes the world.

The name is what counts, faults and roles speak of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from key_protect_emulator.http import instance, keys, kmip, policies
from key_protect_emulator.http.actions import ACTIONS, Handler

API: Final = "/api/v2"


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    operation: str
    handler: Handler
    writes: bool = False

    @property
    def lists_keys(self) -> bool:
        return self.operation in {"head", "list"}


_PLAIN: Final = (
    Route("HEAD", "/keys", "head", keys.total),
    Route("GET", "/keys", "list", keys.list_),
    Route("POST", "/keys", "create", keys.create, writes=True),
    Route("POST", "/keys_with_policy_overrides", "create_with_policies", keys.create_with_policies, writes=True),
    Route("GET", "/keys/registrations", "registrations", instance.list_registrations),
    Route("GET", "/keys/{key}", "get", keys.get),
    Route("GET", "/keys/{key}/metadata", "metadata", keys.metadata),
    Route("PATCH", "/keys/{key}", "patch", keys.patch, writes=True),
    Route("DELETE", "/keys/{key}", "delete", keys.delete, writes=True),
    Route("DELETE", "/keys/{key}/purge", "purge", keys.purge, writes=True),
    Route("GET", "/keys/{key}/versions", "versions", keys.versions),
    Route("GET", "/keys/{key}/registrations", "registrations", instance.list_registrations),
    Route("GET", "/keys/{key}/policies", "key_policies.get", policies.get_key_policies),
    Route("PUT", "/keys/{key}/policies", "key_policies.put", policies.put_key_policies, writes=True),
    Route("POST", "/keys/{key}/aliases/{alias}", "aliases.create", instance.create_alias, writes=True),
    Route("DELETE", "/keys/{key}/aliases/{alias}", "aliases.delete", instance.delete_alias, writes=True),
    Route("GET", "/instance/policies", "instance_policies.get", policies.get_instance_policies),
    Route("PUT", "/instance/policies", "instance_policies.put", policies.put_instance_policies, writes=True),
    Route("GET", "/instance/allowed_ip_port", "allowed_ip_port", instance.allowed_ip_port),
    Route("POST", "/import_token", "import_tokens.create", instance.create_import_token, writes=True),
    Route("GET", "/import_token", "import_tokens.get", instance.get_import_token, writes=True),
    Route("GET", "/key_rings", "rings.list", instance.list_rings),
    Route("POST", "/key_rings/{ring}", "rings.create", instance.create_ring, writes=True),
    Route("DELETE", "/key_rings/{ring}", "rings.delete", instance.delete_ring, writes=True),
    Route("GET", "/kmip_adapters", "kmip.list", kmip.list_adapters),
    Route("POST", "/kmip_adapters", "kmip.create", kmip.create_adapter, writes=True),
    Route("GET", "/kmip_adapters/{adapter}", "kmip.get", kmip.get_adapter),
    Route("DELETE", "/kmip_adapters/{adapter}", "kmip.delete", kmip.delete_adapter, writes=True),
    Route("GET", "/kmip_adapters/{adapter}/kmip_objects", "kmip.list", kmip.list_objects),
    Route("GET", "/kmip_adapters/{adapter}/kmip_objects/{object}", "kmip.get", kmip.get_object),
    Route("DELETE", "/kmip_adapters/{adapter}/kmip_objects/{object}", "kmip.delete", kmip.delete_object, writes=True),
    Route("GET", "/kmip_adapters/{adapter}/certificates", "kmip.list", kmip.list_certificates),
    Route("POST", "/kmip_adapters/{adapter}/certificates", "kmip.create", kmip.add_certificate, writes=True),
    Route("GET", "/kmip_adapters/{adapter}/certificates/{certificate}", "kmip.get", kmip.get_certificate),
    Route(
        "DELETE",
        "/kmip_adapters/{adapter}/certificates/{certificate}",
        "kmip.delete",
        kmip.delete_certificate,
        writes=True,
    ),
)


def action_route(name: str) -> Route | None:
    """The route of one key action, by its name in the path or in ?action=."""
    if name not in ACTIONS:
        return None
    operation, handler, writes = ACTIONS[name]
    return Route("POST", f"/keys/{{key}}/actions/{name}", operation, handler, writes)


def routes() -> Iterator[Route]:
    yield from _PLAIN
    for name in ACTIONS:
        route = action_route(name)
        assert route is not None  # noqa: S101 -- ACTIONS is what action_route looks in
        yield route
    yield Route("POST", "/keys/{key}/restore", *ACTIONS["restore"])
