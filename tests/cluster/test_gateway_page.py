"""docs/api.md: each command as the page shows it, run by a shell with curl, against a gateway on a real API server."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stage.gateway_process import Gateway
from stage.team import Team

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
BLOCKS = re.findall(r"^```(sh|json|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BINDER = (
    "get,bind openscaleinstances", "list,create,delete rootkeybindings", "get,list,create,patch,delete datamarts",
)  # fmt: skip
MARK = "-- 8< --"
IBMS = "https://aiopenscale.cloud.ibm.com/openscale/{service-instance-id}/v2/user_preferences/user_root_key_crn"
"""As IBM's page about Key Protect with OpenScale has it."""


@pytest.fixture
def environment(gateway: Gateway, team: Team, tmp_path: Path) -> dict[str, str]:
    """What `.dev/env` names, for a team of its own."""
    team.root_keys()
    team.instance()
    team.until_ready("prod", kind="OpenScaleInstance")
    emulator = team.scene.emulator
    service_id = emulator.create_service_id(name=f"{team.namespace}-page")
    api_key = emulator.create_api_key(service_id)
    team.vault.add(api_key)
    team.grant(
        "page", {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": f"iam:iam-{service_id}"}, *BINDER
    )
    (tmp_path / ".dev").mkdir()
    ca = tmp_path / "ca.crt"
    ca.write_text(gateway._certificates())
    return os.environ | {
        "GATEWAY_URL": gateway.url,
        "GATEWAY_CA": str(ca),
        "SERVICE_INSTANCE_ID": team.ids["prod"],
        "ROOT_KEY_CRN": team.keys[0],
        "OPENSCALE_APIKEY": api_key,
        "DEMO_TOKEN": team.caller("demo", "get datamartcredentials"),
        "IBM_KEY_PROTECT_API_AUTH_URL": emulator.iam_url,
    }


def shape(found: Any) -> Any:
    """Which members there are, at any depth, and of which type."""
    if isinstance(found, dict):
        return {name: shape(value) for name, value in found.items()}
    if isinstance(found, list):
        return [shape(value) for value in found]
    return type(found)


def run(environment: dict[str, str], commands: list[str], folder: Path) -> list[str]:
    """The output of each block, all of them in one shell that ends at the first failure."""
    script = "".join(f"{block}\necho; echo '{MARK}'\n" for block in commands)
    done = subprocess.run(
        ["sh", "-eu"], input=script, env=environment, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [text.strip() for text in done.stdout.split(MARK)]


def test_the_page_works_as_it_stands(environment: dict[str, str], team: Team, tmp_path: Path) -> None:
    """One after the other, each block does what the page says, and answers in the shape that it shows; afterwards
    there is nothing left, under no root key of a customer's."""
    commands = [text.replace("NAMESPACE=demo", f"NAMESPACE={team.namespace}") for kind, text in BLOCKS if kind == "sh"]
    answers = run(environment, commands, tmp_path)
    compared = number = 0
    for position, (kind, _) in enumerate(BLOCKS):
        if kind != "sh":
            continue
        answer, number = answers[number], number + 1
        shown = BLOCKS[position + 1] if position + 1 < len(BLOCKS) else ("sh", "")
        if shown[0] == "json":
            assert shape(_first(answer)) == shape(json.loads(shown[1])), (commands[number - 1], answer)
        elif shown[0] == "text":
            assert answer == shown[1].strip(), commands[number - 1]
        compared += shown[0] != "sh"
    assert compared == len(BLOCKS) - len(commands)
    assert '"password": "the next password"' in "".join(answers)
    assert not team.scene.api.list("DataMart", team.namespace)
    team.until(lambda: not team.scene.api.list("RootKeyBinding", team.namespace), "its binding is released")
    team.until_protected("global")


def _first(text: str) -> Any:
    """The JSON that an output begins with: curl's own exit code may be told after it."""
    return json.JSONDecoder().raw_decode(text)[0]


@pytest.mark.parametrize("shape_", ["user_root_key_crn", "value"])
def test_ibms_own_call_works_but_for_the_host(
    environment: dict[str, str], team: Team, tmp_path: Path, shape_: str
) -> None:
    """PUT …/openscale/{service-instance-id}/v2/user_preferences/user_root_key_crn with IBM's payload, GET and DELETE of
    it, by curl with nothing but a token; and in the shape of IBM's SDK."""
    url = IBMS.replace("https://aiopenscale.cloud.ibm.com", "$GATEWAY_URL")
    url = url.replace("{service-instance-id}", "$SERVICE_INSTANCE_ID")
    token = next(text for kind, text in BLOCKS if kind == "sh" and text.startswith("TOKEN="))
    call = f'curl -sS --fail-with-body --cacert $GATEWAY_CA -H "Authorization: Bearer $TOKEN" {url}'
    payload = f'{{\\"{shape_}\\": \\"$ROOT_KEY_CRN\\"}}'
    commands = [token, f'{call} -X PUT -H "Content-Type: application/json" -d "{payload}"', call, f"{call} -X DELETE"]
    _, put, get, delete, _ = run(environment, commands, tmp_path)
    assert json.loads(put)[shape_] == team.keys[0]
    assert json.loads(get) == {"value": team.keys[0]}
    assert not delete or "progress" in json.loads(delete)
    team.until_protected("global")
