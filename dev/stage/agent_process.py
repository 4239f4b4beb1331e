"""The agent as a process of its own, as a sidecar would run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stage.child import die_with_parent

END_SECONDS = 20.0


@contextmanager
def agent(log: Path, url: str, ca_file: Path, token_file: Path, *targets: str, interval: float) -> Iterator[None]:
    """Runs while inside; takes its files away at its end, as SIGTERM makes it do.

    Args:
        log: file for its log.
        url: of the gateway.
        ca_file: what its certificate is checked against.
        token_file: holds the token.
        targets: as `openscale-byok agent --target` takes them.
        interval: seconds between two questions.
    """
    arguments = ["--url", url, "--ca-file", str(ca_file), "--token-file", str(token_file), "--interval", str(interval)]
    arguments += [part for target in targets for part in ("--target", target)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENSCALE_BYOK_")}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "openscale_byok", "agent", *arguments],
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=die_with_parent,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
