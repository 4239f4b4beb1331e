"""A process and the gate that each of its calls waits at: the request is let through, then the answer."""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openscale_byok.errors import ByokError, Unavailable
from openscale_byok.reasons import Reason

T = TypeVar("T")
_RUNNING: ContextVar["Process | None"] = ContextVar("running", default=None)


@dataclass(eq=False)
class Call:
    """A call of a port. First it is made, and takes effect; then its answer arrives."""

    name: str
    effect: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    made: bool = False
    result: Any = None
    error: Exception | None = None


@dataclass(eq=False)
class Process:
    """One run of the operator. After a crash nothing that it still does has any effect."""

    name: str
    alive: bool = True
    pending: list[Call] = field(default_factory=list)
    tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)
    forbidden: dict[str, ByokError] = field(default_factory=dict)
    """Calls (by the beginning of their names) that are refused, and how."""
    asked: int = 0
    """How many calls it made."""

    async def ask(self, name: str, effect: Callable[[], T]) -> T:
        """Make a call; it has its effect when the gate opens, not before."""
        if not self.alive:
            raise asyncio.CancelledError
        self.asked += 1
        call = Call(name, effect, asyncio.get_running_loop().create_future())
        self.pending.append(call)
        try:
            return await call.answer  # type: ignore[no-any-return] # the effect's own type
        finally:
            if call in self.pending:
                self.pending.remove(call)

    def half(self, number: int = 0, *, lose: str = "") -> Call:
        """Half a call: let a request through, or the answer of one that was.

        Args:
            number: which of those that are pending; counts from the oldest.
            lose: ``request``: it is never made; ``answer``: it is made, and the caller never learns of it.
        """
        call = self.pending[number % len(self.pending)]
        if not call.made and lose != "request":
            self._make(call)
            if lose != "answer":
                return call
        if lose:
            call.error = _lost(call.name)
        self.pending.remove(call)
        if not call.answer.done():
            if call.error is not None:
                call.answer.set_exception(call.error)
            else:
                call.answer.set_result(call.result)
        return call

    def whole(self, number: int = 0) -> Call:
        """One call, with its answer."""
        call = self.pending[number % len(self.pending)]
        if not call.made:
            self._make(call)
        return self.half(self.pending.index(call))

    def crash(self) -> None:
        """kill -9: requests that were not made are never made."""
        self.alive = False
        for call in self.pending:
            call.answer.cancel()
        self.pending.clear()
        for task in self.tasks:
            task.cancel()

    def _make(self, call: Call) -> None:
        call.made = True
        refusal = next((error for name, error in self.forbidden.items() if call.name.startswith(name)), None)
        try:
            if refusal is not None:
                raise refusal
            call.result = call.effect()
        except ByokError as error:
            call.error = error

    @contextlib.contextmanager
    def running(self) -> Any:
        """Tasks that are created meanwhile, and those that they create, are this process's."""
        token = _RUNNING.set(self)
        try:
            yield
        finally:
            _RUNNING.reset(token)


def task_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """Every task belongs to the process that created it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    process = _RUNNING.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if not process.alive:
            task.cancel()
    return task


def _lost(name: str) -> Unavailable:
    if name.startswith("kms."):
        return Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "lost on the way")
    return Unavailable(Reason.CLUSTER_UNAVAILABLE, "lost on the way")
