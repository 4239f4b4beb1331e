"""What the API server answers to kopf, without what nobody uses of it: before kopf parses, queues or keeps any of it.

An object is as large as whoever may create it wants, up to 1.5 MB: annotations, managed fields. kopf keeps each in a
queue until it was handled, and by its worker for some time after that.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import aiohttp

from openscale_byok.resources import drop_unused

LONG_LINE_BYTES = 8_192
"""A watch event of an ordinary object is shorter, and passes as it is: printing it anew takes time."""


class WatchAnswer(aiohttp.ClientResponse):
    """An answer to kopf, which lists by `json` and watches by `content`."""

    async def start(self, connection: Any) -> "WatchAnswer":  # noqa: ANN401 -- aiohttp's own, and not exported
        """The headers are here."""
        await super().start(connection)
        if self.url.query.get("watch"):
            self.content = ShortLines(self.content)  # type: ignore[assignment] # a StreamReader but for one method
        return self

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json.loads,
        content_type: str | None = "application/json",
    ) -> Any:  # noqa: ANN401 -- JSON
        """A page of a list, or anything else, which stays as it is."""
        found = await super().json(encoding=encoding, loads=loads, content_type=content_type)
        self._body = None  # kopf keeps an answer until its next request
        for item in (found.get("items") or ()) if isinstance(found, dict) else ():
            drop_unused(item)
        return found


class Chunks(Protocol):
    """What a `StreamReader` is here."""

    def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The body in parts."""
        ...


class ShortLines:
    """A reader of a watch: line by line, each of them short."""

    def __init__(self, content: Chunks) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever a StreamReader has
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines, as they come."""
        begun: list[bytes] = []  # of a line that has not ended yet
        async for part in self._content.iter_chunked(size):
            lines = part.split(b"\n")
            begun.append(lines.pop(0))
            del part  # nothing long is held where it waits
            while lines:
                line, begun = b"".join(begun), [lines.pop(0)]
                line = shortened(line)
                yield line + b"\n"
        yield b"".join(begun)


def shortened(line: bytes) -> bytes:
    """One event of a watch, without what nobody uses of its object."""
    if len(line) <= LONG_LINE_BYTES:
        return line
    try:
        event = json.loads(line)
    except ValueError:
        return line  # for kopf to say what it makes of it
    if isinstance(event, dict) and isinstance(event.get("object"), dict):
        drop_unused(event["object"])
    return json.dumps(event, separators=(",", ":")).encode()
