"""Trouble to order: which calls fail, how, and for how long. Pure bookkeeping; http/ carries it out."""

import fnmatch
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from key_protect_emulator.errors import ControlError
from key_protect_emulator.grants import OPERATIONS

COUNT_LIMIT = 1_000_000  # of calls, or seconds
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_LINE = re.compile(r"[\x20-\x7e]*")


@dataclass
class Fault:
    """One order. `operation` may hold `*`; `key` narrows it to one key; `skip` lets the first calls pass.

    With `after`, the operation is carried out first and only its answer is lost or replaced: what a client
    sees when the network dies at the worst moment.
    """

    operation: str
    status: int | None = None  # None: no answer is replaced (a delay alone)
    body: str | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    delay: float = 0.0
    drop: bool = False
    after: bool = False
    times: int | None = None  # None: until cleared
    skip: int = 0
    key: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    hits: int = 0

    def matches(self, operation: str, key: str | None) -> bool:
        if self.times is not None and self.times <= 0:
            return False
        if self.key is not None and self.key != key:
            return False
        return fnmatch.fnmatchcase(operation, self.operation)


def fault_from(order: Mapping[str, Any]) -> Fault:
    """Read the JSON of POST /emulator/faults strictly: a misspelt field is refused, not ignored."""
    known: dict[str, type | tuple[type, ...]] = {
        "operation": str, "status": int, "body": str, "content_type": str, "code": str, "delay": (int, float),
        "drop": bool, "after": bool, "times": int, "skip": int, "key": str, "headers": dict,
        "retry_after": (int, str),
    }  # fmt: skip
    unknown = sorted(set(order) - set(known))
    if unknown:
        raise ControlError(400, f"unknown fields in a fault: {', '.join(unknown)}")
    wrong = [name for name, value in order.items() if value is not None and not isinstance(value, known[name])]
    if wrong or not order.get("operation"):
        raise ControlError(400, f"bad fields in a fault: {', '.join(sorted(wrong)) or 'operation is missing'}")
    fields = {name: value for name, value in order.items() if value is not None}
    _check_numbers(fields)
    headers = dict(fields.pop("headers", {}))
    if "retry_after" in fields:
        headers["Retry-After"] = str(fields.pop("retry_after"))
    _check_texts({"content_type": fields.get("content_type", ""), **headers}, fields.get("body", ""))
    if "key" in fields:
        fields["key"] = fields["key"].rpartition(":")[2]  # a CRN or an id
    fault = Fault(**fields, headers=headers)
    if not fnmatch.filter(OPERATIONS, fault.operation):
        raise ControlError(400, f"no operation is called {fault.operation}")
    if fault.status is None and not fault.drop and not fault.delay:
        raise ControlError(400, "a fault needs status, drop or delay")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise ControlError(400, "status must be from 200 to 599")
    return fault


def _check_numbers(fields: Mapping[str, Any]) -> None:
    for name in ("status", "times", "skip", "delay"):
        if isinstance(fields.get(name), bool) or not 0 <= fields.get(name, 0) <= COUNT_LIMIT:
            raise ControlError(400, f"{name} must be a number from 0 to {COUNT_LIMIT}")


def _check_texts(headers: Mapping[str, object], body: str) -> None:
    if not all(_is_header(name, value) for name, value in headers.items()):
        raise ControlError(400, "headers, content_type and retry_after must be able to stand in an HTTP header")
    if not _encodes(body):
        raise ControlError(400, "body holds half of a surrogate pair")


def _is_header(name: str, value: object) -> bool:
    return bool(_TOKEN.fullmatch(name)) and isinstance(value, str) and bool(_LINE.fullmatch(value))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Faults:
    def __init__(self) -> None:
        self.orders: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.orders.append(fault)

    def clear(self, operation: str | None = None) -> None:
        self.orders = [f for f in self.orders if operation is not None and f.operation != operation]

    def take(self, operation: str, key: str | None) -> Fault | None:
        """The first order that applies to this call; it is used up by one."""
        for fault in self.orders:
            if fault.matches(operation, key):
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
