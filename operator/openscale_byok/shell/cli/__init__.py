"""The command line: ``openscale-byok``. Its exit codes are those of `verb`; docs/cli.md has them as a table."""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from openscale_byok import __version__
from openscale_byok.errors import ByokError
from openscale_byok.shell.cli.agent import agent
from openscale_byok.shell.cli.audit import audit
from openscale_byok.shell.cli.crds import crds
from openscale_byok.shell.cli.global_key import global_key
from openscale_byok.shell.cli.variables import variables
from openscale_byok.shell.cli.verb import FAILED, WRONG_USAGE, Verbs
from openscale_byok.shell.environment import PREFIX, unknown

if TYPE_CHECKING:
    from openscale_byok.shell.settings import Settings

S = TypeVar("S", bound="Settings")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openscale-byok")
def main() -> None:
    """Hold the key to everything an IBM Watson OpenScale instance stores."""


main.add_command(audit)
main.add_command(agent)
main.add_command(crds)
main.add_command(global_key)


@main.command(cls=click.Command)
def run() -> None:
    """Run the operator. Settings come from the environment: OPENSCALE_BYOK_… (see docs/settings.md)."""
    from openscale_byok.shell import app
    from openscale_byok.shell.settings import OperatorSettings

    _serve(OperatorSettings, app.run)


@main.command(cls=click.Command)
def gateway() -> None:
    """Run the gateway. Settings come from the environment: OPENSCALE_BYOK_… (see docs/settings.md)."""
    from openscale_byok.shell.gateway import app
    from openscale_byok.shell.gateway.settings import GatewaySettings

    _serve(GatewaySettings, app.run)


def _serve(kind: "type[S]", work: "Callable[[S], Coroutine[Any, Any, None]]") -> None:
    """Read the settings, and work until the end."""
    from openscale_byok.engine.context import log
    from openscale_byok.engine.scope import WentBack
    from openscale_byok.shell import logs

    settings = _settings(kind)
    logs.configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(work(settings))
    except ByokError as error:
        log.error("refusing to run", reason=error.reason.value, message=error.message)
        sys.exit(FAILED)
    except WentBack:
        sys.exit(FAILED)  # it is logged already; Kubernetes starts the container again
    except Exception as error:  # noqa: BLE001 -- its text and traceback may quote anything: where it was raised is told
        raised = traceback.extract_tb(error.__traceback__)[-1]
        log.error("unexpected", error=type(error).__name__, where=f"{Path(raised.filename).name}:{raised.lineno}")
        sys.exit(FAILED)


def _settings(kind: "type[S]") -> "S":
    """The settings; the end of the process, with a line for each that is wrong or unknown, where they are not right."""
    from openscale_byok.engine.context import log
    from openscale_byok.shell import logs

    wrong = unknown(os.environ, variables())
    try:
        settings = kind()
    except ValidationError as error:
        for found in error.errors(include_input=False, include_url=False, include_context=False):
            name = PREFIX + "_".join(str(part) for part in found["loc"]).upper()
            wrong[name] = found["msg"].removeprefix("Value error, ")
    else:
        if not wrong:
            return settings
    # What these are to be is one of the settings; the format may be right all the same.
    logs.configure("info", "text" if os.environ.get(f"{PREFIX}LOG_FORMAT") == "text" else "json")
    for name, message in wrong.items():
        log.error("wrong setting", setting=name, message=message)
    sys.exit(WRONG_USAGE)
