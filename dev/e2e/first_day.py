"""Install, seal, bind, read, revoke: what `make e2e SMOKE=1` proves, and what all else rests on."""

import json
import time

from e2e.cluster import apply, claim, condition, get, kubectl, until
from e2e.pods import (
    DATABASE,
    DATABASE_HOST,
    KEY_PROTECT,
    NAMESPACES,
    RELEASE,
    TEAM,
    database,
    emulator,
    namespace,
    workload,
)  # fmt: skip
from e2e.scene import API_KEY, BOUND_SECONDS, USER, Scene
from openscale_byok.resources import GROUP
from stage import manifests

SERVICE_INSTANCE = "3f0c2a9e-5b7d-4c1e-8f6a-9d2b4e7c1a50"


def surroundings(scene: Scene) -> str:
    """Key Protect's emulator and PostgreSQL, in namespaces in which only restricted pods may run."""
    installed = kubectl("get", "customresourcedefinitions", "--output", "name").split()
    claim(not [name for name in installed if name.endswith(f".{GROUP}")], "nobody has installed us here before")
    scene.ours = True
    apply(*(namespace(name) for name in NAMESPACES))
    apply(*emulator(), *database())
    for where, pod in ((KEY_PROTECT, "key-protect"), (DATABASE, "postgres")):
        kubectl("wait", "--namespace", where, f"pod/{pod}", "--for=condition=Ready", "--timeout=120s")
    scene.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{scene.password}'")
    scene.service_id = scene.emulator.create_service_id()
    return "Key Protect's emulator and PostgreSQL answer in pods"


def install(scene: Scene) -> str:
    """`helm install --wait`: operator and gateway become ready with the chart's rights."""
    began = time.monotonic()
    scene.definitions()
    scene.helm("install")
    pods = json.loads(kubectl("get", "pods", "--namespace", RELEASE, "--output", "json"))["items"]
    restarts = [status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]]
    claim(len(pods) >= 2 and not any(restarts), f"{len(pods)} pods run, without a restart")
    return f"{len(pods)} pods ready in {time.monotonic() - began:.1f} s, without a restart"


def seal(scene: Scene) -> str:
    """Case 2's beginning: a password is handed over before any root key is bound, and is sealed globally."""
    api_key = scene.emulator.create_api_key(scene.service_id)
    scene.root_key = scene.new_root_key()
    apply(
        manifests.secret(TEAM, API_KEY, {"apikey": api_key}),
        manifests.secret(TEAM, "scores", {"password": scene.password}, handover=True),
        manifests.instance(TEAM, "openscale", SERVICE_INSTANCE, api_key_secret=API_KEY),
        manifests.datamart(TEAM, "scores", "openscale", "scores", host=DATABASE_HOST, username=USER),
    )
    took = until("the data mart is Ready", lambda: condition(scene.mart(), "Ready")[0] == "True")
    claim(not get(TEAM, "secret", "scores"), "the hand-over Secret is gone")
    return f"Ready after {took:.1f} s, its Secret is gone"


def bind(scene: Scene) -> str:
    """Case 2: a root key is bound, and everything moves under it."""
    apply(manifests.binding(TEAM, "key-a", "openscale", scene.root_key))
    took = until("everything is under the root key", lambda: scene.protected(scene.root_key))
    return f"under the customer's root key after {took:.1f} s"


def read(scene: Scene) -> str:
    """A workload with the agent as init container and native sidecar logs in with psql, by its own ServiceAccount."""
    scene.give_authority()
    apply(*workload())
    kubectl("rollout", "status", "--namespace", TEAM, "deployment/workload", "--timeout=120s")
    scene.works()
    return "psql logs in by the file that the agent brought; it holds the password that was handed over"


def revoke(scene: Scene) -> str:
    """The root key is disabled: the file vanishes; enabled: it is back, though nobody gave anything again."""
    scene.emulator.disable(scene.root_key)
    gone = until("the file vanishes", lambda: not scene.has_file())
    claim(not scene.logs_in(), "psql cannot log in")

    status = until("the binding says so", lambda: condition(scene.binding("key-a"), "KeyUsable")[1] == "KeyDisabled")
    scene.emulator.enable(scene.root_key, ignore_timing=True)
    back = until("the file is back", scene.has_file)
    scene.works()
    claim(gone <= BOUND_SECONDS + 5, "it vanishes in time")
    said = f"the file vanished after {gone:.1f} s (promised: {BOUND_SECONDS:.1f}), said {status:.1f} s later"
    return f"{said}; back {back:.1f} s after the root key was enabled"


STEPS = (surroundings, install, seal, bind, read, revoke)
