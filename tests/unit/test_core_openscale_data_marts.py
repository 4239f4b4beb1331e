"""OpenScale's data marts as ours: what a POST and a PATCH may say, and what comes back."""

import base64
import copy
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.core import openscale_answers as answers
from openscale_byok.core import openscale_data_marts as data_marts
from openscale_byok.core.openscale_configuration import document
from openscale_byok.core.preferences import LABELS
from openscale_byok.core.sealable import Sealable, from_datamart
from openscale_byok.crypto import envelope as envelopes
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart
from sim.certificates import BROKEN, certificate

GUID = "00000000-1111-2222-3333-444444444444"
CRN = "crn:v1:bluemix:public:aiopenscale:us-south:a/1:{}::"
CANARY = "canary-Zw5-ä"


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
C = "database_configuration.credentials"


PEM, OTHER_PEM = certificate(), certificate("another")
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
BODY: dict[str, Any] = {
    "name": "Scores of 2026",
    "description": "what the models said",
    "internal_database": False,
    "database_configuration": {
        "database_type": "postgresql",
        "credentials": {
            "hostname": "db.example.com", "port": 5432, "db": "payload", "username": "openscale",
            "password": CANARY, "ssl": True, "sslmode": "verify-full",
            "certificate_base64": base64.b64encode(PEM.encode()).decode(),
        },
        "location": {"schema_name": "scores"},
    },
}  # fmt: skip
SPEC = {
    "instanceRef": {"name": "prod"},
    "displayName": "Scores of 2026",
    "description": "what the models said",
    "database": {
        "type": "PostgreSQL", "host": "db.example.com", "port": 5432, "name": "payload", "schema": "scores",
        "username": "openscale", "tls": "VerifyFull", "caBundle": PEM, "password": {},
    },
}  # fmt: skip


def body(**changes: object) -> dict[str, Any]:
    """The body of a POST, with these changes; two underscores lead inwards, and `C__` into the credentials."""
    found = copy.deepcopy(BODY)
    for path, value in changes.items():
        *parents, last = path.replace("C__", "database_configuration__credentials__").split("__")
        node = found
        for name in parents:
            node = node[name]
        if value is ABSENT:
            del node[last]
        else:
            node[last] = value
    return found


def mart(spec: dict[str, Any] | None = None, labels: dict[str, str] = LABELS, **status: Any) -> DataMart:
    """A data mart as it is stored; made by the gateway unless told otherwise."""
    meta = {
        "name": "scores-x7", "namespace": "team-a", "uid": "u", "resourceVersion": "9", "generation": 2,
        "creationTimestamp": "2026-11-23T00:00:00Z", "labels": labels,
    }  # fmt: skip
    return DataMart.of({"metadata": meta, "spec": SPEC if spec is None else spec, "status": status})


def patch(path: str, value: object = ABSENT, op: str = "replace") -> dict[str, Any]:
    """One operation; `C` stands for the credentials."""
    path = path.replace("/C/", "/database_configuration/credentials/")
    return {"op": op, "path": path} | ({} if value is ABSENT else {"value": value})


def refusal(call, *args, **named) -> Refused:
    """What it is refused with; never with the password."""
    with pytest.raises(Refused) as refused:
        call(*args, **named)
    assert "canary" not in repr(refused.value)
    assert refused.value.__cause__ is None
    return refused.value


def test_a_post_becomes_a_spec_and_the_password_apart():
    """The whole of a body lands in the spec but for the password, which no repr shows."""
    found = data_marts.new(BODY, "prod", GUID)
    assert found.spec == SPEC
    assert CANARY.encode() == found.password
    assert "canary" not in repr(found)
    assert "canary" not in str(found.spec)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"C__ssl": ABSENT, "C__sslmode": ABSENT}, "VerifyFull"),
        ({"C__sslmode": ABSENT}, "VerifyFull"),
        ({"C__ssl": ABSENT}, "VerifyFull"),
        ({"C__sslmode": "require", "C__certificate_base64": ABSENT}, "Require"),
        ({"C__ssl": ABSENT, "C__sslmode": "require", "C__certificate_base64": None}, "Require"),
        ({"C__ssl": False, "C__sslmode": ABSENT, "C__certificate_base64": ABSENT}, "Disable"),
        ({"C__ssl": False, "C__sslmode": "disable", "C__certificate_base64": ABSENT}, "Disable"),
    ],
)
def test_how_the_connection_is_secured(changes, expected):
    """ssl and sslmode become one mode; where neither is given the server is checked in full."""
    found = data_marts.new(body(**changes), "prod", GUID)
    assert expected == found.spec["database"]["tls"]


def test_a_whole_number_is_one_however_it_is_written():
    """JSON has one sort of number: a client that writes every number with a point is understood."""
    assert data_marts.new(body(C__port=5432.0), "prod", GUID) == data_marts.new(body(), "prod", GUID)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None, "description": None},
        {"name": ABSENT, "description": ABSENT, "internal_database": ABSENT},
        {"database_discovery": "manual", "service_instance_crn": CRN.format(GUID)},
        {"database_configuration__instance_id": "crn:v1:…", "database_configuration__name": "db"},
        {"database_configuration__database_type": "db2", "C__port": 50_001},
    ],
    ids=str,
)  # fmt: skip
def test_what_ibms_sdk_may_add_is_taken(changes):
    """Optional fields of OpenScale's API that change nothing here are accepted."""
    data_marts.new(body(**changes), "prod", GUID)


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"internal_database": True}, "internal_database: there is none here"),
    ({"internal_database": "no"}, "internal_database: must be true or false"),
    ({"database_discovery": "automatic"}, "database_discovery: must be manual"),
    ({"service_instance_crn": CRN.format("other")}, "service_instance_crn: is not"),
    ({"service_instance_crn": "x"}, "service_instance_crn: is not the CRN of the instance"),
    ({"project_id": "x"}, "project_id: is not known here: take it out (known: name,"),
    ({"name": ""}, "name: String should have at least 1 character"),
    ({"name": "two\nlines"}, "name: String should match"),
    ({"name": "x" * 257}, "name: String should have at most 256"),
    ({"name": 7}, "name: must be a string"),
    ({"name": "\ud800"}, "name: Input should be a valid string"),
    ({"description": "x" * 1025}, "description: String should have at most 1024"),
    ({"database_configuration": ABSENT}, "database_configuration: is missing"),
    ({"database_configuration": []}, "database_configuration: must be an object"),
    ({"database_configuration__database_type": "mysql"}, "database_type: must be one of postgresql, db2"),
    ({"database_configuration__database_type": ABSENT}, "database_configuration.database_type: is missing"),
    ({"database_configuration__location": ABSENT}, "database_configuration.location.schema_name: is missing"),
    ({"database_configuration__location__table": "x"}, "database_configuration.location.table: is not known here"),
    ({"database_configuration__credentials": ABSENT}, f"{C}: is missing; give hostname, port, db, username, password"),
    ({"C__hostname": ABSENT}, f"{C}.hostname: is missing"),
    ({"C__hostname": "db/x"}, f"{C}.hostname: String should match"),
    ({"C__port": "5432"}, f"{C}.port: must be a whole number"),
    ({"C__port": True}, f"{C}.port: must be a whole number"),
    ({"C__port": 5432.5}, f"{C}.port: must be a whole number"),
    ({"C__port": float("inf")}, f"{C}.port: must be a whole number"),
    ({"C__port": float("nan")}, f"{C}.port: must be a whole number"),
    ({"C__port": 0}, f"{C}.port: Input should be greater than or equal to 1"),
    ({"C__port": 10**400}, f"{C}.port: "),
    ({"C__db": ""}, f"{C}.db: String should have at least 1"),
    ({"C__username": "x" * 129}, f"{C}.username: String should have at most 128"),
    ({"C__password": ABSENT}, f"{C}.password: is missing"),
    ({"C__password": None}, f"{C}.password: is missing"),
    ({"C__password": ""}, f"{C}.password: the password is empty"),
    ({"C__password": [CANARY]}, f"{C}.password: must be a string"),
    ({"C__password": CANARY + "\n"}, f"{C}.password: not UTF-8 text without control characters"),
    ({"C__password": CANARY + "\ud800"}, f"{C}.password: not UTF-8 text"),
    ({"C__password": CANARY * 4_096}, f"{C}.password: 53248 bytes; a password has at most 4096"),
    ({"C__uri": f"postgres://u:{CANARY}@h"}, f"{C}.uri: is not known here: take it out"),
    ({"C__additional_properties": {"host": "evil"}}, "what is added to a connection could send the password elsewhere"),
    ({"C__secret_id": "x"}, f"{C}.secret_id: is not known here: it names what was given before"),
    ({"C__sslmode": "verify-ca"}, f"{C}.sslmode: verify-ca does not check the server's name; use one of verify-full"),
    ({"C__sslmode": "prefer"}, f"{C}.sslmode: not a mode that is kept here; use one of verify-full, require, disable"),
    ({"C__sslmode": ""}, f"{C}.sslmode: not a mode"),
    ({"C__ssl": False}, f"{C}.sslmode: contradicts {C}.ssl; leave out ssl"),
    ({"C__sslmode": "disable"}, f"{C}.sslmode: contradicts {C}.ssl"),
    ({"C__ssl": "yes"}, f"{C}.ssl: must be true or false"),
    ({"C__sslmode": "require"}, f"{C}.certificate_base64: nothing is checked against it"),
    ({"C__certificate_base64": ""}, f"{C}.certificate_base64: must be the base64 form of one or more PEM"),
    ({"C__certificate_base64": PEM}, f"{C}.certificate_base64: must be the base64 form"),
    ({"C__certificate_base64": base64.b64encode(PEM.encode() + KEY).decode()}, f"{C}.certificate_base64: must be"),
    ({"C__certificate_base64": base64.b64encode(PEM.replace("MII", "AII").encode()).decode()}, "must be the base64"),
    ({"C__certificate_base64": base64.b64encode(PEM.encode() * 90).decode()}, f"{C}.certificate_base64: "),
    ({"C__certificate_base64": "\n" * 49_153}, f"{C}.certificate_base64: too long"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: f"{'-'.join(REFUSED[n][0])}-{n}")
def test_a_post_is_refused(number):
    """A body that is wrong anywhere is refused with the field as it calls it, and the cure, and no value."""
    changes, message = REFUSED[number]
    found = refusal(data_marts.new, body(**changes), "prod", GUID)
    assert found.reason is Reason.INVALID_REQUEST
    assert message in found.message


@pytest.mark.parametrize("found", [None, [], "x", 7])
def test_a_body_is_an_object(found):
    """Anything but an object is refused as such."""
    assert refusal(data_marts.new, found, "prod", GUID).message == "the body: must be an object"


# What a PATCH may do.


@pytest.mark.parametrize(
    ("operations", "spec", "password"),
    [
        ([patch("/name", "Scores")], {"displayName": "Scores"}, None),
        ([patch("/name", op="remove")], {"displayName": None}, None),
        ([patch("/description", None)], {"description": None}, None),
        ([patch("/name", SPEC["displayName"])], {}, None),
        ([patch("/C/password", "new")], {}, b"new"),
        ([patch("/C/password", "new", "add")], {}, b"new"),
        (
            [patch("/C/certificate_base64", op="remove"), patch("/C/password", "new")],
            {"database": {"caBundle": None}},
            b"new",
        ),
        (
            [
                patch("/C/certificate_base64", op="remove"),
                patch("/C/sslmode", "require"),
                patch("/C/password", "new"),
            ],
            {"database": {"caBundle": None, "tls": "Require"}},
            b"new",
        ),
        ([patch("/database_configuration/location/schema_name", "other")], {"database": {"schema": "other"}}, None),
        (
            [patch("/C/hostname", "b"), patch("/C/port", 6432), patch("/C/password", "new")],
            {"database": {"host": "b", "port": 6432}},
            b"new",
        ),
        (
            [patch("/database_configuration", {**BODY["database_configuration"], "database_type": "db2"})],
            {"database": {"type": "Db2"}},
            CANARY.encode(),
        ),
        ([patch("/name", SPEC["displayName"], "test"), patch("/name", "b")], {"displayName": "b"}, None),
    ],
)
def test_a_patch_becomes_a_change(operations, spec, password):
    """A patch comes down to what differs in the spec, and the new password apart."""
    found = data_marts.changed(mart(), operations, GUID)
    assert (spec, password) == (found.spec, found.password)
    assert "new" not in repr(found)


@pytest.mark.parametrize("place", ["hostname", "port", "db", "username"])
def test_a_password_does_not_follow_to_another_endpoint(place):
    """Whoever names another endpoint has to give the password with it, by whatever operations."""
    value: object = 1 if place == "port" else "other"
    found = refusal(data_marts.changed, mart(), [patch(f"/C/{place}", value)], GUID)
    assert (
        f"{C}.{place}: a password goes only to the endpoint that it was given for; give {C}.password" in found.message
    )
    whole = {**BODY["database_configuration"]["credentials"], place: value}
    del whole["password"]
    again = refusal(data_marts.changed, mart(), [patch("/database_configuration/credentials", whole)], GUID)
    assert found.message == again.message


def sealed_for(tls: str, pem: str | None = None, *, now: Any = None, version: int = 2) -> DataMart:
    """A data mart whose password was given for a server proven so, and whose spec says *now* otherwise."""
    database = {**SPEC["database"], "tls": tls, "caBundle": pem}
    raw = mart({**SPEC, "database": database})
    context = from_datamart(raw, GUID).context
    context = context if version == 2 else replace(context, proof=None)
    text = envelopes.seal(b"secret", DataKey(bytes(32)), context, Wrapped("global", "w"), bytes(12))
    stored = {"dataKey": "k", "envelope": text, "sealedTime": "2026-01-01T00:00:00Z"}
    found = mart({**SPEC, "database": {**database, **(now or {})}}).dump()
    return DataMart.of(found | {"status": {"sealedPassword": stored}})


PEM64, OTHER64 = (base64.b64encode(pem.encode()).decode() for pem in (PEM, OTHER_PEM))
TAKE_OUT = patch("/C/certificate_base64", op="remove")


@pytest.mark.parametrize(
    ("found", "operations", "field"),
    [
        (sealed_for("VerifyFull", PEM), [TAKE_OUT, patch("/C/sslmode", "disable"), patch("/C/ssl", False, "add")],
         "sslmode"),
        (sealed_for("VerifyFull"), [patch("/C/sslmode", "require")], "sslmode"),
        (sealed_for("Require"), [patch("/C/sslmode", "disable")], "sslmode"),
        (sealed_for("VerifyFull", PEM), [patch("/C/certificate_base64", OTHER64)], "certificate_base64"),
        (sealed_for("VerifyFull", PEM), [TAKE_OUT], "certificate_base64"),
        (sealed_for("VerifyFull"), [patch("/C/certificate_base64", PEM64, "add")], "certificate_base64"),
        (sealed_for("VerifyFull", now={"tls": "Require"}), [patch("/C/sslmode", "disable")], "sslmode"),
        (sealed_for("VerifyFull", PEM, version=1), [TAKE_OUT], "certificate_base64"),
        (mart({**SPEC}), [TAKE_OUT], "certificate_base64"),
    ],
)  # fmt: skip
def test_a_password_does_not_follow_to_a_server_that_proves_less(found, operations, field):
    """Whoever lowers the TLS mode or names other authorities than the password was given for has to give it anew."""
    refused = refusal(data_marts.changed, found, operations, GUID)
    assert refused.reason is Reason.INVALID_REQUEST
    assert f"{C}.{field}: a password goes only to a server that is proven as when it was given" in refused.message
    assert f"give {C}.password in the same patch" in refused.message
    given = data_marts.changed(found, [*operations, patch("/C/password", "new")], GUID)
    assert given.password == b"new"


@pytest.mark.parametrize(
    ("found", "operations"),
    [
        (sealed_for("Disable"), [patch("/C/sslmode", "require")]),
        (sealed_for("Require"), [patch("/C/sslmode", "verify-full")]),
        (sealed_for("Require"), [patch("/C/sslmode", "verify-full"), patch("/C/certificate_base64", PEM64, "add")]),
        (sealed_for("Require", now={"tls": "VerifyFull"}), [patch("/C/sslmode", "require")]),
        (sealed_for("VerifyFull", now={"tls": "Disable"}), [patch("/C/sslmode", "verify-full")]),
        (sealed_for("VerifyFull", PEM, now={"caBundle": OTHER_PEM}), [patch("/C/certificate_base64", PEM64)]),
        (sealed_for("VerifyFull", now={"host": "moved"}), [patch("/C/hostname", SPEC["database"]["host"])]),
        (sealed_for("VerifyFull", now={"tls": "Disable"}), [patch("/name", "another")]),
        (sealed_for("VerifyFull", PEM),
         [patch("/C/certificate_base64", base64.b64encode(f"# größer\n{PEM}{PEM}".encode()).decode())]),
    ],
)  # fmt: skip
def test_a_password_stays_where_as_much_is_proven(found, operations):
    """More proof, back to what it was given for, comments, and what is about neither: no password is asked for."""
    assert data_marts.changed(found, operations, GUID).password is None


def test_a_bundle_that_cannot_be_read_is_refused():
    """What has the shape of a certificate and is none is told so, and nothing is stored."""
    for pem in (BROKEN, PEM + BROKEN, KEY.decode() + PEM):
        found = base64.b64encode(pem.encode()).decode()
        refused = refusal(data_marts.changed, mart(), [patch("/C/certificate_base64", found)], GUID)
        assert "must be the base64 form of one or more PEM certificates" in refused.message


@pytest.mark.parametrize(
    ("operation", "reason", "message"),
    [
        (patch("/C/password", op="remove"), Reason.INVALID_REQUEST, "a password can only be given anew"),
        (patch("/C/password", CANARY, "test"), Reason.INVALID_REQUEST, "a password can only be given anew"),
        (patch("/name", "b", "test"), Reason.CONFLICT, "nothing was changed"),
        (
            patch("/database_configuration/credentials", BODY["database_configuration"]["credentials"], "test"),
            Reason.CONFLICT,
            "nothing was changed",
        ),
        (patch("/C/secret_id", "x", "add"), Reason.INVALID_REQUEST, f"{C}.secret_id: is not known here"),
        (patch("/status/state", "active", "add"), Reason.INVALID_REQUEST, "leads nowhere"),
        (patch("/database_configuration", op="remove"), Reason.INVALID_REQUEST, "database_configuration: is missing"),
        (patch("/C/sslmode", "disable"), Reason.INVALID_REQUEST, f"{C}.certificate_base64: nothing is checked"),
        (patch("/internal_database", True, "add"), Reason.INVALID_REQUEST, "internal_database: there is none here"),
    ],
)  # fmt: skip
def test_a_patch_is_refused(operation, reason, message):
    """A patch that would make no data mart, or ask after the password, is refused."""
    found = refusal(data_marts.changed, mart(), [operation], GUID)
    assert found.reason is reason
    assert message in found.message


def test_what_is_kept_elsewhere_is_changed_there():
    """Without the gateway's label only the password may be given; with a Secret named not even that."""
    given = {**SPEC, "database": {**SPEC["database"], "password": {}}}
    found = data_marts.changed(mart(given, {}), [patch("/C/password", "new")], GUID)
    assert (found.spec, found.password) == ({}, b"new")
    refused = refusal(data_marts.changed, mart(given, {}), [patch("/name", "b")], GUID)
    assert refused.reason is Reason.NOT_OURS
    assert "DataMart scores-x7 was not made by this API" in refused.message
    from_secret = {**SPEC, "database": {**SPEC["database"], "password": {"secretRef": {"name": "pw", "key": "p"}}}}
    refused = refusal(data_marts.changed, mart(from_secret), [patch("/C/password", "new")], GUID)
    assert refused.reason is Reason.NOT_OURS
    assert "reads its password from Secret pw: change it there" in refused.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/C/hostname", "evil.example.com"),
        ("/C/sslmode", "require"),
        ("/database_configuration/database_type", "db2"),
    ],
)
def test_where_a_secret_goes_is_not_the_gateways_to_change(path, value):
    """It may read Secrets, its callers were not asked: neither endpoint nor its proof changes while one is named."""
    source = {"secretRef": {"name": "pw", "key": "p"}}
    named = {**SPEC, "database": {**SPEC["database"], "caBundle": None, "password": source}}
    refused = refusal(data_marts.changed, mart(named), [patch(path, value)], GUID)
    assert refused.reason is Reason.NOT_OURS
    assert "reads its password from Secret pw, which goes where" in refused.message
    found = data_marts.changed(mart(named), [patch("/database_configuration/location/schema_name", "other")], GUID)
    assert found.spec == {"database": {"schema": "other"}}


def test_what_its_owner_protects_stays_protected():
    """OpenScale's API has no word for it: a patch leaves it as it was, and a deletion is refused with the cure."""
    protected = mart({**SPEC, "deletionProtection": True})
    assert data_marts.changed(protected, [patch("/name", "b")], GUID).spec == {"displayName": "b"}
    refused = refusal(data_marts.expect_deletable, protected)
    assert (refused.reason, "set spec.deletionProtection to false" in refused.message) == (
        Reason.DELETION_PROTECTED,
        True,
    )
    data_marts.expect_deletable(mart())
    assert refusal(data_marts.expect_deletable, mart(labels={})).reason is Reason.NOT_OURS


def test_what_the_gateway_made_under_its_former_label_stays_its_own():
    """Objects from before it had a label of its own prefix; Helm's and kustomize's values of that label are not its."""
    data_marts.expect_ours(mart(labels={"app.kubernetes.io/managed-by": "openscale-byok-gateway"}))
    for labels in ({"app.kubernetes.io/managed-by": "Helm"}, {"openscale.byok.dev/managed-by": "me"}):
        assert refusal(data_marts.expect_ours, mart(labels=labels)).reason is Reason.NOT_OURS


def test_what_is_only_shown_is_not_stored():
    """A data mart of kubectl's without a display name shows its own; a patch of that shown name stores nothing."""
    bare = {name: value for name, value in SPEC.items() if name not in ("displayName", "description")}
    found = data_marts.changed(mart(bare), [patch("/name", "scores-x7"), patch("/description", "")], GUID)
    assert found.spec == {}
    renamed = data_marts.changed(mart(bare), [patch("/name", "b")], GUID)
    assert renamed.spec == {"displayName": "b"}


# What comes back.

HOST = st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9.:]{0,20}[A-Za-z0-9])?\Z")
LINE = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=100)
WORD = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=128)
SPECS = st.fixed_dictionaries(
    {
        "instanceRef": st.just({"name": "prod"}),
        "database": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["PostgreSQL", "Db2"]),
                "host": HOST,
                "port": st.integers(1, 65_535),
                "name": WORD,
                "schema": WORD,
                "username": WORD,
                "tls": st.sampled_from(["VerifyFull", "Require", "Disable"]),
                "password": st.just({}),
            }
        ),
    },
    optional={"displayName": LINE, "description": st.text(st.characters(blacklist_categories=("Cs",)), max_size=99)},
)


@given(SPECS)
def test_what_a_data_mart_is_shown_as_makes_it_again(spec):
    """The document that a PATCH works on is a body that would make the same data mart."""
    shown = document(mart({**spec, "displayName": spec.get("displayName", "n")}))
    shown["database_configuration"]["credentials"]["password"] = CANARY
    found = data_marts.new(shown, "prod", GUID)
    assert {"description": "", "displayName": "n", **spec} == found.spec


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    "/name", "/description", "/database_configuration", "/database_configuration/database_type", "/C/hostname",
    "/C/password", "/C/sslmode", "/C/certificate_base64", "/database_configuration/credentials",
    "/database_configuration/location", "/C/port",
]  # fmt: skip


@given(st.lists(st.builds(patch, st.sampled_from(PLACES), JSON, st.sampled_from(["add", "replace"])), max_size=3))
def test_whatever_is_patched_in_is_taken_or_refused(operations):
    """No JSON value at any place does anything but change the spec within its bounds, or be refused by name."""
    why, spec = Reason.INVALID_REQUEST, {}
    try:
        spec = data_marts.changed(mart(), operations, GUID).spec
    except Refused as error:
        why = error.reason
    assert why is Reason.INVALID_REQUEST
    assert set(spec) <= {"displayName", "description", "database"}


def condition(type_: str, status: str = "True", reason: str = "Sealed", message: str = "m") -> dict[str, Any]:
    """One condition."""
    return {
        "type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 2,
        "lastTransitionTime": "2026-11-24T00:00:00Z",
    }  # fmt: skip


STUCK = {"trace": "t-1", "errors": [{"code": "Stuck", "message": "why and what helps"}]}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, {"state": "preparing"}),
        ({"observedGeneration": -1}, {"state": "preparing"}),
        ({"observedGeneration": 2, "conditions": [condition("Ready")]}, {"state": "active"}),
        ({"observedGeneration": 1, "conditions": [condition("Ready")]}, {"state": "preparing"}),
        (
            {"observedGeneration": 2, "conditions": [condition("Ready", "False"), condition("Reconciling")]},
            {"state": "preparing"},
        ),
        (
            {
                "observedGeneration": 2,
                "conditions": [
                    condition("Ready", "False"),
                    condition("Stalled", "True", "Stuck", "why and what helps"),
                ],
            },
            {"state": "error", "failure": STUCK},
        ),
    ],
)
def test_the_state_follows_the_conditions(status, expected):
    """Active only when found sealed for the present spec; an error says why, with reason and cure."""
    found = answers.data_mart(as_known(mart(**status)), "/openscale/g", "t-1")
    assert expected == found["entity"]["status"]


def test_a_data_mart_that_is_being_deleted_says_so():
    """Whatever its conditions say."""
    raw = mart(observedGeneration=2, conditions=[condition("Ready")])
    meta = replace(raw.metadata, deletion_timestamp="2026-11-25T00:00:00Z")
    found = answers.data_mart(as_known(raw.model_copy(update={"metadata": meta})), "/openscale/g", "t-1")
    assert found["entity"]["status"] == {"state": "deleting"}


def sealed(envelope: str) -> dict[str, str]:
    """A sealed password."""
    return {"dataKey": "A" * 43, "envelope": envelope, "sealedTime": "2026-11-24T09:00:00Z"}


def as_known(found: DataMart) -> Sealable:
    """What is kept of a data mart."""
    return from_datamart(found, "g")


def secret_id(envelope: str) -> str:
    """Of a data mart with this envelope."""
    return as_known(mart(sealedPassword=sealed(envelope))).shown.secret_id


def test_a_data_mart_is_shown_in_openscales_shape():
    """Everything that IBM's SDK reads is there, and of the credentials only an id."""
    found = answers.data_mart(as_known(mart(observedGeneration=2, sealedPassword=sealed("e.1"))), "/openscale/g", "t")
    assert found["metadata"] == {
        "id": "scores-x7",
        "url": "/openscale/g/v2/data_marts/scores-x7",
        "created_at": "2026-11-23T00:00:00Z",
        "modified_at": "2026-11-24T09:00:00Z",
    }
    assert found["entity"] == {
        "name": "Scores of 2026",
        "description": "what the models said",
        "internal_database": False,
        "database_configuration": {
            "database_type": "postgresql",
            "credentials": {"secret_id": secret_id("e.1")},
            "location": {"schema_name": "scores"},
        },
        "database_discovery": "manual",
        "status": {"state": "preparing"},
    }


def test_the_id_of_a_secret_is_another_after_each_seal():
    """The same for the same envelope, another for another, empty for none, and no part of the envelope."""
    assert secret_id("e.1") == secret_id("e.1")
    assert secret_id("e.1") != secret_id("e.2")
    assert as_known(mart()).shown.secret_id == ""
    assert "e.1" not in secret_id("e.1")


@pytest.mark.parametrize(
    ("display_name", "expected"),
    [
        ("Scores of 2026", "scores-of-2026-x7"),
        ("Größe & Maß!", "grosse-mass-x7"),
        ("  --  ", "data-mart-x7"),
        ("评分", "data-mart-x7"),
        (None, "data-mart-x7"),
        ("x" * 99, "x" * 60 + "-x7"),
        ("x" * 59 + "-yz", "x" * 59 + "-x7"),
    ],
)
def test_a_new_object_is_named_after_its_display_name(display_name, expected):
    """A DNS label that people recognize, whatever the display name holds."""
    assert expected == data_marts.object_name(display_name, "x7")


@given(st.text(), st.from_regex(r"\A[a-z0-9]{1,12}\Z"))
def test_a_name_is_always_a_dns_label(display_name, suffix):
    """Whatever the display name is, the API server takes the object's name."""
    found = data_marts.object_name(display_name, suffix)
    assert len(found) <= 63
    assert found.endswith(f"-{suffix}")
    assert found.replace("-", "").isalnum()
    assert found.isascii()
    assert found == found.lower()
    assert not found.startswith("-")
