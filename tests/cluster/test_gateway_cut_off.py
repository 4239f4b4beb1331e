"""A gateway that is cut off from the API server: no answer from stale rights, and everything back by itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openscale_byok.engine.rights import ALLOWED_SECONDS, KNOWN_SECONDS
from stage.gateway_process import Gateway
from stage.relay import Manner, Relay, relay
from stage.scene import Scene
from stage.team import Team, Vault


@pytest.fixture(scope="module")
def way(scene: Scene) -> Iterator[Relay]:
    """The gateway's way to the API server."""
    server = urlsplit(_config(scene)["clusters"][0]["cluster"]["server"])
    with relay((str(server.hostname), int(server.port or 443))) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(scene: Scene, vault: Vault, way: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that reaches the API server by that way only."""
    folder: Path = tmp_path_factory.mktemp("cut")
    config = _config(scene)
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{way.port}"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    settings = {**scene.settings, "AUDIT_FILE": str(folder / "audit")}
    settings |= {"GATEWAY_REQUESTS_PER_SECOND": "1000", "GATEWAY_BURST": "1000"}
    found = Gateway(kubeconfig, folder / "log", settings, scene.gateway_authority)
    found.start()
    yield found
    assert found.is_alive
    assert found.stop() == 0
    vault.look("the gateway's log", found.log.read_text())
    assert not vault.leaks


def _config(scene: Scene) -> dict:
    return json.loads(scene.gateway_kubeconfig.read_text())


@pytest.mark.parametrize("manner", ["refused", "silent"])
def test_no_answer_from_stale_rights(gateway: Gateway, team: Team, way: Relay, manner: Manner) -> None:
    """Once what was asked a moment ago is over, everybody hears 503 with a time to come back, also who holds the ETag;
    nothing is bound, and a right that is taken away meanwhile is never used again."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m1")
    team.until_protected(key)
    path = f"/v1/namespaces/{team.namespace}/datamarts/m1/credentials"
    stays, goes = team.caller("stays", "get datamartcredentials"), team.caller("goes", "get datamartcredentials")
    # Where it was cut off a moment ago, its watches begin anew only after a pause.
    team.until(lambda: gateway.call("GET", path, stays).status == 200, "it has seen the data mart", 60)
    first = gateway.call("GET", path, stays)
    assert [first.status, gateway.call("GET", path, goes).status] == [200, 200]
    has = {"If-None-Match": first.headers["etag"]}
    try:
        way.be(manner)
        team.delete("RoleBinding", "goes")
        over = max(ALLOWED_SECONDS, KNOWN_SECONDS)
        team.until(lambda: gateway.call("GET", path, stays).status == 503, "what was known is over", over + 10)
        for token in (stays, goes):
            for headers in ({}, has):
                refused = gateway.call("GET", path, token, headers=headers)
                assert (refused.status, refused.code) == (503, "ClusterUnavailable")
                assert int(refused.headers["retry-after"]) >= 1
        put = f"/openscale/{team.ids['prod']}/v2/user_preferences/user_root_key_crn"
        assert gateway.call("PUT", put, stays, {"user_root_key_crn": key}).status == 503
        assert gateway.health("/livez").status == 200
        assert gateway.health("/readyz").status == 503
    finally:
        way.be("open" if manner == "refused" else "refused")
        way.be("open")
    team.until(lambda: gateway.call("GET", path, stays).status == 200, "it is back", 60)
    assert gateway.call("GET", path, goes).code == "NotAllowed"
    team.until(lambda: gateway.health("/readyz").status == 200, "it is ready again", 30)
