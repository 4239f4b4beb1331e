"""A chart as a package: what `helm package` makes, but the same bytes each time."""

import shutil
import tempfile
from pathlib import Path

import yaml

from image_builder.layer import layer

_NOT_PACKED = shutil.ignore_patterns(".helmignore", ".*.swp", "*.tgz", "*~", "*.tmp")


def package(chart: Path, output: Path, *, time: int) -> Path:
    """Pack a chart below its name, as Helm reads it.

    Args:
        chart: the folder with its Chart.yaml.
        output: the folder to write to.
        time: of every file in it, in seconds since the epoch.
    """
    said = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    packed = output / f"{said['name']}-{said['version']}.tgz"
    with tempfile.TemporaryDirectory(prefix="chart-") as scratch:
        shutil.copytree(chart, Path(scratch) / said["name"], ignore=_NOT_PACKED)
        packed.write_bytes(layer(Path(scratch), "", time=time).raw)
    return packed
