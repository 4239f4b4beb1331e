"""Run a command on a node of its own: `python -m local_node --image TAR -- kubectl get nodes`.

Inside, `kubectl` and `helm` talk to that node. It ends with the command.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from local_cluster import go_build
from local_cluster.cluster import tell
from local_cluster.errors import ClusterError
from local_node import requirements
from local_node.isolation import CGROUPS, put_back, remove
from stage.child import die_with_parent

PREFIX = "openscale-node-"
LOCK = "lock"
CANNOT = 77
"""The exit code that says: no node can run here."""


def main() -> int:
    """Check this machine, make the namespaces, and hand over to the first process in them."""
    made = argparse.ArgumentParser(prog="python -m local_node", description=__doc__)
    made.add_argument("--image", type=Path, action="append", default=[], help="an OCI layout that pods can use")
    made.add_argument("command", nargs="+")
    options = made.parse_args()
    if lacks := requirements.missing():
        print("node: none can run here:\n" + "\n".join(f"  {cure}" for cure in lacks), file=sys.stderr)
        return CANNOT
    try:
        program = go_build.Build.of(os.environ).ensure(say=tell)
    except ClusterError as error:
        print(f"node: {error}", file=sys.stderr)
        return CANNOT
    sweep()
    with _folder() as folder:
        images = [word for image in options.image for word in ("--image", str(image.resolve()))]
        inside = [sys.executable, "-m", "local_node.inside", str(folder), str(program), *images, "--", *options.command]
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        command = ["unshare", *spaces, "--propagation", "private", *inside]
        return subprocess.run(command, preexec_fn=die_with_parent, check=False).returncode


def sweep() -> None:
    """Remove what killed runs have left: a folder whose lock nobody holds has no node."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """The node's own folder, and the lock that says that it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)  # pods' users look into it for their volumes
    try:
        with (folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    put_back(folder)
    for root in [CGROUPS, *CGROUPS.iterdir()]:
        remove(root / folder.name)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
