"""The control client's HTTP: one request, one connection, JSON both ways. No proxy is ever asked."""

import json
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

TIMEOUT_SECONDS = 30.0


class EmulatorError(Exception):
    """The emulator refused, or did not start. `code` is Key Protect's, where there is one."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Instance:
    """A Key Protect instance: `id` goes into the header Bluemix-Instance."""

    id: str
    crn: str
    account: str
    region: str


@dataclass(frozen=True)
class Ready:
    """Where the emulator is, and what its first start made."""

    url: str
    iam_url: str
    account: str
    instance: str
    instance_crn: str
    service_id: str
    api_key: str = field(repr=False)


def request(url: str, method: str, path: str, body: str | None = None, *, form: bool = False) -> dict[str, Any]:
    """Send and return the answer's JSON; raise EmulatorError for 4xx and 5xx."""
    where = urlsplit(url)
    headers = {"Connection": "close"}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(HTTPConnection(where.hostname or "127.0.0.1", where.port or 80, timeout=TIMEOUT_SECONDS)) as line:
        line.request(method, path, body, headers)
        with closing(line.getresponse()) as response:
            status, raw = response.status, response.read()
    answer: dict[str, Any] = json.loads(raw)
    if status >= 400:
        message = answer.get("error") or answer.get("errorMessage") or "refused"
        code = answer.get("code") or answer.get("errorCode") or ""
        raise EmulatorError(f"{method} {path}: {status} {message}", status, code)
    return answer


def grant_body(identity: str, instance: Instance | str | None, key: str | None, role: str | None) -> dict[str, Any]:
    """Who, where and what, as POST and DELETE /grants take it."""
    where = instance.id if isinstance(instance, Instance) else instance
    if where is None and key is not None and key.startswith("crn:"):
        where = key
    return {"identity": identity, "instance": where, "key": key, "role": role}


def key_id(crn: str) -> str:
    """The id of a key that is given by CRN or id, fit for a path."""
    return quote(crn.rpartition(":")[2], safe="")
