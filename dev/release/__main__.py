"""Write everything that a version is published as into one folder: `python -m release --help`."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from image_builder import __main__ as images
from image_builder.errors import BuildError
from image_builder.python_packages import ROOT
from image_builder.run import run
from openscale_byok import __version__
from release import charts, command_line, install, statement

ARCHITECTURES = ("amd64", "arm64")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    made.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to write to (default: dist)")
    made.add_argument("--arch", action="append", choices=ARCHITECTURES, help="repeat it for several (default: all)")
    made.add_argument("--skip-images", action="store_true", help="no images: to look at everything else")
    made.add_argument("--dirty", action="store_true", help="build what is not committed: to try, never to publish")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Build what the command line says, and print each file with its size."""
    options = parser().parse_args(arguments)
    architectures = tuple(options.arch or ARCHITECTURES)
    try:
        commit = _commit(dirty=options.dirty)
        time = images.committed()
        options.output.mkdir(parents=True, exist_ok=True)
        files = small(options.output, time=time)
        with tempfile.TemporaryDirectory(prefix="release-") as scratch:
            for architecture in architectures:
                files += command_line.build(architecture, __version__, Path(scratch), options.output, time=time)
        if not options.skip_images:
            files += _images(options.output, architectures)
    except BuildError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    stated = statement.provenance(files, version=__version__, commit=commit, time=time, architectures=architectures)
    files += statement.write(options.output, files, stated, __version__)
    for path in sorted(files):
        print(f"release: {path} {path.stat().st_size / 1e6:.2f} MB")
    return 0


def small(output: Path, *, time: int) -> list[Path]:
    """What needs nothing but this repository: the wheel, the charts, and `install.yaml`."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(output)]
    run(command, folder=ROOT, environ={"SOURCE_DATE_EPOCH": str(time)})
    packed = [charts.package(found.parent, output, time=time) for found in sorted(ROOT.glob("helm/*/Chart.yaml"))]
    wheel = output / f"openscale_byok-{__version__}-py3-none-any.whl"
    return [wheel, *packed, install.write(output, __version__)]


def _images(output: Path, architectures: tuple[str, ...]) -> list[Path]:
    written: list[Path] = []
    for name, target in images.TARGETS.items():
        layout = output / f"{target.name}-{__version__}.oci.tar"
        chosen = [word for architecture in architectures for word in ("--arch", architecture)]
        if images.main([name, "--output", str(layout), *chosen]):
            raise BuildError(f"the image {target.name} was not built")
        written += [layout, *(layout.with_name(f"{layout.stem}.{one}.cdx.json") for one in architectures)]
    return written


def _commit(*, dirty: bool) -> str:
    """The commit that is built.

    Raises:
        BuildError: this is no clone, or holds what is not committed: nobody else could build the same.
    """
    if not dirty and run(["git", "status", "--porcelain"], folder=ROOT).strip():
        raise BuildError("there are changes that are not committed: commit them, or try them with --dirty")
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        raise BuildError("a release is built from a clone with its commit; `git rev-parse HEAD` failed here")
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
