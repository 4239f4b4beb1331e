"""The emulator as a child process that never outlives its starter."""

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from key_protect_emulator.wire import EmulatorError

START_SECONDS = 30.0
STOP_SECONDS = 10.0


def start(options: Sequence[str]) -> tuple["subprocess.Popen[bytes]", bytes]:
    """Start `python -m key_protect_emulator` and return it with its ready line.

    The child ends when its standard input closes, which happens even if this process is killed.
    """
    command = [sys.executable, "-m", "key_protect_emulator", "--exit-with-parent", *options]
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the starter, who decides in which order things end
        )
        line = _first_line(process)
        if not line:
            kill(process)
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-2000:]
            raise EmulatorError(f"the emulator did not start: {text}")
    return process, line


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    _close(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    _close(process)


def _first_line(process: "subprocess.Popen[bytes]") -> bytes:
    """The ready line; empty if the process ends or dawdles."""
    assert process.stdout is not None  # noqa: S101 -- it was started with a pipe
    line, deadline = b"", time.monotonic() + START_SECONDS
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 65_536) if readable else b""
        if not chunk:
            return b""
        line += chunk
    return line


def _close(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
