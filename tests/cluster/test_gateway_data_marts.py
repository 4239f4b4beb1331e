"""Data marts over OpenScale's API and by kubectl are the same objects; a given password is nowhere in plain."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stage.gateway_process import Gateway
from stage.program import Answer
from stage.team import MARKER, Team

RIGHTS = ("get openscaleinstances", "get,list,create,patch,delete datamarts", "get datamartcredentials")
Ask = Callable[..., Answer]


def path(team: Team, id_: str = "") -> str:
    """The data marts of the team's instance, or one of them."""
    return f"/openscale/{team.ids['prod']}/v2/data_marts" + (f"/{id_}" if id_ else "")


def body(password: str, **credentials: Any) -> dict[str, Any]:
    """What OpenScale's SDK sends."""
    at = {"hostname": "db.example.com", "port": 5432, "db": "marts", "username": "scorer", "password": password}
    return {
        "name": "Scores of 2026",
        "description": "nightly",
        "internal_database": False,
        "database_configuration": {
            "database_type": "postgresql",
            "credentials": at | {"sslmode": "verify-full"} | credentials,
            "location": {"schema_name": "scores"},
        },
    }


@pytest.fixture
def ask(gateway: Gateway, team: Team) -> Ask:
    """A request of somebody who keeps data marts, about a team's instance under its own root key."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_reason("RootKeyBinding", "a", "InForce")
    token = team.caller("keeper", *RIGHTS)

    def asked(method: str, at: str, body: object = None) -> Answer:
        return gateway.call(method, at, token, body)

    return asked


def test_one_made_here_is_seen_there(ask: Ask, team: Team) -> None:
    """POST makes a DataMart that kubectl shows, sealed, without a Secret; its password opens, and never comes back."""
    secrets = {found["metadata"]["name"] for found in team.scene.api.list("Secret", team.namespace)}
    password = team.password()
    made = ask("POST", path(team), body(password))
    assert made.status == 202, made.body
    id_ = made.json["metadata"]["id"]
    team.until_ready(id_)
    shown = ask("GET", path(team, id_))
    assert shown.json["entity"]["status"] == {"state": "active"}
    assert shown.json["entity"]["name"] == "Scores of 2026"
    assert set(shown.json["entity"]["database_configuration"]["credentials"]) == {"secret_id"}
    found = team.get("DataMart", id_)
    assert found["spec"]["database"]["host"] == "db.example.com"
    assert "secretRef" not in json.dumps(found["spec"])
    assert found["status"]["sealedPassword"]["source"] == {
        "uid": "", "resourceVersion": "", "given": True, "handover": False, "revision": 1,
    }  # fmt: skip
    assert {s["metadata"]["name"] for s in team.scene.api.list("Secret", team.namespace)} == secrets
    team.passwords[id_] = password
    team.prove(team.keys[0])
    read = ask("GET", f"/v1/namespaces/{team.namespace}/datamarts/{id_}/credentials")
    assert (read.json["password"], read.json["revision"]) == (password, 1)
    assert MARKER not in made.body.decode() + shown.body.decode()


def test_one_made_there_is_seen_here(ask: Ask, team: Team) -> None:
    """A DataMart of kubectl's is listed and shown with its state; deleted there, it is gone here."""
    team.marts("by-kubectl")
    team.until_ready("by-kubectl")
    (only,) = ask("GET", path(team)).json["data_marts"]
    assert (only["metadata"]["id"], only["entity"]["status"]["state"]) == ("by-kubectl", "active")
    refused = ask("DELETE", path(team, "by-kubectl"))
    assert (refused.status, refused.code) == (409, "NotOurs")
    team.delete("DataMart", "by-kubectl")
    team.until(lambda: ask("GET", path(team)).json["data_marts"] == [], "it is gone here too")
    assert ask("GET", path(team, "by-kubectl")).status == 404


def test_a_new_password_by_patch_takes_the_place_of_the_former(ask: Ask, team: Team) -> None:
    """PATCH with another password seals it for the same endpoint; another endpoint needs the password along."""
    first, second = team.password(), team.password()
    id_ = ask("POST", path(team), body(first)).json["metadata"]["id"]
    at = "/database_configuration/credentials"
    patched = ask("PATCH", path(team, id_), [{"op": "replace", "path": f"{at}/password", "value": second}])
    assert patched.status == 200, patched.body
    credentials = f"/v1/namespaces/{team.namespace}/datamarts/{id_}/credentials"
    team.until(lambda: ask("GET", credentials).json.get("password") == second, "the new one is handed out")
    move = [{"op": "replace", "path": f"{at}/hostname", "value": "elsewhere.example.com"}]
    refused = ask("PATCH", path(team, id_), move)
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    both = [*move, {"op": "replace", "path": f"{at}/password", "value": second}]
    assert ask("PATCH", path(team, id_), both).status == 200
    team.until_ready(id_)
    assert ask("GET", credentials).json["hostname"] == "elsewhere.example.com"


def test_while_the_root_key_says_no_nothing_is_kept(ask: Ask, team: Team) -> None:
    """A disabled root key refuses the POST, and no data mart is left of it."""
    team.scene.emulator.disable(team.keys[0])
    refused: list[Answer] = []

    def clear() -> bool:
        refused.append(ask("POST", path(team), body(team.password())))
        return refused[-1].status == 403

    team.until(clear, "the gateway knows that it is disabled")
    assert refused[-1].code == "KeyDisabled"
    before = len(team.scene.api.list("DataMart", team.namespace))
    assert ask("POST", path(team), body(team.password())).status == 403
    assert len(team.scene.api.list("DataMart", team.namespace)) == before


def test_given_passwords_move_with_their_root_key(ask: Ask, team: Team) -> None:
    """A binding to another root key moves what was given like everything else; and it stays so without any root key."""
    password = team.password()
    id_ = ask("POST", path(team), body(password)).json["metadata"]["id"]
    team.passwords[id_] = password
    team.until_ready(id_)
    team.delete("RootKeyBinding", "a")
    team.until_gone("RootKeyBinding", "a")
    team.prove("global")
    assert team.condition("DataMart", id_, "SourceRemoved")["reason"] == "Given"
