"""`openscale-byok global-key`: what each command does to the Secret, what it refuses, and that it shows no key."""

import base64
import json
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner, Result
from jwcrypto import jwa, jwe, jwk

from openscale_byok.adapters.global_key import generate_values
from openscale_byok.core.source import Source
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Context, Endpoint, Wrapped
from openscale_byok.crypto.global_versions import CURRENT, LEAVING, named_current, parse, stamp
from openscale_byok.errors import Changed, Missing, Unavailable
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL, DataMart, OpenScaleInstance
from openscale_byok.shell.cli import main

GUID = "0a1b2c3d-0000-4000-8000-000000000001"
PHRASE = "correct horse battery staple"
WHEN = "2026-11-23T00:00:00Z"
ENDPOINT = Endpoint("PostgreSQL", "h", 5432, "d", "u")
CRN = f"crn:v1:bluemix:public:kms:us-south:a/{'0' * 32}:{GUID}:key:{GUID}"


@dataclass
class Store:
    """The port, in memory: one Secret, and what names its versions."""

    values: dict[str, bytes] | None = None
    resource_version: int = 1
    found: list[OpenScaleInstance] = field(default_factory=list)
    marts: list[DataMart] = field(default_factory=list)
    unreadable: tuple[str, ...] = ()
    before_write: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Store"]:
        yield self

    async def read(self, namespace: str, name: str) -> Source:
        if self.values is None:
            raise Missing(Reason.SECRET_NOT_FOUND, "none")
        return Source("u", str(self.resource_version), "Opaque", dict(self.values))

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        assert self.values is None
        self.values = dict(values)
        return await self.read(namespace, name)

    async def write_secret(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, bytes | None]
    ) -> None:
        self.before_write()
        if resource_version != str(self.resource_version):
            raise Changed(Reason.CHANGED_MEANWHILE, "another by now")
        merged = {**(self.values or {}), **values}
        self.values = {key: raw for key, raw in merged.items() if raw is not None}
        self.resource_version += 1

    async def whoami(self) -> str:
        return "alice"

    async def instances(self) -> Listing[OpenScaleInstance]:
        return Listing(1, tuple(self.found), self.unreadable)

    async def every_datamart(self) -> Listing[DataMart]:
        return Listing(1, tuple(self.marts))

    # What people do ---------------------------------------------------------------------------------------

    @property
    def current(self) -> str:
        return named_current(self.values or {})

    def run(self, *arguments: str, given: str | None = None) -> Result:
        """Run a command; it never shows a version's key, whatever form it has."""
        keys = [raw for name, raw in (self.values or {}).items() if name != CURRENT]
        result = CliRunner().invoke(main, ["global-key", *arguments], obj=self.connect, input=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        for raw in (*keys, *(raw for name, raw in (self.values or {}).items() if name != CURRENT)):
            for shown in (base64.b64encode(raw).decode().rstrip("="), raw.hex(), str(raw)[2:-1]):
                assert shown not in result.output
        assert PHRASE not in result.output
        return result

    def records(self, data_key: DataKey, *, wrapped: str = "", guid: str = GUID) -> str:
        """An instance that records a data key under the present version; its wrapped form."""
        wrapped = wrapped or parse(self.values or {}).wrap(data_key, ("openscale-byok", GUID), bytes(12))
        entry = {"id": data_key.id, "rootKey": GLOBAL, "rootKeyVersion": "v", "wrapped": wrapped}
        entry |= {"state": "Active", "createdTime": WHEN}
        raw = {"metadata": {"namespace": "n", "name": "prod"}, "spec": {"serviceInstanceId": guid}}
        self.found = [OpenScaleInstance.of(raw | {"status": {"properties": {"dataKeys": [entry]}}})]
        return wrapped

    def seals(self, data_key: DataKey, wrapped: str) -> None:
        """A data mart whose envelope carries this data key."""
        context = Context(GUID, "DataMart", "n", "m", "spec.database.password", ENDPOINT)
        text = envelopes.seal(b"secret", data_key, context, Wrapped(GLOBAL, wrapped), bytes(12))
        database = {"type": "PostgreSQL", "host": "h", "port": 5432, "name": "d", "schema": "s", "username": "u"}
        database["password"] = {"secretRef": {"name": "s", "key": "k"}}
        spec = {"instanceRef": {"name": "prod"}, "database": database}
        sealed = {"dataKey": data_key.id, "envelope": text, "sealedTime": WHEN}
        raw = {"metadata": {"namespace": "n", "name": "m"}, "spec": spec, "status": {"sealedPassword": sealed}}
        self.marts = [DataMart.of(raw)]


KEY, OTHER = DataKey(b"d" * 32), DataKey(b"e" * 32)


@pytest.fixture
def store() -> Store:
    """A Secret with one version, as the first start makes it."""
    return Store(generate_values())


@pytest.fixture
def phrase(tmp_path):
    """A file with the passphrase; its second line is not a part of it."""
    path = tmp_path / "phrase"
    path.write_text(f"{PHRASE}\nanything\n")
    return f"--passphrase-file={path}"


def rotated(store: Store) -> str:
    """Rotate; the former version."""
    former = store.current
    assert store.run("rotate").exit_code == 0
    return former


# rotate ---------------------------------------------------------------------------------------------------


def test_rotate_appends_and_makes_current_in_one_write(store):
    """The former version stays, the new one wraps, and it says what comes next."""
    former = store.current
    result = store.run("rotate")
    assert (result.exit_code, store.resource_version) == (0, 2)
    assert set(store.values) == {former, store.current, CURRENT}
    assert store.current != former
    for text in (store.current, f"remove {former[:8]}", "re-encrypts"):
        assert text in result.output


def test_rotate_that_loses_its_compare_and_swap_changes_nothing(store):
    """Two at once: the slower one does nothing, and says so."""
    before = dict(store.values)
    store.before_write = lambda: setattr(store, "resource_version", 7)
    result = store.run("rotate")
    assert result.exit_code == 1
    assert "try again" in result.output
    assert store.values == before


@pytest.mark.parametrize("command", [("rotate",), ("remove", "x"), ("export", "no-such-file")])
@pytest.mark.parametrize("values", [None, {"x": b"y" * 32}, {}], ids=["no Secret", "broken", "empty"])
def test_a_secret_that_is_not_well_is_refused(command, values, tmp_path, phrase):
    """Nothing is written to what cannot be read, and nothing is made up in its place."""
    store = Store(values)
    more = (phrase,) if command[0] == "export" else ()
    result = store.run(*(str(tmp_path / word) if word == "no-such-file" else word for word in command), *more)
    assert result.exit_code == 1
    assert store.values == values
    assert not (tmp_path / "no-such-file").exists()


# export, import -------------------------------------------------------------------------------------------


def test_an_export_brings_everything_back(store, tmp_path, phrase):
    """All versions, in a file for its owner alone, that shows nothing without the passphrase."""
    rotated(store)
    before, file = dict(store.values), tmp_path / "key"
    assert store.run("export", str(file), phrase).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    for name, raw in before.items():
        assert name not in text
        assert base64.b64encode(raw).decode() not in text
    store.values = None
    result = store.run("import", str(file), phrase)
    assert (result.exit_code, store.values) == (0, before)


def test_an_export_never_overwrites(store, tmp_path, phrase):
    """The file that is there may be the only copy of another key."""
    file = tmp_path / "key"
    file.write_text("mine")
    assert store.run("export", str(file), phrase).exit_code == 1
    assert file.read_text() == "mine"


def test_the_passphrase_is_asked_for_and_never_short(store, tmp_path):
    """Twice, for a new file; a short one is wrong usage."""
    file = tmp_path / "key"
    assert store.run("export", str(file), given="short\nshort\n").exit_code == 2
    assert not file.exists()
    assert store.run("export", str(file), given=f"{PHRASE}\n{PHRASE}\n").exit_code == 0
    assert store.run("import", str(file), given=f"{PHRASE}\n").exit_code == 0


def test_any_jose_library_opens_an_export(store, tmp_path, phrase, monkeypatch):
    """What is in the safe does not depend on this program: RFC 7518's own names, and JSON inside."""
    file = tmp_path / "key"
    store.run("export", str(file), phrase)
    monkeypatch.setattr(jwa, "default_max_pbkdf2_iterations", 1_000_000)  # the library's own setting
    token = jwe.JWE()
    token.allowed_algs = ["PBES2-HS512+A256KW", "A256GCM"]
    token.deserialize(file.read_text().strip(), key=jwk.JWK.from_password(PHRASE))
    found = json.loads(token.payload)
    assert (found["format"], found["current"]) == ("openscale-byok.global-key.v1", store.current)
    assert {name: base64.b64decode(text) for name, text in found["versions"].items()} == parse(store.values).keys


def test_an_import_adds_and_changes_nothing(store, tmp_path, phrase):
    """Versions that are there stay, the one that wraps stays the one that wraps."""
    file = tmp_path / "key"
    store.run("export", str(file), phrase)
    former = store.current
    store.values = generate_values()
    current, before = store.current, dict(store.values)
    assert store.run("import", str(file), phrase).exit_code == 0
    assert store.values == before | {former: store.values[former]}
    assert store.current == current
    version = store.resource_version
    assert store.run("import", str(file), phrase).exit_code == 0
    assert store.resource_version == version, "nothing to add, nothing written"


def test_an_import_mends_a_secret_that_does_not_say_what_wraps(store, tmp_path, phrase):
    """Disaster recovery: `current` is taken from the file only where the Secret has none."""
    file, current = tmp_path / "key", store.current
    store.run("export", str(file), phrase)
    store.values = {}
    assert store.run("import", str(file), phrase).exit_code == 0
    assert store.current == current


def test_an_import_never_overwrites_another_value(store, tmp_path, phrase):
    """A version that is not what its name commits to is a person's to take out, not ours."""
    file, current = tmp_path / "key", store.current
    store.run("export", str(file), phrase)
    store.values[current] = b"x" * 32
    before = dict(store.values)
    result = store.run("import", str(file), phrase)
    assert (result.exit_code, store.values) == (1, before)
    assert current[:8] in result.output


@pytest.mark.parametrize("damage", ["another passphrase", "one character", "cut", "something else", "p2c"])
def test_a_file_that_is_not_what_it_was_is_refused(store, tmp_path, phrase, damage):
    """Nothing of it is used."""
    file = tmp_path / "key"
    store.run("export", str(file), phrase)
    text = file.read_text()
    if damage == "another passphrase":
        phrase = phrase.replace("phrase", "other", 1)
        (tmp_path / "phrase").write_text("another pass phrase")
        phrase = f"--passphrase-file={tmp_path / 'phrase'}"
    header, _, rest = text.partition(".")
    huge = json.loads(base64.urlsafe_b64decode(header + "==")) | {"p2c": 10**12}
    endless = base64.urlsafe_b64encode(json.dumps(huge).encode()).decode().rstrip("=")
    flipped = "A" if text[-30] != "A" else "B"
    changed = {
        "one character": text[:-30] + flipped + text[-29:], "cut": text[:-40], "something else": "hello",
        "p2c": f"{endless}.{rest}",
    }  # fmt: skip
    file.write_text(changed.get(damage, text))
    store.values = None
    result = store.run("import", str(file), phrase)
    assert (result.exit_code, store.values) == (1, None)


def test_an_import_of_a_stale_export_says_what_is_missing_still(store, tmp_path, phrase):
    """An export from before the last rotation brings back half of it: exit code 3, the version, and what names it."""
    file = tmp_path / "key"
    store.run("export", str(file), phrase)
    rotated(store)
    missing = store.current
    store.records(KEY)
    store.values = None
    result = store.run("import", str(file), phrase)
    assert result.exit_code == 3
    assert f"MISSING: version {missing}: named by OpenScaleInstance n/prod" in result.stdout
    assert store.values is not None, "what the export has is there all the same"
    told = json.loads(store.run("import", "--output=json", str(file), phrase).stdout)
    assert (told["outcome"], told["missing"]) == ("incomplete", {missing: ["OpenScaleInstance n/prod"]})


@pytest.mark.parametrize(("error", "code"), [(Missing, 0), (Unavailable, 3)], ids=["no kinds yet", "no right"])
def test_an_import_that_cannot_look_says_so(store, tmp_path, phrase, error, code, monkeypatch):
    """Before the CRDs are there nothing names anything; where nobody may look, that is no word of it being well."""
    file = tmp_path / "key"
    store.run("export", str(file), phrase)

    async def refuse() -> Listing[OpenScaleInstance]:
        raise error(Reason.CLUSTER_UNAVAILABLE, "so it is")

    monkeypatch.setattr(store, "instances", refuse)
    result = store.run("import", str(file), phrase)
    assert (result.exit_code, "could not be seen: so it is" in result.stdout) == (code, bool(code))


# verify ---------------------------------------------------------------------------------------------------


def test_verify_says_what_names_what(store):
    """Each version with what names it; the former one may go once nothing does."""
    store.seals(KEY, store.records(KEY))
    former = rotated(store)
    result = store.run("verify")
    assert result.exit_code == 0
    assert f"version {former}: named by DataMart n/m, OpenScaleInstance n/prod" in result.output
    assert f"version {store.current} (wraps): named by nothing" in result.output
    assert "may go" not in result.output
    store.seals(OTHER, store.records(OTHER))
    result = store.run("verify")
    assert (result.exit_code, f"may go: openscale-byok global-key remove {former[:8]}" in result.output) == (0, True)


def broken_by(store: Store, how: str) -> None:
    """Something that verify must find."""
    wrapped = store.records(KEY)
    if how == "missing in properties":
        store.values = generate_values()
    elif how == "missing in an envelope":
        store.seals(KEY, wrapped)
        store.values = generate_values()
        store.records(OTHER)
    elif how == "bound to another instance":
        store.records(KEY, wrapped=wrapped, guid=GUID.replace("0a", "0b"))
    elif how == "another data key":
        store.records(OTHER, wrapped=wrapped)
    elif how == "nonsense":
        store.records(KEY, wrapped="nonsense")
    else:
        store.unreadable = ("OpenScaleInstance n/strange",)


TROUBLES = {
    "missing in properties": "MISSING: version", "missing in an envelope": "named by DataMart n/m",
    "bound to another instance": "BROKEN: OpenScaleInstance n/prod", "another data key": "another data key",
    "nonsense": "cannot be read", "unreadable": "BROKEN: OpenScaleInstance n/strange",
}  # fmt: skip


@pytest.mark.parametrize("how", TROUBLES)
def test_verify_finds_what_is_missing_or_broken(store, how):
    """Exit code 3, and by name: what names a version that is not there, and what does not open by one that is."""
    broken_by(store, how)
    result = store.run("verify")
    assert result.exit_code == 3
    assert TROUBLES[how] in result.stdout, "a result, and no message"


@pytest.mark.parametrize(("named", "code"), [(False, 0), (True, 3)], ids=["nothing named", "a version named"])
def test_verify_without_a_secret(store, named, code):
    """There may be none, where a key of Key Protect's is the global key; but not while anything names a version."""
    version = store.current
    store.records(KEY, wrapped="" if named else stamp(CRN, "c"))
    store.values = None
    result = store.run("verify")
    assert (result.exit_code, f"MISSING: version {version}" in result.output) == (code, named)
    assert "does not exist" in result.output


@pytest.mark.parametrize("values", [{}, {"x": b"y" * 32}], ids=["empty", "broken"])
def test_verify_of_a_broken_secret(values):
    """What cannot be read is not well."""
    assert Store(values).run("verify").exit_code == 1


def test_verify_leaves_key_protects_own_alone(store):
    """What a root key in Key Protect wrapped names no version of the Secret."""
    store.records(KEY, wrapped=stamp(CRN, "c"))
    result = store.run("verify")
    assert result.exit_code == 0
    assert f"{CRN}: named by OpenScaleInstance n/prod" in result.output


# remove ---------------------------------------------------------------------------------------------------


def test_remove_takes_what_nothing_names(store):
    """By its first characters; what wraps stays."""
    former = rotated(store)
    assert store.run("remove", former[:8]).exit_code == 0
    assert set(store.values) == {store.current, CURRENT}


@pytest.mark.parametrize("prefix", ["-", "--", "-h", "--h"])
def test_a_version_may_begin_with_a_dash(store, prefix):
    """A name is base64url: it is no option."""
    result = store.run("remove", f"{prefix}2qXIOmY")
    assert result.exit_code == 1
    assert "no version begins with" in result.output


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("verb", ["rotate", "export", "import", "verify", "remove"])
def test_who_asks_for_help_gets_help(store, verb, option):
    """And nothing is done, whatever the argument of a verb may look like."""
    before = dict(store.values)
    result = store.run(verb, option)
    assert (result.exit_code, store.values, store.resource_version) == (0, before, 1)
    assert result.stdout.startswith(f"Usage: main global-key {verb} [OPTIONS]")
    assert "--output [text|json]" in result.stdout


def test_as_json_each_result_is_one_document(store, tmp_path, phrase):
    """Whatever came of it: on standard output, with the outcome that the exit code has."""
    former, file = store.current, tmp_path / "key"
    said = json.loads(store.run("rotate", "--output=json").stdout)
    assert said == {"outcome": "success", "wraps": store.current, "former": former}
    said = json.loads(store.run("export", "--output=json", str(file), phrase).stdout)
    assert said["versions"] == sorted([former, store.current])
    said = json.loads(store.run("verify", "--output=json").stdout)
    assert (said["outcome"], said["mayGo"], said["missing"]) == ("success", [former], {})
    assert json.loads(store.run("remove", "--output=json", former).stdout) == {"outcome": "success", "removed": former}
    result = store.run("remove", "--output=json", store.current)
    failed = {"outcome": "failure", "reason": "Conflict", "message": f"version {store.current[:8]} wraps: rotate first"}
    assert (result.exit_code, json.loads(result.stdout)) == (1, failed)


def test_a_variable_that_nobody_reads_is_wrong_usage(store, monkeypatch):
    """A misspelt name would have the command work on another Secret than was meant."""
    monkeypatch.setenv("OPENSCALE_BYOK_GLOBAL_KEY_SECRETS", "c4n4ry")
    before = dict(store.values)
    result = store.run("rotate")
    assert (result.exit_code, store.values) == (2, before)
    assert "did you mean OPENSCALE_BYOK_GLOBAL_KEY_SECRET?" in result.output
    assert "c4n4ry" not in result.output
    assert store.run("rotate", "--help").exit_code == 0


@pytest.mark.parametrize("how", ["properties", "envelope", "unreadable", "wraps", "unknown", "ambiguous"])
def test_remove_is_refused(store, how):
    """While anything names it, or might; while it wraps; and where it is not clear which is meant."""
    wrapped = store.records(KEY)
    former = rotated(store)
    store.found = store.found if how == "properties" else []
    if how == "envelope":
        store.seals(KEY, wrapped)
    if how == "unreadable":
        store.unreadable = ("OpenScaleInstance n/strange",)
    before, version = dict(store.values), store.resource_version
    word = {"wraps": store.current, "unknown": "*", "ambiguous": ""}.get(how, former)
    result = store.run("remove", word)
    assert (result.exit_code, store.values, store.resource_version) == (1, before, version)


def test_remove_looks_again_once_the_version_is_set_aside(store):
    """An operator that was slow recorded a data key meanwhile: the version comes back, and nothing is lost."""
    wrapped = store.records(KEY)
    former = rotated(store)
    record, store.found = store.found, []
    before = dict(store.values)
    store.before_write = lambda: setattr(store, "found", record)
    result = store.run("remove", former)
    assert result.exit_code == 1
    assert "OpenScaleInstance n/prod" in result.output
    assert store.values == before
    assert parse(store.values).unwrap(wrapped, ("openscale-byok", GUID)) == KEY


@pytest.mark.parametrize("needed", [False, True], ids=["nothing names it", "something does"])
def test_a_removal_that_was_cut_off_is_ended_or_undone(store, needed):
    """The program died between its two looks: the version is still there, verify says so, and remove ends it."""
    store.records(KEY)
    former = rotated(store)
    store.found = store.found if needed else []
    raw = store.values.pop(former)
    store.values[LEAVING + former] = raw
    assert f"leaving: {former}" in store.run("verify").output
    assert store.run("remove", former).exit_code == int(needed)
    assert (store.values.get(former) == raw) is needed
    assert LEAVING + former not in store.values


def test_the_secret_is_the_one_that_is_named(monkeypatch):
    """By the operator's own settings, or by options."""
    monkeypatch.setenv("OPENSCALE_BYOK_NAMESPACE", "byok")
    assert "byok/mine" in Store().run("--secret=mine", "verify").output


# The audit ------------------------------------------------------------------------------------------------


def audited(path) -> list[tuple[str, str]]:
    """Action and outcome of each line."""
    return [(line["action"], line["outcome"]) for line in map(json.loads, path.read_text().splitlines())]


def test_each_command_is_audited_before_and_after(store, tmp_path, phrase):
    """Who, as the API server knows them, from which machine; in the file, and not among what the command prints."""
    path, file = tmp_path / "audit", tmp_path / "key"
    former = store.current
    commands = [("rotate",), ("export", str(file), phrase), ("import", str(file), phrase)]
    commands += [("verify",), ("remove", former[:8]), ("remove", "x")]
    for command in commands:
        result = store.run("--audit-file", str(path), *command)
        assert "typeURI" not in result.output
    names = ("rotate", "export", "import", "verify", "remove", "remove")
    outcomes = ["success"] * 5 + ["failure"]
    wanted = zip(names, outcomes, strict=True)
    assert audited(path) == [(f"globalkey/{name}", o) for name, end in wanted for o in ("pending", end)]
    line = json.loads(path.read_text().splitlines()[-1])
    assert (line["initiator"]["id"], line["initiator"]["by"]) == ("alice", "kubernetes")
    assert "@" in line["initiator"]["host"]["address"]
    assert line["target"] == {"kind": "Secret", "namespace": "openscale-byok", "name": "openscale-byok-global-key"}
    assert line["reason"] == {"reasonCode": "Conflict"}
    for raw in (*store.values.values(), PHRASE.encode()):
        assert base64.b64encode(raw).decode() not in path.read_text()
    assert PHRASE not in path.read_text()


def test_without_a_file_the_audit_is_on_standard_error(store, capfd):
    """Standard output stays the command's own."""
    result = store.run("rotate")
    assert result.exit_code == 0
    shown = capfd.readouterr()
    assert "typeURI" not in result.output + shown.out
    assert [json.loads(line)["outcome"] for line in shown.err.splitlines()] == ["pending", "success"]


@pytest.mark.parametrize("command", [("rotate",), ("export", "FILE"), ("remove", "x"), ("verify",)])
def test_what_cannot_be_audited_is_not_done(store, tmp_path, phrase, command):
    """A full disk: nothing is changed and nothing is exported."""
    before, file = dict(store.values), tmp_path / "key"
    more = (phrase,) if command[0] == "export" else ()
    result = store.run("--audit-file", "/dev/full", *(str(file) if w == "FILE" else w for w in command), *more)
    assert result.exit_code == 1
    assert "AuditUnavailable" in result.output
    assert store.values == before
    assert not file.exists()


def test_a_missing_second_line_is_said(store, tmp_path):
    """The rotation is done, and the command says so, and that it could not be told."""
    path = tmp_path / "audit"
    before = dict(store.values)

    def full() -> None:
        path.unlink()
        path.symlink_to("/dev/full")

    store.before_write = full
    result = store.run("--audit-file", str(path), "rotate")
    assert result.exit_code == 1
    assert "the command has ended: success" in result.output
    assert set(store.values) > set(before)
