"""Two namespaces that claim one service instance id: neither gets at the other one, nor learns which one it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from stage.gateway_process import Gateway
from stage.team import Team

from .test_gateway_data_marts import RIGHTS, body, path

Crowd = Callable[[int], AbstractContextManager[list[Team]]]
BIND = ("create,delete,list rootkeybindings", "bind openscaleinstances")


def test_who_claims_an_id_first_gets_no_password_of_another_team(gateway: Gateway, crowd: Crowd) -> None:
    """A password goes to the namespace that its giver has rights in, or nowhere: never to the one that came first."""
    with crowd(2) as (stranger, team):
        stranger.root_keys()
        stranger.instance()
        stranger.marts("theirs")
        stranger.until_ready("theirs")
        (key,) = team.root_keys()
        team.ids["prod"] = stranger.ids["prod"]
        team.instance()
        told = team.until_reason("OpenScaleInstance", "prod", "Conflict")
        keeper = team.caller("keeper", *RIGHTS, *BIND)
        preference = path(team).replace("data_marts", "user_preferences/user_root_key_crn")
        answers = [
            gateway.call("POST", path(team), keeper, body(team.password())),
            gateway.call("PUT", preference, keeper, {"user_root_key_crn": key}),
        ]
        assert [(answer.status, answer.code) for answer in answers] == [(409, "Conflict")] * 2
        assert gateway.call("GET", path(team), keeper).json == {"data_marts": []}
        assert [mart["metadata"]["name"] for mart in stranger.scene.api.list("DataMart", stranger.namespace)] == [
            "theirs"
        ]
        assert not team.scene.api.list("DataMart", team.namespace)
        assert not team.scene.api.list("RootKeyBinding", team.namespace)
        events = team.scene.api.list("Event", team.namespace)
        assert any(event["reason"] == "Conflict" for event in events)
        everything = (told, events, team.get("OpenScaleInstance", "prod"), [answer.body for answer in answers])
        assert stranger.namespace + "/" not in str(everything)
        assert stranger.namespace not in str(everything).replace(team.namespace, "")


def test_who_may_in_both_namespaces_is_asked_to_settle_it(gateway: Gateway, crowd: Crowd) -> None:
    """Nobody guesses: an admin of both is refused, and told where the id is claimed."""
    with crowd(2) as (first, second):
        first.instance()
        second.ids["prod"] = first.ids["prod"]
        first.until_ready("prod", kind="OpenScaleInstance")
        second.instance()
        second.until_reason("OpenScaleInstance", "prod", "Conflict")
        token = first.caller("keeper", *RIGHTS)
        keeper = {"kind": "ServiceAccount", "name": "keeper", "namespace": first.namespace}
        second.grant("keeper", keeper, *RIGHTS)
        refused = gateway.call("POST", path(first), token, body(first.password()))
        assert (refused.status, refused.code) == (409, "Conflict")
        assert "settings.allowedInstances" in refused.message
        for team in (first, second):
            assert not team.scene.api.list("DataMart", team.namespace)
