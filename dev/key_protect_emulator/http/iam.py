"""IAM's own routes: token, public keys, discovery."""

import time
from collections.abc import Mapping
from typing import Any

from key_protect_emulator.backend import Backend
from key_protect_emulator.http.answers import Answer, plain_json
from key_protect_emulator.http.exchange import Asker
from key_protect_emulator.iam import APIKEY, CR_TOKEN, identify


def token(backend: Backend, form: Mapping[str, str], asker: Asker) -> Answer:
    who, grant_type = identify(backend.world, form, time.time())
    asker.identity = who.id
    return plain_json(backend.mint.issue(who, backend.issuer, grant_type, backend.clock.now()))


def jwks(backend: Backend) -> Answer:
    return plain_json(backend.mint.jwks())


def discovery(backend: Backend) -> Answer:
    body: dict[str, Any] = {
        "issuer": backend.issuer,
        "token_endpoint": f"{backend.issuer}/token",
        "jwks_uri": f"{backend.issuer}/keys",
        "grant_types_supported": [APIKEY, CR_TOKEN],
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["cloud_iam"],
    }
    return plain_json(body)
