"""What goes back on the wire: vendor media types, envelopes, error bodies."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from key_protect_emulator.errors import REASON_PHRASES, IamError, KeyProtectError

VENDOR = "application/vnd.ibm.kms."
MORE = "https://cloud.ibm.com/apidocs/key-protect"

# What could not be done, as `errorMsg` says it. The first thirteen are Key Protect's own words.
COULD_NOT: Final[Mapping[str, str]] = {
    "create": "Key could not be created",
    "get": "Key could not be retrieved",
    "delete": "Key could not be deleted",
    "purge": "Key could not be purged",
    "rotate": "Key could not be rotated",
    "disable": "Key could not be disabled",
    "enable": "Key could not be enabled",
    "restore": "Key could not be restored",
    "wrap": "Wrap with key could not be performed",
    "unwrap": "Unwrap with key could not be performed",
    "sync": "Could not initiate sync requests to associated resources",
    "instance_policies.put": "Instance policy could not be created",
    "import_tokens.get": "Import Token could not be retrieved",
    "create_with_policies": "Key could not be created",
    "metadata": "Key could not be retrieved",
    "patch": "Key could not be updated",
    "head": "Keys could not be counted",
    "list": "Keys could not be listed",
    "versions": "Key versions could not be retrieved",
    "rewrap": "Rewrap with key could not be performed",
    "set_key_for_deletion": "Key could not be set for deletion",
    "unset_key_for_deletion": "Key could not be unset for deletion",
    "registrations": "Registrations could not be retrieved",
    "key_policies.get": "Key policies could not be retrieved",
    "key_policies.put": "Key policies could not be set",
    "aliases.create": "Key alias could not be created",
    "aliases.delete": "Key alias could not be deleted",
    "instance_policies.get": "Instance policies could not be retrieved",
    "allowed_ip_port": "Allowed IP port could not be retrieved",
    "import_tokens.create": "Import Token could not be created",
    "rings.list": "Key rings could not be listed",
    "rings.create": "Key ring could not be created",
    "rings.delete": "Key ring could not be deleted",
    "kmip.list": "KMIP resources could not be listed",
    "kmip.get": "KMIP resource could not be retrieved",
    "kmip.create": "KMIP resource could not be created",
    "kmip.delete": "KMIP resource could not be deleted",
    "unknown": "Action could not be performed",
}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def media(kind: str) -> str:
    return f"{VENDOR}{kind}+json"


def enveloped(kind: str, resources: Sequence[Any], status: int = 200, **metadata: object) -> Answer:
    """{"metadata": ..., "resources": [...]}: nearly every answer of Key Protect."""
    head = {"collectionType": media(kind), "collectionTotal": len(resources), **metadata}
    return _json(status, {"metadata": head, "resources": list(resources)}, media(kind))


def flat(kind: str, body: Mapping[str, Any], status: int = 200) -> Answer:
    """Wrap, unwrap and rewrap answer with a bare object."""
    return _json(status, body, media(kind))


def empty(status: int = 204, **headers: str) -> Answer:
    return Answer(status, headers=headers)


def plain_json(body: object, status: int = 200) -> Answer:
    return _json(status, body, "application/json")


def kms_error(error: KeyProtectError, operation: str = "unknown") -> Answer:
    """An error's body. `errorMsg` names the operation and the code: clients such as redstone show nothing else."""
    phrase = REASON_PHRASES.get(error.status, "Error")
    could_not = COULD_NOT.get(operation, COULD_NOT["unknown"])
    if not error.code:
        # What a caller may not do is answered in the same words for every operation.
        text = error.message if error.status == 401 else f"{error.message}: {could_not}"
        return enveloped("error", [{"errorMsg": f"{phrase}: {text}"}], error.status)
    reason: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "status": error.status,
        "moreInfo": MORE,
    }
    if error.target:
        reason["target"] = {"type": error.target[0], "name": error.target[1]}
    text = f"{phrase}: {could_not}: Please see `reasons` for more details ({error.code})"
    return enveloped("error", [{"errorMsg": text, "reasons": [reason]}], error.status)


def iam_error(error: IamError) -> Answer:
    body: dict[str, Any] = {"errorCode": error.code, "errorMessage": error.message}
    if error.details:
        body["errorDetails"] = error.details
    body["context"] = {"requestId": uuid.uuid4().hex, "requestType": "incoming.Identity_Token"}
    return _json(error.status, body, "application/json")


def _json(status: int, body: object, content_type: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), content_type)
