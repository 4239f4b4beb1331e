"""What benchmarks print, and where they leave it: a table for people, `.dev/bench.json` for the next tool."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE = Path(__file__).parents[1] / ".dev" / "bench.json"


def save(values: Mapping[str, float | int | str]) -> None:
    """Merge measured values into the file; each benchmark keeps to names of its own."""
    FILE.parent.mkdir(exist_ok=True)
    before = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.write_text(json.dumps(before | dict(values), indent=2, sort_keys=True) + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)
