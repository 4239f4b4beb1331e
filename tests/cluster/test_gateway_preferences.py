"""The gateway's user preferences: a root key is bound, changed and taken back by HTTP, for those who may."""

import json
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

import pytest

from stage.gateway_process import Gateway
from stage.program import Answer
from stage.team import Team

BINDER = ("get openscaleinstances", "list,create,delete rootkeybindings", "bind openscaleinstances/prod")
KEY = "user_root_key_crn"
WAIT = {"Prefer": "wait=20"}
Ask = Callable[..., Answer]


def path(team: Team, key: str = KEY) -> str:
    """The preference of the team's instance."""
    return f"/openscale/{team.ids['prod']}/v2/user_preferences" + (f"/{key}" if key else "")


@pytest.fixture
def ask(gateway: Gateway, team: Team) -> Ask:
    """A request of somebody who may bind, about the instance of a team with two data marts and two root keys."""
    team.root_keys(2)
    team.instance()
    team.marts("m1", "m2")
    team.until_protected("global")
    token = team.caller("binder", *BINDER)

    def asked(method: str, body: object = None, *, key: str = KEY, **headers: str) -> Answer:
        return gateway.call(method, path(team, key), token, body, headers)

    return asked


@pytest.mark.parametrize("shape", [KEY, "value"])
def test_a_root_key_is_bound(ask: Ask, team: Team, shape: str) -> None:
    """PUT makes one binding that is the gateway's own, in both shapes of the body, and answers once all is moved."""
    assert ask("GET").status == 404
    assert ask("GET", key="").json == {}
    answer = ask("PUT", {shape: team.keys[0]}, **WAIT)
    assert (answer.status, answer.json, answer.headers["preference-applied"]) == (200, {shape: team.keys[0]}, "wait=20")
    team.prove(team.keys[0])
    (binding,) = team.scene.api.list("RootKeyBinding", team.namespace)
    assert binding["metadata"]["labels"] == {"openscale.byok.dev/managed-by": "gateway"}
    assert "credentials" not in binding["spec"]
    assert ask("GET").json == {"value": team.keys[0]}
    assert ask("GET", key="").json == {KEY: team.keys[0]}


def test_the_same_root_key_again_changes_nothing(ask: Ask, team: Team) -> None:
    """A second PUT of the same CRN writes nothing at all."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    before = team.scene.api.list("RootKeyBinding", team.namespace)
    answer = ask("PUT", {KEY: team.keys[0]}, **WAIT)
    assert (answer.status, answer.json) == (200, {KEY: team.keys[0]})
    assert [b["metadata"]["uid"] for b in team.scene.api.list("RootKeyBinding", team.namespace)] == [
        b["metadata"]["uid"] for b in before
    ]


def test_another_root_key_takes_over_without_the_global_key_in_between(ask: Ask, team: Team) -> None:
    """A PUT of another CRN makes the next binding and deletes the former: no data key is made under the global key."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    answer = ask("PUT", {KEY: team.keys[1]})
    assert answer.status == 202
    assert answer.json[KEY] == team.keys[1]
    assert "re-encrypted" in answer.json["progress"]["message"] or "binding" in answer.json["progress"]["message"]
    assert answer.headers["location"] == path(team)
    seen: set[str] = set()

    def moved() -> bool:
        keys = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
        seen.update(key["rootKey"] for key in keys)
        return [key["rootKey"] for key in keys] == [team.keys[1]]

    team.until(moved, "everything is under the second root key")
    assert seen <= set(team.keys)
    team.until_protected(team.keys[1])
    team.prove(team.keys[1])
    assert ask("GET").json == {"value": team.keys[1]}
    team.until(lambda: len(team.scene.api.list("RootKeyBinding", team.namespace)) == 1, "the former binding is gone")


def test_a_root_key_is_taken_back(ask: Ask, team: Team) -> None:
    """DELETE deletes the binding; everything is under the global key when it answers. A second DELETE finds nothing."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    assert ask("DELETE", **WAIT).status == 204
    team.prove("global")
    assert ask("DELETE").status == 404
    # The way back makes a data key of its own.
    assert ask("PUT", {KEY: team.keys[0]}, **WAIT).status == 200


def test_a_patch_binds_and_takes_back(ask: Ask, team: Team) -> None:
    """PATCH is a JSON Patch: add, test, replace and remove of the one preference."""
    add = [{"op": "add", "path": f"/{KEY}", "value": team.keys[0]}]
    assert ask("PATCH", add, key="", **WAIT).status == 200
    other = [{"op": "test", "path": f"/{KEY}", "value": team.keys[1]}, {"op": "remove", "path": f"/{KEY}"}]
    refused = ask("PATCH", other, key="")
    assert (refused.status, refused.code) == (409, "Conflict")
    right = [{"op": "test", "path": f"/{KEY}", "value": team.keys[0]}, {"op": "remove", "path": f"/{KEY}"}]
    assert ask("PATCH", right, key="", **WAIT).status == 204
    assert ask("GET").status == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_crn_that_key_protect_does_not_confirm(ask: Ask, team: Team, method: str) -> None:
    """A false account is answered at once with the CRN that Key Protect names; what is in force stays untouched."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    false = team.keys[1].replace(team.keys[1].split(":")[6], "a/" + "f" * 32)
    before = team.scene.api.list("RootKeyBinding", team.namespace)
    if method == "PUT":
        answer = ask("PUT", {KEY: false}, **WAIT)
    else:
        answer = ask("PATCH", [{"op": "replace", "path": f"/{KEY}", "value": false}], key="", **WAIT)
    assert (answer.status, answer.code) == (409, "CRNMismatch")
    assert "openscale-byok-revoked" not in answer.headers, "what was handed out before is as good as it was"
    message = answer.json["errors"][0]["message"]
    assert false in message
    assert team.keys[1] in message
    assert [b["metadata"]["uid"] for b in team.scene.api.list("RootKeyBinding", team.namespace)] == [
        b["metadata"]["uid"] for b in before
    ]
    assert ask("GET").json == {"value": team.keys[0]}
    team.prove(team.keys[0])
    assert ask("PUT", {KEY: team.keys[1]}, **WAIT).status == 200


def test_a_crn_is_not_confirmed_until_after_the_answer(ask: Ask, team: Team) -> None:
    """Key Protect is away when it is asked for: the answer says so as soon as it is known, and protection stays."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    false = team.keys[1].replace(team.keys[1].split(":")[6], "a/" + "f" * 32)
    team.scene.emulator.fault("metadata", key=team.keys[1], status=503, times=1)
    answer = ask("PUT", {KEY: false}, **WAIT)
    assert (answer.status, answer.code) == (409, "CRNMismatch")
    team.prove(team.keys[0])
    assert ask("PUT", {KEY: team.keys[1]}, **WAIT).status == 200
    team.prove(team.keys[1])


def test_a_binding_of_somebody_else_is_left_alone(ask: Ask, team: Team) -> None:
    """What kubectl or Git bound is shown, and neither changed nor taken back: the answer names it."""
    team.bind("from-git", team.keys[0])
    team.until_protected(team.keys[0])
    assert ask("GET").json == {"value": team.keys[0]}
    for method, body in (("PUT", {KEY: team.keys[1]}), ("PUT", {KEY: team.keys[0]}), ("DELETE", None)):
        answer = ask(method, body)
        assert (answer.status, answer.code) == (409, "NotOurs")
        assert "from-git" in answer.message


def test_what_is_asked_wrongly_is_answered_with_the_cure(ask: Ask, team: Team) -> None:
    """Each bad body or key is a 400 in OpenScale's shape that names the field and what to send; nothing is bound."""
    instance_crn = team.keys[0].rpartition(":key:")[0] + "::"
    bad = [
        ("PUT", {KEY: instance_crn}, KEY, "CRN of an instance"),
        ("PUT", {KEY: "crn:v1:whatever"}, KEY, "must be the CRN of a root key"),
        ("PUT", {KEY: 7}, KEY, "must be a string"),
        ("PUT", {"key": team.keys[0]}, KEY, "the body must be"),
        ("PUT", [team.keys[0]], KEY, "the body must be"),
        ("PUT", b"{", KEY, "JSON"),
        ("PUT", {"value": "dark"}, "theme", "keeps the preference user_root_key_crn and no other"),
        ("DELETE", None, "theme", "keeps the preference user_root_key_crn and no other"),
        ("PATCH", [{"op": "add", "path": "/theme", "value": "dark"}], "", "keeps no other preference"),
        ("PATCH", {"op": "add"}, "", "an array"),
        ("PATCH", [{"op": "replace", "path": f"/{KEY}", "value": team.keys[0]}], "", "nothing to replace"),
        ("PATCH", [{"op": "copy", "path": f"/{KEY}"}], "", "op must be"),
    ]
    for method, body, key, text in bad:
        answer = ask(method, body, key=key)
        assert (answer.status, answer.code) == (400, "InvalidRequest"), (method, body)
        assert text in answer.message
        assert answer.json["trace"] == answer.headers["x-global-transaction-id"]
    assert not team.scene.api.list("RootKeyBinding", team.namespace)


def test_without_credentials_of_the_instance_nothing_is_bound(gateway: Gateway, team: Team) -> None:
    """A binding made here uses the instance's own credentials: where it has none, the answer says so."""
    (key,) = team.root_keys()
    team.instance()
    team.patch("OpenScaleInstance", "prod", {"spec": {"credentials": None}})
    token = team.caller("binder", *BINDER)
    team.until(lambda: gateway.call("PUT", path(team), token, {KEY: key}).status == 400, "the gateway saw the change")
    assert "spec.credentials" in gateway.call("PUT", path(team), token, {KEY: key}).message


@pytest.mark.parametrize(
    ("rights", "may"),
    [
        (BINDER, True),
        (("get openscaleinstances", "list,create,delete rootkeybindings"), False),
        (("get openscaleinstances", "list,delete rootkeybindings", "bind openscaleinstances/prod"), False),
        (("get openscaleinstances", "list,create,delete rootkeybindings", "bind openscaleinstances/other"), False),
        ((), False),
    ],
)
def test_who_may_bind(gateway: Gateway, team: Team, rights: tuple[str, ...], may: bool) -> None:
    """It takes create and delete of bindings *and* the verb bind on the instance; everybody else is told the same."""
    (key,) = team.root_keys()
    team.instance()
    token = team.caller("somebody", *rights)
    answer = gateway.call("PUT", path(team), token, {KEY: key})
    assert answer.status == (202 if may else 403)
    if not may:
        unknown = f"/openscale/{uuid.uuid4()}/v2/user_preferences/{KEY}"
        nothing = gateway.call("PUT", unknown, token, {KEY: key})
        same = [(a.status, a.json["errors"]) for a in (answer, nothing)]
        assert same[0] == same[1], "whether an instance exists is nobody's business who may not know"
        assert not team.scene.api.list("RootKeyBinding", team.namespace)


def test_each_change_of_a_binding_is_audited(ask: Ask, team: Team) -> None:
    """A line for each change: who, what, which root key, and the caller's own transaction id."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT, **{"x-global-transaction-id": f"mine-{team.namespace}"})
    ask("PUT", {KEY: "nonsense"}, **{"x-global-transaction-id": f"bad-{team.namespace}"})
    lines = [json.loads(line) for line in (team.scene.folder / "gateway.audit").read_text().splitlines()]
    (line,) = [line for line in lines if line.get("transactionId") == f"mine-{team.namespace}"]
    assert line["action"] == "rootkeybinding/create"
    assert line["outcome"] == "success"
    assert line["initiator"]["id"] == f"system:serviceaccount:{team.namespace}:binder"
    assert line["initiator"]["host"]["address"] == "127.0.0.1"
    assert line["target"]["namespace"] == team.namespace
    assert line["target"]["name"].startswith("user-root-key-")
    assert line["rootKey"] == team.keys[0]
    (failed,) = [line for line in lines if line.get("transactionId") == f"bad-{team.namespace}"]
    assert (failed["outcome"], failed["reason"]["reasonCode"]) == ("failure", "InvalidRequest")


def test_who_waits_leaves_room_for_others(ask: Ask, team: Team) -> None:
    """Two of one caller wait, and three in all; one more has its 202 at once; whoever waits is answered."""
    body = {KEY: team.keys[0]}
    ask("PUT", body, **WAIT)
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": True}})
    tokens = [team.caller(name, *BINDER) for name in ("waiter", "neighbour")]
    limits = {"GATEWAY_WAITS": "3", "GATEWAY_WAITS_OF_ONE_CALLER": "2"}
    with team.scene.gateway("waits", **limits) as gateway, ThreadPoolExecutor(5) as pool:
        team.until(lambda: gateway.health("/readyz").status == 200, "the gateway is ready")

        def put(token: str) -> Answer:
            return gateway.call("PUT", path(team), token, {KEY: team.keys[1]}, {"Prefer": "wait=300"})

        def at_once(asking: set[Future[Answer]]) -> None:
            done = wait(asking, 30, FIRST_COMPLETED).done
            (answer,) = (each.result() for each in done)
            assert (answer.status, answer.headers.get("preference-applied")) == (202, None)
            asking -= done

        gateway.call("PUT", path(team), tokens[0], {KEY: team.keys[1]})
        waiting = {pool.submit(put, tokens[0]) for _ in range(3)}
        at_once(waiting)
        waiting |= {pool.submit(put, tokens[1]) for _ in range(2)}
        at_once(waiting)
        assert gateway.call("GET", path(team), tokens[1]).status == 200
        assert not any(each.done() for each in waiting)
        team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": False}})
        assert [each.result().status for each in waiting] == [200] * 3


def test_nobody_waits_who_is_gone(ask: Ask, team: Team) -> None:
    """A client that went away leaves its place to another; one that waits does not keep the gateway from ending."""
    ask("PUT", {KEY: team.keys[0]}, **WAIT)
    team.patch("OpenScaleInstance", "prod", {"spec": {"suspend": True}})
    token, body = team.caller("leaver", *BINDER), json.dumps({KEY: team.keys[1]})
    with team.scene.gateway("leavers", GATEWAY_WAITS_OF_ONE_CALLER="1") as gateway, ExitStack() as stack:
        team.until(lambda: gateway.health("/readyz").status == 200, "the gateway is ready")

        def begin() -> socket.socket:
            """A client that waits: it is not answered soon, as who has no place would be."""
            plain = socket.create_connection(("127.0.0.1", gateway.port), 30)
            sock = gateway.trust().wrap_socket(plain, server_hostname="127.0.0.1")
            head = f"PUT {path(team)} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            sock.sendall(f"{head}Prefer: wait=300\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            sock.settimeout(3)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            return sock

        def has_place() -> bool:
            answer = gateway.call("PUT", path(team), token, body.encode(), {"Prefer": "wait=1"})
            return "preference-applied" in answer.headers

        gone = stack.enter_context(begin())
        assert not has_place()
        gone.close()
        team.until(has_place, "its place is free")
        stack.enter_context(begin())
        assert gateway.stop() == 0
