"""schemathesis asks a running gateway what its OpenAPI document allows, and what it forbids, on a real API server."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openscale_byok.shell.gateway import openapi
from openscale_byok.shell.gateway.openapi_schemas import CRN, INSTANCE_ID
from stage.gateway_process import Gateway
from stage.team import Team

HERE = Path(__file__).parents[1] / "gateway"
EVERYTHING = (
    "get,bind openscaleinstances", "list,create,delete rootkeybindings", "get,list,create,patch,delete datamarts",
    "get datamartcredentials",
)  # fmt: skip
SECONDS = 480


def test_anybody_may_see_the_document(gateway: Gateway) -> None:
    """Without a token, and it is the one that is checked in."""
    answer = gateway.call("GET", openapi.PATH)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json == openapi.document()


@pytest.mark.timeout(SECONDS + 30)
def test_it_is_as_its_document_says(gateway: Gateway, team: Team, tmp_path: Path) -> None:
    """Whatever is asked, by somebody who may do everything in a namespace: no 5xx but an honest 503, no answer, header
    or content type that is not described, nothing refused that is described and nothing taken that is not, 401 without
    the token, 405 with Allow for other methods."""
    keys, passwords = team.root_keys(3), [team.password() for _ in range(3)]
    team.instance()
    team.marts("m1")
    team.until_protected("global")
    id_, ca, schema = team.ids["prod"], tmp_path / "ca.crt", tmp_path / "openapi.json"
    ca.write_text(gateway._certificates())
    # Its examples name what nobody has: here they name what is there.
    text = json.dumps(gateway.call("GET", openapi.PATH).json)
    schema.write_text(text.replace(CRN, keys[0]).replace(INSTANCE_ID, id_).replace("wait=30", "wait=2"))
    formats = {
        "root-key-crn": keys,
        "password": passwords,
        "openscale-instance-crn": [f"crn:v1:bluemix:public:aiopenscale:us-south:a/{'0' * 32}:{id_}::"],
        "pem-base64": [base64.b64encode(ca.read_bytes()).decode()],
    }
    named = {
        "TOKEN": team.caller("everything", *EVERYTHING),
        "INSTANCE": id_,
        "NAMESPACE": team.namespace,
        "FORMATS": json.dumps(formats),
        "FORMATS_FILE": str(HERE / "schema_formats.py"),
    }
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [program, "--config-file", HERE / "schemathesis.toml", "run", schema, "--url", gateway.url, "--tls-verify", ca],
        env=os.environ | named,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
