"""What every command has: its help, results on standard output as text or JSON, and one table of exit codes.

Messages about what went wrong go to standard error as text, or into the JSON; the audit has a stream of its own.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from openscale_byok.errors import ByokError
from openscale_byok.shell.environment import unknown

OK, FAILED, WRONG_USAGE, NOT_WELL = range(4)
"""Exit codes: done, and well; refused or failed; nothing was tried; done, and what was looked at is not well."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command has done or found."""

    fields: Mapping[str, Any]
    """As JSON."""
    lines: tuple[str, ...]
    """As text."""
    well: bool = True
    """Whether nothing is left for anybody to do."""
    done: bool = True
    """Whether it did what it is for, as the audit tells it."""
    bare: bool = False
    """The fields are a document of their own."""


class Verb(click.Command):
    """A command whose function gives a `Result`, or raises."""

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 -- click's own
        super().__init__(*args, **more)
        choice = click.Choice(["text", "json"])
        self.params.append(
            click.Option(["--output"], type=choice, default="text", show_default=True, help="How results are printed.")
        )

    def invoke(self, ctx: click.Context) -> None:
        """Do it, print what came of it, and end with its exit code."""
        as_json = ctx.params.pop("output") == "json"
        expect_known_variables()
        try:
            result = super().invoke(ctx)
        except ByokError as error:
            ctx.exit(_failed(error.message, error.reason.value, as_json=as_json))
        except OSError as error:
            ctx.exit(_failed(f"{error.filename}: {error.strerror}", "", as_json=as_json))
        if as_json:
            outcome = {} if result.bare else {"outcome": "success" if result.well else "incomplete"}
            click.echo(json.dumps(outcome | dict(result.fields), indent=None if not result.bare else 2))
        else:
            click.echo("\n".join(result.lines))
        ctx.exit(OK if result.well else NOT_WELL)


class DashedVerb(Verb):
    """One whose argument may begin with a dash, so that no letter after it is an option; but `-h` alone is."""

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 -- click's own
        settings = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
        super().__init__(*args, context_settings=settings, **more)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        return super().parse_args(ctx, ["--help" if one == "-h" else one for one in args])


class Verbs(click.Group):
    """A group of them."""

    command_class = Verb
    group_class = type


def expect_known_variables() -> None:
    """A variable with our prefix that nobody reads is wrong usage.

    Raises:
        UsageError: there is one; each is named, and none shown.
    """
    from openscale_byok.shell.cli.variables import variables

    found = unknown(os.environ, variables())
    if found:
        raise click.UsageError("; ".join(f"{name}: {said}" for name, said in found.items()))


def _failed(message: str, reason: str, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"outcome": "failure", "reason": reason, "message": message}))
    else:
        click.echo(f"{reason}: {message}" if reason else message, err=True)
    return FAILED
