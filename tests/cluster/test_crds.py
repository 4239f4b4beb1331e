"""Our kinds on a real API server: every rule that it enforces for us, with the message that people get to read.

What must be refused is sent with `--dry-run=server`: all of admission and validation runs, nothing is stored.
"""

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from local_cluster import Cluster
from openscale_byok.resources import (
    API_VERSION,
    GROUP,
    KINDS,
    DataMart,
    OpenScaleInstance,
    RootKeyBinding,
    schema,
)
from stage.api import AS_RESTORER

STATUS = ("--subresource=status", *AS_RESTORER)
GUID = "00000000-1111-2222-3333-444444444444"
INSTANCE_CRN = f"crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:{GUID}::"
CRN = INSTANCE_CRN[:-1] + "key:66666666-7777-8888-9999-aaaaaaaaaaaa"
NOT_AN_INSTANCE = "this is the CRN of an instance; use the root key's"
NOT_A_ROOT_KEY = "must be the CRN of a root key: crn:v1:bluemix:public:kms:<region>"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"
NOT_CERTIFICATES = "caBundle must hold one or more PEM certificates; beside them only comments without five dashes"
ONE_OF = "exactly one of `apiKeySecretRef` and `trustedProfile` must be set"
DROP = object()
"""In place of a value: take the field out."""

NOW = "2026-11-23T00:00:00Z"
API_KEY = {"name": "kp", "key": "apikey"}
PROFILE = {"id": "Profile-1", "serviceAccountName": "kp"}
CONDITION = {
    "type": "Ready",
    "status": "False",
    "lastTransitionTime": NOW,
    "reason": "ReEncrypting",
    "message": "120 of 500",
}
ACTIVE = {
    "id": "A" * 43,
    "rootKey": CRN,
    "rootKeyVersion": "1",
    "wrapped": "w",
    "state": "Active",
    "createdTime": NOW,
}
RETIRING = ACTIVE | {"id": "R" * 43, "state": "Retiring"}
SPECS: dict[str, dict[str, Any]] = {
    "OpenScaleInstance": {"serviceInstanceId": GUID, "dataKeyRevision": 3},
    "RootKeyBinding": {
        "instanceRef": {"name": "prod"},
        "rootKey": {"crn": CRN, "endpoint": "https://kp.example.com"},
    },
    "DataMart": {
        "instanceRef": {"name": "prod"},
        "database": {
            "type": "PostgreSQL",
            "host": "db.example.com",
            "port": 5432,
            "name": "payload",
            "schema": "public",
            "username": "openscale",
            "password": {"secretRef": {"name": "credit-risk-db", "key": "password"}},
        },
    },
}
STATUSES: dict[str, dict[str, Any]] = {
    "OpenScaleInstance": {
        "observedGeneration": 1,
        "protection": "Customer",
        "secrets": {"total": 500, "current": 120, "stale": 380, "stuck": 0},
        "properties": {"format": 1, "userRootKeyCRN": CRN, "dataKeys": [ACTIVE, RETIRING]},
        "conditions": [CONDITION],
    },
    "RootKeyBinding": {
        "observedGeneration": 1,
        "keyState": "Active",
        "keyVersion": "99999999-7777-8888-9999-aaaaaaaaaaaa",
        "role": "InForce",
        "conditions": [CONDITION],
    },
    "DataMart": {
        "observedGeneration": 1,
        "sealedPassword": {"dataKey": "A" * 43, "envelope": "e", "sealedTime": NOW},
        "conditions": [CONDITION, CONDITION | {"type": "SourceRemoved", "reason": "SourceKept"}],
    },
}
CLASSES = {kind.KIND: kind for kind in KINDS}


def changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with the values at these dotted paths replaced."""
    copied = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = copied
        for name in parents:
            node = node.setdefault(name, {})
        if value is DROP:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return copied


def manifest(kind: str, name: str = "tried", **changes: Any) -> dict[str, Any]:
    """A valid object of the kind, with these changes of its spec."""
    spec = changed(SPECS[kind], changes)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Here:
    """A namespace that holds one object of each kind, called `prod`, with a full status."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def kubectl(self, *args: str, given: object = None, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run kubectl in this namespace."""
        text = None if given is None else json.dumps(given)
        return self.cluster.kubectl("-n", self.namespace, *args, input=text, check=check)

    def create(self, document: dict[str, Any], *args: str) -> subprocess.CompletedProcess[str]:
        """What the server says to a create, without doing it."""
        return self.kubectl("create", "--dry-run=server", "-o=json", "-f-", *args, given=document)

    def patch(self, kind: str, patch: object, *args: str) -> subprocess.CompletedProcess[str]:
        """What the server says to a merge patch of `prod`, without doing it."""
        text = json.dumps(patch)
        return self.kubectl("patch", kind, "prod", "--dry-run=server", "-o=json", "--type=merge", "-p", text, *args)

    def get(self, kind: str, name: str = "prod") -> dict[str, Any]:
        """An object as it is stored."""
        return json.loads(self.kubectl("get", kind, name, "-o=json", check=True).stdout)


@pytest.fixture(scope="module")
def here(crds: Cluster) -> Iterator[Here]:
    """The namespace of this module's tables."""
    found = Here(crds, f"crd-rules-{os.getpid()}")
    crds.kubectl("create", "namespace", found.namespace)
    items = [manifest(kind, "prod") for kind in SPECS]
    found.kubectl("create", "-f-", given={"apiVersion": "v1", "kind": "List", "items": items}, check=True)
    yield found
    crds.kubectl("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="module")
def filled(here: Here) -> Here:
    """The same, once every object has a full status."""
    for kind, status in STATUSES.items():
        patch = json.dumps({"status": status})
        here.kubectl("patch", kind, "prod", *STATUS, "--type=merge", "-p", patch, check=True)
    return here


def refused(done: subprocess.CompletedProcess[str], field: str, message: str) -> None:
    """It was refused, for this field, with this message and no other."""
    assert done.returncode, f"accepted: {done.stdout}"
    assert f"{field}: " in done.stderr, done.stderr
    assert message in done.stderr, done.stderr


def accepted(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """It was accepted; as it would be stored."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# What a new object gets.


@pytest.mark.parametrize("kind", SPECS)
def test_a_status_sent_with_a_create_is_dropped(here, kind):
    """A new object's status is `observedGeneration: -1` and no more, whatever was sent: kstatus: in progress."""
    created = accepted(here.create(manifest(kind) | {"status": STATUSES[kind]}))
    assert created["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("OpenScaleInstance", {"globalKeyPolicy": "Allow", "suspend": False}),
        ("RootKeyBinding", {"dataKeyCacheSeconds": 3600}),
        ("DataMart", {"database.tls": "VerifyFull", "database.password.revision": 0, "deletionProtection": False}),
    ],
)
def test_defaults(here, kind, defaults):
    """What the spec leaves out is filled in as documented, and nothing else is."""
    assert here.get(kind)["spec"] == changed(SPECS[kind], defaults)


@pytest.mark.parametrize("kind", SPECS)
def test_the_server_keeps_all_of_the_schema(crds, kind):
    """The server complains of nothing and drops nothing: rules (and their cost), columns, bounds, all is there."""
    ours = schema.crd(CLASSES[kind])
    stored = json.loads(crds.kubectl("get", "crd", ours["metadata"]["name"], "-o=json").stdout)
    assert {row["type"]: row["status"] for row in stored["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert stored["spec"] == ours["spec"] | {"conversion": {"strategy": "None"}}


# Unions, bounds and shapes: what a create is refused for.

LONG = "x" * 254
REQUIRED, SHAPE, EMPTY = "Required value", "should match", "at least 1 chars long"
REFUSED: dict[str, list[tuple[str, object, str]]] = {
    "OpenScaleInstance": [
        ("serviceInstanceId", DROP, REQUIRED),
        ("serviceInstanceId", "", SHAPE),
        ("serviceInstanceId", GUID.replace("0", "A"), SHAPE),
        ("serviceInstanceId", GUID[:-1] + "\n", SHAPE),
        ("serviceInstanceId", GUID + "0", "Too long: may not be more than 36"),
        ("globalKeyPolicy", "Deny", 'supported values: "Allow", "Forbid"'),
        ("dataKeyRevision", -1, "greater than or equal to 0"),
        ("dataKeyRevision", 2**31, "less than or equal to 2147483647"),
        ("dataKeyRevision", 1.5, "must be of type integer"),
        ("deletion.policy", "Shredd", 'supported values: "Block", "Shred"'),
        ("deletion.retentionDays", -1, "greater than or equal to 0"),
        ("deletion.retentionDays", 366, "less than or equal to 365"),
        ("deletion.retentionDays", 7, "retentionDays is how long `Shred` waits; set policy to Shred"),
        ("suspend", "yes", "must be of type boolean"),
        ("credentials", {}, ONE_OF),
        ("credentials", {"apiKeySecretRef": API_KEY, "trustedProfile": PROFILE}, ONE_OF),
    ],
    "RootKeyBinding": [
        ("instanceRef", DROP, REQUIRED),
        ("instanceRef.name", DROP, REQUIRED),
        ("instanceRef.name", "", EMPTY),
        ("instanceRef.name", LONG, "Too long: may not be more than 253"),
        ("instanceRef.name", "other/prod", SHAPE),
        ("rootKey", DROP, REQUIRED),
        ("rootKey.crn", DROP, REQUIRED),
        ("rootKey.crn", "", EMPTY),
        ("rootKey.crn", CRN + "0" * 200, "Too long: may not be more than 256"),
        ("rootKey.crn", INSTANCE_CRN, NOT_AN_INSTANCE),
        ("rootKey.crn", INSTANCE_CRN[:-1], NOT_AN_INSTANCE),
        ("rootKey.crn", INSTANCE_CRN[:-2], NOT_AN_INSTANCE),
        ("rootKey.crn", INSTANCE_CRN.replace("kms", "aiopenscale"), NOT_AN_INSTANCE),
        ("rootKey.crn", "66666666-7777-8888-9999-aaaaaaaaaaaa", NOT_A_ROOT_KEY),
        ("rootKey.crn", CRN.replace(":key:", ":policy:"), NOT_A_ROOT_KEY),
        ("rootKey.crn", CRN.replace("kms", "secrets-manager"), NOT_A_ROOT_KEY),
        ("rootKey.crn", CRN.upper(), NOT_A_ROOT_KEY),
        ("rootKey.crn", CRN + "\n", NOT_A_ROOT_KEY),
        ("rootKey.crn", CRN[:-1], NOT_A_ROOT_KEY),
        ("rootKey.endpoint", "ftp://kp", SHAPE),
        ("rootKey.endpoint", "https://kp/path", SHAPE),
        ("rootKey.endpoint", "https://user:word@kp", SHAPE),
        ("rootKey.endpoint", "", EMPTY),
        ("rootKey.endpoint", "https://" + "x" * 512, "Too long: may not be more than 512"),
        ("credentials", {}, ONE_OF),
        ("credentials", {"apiKeySecretRef": API_KEY, "trustedProfile": PROFILE}, ONE_OF),
        ("credentials.apiKeySecretRef.key", DROP, REQUIRED),
        ("credentials.apiKeySecretRef.key", "a/b", SHAPE),
        ("credentials.apiKeySecretRef.name", "", EMPTY),
        ("credentials.trustedProfile.id", "a b", SHAPE),
        ("credentials.trustedProfile.id", LONG, "Too long: may not be more than 128"),
        ("credentials.trustedProfile.serviceAccountName", DROP, REQUIRED),
        ("dataKeyCacheSeconds", 59, "greater than or equal to 60"),
        ("dataKeyCacheSeconds", 14_401, "less than or equal to 14400"),
    ],
    "DataMart": [
        ("instanceRef", DROP, REQUIRED),
        ("instanceRef.name", "Prod", SHAPE),
        ("database.type", "MySQL", 'supported values: "PostgreSQL", "Db2"'),
        ("database.type", DROP, REQUIRED),
        ("database.host", DROP, REQUIRED),
        ("database.host", "", EMPTY),
        ("database.host", LONG, "Too long: may not be more than 253"),
        ("database.host", "db/x", SHAPE),
        ("database.port", 0, "greater than or equal to 1"),
        ("database.port", 65_536, "less than or equal to 65535"),
        ("database.port", "5432", "must be of type integer"),
        ("database.name", "", EMPTY),
        ("database.name", LONG, "Too long: may not be more than 128"),
        ("database.schema", DROP, REQUIRED),
        ("database.schema", LONG, "Too long: may not be more than 128"),
        ("database.username", "", EMPTY),
        ("database.username", LONG, "Too long: may not be more than 128"),
        ("database.tls", "Prefer", 'supported values: "VerifyFull", "Require", "Disable"'),
        ("database.caBundle", "", NOT_CERTIFICATES),
        ("database.caBundle", "/etc/ssl/ca.pem", NOT_CERTIFICATES),
        ("database.caBundle", CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"), NOT_CERTIFICATES),
        ("database.caBundle", CERTIFICATE + CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY"), NOT_CERTIFICATES),
        ("database.caBundle", CERTIFICATE.replace("CERTIFICATE", "EC PRIVATE KEY") + CERTIFICATE, NOT_CERTIFICATES),
        ("database.caBundle", "issuer=CN = some authority\n", NOT_CERTIFICATES),
        ("database.caBundle", "-----\n" + CERTIFICATE, NOT_CERTIFICATES),
        ("database.caBundle", CERTIFICATE.replace("TUlJQg==", "A" * 32_768), "may not be more than 32768"),
        ("displayName", "", EMPTY),
        ("displayName", LONG + "xxx", "Too long: may not be more than 256"),
        ("displayName", "two\nlines", SHAPE),
        ("displayName", "ends\n", SHAPE),
        ("description", "x" * 1025, "Too long: may not be more than 1024"),
        ("database.password", "in-the-clear", "must be of type object"),
        ("database.password.secretRef.key", DROP, REQUIRED),
        ("database.password.secretRef.key", LONG, "Too long: may not be more than 253"),
        ("database.password.revision", -1, "greater than or equal to 0"),
    ],
}
CASES = [(kind, *row) for kind, rows in REFUSED.items() for row in rows]
NESTED = {"credentials.apiKeySecretRef": API_KEY, "credentials.trustedProfile": PROFILE}


@pytest.fixture(scope="module")
def answers(here: Here) -> list[str]:
    """What the server says to each of CASES, sent in one go: starting kubectl costs more than the question."""
    items = []
    for n, (kind, path, value, _) in enumerate(CASES):
        around = {parent: whole for parent, whole in NESTED.items() if path.startswith(parent + ".")}
        items.append(manifest(kind, f"case-{n}", **around, **{path: value}))
    done = here.create({"apiVersion": "v1", "kind": "List", "items": items}, "--validate=ignore")
    lines = done.stderr.splitlines()
    return [next((line for line in lines if f'"case-{n}"' in line), "") for n in range(len(CASES))]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n][1]}-{n}")
def test_a_create_is_refused(answers, number):
    """An object outside a bound, a union or a shape is refused, and the message names the field and the cure."""
    _, path, _, message = CASES[number]
    assert f"spec.{path}: " in answers[number]
    assert message in answers[number]


@pytest.mark.parametrize("tls", ["Require", "Disable"])
def test_certificates_that_nothing_is_checked_against_are_refused(here, tls):
    """A caBundle beside a TLS mode that checks no certificate is refused: it would look safer than it is."""
    done = here.create(manifest("DataMart", **{"database.tls": tls, "database.caBundle": CERTIFICATE}))
    refused(done, "spec.database.caBundle", "set tls to VerifyFull, or take caBundle out")


def test_an_instances_crn_gets_one_message(here):
    """Whoever gives the CRN of an instance reads the one cure, not a pattern besides."""
    done = here.create(manifest("RootKeyBinding", **{"rootKey.crn": INSTANCE_CRN}))
    assert NOT_A_ROOT_KEY not in done.stderr
    assert "matches" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("OpenScaleInstance", {"credentials": {"apiKeySecretRef": API_KEY}}),
        ("OpenScaleInstance", {"credentials": {"trustedProfile": PROFILE}}),
        ("RootKeyBinding", {"credentials": {"trustedProfile": PROFILE}, "dataKeyCacheSeconds": 60}),
        ("RootKeyBinding", {"rootKey.crn": CRN.replace("kms", "hs-crypto"), "dataKeyCacheSeconds": 14_400}),
        ("RootKeyBinding", {"rootKey.endpoint": "https://10.0.0.1:8443"}),
        ("DataMart", {"database.host": "2001:db8::1", "database.type": "Db2", "database.port": 65_535}),
        ("DataMart", {"database.host": "x" * 253, "database.name": "größe", "database.tls": "Disable"}),
        ("DataMart", {"displayName": "größe " + "x" * 250, "description": "one\ntwo" + "x" * 1017}),
        ("DataMart", {"description": "", "database.caBundle": CERTIFICATE * 2 + "\r\n"}),
        ("DataMart", {"database.caBundle": f"# größe\nissuer=CN = one\n{CERTIFICATE}--- two ----\n{CERTIFICATE}--"}),
    ],
    ids=str,
)
def test_the_edge_is_accepted(here, kind, changes):
    """What lies just within the bounds is accepted."""
    accepted(here.create(manifest(kind, **changes)))


@pytest.mark.parametrize("kind", SPECS)
def test_an_unknown_field_is_refused_by_kubectl(here, kind):
    """A mistyped field is refused by name (kubectl validates strictly), and dropped when one insists."""
    document = manifest(kind, instanceReff={"name": "prod"})
    done = here.create(document)
    assert done.returncode
    assert 'strict decoding error: unknown field "spec.instanceReff"' in done.stderr
    assert "instanceReff" not in accepted(here.create(document, "--validate=ignore"))["spec"]


# What may change.

_BINDING = "may not be changed; create a second RootKeyBinding and delete this one: everything moves straight over"
IDENTITY = f"Forbidden: serviceInstanceId is immutable; create another {OpenScaleInstance.KIND}"
RAISED = "Forbidden: dataKeyRevision may only be raised"
ROOT_KEY = f"Forbidden: rootKey {_BINDING}"
UPDATES: list[tuple[str, dict[str, Any], str, str]] = [
    ("OpenScaleInstance", {"serviceInstanceId": GUID.replace("0", "1")}, "spec.serviceInstanceId", IDENTITY),
    ("OpenScaleInstance", {"dataKeyRevision": 2}, "spec.dataKeyRevision", RAISED),
    ("OpenScaleInstance", {"dataKeyRevision": None}, "spec.dataKeyRevision", RAISED),
    ("RootKeyBinding", {"instanceRef": {"name": "b"}}, "spec.instanceRef", f"Forbidden: instanceRef {_BINDING}"),
    ("RootKeyBinding", {"rootKey": {"crn": CRN[:-1] + "b"}}, "spec.rootKey", ROOT_KEY),
    ("RootKeyBinding", {"rootKey": {"endpoint": "https://b"}}, "spec.rootKey", ROOT_KEY),
    ("RootKeyBinding", {"rootKey": {"endpoint": None}}, "spec.rootKey", ROOT_KEY),
    (
        "DataMart",
        {"instanceRef": {"name": "b"}},
        "spec.instanceRef",
        "Forbidden: instanceRef may not be changed; create another DataMart",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "field", "message"), UPDATES, ids=lambda v: re.sub(r"\W+", "-", str(v))[:50])
def test_an_update_is_refused(here, kind, spec, field, message):
    """What names an object's identity never changes, and the message says what to do instead."""
    refused(here.patch(kind, {"spec": spec}), field, message)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("OpenScaleInstance", {"dataKeyRevision": 4, "globalKeyPolicy": "Forbid", "suspend": True}),
        ("OpenScaleInstance", {"deletion": {"policy": "Shred", "retentionDays": 0}}),
        ("RootKeyBinding", {"credentials": {"apiKeySecretRef": API_KEY}, "dataKeyCacheSeconds": 60}),
        ("DataMart", {"database": {"host": "elsewhere", "port": 1, "password": {"revision": 7}}}),
    ],
)
def test_an_update_is_accepted(here, kind, spec):
    """What an owner must be able to change can be changed."""
    accepted(here.patch(kind, {"spec": spec}))


# The data keys.

NEXT = ACTIVE | {"id": "N" * 43}
FORMER = ACTIVE | {"state": "Retiring"}
VANISHED = "Forbidden: an Active data key may turn Retiring, but may not vanish: secrets would be lost"
KEYS = "status.properties.dataKeys"


@pytest.mark.parametrize(
    "status",
    [
        None,
        {"properties": None},
        {"properties": {"dataKeys": None}},
        {"properties": {"dataKeys": []}},
        {"properties": {"dataKeys": [RETIRING]}},
        {"properties": {"dataKeys": [NEXT, RETIRING]}},
    ],
    ids=["status", "properties", "dataKeys", "empty", "only-it", "another-in-its-place"],
)
def test_an_active_data_key_may_not_vanish(filled, status):
    """No write that would lose the Active data key is taken, from a null status to another key in its place."""
    refused(filled.patch("osi", {"status": status}, *STATUS), KEYS, VANISHED)


def test_a_replaced_status_may_not_lose_it_either(filled):
    """A whole-object replace of the status without the properties, as a restore might send, is refused too."""
    stored = filled.get("osi")
    stored["status"] = {"observedGeneration": 1}
    done = filled.kubectl("replace", *STATUS, "--dry-run=server", "-f-", given=stored)
    refused(done, KEYS, VANISHED)


@pytest.mark.parametrize(
    "keys",
    [
        [FORMER, RETIRING],
        [NEXT, FORMER, RETIRING],
        [ACTIVE],
        [ACTIVE | {"wrapped": "v2", "rootKeyVersion": "2"}, RETIRING],
    ],
    ids=["retiring", "succeeded", "a-retiring-one-removed", "rewrapped"],
)
def test_what_the_protocol_does_is_accepted(filled, keys):
    """Active turns Retiring, a Retiring key goes, a key is rewrapped: each in one write."""
    found = accepted(filled.patch("osi", {"status": {"properties": {"dataKeys": keys}}}, *STATUS))
    assert found["status"]["properties"]["dataKeys"] == keys


@pytest.mark.parametrize(
    ("keys", "field", "message"),
    [
        ([ACTIVE, NEXT], KEYS, "Invalid value: at most one data key may be Active"),
        ([ACTIVE, FORMER], f"{KEYS}[1]", "Duplicate value"),
        (
            [ACTIVE, *(RETIRING | {"id": f"{n:043}"} for n in range(16))],
            KEYS,
            "Too many: 17: must have at most 16 items",
        ),
        ([ACTIVE | {"state": "Lost"}], f"{KEYS}[0].state", 'supported values: "Active", "Retiring"'),
        ([ACTIVE, RETIRING | {"id": "short"}], f"{KEYS}[1].id", "should match"),
        ([ACTIVE | {"wrapped": ""}], f"{KEYS}[0].wrapped", "at least 1 chars long"),
        ([ACTIVE | {"wrapped": "x" * 8193}], f"{KEYS}[0].wrapped", "Too long: may not be more than 8192"),
        ([ACTIVE | {"createdTime": "yesterday"}], f"{KEYS}[0].createdTime", "must be of type date-time"),
    ],
    ids=["two-active", "one-id-twice", "17", "state", "id", "no-wrapped-key", "long-wrapped-key", "time"],
)
def test_data_keys_out_of_bounds(filled, keys, field, message):
    """Two Active data keys, one recorded twice, too many, or one of another shape are refused."""
    refused(
        filled.patch("osi", {"status": {"properties": {"dataKeys": keys}}}, *STATUS),
        field,
        message,
    )


@pytest.mark.parametrize(
    ("kind", "status", "field", "message"),
    [
        ("osi", {"protection": "Some"}, "status.protection", 'supported values: "Customer", "Global", "None"'),
        ("osi", {"secrets": {"total": -1}}, "status.secrets.total", "greater than or equal to 0"),
        ("osi", {"properties": {"format": 0}}, "status.properties.format", "greater than or equal to 1"),
        ("osi", {"observedGeneration": -2}, "status.observedGeneration", "greater than or equal to -1"),
        ("rkb", {"role": "Boss"}, "status.role", 'supported values: "InForce", "Standby", "Releasing"'),
        ("odm", {"sealedPassword": {"envelope": "x" * 32_769}}, "status.sealedPassword.envelope", "Too long"),
        ("odm", {"sealedPassword": {"dataKey": None}}, "status.sealedPassword.dataKey", "Required value"),
        ("odm", {"conditions": [CONDITION | {"reason": "a b"}]}, "status.conditions[0].reason", "should match"),
        ("odm", {"conditions": [CONDITION | {"status": "true"}]}, "status.conditions[0].status", 'values: "True"'),
        ("odm", {"conditions": [CONDITION, CONDITION]}, "status.conditions[1]", "Duplicate value"),
    ],
    ids=lambda v: re.sub(r"\W+", "-", str(v))[:40],
)  # fmt: skip
def test_a_status_out_of_bounds(filled, kind, status, field, message):
    """What is written to a status is bounded as what is written to a spec."""
    refused(filled.patch(kind, {"status": status}, *STATUS), field, message)


def test_a_spec_write_leaves_the_status(filled):
    """Whoever may write the object but not its status cannot touch the data keys, not even by replacing it."""
    stored = filled.get("osi")
    wiped = {name: value for name, value in stored.items() if name != "status"}
    done = filled.kubectl("replace", "--dry-run=server", "-o=json", "-f-", given=wiped)
    assert accepted(done)["status"] == stored["status"]


def test_an_old_resource_version_is_refused(filled):
    """A merge patch with the resourceVersion of an earlier read is a compare-and-swap: it fails, and writes nothing."""
    before = filled.get("osi")
    stale = {"metadata": {"resourceVersion": "1"}, "status": {"protection": "None"}}
    done = filled.patch("osi", stale, *STATUS)
    assert "the object has been modified" in done.stderr
    assert filled.get("osi") == before


# What people see.


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (("osi", f"spec.serviceInstanceId={GUID}"), True),
        (("osi", "spec.serviceInstanceId=another"), False),
        (("rkb", "spec.instanceRef.name=prod"), True),
        (("rkb", "spec.instanceRef.name=another"), False),
        (("rkb", f"spec.rootKey.crn={CRN}"), True),
        (("odm", "spec.instanceRef.name=prod"), True),
        (("odm", "spec.instanceRef.name=another"), False),
    ],
    ids=str,
)
def test_selectable_fields(here, selector, found):
    """Objects are found on the server by what they refer to."""
    kind, expression = selector
    done = here.kubectl("get", kind, f"--field-selector={expression}", "-o=name", check=True)
    assert bool(done.stdout) is found


COLUMNS = {
    "osi": (
        ["NAME", "PROTECTION", "SECRETS", "CURRENT", "STUCK", "READY", "REASON", "AGE"],
        ["MESSAGE", "ROOT KEY"],
        ["prod", "Customer", "500", "120", "0", "False", "ReEncrypting"],
    ),
    "rkb": (
        ["NAME", "INSTANCE", "ROLE", "KEY", "READY", "REASON", "AGE"],
        ["MESSAGE", "VERSION", "ROOT KEY"],
        ["prod", "prod", "InForce", "Active", "False", "ReEncrypting"],
    ),
    "odm": (
        ["NAME", "INSTANCE", "DATABASE", "HOST", "READY", "REASON", "AGE"],
        ["SOURCE", "MESSAGE"],
        ["prod", "prod", "PostgreSQL", "db.example.com", "False", "ReEncrypting"],
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(filled, kind):
    """`kubectl get` shows whether and why, within a terminal's width; `-o wide` adds the sentence and the CRN."""
    short, long, values = COLUMNS[kind]
    head, row = filled.kubectl("get", kind, check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", head.strip()) == short
    assert re.split(r"\s{2,}", row)[:-1] == values
    assert len(head) <= 110
    wide, wide_row = filled.kubectl("get", kind, "-o=wide", check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", wide.strip()) == short + long
    assert "120 of 500" in wide_row


def test_everything_of_ours_in_one_list(filled):
    """`kubectl get openscale` lists all kinds, and `all` does not: it is not for what holds keys."""
    names = filled.kubectl("get", "openscale", "-o=name", check=True).stdout.split()
    assert names == [f"{kind.KIND.lower()}.{GROUP}/prod" for kind in (DataMart, OpenScaleInstance, RootKeyBinding)]
    assert GROUP not in filled.kubectl("get", "all", "-o=name", check=True).stdout


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("osi", ["OpenScaleInstance is one Watson OpenScale instance", "spec is what the customer asks for"]),
        ("osi.spec", ["-required-", "enum: Allow, Forbid", "globalKeyPolicy: Allow (default) protects by the"]),
        ("osi.status.properties.dataKeys", ["Opaque.", "enum: Active, Retiring", "state: Active seals and opens"]),
        ("rkb.spec.rootKey", ["crn of the root key (not of its instance). Immutable."]),
        ("rkb.spec.credentials", ["apiKeySecretRef is the Secret that holds an IAM API key"]),
        ("rkb.spec.dataKeyCacheSeconds", ["(default 3600, at most 14400)"]),
        ("odm.spec.database.password.secretRef", ["/handover", "is deleted once its password is safely sealed"]),
        ("odm.spec.database.tls", ["VerifyFull Require Disable", "checks the server's name"]),
        ("odm.status.sealedPassword.envelope", ["compact JWE (RFC 7516)", "this object, its endpoint and its proof"]),
        ("odm.metadata.uid", ["UID is the unique in time and space value for this object"]),
    ],
)  # fmt: skip
def test_explain(crds, path, texts):
    """`kubectl explain` says what each field is, what it defaults to and whether it may change."""
    shown = " ".join(crds.kubectl("explain", path).stdout.split())
    for text in texts:
        assert text in shown


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_explain_leaves_no_field_unexplained(crds, kind):
    """Every field of ours, however deep, has its text at the server."""
    shown = json.loads(crds.kubectl("get", "--raw", f"/openapi/v3/apis/{API_VERSION}").stdout)
    root = shown["components"]["schemas"][f"dev.byok.openscale.v1alpha1.{kind.KIND}"]

    def fields(node, path):
        for name, field in node.get("properties", {}).items():
            yield (*path, name), field
            yield from fields(field, (*path, name))
        if "items" in node:
            yield from fields(node["items"], path)

    unexplained = [path for path, field in fields(root, ()) if path[0] != "metadata" and "description" not in field]
    assert unexplained == []
