"""What the agent writes reads back as exactly what it was given, or is refused by the field's name."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openscale_byok.shell.agent.credentials import Credentials, parse
from openscale_byok.shell.agent.formats import Format, Unfit, render

CANARY = "c4n4ry"
GIVEN = {
    "hostname": "db.example.com", "port": 5432, "db": "openscale", "username": "openscale", "password": "s3cr3t",
    "tls": "VerifyFull", "revision": 3, "schema": "scores", "type": "PostgreSQL",
}  # fmt: skip
EVERY_BYTE = "".join(map(chr, range(1, 0x250))) + "\u2028\ufeff\U0001f511"
HOSTILE = [
    "'", "''", "'; touch /tmp/x; '", '"$HOME`id`$(id)\\"', "\\", "\\\\'", "a\nb\n", "\r\n", " both ", "\t", "!x!", "*",
    "#x", "a:b\\c:", "-n", "=", "%s%n", EVERY_BYTE,
]  # fmt: skip


def made(**changes: object) -> Credentials:
    """Credentials."""
    return Credentials.model_validate(GIVEN | changes)


def written(kind: Format, **changes: object) -> bytes:
    """A file's content."""
    return render(kind, made(**changes), section="scores", prefix="DB_", ca_file="/run/db/f.ca.crt")


# Parsing -----------------------------------------------------------------------------------------------


def test_what_the_gateway_gives_is_read():
    """Every field of the contract, and nothing of what a later version adds."""
    found = parse(json.dumps(GIVEN | {"later": 1}).encode())
    assert found is not None
    assert found.given() == GIVEN
    assert GIVEN["password"] not in repr(found)


@pytest.mark.parametrize(
    "change",
    [
        {"password": ""}, {"password": 5}, {"password": None}, {"port": "5432"}, {"port": 0}, {"port": 65_536},
        {"hostname": ""}, {"username": None}, {"tls": "Sometimes"}, {"db": []}, {"ca": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_none_of_ours_is_nothing(change):
    """A field of another type or out of bounds: no credentials, rather than half of them."""
    assert parse(json.dumps(GIVEN | change).encode()) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'{"password": "\\ud800"}', b"[" * 100_000], ids=repr
)
def test_what_is_no_json_object_is_nothing(body):
    """However broken or deep: no credentials, and no exception."""
    assert parse(body) is None


# JSON --------------------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_json_reads_back(password):
    """Whatever the password: the file is UTF-8 JSON with the gateway's own names."""
    assert json.loads(written(Format.JSON, password=password).decode("utf-8")) == GIVEN | {"password": password}


# Variables for sh --------------------------------------------------------------------------------------

SHELLS = [path for name in ("sh", "dash", "bash") if (path := shutil.which(name))]


def sourced(shell: str, content: bytes, folder: Path) -> dict[bytes, bytes]:
    """The variables that a shell has after sourcing a file, as a child of it finds them in its environment."""
    file = folder / "env"
    file.write_bytes(content)
    script = 'set -a; . "$1"; exec env -0'
    done = subprocess.run([shell, "-c", script, "sh", str(file)], capture_output=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return dict(line.split(b"=", 1) for line in done.stdout.split(b"\0") if line)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("password", HOSTILE, ids=range(len(HOSTILE)))
def test_a_shell_reads_variables_back(shell, password, tmp_path):
    """A real shell that sources the file has each value byte by byte, and runs nothing of it."""
    found = sourced(shell, written(Format.ENV, password=password, db=password, ca="a\nb\n"), tmp_path)
    expected = GIVEN | {"password": password, "db": password, "ca": "a\nb\n"}
    for name, value in expected.items():
        assert str(value).encode() == found[b"DB_" + name.upper().encode()], name


@settings(max_examples=60)
@given(password=st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), min_size=1))
def test_a_shell_reads_any_password_back(password, tmp_path_factory):
    """The same for passwords that nobody thought of."""
    found = sourced("/bin/sh", written(Format.ENV, password=password), tmp_path_factory.getbasetemp())
    assert password.encode() == found[b"DB_PASSWORD"]


def test_a_variable_holds_no_zero_byte():
    """A password that no variable can hold is refused, not cut."""
    with pytest.raises(Unfit, match="password holds a zero byte") as unfit:
        written(Format.ENV, password=f"{CANARY}\0x")
    assert CANARY not in str(unfit.value)


# libpq; tests/agent/test_login.py has the real libpq read these ----------------------------------------


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "db.example.com:5432:openscale:openscale:s3cr3t"),
        ({"password": "a:b\\c"}, "db.example.com:5432:openscale:openscale:a\\:b\\\\c"),
        ({"hostname": "fd00::1"}, "fd00\\:\\:1:5432:openscale:openscale:s3cr3t"),
        ({"db": "*", "username": "*", "password": "*"}, "db.example.com:5432:\\*:\\*:*"),
        ({"password": " #'\" "}, "db.example.com:5432:openscale:openscale: #'\" "),
    ],
)
def test_pgpass(changes, line):
    """One line; colons and backslashes are escaped, and no field stands for anything."""
    assert written(Format.PGPASS, **changes).decode() == line + "\n"


def test_service():
    """One section; `sslrootcert` only where the data mart has an authority of its own."""
    lines = ["[scores]", "host=db.example.com", "port=5432", "dbname=openscale", "user=openscale", "password=s3cr3t"]
    assert written(Format.SERVICE).decode().splitlines() == [*lines, "sslmode=verify-full"]
    assert written(Format.SERVICE, ca="x").decode().splitlines()[7:] == ["sslrootcert=/run/db/f.ca.crt"]
    assert written(Format.SERVICE, tls="Require").decode().splitlines()[6] == "sslmode=require"
    assert written(Format.SERVICE, tls="Disable").decode().splitlines()[6] == "sslmode=disable"


@pytest.mark.parametrize(
    ("kind", "password"),
    [(Format.PGPASS, f"{CANARY}{bad}x") for bad in "\0\r\n"]
    + [(Format.SERVICE, f"{CANARY}{bad}x") for bad in "\0\n"]
    + [(Format.SERVICE, f"{CANARY}{bad}") for bad in " \t\v\f\r\n"]
    + [(Format.SERVICE, CANARY + "x" * 1_022)],
    ids=repr,
)
def test_what_libpq_could_not_read_is_refused(kind, password):
    """By the field's name and with a format that can; the value is not in the message."""
    with pytest.raises(Unfit, match=r"password .*: use the format .*json") as unfit:
        written(kind, password=password)
    assert CANARY not in str(unfit.value)


@pytest.mark.parametrize("kind", [Format.PGPASS, Format.SERVICE])
def test_libpqs_formats_are_for_postgresql(kind):
    """A Db2 data mart in a file that only libpq reads is a mistake, and named."""
    with pytest.raises(Unfit, match="Db2"):
        written(kind, type="Db2")
