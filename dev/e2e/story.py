"""Install, seal, bind, read, revoke, crash, remove, come back: each step says what was proven in pods."""

import hashlib
import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e.cluster import StoryFailed, apply, condition, get, helm, kubectl, until
from e2e.workload import FILE, workload
from image_builder.__main__ import EMULATOR, NAME, OPERATOR
from key_protect_emulator.control import Emulator
from openscale_byok import __version__
from stage import manifests

ROOT = Path(__file__).parents[2]
RELEASE, TEAM, KEY_PROTECT = "openscale-byok", "team-a", "key-protect"
ADDRESS, PORT = "10.0.0.50", 8900
POLL_SECONDS = 2.0
API_KEY = "key-protect"
"""The Secret that holds the API key."""
SERVICE_INSTANCE = "3f0c2a9e-5b7d-4c1e-8f6a-9d2b4e7c1a50"
_BARE = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
VALUES: dict[str, Any] = {
    "image": {"pullPolicy": "Never", "tag": __version__},
    "secretAccess": {"namespaces": [TEAM]},
    "settings": {
        "keyProtectUrl": f"http://{ADDRESS}:{PORT}",
        "iamUrl": f"http://{ADDRESS}:{PORT}",
        "insecureHttp": True,
        "keyPollSeconds": POLL_SECONDS,
    },
    "gateway": {"enabled": True},
}
DIGEST = """
import hashlib, pathlib, sys
file = pathlib.Path(sys.argv[1])
lines = file.read_text().splitlines() if file.exists() else []
password = next((line.removeprefix("password=") for line in lines if line.startswith("password=")), "")
print(hashlib.sha256(password.encode()).hexdigest())
"""
"""A program for the workload: the digest of the password in a service file."""


class Story:
    """The steps share what was made in those before."""

    def __init__(self) -> None:
        self.password = secrets.token_urlsafe(18)
        self.emulator: Emulator
        self.root_key = ""

    def images(self) -> str:
        """Namespaces in which only what Pod Security calls restricted may run."""
        for name in (RELEASE, TEAM, KEY_PROTECT):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        apply(*_emulator())
        kubectl("wait", "--namespace", KEY_PROTECT, "pod/key-protect", "--for=condition=Ready", "--timeout=120s")
        until("its Service leads to it", self._connected)
        return "Key Protect's emulator answers in a pod"

    def install(self) -> str:
        """`helm install --wait`: operator and gateway become ready with the chart's rights."""
        began = time.monotonic()
        chart = str(ROOT / "helm" / "openscale-byok")
        helm("upgrade", "--install", f"{RELEASE}-crds", f"{chart}-crds", "--namespace", RELEASE)
        arguments = ("--namespace", RELEASE, "--values", "-", "--wait", "--timeout", "180s")
        helm("install", RELEASE, chart, *arguments, text=json.dumps(VALUES))
        pods = json.loads(kubectl("get", "pods", "--namespace", RELEASE, "--output", "json"))["items"]
        restarts = [status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]]
        _claim(len(pods) >= 2 and not any(restarts), f"{len(pods)} pods run, without a restart")
        return f"{len(pods)} pods ready in {time.monotonic() - began:.1f} s, without a restart"

    def seal(self) -> str:
        """Case 2's beginning: a password is handed over before any root key is bound, and is sealed globally."""
        api_key = self.emulator.create_api_key(service := self.emulator.create_service_id())
        self.root_key = self.emulator.create_root_key(self.emulator.instance)
        self.emulator.grant(service, self.emulator.instance, self.root_key)
        apply(
            manifests.secret(TEAM, API_KEY, {"apikey": api_key}),
            manifests.secret(TEAM, "scores", {"password": self.password}, handover=True),
            manifests.instance(TEAM, "openscale", SERVICE_INSTANCE, api_key_secret=API_KEY),
            manifests.datamart(TEAM, "scores", "openscale", "scores"),
        )
        took = until("the data mart is Ready", lambda: condition(self._mart(), "Ready")[0] == "True")
        _claim(not get(TEAM, "secret", "scores"), "the hand-over Secret is gone")
        return f"Ready after {took:.1f} s, its Secret is gone"

    def bind(self) -> str:
        """A root key is bound: everything moves under it."""
        apply(manifests.binding(TEAM, "key", "openscale", self.root_key))
        took = until("everything is under the root key", self._protected)
        return f"protected by the customer's root key after {took:.1f} s"

    def read(self) -> str:
        """A workload with the agent in two containers reads its file, by its own ServiceAccount's projected token."""
        gateway = get(RELEASE, "service", f"{RELEASE}-gateway")["spec"]["clusterIP"]
        authority = get(RELEASE, "configmap", "openscale-byok-gateway-ca")["data"]
        meta = {"name": "openscale-byok-gateway-ca", "namespace": TEAM}
        apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": authority})
        apply(*workload(f"{NAME}/{OPERATOR.name}:{__version__}", gateway))
        kubectl("rollout", "status", "--namespace", TEAM, "deployment/workload", "--timeout=120s")
        _claim(self._file(), "the workload's file holds the password")
        return "the workload's file holds the password that was handed over"

    def revoke(self) -> str:
        """The root key is disabled: the file vanishes; enabled: it is back, though nobody gave anything again."""
        self.emulator.disable(self.root_key)
        gone = until("the file vanishes", lambda: not self._file())
        status = until("the binding says so", lambda: condition(self._binding(), "KeyUsable")[1] == "KeyDisabled")
        self.emulator.enable(self.root_key, ignore_timing=True)
        back = until("the file is back", self._file)
        bound = POLL_SECONDS + 5 + 1.1
        _claim(gone <= bound + 5, "it vanishes in time")
        said = f"the file vanished after {gone:.1f} s (promised: {bound:.1f}), said {status:.1f} s later"
        return f"{said}; back {back:.1f} s after the root key was enabled"

    def crash(self) -> str:
        """Operator and gateways are killed; nothing is lost, and nothing has to be done."""
        kubectl("delete", "pods", "--namespace", RELEASE, "--all", "--grace-period=0", "--force", "--wait=false")
        for deployment in (RELEASE, f"{RELEASE}-gateway"):
            kubectl("rollout", "status", "--namespace", RELEASE, f"deployment/{deployment}", "--timeout=120s")
        took = until("the binding is in force again", self._protected)
        return f"ready again after {took:.1f} s more, and the file is {'there' if self._file() else 'away'}"

    def remove(self) -> str:
        """`helm uninstall` keeps every object; installed again, everything opens."""
        before = self._mart()["status"]["sealedPassword"]["envelope"]
        helm("uninstall", RELEASE, "--namespace", RELEASE, "--wait", "--timeout", "120s")
        _claim(self._mart()["status"]["sealedPassword"]["envelope"] == before, "the envelope is kept")
        self.install()
        until("the file is there", self._file)
        return "CRDs, objects and the global key were kept; everything opens"

    def _connected(self) -> bool:
        try:
            self.emulator = Emulator.connect(f"http://{ADDRESS}:{PORT}")
        except OSError:
            return False
        return True

    # What is the case -------------------------------------------------------------------------------

    def _mart(self) -> dict[str, Any]:
        return get(TEAM, "datamart", "scores")

    def _binding(self) -> dict[str, Any]:
        return get(TEAM, "rootkeybinding", "key")

    def _protected(self) -> bool:
        found, mart = get(TEAM, "openscaleinstance", "openscale"), self._mart()
        in_force = found["status"].get("properties", {}).get("userRootKeyCRN") == self.root_key
        return in_force and condition(found, "Ready") == ("True", "Current") and condition(mart, "Ready")[0] == "True"

    def _file(self) -> bool:
        """Whether the workload sees its password. It is compared there, and leaves the pod as a digest only."""
        command = ("exec", "--namespace", TEAM, "deployment/workload", "--container", "workload", "--", "python3", "-c")
        return kubectl(*command, DIGEST, FILE).strip() == hashlib.sha256(self.password.encode()).hexdigest()


def _emulator() -> list[dict[str, Any]]:
    labels = {"app.kubernetes.io/name": "key-protect"}
    meta = {"name": "key-protect", "namespace": KEY_PROTECT}
    arguments = ["--host", "0.0.0.0", "--port", str(PORT), "--public-url", f"http://{ADDRESS}:{PORT}"]  # noqa: S104 -- of its pod
    container = {
        "name": "key-protect", "image": f"{NAME}/{EMULATOR.name}:{__version__}", "imagePullPolicy": "Never",
        "args": [*arguments, "--remote-control"], "securityContext": _BARE,
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }  # fmt: skip
    service = {"clusterIP": ADDRESS, "selector": labels, "ports": [{"port": PORT}]}
    pod = {"metadata": {**meta, "labels": labels}, "spec": {"containers": [container]}}
    return [
        {"apiVersion": "v1", "kind": "Pod", **pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]


def _claim(true: bool, what: str) -> None:  # noqa: FBT001 -- a claim is true or not
    if not true:
        raise StoryFailed(f"not so: {what}")


def main() -> int:
    """Tell the steps, and a table at the end."""
    story = Story()
    steps: list[Callable[[], str]] = [
        story.images, story.install, story.seal, story.bind, story.read, story.revoke, story.crash, story.remove,
    ]  # fmt: skip
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        try:
            said = step()
        except (StoryFailed, OSError) as error:
            print(f"{number}. {step.__name__}: FAILED: {error}", flush=True)
            print(_state(), flush=True)
            return 1
        print(f"{number}. {step.__name__:8} {time.monotonic() - began:6.1f} s  {said}", flush=True)
    print(f"e2e: {len(steps)} steps proven in pods, {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _state() -> str:
    """What whoever has to find out wants to see."""
    asks = (
        ("get", "pods", "--all-namespaces", "--output", "wide"),
        ("get", "openscale", "--all-namespaces"),
        ("logs", "--namespace", RELEASE, f"deployment/{RELEASE}", "--tail", "30"),
        ("logs", "--namespace", RELEASE, f"deployment/{RELEASE}-gateway", "--tail", "30"),
        ("get", "events", "--all-namespaces", "--sort-by", ".lastTimestamp"),
    )
    found = []
    for ask in asks:
        try:
            found.append(kubectl(*ask)[-4000:])
        except StoryFailed as error:
            found.append(str(error))
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main())
