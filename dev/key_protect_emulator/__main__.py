"""The command line: start the emulator, say where it is, end when told."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from key_protect_emulator import __version__
from key_protect_emulator.backend import Backend, open_backend
from key_protect_emulator.http.control import ready
from key_protect_emulator.http.control_call import ControlCall
from key_protect_emulator.http.server import runner
from key_protect_emulator.state import StateFile

PARENT_CHECK_SECONDS = 1.0

DESCRIPTION = """\
IBM Key Protect v2 and IBM Cloud IAM on your own machine: real HTTP, real AES-GCM, real RS256 tokens,
Key Protect's state and time rules on a clock that can be set, faults to order, exact counts of calls.

The first line on standard output is JSON: url, iam_url, instance, api_key and more."""

EPILOG = """\
example:
  python -m key_protect_emulator --port 8900 --state key-protect.json
  curl -s localhost:8900/emulator/counts"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m key_protect_emulator",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument(
        "--port", type=int, default=8900, help="port to listen on; 0 picks a free one (default: %(default)s)"
    )
    made.add_argument("--state", type=Path, metavar="FILE", help="keep everything in FILE (default: in memory only)")
    made.add_argument("--ready-file", type=Path, metavar="FILE", help="write the first line of output to FILE too")
    made.add_argument("--public-url", metavar="URL", help="how clients reach it, if not by host and port")
    made.add_argument(
        "--remote-control", action="store_true", help="let other machines use /emulator, which hands out keys"
    )
    made.add_argument(
        "--exit-with-parent", action="store_true", help="end when standard input closes or the parent dies"
    )
    made.add_argument("--version", action="version", version=__version__)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        backend = open_backend(StateFile(options.state) if options.state else None)
    except (OSError, ValueError) as error:
        print(f"cannot use the state file: {error}", file=sys.stderr)
        return 1
    backend.remote_control = options.remote_control
    try:
        asyncio.run(_serve(backend, options))
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(backend: Backend, options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    serving = runner(backend)
    await serving.setup()
    site = web.TCPSite(serving, options.host, options.port)
    await site.start()
    port = serving.addresses[0][1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    backend.url = (options.public_url or f"http://{host}:{port}").rstrip("/")
    _announce(backend, options.ready_file)
    watcher = asyncio.create_task(_watch_parent(ended)) if options.exit_with_parent else None
    await ended.wait()
    if watcher:
        watcher.cancel()
    await serving.cleanup()


def _announce(backend: Backend, ready_file: Path | None) -> None:
    line = json.dumps(ready(ControlCall(backend, {}, {}, {})))
    if ready_file:
        draft = ready_file.with_name(f".{ready_file.name}.draft")
        draft.touch(mode=0o600)
        draft.write_text(line + "\n", "utf-8")
        draft.replace(ready_file)
    print(line, flush=True)


async def _watch_parent(ended: asyncio.Event) -> None:
    """End when standard input closes (the starter is gone, even by kill -9) or the parent changes."""
    loop, parent = asyncio.get_running_loop(), os.getppid()

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            ended.set()

    with contextlib.suppress(OSError):  # standard input is a file or /dev/null: only the parent tells
        loop.add_reader(0, readable)
    while os.getppid() == parent:  # noqa: ASYNC110 -- the kernel has no event for this
        await asyncio.sleep(PARENT_CHECK_SECONDS)
    ended.set()


if __name__ == "__main__":
    sys.exit(main())
