"""GET /keys: state, extractable, filter, search and sort. Pure.

`search` takes prefixes in any order: not:, exact:, name:, alias:, and escape: (the rest is plain text).
A comma at its end is no part of it: IBM's Go client appends one.

`filter` takes terms with a space between them, and a key must pass them all:
`state=1,2 extractable=false creationDate=gte:"2026-01-01T00:00:00Z" creationDate=lt:"2026-02-01T00:00:00Z"`.
A property may be named three times. A date is of RFC 3339, or the word `none` in any case: keys without that date.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from key_protect_emulator.clock import parse_rfc3339
from key_protect_emulator.errors import KeyProtectError, refusal
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
_DATES: Final[Mapping[str, Callable[[Key], float | None]]] = {
    "creationDate": lambda k: k.created,
    "lastUpdateDate": lambda k: k.updated or None,
    "lastRotateDate": lambda k: k.rotated,
    "deletionDate": lambda k: k.deleted,
    "expirationDate": lambda k: k.expires,
}
_TERMS_PER_PROPERTY: Final = 3
_BOTH: Final = ("state", "extractable")  # terms of `filter` that are query parameters too, from before it
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
    text = text.removesuffix(",")
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
    terms = _terms(query)
    tests = [_test(name, value) for name, value in terms]
    if not any(name == "state" for name, _ in terms):
        tests.append(lambda key: key.state in _DEFAULT_STATES)
    found = [key for key in keys if (ring is None or key.ring == ring) and all(test(key) for test in tests)]
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


def _terms(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """The terms of `filter`, and of `state` and `extractable`, which stood alone before there was a filter."""
    terms = [(name, value) for name, _, value in (term.partition("=") for term in query.get("filter", "").split())]
    for name, value in terms:
        if name not in _DATES and name not in _BOTH:
            raise _bad_filter(f"it cannot filter by {name}")
        if "&" in value:
            raise _bad_filter("a space separates its terms, not &")
        if name in _BOTH and query.get(name):
            raise _bad_filter(f"{name} is given twice: in the filter and on its own")
    stray = sorted(_DATES.keys() & query.keys())
    if stray:  # filter=a=1&creationDate=none is two parameters, of which the second would go unheard
        raise _bad_filter(f"{stray[0]} stands outside of it: a space separates its terms, not &")
    if any(count > _TERMS_PER_PROPERTY for count in Counter(name for name, _ in terms).values()):
        raise _bad_filter(f"a property may be named {_TERMS_PER_PROPERTY} times")
    return terms + [(name, query[name]) for name in _BOTH if query.get(name)]


def _test(name: str, wanted: str) -> Callable[[Key], bool]:
    """Whether a key passes one term. Raises INVALID_QUERY_PARAM_ERR if the term makes no sense."""
    if name == "state":
        states = _states(wanted)
        return lambda key: key.state in states
    if name == "extractable":
        extractable = _boolean(name, wanted)
        return lambda key: key.extractable is extractable
    return _date_test(_DATES[name], wanted)


def _date_test(date_of: Callable[[Key], float | None], wanted: str) -> Callable[[Key], bool]:
    if wanted.lower() == "none":
        return lambda key: date_of(key) is None
    operator, colon, text = wanted.partition(":")
    if not colon or operator not in _COMPARISONS:
        operator, text = "", wanted
    try:
        moment = parse_rfc3339(text[1:-1] if text[:1] == text[-1:] == '"' else text)
    except ValueError as error:
        raise _bad_filter("a date is in the form of RFC 3339, in double quotes, or none") from error
    compare = _COMPARISONS.get(operator, _same_second)
    return lambda key: (date := date_of(key)) is not None and compare(date, moment)


def _same_second(a: float, b: float) -> bool:
    return int(a) == int(b)


def _states(text: str) -> frozenset[int]:
    parts = text.split(",")
    if not all(part in {"0", "1", "2", "3", "5"} for part in parts):
        raise refusal("INVALID_QUERY_PARAM_ERR", "state is a list of 0, 1, 2, 3, 5", parameter="state")
    return frozenset(int(part) for part in parts)


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise refusal("INVALID_QUERY_PARAM_ERR", f"{name} must be true or false", parameter=name)
    return text.lower() == "true"


def _bad_filter(why: str) -> KeyProtectError:
    return refusal("INVALID_QUERY_PARAM_ERR", f"The query parameter `filter` is not valid: {why}", parameter="filter")
