"""`openscale-byok audit verify`: whether the lines of a chain are those that were written, all of them, in order."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from openscale_byok.core import audit_chain
from openscale_byok.core.audit_chain import Verified
from openscale_byok.shell.cli.verb import Result, Verbs


def digest(text: str) -> str:
    """A SHA-256 in hexadecimal, as `verify` prints it."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text.strip()):
        raise ValueError
    return text.strip().lower()


@click.group(cls=Verbs)
def audit() -> None:
    """The audit lines of OPENSCALE_BYOK_AUDIT_FILE."""


@audit.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--expect", type=digest, help="A digest noted earlier: the line that has it must be there.")
@click.option("--after", type=digest, help="Digest of the line before the first, in a file not named here.")
@click.option(
    "--restarts", is_flag=True, help="Chains may begin in the middle, as each process does on a standard stream."
)
def verify(files: tuple[Path, ...], expect: str | None, after: str | None, restarts: bool) -> Result:  # noqa: FBT001 -- click's
    """Look whether each line of FILES (the oldest first) names the one before it.

    Only a digest that was noted elsewhere shows that lines are missing at the end, or that all was written anew.
    """
    if not any(audit_chain.link_of(line) for line in _lines(files)):
        return _unchained(files)
    found = audit_chain.verify(_lines(files), after=after or "", expect=expect or "", restarts=restarts)
    if found.fault is not None:
        path, number = _where(files, found.fault.line)
        fields = {"file": str(path), "line": number, "message": found.fault.text}
        return Result(fields, (f"{path}, line {number}: {found.fault.text}",), well=False)
    return _well(files, found)


def _unchained(files: tuple[Path, ...]) -> Result:
    number = sum(1 for _ in _lines(files))
    text = "there is no line" if not number else f"of {number} lines none is a link of a chain: nothing can be verified"
    cure = "they were written without OPENSCALE_BYOK_AUDIT_CHAIN=true, or are no audit" if number else ""
    lines = (f"{', '.join(map(str, files))}: {text}", *([cure] if cure else []))
    return Result({"lines": number, "chained": 0, "message": text}, lines, well=False)


def _well(files: tuple[Path, ...], found: Verified) -> Result:
    lines = [f"OK: {found.lines} lines, head {found.head.digest}"]
    if found.unchained:
        lines.append(f"{found.unchained} of them are no links of the chain (cut by a crash, or from before it began)")
    began = [_where(files, line) for line in found.began[1:]]
    told = "a new chain begins; whether lines are missing before it cannot be told"
    lines += [f"{path}, line {number}: {told}" for path, number in began]
    places = [{"file": str(path), "line": number} for path, number in began]
    fields = {"lines": found.lines, "head": found.head.digest, "unchained": found.unchained, "began": places}
    return Result(fields, tuple(lines))


def _lines(files: tuple[Path, ...]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from file


def _where(files: tuple[Path, ...], number: int) -> tuple[Path, int]:
    """A line's number over all files as its file and the number there."""
    for path in files:
        with path.open("rb") as file:
            here = sum(1 for _ in file)
        if number <= here or path is files[-1]:
            return path, number
        number -= here
    raise RuntimeError("there is at least one file")
