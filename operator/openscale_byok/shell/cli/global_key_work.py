"""What the commands on the global key do: each changes the Secret, or looks; it tells names of versions, no keys."""

from collections.abc import Collection, Iterator
from pathlib import Path

from openscale_byok.adapters.global_key import new_version
from openscale_byok.core.global_check import Check, check, leaving
from openscale_byok.core.global_names import of_datamart, of_instance
from openscale_byok.crypto.global_versions import CURRENT, LEAVING, Versions, keys_in, named_current, parse
from openscale_byok.errors import ByokError, Missing, Refused
from openscale_byok.reasons import Reason
from openscale_byok.shell.cli import global_key_file
from openscale_byok.shell.cli.global_key_place import Place, Store
from openscale_byok.shell.cli.verb import Result

NAMED_AT_ONCE = 10


async def rotate(place: Place, store: Store) -> Result:
    """Append a new version and make it the one that wraps."""
    read = await place.read(store)
    former = parse(read[1]).current
    version, raw = new_version()
    await place.write(store, read, {version: raw, CURRENT: version.encode("ascii")})
    lines = (
        f"{place}: version {version} wraps from now on; {former[:8]} opens what it wrapped.",
        "At its next look the operator makes a new data key for each instance under the global key and re-encrypts",
        "its secrets. Export the key again now. Once `openscale-byok global-key verify` says that nothing names",
        f"{former[:8]} any more: openscale-byok global-key remove {former[:8]}",
    )
    return Result({"wraps": version, "former": former}, lines)


async def export(place: Place, store: Store, file: Path, phrase: str) -> Result:
    """Write every version to a new file, sealed under a passphrase."""
    versions = parse((await place.read(store))[1])
    try:
        global_key_file.write(file, versions, phrase)
    except FileExistsError:
        raise Refused(Reason.CONFLICT, f"{file} exists, and is left as it is: name another file") from None
    lines = (
        f"{file}: {_count(versions.keys)} of the global key, current {versions.current}",
        "Keep it and its passphrase in different places, apart from the backups of the cluster.",
    )
    return Result({"file": str(file), "versions": sorted(versions.keys), "wraps": versions.current}, lines)


async def import_(place: Place, store: Store, file: Path, phrase: str) -> Result:
    """Add the versions of a file that the Secret lacks; then look whether anything that is named is missing still."""
    brought = global_key_file.read(file, phrase)
    current = brought.current.encode("ascii")
    try:
        source = await store.read(place.namespace, place.name)
    except Missing:
        await store.create_secret(place.namespace, place.name, {**brought.keys, CURRENT: current})
        made = (f"{place}: made, with {_count(brought.keys)}; {brought.current[:8]} wraps",)
        return await _imported(store, brought, sorted(brought.keys), made)
    there = keys_in(source.values)
    added: dict[str, bytes | None] = {name: raw for name, raw in brought.keys.items() if name not in there}
    if not named_current(source.values):
        added[CURRENT] = current
    if added:
        await place.write(store, (source.resource_version, source.values), added)
    versions = parse((await place.read(store))[1])
    new = sorted(added.keys() - {CURRENT})
    said = (f"{place}: {_count(new)} added, there now: {len(versions.keys)}", f"{versions.current[:8]} wraps")
    return await _imported(store, versions, new, said)


async def _imported(store: Store, versions: Versions, added: list[str], said: tuple[str, ...]) -> Result:
    """What was imported, and what is missing still: an export that is older than the last rotation mends half of it."""
    fields = {"added": added, "versions": sorted(versions.keys), "wraps": versions.current}
    try:
        found = await _check(store, versions)
    except Missing:  # the API server does not serve our kinds (yet): nothing names anything
        return Result(fields | {"missing": {}}, said)
    except ByokError as error:
        text = f"Whether a version is still missing could not be seen: {error.message}"
        return Result(fields | {"missing": None, "message": text}, (*said, text), well=False)
    missing = tuple(_missing(found, "this export does not have it: import a newer one"))
    return Result(fields | {"missing": found.missing}, (*said, *missing), well=not found.missing)


async def verify(place: Place, store: Store) -> Result:
    """Look whether everything that names a version opens, and which versions may go."""
    try:
        values = (await store.read(place.namespace, place.name)).values
        versions = parse(values)
        lines = [f"{place}: every version is what its name commits to"]
    except Missing:
        values, versions = {}, Versions("", {})
        lines = [f"{place} does not exist"]
    found, begun = await _check(store, versions), leaving(values)
    for version, by in sorted(found.named.items()):
        wraps = " (wraps)" if version == versions.current else ""
        lines.append(f"version {version}{wraps}: named by {_some(by)}")
    lines += [
        f"in Key Protect, not looked into: {crn}: named by {_some(by)}" for crn, by in sorted(found.elsewhere.items())
    ]
    for version in begun:
        again = f"openscale-byok global-key remove {version[:8]}"
        lines.append(f"leaving: {version}: its removal was begun; end it: {again}")
    lines += [f"may go: openscale-byok global-key remove {version[:8]}" for version in found.free]
    lines += [*_missing(found, "import it from an export"), *(f"BROKEN: {text}" for text in found.broken)]
    fields = {"wraps": versions.current, "named": found.named, "elsewhere": found.elsewhere, "leaving": sorted(begun)}
    fields |= {"mayGo": found.free, "missing": found.missing, "broken": found.broken}
    return Result(fields, tuple(lines), well=found.well, done=found.well)


def _missing(found: Check, cure: str) -> Iterator[str]:
    return (
        f"MISSING: version {version}: named by {_some(by)}: {cure}" for version, by in sorted(found.missing.items())
    )


async def remove(place: Place, store: Store, prefix: str) -> Result:
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
    text = f"{place}: version {version} is removed. Exports that hold it are not changed."
    return Result({"removed": version}, (text,))


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
