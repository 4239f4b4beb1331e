"""What Key Protect and IAM answer when they refuse: one table of codes, two exceptions.

A handler raises; `http/answers.py` renders. Codes are Key Protect's own; where its documents name none
(a permission that is missing, a header that is missing) the answer carries a text and no code.
"""

from collections.abc import Mapping
from typing import Final

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "BAD_BODY_ERR": (
        400,
        "Invalid body data was passed. Please ensure the data passed had valid formatting.",
    ),
    "NO_BODY_ERR": (400, "No body was passed. A body is required for this action."),
    "INVALID_FIELD_ERR": (400, "The field is not valid."),
    "INVALID_QUERY_PARAM_ERR": (400, "The query parameter is not valid."),
    "COLLECTION_TOTAL_MISMATCH_ERR": (400, "collectionTotal does not match the number of resources."),
    "NUM_COLLECTION_RESOURCE_ERR": (400, "The collection must hold exactly one resource."),
    "BODY_QUERY_PARAM_MISMATCH_ERR": (400, "The query parameter does not match the body."),
    "KEY_RESTORE_EXPIRED": (400, "The key can no longer be restored: its restore period has ended."),
    "KEY_ROOT_REQ_ERR": (400, "This action needs a root key; the key is a standard key."),
    "KEY_EXPIRED_ERR": (400, "The action could not be performed on the key because the key is expired."),
    "KEY_PAYLOAD_REQ_ERR": (400, "A payload is required: the key was imported."),
    "INCORRECT_NONCE_ERR": (400, "The nonce does not match the import token."),
    "INCORRECT_NONCE_IV_ERR": (400, "The nonce or the IV is not correct."),
    "KEY_SEARCH_TOO_BROAD": (400, "The search matches too many keys."),
    "CONFIG_RULE_CONFLICT_ERR": (403, "The request conflicts with a configuration rule of the account."),
    "SERVICE_ONLY_ERR": (403, "Only an onboarded service may do this."),
    "KEY_NOT_FOUND_ERR": (404, "Key does not exist"),
    "KEY_RING_NOT_FOUND_ERR": (404, "The key ring does not exist"),
    "KEY_ACTION_INVALID_STATE_ERR": (409, "Key is not in a valid state"),
    "REQ_TOO_EARLY_ERR": (409, "The key was updated recently: wait and try again."),
    "KEY_ROTATION_NOT_PERMITTED": (
        409,
        "This key has been rotated within the last hour: only one 'rotate' action per hour is permitted",
    ),
    "PROTECTED_RESOURCE_ERR": (409, "Key is protecting one or more cloud resources"),
    "AUTHORIZATIONS_NOT_MET": (409, "Number of authorizations required to delete is not met"),
    "NOT_DUAL_AUTH_ERR": (409, "The key is not dual auth enabled and cannot be set for deletion"),
    "KEY_ALIAS_NOT_UNIQUE_ERR": (409, "The alias is already in use in this instance."),
    "KEY_RING_NOT_EMPTY_ERR": (409, "The key ring still holds keys."),
    "KEY_CREATE_IMPORT_ACCESS_ERR": (409, "KeyCreateImportAccess instance policy does not allow this action"),
    "IMPORT_TOKEN_EXPIRED_ERR": (
        409,
        "The import token has expired or reached its maximum number of retrievals.",
    ),
    "KEY_DELETED_ERR": (410, "Key has already been deleted. Please delete references to this key."),
    "UNPROCESSABLE_CIPHERTEXT_ERR": (422, "The provided ciphertext is invalid or corrupted."),
}

REASON_PHRASES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class KeyProtectError(Exception):
    """Key Protect says no. `code` is empty where the real answer holds only a text."""

    def __init__(self, status: int, code: str, message: str, target: tuple[str, str] | None = None) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status, self.code, self.message, self.target = status, code, message, target


def refusal(code: str, message: str = "", *, field: str = "", parameter: str = "") -> KeyProtectError:
    """The exception for one of Key Protect's codes; `field` or `parameter` names the culprit."""
    status, default = CODES[code]
    target = ("field", field) if field else ("parameter", parameter) if parameter else None
    return KeyProtectError(status, code, message or default, target)


def unauthorized(message: str = "The user does not have access to the specified resource") -> KeyProtectError:
    """Bad token and missing permission look alike to a caller: 401, and a text without a code."""
    return KeyProtectError(401, "", message)


def plain(status: int, message: str) -> KeyProtectError:
    """A refusal for which Key Protect's documents name no code."""
    return KeyProtectError(status, "", message)


class IamError(Exception):
    """IAM says no: an HTTP status and a BXNIM code."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(f"{status} {code} {message}")
        self.status, self.code, self.message, self.details = status, code, message, details


class ControlError(Exception):
    """The control API was asked for something that makes no sense; the text says what."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
