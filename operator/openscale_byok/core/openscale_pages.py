"""Which of an instance's data marts a list is about: all, or a page of them, as its query says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openscale_byok.core.preferences import invalid
from openscale_byok.core.sealable import Sealable

LONGEST = 1_000
"""Data marts of a page, at most."""


@dataclass(frozen=True, slots=True)
class Page:
    """Data marts in the order of their ids."""

    marts: tuple[Sealable, ...]
    limit: int | None
    """None: all of them."""
    following: str
    """The id that the next page begins with; empty where this is the last one."""


def page_of(marts: Iterable[Sealable], query: Mapping[str, str]) -> Page:
    """What a list is about.

    Args:
        marts: of the instance.
        query: ``limit``: so many at most, from the id ``start`` on. Without a limit: all, as IBM's SDK expects.

    Raises:
        Refused: `InvalidRequest`.
    """
    limit, start = _limit(query.get("limit")), query.get("start", "")
    ordered = sorted((mart for mart in marts if mart.meta.name >= start), key=lambda mart: mart.meta.name)
    if limit is None:
        return Page(tuple(ordered), None, "")
    more = ordered[limit : limit + 1]
    return Page(tuple(ordered[:limit]), limit, more[0].meta.name if more else "")


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    # Digits of ASCII alone: `int` takes others too, and blanks, signs and underscores.
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST)) else 0
    if not 1 <= number <= LONGEST:
        raise invalid(f"limit: must be a number from 1 to {LONGEST}")
    return number
