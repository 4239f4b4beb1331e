"""What an answer of the gateway means for the file: the whole table, without any I/O.

A clear no takes the file away at once. Everything else that is no credentials is no answer: the file stays until the
last good answer is too old, because whoever is only out of reach has revoked nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openscale_byok.shell.agent.credentials import Credentials, parse

REVOKED = "OpenScale-Byok-Revoked"
TRANSACTION = "X-Global-Transaction-ID"
MAX_RETRY_AFTER = 300.0
"""Nobody may silence us for longer than this: while we ask nothing, a revocation goes unnoticed."""
SLOWEST = 4.0
"""Intervals between two tries without an answer, however many failed."""
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{1,254}"')
_CODE = re.compile(r"[A-Za-z]{1,64}")
_TRANSACTION = re.compile(r"[\w.:-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Given:
    """Credentials."""

    credentials: Credentials
    etag: str | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """They are what they were when the ETag was given, and may still be had."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A clear no: the root key is refused (`revoked`), or we have no right to this, or it does not exist."""

    revoked: bool
    code: str
    trace: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing that says anything about these credentials."""

    why: str
    """The same each time that the same is found: a log line says it once."""
    retry_after: float | None = None
    trace: str = ""


Answer = Given | Unchanged | Denied | NoAnswer


def judge(status: int, headers: Mapping[str, str], body: bytes, asked: str | None) -> Answer:
    """What came back, by what to do.

    Args:
        status: of the answer.
        headers: of the answer; names in any case are the mapping's business.
        body: all of it.
        asked: the ETag that was sent in If-None-Match, if one was.
    """
    found = headers.get(TRANSACTION, "")
    trace = found if _TRANSACTION.fullmatch(found) else ""
    if status == 200:
        credentials = parse(body)
        if credentials is None:
            return NoAnswer("the answer holds no credentials that this version understands", trace=trace)
        tag = headers.get("ETag", "")
        return Given(credentials, tag if _STRONG_TAG.fullmatch(tag) else None)
    if status == 304 and asked is not None:
        return Unchanged()
    code = _code(body)
    if status == 403 and headers.get(REVOKED, "").strip().lower() == "true":
        return Denied(revoked=True, code=code or "Revoked", trace=trace)
    if status in (403, 404) and code is not None:
        # Without our error's shape it is the page of some proxy on the way, which says nothing about our rights.
        return Denied(revoked=False, code=code, trace=trace)
    why = f"the gateway answers {status}" + (f" {code}" if code else "")
    return NoAnswer(why, retry_after=_seconds(headers.get("Retry-After")), trace=trace)


def pause(failed: int, interval: float, retry_after: float | None, random: float) -> float:
    """Seconds until the next look.

    Args:
        failed: tries in a row without an answer; 0 after an answer of any kind.
        interval: between two looks when all is well.
        retry_after: what the last answer asked for.
        random: from 0 to 1: agents that began together do not ask together.
    """
    if failed == 0:
        return interval * (0.9 + 0.2 * random)
    backoff = min(SLOWEST * interval, min(interval, 1.0) * 2.0 ** min(failed - 1, 16)) * (0.75 + 0.5 * random)
    return max(backoff, (retry_after or 0.0) * (1.0 + 0.1 * random))


def _code(body: bytes) -> str | None:
    """The first code of an error in OpenScale's shape; none where it has another."""
    try:
        document: Any = json.loads(body)
        code = document["errors"][0]["code"]
        return code if _CODE.fullmatch(code) else None
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None


def _seconds(text: str | None) -> float | None:
    return min(MAX_RETRY_AFTER, float(text)) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None
