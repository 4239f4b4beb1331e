"""The images as they are built: small, the same each time, nothing in them that need not be, and they run."""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from image_builder.__main__ import ENVIRONMENT, main
from openscale_byok import __version__

ROOT = Path(__file__).parents[2]
MEGABYTES = 120
WORD = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
SHELLS = ("sh", "bash", "dash", "busybox", "perl", "gcc", "cc", "apt", "dpkg", "pip", "pip3", "curl")

pytestmark = [
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the base is unpacked from Debian's packages"),
    pytest.mark.timeout(1_200),
]


class Layout:
    """A layout that was written, taken apart."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.files = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar if m.isfile()}
        self.top = json.loads(self.files["index.json"])["manifests"][0]

    def blob(self, digest: str) -> bytes:
        return self.files[f"blobs/{digest.replace(':', '/')}"]

    def manifest(self, architecture: str) -> Any:
        found = json.loads(self.blob(self.top["digest"]))
        for entry in found.get("manifests", []):
            if entry["platform"]["architecture"] == architecture:
                return json.loads(self.blob(entry["digest"]))
        return found

    def config(self, architecture: str) -> Any:
        return json.loads(self.blob(self.manifest(architecture)["config"]["digest"]))

    def tars(self, architecture: str) -> list[tarfile.TarFile]:
        raws = [self.blob(entry["digest"]) for entry in self.manifest(architecture)["layers"]]
        return [tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) for raw in raws]

    def entries(self, architecture: str) -> dict[str, tarfile.TarInfo]:
        return {entry.name: entry for tar in self.tars(architecture) for entry in tar}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("image")


@pytest.fixture(scope="module")
def operator(folder: Path) -> Layout:
    """The operator's image for both architectures."""
    assert main(["operator", "--arch", "amd64", "--arch", "arm64", "--output", str(folder / "operator.tar")]) == 0
    return Layout(folder / "operator.tar")


@pytest.fixture(scope="module")
def emulator(folder: Path) -> Layout:
    """The emulator's image, for this machine."""
    assert main(["emulator", "--output", str(folder / "emulator.tar")]) == 0
    return Layout(folder / "emulator.tar")


def test_the_same_commit_and_base_make_the_same_digests(operator, emulator, folder):
    """Another build of another target, at another time and in another folder, has the same two layers below its own."""
    here = emulator.config("")["architecture"]
    ours, theirs = operator.manifest(here)["layers"], emulator.manifest(here)["layers"]
    assert ours[:2] == theirs[:2]
    assert main(["operator", "--arch", here, "--output", str(folder / "again.tar")]) == 0
    assert operator.manifest(here) == Layout(folder / "again.tar").manifest(here)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_it_is_small_and_holds_no_tools(operator, architecture):
    """No shell, compiler or package tool; no file gives rights; everything is root's, and nobody else may write."""
    size = sum(entry["size"] for entry in operator.manifest(architecture)["layers"])
    assert size < MEGABYTES * 1e6
    found = operator.entries(architecture)
    programs = {Path(name).name for name, entry in found.items() if entry.isreg() and entry.mode & 0o111}
    assert not programs & set(SHELLS)
    assert {(0, 0)} == {(entry.uid, entry.gid) for entry in found.values()}
    assert [name for name, entry in found.items() if not entry.issym() and entry.mode & 0o7022] == ["tmp"]
    assert not [name for name, entry in found.items() if not (entry.isreg() or entry.isdir() or entry.issym())]


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_everything_is_compiled_and_for_this_architecture(operator, architecture):
    """Each module is compiled ahead, since nothing can be written when it runs; libraries are of the architecture."""
    found = operator.entries(architecture)
    for module in ("opt/openscale-byok/openscale_byok/shell/app", "usr/lib/python3.11/asyncio/tasks"):
        folder, name = module.rsplit("/", 1)
        assert f"{folder}/__pycache__/{name}.cpython-311.pyc" in found
    machine = {"amd64": 62, "arm64": 183}[architecture]  # e_machine of the ELF header
    for tar in operator.tars(architecture):
        for entry in tar:
            if entry.isreg() and re.search(r"\.so(\.[0-9.]+)?$", entry.name):
                raw = (tar.extractfile(entry) or io.BytesIO()).read(20)
                assert (entry.name, raw[:4], raw[18]) == (entry.name, b"\x7fELF", machine)


def test_it_runs_as_nobody_in_particular(operator):
    """A numeric user, as `runAsNonRoot` needs it; labels that say what it is."""
    said = operator.config("arm64")["config"]
    assert said["User"] == "65532:65532"
    assert said["Labels"]["org.opencontainers.image.version"] == __version__
    assert operator.top["annotations"]["io.containerd.image.name"].endswith(f"/openscale-byok:{__version__}")


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_bill_of_materials_names_everything(operator, folder, architecture):
    """Every locked wheel, ourselves, and Debian's packages are in the CycloneDX document, with their versions."""
    bill = json.loads((folder / f"operator.{architecture}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    purls = {part["purl"].split("?")[0].split("@")[0] for part in bill["components"]}
    locked = {name.lower() for name in WORD.findall((ROOT / "requirements/runtime.txt").read_text())}
    elsewhere = {"colorama", "pywin32", "pyreadline3"}  # locked for other systems
    assert not {f"pkg:pypi/{name}" for name in locked - elsewhere} - purls
    assert {"pkg:pypi/openscale-byok", "pkg:deb/debian/libssl3", "pkg:deb/debian/python3.11-minimal"} <= purls


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter another root folder")
@pytest.mark.parametrize(("name", "says"), [("operator", f"version {__version__}"), ("emulator", "0.")])
def test_it_starts(name, says, request, tmp_path):
    """The program starts in the image's own file system, as its user, where nothing can be written."""
    layout: Layout = request.getfixturevalue(name)
    here = request.getfixturevalue("emulator").config("")["architecture"]
    tmp_path.chmod(0o755)
    for tar in layout.tars(here):
        tar.extractall(tmp_path, filter="tar")
    said = layout.config(here)["config"]
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin") or "chroot"
    command = [chroot, f"--userspec={said['User']}", str(tmp_path), *said["Entrypoint"], "--version"]
    environ = dict(line.split("=", 1) for line in said["Env"])
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout


def test_the_dockerfile_says_the_same():
    """Whoever builds with an engine gets the same user, environment and command."""
    text = (ROOT / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM") :]
    assert "\nUSER 65532:65532\n" in last
    assert '\nENTRYPOINT ["python3", "-m", "openscale_byok"]\n' in last
    stated = dict(re.findall(r"(?:ENV |    )([A-Z_]+)=(\S+)", last))
    assert {name: value for name, value in ENVIRONMENT.items() if name != "PATH"} == stated
    assert "--require-hashes" in text


def test_a_build_that_cannot_be_says_why(tmp_path, capsys):
    """A base that is none ends the build with one sentence and exit code 1."""
    (tmp_path / "no.tar").write_bytes(b"")
    supported = sys.version_info[:2] == (3, 11)
    assert main(["operator", "--base", str(tmp_path / "no.tar"), "--output", str(tmp_path / "x.tar")]) == 1
    assert ("--base no.tar" if supported else "it must be 3.11") in capsys.readouterr().err
