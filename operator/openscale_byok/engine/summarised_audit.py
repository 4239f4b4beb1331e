"""Refusals in the audit, bounded: the first ones of a minute have lines of their own, the rest one with their number.

A stranger has one line of their own in a minute, a known caller sixty. Whatever was granted or failed has a line of its
own, always.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.network import network_of
from openscale_byok.engine.context import log
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Audit, Clock

EVERY_SECONDS = 60.0
LINES_OF_A_STRANGER, LINES_OF_A_CALLER = 1, 60
"""Of their own, in `EVERY_SECONDS`."""
MOST = 1_000
"""Callers, and networks of strangers, that are counted apart at once, at some 500 bytes each; the rest is counted
together."""
LOOK_SECONDS = 5.0

_Caller = tuple[str, str]
"""Who vouches, and for whom; or nobody, and the network that a stranger came from."""
OTHERS: _Caller = ("", "")
"""Those that are counted together: their line names neither a caller nor an address."""


@dataclass(slots=True)
class _Minute:
    """A caller's refusals since the last lines with their number."""

    due: float
    lines: int = 0
    """Those that had a line of their own."""
    counted: Counter[AuditEvent] = field(default_factory=Counter)
    """By what their line says: action and reason are few, and names are not in it."""


class SummarisedAudit:
    """The port `Audit` for the gateway. While it runs, no number waits for its line for much more than a minute."""

    def __init__(self, audit: Audit, clock: Clock, most: int = MOST) -> None:
        self._audit = audit
        self._clock = clock
        self._most = most
        self._callers: dict[_Caller, _Minute] = {}

    def write(self, event: AuditEvent) -> None:
        """See `ports.Audit`. What is only counted cannot fail: its line is tried again until it is written."""
        if event.outcome != "denied":
            self._audit.write(event)
            return
        about = _about(event)
        caller = (event.by, event.who) if event.who else ("", about.source)
        if caller not in self._callers and len(self._callers) >= self._most:
            caller, about = OTHERS, replace(about, who="", by="", source="")
        minute = self._callers.get(caller)
        if minute is not None and minute.lines >= (LINES_OF_A_CALLER if event.who else LINES_OF_A_STRANGER):
            minute.counted[about] += 1
            return
        self._audit.write(event)
        if minute is None:
            minute = self._callers[caller] = _Minute(self._clock.monotonic() + EVERY_SECONDS)
        minute.lines += 1

    def settle(self, *, all_of_them: bool = False) -> None:
        """Write the lines that are due. Whoever was counted in no line for a minute has lines of their own again."""
        now = self._clock.monotonic()
        for caller, minute in list(self._callers.items()):
            if not all_of_them and now < minute.due:
                continue
            if not minute.counted:
                del self._callers[caller]
                continue
            try:
                while minute.counted:
                    about, number = next(iter(minute.counted.items()))
                    self._audit.write(replace(about, count=number))
                    del minute.counted[about]
            except Unavailable as error:
                log.error("refusals not audited yet", reason=error.reason.value, message=error.message)
                return
            minute.due = now + EVERY_SECONDS

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write lines when they are due, and at the end those that are left."""
        task = asyncio.create_task(self._serve(), name="summarised-audit")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.settle(all_of_them=True)

    async def _serve(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.settle()


def _about(event: AuditEvent) -> AuditEvent:
    """What a line about many of them says: who, what and why; of strangers also from where."""
    source = "" if event.who else network_of(event.source)
    return AuditEvent(event.action, event.outcome, event.who, event.by, source=source, reason=event.reason)
