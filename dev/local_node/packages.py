"""Installs Debian's packages that a node needs. No service that a package brings is started."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from local_node.errors import NodeError

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian's packages ask it before they start a service; 101 says no."""
_FORBID = "#!/bin/sh\nkill -0 {pid} 2>/dev/null && exit 101\nexit 0\n"
"""No, for as long as this process lives: one that was killed forbids nothing for ever."""
_LAST_LINES = 5


def install(
    names: Sequence[str], *, say: Callable[[str], None], environ: Mapping[str, str], policy: Path = POLICY
) -> None:
    """Install packages by apt-get, for a node that starts their programs itself.

    Args:
        names: of the packages.
        say: told what is done, before it is done.
        environ: its PATH is where apt-get is looked for.
        policy: the file that packages ask.

    Raises:
        NodeError: this is not Debian, or apt-get failed; the message says what to do.
    """
    by_hand = f"apt-get install --no-install-recommends {' '.join(names)}"
    if not all(shutil.which(name, path=environ.get("PATH", "")) for name in ("apt-get", "dpkg")):
        raise NodeError(f"a node needs what Debian installs by `{by_hand}`: install the like of it, or use kind")
    say(f"node: installing from Debian, starting none of their services: {' '.join(names)}")
    with no_services(policy):
        _apt(environ, "update", "--quiet")
        _apt(environ, "install", "--yes", "--no-install-recommends", *names)


@contextlib.contextmanager
def no_services(policy: Path) -> Iterator[None]:
    """While this holds, no package starts a service. A policy that is there already is its owner's: it stays."""
    try:
        with policy.open("x") as made:
            made.write(_FORBID.format(pid=os.getpid()))
    except FileExistsError:
        yield
        return
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink()


def _apt(environ: Mapping[str, str], *arguments: str) -> None:
    quiet = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *arguments], env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-_LAST_LINES:])
        raise NodeError(f"apt-get {arguments[0]} failed with {done.returncode}:\n{last}")
