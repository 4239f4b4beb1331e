"""`openscale-byok global-key`: rotate, export, import, verify, remove; with the rights of whoever runs it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import click

from openscale_byok.adapters.audit_lines import STANDARD
from openscale_byok.core.audit import Action
from openscale_byok.errors import ByokError, Refused
from openscale_byok.reasons import Reason
from openscale_byok.shell.cli import global_key_work as work
from openscale_byok.shell.cli.audited_command import CommandAudit, command
from openscale_byok.shell.cli.global_key_place import Place, Store
from openscale_byok.shell.cli.verb import DashedVerb, Result, Verbs
from openscale_byok.shell.settings import Settings

SHORTEST_PASSPHRASE = 12


@click.group("global-key", cls=Verbs)
@click.option(
    "--namespace",
    envvar="OPENSCALE_BYOK_NAMESPACE",
    default=Settings.model_fields["namespace"].default,
    show_default=True,
    help="The operator's own namespace.",
)
@click.option(
    "--secret",
    envvar="OPENSCALE_BYOK_GLOBAL_KEY_SECRET",
    default=Settings.model_fields["global_key_secret"].default,
    show_default=True,
    help="Secret of the global key.",
)
@click.option(
    "--audit-file",
    envvar="OPENSCALE_BYOK_AUDIT_FILE",
    default=STANDARD,
    help="File that the audit of these commands is appended to; standard error where none is named.",
)
@click.option(
    "--audit-chain",
    envvar="OPENSCALE_BYOK_AUDIT_CHAIN",
    type=bool,
    default=False,
    help="Whether each line in it names the digest of the one before.",
)
@click.pass_context
def global_key(context: click.Context, namespace: str, secret: str, audit_file: str, audit_chain: bool) -> None:  # noqa: FBT001 -- click's
    """The global key in its Secret. Runs with your own rights: KUBECONFIG, or a pod's ServiceAccount."""
    context.obj = Place(context.obj or _cluster, namespace, secret, CommandAudit(audit_file, audit_chain))


def _cluster() -> AbstractAsyncContextManager[Store]:
    from openscale_byok.adapters.cluster import Cluster

    return Cluster.connect(connections=4)


passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File whose first line is the passphrase; asked for where it is not given.",
)


@global_key.command()
@click.pass_obj
def rotate(place: Place) -> Result:
    """Append a new version and make it the one that wraps."""
    return _run(place, Action.GLOBAL_KEY_ROTATED, lambda store: work.rotate(place, store))


@global_key.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@click.pass_obj
def export(place: Place, file: Path, passphrase_file: Path | None) -> Result:
    """Write every version to a new FILE, sealed under a passphrase, for a safe."""
    phrase = _ask(passphrase_file, confirm=True)
    return _run(place, Action.GLOBAL_KEY_EXPORTED, lambda store: work.export(place, store, file, phrase))


@global_key.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@passphrase_option
@click.pass_obj
def import_(place: Place, file: Path, passphrase_file: Path | None) -> Result:
    """Add the versions of a FILE that the Secret lacks; make the Secret where there is none.

    Exit code 3: a version that something names is still missing.
    """
    phrase = _ask(passphrase_file, confirm=False)
    return _run(place, Action.GLOBAL_KEY_IMPORTED, lambda store: work.import_(place, store, file, phrase))


@global_key.command()
@click.pass_obj
def verify(place: Place) -> Result:
    """Look whether everything that names a version opens, and which versions may go.

    Exit code 3: a version is missing, or something does not open.
    """
    return _run(place, Action.GLOBAL_KEY_VERIFIED, lambda store: work.verify(place, store))


@global_key.command(cls=DashedVerb)
@click.argument("version")  # which may begin with a dash
@click.pass_obj
def remove(place: Place, version: str) -> Result:
    """Remove a VERSION (its first characters are enough) that nothing names and that does not wrap."""
    return _run(place, Action.GLOBAL_KEY_REMOVED, lambda store: work.remove(place, store, version))


def _ask(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        phrase = (file.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[0]
    else:
        phrase = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    if confirm and len(phrase) < SHORTEST_PASSPHRASE:
        raise click.UsageError(f"the passphrase must have {SHORTEST_PASSPHRASE} characters or more")
    return str(phrase)


def _run(place: Place, action: Action, what: Callable[[Store], Awaitable[Result]]) -> Result:
    async def connected() -> Result:
        async with place.connect() as store:
            event = command(action, place.namespace, place.name)
            return await place.audit.between(event, store, lambda: what(store))

    try:
        return asyncio.run(connected())
    except ByokError as error:
        if error.reason is Reason.SECRET_FORBIDDEN:
            raise Refused(error.reason, f"you may not get, create or patch {place}, as this needs") from None
        raise
