"""The configuration of a data mart as OpenScale's API has it, read strictly into a DataMart's spec.

Every refusal names the field as the request calls it, and the cure; none holds a value.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from openscale_byok.core.preferences import invalid
from openscale_byok.core.source import acceptable
from openscale_byok.crypto import certificates
from openscale_byok.errors import Refused
from openscale_byok.resources import CERTIFICATES, MAX_CA_CHARACTERS, DataMart, DataMartSpec

TYPES: Final = {"postgresql": "PostgreSQL", "db2": "Db2"}
CONFIGURATION: Final = "database_configuration"
CREDENTIALS: Final = f"{CONFIGURATION}.credentials"
LOCATION: Final = f"{CONFIGURATION}.location"
MODES: Final = {"verify-full": "VerifyFull", "require": "Require", "disable": "Disable"}
MAX_CERTIFICATE_CHARACTERS: Final = 3 * MAX_CA_CHARACTERS // 2
"""In base64, line breaks included. A body that holds so much still fits into the gateway's limit."""
KEPT: Final = object()
"""In place of the password that is sealed: a patch may put another there, and may neither see nor test it."""
_BODY: Final = ("name", "description", "service_instance_crn", "internal_database", CONFIGURATION, "database_discovery")
_CREDENTIALS: Final = ("hostname", "port", "db", "username", "password", "ssl", "sslmode", "certificate_base64")
_CURES: Final = {
    "additional_properties": "what is added to a connection could send the password elsewhere; take it out",
    "secret_id": "it names what was given before; give the credentials themselves, or leave them out of a PATCH",
}
NAMES: Final = {
    "displayName": "name",
    "database.type": f"{CONFIGURATION}.database_type",
    "database.host": f"{CREDENTIALS}.hostname",
    "database.port": f"{CREDENTIALS}.port",
    "database.name": f"{CREDENTIALS}.db",
    "database.username": f"{CREDENTIALS}.username",
    "database.tls": f"{CREDENTIALS}.sslmode",
    "database.caBundle": f"{CREDENTIALS}.certificate_base64",
    "database.schema": f"{LOCATION}.schema_name",
}
"""What OpenScale calls the fields of a spec."""


def document(mart: DataMart) -> dict[str, Any]:
    """A data mart as the body of the POST that would make it, but for its password."""
    at = mart.spec.database
    credentials = {
        "hostname": at.host,
        "port": at.port,
        "db": at.name,
        "username": at.username,
        "password": KEPT,
        "sslmode": next(mode for mode, tls in MODES.items() if tls == at.tls),
    }
    if at.ca_bundle is not None:
        credentials["certificate_base64"] = base64.b64encode(at.ca_bundle.encode()).decode()
    return {
        "name": mart.spec.display_name or mart.metadata.name,
        "description": mart.spec.description or "",
        CONFIGURATION: {
            "database_type": next(name for name, type_ in TYPES.items() if type_ == at.type),
            "credentials": credentials,
            "location": {"schema_name": at.schema_},
        },
    }


def read(body: object, service_instance_id: str) -> tuple[dict[str, Any], bytes | None]:
    """A spec without its instanceRef, and the password where one is given.

    Raises:
        Refused: `InvalidRequest`.
    """
    top = _members(body, "", _BODY)
    _expect_external(top, service_instance_id)
    if top.get(CONFIGURATION) is None:
        raise invalid(f"{CONFIGURATION}: is missing; say which database it is")
    at = _members(
        top[CONFIGURATION], CONFIGURATION, ("database_type", "name", "instance_id", "credentials", "location")
    )
    if at.get("credentials") is None:
        raise invalid(f"{CREDENTIALS}: is missing; give {', '.join(_CREDENTIALS[:5])}")
    given = _members(at["credentials"], CREDENTIALS, _CREDENTIALS)
    place = _members(at.get("location") or {}, LOCATION, ("schema_name",))
    type_ = _text(at, "database_type", CONFIGURATION)
    if type_ not in TYPES:
        raise invalid(f"{CONFIGURATION}.database_type: must be one of {', '.join(TYPES)}")
    for name in ("name", "instance_id"):  # IBM's SDK sends them; nothing here depends on them
        _maybe_text(at, name, CONFIGURATION)
    database: dict[str, Any] = {
        "type": TYPES[type_],
        "host": _text(given, "hostname", CREDENTIALS),
        "port": _port(given),
        "name": _text(given, "db", CREDENTIALS),
        "schema": _text(place, "schema_name", LOCATION),
        "username": _text(given, "username", CREDENTIALS),
        "tls": _tls(given),
        "password": {},
    }
    certificate = _maybe_text(given, "certificate_base64", CREDENTIALS)
    if certificate is not None:
        database["caBundle"] = _certificates(certificate, database["tls"])
    named = {"displayName": _maybe_text(top, "name", ""), "description": _maybe_text(top, "description", "")}
    spec = {name: text for name, text in named.items() if text is not None} | {"database": database}
    _expect_bounds(spec)
    return spec, _password(given)


def _expect_external(top: Mapping[str, Any], service_instance_id: str) -> None:
    if _maybe_flag(top, "internal_database", ""):
        raise invalid(
            f"internal_database: there is none here, the database is always yours; set it to false and give "
            f"{CONFIGURATION}"
        )
    if _maybe_text(top, "database_discovery", "") not in (None, "manual"):
        raise invalid("database_discovery: must be manual: this gateway discovers no databases")
    crn = _maybe_text(top, "service_instance_crn", "")
    if crn is not None and [*crn.split(":"), *[""] * 8][7] != service_instance_id:
        raise invalid(
            "service_instance_crn: is not the CRN of the instance that the URL names; correct it, or take it out"
        )


def _expect_bounds(spec: Mapping[str, Any]) -> None:
    """Expect what the CRD demands, in the words of the request."""
    try:
        DataMartSpec.model_validate({"instanceRef": {"name": "any"}, **spec})
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise invalid(f"{NAMES.get(where, where)}: {first['msg']}") from None


def _password(given: Mapping[str, Any]) -> bytes | None:
    found = given.get("password")
    if found is None or found is KEPT:
        return None
    where = f"{CREDENTIALS}.password"
    if not isinstance(found, str):
        raise invalid(f"{where}: must be a string")
    try:
        return acceptable(found.encode("utf-8", "surrogatepass"), where)
    except Refused as error:
        raise invalid(error.message) from None


def _port(given: Mapping[str, Any]) -> int:
    found = given.get("port")
    if isinstance(found, float) and found.is_integer():
        return int(found)  # JSON has one sort of number: 5432.0 is 5432
    if not isinstance(found, int) or isinstance(found, bool):
        raise invalid(f"{CREDENTIALS}.port: must be a whole number, the port of the database")
    return found


def _tls(given: Mapping[str, Any]) -> str:
    """How the connection is secured; checked in full where the request does not say."""
    ssl, mode = _maybe_flag(given, "ssl", CREDENTIALS), _maybe_text(given, "sslmode", CREDENTIALS)
    if mode is None:
        return "Disable" if ssl is False else "VerifyFull"
    where = f"{CREDENTIALS}.sslmode"
    if mode not in MODES:
        what = "verify-ca does not check the server's name" if mode == "verify-ca" else "not a mode that is kept here"
        raise invalid(f"{where}: {what}; use one of {', '.join(MODES)}")
    if ssl is not None and ssl is (mode == "disable"):
        raise invalid(f"{where}: contradicts {CREDENTIALS}.ssl; leave out ssl")
    return MODES[mode]


def _certificates(encoded: str, tls: str) -> str:
    """The PEM certificates that a request brings."""
    where = f"{CREDENTIALS}.certificate_base64"
    if tls != "VerifyFull":
        raise invalid(f"{where}: nothing is checked against it; use sslmode verify-full, or take it out")
    if len(encoded) > MAX_CERTIFICATE_CHARACTERS:
        raise invalid(f"{where}: too long; give only the authorities that the server's certificate is checked against")
    try:
        text = base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not re.match(CERTIFICATES, text) or not certificates.readable(text):
        raise invalid(f"{where}: must be the base64 form of one or more PEM certificates; beside them only comments")
    return text


def _members(found: object, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise invalid(f"{where or 'the body'}: must be an object")
    unknown = sorted(name for name in found if name not in known)
    if unknown:
        name = unknown[0][:64]
        cure = _CURES.get(name, f"take it out (known: {', '.join(known)})")
        raise invalid(f"{_at(where, name)}: is not known here: {cure}")
    return found


def _text(found: Mapping[str, Any], name: str, where: str) -> str:
    text = _maybe_text(found, name, where)
    if text is None:
        raise invalid(f"{_at(where, name)}: is missing; give it as a string")
    return text


def _maybe_text(found: Mapping[str, Any], name: str, where: str) -> str | None:
    text = found.get(name)
    if text is not None and not isinstance(text, str):
        raise invalid(f"{_at(where, name)}: must be a string")
    return text


def _maybe_flag(found: Mapping[str, Any], name: str, where: str) -> bool | None:
    flag = found.get(name)
    if flag is not None and not isinstance(flag, bool):
        raise invalid(f"{_at(where, name)}: must be true or false")
    return flag


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
