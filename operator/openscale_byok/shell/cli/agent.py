"""`openscale-byok agent`: brings a data mart's credentials into a file, and keeps them there while they may be."""

import asyncio
import contextlib
import re
import resource
import sys
from dataclasses import replace
from pathlib import Path

import click

from openscale_byok.shell import logs
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.targets import SHAPE, Manner, WrongTarget, check, parse
from openscale_byok.shell.cli.verb import FAILED, expect_known_variables

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ONCE_INTERVAL = 2.0
MODES = ("0600", "0640", "0400", "0440")


def _url(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.:\[\]-]+/?", value):
        raise click.BadParameter("must be https://HOST[:PORT], without a path")
    return value.rstrip("/")


def _prefix(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise click.BadParameter("must be the beginning of a variable's name: letters, digits and _")
    return value


@click.command(context_settings={"auto_envvar_prefix": "OPENSCALE_BYOK_AGENT"})
@click.option("--url", required=True, callback=_url, help="The gateway: https://HOST[:PORT].")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    help="PEM file of the authority of the gateway's certificate, read again when it changes. "
    "Without it: the authorities that this machine trusts.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    default=Path("/var/run/secrets/openscale-byok/token"),
    show_default=True,
    help="ServiceAccount token made for the gateway's audience, read again for each question.",
)
@click.option("--target", "targets", multiple=True, required=True, envvar="OPENSCALE_BYOK_AGENT_TARGETS",
              metavar=SHAPE, help="Which data mart goes into which file; may be given several times.")  # fmt: skip
@click.option("--namespace", help="Namespace of targets that name none; else the pod's own.")
@click.option(
    "--format", "format_", type=click.Choice([one.value for one in Format]), default=Format.JSON.value,
    show_default=True, envvar="OPENSCALE_BYOK_AGENT_FORMAT", help="Format of targets that name none.",
)  # fmt: skip
@click.option("--mode", type=click.Choice(MODES), default="0600", show_default=True, help="Permissions of the files.")
@click.option("--env-prefix", default="DB_", show_default=True, callback=_prefix, help="Of the variables in env files.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3_600), default=15.0, show_default=True,
    help="Seconds between two questions, give or take a tenth.",
)  # fmt: skip
@click.option(
    "--keep-seconds", type=click.FloatRange(0, 604_800), default=3_600.0, show_default=True,
    help="How long a file stays after the last good answer, while the gateway does not answer. 0: as long as it takes.",
)  # fmt: skip
@click.option(
    "--timeout-seconds", type=click.FloatRange(0.1, 60), default=10.0, show_default=True, help="For one question."
)
@click.option("--once", is_flag=True, help="End when every file is there, as an init container does.")
@click.option(
    "--wait-seconds", type=click.FloatRange(0.1, 86_400), default=120.0, show_default=True,
    help="With --once: how long to wait for the files.",
)  # fmt: skip
@click.option(
    "--remove-at-end/--keep-at-end", default=True, show_default=True, help="Whether SIGTERM takes the files away."
)
@click.option("--require-memory", is_flag=True, help="Refuse to write to a folder that is not in memory.")
@click.option(
    "--health-port", type=click.IntRange(0, 65_535), default=0, show_default=True,
    help="Port of /livez and /readyz, without TLS; 0: none.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True, help="Of lines of the log."
)
def agent(
    *, url: str, ca_file: Path | None, token_file: Path, targets: tuple[str, ...], namespace: str | None, format_: str,
    mode: str, env_prefix: str, interval: float, keep_seconds: float, timeout_seconds: float, once: bool,
    wait_seconds: float, remove_at_end: bool, require_memory: bool, health_port: int, log_format: logs.Format,
) -> None:  # fmt: skip
    """Keep data marts' credentials in files, as fresh as the gateway has them, and gone when it refuses them.

    Each option may be given as OPENSCALE_BYOK_AGENT_… instead; see docs/agent.md.
    """
    from openscale_byok.shell.agent.asking import Door
    from openscale_byok.shell.agent.run import Failed, Options, run

    expect_known_variables()
    try:
        where = namespace or _own_namespace()
        found = tuple(parse(one, format_=Format(format_), namespace=where) for one in targets)
        manner = Manner(interval, keep_seconds, int(mode, 8), env_prefix)
        check(found, manner)
        if once:  # a pod that starts waits for it
            manner = replace(manner, interval=min(interval, ONCE_INTERVAL))
    except WrongTarget as error:
        raise click.UsageError(str(error)) from None
    options = Options(
        Door(url, ca_file, token_file, timeout_seconds),
        found,
        manner,
        once_seconds=wait_seconds if once else None,
        remove_at_end=remove_at_end,
        require_memory=require_memory,
        health_port=health_port,
    )
    logs.configure("info", log_format)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold passwords
    try:
        asyncio.run(run(options))
    except Failed as error:
        click.echo(f"openscale-byok agent: {error}", err=True)
        sys.exit(FAILED)


def _own_namespace() -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return NAMESPACE_FILE.read_text(encoding="ascii").strip()
    return None
