"""Control API: instances and keys. The rules hold here too; `ignore_timing` waives waiting times only."""

import json
import re
import uuid
from typing import Any, Final

from key_protect_emulator import lifecycle
from key_protect_emulator.backend import REGION, new_instance
from key_protect_emulator.ciphertext import strict_b64decode
from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import ControlError
from key_protect_emulator.http import keys as key_routes
from key_protect_emulator.http.call import Call
from key_protect_emulator.http.control_call import Body, ControlCall, ControlRoute
from key_protect_emulator.http.views import key_view, version_view
from key_protect_emulator.iam import Caller
from key_protect_emulator.imports import root_material
from key_protect_emulator.keys import Key, Version
from key_protect_emulator.kmip import KmipObject, ObjectState, check_key_deletion, find
from key_protect_emulator.world import Instance, new_version, settle_key

CONTROL: Final = "emulator-control"
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_CREATE: Final = (
    "name", "extractable", "payload", "aliases", "description", "tags", "expirationDate",
    "encryptionAlgorithm", "encryptedNonce", "iv", "type",
)  # fmt: skip


def create_instance(call: ControlCall) -> Body:
    account, region = call.account(), call.text("region") or REGION
    if not _REGION.fullmatch(region):
        raise ControlError(400, "region is small letters, digits and -, such as eu-de")
    return _instance_view(new_instance(call.world, account.id, call.text("name") or "", region, call.now))


def list_instances(call: ControlCall) -> Body:
    return {"instances": [_instance_view(instance) for instance in call.world.instances.values()]}


def _instance_view(instance: Instance) -> dict[str, Any]:
    return {"id": instance.id, "crn": instance.crn, "account": instance.account, "region": instance.region}


def create_key(call: ControlCall) -> Body:
    """Create a key with the fields of Key Protect's own POST /keys; `extractable` is false unless said."""
    instance = call.instance()
    fields = {name: value for name, value in call.body.items() if name not in {"instance", "ring"}}
    body = {"metadata": {"collectionTotal": 1}, "resources": [{"extractable": False, **fields}]}
    ring = call.text("ring")
    made = Call(
        instance=instance,
        caller=Caller(CONTROL, CONTROL, instance.account),
        now=call.now,
        path={},
        query={},
        headers={"X-Kms-Key-Ring": ring} if ring else {},
        body=json.dumps(body).encode(),
    )
    known = set(instance.keys)
    key_routes.create(made)
    (id_,) = set(instance.keys) - known
    return {"id": id_, "crn": instance.key_crn(id_)}


def get_key(call: ControlCall) -> Body:
    instance, key = _settled(call)
    return {**key_view(instance, key, call.now), "versions": [version_view(v) for v in key.versions]}


def act(call: ControlCall) -> Body:
    instance, key = _settled(call)
    action, ignore = call.path["action"], call.flag("ignore_timing")
    if action == "rotate":
        lifecycle.rotate(key, _version(call, key), call.now, ignore_timing=ignore)
        key.rotation_since = call.now
    elif action == "disable":
        lifecycle.disable(key, call.now)
    elif action == "enable":
        lifecycle.enable(key, call.now, ignore_timing=ignore)
    elif action == "delete":
        check_key_deletion(instance.kmip_adapters.values(), key.id)
        lifecycle.delete(key, CONTROL, call.now)
    elif action == "restore":
        lifecycle.restore(key, call.now, ignore_timing=ignore)
    elif action == "purge":
        lifecycle.check_purge(key, call.now, ignore_timing=ignore)
        del instance.keys[key.id]
    else:
        raise ControlError(404, "actions are rotate, disable, enable, delete, restore, purge")
    return {"id": key.id, "state": int(key.state), "version": key.current.id}


def create_kmip_object(call: ControlCall) -> Body:
    """What a KMIP client would make over the KMIP protocol: a symmetric key under an adapter, active unless said."""
    adapter = find(call.instance().kmip_adapters, call.needed("adapter"), "KMIP adapter")
    state = call.number("state")
    try:
        made_in = ObjectState.ACTIVE if state is None else ObjectState(int(state))
    except ValueError as error:
        raise ControlError(400, "state is a number from 1 to 6") from error
    stamp = rfc3339(call.now)
    item = KmipObject(str(uuid.uuid4()), stamp, CONTROL, stamp, CONTROL, made_in)
    adapter.objects[item.id] = item
    return {"id": item.id, "state": int(item.state)}


def _version(call: ControlCall, key: Key) -> Version:
    version, payload = new_version(call.now), call.text("payload")
    if key.imported is not (payload is not None):
        raise ControlError(400, "an imported key is rotated with a payload, a generated key without")
    if payload is None:
        return version
    try:
        return Version(version.id, call.now, root_material(strict_b64decode(payload)))
    except ValueError as error:
        raise ControlError(400, "payload must be base64") from error


def _settled(call: ControlCall) -> tuple[Instance, Key]:
    instance, key = call.key(call.path["key"])
    if settle_key(instance, key, call.now):
        call.backend.dirty = True
    return call.key(call.path["key"])


ROUTES: Final = (
    ControlRoute("POST", "/instances", create_instance, ("account", "name", "region")),
    ControlRoute("GET", "/instances", list_instances),
    ControlRoute("POST", "/keys", create_key, ("instance", "ring", *_CREATE)),
    ControlRoute("GET", "/keys/{key}", get_key),
    ControlRoute("POST", "/keys/{key}/{action}", act, ("ignore_timing", "payload")),
    ControlRoute("POST", "/kmip-objects", create_kmip_object, ("instance", "adapter", "state")),
)
