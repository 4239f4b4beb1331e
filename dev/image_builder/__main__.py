"""Build an image without a daemon: `python -m image_builder --help`."""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from image_builder import debian, python_packages, sbom
from image_builder.errors import BuildError
from image_builder.layer import Layer, layer
from image_builder.oci import Base, Image, Start, image, read_base, write
from image_builder.python_packages import PLACE, ROOT, Interpreter
from openscale_byok import __version__

NAME = "ghcr.io/openscale-byok"
ENVIRONMENT = {
    "PYTHONPATH": f"/{PLACE}",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "SSL_CERT_FILE": f"/{debian.CERTIFICATES}",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One of the images that are built here."""

    name: str
    module: str
    title: str
    says: str


OPERATOR = Target(
    "openscale-byok",
    "openscale_byok",
    "openscale-byok",
    "Hold the key to everything that Watson OpenScale stores: operator, gateway, agent and command line",
)
EMULATOR = Target(
    "key-protect-emulator",
    "key_protect_emulator",
    "Key Protect emulator",
    "IBM Key Protect and IAM for trying out; not for production",
)
TARGETS = {"operator": OPERATOR, "emulator": EMULATOR}


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(prog="python -m image_builder", description=__doc__)
    made.add_argument("target", choices=TARGETS, help="which image")
    made.add_argument("--output", type=Path, help="the tar to write (default: dist/NAME-VERSION.oci.tar)")
    made.add_argument(
        "--arch",
        action="append",
        choices=["amd64", "arm64"],
        help="repeat it for an index of several (default: this machine's)",
    )
    made.add_argument(
        "--base",
        type=Path,
        metavar="FILE",
        help=f"an OCI layout with Python {debian.PYTHON}, in place of Debian's packages",
    )
    made.add_argument("--tag", default=__version__, help="(default: %(default)s)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Build what the command line says."""
    options = parser().parse_args(arguments)
    target = TARGETS[options.target]
    output = options.output or ROOT / "dist" / f"{target.name}-{options.tag}.oci.tar"
    try:
        with tempfile.TemporaryDirectory(prefix="image-") as scratch:
            builder = Builder(target, options.tag, options.base, Path(scratch), committed())
            images = [builder.build(architecture, output) for architecture in options.arch or [python_packages.host()]]
            digest = write(images, f"{NAME}/{target.name}:{options.tag}", output)
    except BuildError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(f"image: {output} {output.stat().st_size / 1e6:.0f} MB {digest}")
    return 0


def committed() -> int:
    """When the commit was made that is built: the time of everything in the image."""
    said = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(said) if said.isdecimal() else 0


class Builder:
    """Builds one image for each architecture that is asked for."""

    def __init__(self, target: Target, tag: str, base: Path | None, scratch: Path, time: int) -> None:
        self._target = target
        self._tag = tag
        self._base = base
        self._scratch = scratch
        self._time = time
        self._bases: dict[str, tuple[Path, tuple[debian.Package, ...]]] = {}
        own = None if base is not None else self._debian(python_packages.host())[0]
        self._python = Interpreter(own)

    def build(self, architecture: str, output: Path) -> Image:
        """One image, and its bill of materials beside the output."""
        first, below = self._below(architecture)
        wheels = self._scratch / f"wheels-{architecture}"
        python_packages.dependencies(wheels, architecture)
        own = self._scratch / f"own-{architecture}"
        if self._target is OPERATOR:
            python_packages.ours(own, architecture, self._scratch, time=self._time)
        else:
            python_packages.emulator(own)
        for place in (wheels, own):
            python_packages.compile_ahead(place, PLACE, self._python)
        layers = [
            *first,
            layer(wheels, "the locked wheels", time=self._time),
            layer(own, self._target.name, time=self._time),
        ]
        packages = self._bases[architecture][1] if self._base is None else ()
        about = sbom.image(self._target.name, self._tag, architecture)
        bill = sbom.document(about, packages, _merged(wheels, own), time=self._time)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_name(f"{output.name.removesuffix('.tar')}.{architecture}.cdx.json").write_text(bill)
        return image(architecture, below, layers, self._start(), time=self._time)

    def _below(self, architecture: str) -> tuple[list[Layer], Base]:
        if self._base is not None:
            return [], read_base(self._base, architecture)
        root, packages = self._debian(architecture)
        said = " ".join(f"{package.name}={package.version}" for package in packages)
        return [layer(root, f"Debian 12: {said}", time=self._time)], Base()

    def _debian(self, architecture: str) -> tuple[Path, tuple[debian.Package, ...]]:
        if architecture not in self._bases:
            root = self._scratch / f"base-{architecture}"
            self._bases[architecture] = (root, debian.base(root, architecture, self._scratch))
            compiler = Interpreter(self._bases[python_packages.host()][0])  # unpacked first, by `__init__`
            python_packages.compile_ahead(root, f"usr/lib/python{debian.PYTHON}", compiler)
        return self._bases[architecture]

    def _start(self) -> Start:
        return Start(
            entrypoint=("python3", "-m", self._target.module),
            environment=ENVIRONMENT,
            user=f"{debian.USER}:{debian.USER}",
            labels={
                "org.opencontainers.image.title": self._target.title,
                "org.opencontainers.image.description": self._target.says,
                "org.opencontainers.image.version": self._tag,
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.source": "https://github.com/openscale-byok/openscale-byok",
            },
        )


def _merged(*roots: Path) -> Path:
    """One folder with the metadata of all that was installed."""
    found = roots[0].with_name("metadata-" + roots[0].name)
    found.mkdir()
    for root in roots:
        for info in (root / PLACE).glob("*.dist-info"):
            (found / info.name).symlink_to(info)
    return found


if __name__ == "__main__":
    sys.exit(main())
