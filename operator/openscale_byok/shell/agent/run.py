"""The agent as a whole: once, as an init container; or on and on, as a sidecar."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import structlog

from openscale_byok.shell.agent import files, health
from openscale_byok.shell.agent.asking import Door, Gateway
from openscale_byok.shell.agent.keeper import Keeper, State
from openscale_byok.shell.agent.targets import Manner, Target

log = structlog.get_logger("openscale_byok.agent")


class Failed(Exception):
    """The agent cannot do what it is for. The message names what, and the cure."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the command line says."""

    door: Door
    targets: tuple[Target, ...]
    manner: Manner
    once_seconds: float | None = None
    """As an init container: how long to wait for the files. None: as a sidecar."""
    remove_at_end: bool = True
    require_memory: bool = False
    health_address: str | None = None
    """None: every address of the pod, as the kubelet asks at that of the pod."""
    health_port: int = 0
    """0: none."""


async def run(options: Options) -> None:
    """Bring the files and, but for an init container, keep them until SIGTERM or SIGINT.

    Raises:
        Failed: a folder cannot be used; or, as an init container, a file did not come.
    """
    _look_at_folders(options)
    gateway = Gateway(options.door)
    keepers = [Keeper(target, gateway, options.manner) for target in options.targets]
    try:
        with _ended_by_signals() as ended:
            async with AsyncExitStack() as stack:
                await _open_health(stack, keepers, options)
                work = asyncio.create_task(_bring(keepers, options) if options.once_seconds else _keep(keepers))
                end = asyncio.create_task(ended.wait())
                try:
                    await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
                    if work.done():
                        work.result()
                    else:
                        _at_end(keepers, options)
                finally:
                    for task in (work, end):
                        task.cancel()
                    await asyncio.gather(work, end, return_exceptions=True)
    finally:
        await gateway.close()


async def _keep(keepers: list[Keeper]) -> None:
    async with asyncio.TaskGroup() as group:
        for keeper in keepers:
            group.create_task(keeper.keep())


async def _bring(keepers: list[Keeper], options: Options) -> None:
    """Every file, or `Failed`."""

    async def one(keeper: Keeper) -> None:
        while True:
            await keeper.look()
            if keeper.state is State.FRESH:
                return
            if keeper.state is State.UNFIT:
                raise Failed(f"{keeper.target}: {keeper.code}")
            await asyncio.sleep(keeper.wait())

    tasks = [asyncio.create_task(one(keeper)) for keeper in keepers]
    try:
        async with asyncio.timeout(options.once_seconds):
            await asyncio.gather(*tasks)
    except TimeoutError:
        late = [one for one in keepers if one.state is not State.FRESH]
        said = "; ".join(f"{one.target}: {one.state.value}: {one.code or 'no answer yet'}" for one in late)
        raise Failed(f"after {options.once_seconds:g} seconds there is no file for {said}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _at_end(keepers: list[Keeper], options: Options) -> None:
    log.info("ending", files_removed=options.remove_at_end)
    if not options.remove_at_end:
        return
    for keeper in keepers:
        for file in keeper.target.files:
            try:
                files.remove(file)
            except OSError as error:
                log.error("file not removed", file=str(file), error=error.strerror)


def _look_at_folders(options: Options) -> None:
    for folder in dict.fromkeys(target.file.parent for target in options.targets):
        try:
            in_memory = files.in_memory(folder)
        except OSError as error:
            raise Failed(f"{folder}: {error.strerror}: mount an emptyDir of medium Memory there") from None
        if in_memory:
            continue
        text = f"{folder} is not in memory, so passwords are written to a disk: mount an emptyDir of medium Memory"
        if options.require_memory:
            raise Failed(text)
        log.warning("folder", message=text)


async def _open_health(stack: AsyncExitStack, keepers: list[Keeper], options: Options) -> None:
    if options.health_port == 0 or options.once_seconds:
        return
    try:
        await stack.enter_async_context(health.serve(keepers, options.health_address, options.health_port))
    except OSError as error:
        text = f"port {options.health_port}: {error.strerror}: choose another --health-port"
        raise Failed(text) from None


@contextmanager
def _ended_by_signals() -> Iterator[asyncio.Event]:
    """Set by SIGTERM or SIGINT. Elsewhere than in the main thread there are no signals to hear."""
    ended, loop, heard = asyncio.Event(), asyncio.get_running_loop(), []
    for one in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(one, ended.set)
            heard.append(one)
    try:
        yield ended
    finally:
        for one in heard:
            loop.remove_signal_handler(one)
