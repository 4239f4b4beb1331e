"""KMIP's REST side: adapters, their certificates and objects, and the root key under them."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from key_protect_emulator.codec import decode
from key_protect_emulator.control import EmulatorError
from key_protect_emulator.kmip import Adapter

BAD_FIELD = (400, "INVALID_FIELD_ERR")


@pytest.fixture(scope="module")
def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kmip")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def adapter(customer, wire) -> str:
    """The id of an adapter called `one`; its root key is `customer.crk`."""
    customer.crk = customer.root_key(aliases=["kmip-key"])
    body = {"name": "one", "profile": "native_1.0", "profile_data": {"crk_id": "kmip-key"}}
    reply = customer.call("POST", "/kmip_adapters", wire.envelope(body))
    assert (201, customer.crk) == (reply.status, reply.resource["profile_data"]["crk_id"])
    return reply.resource["id"]


def add(customer, wire, pem: str, name: str = "certificate", adapter: str = "one"):
    return customer.call(
        "POST", f"/kmip_adapters/{adapter}/certificates", wire.envelope({"name": name, "certificate": pem})
    )


def test_adapter_goes_with_its_certificates(customer, wire, adapter, pem) -> None:
    """Deleting an adapter takes its certificates along, and frees them for another adapter."""
    assert add(customer, wire, pem).status == 201
    assert customer.call("DELETE", f"/kmip_adapters/{adapter}").status == 204
    assert customer.call("GET", f"/kmip_adapters/{adapter}").status == 404
    body = {"name": "one", "profile": "native_1.0", "profile_data": {"crk_id": customer.crk}}
    assert customer.call("POST", "/kmip_adapters", wire.envelope(body)).status == 201
    assert add(customer, wire, pem).status == 201


@pytest.mark.parametrize("path", ["", "?force=true"], ids=["plainly", "by force"])
def test_key_under_an_adapter_stays(customer, adapter, path: str) -> None:
    """A root key under an adapter cannot be deleted, by the control API neither; without the adapter it can."""
    assert customer.call("DELETE", f"/keys/{customer.crk}{path}").outcome == (409, "PROTECTED_RESOURCE_ERR")
    with pytest.raises(EmulatorError, match="KMIP adapter"):
        customer.emulator.delete(customer.crk)
    assert customer.state(customer.crk) == 1
    customer.call("DELETE", f"/kmip_adapters/{adapter}")
    assert customer.call("DELETE", f"/keys/{customer.crk}{path}").status == 204


def test_objects(customer, adapter) -> None:
    """An object is read and listed by state; an active one is destroyed by force only, and once."""
    made = {state: customer.emulator.create_kmip_object(customer.instance, "one", state=state) for state in (1, 2, 4)}
    path = f"/kmip_adapters/{adapter}/kmip_objects"
    active = customer.call("GET", f"{path}/{made[2]}").resource
    assert (2, 2, made[2]) == (active["state"], active["kmip_object_type"], active["id"])
    assert "destroyed_at" not in active
    assert customer.call("DELETE", f"{path}/{made[2]}").status == 409
    assert customer.call("DELETE", f"/kmip_adapters/{adapter}").status == 409
    for state, query in ((1, ""), (2, "?force=true"), (4, "")):
        assert customer.call("DELETE", f"{path}/{made[state]}{query}").status == 204
    assert customer.call("DELETE", f"{path}/{made[1]}").status == 410
    gone = customer.call("GET", f"{path}/{made[4]}").resource
    assert (gone["state"], gone["recoverable"], "destroyed_at" in gone) == (6, False, True)
    assert customer.call("GET", path).json["resources"] == []
    counted = customer.call("GET", f"{path}?state=5,6&totalCount=true&limit=1").json
    assert (counted["metadata"]["totalCount"], len(counted["resources"])) == (3, 1)
    assert customer.call("DELETE", f"/kmip_adapters/{adapter}").status == 204


def test_what_does_not_exist(customer, adapter) -> None:
    """Unknown objects, adapters and states of objects are refused: 404, 404, 400."""
    path = f"/kmip_adapters/{adapter}/kmip_objects"
    for method in ("GET", "DELETE"):
        assert customer.call(method, f"{path}/none").status == 404
        assert customer.call(method, "/kmip_adapters/none/kmip_objects/none").status == 404
    assert customer.call("GET", f"{path}?state=").status == 200  # as IBM's Python client sends no state
    assert customer.call("GET", f"{path}?state=7").outcome == (400, "INVALID_QUERY_PARAM_ERR")


def test_adapters_of_one_key(customer, wire, adapter) -> None:
    """A list of adapters can be narrowed to those of one root key."""
    other = customer.root_key()
    body = {"profile": "native_1.0", "profile_data": {"crk_id": other}, "description": ""}
    assert customer.call("POST", "/kmip_adapters", wire.envelope(body)).status == 201
    mine = customer.call("GET", f"/kmip_adapters?crk_id={customer.crk}").json["resources"]
    assert [adapter] == [found["id"] for found in mine]
    assert len(customer.call("GET", "/kmip_adapters").json["resources"]) == 2


def test_certificates_are_checked(customer, wire, adapter, pem) -> None:
    """A certificate is one certificate in PEM, and belongs to one adapter."""
    for bad in ("", "x", pem + pem, pem.replace("CERTIFICATE", "PUBLIC KEY"), pem[:-40], "text before\n" + pem):
        assert add(customer, wire, bad).outcome == BAD_FIELD
    assert add(customer, wire, pem).status == 201
    assert add(customer, wire, pem, name="again").status == 409


def test_adapters_of_older_state_files() -> None:
    """An adapter that an earlier version stored is read, with no objects."""
    by = {"created_at": "t", "created_by": "b", "updated_at": "t", "updated_by": "b"}
    certificate = {"id": "c", "name": "n", "certificate": "p", "created_at": "t", "created_by": "b"}
    stored = {"id": "a", "name": "n", "description": "", "profile": "native_1.0", "profile_data": {"crk_id": "k"}, **by}
    read = decode(Adapter, {**stored, "certificates": {"c": certificate}})
    assert (read.objects, read.certificates["c"].certificate) == ({}, "p")
