"""What the API server answers to kopf, without what nobody uses of it: before kopf parses, queues or keeps any of it.

An object is as large as whoever may create it wants, up to 1.5 MB: annotations, managed fields. kopf keeps each in a
queue until it was handled, and by its worker for some time after that.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

import aiohttp

from openscale_byok.resources import drop_unused
from openscale_byok.shell.event_window import LOST_SECONDS, EventWindow, HeldEvents

LONG_LINE_BYTES = 8_192
"""A watch event of an ordinary object is shorter, and passes as it is: printing it anew takes time."""


class Watched(Protocol):
    """Listens to whether watches are alive. It returns at once, and raises nothing."""

    def began(self, watch: str) -> None:
        """A watch of this resource (its plural) begins, for the first time or anew."""
        ...

    def heard(self, watch: str) -> None:
        """Something came by it."""
        ...


class WatchAnswer(aiohttp.ClientResponse):
    """An answer to kopf, which lists by `json` and watches by `content`. See `answers_through`."""

    window: ClassVar[EventWindow]
    watched: ClassVar[Sequence[Watched]]

    async def start(self, connection: Any) -> "WatchAnswer":  # noqa: ANN401 -- aiohttp's own, and not exported
        """The headers are here."""
        await super().start(connection)
        if self.url.query.get("watch") and self.status == HTTPStatus.OK:
            for each in self.watched:
                each.began(self.url.name)
            self.content = ShortLines(self.content, self.window, self._heard)  # type: ignore[assignment] # a StreamReader but for one method
        return self

    def _heard(self) -> None:
        for each in self.watched:
            each.heard(self.url.name)

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


def answers_through(window: EventWindow, watched: Sequence[Watched]) -> type[WatchAnswer]:
    """The class of the answers whose events pass through this window."""
    return type("WatchAnswer", (WatchAnswer,), {"window": window, "watched": watched})


class Chunks(Protocol):
    """What a `StreamReader` is here."""

    def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """The body in parts."""
        ...


class ShortLines:
    """A reader of a watch: line by line, each of them short, and of each namespace a few at a time.

    It reads all the time, however long kopf takes for what passes: a storm that waited in the connection would have
    everybody's events wait behind it.
    """

    def __init__(self, content: Chunks, window: EventWindow, heard: Callable[[], None] = lambda: None) -> None:
        self._content, self._window, self._heard = content, window, heard
        self._held = HeldEvents(window)
        self._passing: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._waits_for_room = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever a StreamReader has
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines, as they come."""
        reading = asyncio.create_task(self._read(size))
        try:
            while True:
                self._news.clear()
                self._passing.extend(self._held.ready())
                while self._passing:
                    yield self._passing.popleft() + b"\n"
                if reading.done():
                    break
                await self._until_more()
            for line in self._held.flush():
                yield line + b"\n"
            reading.result()  # how the watch ended
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, size: int) -> None:
        try:
            async for lines in self._parts(size):
                while lines:  # one by one: none of them is held longer than it must be
                    self._passing.extend(self._passes(lines.pop(0)))
                self._news.set()
        finally:
            self._news.set()

    async def _until_more(self) -> None:
        """Until something came, or something that is held may pass."""
        if self._held and not self._waits_for_room:
            self._waits_for_room = True
            self._window.once_handled(self._room)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOST_SECONDS if self._held else None):
                await self._news.wait()

    def _room(self) -> None:
        self._waits_for_room = False
        self._news.set()

    async def _parts(self, size: int) -> AsyncGenerator[list[bytes], None]:
        """The lines that each part of the body ends."""
        begun: list[bytes] = []  # of a line that has not ended yet
        async for part in self._content.iter_chunked(size):
            self._heard()
            lines = part.split(b"\n")
            del part  # nothing long is held where it waits
            begun.append(lines.pop(0))
            if lines:
                lines.insert(0, b"".join(begun))
                begun = [lines.pop()]
                yield lines
        yield [b"".join(begun)]

    def _passes(self, line: bytes) -> list[bytes]:
        try:
            event = json.loads(line)
        except ValueError:
            return [line]  # for kopf to say what it makes of it
        return self._held.take(shortened(line, event), event) if isinstance(event, dict) else [line]


def shortened(line: bytes, event: dict[str, Any]) -> bytes:
    """One event of a watch, without what nobody uses of its object."""
    if len(line) <= LONG_LINE_BYTES or not isinstance(event.get("object"), dict):
        return line
    drop_unused(event["object"])
    return json.dumps(event, separators=(",", ":")).encode()
