"""A password goes where it was given for as it was given for: on a real API server, by kubectl and by the gateway."""

from typing import Any

import pytest

from former_versions import as_former_version, envelope
from sim.certificates import BROKEN, certificate
from stage.gateway_process import Gateway
from stage.team import Team

OURS, THEIRS = certificate("ours"), certificate("theirs")
PROVEN = {"tls": "VerifyFull", "ca_bundle": OURS}


def put(team: Team, name: str, **database: Any) -> None:
    """Change how its database is proven, as an editor may."""
    team.patch("DataMart", name, {"spec": {"database": database}})


def test_less_proof_asks_for_the_password_and_recovers_either_way(team: Team, gateway: Gateway) -> None:
    """An editor's lower TLS mode or own caBundle after a hand-over: EndpointChanged, and nothing is handed out."""
    team.instance()
    team.marts("mode", "bundle", "taken", handover=True, **PROVEN)
    team.marts("added", handover=True, tls="VerifyFull")
    names = ("mode", "bundle", "taken", "added")
    team.until_ready(*names)
    token = team.caller("reader", "get datamartcredentials")

    def read(name: str) -> Any:
        return gateway.call("GET", f"/v1/namespaces/{team.namespace}/datamarts/{name}/credentials", token)

    for name in names:
        team.until(lambda name=name: read(name).status == 200, f"{name} is handed out")
        assert (read(name).json["password"], read(name).json["tls"]) == (team.passwords[name], "VerifyFull")
    put(team, "mode", tls="Disable", caBundle=None)
    put(team, "bundle", caBundle=THEIRS)
    put(team, "taken", caBundle=None)
    put(team, "added", caBundle=THEIRS)
    says = {
        "mode": "spec.database.tls: was lowered from VerifyFull to Disable",
        "bundle": "spec.database.caBundle: holds other certificates",
        "taken": "spec.database.caBundle: was taken out",
        "added": "spec.database.caBundle: was added",
    }
    for name, text in says.items():
        found = team.until_reason("DataMart", name, "EndpointChanged")
        assert text in found["message"]
        assert f"give the password again in Secret {name}-db" in found["message"]
        team.until(lambda name=name: read(name).status == 409, f"{name} is handed out no more")
        refused = read(name)
        assert (refused.status, refused.code) == (409, "EndpointChanged")
        assert text in refused.body.decode()
    team.until_settled()
    team.nothing_written(5)
    put(team, "mode", tls="VerifyFull", caBundle=f"# as it was\n{OURS}")
    team.until_ready("mode", seconds=5)
    for name in names[1:]:
        team.give_again(name, handover=True)
    team.until_ready(*names, seconds=90)
    team.prove("global")
    team.until(lambda: read("added").status == 200, "handed out as it was given now")
    assert read("added").json["ca"] == THEIRS


def test_more_proof_needs_no_password(team: Team) -> None:
    """Raised and lowered again to what it was given for: Ready all along; one step further down: EndpointChanged."""
    team.instance()
    team.marts("one", handover=True, tls="Require")
    team.until_ready("one")
    before = envelope(team, "one").text
    put(team, "one", tls="VerifyFull", caBundle=OURS)
    team.until_ready("one")
    put(team, "one", tls="Require", caBundle=None)
    team.until_ready("one")
    assert envelope(team, "one").text == before
    put(team, "one", tls="Disable")
    team.until_reason("DataMart", "one", "EndpointChanged")
    put(team, "one", tls="Require")
    team.until_ready("one")
    team.prove("global")


def test_a_bundle_that_is_none_is_said_and_nothing_is_sealed_for_it(team: Team) -> None:
    """CABundleInvalid: what has the shape of a certificate passes admission; the source stays until it is mended."""
    team.instance()
    team.marts("one", handover=True, tls="VerifyFull", ca_bundle=BROKEN)
    found = team.until_reason("DataMart", "one", "CABundleInvalid")
    assert "spec.database.caBundle: cannot be read as certificates" in found["message"]
    assert team.condition("DataMart", "one", "Stalled")["status"] == "True"
    team.until_settled()
    team.nothing_written(5)
    assert team.get("Secret", "one-db"), "nothing was consumed"
    put(team, "one", caBundle=f"issuer=CN = ours\n{OURS}")
    team.until_ready("one")
    team.until_gone("Secret", "one-db")
    team.prove("global")


@pytest.mark.parametrize("customer", [True, False])
def test_what_a_former_version_sealed_is_bound_once(team: Team, customer: bool) -> None:
    """After an upgrade each v1 is sealed as a v2, by one write, for what its object says; from then on that holds."""
    root_key = "global"
    if customer:
        (root_key,) = team.root_keys()
    team.instance()
    if customer:
        team.bind("a", root_key)
        team.until_protected(root_key)
    team.marts("one", "two", handover=True, **PROVEN)
    team.until_ready("one", "two")
    team.until_settled()
    team.scene.operator.kill()
    for name in ("one", "two"):
        as_former_version(team, name)
        assert envelope(team, name).context.proof is None
    team.scene.operator.start()
    for name in ("one", "two"):
        team.until(lambda name=name: envelope(team, name).context.proof is not None, f"{name} is bound", 60)
    team.until_ready("one", "two")
    team.prove(root_key)
    team.until_settled()
    team.scene.operator.restart()
    team.until_settled()
    team.nothing_written()
    put(team, "one", tls="Disable", caBundle=None)
    team.until_reason("DataMart", "one", "EndpointChanged")
    put(team, "one", tls="VerifyFull", caBundle=OURS)
    team.until_ready("one", "two")
