"""Build the images, find a cluster, install, and tell the story: `make e2e`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from e2e import places
from e2e.clients import SDK
from e2e.images import build
from image_builder.errors import BuildError
from local_cluster.errors import ClusterError
from local_node.__main__ import CANNOT
from stage.ibm_environments import python_of


def main() -> int:
    """End with the story's exit code; 77 where no pod can run here, and why is said."""
    made = argparse.ArgumentParser(prog="python -m e2e", description=__doc__)
    made.add_argument("--smoke", action="store_true", help="install, seal, bind, read, revoke: no more")
    options = made.parse_args()
    try:
        place = places.find(os.environ, say=_say)
    except places.NoPlace as why:
        _say(f"e2e: no pod can run here, so nothing was proven:\n{why}")
        return CANNOT
    except ClusterError as error:
        _say(f"e2e: {error}")
        return 2
    _say(f"e2e: on {place.origin}")
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder:
        try:
            images = build(Path(folder), smoke=options.smoke)
            if not options.smoke:
                os.environ[SDK] = str(python_of("ibm-openscale"))
            command = [sys.executable, "-m", "e2e.story", *(["--smoke"] if options.smoke else [])]
            return place.tell(images, command)
        except (BuildError, ClusterError, RuntimeError) as error:
            _say(f"e2e: {error}")
            return 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
