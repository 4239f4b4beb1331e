"""Wrap, unwrap, rewrap: real ciphertexts, versions, additional authenticated data, refusals."""

import base64
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from key_protect_emulator.ciphertext import unwrap, wrap
from key_protect_emulator.errors import KeyProtectError
from key_protect_emulator.keys import Key, Version

DEK = base64.b64encode(bytes(range(32))).decode()
UNPROCESSABLE = (422, "UNPROCESSABLE_CIPHERTEXT_ERR")


def test_generated_data_key_comes_back(customer) -> None:
    """Wrap without plaintext makes 32 fresh bytes, and unwrap returns exactly these."""
    key = customer.root_key()
    first, second = customer.act(key, "wrap").json, customer.act(key, "wrap", {}).json
    assert len(base64.b64decode(first["plaintext"])) == 32
    assert first["plaintext"] != second["plaintext"]
    opened = customer.act(key, "unwrap", {"ciphertext": first["ciphertext"]})
    assert {"plaintext": first["plaintext"], "keyVersion": first["keyVersion"]} == opened.json


def test_given_data_key_comes_back(customer) -> None:
    """Wrap with a plaintext does not echo it; unwrap returns it."""
    key = customer.root_key()
    wrapped = customer.wrap(key, plaintext=DEK)
    assert {"ciphertext", "keyVersion"} == set(wrapped)
    assert customer.act(key, "unwrap", {"ciphertext": wrapped["ciphertext"]}).json["plaintext"] == DEK


def test_bodies_are_flat_and_typed_as_vendor(customer) -> None:
    """Wrap answers without an envelope, as a vendor media type, and echoes the correlation id."""
    key = customer.root_key()
    reply = customer.call("POST", f"/keys/{key}/actions/wrap", {}, Correlation_Id="abc-1")
    assert reply.headers["Content-Type"] == "application/vnd.ibm.kms.key_action+json"
    assert reply.headers["Correlation-Id"] == "abc-1"
    assert {"plaintext", "ciphertext", "keyVersion"} == set(reply.json)


@pytest.mark.parametrize("action", ["wrap", "unwrap", "rewrap"])
def test_old_spelling_of_actions(customer, action: str) -> None:
    """POST /keys/{id}?action=X does what POST /keys/{id}/actions/X does."""
    key = customer.root_key()
    ciphertext = customer.wrap(key)["ciphertext"]
    reply = customer.call("POST", f"/keys/{key}?action={action}", {"ciphertext": ciphertext})
    assert reply.status == 200
    assert customer.emulator.counts()[action] - (action == "wrap") == 1


def test_unknown_action_is_refused(customer) -> None:
    """?action= takes only the actions of the old form; sync is not one of them."""
    key = customer.root_key()
    for query in ("?action=sync", "?action=explode", ""):
        assert customer.call("POST", f"/keys/{key}{query}").outcome == (400, "INVALID_QUERY_PARAM_ERR")


def test_ciphertext_looks_like_key_protects(customer) -> None:
    """A ciphertext is base64 of a JSON object with ciphertext, iv, version and handle (the key version)."""
    key = customer.root_key()
    wrapped = customer.wrap(key)
    opened = json.loads(base64.b64decode(wrapped["ciphertext"]))
    assert list(opened) == ["ciphertext", "iv", "version", "handle"]
    assert wrapped["keyVersion"]["id"] == opened["handle"]


AAD_CASES = {
    "same": (["a", "b"], ["a", "b"], 200),
    "other order": (["a", "b"], ["b", "a"], 422),
    "joined": (["a", "b"], ["ab"], 422),
    "missing": (["a"], None, 422),
    "added": (None, ["a"], 422),
    "empty is none": (None, [], 200),
    "longest item": (["x" * 255], ["x" * 255], 200),
}


@pytest.mark.parametrize(("wrapped_with", "opened_with", "status"), AAD_CASES.values(), ids=AAD_CASES)
@pytest.mark.parametrize("action", ["unwrap", "rewrap"])
def test_aad_is_an_ordered_list(customer, action, wrapped_with, opened_with, status) -> None:
    """Only the same strings in the same order open a ciphertext."""
    key = customer.root_key()
    ciphertext = customer.wrap(key, aad=wrapped_with)["ciphertext"]
    reply = customer.act(key, action, {"ciphertext": ciphertext, "aad": opened_with})
    assert (status, "UNPROCESSABLE_CIPHERTEXT_ERR" if status == 422 else "") == reply.outcome


def test_rotation_shows_in_unwrap_and_rewrap(customer) -> None:
    """After a rotation unwrap also returns the data key under the newest version; rewrap never discloses it."""
    key = customer.root_key()
    old = customer.wrap(key, plaintext=DEK, aad=["ctx"])
    assert customer.act(key, "rotate").status == 204
    body = {"ciphertext": old["ciphertext"], "aad": ["ctx"]}
    opened = customer.act(key, "unwrap", body).json
    assert opened["plaintext"] == DEK
    assert old["keyVersion"] == opened["keyVersion"]
    current = customer.call("GET", f"/keys/{key}/metadata").resource["keyVersion"]["id"]
    assert current == opened["rewrappedKeyVersion"]["id"] != old["keyVersion"]["id"]
    rewrapped = customer.act(key, "rewrap", body).json
    assert {"ciphertext", "keyVersion", "rewrappedKeyVersion"} == set(rewrapped)
    for ciphertext in (opened["ciphertext"], rewrapped["ciphertext"]):
        newest = customer.act(key, "unwrap", {"ciphertext": ciphertext, "aad": ["ctx"]}).json
        assert {"plaintext": DEK, "keyVersion": {"id": current}} == newest


def test_retired_versions_keep_unwrapping(customer) -> None:
    """A ciphertext of the first version opens after many rotations; versions are listed newest first."""
    key = customer.root_key()
    first = customer.wrap(key, plaintext=DEK)
    for _ in range(3):
        customer.emulator.rotate(key, ignore_timing=True)
    assert customer.act(key, "unwrap", {"ciphertext": first["ciphertext"]}).json["plaintext"] == DEK
    listed = customer.call("GET", f"/keys/{key}/versions?totalCount=true").json
    assert 4 == listed["metadata"]["totalCount"] == len(listed["resources"])
    assert first["keyVersion"]["id"] == listed["resources"][-1]["id"] == key
    page = customer.call("GET", f"/keys/{key}/versions?limit=1&offset=3").json["resources"]
    assert [key] == [version["id"] for version in page]


def test_another_key_cannot_unwrap(customer) -> None:
    """A ciphertext opens under its own root key only."""
    one, other = customer.root_key(), customer.root_key()
    ciphertext = customer.wrap(one)["ciphertext"]
    for action in ("unwrap", "rewrap"):
        assert customer.act(other, action, {"ciphertext": ciphertext}).outcome == UNPROCESSABLE


def test_same_imported_material_unwraps(customer) -> None:
    """Two root keys with the same imported material open each other's ciphertexts, as in Key Protect."""
    one, other = (customer.root_key(payload=DEK) for _ in range(2))
    ciphertext = customer.wrap(one, plaintext=DEK)["ciphertext"]
    assert customer.act(other, "unwrap", {"ciphertext": ciphertext}).json["plaintext"] == DEK


@pytest.mark.parametrize("path", ["alias", "percent"])
def test_ids_aliases_and_percent_encoding(customer, path: str) -> None:
    """A key is addressed by id or alias, percent-encoded or not."""
    key = customer.root_key(aliases=["my-alias"])
    name = "my-alias" if path == "alias" else "".join(f"%{ord(c):02x}" for c in key)
    assert key == customer.call("GET", f"/keys/{name}/metadata").resource["id"]
    assert customer.call("POST", f"/keys/{name}/actions/wrap").status == 200


BAD_BODIES = {
    "no body for unwrap": ("unwrap", b"", (400, "NO_BODY_ERR")),
    "not JSON": ("wrap", b"{", (400, "BAD_BODY_ERR")),
    "not an object": ("wrap", b"[]", (400, "BAD_BODY_ERR")),
    "too deep": ("wrap", b"[" * 100_000, (400, "BAD_BODY_ERR")),
    "plaintext not base64": ("wrap", {"plaintext": "?"}, (400, "INVALID_FIELD_ERR")),
    "plaintext no string": ("wrap", {"plaintext": 1}, (400, "INVALID_FIELD_ERR")),
    "plaintext empty": ("wrap", {"plaintext": ""}, (400, "INVALID_FIELD_ERR")),
    "aad no list": ("wrap", {"aad": "a"}, (400, "INVALID_FIELD_ERR")),
    "aad of numbers": ("wrap", {"aad": [1]}, (400, "INVALID_FIELD_ERR")),
    "aad item too long": ("wrap", {"aad": ["x" * 256]}, (400, "INVALID_FIELD_ERR")),
    "no ciphertext": ("unwrap", {}, (400, "INVALID_FIELD_ERR")),
    "ciphertext is noise": ("unwrap", {"ciphertext": DEK}, UNPROCESSABLE),
    "ciphertext not base64": ("rewrap", {"ciphertext": "?"}, UNPROCESSABLE),
}


@pytest.mark.parametrize(("action", "body", "outcome"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_bodies(customer, action, body, outcome) -> None:
    """Each malformed body is refused with the code that Key Protect documents."""
    assert outcome == customer.act(customer.root_key(), action, body).outcome


def test_standard_key_does_not_wrap(customer) -> None:
    """Wrap with a standard key is 400 KEY_ROOT_REQ_ERR."""
    key = customer.root_key(extractable=True)
    for action in ("wrap", "unwrap", "rewrap"):
        body = {"ciphertext": DEK}
        assert customer.act(key, action, body).outcome == (400, "KEY_ROOT_REQ_ERR")


def test_unknown_key_is_not_found(customer) -> None:
    """An id that does not exist is 404 KEY_NOT_FOUND_ERR for whoever may use the instance."""
    assert customer.act("nobody", "wrap").outcome == (404, "KEY_NOT_FOUND_ERR")


def test_error_body(customer) -> None:
    """An error carries the envelope, errorMsg, and reasons with code, message, status and moreInfo."""
    reply = customer.act("nobody", "wrap")
    assert reply.json["metadata"]["collectionType"] == "application/vnd.ibm.kms.error+json"
    assert reply.resource["errorMsg"].startswith("Not Found")
    assert {"code", "message", "status", "moreInfo"} == set(reply.resource["reasons"][0])


def a_key() -> Key:
    return Key("k", "i", "n", extractable=False, created=0, created_by="", versions=[Version("k", 0, bytes(32))])


@settings(deadline=None)
@given(position=st.integers(0, 10_000), replacement=st.sampled_from("ABZabz019+/="))
def test_any_changed_character_is_refused(position: int, replacement: str) -> None:
    """No character of a ciphertext can be changed without being noticed."""
    text = wrap(a_key().current, b"secret", ["a"], os.urandom(12))
    index = position % len(text)
    changed = text[:index] + replacement + text[index + 1 :]
    if changed != text:
        with pytest.raises(KeyProtectError, match="UNPROCESSABLE_CIPHERTEXT_ERR"):
            unwrap(a_key(), changed, ["a"])


@settings(deadline=None)
@given(noise=st.one_of(st.text(), st.recursive(st.integers() | st.text() | st.none(), st.lists).map(json.dumps)))
def test_noise_is_refused(noise: str) -> None:
    """Whatever is not a ciphertext of ours is UNPROCESSABLE, never an internal error."""
    for text in (noise, base64.b64encode(noise.encode("utf-8", "replace")).decode()):
        with pytest.raises(KeyProtectError, match="UNPROCESSABLE_CIPHERTEXT_ERR"):
            unwrap(a_key(), text, [])


@settings(deadline=None)
@given(plaintext=st.binary(min_size=1, max_size=100), aad=st.lists(st.text(max_size=5), max_size=4))
def test_round_trip(plaintext: bytes, aad: list[str]) -> None:
    """Whatever was wrapped with some AAD unwraps with it, and with no other list."""
    key = a_key()
    text = wrap(key.current, plaintext, aad, os.urandom(12))
    assert (plaintext, key.current) == unwrap(key, text, aad)
    with pytest.raises(KeyProtectError):
        unwrap(key, text, [*aad, ""])
