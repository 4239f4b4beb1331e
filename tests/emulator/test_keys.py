"""Creating, importing, listing and arranging keys: rings, aliases, policies, import tokens."""

import base64
import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MATERIAL = base64.b64encode(bytes(range(32))).decode()
BAD_FIELD = (400, "INVALID_FIELD_ERR")


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_created_key(customer) -> None:
    """A new root key is Active, generated, in the default ring, never rotated, and its CRN names everything."""
    reply = customer.create(name="my-key", description="of a test", tags=["t"])
    key = reply.resource
    assert (reply.status, reply.headers["Content-Type"]) == (201, "application/vnd.ibm.kms.key+json")
    assert f"{customer.instance.crn.removesuffix('::')}:key:{key['id']}" == key["crn"]
    expected = {"state": 1, "imported": False, "extractable": False, "keyRingID": "default", "deleted": False}
    assert expected == {name: key[name] for name in expected}
    assert not {"lastRotateDate", "payload", "aliases", "rotation"} & set(key)


def test_prefer_minimal(customer, wire) -> None:
    """Prefer: return=minimal gives a reduced body on create, and 204 on delete; delete is minimal by default."""
    body = wire.envelope({"name": "key", "extractable": False})
    made = customer.call("POST", "/keys", body, Prefer="return=minimal")
    assert (201, {"type", "id", "crn"}) == (made.status, set(made.resource))
    path = f"/keys/{made.resource['id']}"
    gone = customer.call("DELETE", path, Prefer="return=representation")
    assert (gone.status, gone.resource["deleted"], gone.resource["state"]) == (200, True, 5)
    assert ((again := customer.call("DELETE", f"/keys/{customer.root_key()}")).status, again.raw) == (204, b"")


BAD_KEYS = {
    "no name": ({"name": None}, BAD_FIELD),
    "short name": ({"name": "k"}, BAD_FIELD),
    "name is a UUID": ({"name": "3d158350-1817-4b85-a7cf-871c02a6907e"}, BAD_FIELD),
    "material of 15 bytes": ({"payload": b64(bytes(15))}, BAD_FIELD),
    "material not base64": ({"payload": "?"}, BAD_FIELD),
    "extractable no boolean": ({"extractable": "no"}, BAD_FIELD),
    "six aliases": ({"aliases": [f"alias-{n}" for n in range(6)]}, BAD_FIELD),
    "alias reserved": ({"aliases": ["keys"]}, BAD_FIELD),
    "alias twice": ({"aliases": ["one", "one"]}, BAD_FIELD),
    "too many tags": ({"tags": [str(n) for n in range(31)]}, BAD_FIELD),
    "standard key too long": ({"extractable": True, "payload": b64(bytes(7_501))}, BAD_FIELD),
}


@pytest.mark.parametrize(("fields", "outcome"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_bad_keys(customer, fields, outcome) -> None:
    """A key that Key Protect would refuse is refused, and nothing is created."""
    assert outcome == customer.create(**fields).outcome
    assert customer.call("HEAD", "/keys").headers["Key-Total"] == "0"


def test_bad_collections(customer, wire) -> None:
    """The envelope is checked: its total, its length, its shape."""
    one = {"name": "key", "extractable": False}
    cases = [
        (wire.envelope(one, total=2), "COLLECTION_TOTAL_MISMATCH_ERR"),
        (wire.envelope(one, one), "NUM_COLLECTION_RESOURCE_ERR"),
        ({"resources": [one]}, "BAD_BODY_ERR"),
        ({"metadata": {"collectionTotal": 0}, "resources": []}, "BAD_BODY_ERR"),
        ({"metadata": {"collectionTotal": 1}, "resources": [1]}, "BAD_BODY_ERR"),
        (None, "NO_BODY_ERR"),
    ]
    for body, code in cases:
        assert (400, code) == customer.call("POST", "/keys", body).outcome


@pytest.mark.parametrize("size", [16, 24, 32])
def test_imported_material(customer, size: int) -> None:
    """Imported root keys have 128, 192 or 256 bits, never show their material, and rotate with a payload."""
    key = customer.create(payload=b64(bytes(size))).resource
    assert key["imported"]
    assert "payload" not in customer.call("GET", f"/keys/{key['id']}").resource
    assert customer.act(key["id"], "rotate", {}).outcome == (400, "KEY_PAYLOAD_REQ_ERR")
    assert customer.act(key["id"], "rotate", {"payload": b64(os.urandom(32))}).status == 204


def test_generated_key_rotates_without_payload(customer) -> None:
    """A payload for a generated key is 400 INVALID_QUERY_PARAM_ERR."""
    reply = customer.act(customer.root_key(), "rotate", {"payload": MATERIAL})
    assert reply.outcome == (400, "INVALID_QUERY_PARAM_ERR")


def test_standard_key_gives_its_payload(customer) -> None:
    """A standard key's material is in GET, not in /metadata; and it cannot be rotated or disabled."""
    key = customer.create(extractable=True, payload=MATERIAL).resource["id"]
    assert customer.call("GET", f"/keys/{key}").resource["payload"] == MATERIAL
    assert "payload" not in customer.call("GET", f"/keys/{key}/metadata").resource
    for action in ("rotate", "disable"):
        assert customer.act(key, action).outcome == (400, "KEY_ROOT_REQ_ERR")


def import_token(customer, **fields):
    body = {"expiration": 300, "maxAllowedRetrievals": 2, **fields}
    assert (made := customer.call("POST", "/import_token", body)).status == 200
    assert not {"payload", "nonce"} & set(made.json)
    return customer.call("GET", "/import_token").json


def sealed(token, material: bytes, nonce: bytes | None = None) -> dict[str, str]:
    public = serialization.load_pem_public_key(base64.b64decode(token["payload"]))
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    iv = os.urandom(12)
    return {
        "payload": b64(public.encrypt(material, oaep)),
        "encryptedNonce": b64(AESGCM(material).encrypt(iv, nonce or base64.b64decode(token["nonce"]), None)),
        "iv": b64(iv),
        "encryptionAlgorithm": "RSAES_OAEP_SHA_256",
    }


def test_import_with_token(customer) -> None:
    """Material encrypted for an import token arrives as it was: a plain import of it unwraps the same."""
    token, material = import_token(customer), os.urandom(32)
    assert token["remainingRetrievals"] == 1
    key = customer.root_key(**sealed(token, material))
    ciphertext = customer.wrap(key, plaintext=MATERIAL)["ciphertext"]
    twin = customer.root_key(payload=b64(material))
    assert customer.act(twin, "unwrap", {"ciphertext": ciphertext}).json["plaintext"] == MATERIAL
    assert customer.act(key, "rotate", sealed(token, os.urandom(32))).status == 204


def test_import_refusals(customer) -> None:
    """A wrong nonce, a wrong IV, a wrong algorithm, a foreign token and an expired one are told apart."""
    token, material = import_token(customer), os.urandom(32)
    good = sealed(token, material)
    assert customer.create(**sealed(token, material, b"x" * 12)).outcome == (400, "INCORRECT_NONCE_ERR")
    assert customer.create(**{**good, "iv": b64(bytes(12))}).outcome == (400, "INCORRECT_NONCE_IV_ERR")
    assert customer.create(**{**good, "encryptionAlgorithm": "ROT13"}).outcome == BAD_FIELD
    assert customer.create(**{**good, "payload": MATERIAL}).outcome == BAD_FIELD
    assert customer.call("GET", "/import_token").status == 200
    expired = (409, "IMPORT_TOKEN_EXPIRED_ERR")
    assert expired == customer.call("GET", "/import_token").outcome
    assert customer.create(**good).status == 201
    customer.emulator.advance(301)
    assert expired == customer.create(**good).outcome


def test_import_token_bounds(customer) -> None:
    """An import token lives 300 to 86,400 s and is retrieved 1 to 500 times."""
    for body in ({"expiration": 299}, {"expiration": 86_401}, {"maxAllowedRetrievals": 501}, {"expiration": True}):
        assert customer.call("POST", "/import_token", body).outcome == BAD_FIELD


def names(reply) -> list[str]:
    return [key["name"] for key in reply.json["resources"]]


def test_listing(customer) -> None:
    """Lists filter, search, sort and page; Key-Total counts the same."""
    for name in ("alpha", "beta", "gamma"):
        customer.create(name=name, aliases=[f"{name}-alias"])
    customer.create(name="standard", extractable=True)
    customer.call("DELETE", f"/keys/{customer.create(name='gone').resource['id']}")
    cases = {
        "?sort=name": ["alpha", "beta", "gamma", "standard"],
        "?sort=-name&limit=2": ["standard", "gamma"],
        "?sort=name&limit=2&offset=2": ["gamma", "standard"],
        "?sort=name&extractable=false": ["alpha", "beta", "gamma"],
        "?state=5": ["gone"],
        "?search=ET": ["beta"],
        "?search=exact:alpha": ["alpha"],
        "?search=alias:exact:beta-alias": ["beta"],
        "?search=not:a": [],
        "?sort=name&search=not:exact:alpha": ["beta", "gamma", "standard"],
        "?search=escape:not:": [],
        "?filter=extractable=true": ["standard"],
        "?filter=creationDate=lt:2020-01-01T00:00:00Z": [],
        "?sort=name&filter=state=1%20creationDate=gte:%222020-01-01T00:00:00Z%22%20extractable=false": [
            "alpha",
            "beta",
            "gamma",
        ],
    }
    for query, expected in cases.items():
        assert expected == names(customer.call("GET", f"/keys{query}")), query
    head = customer.call("HEAD", "/keys?extractable=false")
    assert (head.status, head.headers["Key-Total"], head.raw) == (200, "3", b"")
    found = customer.call("GET", "/keys?search=not:alias:x").json["metadata"]["searchQuery"]
    assert found == {"query": "x", "scopes": ["alias"], "not": True, "exact": False}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=5001", "offset=-1", "limit=x", "state=4", "sort=mood", "extractable=x", "filter=x"]
)
def test_bad_queries(customer, query: str) -> None:
    """A query parameter that makes no sense is 400 INVALID_QUERY_PARAM_ERR."""
    assert customer.call("GET", f"/keys?{query}").outcome == (400, "INVALID_QUERY_PARAM_ERR")


def test_rings(customer, wire) -> None:
    """Keys live in rings; the ring header narrows every call; only an empty ring can be deleted."""
    assert customer.call("POST", "/key_rings/ring-1").status == 201
    assert customer.call("POST", "/key_rings/ring-1").status == 409
    body = wire.envelope({"name": "key", "extractable": False})
    key = customer.call("POST", "/keys", body, X_Kms_Key_Ring="ring-1").resource["id"]
    assert [r["id"] for r in customer.call("GET", "/key_rings").json["resources"]] == ["default", "ring-1"]
    metadata = f"/keys/{key}/metadata"
    assert customer.call("GET", metadata).status == 200
    assert customer.call("GET", metadata, X_Kms_Key_Ring="ring-1").resource["keyRingID"] == "ring-1"
    elsewhere = customer.call("GET", metadata, X_Kms_Key_Ring="default")
    assert elsewhere.outcome == (404, "KEY_NOT_FOUND_ERR")
    assert customer.call("GET", "/keys", X_Kms_Key_Ring="default").json["resources"] == []
    assert customer.call("DELETE", "/key_rings/ring-1").outcome == (409, "KEY_RING_NOT_EMPTY_ERR")
    assert customer.call("PATCH", f"/keys/{key}", {"keyRingID": "default"}).status == 200
    assert customer.call("DELETE", "/key_rings/ring-1").status == 204
    missing = (404, "KEY_RING_NOT_FOUND_ERR")
    assert missing == customer.call("DELETE", "/key_rings/ring-1").outcome
    assert missing == customer.call("PATCH", f"/keys/{key}", {"keyRingID": "ring-1"}).outcome
    assert missing == customer.call("POST", "/keys", body, X_Kms_Key_Ring="ring-1").outcome


def test_deleted_keys_leave_a_ring_by_force(customer, wire) -> None:
    """Deleting a ring with force moves its deleted keys to the default ring; live keys always block."""
    customer.call("POST", "/key_rings/ring-2")
    body = wire.envelope({"name": "key", "extractable": False})
    key = customer.call("POST", "/keys", body, X_Kms_Key_Ring="ring-2").resource["id"]
    assert customer.call("DELETE", "/key_rings/ring-2?force=true").status == 409
    customer.call("DELETE", f"/keys/{key}")
    assert customer.call("DELETE", "/key_rings/ring-2").status == 409
    assert customer.call("DELETE", "/key_rings/ring-2?force=true").status == 204
    assert customer.call("GET", f"/keys/{key}/metadata").resource["keyRingID"] == "default"


def test_aliases(customer) -> None:
    """An alias names one key of an instance; a key has at most five; deleting one frees it."""
    key, other = customer.root_key(), customer.root_key()
    for number in range(5):
        reply = customer.call("POST", f"/keys/{key}/aliases/alias-{number}")
        assert (201, key) == (reply.status, reply.resource["keyId"])
    assert customer.call("POST", f"/keys/{key}/aliases/alias-5").outcome == BAD_FIELD
    taken = (409, "KEY_ALIAS_NOT_UNIQUE_ERR")
    assert taken == customer.call("POST", f"/keys/{other}/aliases/alias-0").outcome
    assert taken == customer.create(aliases=["alias-0"]).outcome
    assert customer.call("DELETE", f"/keys/{key}/aliases/alias-0").status == 204
    assert customer.call("POST", f"/keys/{other}/aliases/alias-0").status == 201
    for bad in ("a", "wrap", "a.b", "3d158350-1817-4b85-a7cf-871c02a6907e"):
        assert customer.call("POST", f"/keys/{other}/aliases/{bad}").outcome == BAD_FIELD


def put_instance_policy(customer, wire, kind: str, enabled: bool, **attributes):
    body = wire.envelope({"policy_type": kind, "policy_data": {"enabled": enabled, "attributes": attributes}})
    return customer.call("PUT", f"/instance/policies?policy={kind}", body)


def test_instance_policies_shape_new_keys(customer, wire) -> None:
    """dualAuthDelete and rotation of the instance apply to keys created afterwards, and only to these."""
    before = customer.root_key()
    assert put_instance_policy(customer, wire, "dualAuthDelete", enabled=True).status == 204
    assert put_instance_policy(customer, wire, "rotation", enabled=True, interval_month=3).status == 204
    old, new = customer.call("GET", f"/keys/{before}/metadata").resource, customer.create().resource
    assert (old["dualAuthDelete"]["enabled"], new["dualAuthDelete"]["enabled"]) == (False, True)
    assert new["rotation"] == {"enabled": True, "interval_month": 3}
    assert "rotation" not in old
    kinds = [p["policy_type"] for p in customer.call("GET", "/instance/policies").json["resources"]]
    assert kinds == ["dualAuthDelete", "rotation"]


def test_create_import_access(customer, wire) -> None:
    """keyCreateImportAccess forbids kinds of keys, and imports without a token when that is enforced."""
    attributes = {"create_standard_key": False, "enforce_token": True}
    put_instance_policy(customer, wire, "keyCreateImportAccess", enabled=True, **attributes)
    refused = (409, "KEY_CREATE_IMPORT_ACCESS_ERR")
    assert refused == customer.create(extractable=True).outcome
    assert refused == customer.create(payload=MATERIAL).outcome
    assert customer.create().status == 201
    assert customer.create(**sealed(import_token(customer), os.urandom(32))).status == 201


def test_allowed_ip_refuses_as_unauthorized(customer, wire) -> None:
    """An allowedIP policy that does not name the caller is 401, not 403; its port can be asked for."""
    assert put_instance_policy(customer, wire, "allowedIP", enabled=True, allowed_ip=["127.0.0.0/8"]).status == 204
    assert len(customer.call("GET", "/instance/allowed_ip_port").json["resources"]) == 1
    assert customer.call("GET", "/keys").status == 200
    put_instance_policy(customer, wire, "allowedIP", enabled=True, allowed_ip=["192.0.2.1"])
    assert customer.call("GET", "/keys").outcome == (401, "")


def test_bad_instance_policies(customer, wire) -> None:
    """Unknown fields, mismatched queries and impossible attributes are refused, each with its code."""
    assert put_instance_policy(customer, wire, "rotation", enabled=True, interval_month=13).outcome == BAD_FIELD
    assert put_instance_policy(customer, wire, "allowedIP", enabled=True, allowed_ip=["x"]).outcome == BAD_FIELD
    body = wire.envelope({"policy_type": "metrics", "policy_data": {"enabled": True}, "extra": 1})
    assert customer.call("PUT", "/instance/policies", body).outcome == (400, "BAD_BODY_ERR")
    body = wire.envelope({"policy_type": "metrics", "policy_data": {"enabled": True}})
    reply = customer.call("PUT", "/instance/policies?policy=dualAuthDelete", body)
    assert reply.outcome == (400, "BODY_QUERY_PARAM_MISMATCH_ERR")
    body = wire.envelope({"policy_type": "badName", "policy_data": {"enabled": True}})
    reply = customer.call("PUT", "/instance/policies?policy=dualAuthDelete", body)
    assert reply.outcome == (400, "BODY_QUERY_PARAM_MISMATCH_ERR")


def test_key_policies(customer, wire) -> None:
    """Key policies are set and read alone or together; rotation needs a generated root key."""
    key = customer.root_key()
    both = [{"dualAuthDelete": {"enabled": True}}, {"rotation": {"enabled": True, "interval_month": 2}}]
    assert customer.call("GET", f"/keys/{key}/policies").json["resources"] == []
    assert len(customer.call("PUT", f"/keys/{key}/policies", wire.envelope(*both)).json["resources"]) == 2
    (rotation,) = customer.call("GET", f"/keys/{key}/policies?policy=rotation").json["resources"]
    assert rotation["rotation"] == {"enabled": True, "interval_month": 2}
    path = f"/keys/{key}/policies?policy=rotation"
    mismatch = customer.call("PUT", path, wire.envelope(both[0]))
    assert mismatch.outcome == (400, "BODY_QUERY_PARAM_MISMATCH_ERR")
    imported = customer.root_key(payload=MATERIAL)
    refused = customer.call("PUT", f"/keys/{imported}/policies", wire.envelope(both[1]))
    assert refused.outcome == (400, "BAD_BODY_ERR")


def test_registrations_are_empty(customer) -> None:
    """Nobody registers here: the lists are there and empty, for a key and for all."""
    key = customer.root_key()
    for path in (f"/keys/{key}/registrations", "/keys/registrations"):
        reply = customer.call("GET", f"{path}?totalCount=true")
        assert (reply.status, reply.json["metadata"]["totalCount"], reply.json["resources"]) == (200, 0, [])


def test_unknown_paths(customer) -> None:
    """A path that does not exist is 404 with an error body, and counted as unknown."""
    assert customer.call("GET", "/nothing/here").outcome == (404, "")
    assert customer.emulator.counts()["unknown"] == 1
