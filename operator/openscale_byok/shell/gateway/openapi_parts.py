"""What operations of the OpenAPI document share: parameters, headers, and the answers to what fails."""

from typing import Final

from openscale_byok.core.openscale_pages import LONGEST
from openscale_byok.core.preferences import ROOT_KEY
from openscale_byok.shell.gateway.answers import REVOKED, TRANSACTION
from openscale_byok.shell.gateway.openapi_schemas import INSTANCE_ID, Schema, ref

JSON: Final = "application/json"
ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("InvalidRequest", "The request does not have the shape that is demanded: the message names field and cure."),
    401: ("NotAuthenticated", "The bearer token is missing, over, or not made for this gateway."),
    403: ("Forbidden", f"No right to this, or it does not exist; or, with {REVOKED}, a root key said no."),
    404: ("NotFound", "The caller may know what there is, and this is not."),
    408: ("TooSlow", "The body did not come in time."),
    409: ("Conflict", "It is kept somewhere else, has changed meanwhile, or is in a state that forbids this."),
    413: ("TooLong", "The body is longer than 64 KiB."),
    429: ("TooManyRequests", "This caller asks more often than the gateway allows."),
    503: ("Unavailable", "It cannot be told now: the message says what is awaited. Ask again."),
}


def answer(description: str, schema: str, *named: str) -> Schema:
    """An answer with a body of this schema (none where it is empty) and these headers besides its transaction."""
    names = {"no-store": "Cache-Control", "location": "Location", "applied": "Preference-Applied", "tag": "ETag"}
    found = {
        name: {"$ref": f"#/components/headers/{name}"} for name in (TRANSACTION, *(names[header] for header in named))
    }
    return {"description": description, "headers": found} | (
        {"content": {JSON: {"schema": ref(schema)}}} if schema else {}
    )


def failures() -> Schema:
    """The answers to what fails, by their names."""
    return {name: _failure(status, text) for status, (name, text) in ERRORS.items()}


def _failure(status: int, description: str) -> Schema:
    also = {401: "WWW-Authenticate", 403: REVOKED, 429: "Retry-After", 503: "Retry-After"}.get(status)
    found = answer(description, "Error")
    if also:
        found["headers"][also] = {"$ref": f"#/components/headers/{also}"}
    return found


def headers() -> Schema:
    """Every header of an answer."""

    def header(description: str, schema: Schema, *, always: bool = True) -> Schema:
        return {"description": description, "required": always, "schema": schema}

    text: Schema = {"type": "string"}
    return {
        TRANSACTION: header("The caller's own, where it is sane; else a new one. Also in the audit.", text),
        "Cache-Control": header("Nobody is to keep it.", {"const": "no-store"}),
        "Location": header("Where to look.", text),
        "Preference-Applied": header("What was waited for, at most (RFC 7240).", text, always=False),
        "ETag": header("Another one whenever what is sealed is another.", {"type": "string", "pattern": '^".+"$'}),
        "WWW-Authenticate": header("What is asked for.", {"const": "Bearer"}),
        "Retry-After": header("Seconds.", {"type": "integer", "minimum": 1}),
        REVOKED: header(
            "A root key said no: whoever holds the password is to let it go.", {"const": "true"}, always=False
        ),
    }


def parameter(name: str) -> Schema:
    """A reference to one of the parameters."""
    return {"$ref": f"#/components/parameters/{name}"}


def parameters() -> Schema:
    """Every parameter."""

    def one(name: str, in_: str, description: str, example: str | int, **schema: object) -> Schema:
        found = {"name": name, "in": in_, "description": description, "schema": {"type": "string", **schema}}
        return found | {"required": in_ == "path", "example": example}

    said = "spec.serviceInstanceId of an OpenScaleInstance."
    return {
        "instance": one("instance", "path", said, INSTANCE_ID),
        "key": one("key", "path", "The one preference that is kept here.", ROOT_KEY, enum=[ROOT_KEY]),
        "id": one("id", "path", "Name of a DataMart.", "scores-0a1b2c3d"),
        "namespace": one("namespace", "path", "Namespace of a DataMart.", "team-a"),
        "name": one("name", "path", "Name of a DataMart.", "scores"),
        "limit": one(
            "limit",
            "query",
            "So many at most; `next` says where it goes on. Without it: all.",
            100,
            type="integer",
            minimum=1,
            maximum=LONGEST,
        ),
        "start": one("start", "query", "The first id; as `next` has it.", "scores-0a1b2c3d"),
        "transaction": one(
            TRANSACTION, "header", "1 to 128 letters, digits and ._:/+=-; else it is not taken.", "release-42"
        ),
        "Prefer": one(
            "Prefer",
            "header",
            "wait=N: answer when everything is re-encrypted, after N seconds at the latest (at most 300).",
            "wait=30",
        ),
        "If-None-Match": one("If-None-Match", "header", "The ETag of what the caller has.", '"3b1f0c9a"'),
    }
