"""Keys: create, list, look at, move, delete, purge, and their versions."""

import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from key_protect_emulator import lifecycle
from key_protect_emulator.clock import parse_rfc3339
from key_protect_emulator.errors import refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped
from key_protect_emulator.http.call import Call, boolean, text
from key_protect_emulator.http.views import key_view, minimal_view, version_view
from key_protect_emulator.imports import is_secure_import, open_payload, root_material, standard_material
from key_protect_emulator.keys import Action, Key, State, Version, require
from key_protect_emulator.kmip import check_key_deletion
from key_protect_emulator.listing import matching, parse_search
from key_protect_emulator.names import ALIASES_PER_KEY, check_alias, is_uuid
from key_protect_emulator.policies import apply_overrides, check_create_access, inherit

TAG_LIMIT = 30


def create(call: Call) -> Answer:
    return _create(call, overrides=False)


def create_with_policies(call: Call) -> Answer:
    return _create(call, overrides=True)


def _create(call: Call, *, overrides: bool) -> Answer:
    fields = call.resources()[0]
    key = _new_key(call, fields)
    if overrides:
        apply_overrides(key, fields, call.caller.iam_id, call.now)
    else:
        inherit(call.instance, key, call.now)
    call.instance.keys[key.id] = key
    if call.prefers_minimal(default=False):
        return enveloped("key", [minimal_view(call.instance, key)], 201)
    view = key_view(call.instance, key, call.now, payload=True)
    del view["lastUpdateDate"]  # nothing was updated yet: IBM's own integration test of its Go client looks
    return enveloped("key", [view], 201)


def _new_key(call: Call, fields: Mapping[str, Any]) -> Key:
    name = text(fields, "name", low=2, high=90)
    if name is None or not name.strip():
        raise refusal("INVALID_FIELD_ERR", "name is required", field="name")
    if is_uuid(name):
        raise refusal("INVALID_FIELD_ERR", "name must not be a UUID", field="name")
    extractable = boolean(fields, "extractable", default=True)
    imported = fields.get("payload") is not None
    check_create_access(call.instance, extractable=extractable, imported=imported, secure=is_secure_import(fields))
    material = open_payload(call.instance.import_token, fields, call.now) if imported else secrets.token_bytes(32)
    material = standard_material(material) if extractable else root_material(material)
    ring = call.ring or "default"
    if ring != "default" and ring not in call.instance.rings:
        raise refusal("KEY_RING_NOT_FOUND_ERR")
    id_ = str(uuid.uuid4())
    return Key(
        id=id_,
        instance=call.instance.id,
        name=name,
        extractable=extractable,
        created=call.now,
        created_by=call.caller.iam_id,
        # A never rotated key's version carries the id of the key, as in Key Protect.
        versions=[Version(id_, call.now, material)],
        ring=ring,
        imported=imported,
        description=text(fields, "description", low=2, high=240) or "",
        tags=_strings(fields, "tags", TAG_LIMIT),
        aliases=[_free_alias(call, alias) for alias in _strings(fields, "aliases", ALIASES_PER_KEY)],
        expires=_expiration(fields, call.now),
        updated=call.now,
    )


def _strings(fields: Mapping[str, Any], name: str, limit: int) -> list[str]:
    values = [] if fields.get(name) is None else fields[name]
    if not isinstance(values, list) or len(values) > limit or not all(isinstance(v, str) for v in values):
        raise refusal("INVALID_FIELD_ERR", f"{name} is a list of at most {limit} strings", field=name)
    if len(set(values)) != len(values):
        raise refusal("INVALID_FIELD_ERR", f"{name} holds a value twice", field=name)
    return values


def _free_alias(call: Call, alias: str) -> str:
    if call.instance.find(check_alias(alias)):
        raise refusal("KEY_ALIAS_NOT_UNIQUE_ERR")
    return alias


def _expiration(fields: Mapping[str, Any], now: float) -> float | None:
    value = text(fields, "expirationDate")
    if value is None:
        return None
    try:
        expires = parse_rfc3339(value)
    except ValueError as error:
        why = "expirationDate must follow RFC 3339, in the years 1 to 9999 of UTC"
        raise refusal("INVALID_FIELD_ERR", why, field="expirationDate") from error
    if expires <= now:
        raise refusal("INVALID_FIELD_ERR", "expirationDate must lie in the future", field="expirationDate")
    return expires


def total(call: Call) -> Answer:
    return empty(200, **{"Key-Total": str(len(matching(_visible(call), call.query, call.ring)))})


def list_(call: Call) -> Answer:
    found = matching(_visible(call), call.query, call.ring)
    limit, offset = call.number("limit", 200, 1, 5_000), call.number("offset", 0, 0, 10**9)
    extra: dict[str, Any] = {}
    if call.query.get("search"):
        extra["searchQuery"] = parse_search(call.query["search"]).view()
        extra["incompleteSearch"] = False
    page = found[offset : offset + limit]
    return enveloped("key", [key_view(call.instance, key, call.now) for key in page], **extra)


def _visible(call: Call) -> list[Key]:
    """Keys that were granted one by one never show in a list."""
    return list(call.instance.keys.values()) if call.sees_all_keys else []


def get(call: Call) -> Answer:
    return enveloped("key", [key_view(call.instance, call.key, call.now, payload=True)])


def metadata(call: Call) -> Answer:
    return enveloped("key", [key_view(call.instance, call.key, call.now)])


def patch(call: Call) -> Answer:
    body = call.json(required=True)
    ring = text(body, "keyRingID", low=2, high=100)
    if ring is None or set(body) != {"keyRingID"}:
        raise refusal("BAD_BODY_ERR")
    require(call.key, Action.PATCH)
    if ring != "default" and ring not in call.instance.rings:
        raise refusal("KEY_RING_NOT_FOUND_ERR")
    call.key.ring, call.key.updated = ring, call.now
    return enveloped("key", [key_view(call.instance, call.key, call.now)])


def delete(call: Call) -> Answer:
    call.flag("force")
    check_key_deletion(call.instance.kmip_adapters.values(), call.key.id)
    lifecycle.delete(call.key, call.caller.iam_id, call.now)
    if call.prefers_minimal(default=True):
        return empty()
    return enveloped("key", [key_view(call.instance, call.key, call.now)])


def purge(call: Call) -> Answer:
    key = call.key
    lifecycle.check_purge(key, call.now)
    del call.instance.keys[key.id]
    if call.prefers_minimal(default=False):
        return empty()
    return enveloped("key", [key_view(call.instance, key, call.now)])


def versions(call: Call) -> Answer:
    key = call.key
    if key.state is not State.ACTIVE and not call.flag("allKeyStates"):
        raise refusal("KEY_ACTION_INVALID_STATE_ERR")
    limit, offset = call.number("limit", 200, 1, 5_000), call.number("offset", 0, 0, 10**9)
    newest_first = [version_view(version) for version in reversed(key.versions)]
    extra = {"totalCount": len(newest_first)} if call.flag("totalCount") else {}
    return enveloped("key.version", newest_first[offset : offset + limit], **extra)
