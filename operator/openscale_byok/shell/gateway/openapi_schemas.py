"""The bodies of the gateway's API as JSON Schemas. Bounds come from the models of the CRDs: they are said once."""

from collections.abc import Mapping
from typing import Any, Final

from openscale_byok.core.json_patch import MOST_OPERATIONS
from openscale_byok.core.openscale_configuration import MAX_CERTIFICATE_CHARACTERS, MODES, TYPES
from openscale_byok.core.preferences import ROOT_KEY, VALUE
from openscale_byok.resources import (
    DNS_SUBDOMAIN,
    MAX_PASSWORD_BYTES,
    DataMartSpec,
    Resource,
    RootKeyBinding,
)
from openscale_byok.resources.crn import ROOT_KEY_PATTERN

Schema = dict[str, Any]
INSTANCE_ID: Final = "3f0c2a9e-5b7d-4c1e-8f6a-9d2b4e7c1a50"
CRN: Final = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f:key:9f8e7d6c-9f8e-4d7c-8b6a-9f8e7d6c5b4a"
)
_STATES: Final = ("preparing", "active", "deleting", "error")
_KEPT: Final = {"type", "enum", "minLength", "maxLength", "pattern", "minimum", "maximum"}


def ref(name: str) -> Schema:
    """A reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Schema]:
    """Every schema, by its name."""
    crn = {**_bounds(RootKeyBinding, "spec", "rootKey", "crn"), "pattern": ROOT_KEY_PATTERN, "format": "root-key-crn"}
    progress = _object({"message": _text("how far it is"), "see": _text("a command that shows more")})
    where = {"progress": progress | {"description": "The change goes on; a later GET of the instance tells its end."}}
    by_key = {ROOT_KEY: ref("RootKeyCRN")}
    return {
        "RootKeyCRN": crn,
        "Preferences": _object(by_key, required=()) | {"description": "What is set; nothing else is kept here."},
        "Preference": _object({VALUE: ref("RootKeyCRN")}, closed=True),
        "NewPreference": {
            "description": "As IBM documents it, or as its SDK has it.",
            "oneOf": [_object(by_key, closed=True), _object({VALUE: ref("RootKeyCRN")}, closed=True)],
        },
        "SetPreference": {"oneOf": [_object(by_key), _object({VALUE: ref("RootKeyCRN")})]},
        "UnderWay": _object({**by_key, VALUE: ref("RootKeyCRN"), **where}, required=("progress",)),
        "PreferencesPatch": _patch(_preference_operations()),
        "NewDataMart": _new_data_mart(),
        "DataMart": _data_mart(),
        "DataMarts": _object(
            {
                "data_marts": {"type": "array", "items": ref("DataMart")},
                "limit": {"type": "integer", "description": "Where the query had one."},
                "next": _object({"href": {"type": "string"}, "start": {"type": "string"}}),
            },
            required=("data_marts",),
        ),
        "DataMartPatch": _patch(_data_mart_operations()),
        "Credentials": _credentials(),
        "Error": _error(),
        "Entitlements": _object(
            {
                "entitlements": _object(
                    {"ai_openscale": {"type": "array", "items": _object({"id": _text("its service instance id")})}}
                )
            }
        ),
        "MonitorDefinitions": _object({"monitor_definitions": {"type": "array", "maxItems": 0}}),
        "Heartbeat": _object({"is_cloud": {"const": True}}),
        "Document": {"type": "object", "description": "This document.", "required": ["openapi", "paths"]},
    }


def _new_data_mart() -> Schema:
    """The body of a POST, as `core.openscale_configuration.read` takes it."""
    configuration = _object(
        {
            "database_type": {"type": "string", "enum": [*TYPES]},
            "credentials": {"anyOf": [_login(*tls) for tls in _SECURED]},
            "location": _object({"schema_name": _bounds(DataMartSpec, "database", "schema")}, closed=True),
            "name": _maybe({"type": "string"}, "Not kept."),
            "instance_id": _maybe({"type": "string"}, "Not kept."),
        },
        required=("database_type", "credentials", "location"),
        closed=True,
    )
    return _object(
        {
            "name": _maybe(_bounds(DataMartSpec, "displayName"), "What people call it, on one line."),
            "description": _maybe(_bounds(DataMartSpec, "description"), "What it is for."),
            "service_instance_crn": _maybe(
                {"type": "string", "format": "openscale-instance-crn"}, "If given: the CRN of the instance in the URL."
            ),
            "internal_database": {"enum": [False, None], "description": "There is none here: the database is yours."},
            "database_configuration": configuration,
            "database_discovery": {"enum": ["manual", None], "description": "No database is discovered here."},
        },
        required=("database_configuration",),
        closed=True,
    )


_TLS: Final = {"enum": [True, None]}
_SECURED: Final = (
    # Title, sslmode, ssl, which of them must be there, whether a certificate may be.
    ("Checked in full", {"enum": ["verify-full", None]}, _TLS, (), True),
    ("Encrypted only", {"const": "require"}, _TLS, ("sslmode",), False),
    ("In the clear", {"const": "disable"}, {"enum": [False, None]}, ("sslmode",), False),
    ("In the clear, said by ssl", {"enum": ["disable", None]}, {"const": False}, ("ssl",), False),
)
"""How a connection is secured: `sslmode` and `ssl` must not contradict each other."""


def _login(title: str, mode: Schema, ssl: Schema, needed: tuple[str, ...], certified: bool) -> Schema:  # noqa: FBT001
    base = {
        "hostname": _bounds(DataMartSpec, "database", "host"),
        "port": _bounds(DataMartSpec, "database", "port"),
        "db": _bounds(DataMartSpec, "database", "name"),
        "username": _bounds(DataMartSpec, "database", "username"),
        "password": {
            "type": "string",
            "format": "password",
            "minLength": 1,
            "maxLength": MAX_PASSWORD_BYTES,
            "pattern": r"^[^\x00-\x1f\x7f]+$",
            "writeOnly": True,
            "description": f"Sealed before anything is stored, and never shown. At most {MAX_PASSWORD_BYTES} bytes.",
        },
    }
    certificate = {"type": "string", "format": "pem-base64", "maxLength": MAX_CERTIFICATE_CHARACTERS}
    tls = {
        "sslmode": mode | {"description": f"One of {', '.join(MODES)}."},
        "ssl": ssl,
        "certificate_base64": _maybe(certificate, "PEM certificates that the server's is checked against, in base64.")
        if certified
        else {"type": "null"},
    }
    return _object({**base, **tls}, required=(*base, *needed), closed=True) | {"title": title}


def _data_mart() -> Schema:
    error = _object({"code": _text("a reason"), "message": _text("what was found, and what helps")})
    failure = _object({"trace": _text("this answer's transaction"), "errors": {"type": "array", "items": error}})
    time = {"type": "string", "format": "date-time"}
    id_ = {"type": "string", "pattern": f"^{DNS_SUBDOMAIN.strip('^$')}$", "description": "Name of the DataMart."}
    configuration = _object(
        {
            "database_type": {"type": "string", "enum": [*TYPES]},
            "credentials": _object({"secret_id": _text("another after each seal; empty where nothing is sealed")}),
            "location": _object({"schema_name": {"type": "string"}}),
        }
    )
    status = _object({"state": {"type": "string", "enum": [*_STATES]}, "failure": failure}, required=("state",))
    entity: dict[str, Schema] = {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "internal_database": {"const": False},
        "database_configuration": configuration,
        "database_discovery": {"const": "manual"},
        "status": status,
    }
    metadata = {"id": id_, "url": _text("path of this data mart"), "created_at": time, "modified_at": time}
    return _object({"metadata": _object(metadata), "entity": _object(entity)})


def _credentials() -> Schema:
    found = {
        "type": _bounds(DataMartSpec, "database", "type"),
        "hostname": {"type": "string"},
        "port": _bounds(DataMartSpec, "database", "port"),
        "db": {"type": "string"},
        "schema": {"type": "string"},
        "username": {"type": "string"},
        "password": {"type": "string", "format": "password", "readOnly": True},
        "tls": _bounds(DataMartSpec, "database", "tls"),
        "revision": {"type": "integer", "minimum": 0, "description": "Counts the passwords that were given."},
        "ca": _text("PEM certificates that the server's is checked against, where the data mart has some"),
    }
    return _object(found, required=tuple(name for name in found if name != "ca"))


def _error() -> Schema:
    one = {"code": _text("a reason of docs/key-lifecycle.md"), "message": _text("which field, and the cure")}
    one["code"]["pattern"] = "^[A-Z][A-Za-z]+$"
    return _object(
        {
            "trace": _text("the answer's X-Global-Transaction-ID"),
            "errors": {"type": "array", "minItems": 1, "items": _object(one)},
        }
    )


def _preference_operations() -> list[Schema]:
    path = {"const": f"/{ROOT_KEY}"}
    return [
        _object({"op": {"enum": ["add", "replace", "test"]}, "path": path, "value": ref("RootKeyCRN")}),
        _object({"op": {"const": "remove"}, "path": path}),
    ]


def _data_mart_operations() -> list[Schema]:
    pointer = {"type": "string", "pattern": "^(/([^/~]|~[01])*)+$", "description": "As in the body of the POST."}
    return [
        _object({"op": {"enum": ["add", "replace", "test"]}, "path": pointer, "value": {}}, closed=True),
        _object({"op": {"const": "remove"}, "path": pointer}, closed=True),
    ]


def _patch(operations: list[Schema]) -> Schema:
    return {
        "type": "array",
        "description": "A JSON Patch (RFC 6902): all of it is done, or nothing.",
        "minItems": 1,
        "maxItems": MOST_OPERATIONS,
        "items": {"oneOf": operations},
    }


def _bounds(model: type[Resource] | type[DataMartSpec], *path: str) -> Schema:
    """Type, bounds and description of a field, as its CRD has them."""
    whole = model.model_json_schema()
    found: Mapping[str, Any] = whole
    for name in path:
        found = _followed(found, whole)["properties"][name]
    found = _followed(found, whole)
    kept = {name: value for name, value in found.items() if name in _KEPT}
    return kept | ({"description": found["description"]} if "description" in found else {})


def _followed(found: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to; of a field that may be missing, what it is where it is there."""
    if "anyOf" in found:
        found = next(one for one in found["anyOf"] if one.get("type") != "null")
    if "$ref" in found:
        return dict(whole["$defs"][found["$ref"].rpartition("/")[2]])
    return found


def _maybe(schema: Schema, description: str) -> Schema:
    return schema | {"type": [schema["type"], "null"], "description": description}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description[:1].upper() + description[1:] + "."}


def _object(members: Mapping[str, Schema], required: tuple[str, ...] | None = None, *, closed: bool = False) -> Schema:
    """An object; what is asked is closed (nothing unknown is taken), what is answered may grow."""
    needed = tuple(members) if required is None else required
    return (
        {"type": "object", "properties": dict(members)}
        | ({"required": [*needed]} if needed else {})
        | ({"additionalProperties": False} if closed else {})
    )
