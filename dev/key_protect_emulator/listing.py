"""GET /keys: state, extractable, filter, search and sort. Pure.

`search` takes prefixes in any order: not:, exact:, name:, alias:, and escape: (the rest is plain text).
`filter` takes space-separated terms such as `state=1,2 extractable=false creationDate=gte:2026-01-01`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from key_protect_emulator.clock import parse_rfc3339
from key_protect_emulator.errors import refusal
from key_protect_emulator.keys import Key

SEARCH_SPACE: Final = 5_000
_DEFAULT_STATES: Final = frozenset({1, 2, 3})
_SORT_KEYS: Final[Mapping[str, Callable[[Key], Any]]] = {
    "id": lambda k: k.id,
    "name": lambda k: k.name,
    "state": lambda k: int(k.state),
    "extractable": lambda k: k.extractable,
    "imported": lambda k: k.imported,
    "creationDate": lambda k: k.created,
    "lastUpdateDate": lambda k: k.updated,
    "lastRotateDate": lambda k: k.rotated or 0.0,
    "deletionDate": lambda k: k.deleted or 0.0,
    "expirationDate": lambda k: k.expires or 0.0,
    "dualAuthDelete.enabled": lambda k: k.dual_auth_delete,
}
_DATES: Final = frozenset({"creationDate", "lastUpdateDate", "lastRotateDate", "deletionDate", "expirationDate"})
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


@dataclass(frozen=True)
class Search:
    query: str
    scopes: list[str] = field(default_factory=lambda: ["name", "alias"])
    negated: bool = False
    exact: bool = False

    def view(self) -> dict[str, Any]:
        return {"query": self.query, "scopes": self.scopes, "not": self.negated, "exact": self.exact}

    def matches(self, key: Key) -> bool:
        fields = ([key.name] if "name" in self.scopes else []) + (key.aliases if "alias" in self.scopes else [])
        wanted = self.query.casefold()
        if self.exact:
            found = any(text.casefold() == wanted for text in fields)
        else:
            found = any(wanted in text.casefold() for text in fields) or key.id == wanted
        return found is not self.negated


def parse_search(text: str) -> Search:
    scopes: list[str] = []
    negated = exact = False
    while True:
        prefix, colon, rest = text.partition(":")
        if not colon or prefix not in {"not", "exact", "name", "alias", "escape"}:
            break
        text = rest
        if prefix == "escape":
            break
        negated, exact = negated or prefix == "not", exact or prefix == "exact"
        if prefix in {"name", "alias"}:
            scopes.append(prefix)
    return Search(text, scopes or ["name", "alias"], negated, exact)


def matching(keys: Iterable[Key], query: Mapping[str, str], ring: str | None) -> list[Key]:
    """All keys that the query asks for, in its order; paging is the caller's part."""
    filters = _filters(query.get("filter", ""))
    states = _states(query.get("state") or filters.pop("state", None))
    extractable = _boolean("extractable", query.get("extractable") or filters.pop("extractable", None))
    found = [
        key
        for key in keys
        if key.state in states
        and (extractable is None or key.extractable is extractable)
        and (ring is None or key.ring == ring)
        and all(_passes(key, name, value) for name, value in filters.items())
    ]
    if query.get("search"):
        if len(found) > SEARCH_SPACE:
            raise refusal("KEY_SEARCH_TOO_BROAD")
        search = parse_search(query["search"])
        found = [key for key in found if search.matches(key)]
    return _sorted(found, query.get("sort") or "-creationDate")


def _sorted(keys: list[Key], sort: str) -> list[Key]:
    for term in reversed(sort.split(",")):
        name = term.removeprefix("-")
        if name not in _SORT_KEYS:
            raise refusal("INVALID_QUERY_PARAM_ERR", f"cannot sort by {name}", parameter="sort")
        keys = sorted(keys, key=_SORT_KEYS[name], reverse=term.startswith("-"))
    return keys


def _states(text: str | None) -> frozenset[int]:
    if text is None:
        return _DEFAULT_STATES
    parts = text.split(",")
    if not all(part in {"0", "1", "2", "3", "5"} for part in parts):
        raise refusal("INVALID_QUERY_PARAM_ERR", "state is a list of 0, 1, 2, 3, 5", parameter="state")
    return frozenset(int(part) for part in parts)


def _boolean(name: str, text: str | None) -> bool | None:
    if text is None:
        return None
    if text.lower() not in {"true", "false"}:
        raise refusal("INVALID_QUERY_PARAM_ERR", f"{name} must be true or false", parameter=name)
    return text.lower() == "true"


def _filters(text: str) -> dict[str, str]:
    filters: dict[str, str] = {}
    for term in text.split():
        name, equals, value = term.partition("=")
        if not equals or (name not in _SORT_KEYS and name != "keyRingID"):
            raise refusal("INVALID_QUERY_PARAM_ERR", f"cannot filter by {term}", parameter="filter")
        filters[name] = value
    return filters


def _passes(key: Key, name: str, wanted: str) -> bool:
    if name == "keyRingID":
        return key.ring == wanted
    value = _SORT_KEYS[name](key)
    if name in _DATES:
        return _date_passes(float(value), wanted)
    if isinstance(value, bool):
        return value is _boolean(name, wanted)
    return str(value) in wanted.split(",")


def _date_passes(value: float, wanted: str) -> bool:
    operator, colon, text = wanted.partition(":")
    if wanted == "none":
        return not value
    if not colon or operator not in _COMPARISONS:
        operator, text = "", wanted
    try:
        moment = parse_rfc3339(text.strip('"'))
    except ValueError as error:
        raise refusal("INVALID_QUERY_PARAM_ERR", f"{text} is not a date", parameter="filter") from error
    return _COMPARISONS[operator](value, moment) if operator else int(value) == int(moment)
