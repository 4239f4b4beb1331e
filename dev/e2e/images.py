"""The images that the story's pods run: ours, built from this commit, and what stands around them."""

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from image_builder import __main__ as builder
from image_builder import python_packages
from image_builder.errors import BuildError
from image_builder.layer import layer
from image_builder.oci import Start, image, read_base, write
from image_builder.pause import pause
from local_node.configuration import PAUSE
from openscale_byok import __version__
from stage import postgres

OPERATOR = f"{builder.NAME}/{builder.OPERATOR.name}:{__version__}"
EMULATOR = f"{builder.NAME}/{builder.EMULATOR.name}:{__version__}"
POSTGRES = "localhost/postgres:e2e"
NEXT = f"{__version__}-next"
"""The tag of another build of this version."""
FORMER = Path(__file__).with_name("former")
"""The wheel and the chart of 0.1.0."""
PLACE = "opt/postgres"
_START = """
import os, pathlib, shutil
data = pathlib.Path("/data/db")
if not data.exists():
    shutil.copytree("/opt/postgres/new", data)
data.chmod(0o700)
options = {"listen_addresses": "*", "unix_socket_directories": "/data", "fsync": "off"}
words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
os.execv("/opt/postgres/bin/postgres", ["postgres", "-D", str(data), *words])
"""
"""What the PostgreSQL container does first: its volume may be empty, and has a database afterwards."""


def build(folder: Path, *, smoke: bool) -> list[Path]:
    """Build them all; the tars, the operator's first.

    Raises:
        BuildError: one cannot be built here; the message says why.
    """
    own, emulator = folder / "operator.oci.tar", folder / "emulator.oci.tar"
    for target, output in (("operator", own), ("emulator", emulator)):
        if builder.main([target, "--output", str(output)]):
            raise BuildError(f"the image of the {target} cannot be built")
    found = [own, emulator, folder / "pause.oci.tar", folder / "postgres.oci.tar"]
    pause(own, PAUSE, found[2])
    _postgres(own, found[3])
    if not smoke:
        found += [folder / "next.oci.tar", folder / "former.oci.tar"]
        _again(own, f"{OPERATOR.rpartition(':')[0]}:{NEXT}", found[-2])
        _former(own, f"{OPERATOR.rpartition(':')[0]}:0.1.0", found[-1])
    return found


def _again(layout: Path, name: str, target: Path) -> None:
    """The same program as another build: other digest, other tag."""
    start = Start(("python3", "-m", "openscale_byok"), builder.ENVIRONMENT, "65532:65532", {"build": "next"})
    architecture = python_packages.host()
    write([image(architecture, read_base(layout, architecture), [], start, time=0)], name, target)


def _former(layout: Path, name: str, target: Path) -> None:
    """0.1.0: its own wheel in the place of ours, on the same locked dependencies: it had the same lock."""
    architecture = python_packages.host()
    below = read_base(layout, architecture)
    below = replace(below, layers=below.layers[:-1], diff_ids=below.diff_ids[:-1])
    with tempfile.TemporaryDirectory(prefix="former-") as scratch:
        (wheel,) = FORMER.glob("*.whl")
        python_packages.install(Path(scratch), architecture, str(wheel))
        start = Start(("python3", "-m", "openscale_byok"), builder.ENVIRONMENT, "65532:65532", {})
        layers = [layer(Path(scratch), wheel.name, time=0)]
        write([image(architecture, below, layers, start, time=0)], name, target)


def _postgres(layout: Path, target: Path) -> None:
    """PostgreSQL and psql from the wheel that the tests use, with a new database, on the operator's Python."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as scratch:
        root = Path(scratch, "root")
        programs = postgres.copy_wheel(root / PLACE)
        _new_database(programs, root / PLACE / "new", Path(scratch))
        (root / PLACE / "start.py").write_text(_START)
        (root / PLACE / "bin").symlink_to(programs.relative_to(root / PLACE) / "bin")
        architecture = python_packages.host()
        start = Start(("python3", "-S", f"/{PLACE}/start.py"), {"PATH": f"/{PLACE}/bin:/usr/bin"}, "65532:65532", {})
        layers = [layer(root, "PostgreSQL", time=0)]
        write([image(architecture, read_base(layout, architecture), layers, start, time=0)], POSTGRES, target)


def _new_database(programs: Path, target: Path, scratch: Path) -> None:
    """A database as initdb makes it: it wants a shell, which the image has not."""
    scratch.chmod(0o755)
    made = scratch / "new"
    made.mkdir()
    user = postgres.unprivileged()
    if user is not None:
        shutil.chown(made, user)
    command = [str(programs / "bin" / "initdb"), "-D", str(made), "-U", "postgres", "--no-sync", "--no-instructions"]
    command += ["--encoding", "UTF8", "--locale", "C", "--wal-segsize", "4"]
    command += ["--auth-local", "trust", "--auth-host", "scram-sha-256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, cwd=scratch)
    if done.returncode:
        raise BuildError(f"initdb failed: {done.stderr.strip()[-500:]}")
    with (made / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    shutil.copytree(made, target)
