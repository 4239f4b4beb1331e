"""A base of a few Debian packages: Python, what it links to, certificates. No shell, no package tool.

Packages are unpacked and none of their scripts runs, so those of another architecture unpack just as well. `apt-get`
checks their signatures and hashes, in folders of its own: nothing of this machine's packages is asked or changed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from image_builder.errors import BuildError
from image_builder.run import run

PYTHON = "3.11"
"""The Python of Debian 12."""
PACKAGES = (
    "base-files", "ca-certificates", "gcc-12-base", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1", "libffi8",
    "libgcc-s1", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib", "libssl3", "libuuid1", "media-types",
    "netbase", "python3.11-minimal", "tzdata", "zlib1g",
)  # fmt: skip
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
USER = 65532
_UNNEEDED = (
    "usr/share/doc-base", "usr/share/lintian", "usr/share/man", "usr/share/locale", "usr/share/python3",
    "usr/share/binfmts", "usr/share/bug", "usr/share/applications", "usr/share/pixmaps", "usr/share/base-files",
    "usr/lib/python3.11/lib2to3", "usr/lib/python3.11/ensurepip", "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/pydoc_data", "usr/lib/valgrind", "etc/init.d", "etc/dpkg", "etc/motd", "etc/update-motd.d",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """A package of Debian, as it was unpacked."""

    name: str
    version: str
    architecture: str


def base(root: Path, architecture: str, scratch: Path) -> tuple[Package, ...]:
    """Unpack the base into a folder.

    Args:
        root: a new folder.
        architecture: as Debian names it: amd64 or arm64.
        scratch: a folder for what is downloaded.

    Raises:
        BuildError: apt-get or dpkg-deb is not installed, or a package cannot be had.
    """
    found = _download(architecture, scratch)
    root.mkdir(parents=True)
    for archive in found:
        run(["dpkg-deb", "--extract", archive, root])
    for unneeded in _UNNEEDED:
        _remove(root / unneeded)
    for place in list((root / "usr/share/doc").rglob("*")):
        if place.is_file() and place.name != "copyright":
            place.unlink()
    _certificates(root)
    _users(root)
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to(f"python{PYTHON}")
    return tuple(_package(archive) for archive in found)


def _download(architecture: str, scratch: Path) -> list[Path]:
    state = scratch / f"apt-{architecture}"
    for place in ("lists/partial", "archives/partial", "packages"):
        (state / place).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",  # its own user could not write to these folders
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "--quiet", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    try:
        run([*apt, "update"])
        run([*apt, "download", *PACKAGES], folder=state / "packages")
    except BuildError as error:
        text = f"the base needs Debian 12's packages, by apt-get; or name another base with --base\n{error}"
        raise BuildError(text) from None
    return sorted((state / "packages").glob("*.deb"))


def _package(archive: Path) -> Package:
    lines = run(["dpkg-deb", "--show", "--showformat", "${Package}\n${Version}\n${Architecture}", archive])
    return Package(*lines.split("\n"))


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _certificates(root: Path) -> None:
    """What the package's script would make: one file of all of Mozilla's authorities."""
    sources = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    found = root / CERTIFICATES
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text("".join(source.read_text().rstrip("\n") + "\n" for source in sources))
    shutil.rmtree(root / "usr/share/ca-certificates")


def _users(root: Path) -> None:
    """Two users, as most images have them; programs ask for the name of the one that they run as."""
    lines = ("root:x:0:0:root:/:/usr/sbin/nologin", f"nonroot:x:{USER}:{USER}:nonroot:/tmp:/usr/sbin/nologin")
    (root / "etc/passwd").write_text("\n".join(lines) + "\n")
    (root / "etc/group").write_text(f"root:x:0:\nnonroot:x:{USER}:\n")
