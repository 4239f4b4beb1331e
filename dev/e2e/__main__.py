"""Build the images, find a node, install, and tell the story: `make e2e`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from image_builder.__main__ import main as build
from image_builder.pause import pause
from local_node import requirements
from local_node.__main__ import CANNOT
from local_node.configuration import PAUSE

TARGETS = ("operator", "emulator")


def main() -> int:
    """End with the story's exit code; 77 where no node can run here, and why is said."""
    if lacks := requirements.missing():
        print("e2e: no node can run here, so nothing was proven:", file=sys.stderr)
        print("\n".join(f"  {cure}" for cure in lacks), file=sys.stderr)
        return CANNOT
    with tempfile.TemporaryDirectory(prefix="e2e-") as folder:
        images = [Path(folder) / f"{target}.oci.tar" for target in TARGETS]
        for target, image in zip(TARGETS, images, strict=True):
            if code := build([target, "--output", str(image)]):
                return code
        images.append(Path(folder) / "pause.oci.tar")
        pause(images[0], PAUSE, images[-1])
        words = [word for image in images for word in ("--image", str(image))]
        command = [sys.executable, "-m", "local_node", *words, "--", sys.executable, "-m", "e2e.story"]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
