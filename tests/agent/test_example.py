"""The example Deployment, its containers run as processes of this machine: the real psql logs in."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.running import Process, until
from agent.told import revoked
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.targets import parse
from stage import postgres

ROOT = Path(__file__).parents[2]
POD = yaml.safe_load((ROOT / "examples/workload.yaml").read_text())["spec"]["template"]["spec"]
AUDIENCE = "openscale-byok"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.PostgreSQL]:
    with postgres.run() as started:
        started.create_users([("openscale", "it's: \\ a password")])
        yield started


def variables(container: dict, **instead: str) -> dict[str, str]:
    """A container's environment, with what only this machine knows put in its place."""
    found = {}
    for one in container["env"]:
        value = one.get("value") or {"metadata.namespace": "team-a"}[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for there, here in instead.items():
            value = value.replace(there, here)
        found[one["name"]] = value
    return found


@pytest.mark.skipif(shutil.which("psql") is None, reason="the workload is psql")
async def test_the_workload_logs_in_until_the_root_key_is_revoked(told, server, volume, tmp_path, free_port):
    """First the init container, then the sidecar, then the workload: it logs in, and no longer after a revocation."""
    told.credentials |= {
        "hostname": server.host, "port": server.port, "db": server.database, "password": "it's: \\ a password",
    }  # fmt: skip
    first, sidecar = POD["initContainers"]
    (workload,) = POD["containers"]
    url = variables(first)["OPENSCALE_BYOK_AGENT_URL"]
    places = {url: told.url, "/run/db": str(volume), "/var/run/openscale-byok-ca/ca.crt": str(told.ca_file)}
    places |= {"8082": str(free_port)}

    def agent(container: dict) -> Process:
        command, *arguments = container["args"]
        assert command == "agent"
        names = variables(container, **places) | {"OPENSCALE_BYOK_AGENT_TOKEN_FILE": str(told.token_file)}
        names = {name.removeprefix("OPENSCALE_BYOK_AGENT_"): value for name, value in names.items()}
        return Process(tmp_path / container["name"], *arguments, **names | {"INTERVAL": "0.1"})

    assert await agent(first).ended() == 0
    running = agent(sidecar)
    file = volume / "pg_service.conf"
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | variables(workload, **places)
    environment.pop("PGSSLROOTCERT")  # the psql of this machine may be too old for it
    process = await asyncio.create_subprocess_exec(
        *workload["command"], env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            while b"openscale" not in await process.stdout.readline():
                pass
    finally:
        os.killpg(process.pid, 9)
        await process.wait()
    told.answer = revoked
    await until(lambda: not file.exists())
    assert running.code is None
    running.kill()
    again = await asyncio.create_subprocess_exec(*workload["command"], env=environment)
    assert await again.wait() == 0  # the loop ended at its first login


def test_its_pod_fits_together():
    """Credentials in memory, a token for our audience only, one user; and what the agent writes is what psql reads."""
    volumes = {one["name"]: one for one in POD["volumes"]}
    assert volumes["credentials"]["emptyDir"]["medium"] == "Memory"
    (token,) = volumes["token"]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == AUDIENCE
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsUser"]
    containers = [*POD["initContainers"], *POD["containers"]]
    for one in containers:
        assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes)
        assert one["securityContext"]["readOnlyRootFilesystem"]
    first, sidecar = POD["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["env"] == first["env"]
    goal = parse(variables(first)["OPENSCALE_BYOK_AGENT_TARGETS"], format_=Format.JSON, namespace="team-a")
    workload = variables(POD["containers"][0])
    assert str(goal.file) == workload["PGSERVICEFILE"]
    assert goal.name == workload["PGSERVICE"]
    mart = yaml.safe_load((ROOT / "examples/datamart.yaml").read_text())
    assert goal.name == mart["metadata"]["name"]
