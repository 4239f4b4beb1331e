"""What the gateway answers where it does not do what was asked: OpenScale's own shape of errors."""

from typing import Any

from aiohttp import web

from openscale_byok.errors import ByokError, Changed, Contradicted, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason

TRANSACTION = "X-Global-Transaction-ID"
REVOKED = "OpenScale-Byok-Revoked"
"""Set where a root key said no: then what was handed out before is to be thrown away."""
RETRY_SECONDS = 5
NOT_FOUND = "NotFound"
_STATUS = {
    Reason.NOT_AUTHENTICATED: 401,
    Reason.NOT_ALLOWED: 403,
    Reason.INVALID_REQUEST: 400,
    Reason.INVALID_OBJECT: 400,
    Reason.TOO_MANY_REQUESTS: 429,
}
REVOCATIONS = frozenset(
    {
        Reason.KEY_DISABLED,
        Reason.KEY_DESTROYED,
        Reason.KEY_NOT_FOUND,
        Reason.KEY_NOT_ROOT,
        Reason.CRN_MISMATCH,
        Reason.NOT_AUTHORIZED,
        Reason.CREDENTIALS_REFUSED,
        Reason.CREDENTIALS_MISSING,
        Reason.ROOT_KEY_NOT_ALLOWED,
        Reason.ENDPOINT_NOT_ALLOWED,
        Reason.TRUSTED_PROFILE_OFF,
        Reason.NO_BINDING,
        Reason.SHREDDED,
    }
)
"""Clear refusals that are about the root key: whoever holds the password is to let it go."""


def status_of(error: ByokError) -> int:
    """The HTTP status that an error is answered with."""
    if isinstance(error, Missing):
        return 404
    if error.reason in _STATUS:
        return _STATUS[error.reason]
    if isinstance(error, (Changed, Contradicted)):
        return 409
    if isinstance(error, Unavailable):
        return 503
    return 403 if error.reason in REVOCATIONS else 409


def failure(error: ByokError, transaction: str) -> web.Response:
    """An error as an answer. Its message is one of ours: it names the field and the cure, and holds no secret."""
    status = status_of(error)
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        asked = error.retry_after if isinstance(error, Unavailable) else None
        headers["Retry-After"] = str(max(1, round(asked if asked is not None else RETRY_SECONDS)))
    if isinstance(error, Refused) and error.reason in REVOCATIONS and not isinstance(error, Contradicted):
        headers[REVOKED] = "true"
    code = NOT_FOUND if status == 404 else error.reason.value
    return web.json_response(shape(code, error.message, transaction), status=status, headers=headers)


def shape(code: str, message: str, transaction: str) -> dict[str, Any]:
    """The body of an error, as OpenScale has it."""
    return {"trace": transaction, "errors": [{"code": code, "message": message}]}
