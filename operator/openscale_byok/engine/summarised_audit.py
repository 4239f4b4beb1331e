"""Refusals of strangers in the audit: the first one of an address, then one line a minute with their number.

Whatever was granted, was asked by somebody who is known, or names an object has a line of its own, always.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.network import network_of
from openscale_byok.engine.context import log
from openscale_byok.errors import Unavailable
from openscale_byok.ports import Audit, Clock

EVERY_SECONDS = 60.0
MOST = 1_000
"""Networks that are counted apart at once, at some 500 bytes each; the rest is counted together."""
LOOK_SECONDS = 5.0
OTHERS = ""
"""The network of those that are counted together: their line names no address."""


@dataclass(slots=True)
class _Refusals:
    """Of one network, since its last line."""

    event: AuditEvent
    """What a line about them says."""
    due: float
    number: int = 0


class SummarisedAudit:
    """The port `Audit` for the gateway. While it runs, no number waits for its line for much more than a minute."""

    def __init__(self, audit: Audit, clock: Clock, most: int = MOST) -> None:
        self._audit = audit
        self._clock = clock
        self._most = most
        self._networks: dict[str, _Refusals] = {}

    def write(self, event: AuditEvent) -> None:
        """See `ports.Audit`. What is only counted cannot fail: its line is tried again until it is written."""
        if event.action is not Action.REQUEST or event.outcome != "denied" or event.who or event.kind:
            self._audit.write(event)
            return
        network = network_of(event.source)
        if network not in self._networks and len(self._networks) >= self._most:
            network = OTHERS
        known = self._networks.get(network)
        if known is not None:
            known.number += 1
            return
        self._audit.write(event)
        about = replace(event, name="", trace="", transaction="", source=network)
        self._networks[network] = _Refusals(about, self._clock.monotonic() + EVERY_SECONDS)

    def settle(self, *, all_of_them: bool = False) -> None:
        """Write the lines that are due. Whoever was quiet for a minute is forgotten."""
        now = self._clock.monotonic()
        for network, known in list(self._networks.items()):
            if not all_of_them and now < known.due:
                continue
            if not known.number:
                del self._networks[network]
                continue
            try:
                self._audit.write(replace(known.event, count=known.number))
            except Unavailable as error:
                log.error("refusals not audited yet", reason=error.reason.value, message=error.message)
                return
            known.number, known.due = 0, now + EVERY_SECONDS

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
