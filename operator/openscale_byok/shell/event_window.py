"""Events of a watch, a few of each namespace at a time: what changes faster is told as it is, not as it came to be.

kopf gives each object a worker, and an event takes it a quarter of a millisecond in several turns of the event loop. A
thousand objects that change at once would make each of these turns, which everything else waits for too, as long as a
thousand of them. So of a namespace a few events are in kopf's hands at once. Of what waits, only the newest of each
object is kept.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

AT_ONCE = 8
"""Events of one namespace that kopf works on."""
LOST_SECONDS = 5.0
"""An event that kopf handed on to nobody for so long is not waited for any more."""


class EventWindow:
    """How many events of each namespace kopf has, of all watches together."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._out: dict[str, deque[float]] = {}
        self._waiting: list[Callable[[], None]] = []

    def open(self, namespace: str) -> bool:
        """Have one more, where there is room."""
        out = self._out.get(namespace)
        if out is None:
            out = self._out[namespace] = deque()
        while out and out[0] <= self._clock() - LOST_SECONDS:
            out.popleft()
        if len(out) >= AT_ONCE:
            return False
        out.append(self._clock())
        return True

    def handled(self, namespace: str) -> None:
        """One was handed on."""
        out = self._out.get(namespace)
        if out is None:
            return  # of a list: those are pages, and of none of the watches
        out.popleft()
        if not out:
            del self._out[namespace]
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def once_handled(self, wake: Callable[[], None]) -> None:
        """Call this when the next one was handed on, once."""
        self._waiting.append(wake)


class HeldEvents:
    """Of one watch: says of each event, as a line, whether it passes now; and of what was held when it does.

    Order is kept for each object, and between objects of the same namespace that are held.
    """

    def __init__(self, window: EventWindow) -> None:
        self._window = window
        self._held: dict[str, dict[str, bytes]] = {}
        """By namespace and uid, the newest event of each; who waits longest is first."""

    def take(self, line: bytes, event: dict[str, Any]) -> list[bytes]:
        """One event comes: the lines that pass because of it."""
        meta = event["object"].get("metadata") or {} if isinstance(event.get("object"), dict) else {}
        namespace, uid = meta.get("namespace"), meta.get("uid")
        if not namespace or not uid:
            if event.get("type") == "BOOKMARK":  # says how far the watch is, which with something held is not so
                return [] if self._held else [line]
            return [*self.flush(), line]
        held = self._held.get(namespace)
        if held is None and self._window.open(namespace):
            return [line]
        self._held.setdefault(namespace, {})[uid] = line
        return []

    def ready(self) -> list[bytes]:
        """What was held, and passes now: of each namespace as much as there is room for."""
        found: list[bytes] = []
        for namespace, held in list(self._held.items()):
            while held and self._window.open(namespace):
                found.append(held.pop(next(iter(held))))
            if not held:
                del self._held[namespace]
        return found

    def flush(self) -> list[bytes]:
        """All that was held: the watch ends, and goes on behind it."""
        held, self._held = self._held, {}
        return [line for lines in held.values() for line in lines.values()]

    def __bool__(self) -> bool:
        return bool(self._held)
