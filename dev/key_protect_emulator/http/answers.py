"""What goes back on the wire: vendor media types, envelopes, error bodies."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from key_protect_emulator.errors import REASON_PHRASES, IamError, KeyProtectError

VENDOR = "application/vnd.ibm.kms."
MORE = "https://cloud.ibm.com/apidocs/key-protect"
SEE_REASONS = "Please see `reasons` for more details."


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


def kms_error(error: KeyProtectError) -> Answer:
    phrase = REASON_PHRASES.get(error.status, "Error")
    if not error.code:
        return enveloped("error", [{"errorMsg": f"{phrase}: {error.message}"}], error.status)
    reason: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "status": error.status,
        "moreInfo": MORE,
    }
    if error.target:
        reason["target"] = {"type": error.target[0], "name": error.target[1]}
    text = f"{phrase}: Action could not be performed. {SEE_REASONS}"
    return enveloped("error", [{"errorMsg": text, "reasons": [reason]}], error.status)


def iam_error(error: IamError) -> Answer:
    body: dict[str, Any] = {"errorCode": error.code, "errorMessage": error.message}
    if error.details:
        body["errorDetails"] = error.details
    body["context"] = {"requestId": uuid.uuid4().hex, "requestType": "incoming.Identity_Token"}
    return _json(error.status, body, "application/json")


def _json(status: int, body: object, content_type: str) -> Answer:
    return Answer(status, json.dumps(body).encode(), content_type)
