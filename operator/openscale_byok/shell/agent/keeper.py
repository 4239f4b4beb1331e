"""Keeps one file as the gateway says: looks, writes, removes, waits."""

import asyncio
import random
from enum import StrEnum

import structlog

from openscale_byok.shell.agent import files
from openscale_byok.shell.agent.answers import Answer, Denied, Given, NoAnswer, Unchanged, pause
from openscale_byok.shell.agent.asking import Gateway
from openscale_byok.shell.agent.formats import Format, Unfit, render
from openscale_byok.shell.agent.targets import Manner, Target

log = structlog.get_logger("openscale_byok.agent")


class State(StrEnum):
    """How a file stands."""

    WAITING = "Waiting"
    FRESH = "Fresh"
    KEPT = "Kept"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    DENIED = "Denied"
    UNFIT = "Unfit"
    UNWRITABLE = "Unwritable"


class Keeper:
    """One target. Between two of its looks nothing of the credentials is in memory."""

    def __init__(self, target: Target, gateway: Gateway, manner: Manner) -> None:
        """Take over what a former agent left: its file counts, with its age; what it left unfinished goes."""
        self.target = target
        self.state = State.WAITING
        self.code = ""
        """What the gateway, or we, say about it."""
        self._gateway = gateway
        self._manner = manner
        self._etag: str | None = None
        self._written: object = None
        self._failed = 0
        self._retry_after: float | None = None
        self._immovable = False
        files.sweep(target.file)

    @property
    def there(self) -> bool:
        """Whether the workload has its file."""
        return self.target.file.exists()

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._left()):
                    await self.look()
            except TimeoutError:
                self._expire()
                continue
            if self._immovable:
                self._expire()
            try:
                async with asyncio.timeout(self._left()):
                    await asyncio.sleep(self.wait())
            except TimeoutError:
                self._expire()

    def wait(self) -> float:
        """Seconds until the next look."""
        return pause(self._failed, self._manner.interval, self._retry_after, random.random())  # noqa: S311 -- when, not what

    async def look(self) -> None:
        """Ask once, and bring the file to what the answer says."""
        known = self._etag if self._written == files.signature(self.target.file) else None
        answer = await self._gateway.ask(self.target.path, known)
        self._failed = self._failed + 1 if isinstance(answer, NoAnswer) else 0
        self._retry_after = answer.retry_after if isinstance(answer, NoAnswer) else None
        try:
            self._take(answer)
        except OSError as error:
            self._failed += 1
            self._say(State.UNWRITABLE, error.strerror or type(error).__name__)

    def remove(self, why: State, code: str = "", trace: str = "") -> None:
        """Take the file away.

        Raises:
            OSError: it cannot be removed.
        """
        self._etag = None
        were_there = [files.remove(file) for file in self.target.files]
        if any(were_there):
            log.warning("file removed", **self._names(), why=why.value, code=code, trace=trace)
        self._say(why, code, trace)

    def _take(self, answer: Answer) -> None:
        match answer:
            case Given():
                self._give(answer)
            case Unchanged():
                if self._written == files.signature(
                    self.target.file
                ):  # else somebody was at it: the next look sees that
                    files.touch(self.target.file)
                    self._written = files.signature(self.target.file)
                    self._say(State.FRESH)
            case Denied(revoked=revoked, code=code, trace=trace):
                self.remove(State.REVOKED if revoked else State.DENIED, code, trace)
            case NoAnswer(why=why, trace=trace):
                self._say(State.KEPT if self.there else self._absent(), why, trace)

    def _give(self, given: Given) -> None:
        target, found = self.target, given.credentials
        try:
            content = render(
                target.format, found, section=target.name, prefix=self._manner.prefix, ca_file=str(target.ca_file)
            )
        except Unfit as unfit:
            # What is there is no longer what the gateway gives.
            self.remove(State.UNFIT, str(unfit))
            return
        if found.ca and target.format is Format.SERVICE:
            self._put_ca(found.ca.encode())
        if files.holds(target.file, content, self._manner.mode):
            files.touch(target.file)
        else:
            files.write(target.file, content, self._manner.mode)
            log.info("file written", **self._names(), revision=found.revision)
        self._written = files.signature(target.file)
        self._etag = given.etag
        self._say(State.FRESH)

    def _put_ca(self, content: bytes) -> None:
        if not files.holds(self.target.ca_file, content, self._manner.mode):
            files.write(self.target.ca_file, content, self._manner.mode)

    def _left(self) -> float | None:
        """Seconds that the file may stay without a good answer; none: there is no file, or no limit."""
        return None if self._immovable else self._rest()

    def _rest(self) -> float | None:
        if self._manner.keep == 0:
            return None
        age = files.age(self.target.file)
        return None if age is None else max(0.0, self._manner.keep - age)

    def _expire(self) -> None:
        """Take away what is too old. Where that fails, looks go on as if there were no limit, and each tries again."""
        if self._rest() == 0.0:
            try:
                self.remove(State.EXPIRED, self.code)
            except OSError as error:
                self._immovable = True
                self._say(State.UNWRITABLE, error.strerror or type(error).__name__)
                return
        self._immovable = False

    def _absent(self) -> State:
        return State.WAITING if self.state in (State.KEPT, State.FRESH) else self.state

    def _say(self, state: State, code: str = "", trace: str = "") -> None:
        """One line for each change, none for a look that found the same again."""
        if (state, code) == (self.state, self.code):
            return
        self.state, self.code = state, code
        say = log.info if state is State.FRESH else log.warning
        say("target", **self._names(), state=state.value, code=code, trace=trace)

    def _names(self) -> dict[str, str]:
        return {
            "namespace": self.target.namespace,
            "datamart": self.target.name,
            "file": str(self.target.file),
            "format": self.target.format.value,
        }
