"""What the steps of the story share: the objects that were made, and what is the case in the cluster now."""

import hashlib
import json
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from e2e.cluster import apply, claim, condition, forwarded, get, helm, kubectl, succeeds, until
from e2e.pods import DATABASE, KEY_PROTECT, KEY_PROTECT_PORT, KEY_PROTECT_URL, RELEASE, TEAM
from key_protect_emulator.control import Emulator
from openscale_byok import __version__

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "openscale-byok"
DEFINITIONS = f"{RELEASE}-crds"
"""The release, and the chart, of the CustomResourceDefinitions."""
POLL_SECONDS = 2.0
BOUND_SECONDS = POLL_SECONDS + 5 + 1.1
"""What docs/agent.md promises from a revocation to the file's end: the gateway's bound, 1.1 of the agent's interval."""
API_KEY = "key-protect"
"""The Secret that holds the API key."""
AUTHORITY = "openscale-byok-gateway-ca"
USER = "openscale"
VALUES: dict[str, Any] = {
    "image": {"pullPolicy": "Never", "tag": __version__},
    "secretAccess": {"namespaces": [TEAM]},
    "settings": {
        "keyProtectUrl": KEY_PROTECT_URL,
        "iamUrl": KEY_PROTECT_URL,
        "insecureHttp": True,
        "keyPollSeconds": POLL_SECONDS,
    },
    "gateway": {"enabled": True},
}
_DIGEST = """
import hashlib, pathlib
file = pathlib.Path("/run/db/pg_service.conf")
lines = file.read_text().splitlines() if file.exists() else []
password = next((line.removeprefix("password=") for line in lines if line.startswith("password=")), "")
print(hashlib.sha256(password.encode()).hexdigest())
"""
"""A program for the workload: the digest of the password in its file."""


class Scene:
    """One cluster, one release, one team."""

    def __init__(self, stack: ExitStack) -> None:
        self.password = secrets.token_urlsafe(18)
        self.root_key = ""
        """The root key that is bound."""
        self.ours = False
        """Whether what is there was made by this story."""
        self._stack = stack
        self._emulator: Emulator | None = None

    @property
    def emulator(self) -> Emulator:
        """Key Protect, as its owner uses it: through a port that is forwarded."""
        if self._emulator is None:
            port = self._stack.enter_context(forwarded(KEY_PROTECT, "svc/key-protect", KEY_PROTECT_PORT))
            self._emulator = Emulator.connect(f"http://127.0.0.1:{port}")
        return self._emulator

    # What people do ---------------------------------------------------------------------------------

    def definitions(self, *more: str) -> None:
        """Install or upgrade the CustomResourceDefinitions, a release of their own that comes first."""
        helm("upgrade", "--install", DEFINITIONS, str(CHART.with_name(DEFINITIONS)), "--namespace", RELEASE, *more)

    def helm(self, verb: str, *more: str, wait: bool = True, chart: Path = CHART, **values: Any) -> None:  # noqa: ANN401 -- YAML
        """Install or upgrade the release; values go over those of the story, one level deep."""
        merged = {name: VALUES.get(name, {}) | values.get(name, {}) for name in {*VALUES, *values}}
        waits = ("--wait", "--timeout", "180s") if wait else ()
        arguments = (verb, RELEASE, str(chart), "--namespace", RELEASE, "--values", "-", *waits, *more)
        helm(*arguments, text=json.dumps(merged))

    def new_root_key(self) -> str:
        """A root key that the team's API key may use."""
        crn = self.emulator.create_root_key(self.emulator.instance)
        self.emulator.grant(self.service_id, self.emulator.instance, crn)
        return crn

    service_id = ""
    """Whose API key the team has."""

    def give_authority(self) -> None:
        """Copy the gateway's authorities to the team: a pod mounts no ConfigMap of another namespace."""
        data = get(RELEASE, "configmap", AUTHORITY)["data"]
        meta = {"name": AUTHORITY, "namespace": TEAM}
        apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})

    def sql(self, statement: str) -> None:
        """Run it as the database's owner."""
        command = ("exec", "--stdin", "--namespace", DATABASE, "pod/postgres", "--")
        kubectl(*command, "psql", "-X", "-q", "-h", "/data", "-U", "postgres", "-v", "ON_ERROR_STOP=1", text=statement)

    # What is the case -------------------------------------------------------------------------------

    def mart(self, name: str = "scores") -> dict[str, Any]:
        """A data mart."""
        return get(TEAM, "datamart", name)

    def instance(self, name: str = "openscale") -> dict[str, Any]:
        """An instance."""
        return get(TEAM, "openscaleinstance", name)

    def binding(self, name: str) -> dict[str, Any]:
        """A binding."""
        return get(TEAM, "rootkeybinding", name)

    def protected(self, crn: str, *, instance: str = "openscale", mart: str = "scores") -> bool:
        """Whether everything of an instance is under a root key, and Ready; "": under the global key."""
        found, sealed = self.instance(instance), self.mart(mart)
        in_force = found["status"].get("properties", {}).get("userRootKeyCRN", "") == crn
        ready = condition(found, "Ready") == ("True", "Current") and condition(sealed, "Ready")[0] == "True"
        return in_force and ready

    def envelope(self) -> str:
        """The sealed password, as it is stored."""
        return str(self.mart()["status"]["sealedPassword"]["envelope"])

    def has_file(self) -> bool:
        """Whether the workload sees its password. It is compared there, and leaves the pod as a digest only."""
        digest = kubectl(*_in_workload("python3", "-c", _DIGEST)).strip()
        return digest == hashlib.sha256(self.password.encode()).hexdigest()

    def logs_in(self) -> bool:
        """Whether psql, in the workload, logs in by that file, to the real database."""
        return succeeds(*_in_workload("psql", "-w", "-X", "-At", "-c", "SELECT current_user"))

    def ready(self) -> None:
        """Wait until operator and gateway are rolled out."""
        for deployment in (RELEASE, f"{RELEASE}-gateway"):
            kubectl("rollout", "status", "--namespace", RELEASE, f"deployment/{deployment}", "--timeout=120s")

    def works(self) -> float:
        """Wait until the workload logs in; the seconds that it took."""
        took = until("psql logs in", self.logs_in)
        claim(self.has_file(), "the file holds the password that was handed over")
        return took


def _in_workload(*command: str) -> tuple[str, ...]:
    return ("exec", "--namespace", TEAM, "deployment/workload", "--container", "workload", "--", *command)
