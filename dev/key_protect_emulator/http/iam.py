"""IAM's own routes: token, public keys, discovery."""

import time
from collections.abc import Mapping
from typing import Any

from key_protect_emulator.backend import Backend
from key_protect_emulator.http.answers import Answer, plain_json
from key_protect_emulator.http.exchange import Asker
from key_protect_emulator.identify import GRANT_TYPES, identify


def token(backend: Backend, form: Mapping[str, str], asker: Asker, *, client: bool) -> Answer:
    """A token; and, for a client that names itself by HTTP Basic as redstone does, one to refresh it with."""
    now, mint = backend.clock.now(), backend.mint
    proven = identify(backend.world, mint, form, now, time.time())
    asker.identity = proven.identity.id
    refresh = mint.issue_refresh(proven.api_key.id, now) if client and proven.api_key else "not_supported"
    return plain_json(mint.issue(proven.identity, backend.issuer, form["grant_type"], now, refresh=refresh))


def jwks(backend: Backend) -> Answer:
    return plain_json(backend.mint.jwks())


def discovery(backend: Backend) -> Answer:
    body: dict[str, Any] = {
        "issuer": backend.issuer,
        "token_endpoint": f"{backend.issuer}/token",
        "jwks_uri": f"{backend.issuer}/keys",
        "grant_types_supported": list(GRANT_TYPES),
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["cloud_iam"],
    }
    return plain_json(body)
