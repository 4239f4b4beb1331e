"""IBM's own OpenScale SDK, unchanged, against the gateway: over TLS, with an API key, on a real API server."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openscale_byok.resources import GROUP
from stage.gateway_process import Gateway
from stage.ibm_environments import environment, python_of
from stage.scene import NAMESPACE, Scene
from stage.team import Team, Vault

SCRIPT = Path(__file__).parents[1] / "gateway" / "ibm_sdk_check.py"
AUTHORITY = "openscale-byok-gateway-ca"


@pytest.fixture(scope="module")
def gateway(scene: Scene, vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the rights of the chart. At its end: no secret in its log."""
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    named = {"IAM_URL": scene.emulator.iam_url, "KEY_PROTECT_URL": scene.emulator.url, "NAMESPACE": NAMESPACE}
    named |= {"KEY_POLL_SECONDS": "0.25"}

    def certificates() -> str:
        return str(scene.get("configmap", NAMESPACE, AUTHORITY)["data"]["ca.crt"])

    found = Gateway(scene.gateway_kubeconfig, log, named, certificates)
    found.start()
    yield found
    assert found.stop() == 0
    vault.look("the gateway's log", log.read_text())
    assert not vault.leaks


def allow(team: Team, user: str, **verbs: str) -> None:
    """Grant verbs on our kinds in the team's namespace."""
    where = {"namespace": team.namespace, "name": "sdk"}
    rules = [{"apiGroups": [GROUP], "resources": [kind], "verbs": text.split()} for kind, text in verbs.items()]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sdk"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    kinds = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": where}
    team.scene.create(
        {**kinds, "kind": "Role", "rules": rules},
        {**kinds, "kind": "RoleBinding", "roleRef": role, "subjects": [subject]},
    )


def run_sdk(given: dict[str, Any], ca: Path) -> dict[str, Any]:
    """Run IBM's SDK in its own environment; what it saw."""
    done = subprocess.run(
        [str(python_of("ibm-openscale")), str(SCRIPT)],
        input=json.dumps(given),
        env=environment() | {"REQUESTS_CA_BUNDLE": str(ca)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout))


def test_ibms_sdk_works_unchanged(team: Team, gateway: Gateway, tmp_path: Path) -> None:
    """Connect, bind, change, release; add, list, show, change and delete data marts. Every refusal has a code, no
    password comes back, and what it deleted is gone."""
    keys = team.root_keys(2)
    team.instance()
    emulator = team.scene.emulator
    service_id = emulator.create_service_id(name="sdk")
    api_key, password = emulator.create_api_key(service_id), team.password()
    team.vault.add(api_key)
    allow(
        team,
        f"iam:iam-{service_id}",
        openscaleinstances="get bind",
        rootkeybindings="list create delete",
        datamarts="get list create patch delete",
    )
    ca = tmp_path / "ca.crt"
    ca.write_text(gateway._certificates())
    given = {
        "service_url": gateway.url,
        "iam_url": emulator.iam_url,
        "api_key": api_key,
        "service_instance_id": team.ids["prod"],
        "root_keys": keys,
        "hostname": "db.example.com",
        "port": 5432,
        "db": "postgres",
        "username": "openscale",
        "password": password,
        "certificate_base64": base64.b64encode(ca.read_bytes()).decode(),
    }
    seen = run_sdk(given, ca)
    assert seen.pop("data mart").startswith("scores-of-2026-")
    # By when everything is re-encrypted is the operator's: at once or a moment later.
    assert {seen.pop(name) for name in ("bound", "changed", "patched")} <= {200, 202}
    assert seen.pop("deleted") in (202, 204)
    assert seen == {
        "plan": None,
        "monitors": [],
        "disables TLS verification": False,
        "another instance": "AuthorizationError",
        "preference that is not set": [404, "NotFound"],
        "no preferences": {},
        "an instance's CRN": [400, "InvalidRequest"],
        "another preference": [400, "InvalidRequest"],
        "preference that was deleted": [404, "NotFound"],
        "another host without the password": [400, "InvalidRequest"],
        "another host with the password": 200,
        "internal database": [400, "InvalidRequest"],
        "no password": [400, "InvalidRequest"],
        "unknown data mart": [404, "NotFound"],
        "added in the background": 202,
        "two data marts": 2,
        "deleted data mart": [404, "NotFound"],
        "deleted in the background": 204,
    }
    assert not team.scene.list("datamart", team.namespace)
    team.until(lambda: not team.scene.list("rootkeybinding", team.namespace), "its bindings are released")
