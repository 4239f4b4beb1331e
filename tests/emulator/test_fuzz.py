"""Requests that nobody would write: whatever answers 500 is a bug, and so is an answer in nobody's shape.

A seeded generator takes good requests of every operation (of Key Protect, IAM and the control API) and bends them: a
value of another kind, a field more or less, a query, a header, a path, raw bytes. EMULATOR_FUZZ_REQUESTS sets how many
(the default keeps `make test` short), EMULATOR_FUZZ_SEED which; a failure says how to send the same request again.
"""

import gzip
import json
import os
import random
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from key_protect_emulator.control import Emulator
from key_protect_emulator.http import control, control_iam, control_keys
from key_protect_emulator.http.routes import API, routes

REQUESTS = int(os.environ.get("EMULATOR_FUZZ_REQUESTS", "600"))
SEED = int(os.environ.get("EMULATOR_FUZZ_SEED", "1"))
MATERIAL = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 13, 10**30, 1.5, 1e308, float("nan"), "", " ", "x", "x" * 300, "\x00", "\ud800", "é",
    "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "none", "crn:v1:a:b:c:d:e:f:key:g", ":::::::::", MATERIAL,
    [], [None], [[]], [5], ["192.0.2.0/24"], ["x"], [{}], [{"a": {}}],
    {}, {"enabled": True}, {"enabled": []}, {"crk_id": []},
]  # fmt: skip
ODD_QUERIES = {
    "limit": ["0", "9" * 5_000, "-1", "1e3", "٣", "2"],
    "offset": ["9" * 5_000, "x", "1"],
    "state": ["1,2", "9", ",", "6,5"],
    "filter": [
        "state=1 state=2",
        'creationDate=lt:"9999-12-31T23:59:59-12:00"',
        "=",
        "a=b=c",
        "lastRotateDate=NONE",
        "&",
    ],
    "search": [",", "not:", "exact:exact:", "escape:", "\x00", "é,"],
    "sort": [",", "-", "--id", "id,-id", "lastRotateDate,-expirationDate"],
    "policy": ["rotation", "dualAuthDelete", "allowedNetwork", "x"],
    "action": ["wrap", "rotate", "sync", "x"],
    "extractable": ["TRUE", "x"],
    "force": ["true", "x"],
    "totalCount": ["true", "x"],
    "allKeyStates": ["true", "x"],
    "crk_id": ["x", ""],
    "operation": ["*", "x", "["],
}
ODD_HEADERS = {
    "Content-Encoding": ["gzip", "br", "gzip, gzip", "\xff"],
    "Content-Type": ["x", "application/x-www-form-urlencoded", "text/plain; charset=none"],
    "Correlation-Id": ["\xff\xfe", "x" * 5_000],
    "X-Kms-Key-Ring": ["default", "x", "\xff"],
    "Prefer": ["return=minimal", "return=representation", "x"],
    "Authorization": ["", "Bearer", "Bearer x.y.z", "Basic Yng6Yng=", "Bearer " + "x" * 5_000],
    "Bluemix-Instance": ["", "x", "\xff"],
    "Accept-Encoding": ["gzip", "x"],
}
ODD_BODIES = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe{}",
    b"[" * 50_000,
    b"1" * 5_000,
    gzip.compress(b"{}"),
    b'{"a":1}' * 2,
]
DESTRUCTIVE = {"/service-ids/{id}", "/api-keys", "/trusted-profiles/{id}"}  # of the control API: only with odd names


@dataclass
class Sent:
    """One request, as it goes out."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass
class Scene:
    """What good requests name: an instance with a key of each kind, an adapter, and who may do everything."""

    emulator: Emulator
    names: dict[str, list[str]]
    ciphertext: str
    token: str

    def good_body(self, operation: str, path: str) -> Any:
        """The JSON that the operation takes."""
        resource: dict[str, Any] = {
            "create": {"name": "key", "extractable": False, "expirationDate": "2099-01-01T00:00:00Z", "tags": ["a"]},
            "create_with_policies": {"name": "key", "extractable": False, "rotation": {"interval_month": 2}},
            "key_policies.put": {"rotation": {"enabled": True, "interval_month": 3}},
            "instance_policies.put": {
                "policy_type": random.choice(["allowedNetwork", "rotation", "metrics", "keyCreateImportAccess"]),  # noqa: S311
                "policy_data": {"enabled": True, "attributes": {"allowed_network": "public-and-private"}},
            },
            "kmip.create": {
                "profile": "native_1.0",
                "profile_data": {"crk_id": self.names["key"][0]},
                "certificate": "x",
            },
        }.get(operation, {})
        if resource:
            return {"metadata": {"collectionTotal": 1}, "resources": [resource]}
        flat = {
            "wrap": {"plaintext": MATERIAL, "aad": ["a"]},
            "unwrap": {"ciphertext": self.ciphertext, "aad": ["a"]},
            "rewrap": {"ciphertext": self.ciphertext, "aad": ["a"]},
            "rotate": {"payload": MATERIAL},
            "patch": {"keyRingID": "default"},
            "import_tokens.create": {"expiration": 600, "maxAllowedRetrievals": 2},
        }
        return flat.get(operation) or CONTROL_BODIES.get(path)


LINK = {"issuer": "https://cluster", "namespace": "ns", "service_account": "operator"}
CONTROL_BODIES: dict[str, dict[str, Any]] = {
    "/clock": {"advance_seconds": 1},
    "/faults": {"operation": "sync", "status": 503, "times": 0, "headers": {"a": "b"}, "retry_after": 1, "delay": 0},
    "/accounts": {"name": "account"},
    "/instances": {"name": "instance", "region": "eu-de", "account": None},
    "/keys": {"name": "key", "aliases": [], "payload": MATERIAL, "expirationDate": "2099-01-01T00:00:00Z"},
    "/keys/{key}/{action}": {"ignore_timing": True, "payload": MATERIAL},
    "/kmip-objects": {"adapter": "an-adapter", "state": 2},
    "/service-ids": {"name": "service"},
    "/token-issuers": {"issuer": "x", "audience": "iam", "jwks": {"keys": [{"kty": "RSA", "n": "x", "e": "x"}]}},
    "/trusted-profiles": {"name": "profile", "links": [LINK]},
    "/trusted-profiles/{id}/identities": {"identity": "x"},
    "/grants": {"identity": "x", "role": "Reader", "instance": "x", "key": "x"},
    "/api-keys": {"api_key": "x"},
}  # fmt: skip
TOKEN_FORMS: list[dict[str, str]] = [
    {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "x"},
    {"grant_type": "urn:ibm:params:oauth:grant-type:cr-token", "cr_token": "x.y.z", "profile_id": "x"},
    {"grant_type": "urn:ibm:params:oauth:grant-type:assume", "access_token": "x", "profile_crn": "x"},
    {"grant_type": "refresh_token", "refresh_token": "x"},
]


class Generator:
    """Request number n of a seed is the same in every run, but for ids that the emulator gave."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene, self.any = scene, random.Random(seed)  # noqa: S311 -- chance, not secrets
        kms = [(route.method, API, route.path, route.operation) for route in routes()]
        ours = (*control._OWN, *control_iam.ROUTES, *control_keys.ROUTES)
        self.operations = kms * 2 + [(route.method, control.PREFIX, route.path, "") for route in ours]

    def request(self) -> Sent:
        if self.any.random() < 0.06:
            return self.token_request()
        method, prefix, template, operation = self.any.choice(self.operations)
        own = prefix == control.PREFIX
        path = prefix + self.path(template, odd=own and template in DESTRUCTIVE)
        headers = {} if own else self.known_headers()
        sent = Sent(method, path, headers=headers, body=self.scene.good_body(operation, template if own else ""))
        for _ in range(self.any.choice((0, 1, 1, 2, 3))):
            self.any.choice((self.bend_body, self.bend_body, self.bend_query, self.bend_header, self.bend_bytes))(sent)
        return sent

    def token_request(self) -> Sent:
        form = dict(self.any.choice(TOKEN_FORMS))
        form[self.any.choice(sorted(form))] = self.any.choice(["", "x", "é", "\x00", self.scene.token])
        sent = Sent("POST", "/identity/token", body=urlencode(form).encode())
        if self.any.random() < 0.3:
            self.bend_header(sent)
        return sent

    def known_headers(self) -> dict[str, str]:
        instance = self.scene.emulator.instance.id
        return {"Authorization": f"Bearer {self.scene.token}", "Bluemix-Instance": instance}

    def path(self, template: str, *, odd: bool) -> str:
        strange = ["x", "..", "%", "\x00", "é", "a/b", "9" * 300, "default"]
        parts = []
        for part in template.split("/"):
            if part.startswith("{"):
                known = [] if odd else self.scene.names.get(part.strip("{}"), [])
                part = quote(self.any.choice(known if known and self.any.random() < 0.8 else strange), safe="")  # noqa: PLW2901
            parts.append(part)
        return "/".join(parts)

    def bend_body(self, sent: Sent) -> None:
        """Put a value of another kind somewhere into the body, take a field out, or add one."""
        if not isinstance(sent.body, dict):
            return
        sent.body = json.loads(json.dumps(sent.body))
        place = sent.body
        while (inner := _children(place)) and self.any.random() < 0.7:
            place = self.any.choice(inner)
        key = self.any.choice(sorted(place) or ["x"]) if isinstance(place, dict) else 0
        value = self.any.choice(ODD_VALUES)
        if isinstance(place, list):
            place[:1] = [value]
        elif self.any.random() < 0.15:
            place.pop(key, None)
        else:
            place[self.any.choice([key, key.upper(), key.title(), key])] = value

    def bend_query(self, sent: Sent) -> None:
        name = self.any.choice(sorted(ODD_QUERIES))
        sent.query[name] = self.any.choice(ODD_QUERIES[name])

    def bend_header(self, sent: Sent) -> None:
        name = self.any.choice(sorted(ODD_HEADERS))
        sent.headers[name] = self.any.choice(ODD_HEADERS[name])

    def bend_bytes(self, sent: Sent) -> None:
        if self.any.random() < 0.4:
            sent.body = self.any.choice(ODD_BODIES)


def _children(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inside if isinstance(child, dict | list) and child]


def send(connection: HTTPConnection, sent: Sent) -> tuple[int, str, bytes]:
    body = sent.body if isinstance(sent.body, bytes | None) else json.dumps(sent.body).encode()
    path = sent.path + ("?" + urlencode(sent.query) if sent.query else "")
    connection.request(sent.method, path, body, sent.headers)
    reply = connection.getresponse()
    return reply.status, reply.headers.get("Content-Type", ""), reply.read()


def shaped(sent: Sent, status: int, media: str, body: bytes) -> bool:
    """Whether a refusal has the shape of whoever was asked."""
    if status < 400 or sent.method == "HEAD":
        return True
    if sent.path.startswith(API):
        return media == "application/vnd.ibm.kms.error+json" and "errorMsg" in json.loads(body)["resources"][0]
    wanted = "errorCode" if sent.path.startswith("/identity") else "error"
    return media.startswith("application/json") and wanted in json.loads(body)


@pytest.fixture
def scene():
    """An emulator of its own, with something behind every name."""
    with Emulator.start() as emulator:
        token, instance = emulator.token(), emulator.instance
        headers = {"Authorization": f"Bearer {token}", "Bluemix-Instance": instance.id}
        crns = [emulator.create_root_key(instance, f"key-{n}", aliases=[f"alias-{n}"]) for n in range(3)]
        crns.append(emulator.create_root_key(instance, "standard", extractable=True))
        crns.append(emulator.create_root_key(instance, "imported", payload=b"0123456789abcdef"))
        keys = [crn.rpartition(":")[2] for crn in crns]
        adapter = {"name": "an-adapter", "profile": "native_1.0", "profile_data": {"crk_id": keys[0]}}
        bodies = {
            f"/keys/{keys[0]}/actions/wrap": {"plaintext": MATERIAL, "aad": ["a"]},
            "/key_rings/a-ring": None,
            "/kmip_adapters": {"metadata": {"collectionTotal": 1}, "resources": [adapter]},
        }
        where, answers = urlsplit(emulator.url), {}
        for path, body in bodies.items():
            with closing(HTTPConnection(where.hostname or "", where.port, timeout=60)) as connection:
                answers[path] = send(connection, Sent("POST", API + path, headers=dict(headers), body=body))
        names = {
            "key": [*keys, *crns, "alias-1"],
            "alias": ["alias-1", "another"],
            "ring": ["a-ring", "new-ring"],
            "adapter": ["an-adapter"],
            "object": [emulator.create_kmip_object(instance, "an-adapter")],
            "action": ["rotate", "disable", "enable", "delete", "restore"],
            "id": [emulator.create_service_id(), emulator.create_trusted_profile("profile")],
        }
        wrapped = json.loads(answers[f"/keys/{keys[0]}/actions/wrap"][2])
        yield Scene(emulator, names, wrapped["ciphertext"], token)


def test_nothing_answers_500(scene: Scene) -> None:
    """However a request is bent, the answer is no 5xx and in the asked one's shape; and afterwards all still works."""
    random.seed(SEED)
    generator, where = Generator(scene, SEED), urlsplit(scene.emulator.url)
    seen: dict[int, int] = {}
    connection = HTTPConnection(where.hostname or "", where.port, timeout=60)
    with closing(connection):
        for number in range(REQUESTS):
            sent = generator.request()
            status, media, body = send(connection, sent)
            seen[status] = seen.get(status, 0) + 1
            assert status < 500, f"seed {SEED}, request {number}: {status} for {str(sent)[:1500]}"
            assert shaped(sent, status, media, body), (
                f"seed {SEED}, request {number}: {body[:200]!r} for {str(sent)[:1500]}"
            )
            if status == 401:  # the clock was moved: tokens live an hour
                scene.token = scene.emulator.token()
    scene.emulator.clear_faults()
    assert seen.get(200, 0) > REQUESTS / 20, seen  # most of it bent, and some of it good
    assert len(scene.emulator.token()) > 100
    bearer = {"Authorization": f"Bearer {scene.emulator.token()}", "Bluemix-Instance": scene.emulator.instance.id}
    with closing(HTTPConnection(where.hostname or "", where.port, timeout=60)) as last:
        states = {"state": "0,1,2,3,5"}
        assert send(last, Sent("GET", f"{API}/keys", states, bearer))[0] in {200, 401}
