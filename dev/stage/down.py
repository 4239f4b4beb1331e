"""`make down`: end what `make up` started, and remove what it left in `.dev`."""

import os
import shutil
import signal
import sys
import time

from stage import postgres
from stage.up import place

STOP_SECONDS = 40.0


def main() -> int:
    """End it."""
    here, _ = place(__doc__)
    pid = here.owner()
    if pid is None:
        print("nothing is running")
    else:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while here.owner() is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)  # its children end with it
                break
            time.sleep(0.1)
        print("everything has ended")
    postgres.sweep()
    for path in here.folder.glob("*"):
        if path.name == "bench.json":
            continue  # measured, not left behind
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if here.folder.is_dir() and not any(here.folder.iterdir()):
        here.folder.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
