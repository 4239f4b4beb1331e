"""The three kinds as values: parsed, printed, and nothing lost that is not ours."""

import pytest
from pydantic import SecretBytes, SecretStr, ValidationError

from openscale_byok.core.sealable import from_datamart
from openscale_byok.resources import KINDS, DataMart, Meta, OpenScaleInstance, Properties, RootKeyBinding, crn

GUID = "00000000-1111-2222-3333-444444444444"
KEY = "66666666-7777-8888-9999-aaaaaaaaaaaa"
ACCOUNT = "a/0123456789abcdef0123456789abcdef"
CRN = f"crn:v1:bluemix:public:kms:us-south:{ACCOUNT}:{GUID}:key:{KEY}"
CONDITION = {
    "type": "Ready", "status": "True", "observedGeneration": 3, "lastTransitionTime": "2026-11-23T00:00:00Z",
    "reason": "Current", "message": "all is well",
}  # fmt: skip
DATA_KEY = {
    "id": "A" * 43, "rootKey": CRN, "rootKeyVersion": "v", "wrapped": "d3JhcHBlZA", "state": "Active",
    "createdTime": "2026-11-23T00:00:00Z",
}  # fmt: skip
META = {"name": "one", "namespace": "team-a", "uid": "u", "resourceVersion": "17", "generation": 3}

OBJECTS = {
    OpenScaleInstance: {
        "spec": {
            "serviceInstanceId": GUID, "globalKeyPolicy": "Forbid", "dataKeyRevision": 2, "suspend": True,
            "credentials": {"apiKeySecretRef": {"name": "kp", "key": "apikey"}},
        },
        "status": {
            "conditions": [CONDITION], "observedGeneration": 3, "protection": "Customer",
            "secrets": {"total": 3, "current": 1, "stale": 1, "stuck": 1},
            "properties": {
                "format": 1, "userRootKeyCRN": CRN, "dataKeyRevision": 2, "releases": 4,
                "dataKeys": [DATA_KEY, DATA_KEY | {"id": "B" * 43, "state": "Retiring", "rootKey": "global"}],
            },
        },
    },
    RootKeyBinding: {
        "spec": {
            "instanceRef": {"name": "one"}, "rootKey": {"crn": CRN, "endpoint": "https://kp.example.com"},
            "credentials": {"trustedProfile": {"id": "Profile-1", "serviceAccountName": "kp"}},
            "dataKeyCacheSeconds": 60,
        },
        "status": {
            "conditions": [CONDITION], "observedGeneration": 3, "keyState": "Active", "keyVersion": "v",
            "role": "InForce",
        },
    },
    DataMart: {
        "spec": {
            "instanceRef": {"name": "one"}, "displayName": "Scores of 2026", "description": "",
            "deletionProtection": True,
            "database": {
                "type": "Db2", "host": "db", "port": 50000, "name": "BLUDB", "schema": "s", "username": "u",
                "tls": "VerifyFull", "caBundle": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
                "password": {"secretRef": {"name": "s", "key": "password"}, "revision": 1},
            },
        },
        "status": {
            "conditions": [CONDITION], "observedGeneration": 3,
            "sealedPassword": {
                "dataKey": "A" * 43, "envelope": "e", "sealedTime": "2026-11-23T00:00:00Z",
                "stuckUnder": "B" * 43,
                "source": {"uid": "u", "resourceVersion": "9", "handover": True, "given": False},
            },
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_full_object_prints_as_it_was_read(kind):
    """Every field of every kind survives reading and printing, in its own spelling."""
    parsed = kind.of({"metadata": META, **OBJECTS[kind]})
    assert {"spec": parsed.spec.dump(), "status": parsed.status.dump()} == OBJECTS[kind]
    assert parsed.key == ("team-a", "one")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_new_object_needs_no_status(kind):
    """What the API server holds just after a create is read; what was never set is not made up."""
    parsed = kind.of({"metadata": META, "spec": OBJECTS[kind]["spec"], "status": {"observedGeneration": -1}})
    assert parsed.status.observed_generation == -1
    assert parsed.status == kind.of({"metadata": META, "spec": OBJECTS[kind]["spec"]}).status
    assert None not in parsed.status.dump().values()


@pytest.mark.parametrize("place", ["conditions", "dataKeys"])
def test_unknown_fields_in_list_items_survive(place):
    """A merge patch replaces lists whole, so what a newer version wrote in an item is written back by us."""
    status = OBJECTS[OpenScaleInstance]["status"]
    added = {"addedLater": {"deep": [1, {"x": None}]}}
    if place == "conditions":
        status = status | {"conditions": [CONDITION | added]}
    else:
        status = status | {"properties": status["properties"] | {"dataKeys": [DATA_KEY | added]}}
    parsed = OpenScaleInstance.of({"metadata": META, **OBJECTS[OpenScaleInstance], "status": status})
    assert parsed.status.dump() == status


def test_unknown_fields_elsewhere_are_left_alone():
    """Outside lists a merge patch leaves unknown fields as they are: they are read past and not printed."""
    raw = {"metadata": META | {"managedFields": []}, **OBJECTS[DataMart], "extra": 1}
    raw["spec"] = raw["spec"] | {"extra": 1}
    assert DataMart.of(raw).spec.dump() == OBJECTS[DataMart]["spec"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_values_do_not_change(kind):
    """An object that was read stays as it was read, all the way down: two parts of a pass see one thing."""
    parsed = kind.of({"metadata": META, **OBJECTS[kind]})
    for part, field in (
        (parsed, "spec"),
        (parsed.status, "conditions"),
        (parsed.status.conditions[0], "reason"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, None)
    assert isinstance(parsed.status.conditions, tuple)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_refusal_never_quotes(kind):
    """An object of the wrong shape is refused without printing what was in it."""
    with pytest.raises(ValidationError) as refused:
        kind.of({"metadata": META, "spec": "CANARY", "status": {"conditions": ["CANARY"]}})
    assert "CANARY" not in str(refused.value)
    assert "CANARY" not in repr(refused.value)


def test_no_model_holds_a_secret_in_the_clear():
    """No kind has a field for a secret itself: whatever is in one is in etcd."""

    def annotations(model):
        for field in model.model_fields.values():
            yield field.annotation
            for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(inner, type) and hasattr(inner, "model_fields"):
                    yield from annotations(inner)

    for kind in KINDS:
        assert not {SecretStr, SecretBytes} & {a for a in annotations(kind) if isinstance(a, type)}


def test_metadata():
    """What decisions rest on is read from metadata: version as a number, deletion, and our finalizer."""
    meta = Meta.of(META | {"finalizers": ["openscale.byok.dev/protected"], "deletionTimestamp": "t"})
    assert (meta.version, meta.ours, meta.deleting) == (17, True, True)
    assert (Meta().ours, Meta().deleting) == (False, False)


def test_data_keys_are_found_by_id_and_state():
    """The properties give the one that seals and any by its id, and say so where there is none."""
    found = Properties.model_validate(OBJECTS[OpenScaleInstance]["status"]["properties"])
    assert found.active.id == "A" * 43
    assert found.find("B" * 43).state == "Retiring"
    assert (found.find("C" * 43), Properties().active) == (None, None)


def test_a_context_is_what_the_object_says():
    """The context of a password names the object and its endpoint: TLS, schema and source are not in it."""
    mart = DataMart.of({"metadata": META, **OBJECTS[DataMart]})
    found = from_datamart(mart, GUID).context
    assert (found.instance, found.kind, found.namespace, found.name) == (GUID, "DataMart", "team-a", "one")
    assert found.field == "spec.database.password"
    at = found.endpoint
    assert (at.type, at.host, at.port, at.database, at.username) == ("Db2", "db", 50000, "BLUDB", "u")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (CRN, "https://us-south.kms.cloud.ibm.com"),
        (CRN.replace("us-south", "eu-de"), "https://eu-de.kms.cloud.ibm.com"),
        (CRN.replace(":kms:", ":hs-crypto:"), f"https://{GUID}.api.us-south.hs-crypto.appdomain.cloud"),
        (CRN.replace("bluemix:public", "staging:dedicated"), "https://us-south.kms.cloud.ibm.com"),
    ],
)
def test_a_root_keys_crn_is_taken_apart(text, endpoint):
    """A root key's CRN gives the instance, the key and the public endpoint that follows from it."""
    found = crn.parse(text)
    assert (found.text, found.instance, found.key) == (text, GUID, KEY)
    assert found.account == ACCOUNT.removeprefix("a/")
    assert found.default_endpoint == endpoint


INSTANCE = CRN.removesuffix(f"key:{KEY}")


@pytest.mark.parametrize(
    "text",
    [INSTANCE, INSTANCE + ":", INSTANCE[:-1], INSTANCE.replace(":kms:", ":aiopenscale:")],
    ids=lambda t: t[-20:],
)
def test_an_instances_crn_is_named_as_such(text):
    """The CRN of an instance, with or without its trailing colons, is refused with the cure."""
    with pytest.raises(ValueError, match=r"^this is the CRN of an instance; use the root key's"):
        crn.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "crn", KEY, "crn:v1:", "crn:v1:::::::", CRN.upper(), CRN + "\n", " " + CRN, CRN + ":",
        CRN.replace(":key:", ":policy:"),
        CRN.replace("a/0", "a/g"), CRN.replace(ACCOUNT, "o/1"), CRN.replace("crn:v1", "crn:v2"), CRN[:-1],
        CRN.replace(":kms:", ":secrets-manager:"), CRN.replace("public", "x"), CRN.replace("us-south", ""),
        CRN.replace("us-south", "x" * 200),
    ],
)  # fmt: skip
def test_a_malformed_crn_is_refused(text):
    """Anything but a root key's CRN is refused with the shape that it should have."""
    with pytest.raises(ValueError, match=r"^must be the CRN of a root key: crn:v1:"):
        crn.parse(text)
