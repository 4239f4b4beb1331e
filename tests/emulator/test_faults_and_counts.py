"""Trouble to order, and exact counts: what other tests rest on."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import RemoteDisconnected

import pytest

from key_protect_emulator.control import EmulatorError
from key_protect_emulator.grants import OPERATIONS
from key_protect_emulator.http.routes import routes

CANARY = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbg=="  # base64 of a data key that must never be seen


def test_status_for_the_next_calls(customer) -> None:
    """A fault hits exactly the next n calls of its operation, with Key Protect's error body, and no other."""
    key = customer.root_key()
    customer.emulator.fault("wrap", status=429, retry_after=7, times=2)
    replies = [customer.act(key, "wrap") for _ in range(3)]
    assert [r.status for r in replies] == [429, 429, 200]
    assert replies[0].headers["Retry-After"] == "7"
    assert replies[0].json["metadata"]["collectionType"] == "application/vnd.ibm.kms.error+json"
    assert customer.call("GET", f"/keys/{key}/metadata").status == 200


def test_until_cleared(customer) -> None:
    """A fault without a number holds until it is cleared, by operation or altogether."""
    key, emulator = customer.root_key(), customer.emulator
    emulator.fault("wrap", status=503)
    emulator.fault("metadata", status=500)
    assert [customer.act(key, "wrap").status for _ in range(3)] == [503] * 3
    emulator.clear_faults("wrap")
    assert customer.act(key, "wrap").status == 200
    assert customer.call("GET", f"/keys/{key}/metadata").status == 500
    emulator.clear_faults()
    assert customer.call("GET", f"/keys/{key}/metadata").status == 200


def test_html_body(customer) -> None:
    """A gateway's answer: any body with any content type."""
    customer.emulator.fault("list", status=503, body="<h1>no healthy upstream</h1>", content_type="text/html")
    reply = customer.call("GET", "/keys")
    assert (reply.status, reply.headers["Content-Type"]) == (503, "text/html")
    assert reply.raw == b"<h1>no healthy upstream</h1>"


def test_code_of_key_protect(customer) -> None:
    """A fault may carry one of Key Protect's reason codes."""
    customer.emulator.fault("unwrap", status=422, code="KEY_INVALID_STATE_ERR")
    assert customer.act(customer.root_key(), "unwrap", {}).outcome == (422, "KEY_INVALID_STATE_ERR")


def test_dropped_connection(customer) -> None:
    """A dropped call gets no answer, and is counted as dropped; by default nothing happened."""
    customer.emulator.fault("create", drop=True, times=1)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        customer.create()
    assert customer.call("HEAD", "/keys").headers["Key-Total"] == "0"
    assert customer.emulator.all_counts()["statuses"]["create"] == {"dropped": 1}
    assert customer.create().status == 201


def test_lost_answer(customer) -> None:
    """With `after` the operation takes place and only its answer is lost: a retry makes a second key."""
    customer.emulator.fault("create", drop=True, after=True, times=1)
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        customer.create()
    assert customer.create().status == 201
    assert customer.call("HEAD", "/keys").headers["Key-Total"] == "2"


def test_delay(customer) -> None:
    """A delayed call is answered as usual, later, while others are served meanwhile."""
    key = customer.root_key()
    customer.emulator.fault("wrap", delay=0.3, times=1)
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(customer.act, key, "wrap")
        while customer.emulator.counts().get("wrap", 0) == 0:
            pass  # the call is counted when it arrives, not when it is answered
        assert customer.call("GET", f"/keys/{key}/metadata").status == 200
        assert slow.result().status == 200
    assert time.monotonic() - begun >= 0.3


def test_skip_and_key(customer) -> None:
    """`skip` lets the first calls pass; `key` (CRN or id) narrows a fault to one key, by alias too."""
    mine, other = customer.root_key(aliases=["mine"]), customer.root_key()
    customer.emulator.fault("wrap", status=500, skip=1, key=f"{customer.instance.crn}key:{mine}")
    assert [customer.act(mine, "wrap").status for _ in range(3)] == [200, 500, 500]
    assert customer.act("mine", "wrap").status == 500
    assert customer.act(other, "wrap").status == 200


def test_wildcard_and_iam(customer, wire) -> None:
    """`*` hits every operation; `iam.token` answers with IAM's error body."""
    customer.emulator.fault("*wrap", status=500)
    key = customer.root_key()
    assert [customer.act(key, action, {}).status for action in ("wrap", "unwrap", "rewrap")] == [500] * 3
    customer.emulator.fault("iam.token", status=500, times=1)
    reply = wire.ask_token(customer.emulator.url, grant_type="x")
    assert (reply.status, reply.json["errorCode"][:5]) == (500, "BXNIM")


def test_bad_faults_are_refused(emulator, wire) -> None:
    """A misspelt order is refused, not ignored: a test must not pass for want of its fault."""
    orders = [
        {"operation": "wrap"},
        {"status": 500},
        {"operation": "wrap", "statos": 500},
        {"operation": "wrap", "status": "500"},
        {"operation": "wrop", "status": 500},
        {"operation": "wrap", "status": 99},
    ]
    for order in orders:
        reply = wire.send(emulator.url, "POST", "/emulator/faults", json.dumps(order).encode())
        assert reply.status == 400, order
    assert wire.send(emulator.url, "GET", "/emulator/faults").json == {"faults": []}


def test_counts_are_exact(customer) -> None:
    """Counts by operation, key, status and identity are exact under concurrency, refusals included."""
    key, emulator = customer.root_key(), customer.emulator
    emulator.reset_counts()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: customer.act(key, "wrap"), range(100)))
        list(threads.map(lambda _: customer.act(key, "unwrap", {}), range(50)))
    counts = emulator.all_counts()
    assert counts["total"] == 150
    assert emulator.counts() == {"unwrap": 50, "wrap": 100}
    assert counts["keys"] == {key: {"unwrap": 50, "wrap": 100}}
    assert counts["statuses"] == {"unwrap": {"400": 50}, "wrap": {"200": 100}}
    assert counts["identities"] == {emulator.service_id: {"unwrap": 50, "wrap": 100}}
    emulator.reset_counts()
    assert emulator.counts() == {}


def test_control_is_never_counted(emulator) -> None:
    """Nothing that the control client does appears in the customer's counts."""
    crn = emulator.create_root_key(name="root")
    emulator.key(crn)
    emulator.disable(crn)
    emulator.create_api_key(emulator.create_service_id())
    assert emulator.counts() == {}
    assert emulator.requests()[-1:] == [] or emulator.requests()[-1]["operation"] != "create"


def test_request_log_holds_no_secrets(customer) -> None:
    """The log names operation, key, status and identity of a call; no plaintext, ciphertext, token or API key."""
    key = customer.root_key()
    wrapped = customer.wrap(key, plaintext=CANARY)
    customer.act(key, "unwrap", {"ciphertext": wrapped["ciphertext"]})
    entry = customer.emulator.requests()[-1]
    assert (entry["operation"], entry["key"], entry["status"]) == ("unwrap", key, 200)
    assert entry["identity"] == customer.emulator.service_id
    text = json.dumps(customer.emulator.requests())
    for secret in (CANARY, wrapped["ciphertext"], customer.token, customer.api_key):
        assert secret not in text


def test_every_operation_can_be_named() -> None:
    """Whatever the routes count can be ordered to fail, and is somebody's right."""
    named = {route.operation for route in routes()}
    assert named | {"iam.token", "iam.keys", "iam.configuration", "unknown"} == OPERATIONS


def test_oversized_body(customer) -> None:
    """A body beyond one mebibyte is 413 and counted, and the emulator goes on."""
    key = customer.root_key()
    assert customer.act(key, "wrap", b" " * (2**20 + 1)).status == 413
    assert customer.emulator.counts()["wrap"] == 1
    assert customer.act(key, "wrap").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/emulator/clock", {}, 400),
        ("POST", "/emulator/clock", {"advance_seconds": "1"}, 400),
        ("POST", "/emulator/clock", {"advance_seconds": float("nan")}, 400),
        ("POST", "/emulator/clock", {"advance_seconds": 1e12}, 400),
        ("POST", "/emulator/clock", {"set_epoch": 1, "advance_seconds": 1}, 400),
        ("POST", "/emulator/instances", {"account": "none"}, 404),
        ("POST", "/emulator/keys/none/disable", {}, 404),
        ("POST", "/emulator/service-ids/none/api-keys", {}, 404),
        ("POST", "/emulator/grants", {"identity": "none"}, 404),
        ("DELETE", "/emulator/api-keys", {"api_key": "none"}, 404),
        ("POST", "/emulator/token-issuers", {"issuer": "x", "public_key_pem": "x"}, 400),
        ("POST", "/emulator/token-issuers", {"issuer": "x", "jwks": {"keys": []}}, 400),
        ("POST", "/emulator/trusted-profiles", {"name": "x", "links": [{"issuer": "x"}]}, 400),
    ],
)
def test_control_refuses_nonsense(emulator, wire, method, path, body, status) -> None:
    """A control call that makes no sense is refused with a sentence that says why."""
    reply = wire.send(emulator.url, method, path, json.dumps(body).encode())
    assert reply.status == status
    assert reply.json["error"]


def test_control_errors_reach_the_client(emulator) -> None:
    """The control client raises with the emulator's own words."""
    with pytest.raises(EmulatorError, match="role must be one of Reader"):
        emulator.grant(emulator.service_id, emulator.instance, role="Emperor")


def test_health(emulator, wire) -> None:
    """Health answers without a token, for whatever waits for the emulator."""
    assert wire.send(emulator.url, "GET", "/emulator/health").json["status"] == "ok"
