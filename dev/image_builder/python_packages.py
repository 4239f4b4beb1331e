"""What runs in the image: the locked wheels of an architecture, and our own, compiled ahead.

The root file system is read-only when it runs, so nothing could be compiled then; the time to start would pay for it.
"""

import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from image_builder.debian import PYTHON
from image_builder.errors import BuildError
from image_builder.run import run

ROOT = Path(__file__).parents[2]
PLACE = "opt/openscale-byok"
"""Where the packages are, below the root: no place that a base image's own Python looks at by itself."""
_PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
_LOADERS = {"amd64": ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
            "arm64": ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu")}  # fmt: skip
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_DIFFERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""What says how it was installed, and may differ from one installation to the next."""


def host() -> str:
    """This machine's architecture, as Debian names it.

    Raises:
        BuildError: no image is built for it.
    """
    found = _MACHINES.get(platform.machine().lower())
    if found is None:
        raise BuildError(f"images are built for amd64 and arm64, on one of them; this is {platform.machine()}")
    return found


def dependencies(root: Path, architecture: str) -> None:
    """Install the locked wheels, each checked by its hash.

    Raises:
        BuildError: one cannot be had for this architecture.
    """
    lock = ROOT / "requirements" / "runtime.txt"
    install(root, architecture, "--require-hashes", "--requirement", str(lock))


def ours(root: Path, architecture: str, scratch: Path, *, time: int) -> None:
    """Install the operator: the wheel that everybody else gets, built here."""
    built = scratch / f"wheel-{architecture}"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    run(command, folder=ROOT, environ={"SOURCE_DATE_EPOCH": str(time)})
    (wheel,) = built.glob("*.whl")
    install(root, architecture, str(wheel))


def emulator(root: Path) -> None:
    """Put the emulator of Key Protect beside its dependencies; it is in no wheel."""
    source = ROOT / "dev" / "key_protect_emulator"
    shutil.copytree(source, root / PLACE / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))


def compile_ahead(root: Path, place: str, python: "Interpreter") -> None:
    """Compile the sources below a place. What is compiled names its source by a hash that nobody checks."""
    target = root / place
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    run([*python.command, "-m", "compileall", *options, str(target)], environ=python.environ)


class Interpreter:
    """The Python that compiles: of the same version as the one that runs it later.

    Args:
        base: an unpacked Debian base of this machine's architecture; None takes the Python that runs this.

    Raises:
        BuildError: there is none of that version.
    """

    def __init__(self, base: Path | None) -> None:
        self.command: tuple[str, ...]
        self.environ: Mapping[str, str] = {"PYTHONHASHSEED": "0"}
        if base is not None:
            loader, folder = _LOADERS[host()]
            libraries = ":".join(str(base / place / folder) for place in ("lib", "usr/lib"))
            python = base / "usr/bin" / f"python{PYTHON}"
            self.command = (str(base / loader), "--library-path", libraries, str(python), "-S", "-B")
            self.environ = {**self.environ, "PYTHONHOME": str(base / "usr")}
        elif "{}.{}".format(*sys.version_info) == PYTHON:
            self.command = (sys.executable, "-I", "-S", "-B")
        else:
            raise BuildError(f"with --base the image is compiled by this Python: it must be {PYTHON}")


def install(root: Path, architecture: str, *what: str) -> None:
    """Install as the image has it, and nothing that differs from one installation to the next.

    Args:
        root: of the layer.
        architecture: whose wheels are taken.
        what: as `uv pip install` takes it.

    Raises:
        BuildError: it cannot be had for this architecture.
    """
    target = root / PLACE
    target.mkdir(parents=True, exist_ok=True)
    uv = Path(sys.executable).with_name("uv")
    options = ["--target", str(target), "--python-platform", _PLATFORMS[architecture], "--python-version", PYTHON]
    options += ["--only-binary", ":all:", "--no-deps", "--link-mode", "copy", "--quiet"]
    run([uv, "pip", "install", *options, *what])
    shutil.rmtree(target / "bin", ignore_errors=True)  # scripts that name the builder's Python
    for found in list(target.glob("*.dist-info/*")):
        if found.name in _DIFFERS:
            found.unlink()
    for leftover in (".lock", "CACHEDIR.TAG", ".gitignore"):
        (target / leftover).unlink(missing_ok=True)
    for found in list(target.rglob("__pycache__")):
        shutil.rmtree(found)
