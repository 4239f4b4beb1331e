"""The second chapter, by the gateway: OpenScale's own API, who may have a password, and a workload's file."""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.curl import CA, Curl
from demo.telling import TEAM, ProofFailed, Teller, short
from openscale_byok.core.preferences import LABELS
from stage import manifests, visitors
from stage.agent_process import agent
from stage.gateway_process import Gateway
from stage.postgres import PostgreSQL

INSTANCE, GUID = "web", "c9f3d5e4-2b60-4f7c-9d8e-3a4b5c6d7e8f"
API_KEY_SECRET = "key-protect-web"  # the name of a Secret
USERNAME = "scores"
PREFERENCE = "/openscale/$SERVICE_INSTANCE_ID/v2/user_preferences/user_root_key_crn"
DATA_MARTS = "/openscale/$SERVICE_INSTANCE_ID/v2/data_marts"
WAIT = "wait=30"
AGENT_SECONDS = 1.0
"""Between two questions of the agent."""
PROMISED_SECONDS = 5.0
"""After the poll interval nothing opens any more: README, "What it protects against"."""
MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of its own is made in it


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what the chapter is about."""

    gateway: Gateway
    curl: Curl
    root_key: str
    folder: Path
    """In memory, where the machine has such a place."""


class GatewayChapter:
    """How a password is brought, bound and used without kubectl, and how its use ends."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._scene = teller.scene

    def tell(self) -> None:
        """Tell all of it. Raises what a `Story` does."""
        scene = self._scene
        root_key = scene.emulator.create_root_key(name="root-key-c")
        scene.create(manifests.secret(TEAM, API_KEY_SECRET, {"apikey": scene.api_key(root_key)}))
        scene.create(manifests.instance(TEAM, INSTANCE, GUID, api_key_secret=API_KEY_SECRET))
        names = {
            "SERVICE_INSTANCE_ID": GUID,
            "ROOT_KEY_C": root_key,
            "IAM_TOKEN": scene.emulator.token(visitors.admin(scene, TEAM)),
            "READER": visitors.somebody(scene, TEAM, "reader", TEAM),
            "STRANGER": visitors.somebody(scene, TEAM, "stranger"),
        }
        memory = MEMORY if MEMORY.is_dir() else None
        with tempfile.TemporaryDirectory(dir=memory) as folder, scene.gateway() as gateway:
            here = Path(folder)
            (here / CA).write_text(scene.gateway_authority())
            cast = Cast(gateway, Curl(gateway, here, self._teller.say, names), root_key, here)
            self._bound(cast)
            name = self._data_mart(cast)
            self._who_may(cast, name)
            (here / "token").touch(0o600)
            (here / "token").write_text(names["READER"])
            self._file(cast, name)
            self._taken_back(cast)

    def _bound(self, cast: Cast) -> None:
        with self._teller.step("OpenScale's own API, by the gateway: PUT user_root_key_crn binds a root key"):
            answer = cast.curl("PUT", PREFERENCE, "IAM_TOKEN", {"user_root_key_crn": "$ROOT_KEY_C"}, prefer=WAIT)
            self._teller.claim(answer.status in (200, 202), "the gateway binds")
            self._teller.until_protected(INSTANCE, cast.root_key)
        made = [b for b in self._scene.list("rootkeybindings", TEAM) if b["spec"]["instanceRef"]["name"] == INSTANCE]
        labels = [binding["metadata"]["labels"] for binding in made]
        self._teller.claim(labels == [LABELS], "one RootKeyBinding, of the gateway's own")
        self._teller.show(INSTANCE)

    def _data_mart(self, cast: Cast) -> str:
        at, password = self._database, secrets.token_urlsafe(18)
        at.create_users([(USERNAME, password)])
        credentials = {
            "hostname": at.host, "port": at.port, "db": at.database, "username": USERNAME, "password": password,
            "sslmode": "disable",
        }  # fmt: skip
        database = {
            "database_type": "postgresql", "credentials": credentials, "location": {"schema_name": "scores"},
        }  # fmt: skip
        with self._teller.step("POST data_marts: the password is sealed before it is answered, and never in a Secret"):
            answer = cast.curl(
                "POST", DATA_MARTS, "IAM_TOKEN", {"name": "scores", "database_configuration": database}, hidden=True
            )
            self._teller.claim(answer.status == 202, "the gateway keeps a data mart")
            self._teller.claim(password.encode() not in answer.body, "the password does not come back")
            name = str(answer.json["metadata"]["id"])
            self._teller.passwords[INSTANCE] = {name: password}
            self._teller.until_ready(INSTANCE, 1)
        found = manifests.as_text(self._scene.list("secrets", TEAM))
        self._teller.claim(manifests.encoded(password) not in found, "no Secret holds it")
        self._teller.say(self._scene.kubectl("get", "datamart", name, "-n", TEAM).rstrip())
        self._teller.prove(INSTANCE, {cast.root_key})
        return name

    def _who_may(self, cast: Cast, name: str) -> None:
        path = f"/v1/namespaces/{TEAM}/datamarts/{name}/credentials"
        with self._teller.step("Credentials for those who may `get datamartcredentials`, and for nobody else"):
            given = cast.curl("GET", path, "READER")
            self._teller.claim(given.status == 200, "who may read is given the password")
            given_in = self._database.lets_in(given.json["username"], given.json["password"])
            self._teller.claim(given_in, "it logs in")
            refused = cast.curl("GET", path, "STRANGER")
            self._teller.claim((refused.status, refused.code) == (403, "NotAllowed"), "who may not is refused")
            nothing = cast.curl("GET", path.replace(name, "none"), "STRANGER", shown=False)
            same = nothing.json["errors"] == refused.json["errors"]
            self._teller.claim(same, "and is not told whether it exists")
        self._teller.say("  proven: the reader's password logged into PostgreSQL, the stranger learned nothing")

    def _file(self, cast: Cast, name: str) -> None:
        file, say, emulator = cast.folder / "pgpass", self._teller.say, self._scene.emulator
        target = f"pgpass:{TEAM}/{name}={file}"
        with (
            self._teller.step(
                "The agent keeps a password file for psql; root key disabled: it vanishes; enabled: it is back",
                f"openscale-byok agent --interval 1 --target pgpass:{TEAM}/{name}=/run/db/pgpass",
            ),
            agent(
                self._scene.folder / "agent.log", cast.gateway.url, cast.folder / CA, cast.folder / "token", target,
                interval=AGENT_SECONDS,
            ),
        ):  # fmt: skip
            self._scene.until(file.exists, "the agent brings the file")
            say("  $ PGPASSFILE=/run/db/pgpass psql -c 'SELECT current_user'")
            say(f"  {self._log_in(file)}")
            say("  $ ibmcloud kp key disable $ROOT_KEY_C")
            emulator.disable(cast.root_key)
            gone = _seconds(lambda: not file.exists())
            poll = float(self._scene.settings["KEY_POLL_SECONDS"])
            promised = poll + PROMISED_SECONDS + 1.1 * AGENT_SECONDS
            say(
                f"  the file vanished {gone:.1f} s after Key Protect's acknowledgement; promised here: {promised:.1f} s"
            )
            self._teller.claim(gone <= promised, f"the file vanishes within {promised:.1f} s")
            refused = cast.curl("GET", f"/v1/namespaces/{TEAM}/datamarts/{name}/credentials", "READER")
            self._teller.claim(refused.code == "KeyDisabled", "nor is the password given to whoever asks")
            self._teller.claim(refused.headers.get("openscale-byok-revoked") == "true", "it says that it was revoked")
            say("  $ ibmcloud kp key enable $ROOT_KEY_C")
            emulator.enable(cast.root_key, ignore_timing=True)
            back = _seconds(file.exists)
            self._log_in(file)
            say(f"  the file is back after {back:.1f} s, and psql logs in again")
            self._teller.until_reason("openscaleinstance", INSTANCE, "Current")
        self._teller.claim(not file.exists(), "the agent takes the file away at its end")

    def _taken_back(self, cast: Cast) -> None:
        with self._teller.step("DELETE user_root_key_crn: everything moves back to the global key"):
            answer = cast.curl("DELETE", PREFERENCE, "IAM_TOKEN", prefer=WAIT)
            self._teller.claim(answer.status in (202, 204), "the gateway lets go")
            self._teller.until_protected(INSTANCE, "")
        self._scene.emulator.delete(cast.root_key)
        self._teller.say(f"  {short({cast.root_key})} is destroyed: nothing needs it")
        self._teller.prove(INSTANCE, {"global"})

    @property
    def _database(self) -> PostgreSQL:
        if self._scene.postgres is None:
            raise ProofFailed("there is no PostgreSQL to log in to")
        return self._scene.postgres

    def _log_in(self, file: Path) -> str:
        """Log in with the password file alone: who one is then."""
        at, psql = self._database, shutil.which("psql")
        if psql is None:
            self._teller.claim(at.lets_in(USERNAME, passfile=file), "libpq logs in with the file")
            return USERNAME
        place = {"PGHOST": at.host, "PGPORT": str(at.port), "PGDATABASE": at.database, "PGUSER": USERNAME}
        done = subprocess.run(
            [psql, "-w", "-X", "-A", "-t", "-c", "SELECT current_user"],
            env=place | {"PGPASSFILE": str(file), "HOME": "/nonexistent"},
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        self._teller.claim(done.stdout.strip() == USERNAME, "psql logs in with the file")
        return done.stdout.strip()


def _seconds(condition: Callable[[], bool]) -> float:
    """How long it takes until a condition holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > 60:
            raise TimeoutError("the file neither vanished nor came back within a minute")
        time.sleep(0.005)
    return time.monotonic() - began
