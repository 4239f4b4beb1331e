"""What a read costs others once a gateway is warm, counted where it would be paid: nothing."""

import http.client
import time
from collections import Counter

from local_cluster import audit
from openscale_byok.engine.rights import ALLOWED_SECONDS, KNOWN_SECONDS
from stage.scene import GATEWAY_ACCOUNT, NAMESPACE
from stage.team import Team

GATEWAY = f"system:serviceaccount:{NAMESPACE}:{GATEWAY_ACCOUNT}"
READS = 400
MARTS = 40
QUESTIONS = 2
"""About the right to read all of a namespace: without a name, and by the name that no object has."""
LIMITS = {"GATEWAY_REQUESTS_PER_SECOND": "10000", "GATEWAY_BURST": "10000"}


def test_a_warm_read_asks_nobody(team: Team) -> None:
    """Hundreds of reads, half of them of what the caller has already: no call to Key Protect, nothing read from the API
    server, and who may is asked once in the seconds that an answer is kept."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m")
    team.until_protected(key)
    token, path = team.caller("reader", "get datamartcredentials"), f"/v1/namespaces/{team.namespace}/datamarts/m"
    # One that does not look at root keys by itself while we count, and nobody else who does.
    with team.scene.gateway("warm", KEY_POLL_SECONDS="3600", **LIMITS) as gateway:
        team.until(lambda: gateway.call("GET", f"{path}/credentials", token).status == 200, "it serves")
        team.scene.operator.stop()
        log = team.scene.cluster.audit_log
        assert log is not None
        connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, context=gateway.trust(), timeout=60)
        headers = {"Authorization": f"Bearer {token}"}
        calls, since, began = team.calls(), audit.position(log), time.monotonic()
        statuses: Counter[int] = Counter()
        for _ in range(READS):
            connection.request("GET", f"{path}/credentials", headers=headers)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            tag = answer.headers["ETag"]
            headers = (
                headers | {"If-None-Match": tag}
                if "If-None-Match" not in headers
                else {"Authorization": headers["Authorization"]}
            )
        seconds = time.monotonic() - began
        connection.close()
        asked = Counter(event.target for event in audit.requests(log, since) if event.user == GATEWAY)
        in_team = [e for e in audit.requests(log, since) if e.user == GATEWAY and e.namespace == team.namespace]
        assert team.calls() == calls, "Key Protect was asked"
    assert statuses == {200: READS // 2, 304: READS // 2}
    assert not [event for event in in_team if event.is_read], asked
    assert asked["tokenreviews"] <= 1 + seconds / KNOWN_SECONDS
    assert asked["subjectaccessreviews"] <= QUESTIONS * (1 + seconds / ALLOWED_SECONDS)


def test_many_data_marts_cost_no_more_questions_than_one(team: Team) -> None:
    """Who may read all of a namespace is asked about as often for forty data marts as for one."""
    (key,) = team.root_keys()
    names = [f"m{number}" for number in range(MARTS)]
    team.instance()
    team.bind("a", key)
    team.marts(*names)
    team.until_protected(key)
    token = team.caller("reader", "get datamartcredentials")
    with team.scene.gateway("many", **LIMITS) as gateway:
        log = team.scene.cluster.audit_log
        assert log is not None
        since, began = audit.position(log), time.monotonic()
        for name in names:
            path = f"/v1/namespaces/{team.namespace}/datamarts/{name}/credentials"
            team.until(lambda path=path: gateway.call("GET", path, token).status == 200, f"{name} is read")
        seconds = time.monotonic() - began
        asked = Counter(event.target for event in audit.requests(log, since) if event.user == GATEWAY)
    assert asked["subjectaccessreviews"] <= QUESTIONS * (1 + seconds / ALLOWED_SECONDS)
