"""JSON Patch (RFC 6902) on documents that are objects all the way down; values never get into a message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

MOST_OPERATIONS = 16
_STRAY = re.compile("~(?![01])")
_MEMBERS = {"add": {"value"}, "replace": {"value"}, "test": {"value"}, "remove": set[str]()}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that has a known shape."""

    op: str
    path: tuple[str, ...]
    value: Any
    where: str
    """How messages call it."""

    @property
    def pointer(self) -> str:
        """The path as it was written."""
        return "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in self.path)


def operations(body: object) -> tuple[Operation, ...]:
    """A patch, read strictly.

    Raises:
        Refused: `InvalidRequest`: it is none, or it has an operation that is not known here.
    """
    if not isinstance(body, list) or not 0 < len(body) <= MOST_OPERATIONS:
        raise _invalid(f"the body must be a JSON Patch: an array of 1 to {MOST_OPERATIONS} operations (RFC 6902)")
    return tuple(_operation(found, f"operation {number}") for number, found in enumerate(body))


def patched(document: Mapping[str, Any], patch: tuple[Operation, ...]) -> dict[str, Any]:
    """A copy of the document with all of the operations done, or none.

    Raises:
        Refused: `InvalidRequest`: a path leads nowhere; `Conflict`: a test found another value.
    """
    found = dict(document)
    for operation in patch:
        found = _within(found, operation, operation.path)
    return found


def _within(document: Mapping[str, Any], operation: Operation, path: tuple[str, ...]) -> dict[str, Any]:
    name, rest = path[0], path[1:]
    if rest:
        inner = document.get(name)
        if not isinstance(inner, Mapping):
            raise _invalid(f"{operation.where}: path {operation.pointer} leads nowhere: there is no {name}")
        return {**document, name: _within(inner, operation, rest)}
    if operation.op != "add" and name not in document:
        cure = "; use op add" if operation.op == "replace" else ""
        raise _invalid(f"{operation.where}: there is nothing at {operation.pointer}{cure}")
    if operation.op == "test":
        if not _same(document[name], operation.value):
            raise Refused(
                Reason.CONFLICT, f"{operation.where}: {operation.pointer} has another value; nothing was changed"
            )
        return dict(document)
    if operation.op == "remove":
        return {key: value for key, value in document.items() if key != name}
    return {**document, name: operation.value}


def _same(one: object, other: object) -> bool:
    """Equal as JSON has it: true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _operation(found: object, where: str) -> Operation:
    if not isinstance(found, dict):
        raise _invalid(f"{where}: must be an object with op and path")
    op, path = found.get("op"), found.get("path")
    if not isinstance(op, str) or op not in _MEMBERS:
        raise _invalid(f"{where}: op must be one of {', '.join(_MEMBERS)}")
    if not isinstance(path, str) or not path.startswith("/"):
        raise _invalid(f"{where}: path must be a JSON Pointer that begins with '/' (RFC 6901)")
    if found.keys() != {"op", "path"} | _MEMBERS[op]:
        raise _invalid(f"{where}: op {op} has exactly the members {', '.join(sorted({'op', 'path'} | _MEMBERS[op]))}")
    return Operation(op, tuple(_unescaped(name, where) for name in path[1:].split("/")), found.get("value"), where)


def _unescaped(name: str, where: str) -> str:
    if _STRAY.search(name):
        raise _invalid(f"{where}: path: write ~ as ~0, and / inside a name as ~1 (RFC 6901)")
    return name.replace("~1", "/").replace("~0", "~")


def _invalid(message: str) -> Refused:
    return Refused(Reason.INVALID_REQUEST, message)
