"""The OpenAPI 3.1 document of the gateway's API: served at /openapi.json, and checked in as docs/openapi.json."""

import json
from functools import cache
from typing import Any, Final

from aiohttp import web

from openscale_byok import __version__
from openscale_byok.core.preferences import ROOT_KEY
from openscale_byok.shell.gateway.openapi_parts import ERRORS, JSON, answer, failures, headers, parameter, parameters
from openscale_byok.shell.gateway.openapi_schemas import CRN, Schema, ref, schemas

PATH: Final = "/openapi.json"
JSON_PATCH: Final = "application/json-patch+json"
_BELOW: Final = "/openscale/{instance}/v2"
_DATABASE: Final = {
    "name": "Scores",
    "database_configuration": {
        "database_type": "postgresql",
        "credentials": {
            "hostname": "db.example.com",
            "port": 5432,
            "db": "openscale",
            "username": "openscale",
            "password": "correct horse battery staple",
            "sslmode": "verify-full",
        },
        "location": {"schema_name": "scores"},
    },
}
_RENAMED: Final = [{"op": "replace", "path": "/name", "value": "Scores of 2026"}]
_ABOUT: Final = (
    "OpenScale's own API for the root key that a user brings and for data marts, and the credentials of data marts "
    "for those who may have them. docs/api.md tells it with curl, docs/who-may.md says which right each call needs. "
    "Query parameters that are not named here are not looked at. Every answer may also be 405 with `Allow`, 408, 413 "
    "or 431."
)
_READING: Final = (401, 403, 404, 429, 503)
_GIVING: Final = (400, 401, 403, 404, 408, 409, 413, 429, 503)


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openscale-byok gateway",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": "user_preferences", "description": "The root key that a user brings."},
            {"name": "data_marts", "description": "Databases, and the passwords that are given for them."},
            {"name": "credentials", "description": "Passwords, for those who may have them."},
            {"name": "side calls", "description": "What IBM's SDK asks before anything else, and this document."},
        ],
        "paths": _preferences() | _data_marts() | _credentials() | _side_calls(),
        "components": {
            "schemas": schemas(),
            "headers": headers(),
            "parameters": parameters(),
            "responses": failures(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of Kubernetes made for the audience `openscale-byok`, or an access token "
                    "of IBM Cloud IAM.",
                }
            },
        },
    }


def routes() -> list[web.RouteDef]:
    """The route that shows it."""
    return [web.get(PATH, get, name="openapi.get", allow_head=False)]


async def get(_request: web.Request) -> web.Response:
    """The document; it tells nothing about any instance, so anybody may see it."""
    return web.Response(body=_encoded(), content_type=JSON, charset="utf-8")


@cache
def _encoded() -> bytes:
    """Once for all: whoever asks without a token costs next to nothing."""
    return json.dumps(document()).encode()


def _preferences() -> dict[str, Any]:
    all_of_them, one = f"{_BELOW}/user_preferences", f"{_BELOW}/user_preferences/{{key}}"
    tag, crn, prefer = "user_preferences", {ROOT_KEY: CRN}, [parameter("Prefer")]
    under_way = answer("It goes on: how far it is, and where to look.", "UnderWay", "no-store", "location", "applied")
    empty = answer("Done, and nothing is set.", "", "no-store", "location", "applied")
    patched = answer("Everything is re-encrypted.", "Preferences", "no-store", "location", "applied")
    put = answer("Everything is re-encrypted.", "SetPreference", "no-store", "location", "applied")
    patch = [{"op": "add", "path": f"/{ROOT_KEY}", "value": CRN}]
    return {
        all_of_them: {
            "parameters": [parameter("instance"), parameter("transaction")],
            "get": _operation(tag, "getPreferences", "All preferences", {200: answer("Those.", "Preferences")}),
            "patch": _operation(
                tag,
                "patchPreferences",
                "Bind a root key, change it or take it back, by JSON Patch",
                {200: patched, 202: under_way, 204: empty},
                (_GIVING),
                _body("PreferencesPatch", patch, JSON_PATCH, JSON),
                prefer,
            ),
        },
        one: {
            "parameters": [parameter("instance"), parameter("key"), parameter("transaction")],
            "get": _operation(tag, "getPreference", "The root key", {200: answer("Its CRN.", "Preference")}),
            "put": _operation(
                tag,
                "putPreference",
                "Bind a root key, or change to another one",
                {200: put, 202: under_way},
                _GIVING,
                _body("NewPreference", crn),
                prefer,
            ),
            "delete": _operation(
                tag,
                "deletePreference",
                "Take the root key back: everything goes under the global key",
                {202: under_way, 204: empty},
                (400, 401, 403, 404, 409, 429, 503),
                also=prefer,
            ),
        },
    }


def _data_marts() -> dict[str, Any]:
    all_of_them, one, tag = f"{_BELOW}/data_marts", f"{_BELOW}/data_marts/{{id}}", "data_marts"
    found = answer("The data mart.", "DataMart", "no-store")
    made = answer("Made, and its password is sealed.", "DataMart", "no-store", "location")
    by_id = {
        name: {
            "operationId": name,
            "parameters": {"id": "$response.body#/metadata/id", "instance": "$request.path.instance"},
        }
        for name in ("getDataMart", "patchDataMart", "deleteDataMart")
    }
    gone = answer("Gone, with its sealed password.", "", "no-store")
    return {
        all_of_them: {
            "parameters": [parameter("instance"), parameter("transaction")],
            "get": _operation(
                tag,
                "getDataMarts",
                "Every data mart, wherever it was made, or a page of them",
                {200: answer("Those.", "DataMarts", "no-store")},
                (400, *_READING),
                also=[parameter("limit"), parameter("start")],
            ),
            "post": _operation(
                tag,
                "postDataMart",
                "Make a data mart and seal its password",
                {202: made | {"links": by_id}},
                _GIVING,
                _body("NewDataMart", _DATABASE),
            ),
        },
        one: {
            "parameters": [parameter("instance"), parameter("id"), parameter("transaction")],
            "get": _operation(tag, "getDataMart", "One data mart", {200: found}),
            "patch": _operation(
                tag,
                "patchDataMart",
                "Change it; give the password anew, too, wherever it is to go to another endpoint",
                {200: found},
                _GIVING,
                _body("DataMartPatch", _RENAMED, JSON_PATCH, JSON),
            ),
            "delete": _operation(
                tag,
                "deleteDataMart",
                "Delete a data mart that was made here",
                {204: gone},
                (401, 403, 404, 409, 429, 503),
            ),
        },
    }


def _credentials() -> dict[str, Any]:
    given = answer("Where to log in, as whom, and with what.", "Credentials", "no-store", "tag")
    same = answer("The caller has them already, and may have them still.", "", "no-store", "tag")
    operation = _operation(
        "credentials",
        "getCredentials",
        "The credentials of a data mart",
        {200: given, 304: same},
        (401, 403, 404, 409, 429, 503),
        also=[parameter("If-None-Match")],
    )
    shared = [parameter("namespace"), parameter("name"), parameter("transaction")]
    return {"/v1/namespaces/{namespace}/datamarts/{name}/credentials": {"parameters": shared, "get": operation}}


def _side_calls() -> dict[str, Any]:
    tag, shared = "side calls", [parameter("transaction")]
    alive = {200: answer("It is like IBM's public cloud.", "Heartbeat")}
    beat = _operation(tag, "heartbeat", "What this is like", alive, ()) | {"security": []}
    entitled = {200: answer("Their service instance ids.", "Entitlements")}
    monitors = {200: answer("None: nothing is monitored here.", "MonitorDefinitions")}
    this = _operation(tag, "openapi", "This document", {200: answer("This document.", "Document")}, ())
    return {
        "/v1/entitlements": {
            "parameters": shared,
            "get": _operation(
                tag, "entitlements", "The instances that the caller may look at", entitled, (401, 429, 503)
            ),
        },
        f"{_BELOW}/monitor_definitions": {
            "parameters": [parameter("instance"), *shared],
            "get": _operation(tag, "monitorDefinitions", "Monitors", monitors, (401, 429, 503)),
        },
        "/v2/fairness/heartbeat": {"parameters": shared, "get": beat},
        "/openscale/v2/fairness/heartbeat": {
            "parameters": shared,
            "get": beat | {"operationId": "openscaleHeartbeat"},
        },
        PATH: {"parameters": shared, "get": this | {"security": []}},
    }


def _operation(
    tag: str,
    id_: str,
    summary: str,
    answers: dict[int, Schema],
    errors: tuple[int, ...] = _READING,
    body: Schema | None = None,
    also: list[Schema] | None = None,
) -> Schema:
    failed = {str(status): {"$ref": f"#/components/responses/{ERRORS[status][0]}"} for status in errors}
    found: Schema = {"operationId": id_, "tags": [tag], "summary": summary}
    if also:
        found["parameters"] = also
    if body is not None:
        found["requestBody"] = body
    return found | {"responses": {str(status): answer for status, answer in answers.items()} | failed}


def _body(schema: str, example: object, *types: str) -> Schema:
    content = {"schema": ref(schema), "example": example}
    return {"required": True, "content": dict.fromkeys(types or (JSON,), content)}
