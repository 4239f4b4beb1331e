"""A command between two audit lines: who is about to do it, and what came of it.

They go where ``OPENSCALE_BYOK_AUDIT_FILE`` says; without it to standard error, as standard output is the command's.
"""

import getpass
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from openscale_byok.adapters.audit_lines import STANDARD, AuditLines
from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.errors import ByokError, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.shell.cli.verb import Result
from openscale_byok.shell.clock import SystemClock

STANDARD_ERROR = 2


class Named(Protocol):
    """What knows who runs the command."""

    async def whoami(self) -> str:
        """The user name that the API server knows us by."""
        ...


@dataclass(frozen=True, slots=True)
class CommandAudit:
    """Where the lines of commands go."""

    file: str = STANDARD
    chain: bool = False

    async def between(self, event: AuditEvent, named: Named, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do what a command does, once its first line is written.

        Raises:
            Unavailable: `AuditUnavailable`: nothing was done; or it was done, and the second line is missing.
        """
        lines = AuditLines(SystemClock(), self.file, "command line", chain=self.chain, stream=STANDARD_ERROR)
        try:
            event = await by_whom(event, named)
            lines.write(replace(event, outcome="pending"))
            try:
                result = await work()
            except ByokError as error:
                self._after(lines, replace(event, outcome="failure", reason=error.reason.value))
                raise
            except OSError:
                self._after(lines, replace(event, outcome="failure"))
                raise
            self._after(lines, replace(event, outcome="success" if result.done else "failure"))
            return result
        finally:
            lines.close()

    def _after(self, lines: AuditLines, event: AuditEvent) -> None:
        try:
            lines.write(event)
        except Unavailable as error:
            text = f"{error.message}. Its first line was written, and the command has ended: {event.outcome}"
            raise Unavailable(Reason.AUDIT_UNAVAILABLE, text) from None


async def by_whom(event: AuditEvent, named: Named) -> AuditEvent:
    """With who runs the command: as the API server knows them, and on which machine as whom."""
    here = "unknown"
    with suppress(OSError, KeyError):
        here = getpass.getuser()
    source = f"{here}@{socket.gethostname()}"
    try:
        user = await named.whoami()
    except ByokError:
        return replace(event, who=here, by="operating system", source=source)
    return replace(event, who=user, by="kubernetes", source=source)


def command(action: Action, namespace: str, name: str, root_key: str = "") -> AuditEvent:
    """A command about a Secret."""
    return AuditEvent(action, "success", "", kind="Secret", namespace=namespace, name=name, root_key=root_key)
