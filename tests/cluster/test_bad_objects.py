"""An object that the API server holds and our models refuse: what another version's CRDs leave behind."""

import pytest

from openscale_byok.resources import GROUP
from stage.api import ApiError
from stage.scene import ROOT
from stage.team import Team

PORT = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/database/properties/port/maximum"


@pytest.mark.parametrize("restart", [False, True], ids=["by an event", "by a list"])
def test_an_object_of_another_shape_stops_its_instance_which_says_so(team: Team, restart: bool) -> None:
    """InvalidObject names the object and the cure; nothing is decided without it; mended, all goes on."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", "bad", handover=True)
    team.until_ready("one", "bad")
    team.until_settled()
    kubectl = team.scene.kubectl
    change = f'[{{"op": "replace", "path": "{PORT}", "value": 70000}}]'
    try:
        kubectl("patch", "crd", f"datamarts.{GROUP}", "--type=json", "-p", change)
        if restart:
            team.scene.operator.kill()

        def taken() -> bool:
            try:
                team.patch("DataMart", "bad", {"spec": {"database": {"port": 66000}}})
            except ApiError:
                return False
            return True

        team.until(taken, "the API server takes such a port")
        if restart:
            team.scene.operator.start()
        found = team.until_reason("OpenScaleInstance", "prod", "InvalidObject")
        assert "DataMart bad" in found["message"]
        assert "are the CRDs of this version applied?" in found["message"]
        assert team.condition("OpenScaleInstance", "prod", "Stalled")["status"] == "True"
        team.delete("RootKeyBinding", "a")
        team.until_settled()
        team.nothing_written()
        assert team.get("RootKeyBinding", "a"), "no key goes while it is not known who needs it"
        team.patch("DataMart", "bad", {"spec": {"database": {"port": 5432}}})
        team.until_gone("RootKeyBinding", "a")
        team.until_protected("global")
        team.until_ready("one", "bad")
        team.prove("global")
    finally:
        kubectl("apply", "-k", str(ROOT / "crds"))
        team.scene.until(lambda: _answers(team), "its storage is there again")


def _answers(team: Team) -> bool:
    try:
        team.scene.api.list("DataMart", team.namespace)
    except ApiError:  # 429: the storage of a changed definition is being initialized
        return False
    return True
