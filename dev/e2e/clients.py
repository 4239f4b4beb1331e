"""Who is outside of the cluster: IBM's own SDK, through a port that is forwarded to the gateway."""

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from e2e.cluster import apply, claim, forwarded, get
from e2e.pods import RELEASE, TEAM
from e2e.scene import API_KEY, AUTHORITY, Scene
from stage import manifests
from stage.ibm_environments import environment

SDK = "E2E_SDK_PYTHON"
"""The variable that names a Python with IBM's SDK: made where there is a network, used where there is none."""
CHECK = Path(__file__).parents[2] / "tests" / "gateway" / "ibm_sdk_check.py"
INSTANCE = "c52b9d08-1e6f-4a73-9b40-7d8e3f5a6c21"


def sdk(scene: Scene) -> str:
    """`kubectl port-forward` to the gateway; IBM's SDK binds, changes, releases, and has data marts through it."""
    emulator = scene.emulator
    caller = emulator.create_service_id(name="sdk")
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"iam:iam-{caller}"}
    rights = ("get,bind openscaleinstances", "list,create,delete rootkeybindings")
    rules = [manifests.right(text) for text in (*rights, "get,list,create,patch,delete datamarts")]
    apply(manifests.instance(TEAM, "sdk", INSTANCE, api_key_secret=API_KEY), *manifests.role(TEAM, "sdk", user, rules))
    authorities = get(RELEASE, "configmap", AUTHORITY)["data"]["ca.crt"]
    with forwarded(RELEASE, f"svc/{RELEASE}-gateway", 8443) as port:
        seen = _run(
            {
                "service_url": f"https://127.0.0.1:{port}",
                "iam_url": emulator.url,
                "api_key": emulator.create_api_key(caller),
                "service_instance_id": INSTANCE,
                "root_keys": [scene.new_root_key(), scene.new_root_key()],
                "hostname": "db.example.com",
                "port": 5432,
                "db": "postgres",
                "username": "openscale",
                "password": scene.password,
                "certificate_base64": base64.b64encode(authorities.encode()).decode(),
            },
            authorities,
        )
    claim(not seen["disables TLS verification"], "the SDK verifies the gateway's certificate")
    return f"{len(seen)} answers as IBM's SDK expects them, over TLS that it verifies"


def _run(given: dict[str, Any], authorities: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sdk-") as folder:
        trusted = Path(folder, "ca.crt")
        trusted.write_text(authorities)
        done = subprocess.run(
            [os.environ[SDK], str(CHECK)],
            input=json.dumps(given),
            env=environment() | {"REQUESTS_CA_BUNDLE": str(trusted)},
            capture_output=True,
            text=True,
            check=False,
        )
    claim(done.returncode == 0, f"IBM's SDK is content: {done.stderr.strip()[-1500:]}")
    return dict(json.loads(done.stdout))


STEPS = (sdk,)
