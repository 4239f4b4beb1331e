"""The image that holds a pod's namespaces while its containers come and go: the operator's layers, told to wait."""

from pathlib import Path

from image_builder import python_packages
from image_builder.oci import Start, image, read_base, write

WAITS = ("python3", "-S", "-c", "import signal; signal.sigwait({signal.SIGTERM, signal.SIGINT})")


def pause(layout: Path, name: str, target: Path) -> None:
    """Write the image.

    Args:
        layout: an image of ours, whose layers are taken: what is shared is stored once.
        name: the full reference that containerd is told of.
        target: the tar to write.
    """
    architecture = python_packages.host()
    found = image(architecture, read_base(layout, architecture), [], Start(WAITS, {}, "65532:65532", {}), time=0)
    write([found], name, target)
