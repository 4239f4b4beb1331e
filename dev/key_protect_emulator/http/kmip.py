"""KMIP adapters, client certificates and objects: the REST side only. There is no KMIP port behind them."""

import re
import secrets
import uuid
from typing import Any, Final

from cryptography import x509

from key_protect_emulator import kmip
from key_protect_emulator.clock import rfc3339
from key_protect_emulator.errors import plain, refusal
from key_protect_emulator.http.answers import Answer, empty, enveloped
from key_protect_emulator.http.call import Call, text
from key_protect_emulator.keys import Action, require, require_root
from key_protect_emulator.names import is_uuid

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{2,40}")
_PEM: Final = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----\s*",  # one, and nothing beside it
)


def list_adapters(call: Call) -> Answer:
    wanted = call.query.get("crk_id")
    adapters = [a for a in call.instance.kmip_adapters.values() if wanted in {None, a.profile_data["crk_id"]}]
    return _page(call, "kmip_adapter", [adapter_view(adapter) for adapter in adapters])


def create_adapter(call: Call) -> Answer:
    fields = call.resources()[0]
    if fields.get("profile") != "native_1.0":
        raise refusal("INVALID_FIELD_ERR", "profile must be native_1.0", field="profile")
    profile = fields.get("profile_data")
    key_id = profile.get("crk_id") if isinstance(profile, dict) else None
    key = call.instance.find(key_id) if isinstance(key_id, str) else None
    if key is None:
        raise refusal("KEY_NOT_FOUND_ERR")
    require_root(key)
    require(key, Action.WRAP)
    adapters = call.instance.kmip_adapters
    name = _name(text(fields, "name"), "kmip_adapter")
    if any(adapter.name == name for adapter in adapters.values()):
        raise plain(409, "A KMIP adapter with this name exists already")
    if len(adapters) >= kmip.ADAPTERS_PER_INSTANCE:
        raise plain(409, f"An instance has at most {kmip.ADAPTERS_PER_INSTANCE} KMIP adapters")
    stamp, by, id_ = rfc3339(call.now), call.caller.iam_id, str(uuid.uuid4())
    description = text(fields, "description", high=240) or ""
    adapter = kmip.Adapter(id_, name, description, "native_1.0", {"crk_id": key.id}, stamp, by, stamp, by)
    adapters[id_] = adapter
    return enveloped("kmip_adapter", [adapter_view(adapter)], 201)


def get_adapter(call: Call) -> Answer:
    return enveloped("kmip_adapter", [adapter_view(_adapter(call))])


def delete_adapter(call: Call) -> Answer:
    adapter = _adapter(call)
    kmip.check_adapter_deletion(adapter)
    del call.instance.kmip_adapters[adapter.id]
    return empty()


def list_objects(call: Call) -> Answer:
    objects, wanted = _adapter(call).objects.values(), _states(call.query.get("state"))
    return _page(call, "kmip_object", [object_view(item) for item in objects if item.state in wanted])


def get_object(call: Call) -> Answer:
    return enveloped("kmip_object", [object_view(kmip.find_object(_adapter(call), call.path["object"]))])


def delete_object(call: Call) -> Answer:
    item = kmip.find_object(_adapter(call), call.path["object"])
    kmip.destroy(item, call.caller.iam_id, rfc3339(call.now), force=call.flag("force"))
    return empty()


def list_certificates(call: Call) -> Answer:
    certificates = _adapter(call).certificates.values()
    views = [{name: vars(c)[name] for name in ("id", "name", "created_at", "created_by")} for c in certificates]
    return _page(call, "kmip_client_certificate", views)


def add_certificate(call: Call) -> Answer:
    adapter, fields = _adapter(call), call.resources()[0]
    pem = text(fields, "certificate") or ""
    if not _is_certificate(pem):
        raise refusal("INVALID_FIELD_ERR", "certificate must be one certificate in PEM", field="certificate")
    name = _name(text(fields, "name"), "kmip_cert")
    if any(name == certificate.name for certificate in adapter.certificates.values()):
        raise plain(409, "A client certificate with this name exists already")
    everywhere = [c.certificate for a in call.instance.kmip_adapters.values() for c in a.certificates.values()]
    if pem.strip() in {other.strip() for other in everywhere}:
        raise plain(409, "This client certificate belongs to a KMIP adapter already")
    if len(adapter.certificates) >= kmip.CERTIFICATES_PER_ADAPTER:
        raise plain(409, f"A KMIP adapter has at most {kmip.CERTIFICATES_PER_ADAPTER} client certificates")
    certificate = kmip.Certificate(str(uuid.uuid4()), name, pem, rfc3339(call.now), call.caller.iam_id)
    adapter.certificates[certificate.id] = certificate
    return enveloped("kmip_client_certificate", [vars(certificate)], 201)


def get_certificate(call: Call) -> Answer:
    return enveloped("kmip_client_certificate", [vars(_certificate(call))])


def delete_certificate(call: Call) -> Answer:
    del _adapter(call).certificates[_certificate(call).id]
    return empty()


def adapter_view(adapter: kmip.Adapter) -> dict[str, Any]:
    return {name: value for name, value in vars(adapter).items() if name not in {"certificates", "objects"}}


def object_view(item: kmip.KmipObject) -> dict[str, Any]:
    """What is not there yet is left out: destroyed_at, destroyed_by. Destroyed material does not come back."""
    view = {name: value for name, value in vars(item).items() if value != ""}
    return {**view, "recoverable": False} if item.state in kmip.DESTROYED else view


def _page(call: Call, kind: str, views: list[Any]) -> Answer:
    limit, offset = call.number("limit", 100, 1, 5_000), call.number("offset", 0, 0, 10**9)
    extra = {"totalCount": len(views)} if call.flag("totalCount") else {}
    return enveloped(kind, views[offset : offset + limit], **extra)


def _adapter(call: Call) -> kmip.Adapter:
    return kmip.find(call.instance.kmip_adapters, call.path["adapter"], "KMIP adapter")


def _certificate(call: Call) -> kmip.Certificate:
    return kmip.find(_adapter(call).certificates, call.path["certificate"], "client certificate")


def _states(listed: str | None) -> frozenset[kmip.ObjectState]:
    if not listed:  # IBM's Python client sends an empty list where it is given none
        return kmip.LISTED
    known = {str(int(state)): state for state in kmip.ObjectState}
    if not all(part in known for part in listed.split(",")):
        raise refusal("INVALID_QUERY_PARAM_ERR", "state is a list of 1, 2, 3, 4, 5, 6", parameter="state")
    return frozenset(known[part] for part in listed.split(","))


def _is_certificate(pem: str) -> bool:
    try:
        return bool(_PEM.fullmatch(pem) and x509.load_pem_x509_certificate(pem.encode()))
    except (ValueError, x509.InvalidVersion):
        return False


def _name(name: str | None, prefix: str) -> str:
    if not name:
        return f"{prefix}_{secrets.token_hex(4)}"
    if not _NAME.fullmatch(name) or is_uuid(name):
        raise refusal("INVALID_FIELD_ERR", "name is 2 to 40 letters, digits, - and _, and no UUID", field="name")
    return name
