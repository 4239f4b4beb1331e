"""`make demo`: sets the scene, tells the story, ends by itself; exit code 1 if any proof fails."""

import argparse
import sys
import time

from demo.chaos import chaos
from demo.story import Story
from demo.telling import ProofFailed
from stage.scene import raise_scene


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--datamarts", type=int, default=500, help="data marts in Case 2 (default 500)")
    parser.add_argument(
        "--kill-every", type=float, default=0.0, metavar="SECONDS", help="kill -9 the operator again and again"
    )
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(text, flush=True)

    def note(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    try:
        with raise_scene(note, settings={"KEY_POLL_SECONDS": "1"}) as scene, chaos(scene, options.kill_every, note):
            Story(scene, say, options.datamarts).tell()
    except (ProofFailed, TimeoutError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    print(f"Everything that was started has ended. {time.monotonic() - began:.0f} seconds in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
