"""Reading a password over HTTP: what is handed out, to whom, and what everybody else learns (nothing)."""

import base64
import http.client
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from local_cluster import audit
from openscale_byok.core.audit_chain import verify
from openscale_byok.engine.rights import KNOWN_SECONDS, NO_OBJECT, REFUSED_BURST, REFUSED_PER_SECOND
from openscale_byok.resources import GROUP
from stage import manifests
from stage.gateway_process import Gateway
from stage.program import Answer
from stage.team import Team

READ = "get datamartcredentials"
Ask = Callable[..., Answer]


def path(team: Team, name: str = "m1") -> str:
    """A data mart's credentials."""
    return f"/v1/namespaces/{team.namespace}/datamarts/{name}/credentials"


@pytest.fixture
def reader(team: Team) -> str:
    """The token of somebody who may read, in a team with two data marts under its own root key."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m1", "m2")
    team.until_protected(key)
    return team.caller("reader", READ)


def lines(team: Team) -> list[dict[str, Any]]:
    """The audit of the gateway, as far as it is about this team."""
    found = [json.loads(line) for line in (team.scene.folder / "gateway.audit").read_text().splitlines()]
    return [line for line in found if team.namespace in json.dumps(line)]


def test_the_password_and_how_to_use_it(gateway: Gateway, team: Team, reader: str) -> None:
    """Whoever may read gets where to log in, as whom and with what; no cache keeps it; a line says who read it."""
    answer = gateway.call("GET", path(team), reader)
    assert answer.status == 200
    at = team.get("DataMart", "m1")["spec"]["database"]
    assert answer.json == {
        "type": "PostgreSQL", "hostname": at["host"], "port": at["port"], "db": at["name"], "schema": at["schema"],
        "username": at["username"], "password": team.passwords["m1"], "tls": at["tls"], "revision": 0,
    }  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    (line,) = lines(team)
    assert (line["action"], line["outcome"]) == ("datamart.credentials/read", "success")
    assert (line["rootKey"], line["target"]["name"]) == (team.keys[0], "m1")
    assert line["dataKey"] == team.get("DataMart", "m1")["status"]["sealedPassword"]["dataKey"]


def test_who_has_it_already_is_told_so(gateway: Gateway, team: Team, reader: str) -> None:
    """The same ETag while nothing changed: 304 without a body. A new password, or a new data key, has another."""
    first = gateway.call("GET", path(team), reader)
    has = {"If-None-Match": first.headers["etag"]}
    again = gateway.call("GET", path(team), reader, headers=has)
    assert (again.status, again.body) == (304, b"")
    assert gateway.call("GET", path(team, "m2"), reader, headers=has).status == 200
    team.passwords["m1"] = team.password()
    team.patch("Secret", "m1-db", {"stringData": {"password": team.passwords["m1"]}})
    changed = [first]

    def other() -> bool:
        changed.append(gateway.call("GET", path(team), reader, headers=has))
        return changed[-1].status == 200

    team.until(other, "the new password is handed out")
    assert changed[-1].json["password"] == team.passwords["m1"] != first.json["password"]


def test_a_revoked_root_key_opens_nothing(gateway: Gateway, team: Team, reader: str) -> None:
    """Disabled: refused at the next look, also to who has it already, and marked as a revocation; enabled: back."""
    has = {"If-None-Match": gateway.call("GET", path(team), reader).headers["etag"]}
    team.scene.emulator.disable(team.keys[0])
    team.until(lambda: gateway.call("GET", path(team), reader).status == 403, "it is refused")
    for headers in ({}, has):
        refused = gateway.call("GET", path(team), reader, headers=headers)
        assert (refused.status, refused.code) == (403, "KeyDisabled")
        assert refused.headers["openscale-byok-revoked"] == "true"
    denied = [line for line in lines(team) if line["outcome"] == "denied"]
    assert denied
    assert denied[-1]["reason"]["reasonCode"] == "KeyDisabled"
    team.scene.emulator.enable(team.keys[0], ignore_timing=True)
    team.until(lambda: gateway.call("GET", path(team), reader).status == 200, "it is back")


def test_what_does_not_exist_and_what_one_may_not_look_the_same(gateway: Gateway, team: Team, reader: str) -> None:
    """Without the right 403 for everything, word for word; with it, 404 says that there is none."""
    nobody = team.caller("nobody", "get datamarts")
    answers = [gateway.call("GET", path(team, name), nobody) for name in ("m1", "none")]
    assert [(a.status, a.json["errors"]) for a in answers] == [(403, answers[0].json["errors"])] * 2
    assert "openscale-byok-revoked" not in answers[0].headers
    missing = gateway.call("GET", path(team, "none"), reader)
    assert (missing.status, missing.code) == (404, "NotFound")


def test_a_right_is_for_one_namespace_and_for_the_names_it_lists(
    gateway: Gateway, crowd: Callable[..., Any], team: Team, reader: str
) -> None:
    """A right in one namespace is none in another; one for a name is none for the next."""
    only = team.caller("only", f"{READ}/m1")
    assert gateway.call("GET", path(team, "m1"), only).status == 200
    assert gateway.call("GET", path(team, "m2"), only).status == 403
    with crowd(1) as (other,):
        assert gateway.call("GET", path(other), reader).status == 403


@pytest.mark.parametrize("name", ["", NO_OBJECT, "*"])
def test_a_role_for_a_name_that_is_none_reads_nothing(gateway: Gateway, team: Team, reader: str, name: str) -> None:
    """RBAC compares names as text: `resourceNames: [""]` (a template without its value) allows the question without a
    name, which is how the gateway asks about all. Nobody reads by such a Role."""
    resource = {"apiGroups": [GROUP], "resources": ["datamartcredentials"], "verbs": ["get"], "resourceNames": [name]}
    subject = {"kind": "ServiceAccount", "name": "careless", "namespace": team.namespace}
    token = team.caller("careless", "get datamarts")
    team.create(*manifests.role(team.namespace, "nameless", subject, [resource]))
    attributes = {
        "group": GROUP,
        "resource": "datamartcredentials",
        "verb": "get",
        "namespace": team.namespace,
        "name": name,
    }
    spec = {"user": f"system:serviceaccount:{team.namespace}:careless", "resourceAttributes": attributes}
    team.until(lambda: review(team, spec), "the Role is in force")
    assert gateway.call("GET", path(team), token).status == 403


def review(team: Team, spec: Any) -> bool:
    """What the API server's authorizer says."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    found = team.scene.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(found["status"]["allowed"])


def test_a_flood_of_made_up_tokens_keeps_nobody_out_and_fills_nothing(team: Team, reader: str) -> None:
    """From one address, the callers' own: fresh tokens read while it lasts; the API server is asked about few of the
    others, and the audit has two lines about them, which say how many there were; its chain is whole."""
    log = team.scene.cluster.audit_log
    assert log is not None
    fresh = [team.caller(f"fresh-{number}", READ) for number in range(20)]
    with team.scene.gateway("flooded", AUDIT_CHAIN="true") as gateway:
        team.until(lambda: gateway.call("GET", path(team), reader).status == 200, "it serves")
        since, began = audit.position(log), time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            flood = [pool.submit(gateway.call, "GET", path(team), f"made-up-{number}") for number in range(1_000)]
            read = [gateway.call("GET", path(team), token).status for token in fresh]
            answers = Counter(done.result().status for done in flood)
        seconds = time.monotonic() - began
        asked = [event for event in audit.requests(log, since) if event.target == "tokenreviews"]
    assert read == [200] * len(fresh)
    assert set(answers) <= {401, 429}
    assert len(asked) <= len(fresh) + REFUSED_BURST + REFUSED_PER_SECOND * seconds + seconds / KNOWN_SECONDS + 1
    written = (team.scene.folder / "flooded.audit").read_bytes().splitlines(keepends=True)
    refused = [line for line in map(json.loads, written) if line["action"] == "gateway/request"]
    assert [line.get("count", 1) for line in refused] == [1, answers[401] - 1]
    assert verify(written).fault is None


def tokens(team: Team, reader: str) -> dict[str, str]:
    """Tokens that are none here."""
    api_server = team.scene.cluster.token_for(team.namespace, "reader")
    other = team.scene.cluster.token_for(team.namespace, "reader", audience="somebody-else")
    claims = jwt.decode(reader, options={"verify_signature": False})
    secret = "k" * 32
    head, _, signature = reader.split(".")
    return {
        "none": "",
        "default audience": api_server,
        "another audience": other,
        "alg none": jwt.encode(claims, None, algorithm="none"),
        "signed by another": jwt.encode(claims, secret, algorithm="HS256"),
        "changed": ".".join((head, base64.urlsafe_b64encode(b'{"sub":"x"}').decode().rstrip("="), signature)),
        "cut off": reader[:-10],
        "garbage": "garbage",
        "huge": "x" * 7_000,
    }


def test_only_a_token_for_this_gateway_counts(gateway: Gateway, team: Team, reader: str) -> None:
    """No token, wrong audience, unsigned, signed by another, changed: 401 in the same words, and nothing more."""
    told = set()
    for name, token in tokens(team, reader).items():
        answer = gateway.call("GET", path(team), token)
        assert (answer.status, answer.code) == (401, "NotAuthenticated"), name
        assert answer.headers["www-authenticate"] == "Bearer"
        told.add(answer.message)
        assert token not in answer.body.decode() or not token
    assert len(told) <= 2, "without a token one is told to send one; with a bad one nothing more"


def test_an_identity_of_iam_reads_by_its_role_binding(gateway: Gateway, team: Team, reader: str) -> None:
    """An IAM access token is the user iam:<iam_id>: refused without a RoleBinding, served with one."""
    emulator = team.scene.emulator
    service_id = emulator.create_service_id(name=team.namespace)
    token = emulator.token(emulator.create_api_key(service_id))
    iam_id = jwt.decode(token, options={"verify_signature": False})["iam_id"]
    assert gateway.call("GET", path(team), token).status == 403
    team.grant("iam", {"kind": "User", "name": f"iam:{iam_id}", "apiGroup": "rbac.authorization.k8s.io"}, READ)
    team.until(lambda: gateway.call("GET", path(team), token).status == 200, "the right counts")
    read = [line for line in lines(team) if line["outcome"] == "success"]
    assert (read[-1]["initiator"]["id"], read[-1]["initiator"]["by"]) == (f"iam:{iam_id}", "iam")


def raw(gateway: Gateway, target: str, token: str) -> tuple[int, bytes]:
    """A request whose target goes out just as it is."""
    head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as plain,
        gateway.trust().wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(head.encode("latin-1"))
        answer = http.client.HTTPResponse(sock)  # type: ignore[arg-type]
        answer.begin()
        return answer.status, answer.read()


def test_tricks_with_the_path_lead_nowhere(
    gateway: Gateway, crowd: Callable[..., Any], team: Team, reader: str
) -> None:
    """Dots, encoded slashes and doubled ones never turn a right in one namespace into one in another."""
    with crowd(1) as (other,):
        (key,) = other.root_keys()
        other.instance()
        other.bind("a", key)
        other.marts("m1")
        other.until_protected(key)
        mine, theirs = team.namespace, other.namespace
        for target in (
            f"/v1/namespaces/{mine}/datamarts/..%2f..%2f{theirs}%2fdatamarts%2fm1/credentials",
            f"/v1/namespaces/{mine}/datamarts/../../{theirs}/datamarts/m1/credentials",
            f"/v1/namespaces/{mine}%2f..%2f{theirs}/datamarts/m1/credentials",
            f"/v1/namespaces//{theirs}/datamarts/m1/credentials",
            f"/v1/namespaces/{mine}/../{theirs}/datamarts/m1/credentials",
            f"//v1/namespaces/{theirs}/datamarts/m1/credentials",
            f"/v1/namespaces/{theirs}/datamarts/m1%00/credentials",
            f"/v1/namespaces/{theirs.upper()}/datamarts/m1/credentials",
            f"/v1/namespaces/{mine}/datamarts/m1/credentials/../../../../{theirs}/datamarts/m1/credentials",
        ):
            status, body = raw(gateway, target, reader)
            assert status in (400, 403, 404), target
            assert other.passwords["m1"].encode() not in body
            assert b'"password"' not in body


def test_two_instances_with_one_id_are_no_way_in(gateway: Gateway, team: Team, reader: str) -> None:
    """An instance that claims an id that another one holds gets nothing: not by the id, not by its own data marts."""
    team.ids["twin"] = team.ids["prod"]
    team.instance("twin")
    team.until_reason("OpenScaleInstance", "twin", "Conflict")
    team.source("twin-db", password=team.password())
    team.marts("t1", instance="twin")
    answer = gateway.call("GET", path(team, "t1"), reader)
    assert answer.status in (409, 503)
    assert '"password"' not in answer.body.decode()
    holder = team.caller("who", "get openscaleinstances", "list rootkeybindings")
    found = gateway.call("GET", f"/openscale/{team.ids['prod']}/v2/user_preferences", holder)
    assert found.json == {"user_root_key_crn": team.keys[0]}


def test_every_answer_carries_the_callers_own_transaction(gateway: Gateway, team: Team, reader: str) -> None:
    """The caller's id comes back and is audited; one that could break a line is replaced."""
    for given, kept in (("abc-1", True), ('a" b', False), ("x" * 300, False)):
        answer = gateway.call("GET", path(team), reader, headers={"X-Global-Transaction-ID": given})
        assert (answer.headers["x-global-transaction-id"] == given) is kept
    assert gateway.call("GET", "/nothing/here", reader).headers["x-global-transaction-id"]


def test_old_tls_is_refused(gateway: Gateway) -> None:
    """TLS 1.1 gets no handshake, and no answer comes without TLS."""
    context = gateway.trust()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_it_says_when_it_is_ready(gateway: Gateway, team: Team, reader: str) -> None:
    """/livez and /readyz answer on the other port, and /metrics counts what was answered, naming no data mart."""
    gateway.call("GET", path(team), reader)
    assert gateway.health("/livez").status == 200
    assert gateway.health("/readyz").status == 200
    metrics = gateway.health("/metrics").body.decode()
    assert 'openscale_byok_gateway_requests_total{code_class="2xx"' in metrics.replace(", ", ",") or "2xx" in metrics
    assert "m1" not in metrics
