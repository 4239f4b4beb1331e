"""The OpenAPI document says what the gateway serves: the same routes, and bodies that the gateway's own code takes."""

import re
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from openscale_byok.core import openscale_answers
from openscale_byok.core.openscale_data_marts import changed, new
from openscale_byok.core.preferences import patched, root_key_in
from openscale_byok.core.sealable import from_datamart
from openscale_byok.errors import Refused
from openscale_byok.resources import DataMart
from openscale_byok.shell.gateway import openapi
from openscale_byok.shell.gateway.openapi_schemas import CRN, INSTANCE_ID
from openscale_byok.shell.gateway.routes import OPEN, every_route

DOCUMENT = openapi.document()
OPERATIONS = {
    (method.upper(), path): operation
    for path, found in DOCUMENT["paths"].items()
    for method, operation in found.items()
    if method != "parameters"
}


def validator(name: str) -> Draft202012Validator:
    """Of one of the document's schemas."""
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def body_of(method: str, end: str) -> tuple[str, Any]:
    """The schema and the example of a request's body."""
    operation = next(found for (m, path), found in OPERATIONS.items() if m == method and path.endswith(end))
    media = next(iter(operation["requestBody"]["content"].values()))
    return media["schema"]["$ref"].rpartition("/")[2], media["example"]


def test_each_route_is_in_the_document_and_the_other_way_round() -> None:
    """Nothing is served that is not described, and nothing described that is not served."""
    assert {(route.method, route.path) for route in every_route()} == set(OPERATIONS)
    assert all(route.kwargs.get("allow_head") is False for route in every_route() if route.method == "GET")


def test_what_needs_no_token_says_so() -> None:
    """The paths that the guard lets pass are those without security in the document, and no others."""
    assert {path for (_, path), found in OPERATIONS.items() if found.get("security") == []} == OPEN
    assert DOCUMENT["security"] == [{"bearer": []}]


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    """No reference dangles, no component is left over, no operation's id is there twice."""
    text = str(DOCUMENT)
    named = set(re.findall(r"'\$ref': '#/components/(\w+)/([\w-]+)'", text))
    there = {(group, name) for group, found in DOCUMENT["components"].items() for name in found}
    assert named == {(group, name) for group, name in there if group != "securitySchemes"}
    ids = [found["operationId"] for found in OPERATIONS.values()]
    assert len(ids) == len(set(ids))
    links = re.findall(r"'operationId': '(\w+)', 'parameters': \{'id'", text)
    assert links
    assert set(links) <= set(ids)


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_each_schema_is_one(name: str) -> None:
    """Every schema is one of JSON Schema 2020-12, which OpenAPI 3.1 speaks."""
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


@pytest.mark.parametrize(("method", "path"), [key for key, found in OPERATIONS.items() if "requestBody" in found])
def test_each_example_is_of_its_schema(method: str, path: str) -> None:
    """An example that is shown validates, so whoever copies it is not refused for its shape."""
    name, example = body_of(method, path)
    validator(name).validate(example)


def test_the_examples_are_taken_by_the_gateways_own_code() -> None:
    """What the document shows is what the parsers take, and what they make of it is answered as described."""
    assert root_key_in(body_of("PUT", "/{key}")[1]) == CRN
    assert patched(body_of("PATCH", "/user_preferences")[1], None) == CRN
    wanted = new(body_of("POST", "/data_marts")[1], "prod", INSTANCE_ID)
    meta = {"name": "scores-1", "namespace": "team-a", "uid": "u", "creationTimestamp": "2026-11-24T20:00:00Z"}
    mart = DataMart.of(
        {"apiVersion": "openscale.byok.dev/v1alpha1", "kind": "DataMart", "metadata": meta, "spec": wanted.spec}
    )
    validator("DataMart").validate(openscale_answers.data_mart(from_datamart(mart, INSTANCE_ID), "/openscale/x", "t"))
    labels = {"openscale.byok.dev/managed-by": "gateway"}
    mart = mart.model_copy(update={"metadata": replace(mart.metadata, labels=labels)})
    assert changed(mart, body_of("PATCH", "/{id}")[1], INSTANCE_ID).spec == {"displayName": "Scores of 2026"}


CREDENTIALS = ("database_configuration", "credentials")
BAD = {
    "an unknown member": ((), {"owner": "me"}),
    "an internal database": ((), {"internal_database": True}),
    "another type": (("database_configuration",), {"database_type": "mysql"}),
    "no such port": (CREDENTIALS, {"port": 70000}),
    "a port that is a text": (CREDENTIALS, {"port": "5432"}),
    "a host that is none": (CREDENTIALS, {"hostname": "db example"}),
    "an empty password": (CREDENTIALS, {"password": ""}),
    "a password with a line break": (CREDENTIALS, {"password": "a\nb"}),
    "verified and in the clear": (CREDENTIALS, {"ssl": False}),
    "a certificate that is not looked at": (CREDENTIALS, {"sslmode": "require", "certificate_base64": "LS0t"}),
    "a mode that checks no name": (CREDENTIALS, {"sslmode": "verify-ca"}),
}


@pytest.mark.parametrize("what", BAD)
def test_what_the_code_refuses_the_schema_refuses_too(what: str) -> None:
    """A client that checks its body against the document learns the same as one that sends it."""
    path, change = BAD[what]
    name, example = body_of("POST", "/data_marts")
    body = _with(example, path, change)
    assert not validator(name).is_valid(body)
    with pytest.raises(Refused, match=":"):
        new(body, "prod", INSTANCE_ID)


def _with(body: dict[str, Any], path: tuple[str, ...], change: dict[str, Any]) -> dict[str, Any]:
    if not path:
        return body | change
    return body | {path[0]: _with(body[path[0]], path[1:], change)}
