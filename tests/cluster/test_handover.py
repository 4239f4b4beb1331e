"""A hand-over on a real API server, stopped in the one moment that matters: its Secret's delete is on its way.

An admission webhook of this test's own holds the request inside the API server for as long as the test says.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local_cluster.certificates import Authority
from openscale_byok.resources import FINALIZER
from stage import manifests
from stage.team import Team

SOME = 10
SECONDS = 20
"""Longer than a test holds a request; shorter than the API server and the operator wait for an answer."""


class Gate:
    """Where a request waits: it came, and it may go on, or is refused."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.decided = threading.Event()
        self.allowed = True

    def decide(self, *, allowed: bool) -> None:
        """Let what waits, and whatever comes after it, through; or refuse it."""
        self.allowed = allowed
        self.decided.set()


@pytest.fixture
def gate(team: Team, tmp_path: Path) -> Iterator[Gate]:
    """Every delete of a Secret of the team's namespace waits here."""
    found = Gate()
    with webhook(found, tmp_path) as (port, authority):
        name = f"gate.{team.namespace}.example.com"
        team.scene.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": name},
                "webhooks": [
                    {
                        "name": name,
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                        "failurePolicy": "Ignore",
                        "timeoutSeconds": SECONDS + 5,
                        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": authority},
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team.namespace}},
                        "rules": [
                            {
                                "apiGroups": [""],
                                "apiVersions": ["v1"],
                                "operations": ["DELETE"],
                                "resources": ["secrets"],
                            }
                        ],
                    }
                ],
            }
        )
        try:
            yield found
        finally:
            found.decide(allowed=True)
            team.scene.kubectl("delete", "validatingwebhookconfiguration", name)


@contextmanager
def webhook(gate: Gate, folder: Path) -> Iterator[tuple[int, str]]:
    """A server of admission reviews; its port, and the authority that it is trusted by."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            gate.came.set()
            gate.decided.wait(SECONDS)
            answer = {"uid": review["request"]["uid"], "allowed": gate.allowed}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    authority = Authority(folder)
    pair = authority.server("gate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, base64.b64encode(authority.certificate.read_bytes()).decode()
        finally:
            server.shutdown()


def until_on_its_way(team: Team, gate: Gate) -> None:
    """Data mart `one` is sealed, and the delete of its hand-over Secret is inside the API server."""
    team.instance()
    team.until_ready("prod", kind="OpenScaleInstance")
    team.marts("one", handover=True)
    assert gate.came.wait(SECONDS), "the operator deletes what was handed over"
    assert team.get("Secret", "one-db")


def test_what_hand_overs_cost(team: Team) -> None:
    """N of them: 2N statuses, as any first seal, and besides 2N changes of finalizers and N deletes."""
    team.instance()
    team.until_ready("prod", kind="OpenScaleInstance")
    names = [f"m{number}" for number in range(SOME)]
    with team.counted() as tally:
        team.marts(*names, handover=True)
        team.until_ready(*names)
        team.until_settled()
    assert tally.writes["datamarts/status"] <= 2 * SOME
    assert tally.writes["datamarts"] == 2 * SOME
    assert tally.writes["secrets"] == SOME
    team.nothing_written()


def test_made_anew_while_its_source_is_deleted(team: Team, gate: Gate) -> None:
    """The data mart is not gone before the delete has ended: nobody makes it anew for a Secret that is about to go."""
    until_on_its_way(team, gate)
    team.delete("DataMart", "one")
    gone = not team.get("DataMart", "one")
    if gone:
        team.create(manifests.datamart(team.namespace, "one", "prod", "one-db"))
    gate.decide(allowed=True)
    if gone:
        team.until_ready("one")
    team.until_gone("DataMart", "one")
    assert not team.get("Secret", "one-db"), "what its owner sees when it is gone is how it stays"


def test_it_is_held_for_that_moment_only(team: Team, gate: Gate) -> None:
    """Before it is Ready it is free again; nothing but the delete's own time is added to a deletion."""
    until_on_its_way(team, gate)
    assert team.get("DataMart", "one")["metadata"]["finalizers"] == [FINALIZER]
    gate.decide(allowed=True)
    team.until_ready("one")
    assert "finalizers" not in team.get("DataMart", "one")["metadata"]
    team.delete("DataMart", "one")
    assert not team.get("DataMart", "one")


@pytest.mark.parametrize("restarted", ["first", "afterwards"])
@pytest.mark.parametrize("what", ["it and its Secret", "its namespace"])
def test_killed_in_the_middle_nothing_hangs(team: Team, gate: Gate, what: str, restarted: str) -> None:
    """The operator's end leaves it held: it goes with its Secret, or its namespace, when an operator is there again."""
    if what == "its namespace" and not team.scene.cluster.has_controller_manager:
        pytest.skip("no controller-manager here: it is what empties a namespace")
    until_on_its_way(team, gate)
    operator = team.scene.operator
    operator.kill()
    gate.decide(allowed=False)
    if restarted == "first":
        team.scene.emulator.clear_faults()
        operator.start()
    gate.decide(allowed=True)
    if what == "it and its Secret":
        team.delete("DataMart", "one")
        if team.get("Secret", "one-db"):
            team.delete("Secret", "one-db")
    else:
        team.scene.api.delete("Namespace", "", team.namespace)
    if restarted == "afterwards":
        assert team.get("DataMart", "one"), "held"
        operator.start()
    team.until_gone("DataMart", "one", 40)


def test_a_second_reader_that_comes_too_late_is_told(team: Team, gate: Gate) -> None:
    """Its Secret is not "not there yet": the message says to whom it was handed over, and what helps."""
    until_on_its_way(team, gate)
    team.create(manifests.datamart(team.namespace, "late", "prod", "one-db"))
    gate.decide(allowed=True)
    team.until_ready("one")
    team.until(
        lambda: "handed over to DataMart one" in team.condition("DataMart", "late").get("message", ""),
        "it says what became of its Secret",
    )


def test_an_endpoint_that_is_changed_too_late_is_named(team: Team, gate: Gate) -> None:
    """Changed while the delete is on its way: the password is asked for anew, and what became of its Secret is said."""
    until_on_its_way(team, gate)
    team.patch("DataMart", "one", {"spec": {"database": {"host": "elsewhere.example.com"}}})
    gate.decide(allowed=True)
    team.until_reason("DataMart", "one", "EndpointChanged")
    assert team.condition("DataMart", "one", "SourceRemoved")["reason"] == "HandedOver"
    assert "finalizers" not in team.get("DataMart", "one")["metadata"]
