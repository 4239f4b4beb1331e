"""The control API checks what it is given: whatever it does not know or cannot use is refused by name."""

import json

import pytest

LINK = {"issuer": "https://cluster", "namespace": "ns", "service_account": "operator"}
FAULT = {"operation": "wrap", "status": 500}
JWK = {"kty": "RSA", "n": 5, "e": []}
REFUSED = {
    "a field that is none": ("/keys", {"name": "key", "expiration": "2099-01-01T00:00:00Z"}, "expiration"),
    "a field for nobody": ("/service-ids/{service}/api-keys", {"name": "x"}, "known here: none"),
    "a region that a CRN could not hold": ("/instances", {"region": "eu:de"}, "region"),
    "a region that is a number": ("/instances", {"region": 5}, "region"),
    "half of a surrogate pair": ("/accounts", {"name": "\ud800"}, "name"),
    "a link of numbers": ("/trusted-profiles", {"name": "p", "links": [{**LINK, "namespace": 5}]}, "namespace"),
    "a link of nothing": ("/trusted-profiles", {"name": "p", "links": [{**LINK, "issuer": ""}]}, "issuer"),
    "links that are none": ("/trusted-profiles", {"name": "p", "links": {}}, "links"),
    "a key set that is a list": ("/token-issuers", {"issuer": "i", "jwks": []}, "jwks"),
    "a key of numbers": ("/token-issuers", {"issuer": "i", "jwks": {"keys": [JWK]}}, "jwks"),
    "a grant on no key": ("/grants", {"identity": "{service}", "instance": "{instance}", "key": "none"}, "key"),
    "an identity that is no profile": ("/trusted-profiles/{service}/identities", {"identity": "{service}"}, "profile"),
    "a state that is none": ("/kmip-objects", {"adapter": "none", "state": "2"}, "KMIP adapter"),
    "a flag that is a text": ("/keys/{key}/disable", {"ignore_timing": "yes"}, "ignore_timing"),
    "an infinite advance": ("/clock", {"advance_seconds": 1e308}, "advance_seconds"),
    "a fault's header that is two lines": ("/faults", {**FAULT, "headers": {"a": "b\nc"}}, "header"),
    "a fault's header that is a number": ("/faults", {**FAULT, "headers": {"a": 5}}, "header"),
    "a fault's media type of two lines": ("/faults", {**FAULT, "content_type": "a\r\nb"}, "header"),
    "a fault that waits for ever": ("/faults", {"operation": "wrap", "delay": float("inf")}, "delay"),
    "a fault of fewer than no times": ("/faults", {"operation": "wrap", "status": 500, "times": -1}, "times"),
    "a fault's status that is true": ("/faults", {"operation": "wrap", "status": True}, "status"),
    "a fault's body that cannot be sent": ("/faults", {"operation": "wrap", "status": 500, "body": "\ud800"}, "body"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(emulator, wire, case: str) -> None:
    """A field that is misspelt, of another kind or of no use is refused, and the text names it."""
    path, body, names = REFUSED[case]
    known = {
        "{service}": emulator.service_id,
        "{instance}": emulator.instance.id,
        "{key}": emulator.create_root_key().rpartition(":")[2],
    }
    text = json.dumps(body)
    for name, value in known.items():
        path, text = path.replace(name, value), text.replace(name, value)
    reply = wire.send(emulator.url, "POST", "/emulator" + path, text.encode())
    assert 400 <= reply.status < 500, reply
    assert names in reply.json["error"]
    assert wire.send(emulator.url, "GET", "/emulator/faults").json == {"faults": []}


def test_unknown_paths_and_methods(emulator, wire) -> None:
    """A path that is none is 404, a method that a path does not take 405 with those that it takes; both in JSON."""
    nowhere = wire.send(emulator.url, "GET", "/emulator/nowhere")
    assert (nowhere.status, "README" in nowhere.json["error"]) == (404, True)
    wrong = wire.send(emulator.url, "PUT", "/emulator/clock", b"{}")
    assert (wrong.status, wrong.json["error"]) == (405, "the path takes GET and POST")
    assert wire.send(emulator.url, "DELETE", "/emulator/faults?operation=none").status == 400


BAD_BODIES = {
    "not JSON": b"{",
    "a list": b"[]",
    "too deep": b"[" * 100_000,
    "not UTF-8": b"\xff",
    "too large": b'{"name": "' + b"x" * 2_000_000 + b'"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bodies_that_are_no_objects(emulator, wire, body: bytes) -> None:
    """A body that is no JSON object, or too large, is refused in JSON."""
    reply = wire.send(emulator.url, "POST", "/emulator/accounts", body)
    assert (reply.status, True) == (413 if len(body) > 1_000_000 else 400, "error" in reply.json)
