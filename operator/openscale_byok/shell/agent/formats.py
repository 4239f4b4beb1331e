"""Credentials as the text of a file: JSON, variables for `sh`, libpq's password file, libpq's service file.

Each way of writing reads back as exactly what it was. What a format cannot hold is refused, never bent.
"""

import json
import re
from enum import StrEnum

from openscale_byok.shell.agent.credentials import Credentials

_SSLMODE = {"VerifyFull": "verify-full", "Require": "require", "Disable": "disable"}
_SPACE = " \t\n\v\f\r"
_SERVICE_LINE_BYTES = 1_022
"""libpq reads a service file by lines of 1024 bytes, of which its line feed and its zero are two."""


class Format(StrEnum):
    """What a file is written as."""

    JSON = "json"
    ENV = "env"
    PGPASS = "pgpass"
    SERVICE = "service"


class Unfit(Exception):
    """This format cannot hold these credentials. The message names the field and the cure, and no value."""


def render(kind: Format, found: Credentials, *, section: str, prefix: str, ca_file: str) -> bytes:
    """The file's content.

    Args:
        kind: of the file.
        found: what the gateway gave.
        section: the name of the service in a service file.
        prefix: of the variables in an env file.
        ca_file: where a service file finds the data mart's own certificate authority, if it has one.

    Raises:
        Unfit: the format cannot hold them.
    """
    match kind:
        case Format.JSON:
            text = json.dumps(found.given(), ensure_ascii=False, indent=2) + "\n"
        case Format.ENV:
            text = "".join(f"{prefix}{name.upper()}={_quoted(name, value)}\n" for name, value in found.given().items())
        case Format.PGPASS:
            text = _pgpass(found)
        case Format.SERVICE:
            text = _service(found, section, ca_file)
    return text.encode("utf-8")


def _quoted(name: str, value: int | str) -> str:
    """A word of `sh` that is this value: between single quotes nothing but the single quote means anything."""
    text = str(value)
    if "\0" in text:
        raise Unfit(f"{name} holds a zero byte, which no variable can: use the format json")
    return "'" + text.replace("'", "'\\''") + "'"


def _pgpass(found: Credentials) -> str:
    """One line ``hostname:port:database:username:password``; a backslash before each colon and backslash."""
    _only_postgresql(found)
    fields = {"hostname": found.hostname, "port": str(found.port), "db": found.db}
    fields |= {"username": found.username, "password": found.password}
    for name, value in fields.items():
        if re.search(r"[\0\r\n]", value):
            raise Unfit(f"{name} holds a line break or a zero byte, which no pgpass file can: use the format json")
    words = [re.sub(r"[\\:]", r"\\\g<0>", value) for value in fields.values()]
    # An asterisk alone would stand for anything, so that libpq would send the password wherever it is asked to.
    words[:-1] = ["\\*" if word == "*" else word for word in words[:-1]]
    return ":".join(words) + "\n"


def _service(found: Credentials, section: str, ca_file: str) -> str:
    """A section with one `keyword=value` a line. libpq takes the value as it stands, but for white space at its end."""
    _only_postgresql(found)
    values = {"host": found.hostname, "port": str(found.port), "dbname": found.db, "user": found.username}
    values |= {"password": found.password, "sslmode": _SSLMODE[found.tls]}
    if found.ca:
        values["sslrootcert"] = ca_file
    lines = [f"[{section}]"]
    for name, value in values.items():
        if re.search(r"[\0\n]", value) or value[-1] in _SPACE:
            text = "a line break, a zero byte, or white space at its end, which libpq's service file cannot"
            raise Unfit(f"{name} holds {text}: use the format pgpass or json")
        lines.append(f"{name}={value}")
        if len(lines[-1].encode()) > _SERVICE_LINE_BYTES:
            raise Unfit(f"{name} is longer than a line of libpq's service file: use the format pgpass or json")
    return "\n".join(lines) + "\n"


def _only_postgresql(found: Credentials) -> None:
    if found.type not in (None, "PostgreSQL"):
        raise Unfit(f"this format is for PostgreSQL, and the data mart is of type {found.type}: use json or env")
