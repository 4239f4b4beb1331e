"""KMIP adapters and their client certificates: the REST side only. There is no KMIP port behind them."""

import re
import secrets
import uuid
from typing import Any, Final

from cryptography import x509

from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import plain, refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped
from key_protect_emulator.http.call import Call, text
from key_protect_emulator.keys import Action, require, require_root
from key_protect_emulator.names import is_uuid

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{2,40}")


def list_adapters(call: Call) -> Answer:
    return _page(call, "kmip_adapter", [_adapter_view(a) for a in call.instance.kmip_adapters.values()])


def create_adapter(call: Call) -> Answer:
    fields = call.resources()[0]
    if fields.get("profile") != "native_1.0":
        raise refusal("INVALID_FIELD_ERR", "profile must be native_1.0", field="profile")
    profile = fields.get("profile_data")
    key_id = profile.get("crk_id") if isinstance(profile, dict) else None
    key = call.instance.keys.get(key_id) if isinstance(key_id, str) else None
    if key is None:
        raise refusal("KEY_NOT_FOUND_ERR")
    require_root(key)
    require(key, Action.WRAP)
    name = _name(text(fields, "name"), "kmip_adapter")
    if any(adapter["name"] == name for adapter in call.instance.kmip_adapters.values()):
        raise plain(409, "A KMIP adapter with this name exists already")
    stamp, by = rfc3339(call.now), call.caller.iam_id
    id_ = str(uuid.uuid4())
    adapter: dict[str, Any] = {
        "id": id_,
        "name": name,
        "description": text(fields, "description", high=240) or "",
        "profile": "native_1.0",
        "profile_data": {"crk_id": key.id},
        "created_at": stamp,
        "created_by": by,
        "updated_at": stamp,
        "updated_by": by,
        "certificates": {},
    }
    call.instance.kmip_adapters[id_] = adapter
    return enveloped("kmip_adapter", [_adapter_view(adapter)], 201)


def get_adapter(call: Call) -> Answer:
    return enveloped("kmip_adapter", [_adapter_view(_adapter(call))])


def delete_adapter(call: Call) -> Answer:
    adapter = _adapter(call)
    if adapter["certificates"]:
        raise plain(409, "The KMIP adapter still has client certificates")
    del call.instance.kmip_adapters[adapter["id"]]
    return empty()


def list_objects(call: Call) -> Answer:
    """Objects are made over the KMIP protocol, which the emulator does not speak: always empty."""
    _adapter(call)
    return _page(call, "kmip_object", [])


def list_certificates(call: Call) -> Answer:
    certificates = _adapter(call)["certificates"].values()
    views = [{name: c[name] for name in ("id", "name", "created_at", "created_by")} for c in certificates]
    return _page(call, "kmip_client_certificate", views)


def add_certificate(call: Call) -> Answer:
    adapter, fields = _adapter(call), call.resources()[0]
    pem = text(fields, "certificate") or ""
    try:
        x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise refusal("INVALID_FIELD_ERR", "certificate must be PEM", field="certificate") from error
    name = _name(text(fields, "name"), "kmip_cert")
    if any(name == certificate["name"] for certificate in adapter["certificates"].values()):
        raise plain(409, "A client certificate with this name exists already")
    certificate = {
        "id": str(uuid.uuid4()),
        "name": name,
        "certificate": pem,
        "created_at": rfc3339(call.now),
        "created_by": call.caller.iam_id,
    }
    adapter["certificates"][certificate["id"]] = certificate
    return enveloped("kmip_client_certificate", [certificate], 201)


def get_certificate(call: Call) -> Answer:
    return enveloped("kmip_client_certificate", [_certificate(call)])


def delete_certificate(call: Call) -> Answer:
    del _adapter(call)["certificates"][_certificate(call)["id"]]
    return empty()


def _page(call: Call, kind: str, views: list[Any]) -> Answer:
    limit, offset = call.number("limit", 100, 1, 5_000), call.number("offset", 0, 0, 10**9)
    extra = {"totalCount": len(views)} if call.flag("totalCount") else {}
    return enveloped(kind, views[offset : offset + limit], **extra)


def _adapter_view(adapter: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in adapter.items() if name != "certificates"}


def _adapter(call: Call) -> dict[str, Any]:
    return _find(call.instance.kmip_adapters, call.path["adapter"], "KMIP adapter")


def _certificate(call: Call) -> dict[str, Any]:
    return _find(_adapter(call)["certificates"], call.path["certificate"], "client certificate")


def _find(among: dict[str, dict[str, Any]], id_or_name: str, what: str) -> dict[str, Any]:
    for entry in among.values():
        if id_or_name in {entry["id"], entry["name"]}:
            return entry
    raise plain(404, f"The {what} does not exist")


def _name(name: str | None, prefix: str) -> str:
    if name is None:
        return f"{prefix}_{secrets.token_hex(4)}"
    if not _NAME.fullmatch(name) or is_uuid(name):
        raise refusal("INVALID_FIELD_ERR", "name is letters, digits, - and _", field="name")
    return name
