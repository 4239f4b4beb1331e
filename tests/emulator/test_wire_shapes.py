"""Requests as IBM's clients write them, byte for byte where it matters, and what they must get back.

The shapes are those of IBM's Go client (KP-GO 0.17.3: no content type, fields as `encoding/json` names them, `null`
for an action without a body) and of redstone, which shows nothing of a refusal but its `errorMsg`. The real Go client
does the same in test_go_client.py, where there is a Go toolchain; this table needs none.
"""

import json
import time
from urllib.parse import quote, urlencode

import pytest

from key_protect_emulator.grants import OPERATIONS
from key_protect_emulator.http.answers import COULD_NOT
from key_protect_emulator.http.body import FIELDS

BAD_FIELD = (400, "INVALID_FIELD_ERR")
BAD_QUERY = (400, "INVALID_QUERY_PARAM_ERR")
MATERIAL = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEY = '{"metadata":{"collectionType":"application/vnd.ibm.kms.key+json","collectionTotal":1},"resources":[%s]}'


def post_key(customer, resource: str, path: str = "/keys"):
    return customer.call("POST", path, (KEY % resource).encode())


# -- names of fields in any case -----------------------------------------------------------------


def test_tags_as_the_go_client_writes_them(customer) -> None:
    """A field whose name differs in case only is read, as Go reads it: `Tags` are tags."""
    made = post_key(
        customer, '{"name":"key","type":"application/vnd.ibm.kms.key+json","Tags":["a"],"extractable":false}'
    )
    assert (made.status, made.resource["tags"]) == (201, ["a"])


def test_key_ring_as_the_go_client_writes_it(customer) -> None:
    """SetKeyRing sends {"KeyRingID": ...}, and the key moves."""
    key = customer.root_key()
    customer.call("POST", "/key_rings/a-ring")
    assert customer.call("PATCH", f"/keys/{key}", b'{"KeyRingID":"a-ring"}').resource["keyRingID"] == "a-ring"


def test_whole_body_in_capitals(customer) -> None:
    """Every level of a body is read so, not the first alone; a name that is none stays unknown."""
    key = customer.root_key()
    body = {"METADATA": {"COLLECTIONTOTAL": 1}, "RESOURCES": [{"ROTATION": {"ENABLED": True, "INTERVAL_MONTH": 2}}]}
    put = customer.call("PUT", f"/keys/{key}/policies", body)
    assert put.resource["rotation"] == {"enabled": True, "interval_month": 2}
    assert customer.call("PATCH", f"/keys/{key}", b'{"key_ring_id":"default"}').outcome == (400, "BAD_BODY_ERR")


def test_last_spelling_counts(customer) -> None:
    """Of two spellings of one field the later counts, as in Go."""
    assert post_key(customer, '{"NAME":"first","name":"second"}').resource["name"] == "second"
    assert post_key(customer, '{"name":"first","Name":"second"}').resource["name"] == "second"


def test_no_two_fields_differ_in_case_only() -> None:
    """The table of fields cannot confuse two of them."""
    assert len({name.casefold() for name in FIELDS}) == len(FIELDS)


# -- bodies --------------------------------------------------------------------------------------

NULL_ACTIONS = {"rotate": 204, "disable": 204, "wrap": 200, "setKeyForDeletion": 409, "sync": 409}


@pytest.mark.parametrize("action", NULL_ACTIONS)
def test_null_is_no_body(customer, action: str) -> None:
    """The Go client sends `null` where it has nothing to say; that is no body."""
    key = customer.root_key()
    customer.act(key, "rotate")
    key = customer.root_key() if action == "rotate" else key
    assert customer.act(key, action, b"null").status == NULL_ACTIONS[action]


def test_null_where_a_body_is_needed(customer) -> None:
    """`null` instead of a ciphertext is a missing body, not a body of the wrong kind."""
    assert customer.act(customer.root_key(), "unwrap", b"null").outcome == (400, "NO_BODY_ERR")


def test_null_fields_are_not_given(customer) -> None:
    """A field that is null counts as left out, as in Go."""
    nulls = '"description":null,"tags":null,"aliases":null,"expirationDate":null,"payload":null,"extractable":null'
    made = post_key(customer, f'{{"name":"key",{nulls}}}')
    assert (made.status, made.resource["extractable"]) == (201, True)
    assert customer.call("POST", "/import_token", {"expiration": None}).json["expiration"] == 600


BAD_BODIES = {
    "not JSON": b"{",
    "a list": b"[]",
    "a text": b'"x"',
    "NaN": b'{"metadata":{"collectionTotal":NaN},"resources":[{}]}',
    "UTF-16": "{}".encode("utf-16"),
    "not UTF-8": b'{"name":"\xff"}',
    "too deep": b"[" * 100_000,
    "a number of 5,000 digits": b'{"metadata":{"collectionTotal":' + b"1" * 5_000 + b'},"resources":[{}]}',
    "a total that is true": b'{"metadata":{"collectionTotal":true},"resources":[{"name":"key"}]}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_bodies(customer, body: bytes) -> None:
    """A body that no Go server could decode is 400 in Key Protect's shape."""
    reply = customer.call("POST", "/keys", body)
    assert reply.status == 400
    assert reply.code in {"BAD_BODY_ERR", "COLLECTION_TOTAL_MISMATCH_ERR"}


ENCODINGS = {"gzip": b"{}", "deflate": b"{}", "br": b"{}", "GZIP": b"\x1f\x8b\x08", "gzip, gzip": b"{}"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_body_that_is_not_what_it_says(customer, wire, encoding: str) -> None:
    """A body that is not in its Content-Encoding is 400 everywhere, in the shape of whoever was asked."""
    reply = customer.call("POST", "/keys", ENCODINGS[encoding], Content_Encoding=encoding)
    assert reply.outcome == (400, "BAD_BODY_ERR")
    headers = {"Content-Encoding": encoding}
    for path, field in (("/identity/token", "errorCode"), ("/emulator/keys", "error")):
        other = wire.send(customer.emulator.url, "POST", path, ENCODINGS[encoding], headers)
        assert (other.status, field in other.json) == (400, True)


def test_gzip_bodies(customer) -> None:
    """A body that is gzip is read (go-sdk-core can send such); one that unpacks to megabytes is not."""
    import gzip

    small, large = gzip.compress((KEY % '{"name":"key"}').encode()), gzip.compress(b" " * 5_000_000)
    assert customer.call("POST", "/keys", small, Content_Encoding="gzip").status == 201
    assert customer.call("POST", "/keys", large, Content_Encoding="gzip").status == 413
    assert customer.call("POST", "/keys", small[:-4], Content_Encoding="gzip").outcome == (400, "BAD_BODY_ERR")


# -- what a refusal says -------------------------------------------------------------------------

REFUSALS = {
    "purge": ("DELETE", "/purge", None, "Conflict: Key could not be purged", "KEY_ACTION_INVALID_STATE_ERR"),
    "sync": (
        "POST",
        "/actions/sync",
        None,
        "Conflict: Could not initiate sync requests to associated resources",
        "REQ_TOO_EARLY_ERR",
    ),
    "rotate": ("POST", "/actions/rotate", None, "Conflict: Key could not be rotated", "KEY_ROTATION_NOT_PERMITTED"),
    "wrap": (
        "POST",
        "/actions/wrap",
        {"plaintext": "="},
        "Bad Request: Wrap with key could not be performed",
        "INVALID_FIELD_ERR",
    ),
    "restore": ("POST", "/restore", None, "Conflict: Key could not be restored", "KEY_ACTION_INVALID_STATE_ERR"),
}


@pytest.mark.parametrize("operation", REFUSALS)
def test_error_message_names_operation_and_code(customer, operation: str) -> None:
    """`errorMsg` says what could not be done, and ends in the reason's code: redstone shows nothing else."""
    method, path, body, begins, code = REFUSALS[operation]
    key = customer.root_key()
    assert customer.act(key, "rotate").status == 204
    reply = customer.call(method, f"/keys/{key}{path}", body)
    assert reply.resource["errorMsg"] == f"{begins}: Please see `reasons` for more details ({code})"
    assert reply.code == code


def test_every_operation_can_be_refused_in_words() -> None:
    """No operation of Key Protect is without its words for `errorMsg`."""
    assert set(COULD_NOT) == {operation for operation in OPERATIONS if not operation.startswith("iam.")}


# -- queries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["limit", "offset"])
def test_number_of_5000_digits(customer, parameter: str) -> None:
    """A number of thousands of digits is 400, never a 500 (Python refuses to read it)."""
    assert customer.call("GET", f"/keys?{parameter}={'9' * 5_000}").outcome == BAD_QUERY
    assert customer.call("GET", f"/key_rings?{parameter}={'9' * 5_000}").outcome == BAD_QUERY


def found(customer, **query: str) -> list[str]:
    reply = customer.call("GET", "/keys?" + urlencode({"sort": "name", **query}))
    return [key["name"] for key in reply.json["resources"]]


def test_search_that_ends_in_a_comma(customer) -> None:
    """The Go client appends a comma to every search: it is no part of what is searched."""
    customer.create(name="alpha")
    assert found(customer, search="alp,") == found(customer, search="exact:alpha,") == ["alpha"]
    assert found(customer, search="beta,") == []


@pytest.fixture
def dated(customer):
    """Two keys an hour apart: `old`, rotated and expiring, and `new`."""
    moment = customer.emulator.now() + 7_200
    customer.root_key(name="old", expirationDate=stamp(moment))
    customer.act(customer.call("GET", "/keys").resource["id"], "rotate")
    customer.emulator.advance(1_800)
    customer.between = stamp(customer.emulator.now())
    customer.emulator.advance(1_700)
    customer.root_key(name="new")
    customer.later = stamp(customer.emulator.now() + 60)
    customer.earlier = stamp(customer.emulator.now() - 86_400)
    return customer


def stamp(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


FILTERS = {
    "two terms on one property": ('creationDate=gte:"{earlier}" creationDate=lt:"{between}"', ["old"]),
    "the same in the other order": ('creationDate=lt:"{between}" creationDate=gte:"{earlier}"', ["old"]),
    "two terms that nothing passes": ('creationDate=gt:"{between}" creationDate=lt:"{earlier}"', []),
    "two lists of states": ("state=1,2 state=2,3", []),
    "before, where there is no date": ('lastRotateDate=lt:"{later}"', ["old"]),
    "at most, where there is no date": ('expirationDate=lte:"9999-12-31T23:59:59Z"', ["old"]),
    "none": ("lastRotateDate=none", ["new"]),
    "none in capitals": ("lastRotateDate=NONE expirationDate=None", ["new"]),
    "a builder's leading space": (' creationDate=gt:"{between}" extractable=FALSE', ["new"]),
    "nanoseconds and an offset": ('creationDate=gt:"2020-01-01T00:00:00.123456789+01:00"', ["new", "old"]),
}


@pytest.mark.parametrize("case", FILTERS)
def test_filters(dated, case: str) -> None:
    """A key passes a filter if it passes each of its terms; a key without a date is before and after nothing."""
    text, expected = FILTERS[case]
    assert found(dated, filter=text.format(**vars(dated))) == expected


BAD_FILTERS = {
    "an ampersand for a space": {"filter": "state=1&extractable=false"},
    "an ampersand after a date": {"filter": 'creationDate=none&lastRotateDate="2020-01-01T00:00:00Z"'},
    "a term outside of it": {"filter": "creationDate=none", "lastRotateDate": "none"},
    "a day without a time": {"filter": 'creationDate="2022-03-16"'},
    "a time without a zone": {"filter": "creationDate=gt:2022-03-16T00:00:00"},
    "an operator that is none": {"filter": 'creationDate=ne:"2022-03-16T00:00:00Z"'},
    "an operator and none": {"filter": "creationDate=lt:none"},
    "a year that UTC does not have": {"filter": 'creationDate=lt:"9999-12-31T23:59:59-01:00"'},
    "a property that cannot be filtered by": {"filter": "name=x"},
    "four terms on one property": {"filter": "state=1 state=1 state=1 state=1"},
    "state here and there": {"filter": "state=1", "state": "1"},
    "extractable here and there": {"filter": "extractable=true", "extractable": "false"},
}


@pytest.mark.parametrize("case", BAD_FILTERS)
def test_bad_filters(customer, case: str) -> None:
    """A filter that could be misread is refused by name, never half obeyed."""
    for method in ("GET", "HEAD"):
        assert customer.call(method, "/keys?" + urlencode(BAD_FILTERS[case])).status == 400
    reply = customer.call("GET", "/keys?" + urlencode(BAD_FILTERS[case]))
    assert reply.outcome == BAD_QUERY
    assert reply.resource["reasons"][0]["target"] == {"type": "parameter", "name": "filter"}


def test_ampersand_that_was_not_encoded(customer) -> None:
    """An & in the query itself splits the filter in two, and the half that would go unheard is refused."""
    reply = customer.call("GET", "/keys?filter=extractable=false&creationDate=none")
    assert reply.outcome == BAD_QUERY
    assert "creationDate stands outside" in reply.resource["reasons"][0]["message"]


# -- dates ---------------------------------------------------------------------------------------

LATE = {
    "9999-12-31T23:59:59-12:00": BAD_FIELD,
    "9999-12-31T23:59:59-00:01": BAD_FIELD,
    "10000-01-01T00:00:00Z": BAD_FIELD,
    "0001-01-01T00:00:00+12:00": BAD_FIELD,
    "2099-01-01": BAD_FIELD,
    "2099-01-01T00:00:00": BAD_FIELD,
    "2099-01-01 00:00:00Z": BAD_FIELD,
    "2099-W01-1T00:00:00Z": BAD_FIELD,
    "9999-12-31T23:59:59Z": (201, ""),
    "9999-12-31T23:59:59.999999999Z": (201, ""),
    "9999-12-31T23:59:59+12:00": (201, ""),
}


@pytest.mark.parametrize("date", LATE)
def test_dates_at_the_end_of_time(customer, date: str) -> None:
    """A date that could not be printed in UTC is refused when it comes, so that no later list fails over it."""
    assert customer.create(expirationDate=date).outcome == LATE[date]
    assert customer.call("GET", "/keys").status == 200
    assert customer.call("GET", "/keys?sort=expirationDate").status == 200


# -- policies, rings, keys -----------------------------------------------------------------------


def policy(kind: str, enabled: object, attributes: object) -> dict:
    resource = {"policy_type": kind, "policy_data": {"enabled": enabled, "attributes": attributes}}
    return {"metadata": {"collectionTotal": 1}, "resources": [resource]}


BAD_POLICIES = {
    "allowed_network is a list": ("allowedNetwork", True, {"allowed_network": []}),
    "allowed_network is an object": ("allowedNetwork", True, {"allowed_network": {}}),
    "allowed_network is nowhere, and off": ("allowedNetwork", False, {"allowed_network": "nowhere"}),
    "allowed_ip holds a number": ("allowedIP", True, {"allowed_ip": [5]}),
    "allowed_ip holds a pair": ("allowedIP", True, {"allowed_ip": [["192.0.2.0", 24]]}),
    "allowed_ip holds null": ("allowedIP", True, {"allowed_ip": [None]}),
    "allowed_ip holds a bad prefix": ("allowedIP", True, {"allowed_ip": ["192.0.2.0/33"]}),
    "allowed_ip holds a zone": ("allowedIP", True, {"allowed_ip": ["fe80::1%eth0"]}),
    "allowed_ip holds a host name": ("allowedIP", True, {"allowed_ip": ["db.example.com"]}),
    "allowed_ip is a text": ("allowedIP", True, {"allowed_ip": "192.0.2.0/24"}),
    "allowed_ip is empty": ("allowedIP", True, {"allowed_ip": []}),
    "allowed_ip is wrong, and off": ("allowedIP", False, {"allowed_ip": ["x"]}),
    "interval_month is true": ("rotation", True, {"interval_month": True}),
    "interval_month is a list": ("rotation", False, {"interval_month": []}),
    "enabled is a text": ("metrics", "true", None),
    "create_root_key is a text": ("keyCreateImportAccess", True, {"create_root_key": "yes"}),
}


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_bad_policies(customer, case: str) -> None:
    """An instance policy of values that make no sense is 400, on or off, and changes nothing."""
    reply = customer.call("PUT", "/instance/policies", policy(*BAD_POLICIES[case]))
    assert reply.outcome == BAD_FIELD
    assert customer.call("GET", "/instance/policies").json["resources"] == []


def test_policies_are_set_together_or_not_at_all(customer) -> None:
    """A refusal of the second policy leaves the first unset, of an instance and of a key."""
    both = policy("metrics", True, None)
    both["resources"] += policy("rotation", True, {"interval_month": 13})["resources"]
    both["metadata"]["collectionTotal"] = 2
    assert customer.call("PUT", "/instance/policies", both).outcome == BAD_FIELD
    assert customer.call("GET", "/instance/policies").json["resources"] == []
    key = customer.root_key()
    two = {"metadata": {"collectionTotal": 2}, "resources": [{"dualAuthDelete": {"enabled": True}}, {"rotation": 1}]}
    assert customer.call("PUT", f"/keys/{key}/policies", two).outcome == BAD_FIELD
    assert customer.call("GET", f"/keys/{key}/policies").json["resources"] == []


def test_policy_overrides_do_not_inherit(customer) -> None:
    """A key of /keys_with_policy_overrides has the policies that it names, and none of the instance's."""
    for kind, attributes in (("rotation", {"interval_month": 5}), ("dualAuthDelete", None)):
        assert customer.call("PUT", "/instance/policies", policy(kind, True, attributes)).status == 204
    path = "/keys_with_policy_overrides"
    bare = post_key(customer, '{"name":"bare","extractable":false}', path).resource
    assert (bare["dualAuthDelete"]["enabled"], "rotation" in bare) == (False, False)
    named = post_key(customer, '{"name":"named","extractable":false,"rotation":{"interval_month":3}}', path).resource
    assert (named["rotation"], named["dualAuthDelete"]["enabled"]) == ({"enabled": True, "interval_month": 3}, False)
    heir = post_key(customer, '{"name":"heir","extractable":false}').resource
    assert (heir["rotation"]["interval_month"], heir["dualAuthDelete"]["enabled"]) == (5, True)


def test_fifty_key_rings(customer) -> None:
    """An instance takes 50 key rings besides the default one; the 51st is refused, and one answer lists them all."""
    for number in range(50):
        assert customer.call("POST", f"/key_rings/ring-{number}").status == 201
    assert customer.call("POST", "/key_rings/ring-50").status == 409
    assert len(customer.call("GET", "/key_rings").json["resources"]) == 51


def test_new_key_was_never_updated(customer) -> None:
    """The answer to a create has neither lastUpdateDate nor lastRotateDate; IBM's own Go test looks for both."""
    made = customer.create().resource
    assert {"lastUpdateDate", "lastRotateDate"} & set(made) == set()
    assert "lastUpdateDate" in customer.call("GET", f"/keys/{made['id']}/metadata").resource


def test_action_on_a_path_that_is_encoded(customer) -> None:
    """An id or alias in a path is read after its percent-encoding, whatever the client chose to encode."""
    customer.root_key(aliases=["an-alias"])
    encoded = "".join(f"%{ord(letter):02X}" for letter in "an-alias")
    assert customer.call("GET", f"/keys/{encoded}/metadata").status == 200
    assert customer.call("GET", f"/keys/{quote('a/b', safe='')}/metadata").outcome == (404, "KEY_NOT_FOUND_ERR")
    assert json.loads(customer.call("GET", "/keys?search=%00").raw)["resources"] == []
