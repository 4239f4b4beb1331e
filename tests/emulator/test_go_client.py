"""IBM's own Go client against the emulator: every one of its 84 methods, by the program in go_client.

`go_client/go.mod` and `go.sum` lock the client. The program is built once and kept in the user's cache folder. Where
there is no Go that can build it, these tests are skipped; test_wire_shapes.py holds the shapes of what it sends.
"""

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from key_protect_emulator.control import Emulator
from stage.ibm_environments import environment

PROGRAM = Path(__file__).with_name("go_client")
ROOT, STANDARD = {"extractable": False, "imported": False, "aliases": 0}, {"extractable": True, "imported": False}
IMPORTED = {**ROOT, "imported": True}

# What was done -> what must have come of it. The first word is the client's method.
CREATED = {
    "CreateKey": ROOT,
    "CreateRootKey": ROOT,
    "CreateStandardKey": {**ROOT, **STANDARD},
    "CreateKeyWithAliases": {**ROOT, "aliases": 2},
    "CreateKeyWithOptions": [["a", "b"], "described", True, True],
    "CreateImportedKey": IMPORTED,
    "CreateImportedRootKey": IMPORTED,
    "CreateImportedStandardKey": {**IMPORTED, "extractable": True},
    "CreateImportedKeyWithAliases": {**IMPORTED, "aliases": 1},
    "CreateImportedKeyWithSHA1": "400 INVALID_FIELD_ERR",  # SHA-1 is Hyper Protect's
    "CreateImportedKeyWithPolicyOverridesWithSHA1": "400 INVALID_FIELD_ERR",
    "CreateKeyWithPolicyOverrides": ROOT,
    "CreateRootKeyWithPolicyOverrides": ROOT,
    "CreateStandardKeyWithPolicyOverrides": {**ROOT, **STANDARD},
    "CreateImportedKeyWithPolicyOverrides": IMPORTED,
    "CreateImportedRootKeyWithPolicyOverrides": IMPORTED,
    "CreateImportedStandardKeyWithPolicyOverrides": {**IMPORTED, "extractable": True},
    "CreateKeyWithPolicyOverridesWithOptions months of 0": "400 INVALID_FIELD_ERR",
    "GetKeyMetadata of a key that does not exist": "404 KEY_NOT_FOUND_ERR",
    "CreateImportToken": 5,
    "CreateImportToken with what the service prefers": 1,
    "GetImportTokenTransportKey, and what it is for": True,
}
WRAPPED = {
    "Wrap": True,
    "Unwrap": True,
    "Unwrap with the AAD in another order": "422 UNPROCESSABLE_CIPHERTEXT_ERR",
    "WrapCreateDEK": [32, True],
    "WrapV2": True,
    "WrapCreateDEKV2": True,
    "Rotate": "done",
    "UnwrapV2 after a rotation": True,
    "UnwrapV2 of what was rewrapped": True,
    "ListKeyVersions": [1, 2],
    "RotateV2 with null for a body": "done",
    "RotateV2 with a payload for a generated key": "400 INVALID_QUERY_PARAM_ERR",
}
LISTED = {
    "ListKeys without options": "done",
    "ListKeys by search, which ends in a comma": 3,
    "ListKeys by search in names": 3,
    "ListKeys by search in aliases": 0,
    "ListKeys by exact search": 1,
    "ListKeys by escaped search": 3,
    "ListKeys created within the hour": 3,
    "ListKeys created before the hour and after it": 0,
    "ListKeys never rotated": 3,
    "ListKeys rotated before now": 0,
    "ListKeys expiring before now": 0,
    "ListKeys standard and active": 1,
    "ListKeys updated at one moment": 0,
    "ListKeys by state and kind, a page": 1,
    "ListKeys by a date that is none": "400 INVALID_QUERY_PARAM_ERR",
    "GetKeys": 2,
    "ListRegistrations": 0,
}
ARRANGED = {
    "CreateKeyAlias": "an-alias",
    "GetKey by its alias": True,
    "DeleteKeyAlias": "done",
    "CreateKeyRing": "done",
    "SetKeyRing, a field called KeyRingID": "a-ring",
    "DeleteKeyRing that holds a key": "409 KEY_RING_NOT_EMPTY_ERR",
    "DeleteKeyRing": "done",
    "GetKeyRings": 1,
}
POLICIES = {
    "EnableRotationPolicy of which no months are known": "400 INVALID_FIELD_ERR",
    "SetPolicy": "true 5",
    "SetRotationPolicy": "false 3",
    "SetRotationPolicy of no months": "400 INVALID_FIELD_ERR",
    "EnableRotationPolicy": "true 3",
    "GetRotationPolicy": "true 3",
    "DisableRotationPolicy": "false 3",
    "GetPolicy": "false 3",
    "SetDualAuthDeletePolicy": True,
    "GetDualAuthDeletePolicy": True,
    "SetPolicies": 2,
    "GetPolicies": 2,
    "SetKeyCreateImportAccessInstancePolicy": "done",
    "CreateStandardKey where the policy forbids it": "409 KEY_CREATE_IMPORT_ACCESS_ERR",
    "SetKeyCreateImportAccessInstancePolicy, off": "done",
    "SetDualAuthInstancePolicy": "done",
    "SetRotationInstancePolicy": "done",
    "CreateRootKeyWithPolicyOverrides that overrides all with none": 0,
    "CreateRootKey that inherits": "true 5",
    "SetDualAuthInstancePolicy off": "done",
    "SetRotationInstancePolicy off": "done",
    "SetMetricsInstancePolicy": "done",
    "SetAllowedNetworkInstancePolicy": "done",
    "SetAllowedNetworkInstancePolicy of nowhere": "400 INVALID_FIELD_ERR",
    "SetAllowedIPInstancePolicy of no address": "400 INVALID_FIELD_ERR",
    "SetAllowedIPInstancePolicy": "done",
    "GetAllowedIPPrivateNetworkPort": True,
    "GetDualAuthInstancePolicy": False,
    "GetRotationInstancePolicy": False,
    "GetMetricsInstancePolicy": True,
    "GetAllowedNetworkInstancePolicy": True,
    "GetKeyCreateImportAccessInstancePolicy": False,
    "GetAllowedIPInstancePolicy": ["127.0.0.0/8", "2001:db8::/32"],
    "SetInstancePolicies": "done",
    "GetInstancePolicies": 6,
}
CONFLICT, DELETING = "409 Conflict: The KMIP", "KMIP resource could not be deleted"
KMIP = {
    "CreateKMIPAdapter for a key by its alias": True,
    "CreateKMIPAdapter without a name": "done",
    "GetKMIPAdapter": "described",
    "GetKMIPAdapters of a key": 1,
    "CreateKMIPClientCertificate": "a-certificate",
    "CreateKMIPClientCertificate a second time": (
        "409 Conflict: This client certificate belongs to a KMIP adapter already: KMIP resource could not be created"
    ),
    "GetKMIPClientCertificates": 1,
    "GetKMIPClientCertificate": True,
    "GetKMIPObjects": 1,
    "GetKMIPObject": [2, 2],
    "DeleteKMIPAdapter whose object is active": (
        f"{CONFLICT} adapter still has KMIP objects that are not destroyed: {DELETING}"
    ),
    "DeleteKMIPObject that is active": f"{CONFLICT} object is active: revoke it first, or use force: {DELETING}",
    "DeleteKMIPObject by force": "done",
    "GetKMIPObject that is destroyed": [2, 5],
    "DeleteKey with an adapter": "409 PROTECTED_RESOURCE_ERR",
    "DeleteKMIPAdapter with a certificate": "done",
    "DeleteKMIPClientCertificate": "done",
}
STATES = {
    "DisableKey": "done",
    "DisableKey twice": "409 KEY_ACTION_INVALID_STATE_ERR",
    "Wrap with a disabled key": "409 KEY_ACTION_INVALID_STATE_ERR",
    "EnableKey too early": "409 REQ_TOO_EARLY_ERR",
    "EnableKey": "done",
    "SyncAssociatedResources too early": "409 REQ_TOO_EARLY_ERR",
    "SyncAssociatedResources": "done",
    "InitiateDualAuthDelete": "done",
    "CancelDualAuthDelete": "done",
    "DeleteKey with one authorization": "409 AUTHORIZATIONS_NOT_MET",
    "DeleteKey": [5, True, False],
    "DeleteKey twice": "410 KEY_DELETED_ERR",
    "RestoreKey too early": "409 REQ_TOO_EARLY_ERR",
    "RestoreKey": 1,
    "PurgeKey too early": "409 REQ_TOO_EARLY_ERR",
    "PurgeKey": True,
}
EXPECTED = {**CREATED, **WRAPPED, **LISTED, **ARRANGED, **POLICIES, **KMIP, **STATES, "uncalled": []}


@pytest.fixture(scope="module")
def program() -> Path:
    """The built program, or a skip that says why there is none."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no `go` on the PATH to build IBM's Go client with")
    sources = sorted([*PROGRAM.glob("*.go"), *PROGRAM.glob("go.*")])
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openscale-byok"
    built = cache / f"go-client-{digest}"
    if not built.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = cache / f"{built.name}.{os.getpid()}"
        flags = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        done = subprocess.run(
            [go, "build", "-o", str(draft), "."], cwd=PROGRAM, env=flags, capture_output=True, text=True
        )
        if "requires go >=" in done.stderr:
            pytest.skip(f"this Go is too old for IBM's Go client: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr[-2000:]
        draft.replace(built)
    return built


@pytest.fixture(scope="module")
def outcomes(program: Path) -> dict:
    """What the program did, and what the emulator answered meanwhile."""
    with Emulator.start() as emulator:
        second = emulator.create_service_id()
        emulator.grant(second, emulator.instance, role="Manager")
        keys = {"FIRST_API_KEY": emulator.api_key, "SECOND_API_KEY": emulator.create_api_key(second)}
        command = [str(program), emulator.url, emulator.instance.id, a_certificate()]
        done = subprocess.run(command, env={**environment(), **keys}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return {"client": json.loads(done.stdout), "statuses": emulator.all_counts()["statuses"]}


def a_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kmip")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("what", EXPECTED)
def test_go_client(outcomes, what: str) -> None:
    """Each method of IBM's Go client does what it is for, and shows a refusal's code where it is refused."""
    assert outcomes["client"].get(what) == EXPECTED[what]


def test_go_client_did_nothing_else(outcomes) -> None:
    """Every step of the program is judged above, and nothing of it was answered 500."""
    assert set(outcomes["client"]) == set(EXPECTED)
    assert {status for counts in outcomes["statuses"].values() for status in counts if status >= "500"} == set()
