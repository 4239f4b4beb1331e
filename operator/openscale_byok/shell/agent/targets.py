"""Which data mart goes into which file, as what; and how the agent is to behave."""

import re
from dataclasses import dataclass
from pathlib import Path

from openscale_byok.shell.agent.formats import Format

_NAME = r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?"
_TARGET = re.compile(rf"(?:(?P<format>[a-z]+):)?(?:(?P<namespace>{_NAME})/)?(?P<name>{_NAME})=(?P<file>.+)", re.DOTALL)
SHAPE = "[FORMAT:][NAMESPACE/]DATAMART=FILE"


class WrongTarget(ValueError):
    """A target that is none. The message says what is wrong and what helps."""


@dataclass(frozen=True, slots=True)
class Target:
    """One data mart in one file."""

    namespace: str
    name: str
    file: Path
    format: Format

    @property
    def path(self) -> str:
        """The path of its credentials at the gateway. Names need no escaping: `parse` lets none through that does."""
        return f"/v1/namespaces/{self.namespace}/datamarts/{self.name}/credentials"

    @property
    def ca_file(self) -> Path:
        """Where the data mart's own certificate authority goes, for formats that can only name a file."""
        return self.file.with_name(self.file.name + ".ca.crt")

    @property
    def files(self) -> tuple[Path, ...]:
        """What the agent writes, and so may remove; the secret first."""
        return (self.file, self.ca_file) if self.format is Format.SERVICE else (self.file,)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Manner:
    """How often to look, and how long a file may stay."""

    interval: float
    """Seconds between two looks."""
    keep: float
    """Seconds that a file stays after the last good answer; 0: as long as nobody says no."""
    mode: int
    """Permissions of a file."""
    prefix: str
    """Of the variables in an env file."""


def parse(text: str, *, format_: Format, namespace: str | None) -> Target:
    """A target as it is written on the command line.

    Args:
        text: ``[FORMAT:][NAMESPACE/]DATAMART=FILE``.
        format_: where it names none.
        namespace: where it names none; the pod's own, if that is known.

    Raises:
        WrongTarget: it is none.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise WrongTarget(f"{text!r} is not {SHAPE}")
    kind = found["format"] or format_.value
    if kind not in set(Format):
        raise WrongTarget(f"{text!r}: there is no format {kind!r}; there are {', '.join(Format)}")
    where = found["namespace"] or namespace
    if not where:
        raise WrongTarget(f"{text!r} names no namespace, and the pod's own is not known: set --namespace")
    return Target(where, found["name"], Path(found["file"]).absolute(), Format(kind))


def check(targets: tuple[Target, ...], manner: Manner) -> None:
    """Whether these go together.

    Raises:
        WrongTarget: two want the same file, libpq would not read one, or each would go before it is looked at again.
    """
    if 0 < manner.keep < 2 * manner.interval:
        raise WrongTarget("--keep-seconds must be 0, or at least twice --interval")
    files = [file for target in targets for file in target.files]
    for file in files:
        if files.count(file) > 1:
            raise WrongTarget(f"{file} is the file of two targets: give each a file of its own")
    for target in targets:
        if target.format is Format.PGPASS and manner.mode & 0o077:
            text = "libpq reads no password file that others may read: use --mode 0600 and one user for agent and"
            raise WrongTarget(f"{target.file}: {text} workload, or another format")
