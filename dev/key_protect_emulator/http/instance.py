"""What hangs on an instance besides keys: aliases, key rings, import tokens, registrations, ports."""

import base64
from collections.abc import Mapping
from typing import Any

from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import plain, refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped, plain_json
from key_protect_emulator.http.call import Call
from key_protect_emulator.imports import new_import_token, public_pem, retrieve
from key_protect_emulator.keys import Action, State, require
from key_protect_emulator.names import ALIASES_PER_KEY, RINGS_PER_INSTANCE, check_alias, check_ring
from key_protect_emulator.world import ImportToken, Ring

EXPIRATION = (300, 86_400)
RETRIEVALS = (1, 500)


def create_alias(call: Call) -> Answer:
    alias = check_alias(call.path["alias"])
    require(call.key, Action.PATCH)
    if call.key.state is State.DESTROYED:
        raise refusal("KEY_ACTION_INVALID_STATE_ERR")
    if call.instance.find(alias):
        raise refusal("KEY_ALIAS_NOT_UNIQUE_ERR")
    if len(call.key.aliases) >= ALIASES_PER_KEY:
        raise refusal("INVALID_FIELD_ERR", f"a key has at most {ALIASES_PER_KEY} aliases", field="alias")
    call.key.aliases.append(alias)
    call.key.updated = call.now
    view = {
        "keyId": call.key.id,
        "alias": alias,
        "creationDate": rfc3339(call.now),
        "createdBy": call.caller.iam_id,
    }
    return enveloped("alias", [view], 201)


def delete_alias(call: Call) -> Answer:
    if call.path["alias"] not in call.key.aliases:
        raise refusal("KEY_NOT_FOUND_ERR", "The key has no such alias")
    call.key.aliases.remove(call.path["alias"])
    call.key.updated = call.now
    return empty()


def list_rings(call: Call) -> Answer:
    limit, offset = call.number("limit", 100, 1, 5_000), call.number("offset", 0, 0, 10**9)
    views: list[dict[str, Any]] = [{"id": "default", "creationDate": rfc3339(call.instance.created)}]
    views += [
        {"id": ring.id, "creationDate": rfc3339(ring.created), "createdBy": ring.created_by}
        for ring in call.instance.rings.values()
    ]
    extra = {"totalCount": len(views)} if call.flag("totalCount") else {}
    return enveloped("key_ring", views[offset : offset + limit], **extra)


def create_ring(call: Call) -> Answer:
    ring = check_ring(call.path["ring"])
    if ring == "default" or ring in call.instance.rings:
        raise plain(409, "A key ring with this id exists already")
    if len(call.instance.rings) >= RINGS_PER_INSTANCE:
        raise plain(409, f"An instance has at most {RINGS_PER_INSTANCE} key rings besides the default one")
    call.instance.rings[ring] = Ring(ring, call.now, call.caller.iam_id)
    return empty(201)


def delete_ring(call: Call) -> Answer:
    ring = call.path["ring"]
    if ring not in call.instance.rings:
        raise refusal("KEY_RING_NOT_FOUND_ERR")
    held = [key for key in call.instance.keys.values() if key.ring == ring]
    # With force, keys that are already deleted move to the default ring; live keys always block.
    if any(key.state is not State.DESTROYED for key in held) or (held and not call.flag("force")):
        raise refusal("KEY_RING_NOT_EMPTY_ERR")
    for key in held:
        key.ring = "default"
    del call.instance.rings[ring]
    return empty()


def create_import_token(call: Call) -> Answer:
    body = call.json()
    expiration = _bounded(body, "expiration", EXPIRATION, 600)
    retrievals = _bounded(body, "maxAllowedRetrievals", RETRIEVALS, 1)
    token = new_import_token(expiration, retrievals, call.now)
    call.instance.import_token = token
    return _import_token_answer(token)


def get_import_token(call: Call) -> Answer:
    token = retrieve(call.instance.import_token, call.now)
    return _import_token_answer(token, secrets_too=True)


def _import_token_answer(token: ImportToken, *, secrets_too: bool = False) -> Answer:
    body: dict[str, Any] = {
        "creationDate": rfc3339(token.created),
        "expirationDate": rfc3339(token.expires),
        "expiration": token.expiration,
        "maxAllowedRetrievals": token.max_retrievals,
        "remainingRetrievals": token.max_retrievals - token.retrievals,
    }
    if secrets_too:
        body["payload"] = base64.b64encode(public_pem(token)).decode()
        body["nonce"] = base64.b64encode(token.nonce).decode()
    return plain_json(body)


def list_registrations(call: Call) -> Answer:
    """Registrations are written by IBM's own services only; here nobody registers, so the list is empty."""
    if "key" in call.path:
        _ = call.key
    call.number("limit", 200, 1, 5_000)
    call.number("offset", 0, 0, 10**9)
    extra = {"totalCount": 0} if call.flag("totalCount") else {}
    return enveloped("registration", [], **extra)


def allowed_ip_port(call: Call) -> Answer:
    policy = call.instance.policies.get("allowedIP")
    if policy is None or not policy.enabled:
        return enveloped("allowed_ip_metadata", [])
    return enveloped("allowed_ip_metadata", [{"private_endpoint_port": 8888}])


def _bounded(fields: Mapping[str, Any], name: str, bounds: tuple[int, int], default: int) -> int:
    value = default if fields.get(name) is None else fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not bounds[0] <= value <= bounds[1]:
        raise refusal("INVALID_FIELD_ERR", f"{name} must be from {bounds[0]} to {bounds[1]}", field=name)
    return value
