"""The command line as an archive, for machines without a package index: locked wheels, ours, and a script."""

import shutil
from pathlib import Path

from image_builder import python_packages, sbom
from image_builder.debian import PYTHON
from image_builder.layer import layer
from image_builder.python_packages import PLACE, ROOT

_LAUNCHER = f"""\
#!/bin/sh
# Starts openscale-byok from beside this script, by a Python {PYTHON} of this machine. PYTHON=/path/to/it names another.
here=$(dirname "$(readlink -f "$0")")
python=${{PYTHON:-python{PYTHON}}}
if ! "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "{PYTHON}")' 2>/dev/null; then
    echo "openscale-byok: $python is no Python {PYTHON}; install one, or name it: PYTHON=/path/to/python{PYTHON}" >&2
    exit 1
fi
PYTHONPATH="$here/lib" PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 exec "$python" -m openscale_byok "$@"
"""


def build(architecture: str, version: str, scratch: Path, output: Path, *, time: int) -> list[Path]:
    """Install for an architecture, pack, and say what is in it.

    Returns:
        The archive and its bill of materials.

    Raises:
        BuildError: a wheel cannot be had for this architecture.
    """
    root = scratch / f"command-line-{architecture}"
    python_packages.dependencies(root, architecture)
    python_packages.ours(root, architecture, scratch, time=time)
    name = f"openscale-byok-cli-{version}-linux-{architecture}"
    bill = output / f"{name}.cdx.json"
    about = sbom.archive("openscale-byok-cli", version, architecture)
    bill.write_text(sbom.document(about, (), root / PLACE, time=time), encoding="utf-8")
    return [pack(root / PLACE, name, output, time=time), bill]


def pack(packages: Path, name: str, output: Path, *, time: int) -> Path:
    """An archive of a folder of installed packages: below one folder, with the script and the licence beside them."""
    stage = output / f".{name}"
    try:
        shutil.copytree(packages, stage / name / "lib", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "LICENSE", stage / name / "LICENSE")
        launcher = stage / name / "openscale-byok"
        launcher.write_text(_LAUNCHER, encoding="utf-8")
        launcher.chmod(0o755)
        packed = output / f"{name}.tar.gz"
        packed.write_bytes(layer(stage, "", time=time).raw)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return packed
