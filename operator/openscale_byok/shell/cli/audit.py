"""`openscale-byok audit verify`: whether the lines of a chain are those that were written, all of them, in order."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from openscale_byok.core import audit_chain
from openscale_byok.core.audit_chain import Verified


def digest(text: str) -> str:
    """A SHA-256 in hexadecimal, as `verify` prints it."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text.strip()):
        raise ValueError
    return text.strip().lower()


@click.group()
def audit() -> None:
    """The audit lines of OPENSCALE_BYOK_AUDIT_FILE."""


@audit.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--expect", type=digest, help="A digest noted earlier: the line that has it must be there.")
@click.option("--after", type=digest, help="Digest of the line before the first, in a file not named here.")
@click.option(
    "--restarts", is_flag=True, help="Chains may begin in the middle, as each process does on a standard stream."
)
def verify(files: tuple[Path, ...], expect: str | None, after: str | None, restarts: bool) -> None:  # noqa: FBT001 -- click's
    """Look whether each line of FILES (the oldest first) names the one before it.

    Only a digest that was noted elsewhere shows that lines are missing at the end, or that all was written anew.
    """
    try:
        found = audit_chain.verify(_lines(files), after=after or "", expect=expect or "", restarts=restarts)
    except OSError as error:
        click.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(1)
    if found.fault is not None:
        click.echo(f"{_where(files, found.fault.line)}: {found.fault.text}", err=True)
        sys.exit(1)
    _well(files, found)


def _well(files: tuple[Path, ...], found: Verified) -> None:
    if not found.head.sequence:
        click.echo("no line of a chain is there", err=True)
        sys.exit(1)
    click.echo(f"OK: {found.lines} lines, head {found.head.digest}")
    if found.unchained:
        click.echo(f"{found.unchained} of them are no links of the chain (cut by a crash, or from before it began)")
    for line in found.began[1:]:
        click.echo(f"{_where(files, line)}: a new chain begins; whether lines are missing before it cannot be told")


def _lines(files: tuple[Path, ...]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from file


def _where(files: tuple[Path, ...], number: int) -> str:
    """A line's number over all files as its file and the number there."""
    for path in files:
        with path.open("rb") as file:
            here = sum(1 for _ in file)
        if number <= here or path is files[-1]:
            return f"{path}, line {number}"
        number -= here
    raise RuntimeError("there is at least one file")
