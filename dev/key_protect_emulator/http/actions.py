"""POST /keys/{id}/actions/X and its older spelling ?action=X."""

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from key_protect_emulator import lifecycle
from key_protect_emulator.ciphertext import (
    AAD_COUNT_LIMIT,
    AAD_ITEM_LIMIT,
    NONCE_SIZE,
    strict_b64decode,
    unwrap,
    wrap,
)
from key_protect_emulator.errors import refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped, flat
from key_protect_emulator.http.call import Call
from key_protect_emulator.http.views import key_view, minimal_view
from key_protect_emulator.imports import open_payload, root_material
from key_protect_emulator.keys import Action, Version, require, require_root
from key_protect_emulator.world import new_version


def do_wrap(call: Call) -> Answer:
    key, body = call.key, call.json()
    require_root(key)
    require(key, Action.WRAP)
    aad = _aad(body)
    given = body.get("plaintext")
    plaintext = os.urandom(32) if given is None else _decoded(body, "plaintext")
    answer: dict[str, Any] = {
        "ciphertext": wrap(key.current, plaintext, aad, os.urandom(NONCE_SIZE)),
        "keyVersion": {"id": key.current.id},
    }
    if given is None:
        answer = {"plaintext": base64.b64encode(plaintext).decode(), **answer}
    return flat("key_action", answer)


def do_unwrap(call: Call) -> Answer:
    key, body = call.key, call.json(required=True)
    require_root(key)
    require(key, Action.UNWRAP)
    aad = _aad(body)
    plaintext, version = unwrap(key, _ciphertext(body), aad)
    answer: dict[str, Any] = {
        "plaintext": base64.b64encode(plaintext).decode(),
        "keyVersion": {"id": version.id},
    }
    if version.id != key.current.id:
        answer["ciphertext"] = wrap(key.current, plaintext, aad, os.urandom(NONCE_SIZE))
        answer["rewrappedKeyVersion"] = {"id": key.current.id}
    return flat("key_action", answer)


def do_rewrap(call: Call) -> Answer:
    key, body = call.key, call.json(required=True)
    require_root(key)
    require(key, Action.REWRAP)
    aad = _aad(body)
    plaintext, version = unwrap(key, _ciphertext(body), aad)
    return flat(
        "key_action",
        {
            "ciphertext": wrap(key.current, plaintext, aad, os.urandom(NONCE_SIZE)),
            "keyVersion": {"id": version.id},
            "rewrappedKeyVersion": {"id": key.current.id},
        },
    )


def do_rotate(call: Call) -> Answer:
    key, body = call.key, call.json()
    require_root(key)
    if "resources" in body:
        body = call.resources()[0]
    payload = body.get("payload")
    if key.imported:
        if payload is None:
            raise refusal("KEY_PAYLOAD_REQ_ERR")
        material = root_material(open_payload(call.instance.import_token, body, call.now))
        version = Version(new_version(call.now).id, call.now, material)
    elif payload is not None:
        raise refusal("INVALID_QUERY_PARAM_ERR", "A generated key is rotated without a payload.", field="payload")
    else:
        version = new_version(call.now)
    lifecycle.rotate(key, version, call.now)
    key.rotation_since = call.now
    return empty()


def do_disable(call: Call) -> Answer:
    lifecycle.disable(call.key, call.now)
    return empty()


def do_enable(call: Call) -> Answer:
    lifecycle.enable(call.key, call.now)
    return empty()


def do_restore(call: Call) -> Answer:
    lifecycle.restore(call.key, call.now)
    if call.prefers_minimal(default=False):
        return enveloped("key", [minimal_view(call.instance, call.key)], 201)
    return enveloped("key", [key_view(call.instance, call.key, call.now)], 201)


def do_set_for_deletion(call: Call) -> Answer:
    lifecycle.set_for_deletion(call.key, call.caller.iam_id, call.now)
    return empty()


def do_unset_for_deletion(call: Call) -> Answer:
    lifecycle.unset_for_deletion(call.key, call.now)
    return empty()


def do_sync(call: Call) -> Answer:
    lifecycle.sync(call.key, call.now)
    return empty()


Handler = Callable[[Call], Answer]

# Path name -> operation (the name for counts, faults and grants), handler, and whether it changes the world.
ACTIONS: Final[Mapping[str, tuple[str, Handler, bool]]] = {
    "wrap": ("wrap", do_wrap, False),
    "unwrap": ("unwrap", do_unwrap, False),
    "rewrap": ("rewrap", do_rewrap, False),
    "rotate": ("rotate", do_rotate, True),
    "disable": ("disable", do_disable, True),
    "enable": ("enable", do_enable, True),
    "restore": ("restore", do_restore, True),
    "setKeyForDeletion": ("set_key_for_deletion", do_set_for_deletion, True),
    "unsetKeyForDeletion": ("unset_key_for_deletion", do_unset_for_deletion, True),
    "sync": ("sync", do_sync, True),
}


def _ciphertext(body: Mapping[str, Any]) -> str:
    value = body.get("ciphertext")
    if not isinstance(value, str) or not value:
        raise refusal("INVALID_FIELD_ERR", "ciphertext is required", field="ciphertext")
    return value


def _decoded(body: Mapping[str, Any], name: str) -> bytes:
    try:
        raw = strict_b64decode(body[name])
    except (ValueError, TypeError) as error:
        raise refusal("INVALID_FIELD_ERR", f"{name} must be base64", field=name) from error
    if not raw:
        raise refusal("INVALID_FIELD_ERR", f"{name} must not be empty", field=name)
    return raw


def _aad(body: Mapping[str, Any]) -> list[str]:
    aad = body.get("aad")
    if aad is None:
        return []
    if not isinstance(aad, list) or len(aad) > AAD_COUNT_LIMIT:
        raise refusal("INVALID_FIELD_ERR", "aad must be a list of strings", field="aad")
    if not all(isinstance(item, str) and len(item) <= AAD_ITEM_LIMIT for item in aad):
        raise refusal("INVALID_FIELD_ERR", f"aad items are strings of at most {AAD_ITEM_LIMIT} characters", field="aad")
    return aad
