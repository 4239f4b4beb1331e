"""The real psql and libpq log in with what the agent wrote, whatever the password; and no longer once it is gone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agent.running import options, running, target, until
from agent.test_told import door_of
from agent.told import revoked
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.run import run
from stage import postgres

USERS = {
    "plain": "s3cr3t",
    "sh": 'it\'s "$HOME" `id` $(id) \\',
    "colons:and\\back": "a:b\\c::\\\\:",
    "hash": "#not a comment",
    "brackets": "[scores]",
    "equals": "password=x host=evil",
    "quotes": "'\"'\\''",
    "blank": "  two in front",
    "unicode": "zwölf Ω \U0001f511 ключ",
    "percent": "%s%n%00",
    "*": "*",
    "long": "x" * 900,
}


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.PostgreSQL]:
    with postgres.run() as started:
        started.create_users(USERS.items())
        yield started


def psql(**environment: str) -> subprocess.CompletedProcess[str]:
    """`psql` with nothing but these variables; it never asks for a password."""
    found = shutil.which("psql")
    assert found, "psql is needed"
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    command = [found, "-w", "-X", "-A", "-t", "-c", "SELECT current_user"]
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment, timeout=60)


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """A script as `sh` runs it."""
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)


def gives(told, server: postgres.PostgreSQL, user: str) -> None:
    """The gateway gives the credentials of this user of the server."""
    told.credentials |= {
        "hostname": server.host, "port": server.port, "db": server.database, "username": user, "password": USERS[user],
    }  # fmt: skip


@pytest.mark.parametrize("user", USERS)
async def test_psql_and_libpq_log_in(told, server, tmp_path, user):
    """psql by the password file and by the service file, and psycopg's newer libpq by both, without another word."""
    pgpass, service = tmp_path / "pgpass", tmp_path / "pg_service.conf"
    gives(told, server, user)
    both = (target(pgpass, Format.PGPASS), target(service, Format.SERVICE))
    await run(options(door_of(told), *both, once_seconds=30.0))
    address = {"PGHOST": server.host, "PGPORT": str(server.port), "PGDATABASE": server.database, "PGUSER": user}
    for way in ({"PGPASSFILE": str(pgpass), **address}, {"PGSERVICEFILE": str(service), "PGSERVICE": "scores"}):
        done = psql(**way)
        assert done.stdout == user + "\n", done.stderr
        assert not done.stderr
    by_file = f"host={server.host} port={server.port} dbname={server.database} passfile={pgpass}"
    with psycopg.connect(by_file, user=user) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (user,)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSERVICEFILE", str(service))
        with psycopg.connect("service=scores") as connection:
            assert connection.execute("SELECT current_user").fetchone() == (user,)


async def test_a_name_of_one_asterisk_is_a_name(told, server, tmp_path):
    """A user called * has a password for that user alone: libpq does not take it for any user."""
    gives(told, server, "*")
    pgpass = tmp_path / "pgpass"
    await run(options(door_of(told), target(pgpass, Format.PGPASS), once_seconds=30.0))
    done = psql(PGPASSFILE=str(pgpass), PGHOST=server.host, PGPORT=str(server.port), PGDATABASE="postgres", PGUSER="sh")
    assert "no password supplied" in done.stderr


async def test_env_logs_in(told, server, tmp_path):
    """A shell that sources the env file has what psql needs."""
    gives(told, server, "sh")
    file = tmp_path / "env"
    await run(options(door_of(told), target(file, Format.ENV), once_seconds=30.0))
    script = (
        f". {file}; PGPASSWORD=$DB_PASSWORD exec psql -w -X -A -t -h $DB_HOSTNAME -p $DB_PORT -U $DB_USERNAME "
        "-d $DB_DB -c 'SELECT current_user'"
    )
    done = shell(script)
    assert done.stdout == "sh\n", done.stderr


async def test_nobody_logs_in_after_a_revocation(told, server, tmp_path: Path):
    """The customer says no: the next login finds no password; yes again: it does, also after a change of password."""
    service = tmp_path / "pg_service.conf"
    gives(told, server, "plain")
    way = {"PGSERVICEFILE": str(service), "PGSERVICE": "scores"}
    async with running(options(door_of(told), target(service, Format.SERVICE))):
        await until(service.exists)
        assert psql(**way).returncode == 0
        told.answer = revoked
        await until(lambda: not service.exists())
        assert psql(**way).returncode != 0
        server.create_users([("plain", "another")])
        told.credentials["password"] = "another"
        told.answer = None
        await until(service.exists)
        assert psql(**way).stdout == "plain\n"
    server.create_users([("plain", USERS["plain"])])
