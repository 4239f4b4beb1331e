"""The first process of a node's namespaces: when it ends, the kernel ends everything that began in them.

python -m local_node.inside FOLDER PROGRAM [--image TAR …] -- COMMAND …
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from local_node.clients import clients
from local_node.errors import NodeError
from local_node.isolation import control_groups, isolate
from local_node.node import Node


def main() -> int:
    """Bring the node up, run the command on it, and end with its exit code."""
    made = argparse.ArgumentParser(prog="python -m local_node.inside")
    made.add_argument("folder", type=Path)
    made.add_argument("program")
    made.add_argument("--image", type=Path, action="append", default=[])
    end = sys.argv.index("--")
    options, command = made.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    try:
        isolate()
        Node(options.folder, options.program, control_groups(options.folder)).start(options.image)
        return subprocess.run(command, env=_environ(options.folder, options.program), check=False).returncode
    except NodeError as error:
        print(f"node: {error}", file=sys.stderr)
        return 1


def _environ(folder: Path, program: str) -> dict[str, str]:
    """The caller's, with a kubectl and a helm that talk to this node and to nothing else."""
    own = {"KUBECONFIG": f"{folder}/kubeconfig", "KUBERC": "off", "HOME": str(folder)}
    return {**os.environ, **own, "PATH": f"{clients(folder, Path(program))}:{os.environ['PATH']}"}


if __name__ == "__main__":
    sys.exit(main())
