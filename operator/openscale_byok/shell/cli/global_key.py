"""`openscale-byok global-key`: rotate, export, import, verify, remove; with the rights of whoever runs it.

Each command changes the Secret by one compare-and-swap at a time and prints names of versions, never a key.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from openscale_byok.adapters.audit_lines import STANDARD
from openscale_byok.adapters.global_key import SecretStore, new_version
from openscale_byok.core.audit import Action
from openscale_byok.core.global_check import Check, check, leaving
from openscale_byok.core.global_names import of_datamart, of_instance
from openscale_byok.crypto.global_versions import CURRENT, LEAVING, Versions, keys_in, named_current, parse
from openscale_byok.errors import ByokError, Changed, Missing, Refused
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance
from openscale_byok.shell.cli import global_key_file
from openscale_byok.shell.cli.audited_command import CommandAudit, command
from openscale_byok.shell.settings import Settings

SHORTEST_PASSPHRASE = 12
NAMED_AT_ONCE = 10
Read = tuple[str, Mapping[str, bytes]]
"""A Secret as it was read: its resourceVersion and its values."""


class Store(SecretStore, Protocol):
    """What the commands need of the cluster."""

    async def write_secret(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, bytes | None]
    ) -> None:
        """Merge values into the Secret if it is still as it was read; `Changed` where it is not."""
        ...

    async def whoami(self) -> str:
        """The user name that the API server knows us by."""
        ...

    async def instances(self) -> Listing[OpenScaleInstance]:
        """Every instance of the cluster."""
        ...

    async def every_datamart(self) -> Listing[DataMart]:
        """Every data mart of the cluster."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Store]]


@dataclass(frozen=True, slots=True)
class Place:
    """The Secret, and the way to it."""

    connect: Connect
    namespace: str
    name: str
    audit: CommandAudit

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    async def read(self, store: Store) -> Read:
        """Read the Secret.

        Raises:
            Refused: it is not there.
        """
        try:
            source = await store.read(self.namespace, self.name)
        except Missing:
            text = f"{self} does not exist; bring it back with: openscale-byok global-key import FILE"
            raise Refused(Reason.GLOBAL_KEY_VERSION_MISSING, text) from None
        return source.resource_version, source.values

    async def write(self, store: Store, read: Read, values: Mapping[str, bytes | None]) -> None:
        """Change the Secret that was read.

        Raises:
            Refused: it changed meanwhile.
        """
        try:
            await store.write_secret(self.namespace, self.name, read[0], values)
        except Changed:
            raise Refused(Reason.CHANGED_MEANWHILE, f"{self} changed meanwhile; nothing was done: try again") from None


@click.group("global-key")
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
def rotate(place: Place) -> None:
    """Append a new version and make it the one that wraps."""
    _run(place, Action.GLOBAL_KEY_ROTATED, lambda store: _rotate(place, store))


@global_key.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@click.pass_obj
def export(place: Place, file: Path, passphrase_file: Path | None) -> None:
    """Write every version to a new FILE, sealed under a passphrase, for a safe."""
    phrase = _ask(passphrase_file, confirm=True)
    _run(place, Action.GLOBAL_KEY_EXPORTED, lambda store: _export(place, store, file, phrase))


@global_key.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@passphrase_option
@click.pass_obj
def import_(place: Place, file: Path, passphrase_file: Path | None) -> None:
    """Add the versions of a FILE that the Secret lacks; make the Secret where there is none."""
    phrase = _ask(passphrase_file, confirm=False)
    _run(place, Action.GLOBAL_KEY_IMPORTED, lambda store: _import(place, store, file, phrase))


@global_key.command()
@click.pass_obj
def verify(place: Place) -> None:
    """Look whether everything that names a version opens, and which versions may go."""
    _run(place, Action.GLOBAL_KEY_VERIFIED, lambda store: _verify(place, store))


@global_key.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("version")  # which may begin with a dash
@click.pass_obj
def remove(place: Place, version: str) -> None:
    """Remove a VERSION (its first characters are enough) that nothing names and that does not wrap."""
    _run(place, Action.GLOBAL_KEY_REMOVED, lambda store: _remove(place, store, version))


# What they do -----------------------------------------------------------------------------------------------


async def _rotate(place: Place, store: Store) -> bool:
    read = await place.read(store)
    former = parse(read[1]).current
    version, raw = new_version()
    await place.write(store, read, {version: raw, CURRENT: version.encode("ascii")})
    click.echo(f"{place}: version {version} wraps from now on; {former[:8]} opens what it wrapped.")
    click.echo(
        "At its next look the operator makes a new data key for each instance under the global key and re-encrypts\n"
        "its secrets. Export the key again now. Once `openscale-byok global-key verify` says that nothing names\n"
        f"{former[:8]} any more: openscale-byok global-key remove {former[:8]}"
    )
    return True


async def _export(place: Place, store: Store, file: Path, phrase: str) -> bool:
    versions = parse((await place.read(store))[1])
    try:
        global_key_file.write(file, versions, phrase)
    except FileExistsError:
        raise Refused(Reason.CONFLICT, f"{file} exists, and is left as it is: name another file") from None
    click.echo(f"{file}: {_count(versions.keys)} of the global key, current {versions.current}")
    click.echo("Keep it and its passphrase in different places, apart from the backups of the cluster.")
    return True


async def _import(place: Place, store: Store, file: Path, phrase: str) -> bool:
    brought = global_key_file.read(file, phrase)
    current = brought.current.encode("ascii")
    try:
        source = await store.read(place.namespace, place.name)
    except Missing:
        await store.create_secret(place.namespace, place.name, {**brought.keys, CURRENT: current})
        click.echo(f"{place}: made, with {_count(brought.keys)}; {brought.current[:8]} wraps")
        return True
    there = keys_in(source.values)
    added: dict[str, bytes | None] = {name: raw for name, raw in brought.keys.items() if name not in there}
    if not named_current(source.values):
        added[CURRENT] = current
    if added:
        await place.write(store, (source.resource_version, source.values), added)
    versions = parse((await place.read(store))[1])
    click.echo(f"{place}: {_count(added.keys() - {CURRENT})} added, there now: {len(versions.keys)}")
    click.echo(f"{versions.current[:8]} wraps")
    return True


async def _verify(place: Place, store: Store) -> bool:
    try:
        values = (await store.read(place.namespace, place.name)).values
        versions = parse(values)
        click.echo(f"{place}: every version is what its name commits to")
    except Missing:
        values, versions = {}, Versions("", {})
        click.echo(f"{place} does not exist")
    found = await _check(store, versions)
    for version, by in sorted(found.named.items()):
        wraps = " (wraps)" if version == versions.current else ""
        click.echo(f"version {version}{wraps}: named by {_some(by)}")
    for crn, by in sorted(found.elsewhere.items()):
        click.echo(f"in Key Protect, not looked into: {crn}: named by {_some(by)}")
    for version in leaving(values):
        click.echo(f"leaving: {version}: its removal was begun; end it: openscale-byok global-key remove {version[:8]}")
    for version in found.free:
        click.echo(f"may go: openscale-byok global-key remove {version[:8]}")
    for version, by in sorted(found.missing.items()):
        click.echo(f"MISSING: version {version}: named by {_some(by)}: import it from an export", err=True)
    for text in found.broken:
        click.echo(f"BROKEN: {text}", err=True)
    return found.well


async def _remove(place: Place, store: Store, prefix: str) -> bool:
    """Set a version aside first, look again, and only then drop it.

    Whoever has recorded a data key under it unwraps that once more before the first use. So either the second look
    here sees the record, or that unwrap sees the version gone; and after a crash in the middle it is still there.
    """
    read = await place.read(store)
    versions = parse(read[1])
    version = _one(prefix, {*versions.keys, *leaving(read[1])})
    aside, raw = LEAVING + version, versions.keys.get(version) or read[1].get(LEAVING + version, b"")
    if version == versions.current:
        raise Refused(Reason.CONFLICT, f"version {version[:8]} wraps: rotate first")
    if version in versions.keys:
        _free(version, await _check(store, versions))
        await place.write(store, read, {version: None, aside: raw})
    read = await place.read(store)
    try:
        _free(version, await _check(store, parse(read[1])))
    except Refused:
        await place.write(store, read, {version: raw, aside: None})
        raise
    await place.write(store, read, {aside: None})
    click.echo(f"{place}: version {version} is removed. Exports that hold it are not changed.")
    return True


async def _check(store: Store, versions: Versions) -> Check:
    # Envelopes first: what an envelope names then and properties no longer name was not named by both meanwhile.
    marts, instances = await store.every_datamart(), await store.instances()
    namings = [naming for instance in instances.items for naming in of_instance(instance)]
    namings += filter(None, map(of_datamart, marts.items))
    ids = {instance.key: instance.spec.service_instance_id for instance in instances.items}
    return check(versions, namings, ids, (*instances.unreadable, *marts.unreadable))


def _free(version: str, found: Check) -> None:
    by = found.named.get(version) or found.missing.get(version)
    if by:
        text = f"version {version[:8]} stays: named by {_some(by)}. See `openscale-byok global-key verify`"
        raise Refused(Reason.STILL_NEEDED, text)
    if found.broken:
        text = f"version {version[:8]} stays: what cannot be read may name it: {found.broken[0]}"
        raise Refused(Reason.STILL_NEEDED, text)


def _one(prefix: str, versions: set[str]) -> str:
    found = [version for version in versions if prefix and version.startswith(prefix)]
    if len(found) != 1:
        text = "no version begins" if not found else f"{len(found)} versions begin"
        raise Refused(Reason.CONFLICT, f"{text} with {prefix!r}; `openscale-byok global-key verify` lists them")
    return found[0]


def _count(versions: Collection[str]) -> str:
    return f"{len(versions)} version{'' if len(versions) == 1 else 's'}"


def _some(by: list[str]) -> str:
    if not by:
        return "nothing"
    names = sorted(set(by))
    more = f" and {len(names) - NAMED_AT_ONCE} more" if len(names) > NAMED_AT_ONCE else ""
    return ", ".join(names[:NAMED_AT_ONCE]) + more


def _ask(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        phrase = (file.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[0]
    else:
        phrase = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    if confirm and len(phrase) < SHORTEST_PASSPHRASE:
        raise click.UsageError(f"the passphrase must have {SHORTEST_PASSPHRASE} characters or more")
    return str(phrase)


def _run(place: Place, action: Action, work: Callable[[Store], Awaitable[bool]]) -> None:
    async def connected() -> bool:
        async with place.connect() as store:
            event = command(action, place.namespace, place.name)
            return await place.audit.between(event, store, lambda: work(store))

    try:
        well = asyncio.run(connected())
    except ByokError as error:
        if error.reason is Reason.SECRET_FORBIDDEN:
            click.echo(f"you may not get, create or patch {place}, as this needs", err=True)
            sys.exit(1)
        click.echo(f"{error.reason.value}: {error.message}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"{error.filename}: {error.strerror}", err=True)
        sys.exit(1)
    sys.exit(0 if well else 1)
