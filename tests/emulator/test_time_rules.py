"""Every waiting time, at both sides of its edge, on the emulator's clock. Nothing here waits."""

import datetime as dt

import pytest

from key_protect_emulator.control import EmulatorError

SECOND, HOUR, DAY = 1, 3_600, 86_400
TOO_EARLY = (409, "REQ_TOO_EARLY_ERR")


@pytest.fixture
def at(customer):
    """Moves the clock and buys the token that is valid then."""

    def advance(seconds: float) -> None:
        customer.emulator.advance(seconds)
        customer.renew()

    return advance


def in_seconds(customer, seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(customer.emulator.now() + seconds, dt.UTC)
    return moment.isoformat()


def expiring(customer, seconds: float) -> str:
    return customer.root_key(expirationDate=in_seconds(customer, seconds))


def delete(customer, key: str):
    return customer.call("DELETE", f"/keys/{key}")


def restore(customer, key: str):
    return customer.call("POST", f"/keys/{key}/restore")


def purge(customer, key: str):
    return customer.call("DELETE", f"/keys/{key}/purge")


def test_enable_needs_thirty_seconds(customer, at) -> None:
    """Enable within 30 s of disable is too early; after them it works."""
    key = customer.root_key()
    customer.act(key, "disable")
    at(28)
    assert customer.act(key, "enable").outcome == TOO_EARLY
    at(2)
    assert customer.act(key, "enable").status == 204
    assert customer.state(key) == 1


def test_restore_needs_thirty_seconds(customer, at) -> None:
    """Restore within 30 s of delete is too early; after them it answers 201 with the key."""
    key = customer.root_key()
    ciphertext = customer.wrap(key)["ciphertext"]
    delete(customer, key)
    at(28)
    assert restore(customer, key).outcome == TOO_EARLY
    at(2)
    reply = restore(customer, key)
    assert (reply.status, reply.resource["state"]) == (201, 1)
    assert customer.act(key, "unwrap", {"ciphertext": ciphertext}).status == 200


def test_restore_ends_after_thirty_days(customer, at) -> None:
    """A deleted key can be restored for 30 days; metadata says until when."""
    key = customer.root_key()
    delete(customer, key)
    at(30 * DAY - 60)
    assert customer.call("GET", f"/keys/{key}/metadata").resource["restoreAllowed"]
    at(120)
    assert not customer.call("GET", f"/keys/{key}/metadata").resource["restoreAllowed"]
    assert restore(customer, key).outcome == (400, "KEY_RESTORE_EXPIRED")


def test_purge_needs_four_hours(customer, at) -> None:
    """Purge within four hours of delete is too early; afterwards the key is gone for good (404)."""
    key = customer.root_key()
    delete(customer, key)
    at(4 * HOUR - 60)
    assert purge(customer, key).outcome == TOO_EARLY
    at(60)
    assert purge(customer, key).status == 200
    assert customer.call("GET", f"/keys/{key}/metadata").outcome == (404, "KEY_NOT_FOUND_ERR")


def test_auto_purge_after_ninety_days(customer, at) -> None:
    """A key that was deleted 90 days ago has vanished by itself, from lists too."""
    key = customer.root_key()
    delete(customer, key)
    at(90 * DAY - 60)
    assert customer.state(key) == 5
    at(60)
    assert customer.call("GET", f"/keys/{key}/metadata").outcome == (404, "KEY_NOT_FOUND_ERR")
    assert customer.call("GET", "/keys?state=5").json["resources"] == []


def test_rotate_once_an_hour(customer, at) -> None:
    """A second rotation within the hour is 409 KEY_ROTATION_NOT_PERMITTED and changes nothing."""
    key = customer.root_key()
    assert customer.act(key, "rotate").status == 204
    at(HOUR - 60)
    before = customer.call("GET", f"/keys/{key}/metadata").resource
    assert customer.act(key, "rotate").outcome == (409, "KEY_ROTATION_NOT_PERMITTED")
    assert before == customer.call("GET", f"/keys/{key}/metadata").resource
    at(60)
    assert customer.act(key, "rotate").status == 204


def test_sync_once_an_hour(customer, at) -> None:
    """Sync works on a new key, and again an hour after the last sync or lifecycle action."""
    key = customer.root_key()
    assert customer.act(key, "sync").status == 204
    assert customer.act(key, "sync").outcome == TOO_EARLY
    at(HOUR)
    assert customer.act(key, "sync").status == 204
    customer.act(key, "rotate")
    at(HOUR - 60)
    assert customer.act(key, "sync").outcome == TOO_EARLY


def test_expiry_within_an_hour(customer, at) -> None:
    """A key becomes Deactivated within an hour after its date, not at it; then it unwraps but does not wrap."""
    key = expiring(customer, 60)
    ciphertext = customer.wrap(key)["ciphertext"]
    at(61)
    assert customer.state(key) == 1
    at(HOUR)
    assert customer.state(key) == 3
    assert customer.act(key, "wrap").outcome == (409, "KEY_ACTION_INVALID_STATE_ERR")
    assert customer.act(key, "unwrap", {"ciphertext": ciphertext}).status == 200


def test_restored_deactivated_key_stays_deactivated(customer, at) -> None:
    """Restoring brings an expired key back as it was: Deactivated."""
    key = expiring(customer, 60)
    at(HOUR + 61)
    delete(customer, key)
    at(60)
    assert restore(customer, key).resource["state"] == 3


def test_key_that_expired_while_deleted_cannot_be_restored(customer, at) -> None:
    """A key whose date passed while it was deleted is 400 KEY_EXPIRED_ERR on restore."""
    key = expiring(customer, HOUR)
    delete(customer, key)
    at(2 * HOUR)
    assert restore(customer, key).outcome == (400, "KEY_EXPIRED_ERR")


def test_expiration_must_lie_ahead(customer) -> None:
    """A key cannot be created expired, nor with a date that is none."""
    for date in (in_seconds(customer, -60), "soon"):
        assert customer.create(expirationDate=date).outcome == (400, "INVALID_FIELD_ERR")


def test_dual_auth_deletion(customer, at, wire) -> None:
    """Two people within seven days: the same one twice, or the second too late, is AUTHORIZATIONS_NOT_MET."""
    emulator = customer.emulator
    second_id = emulator.create_service_id()
    emulator.grant(second_id, customer.instance, role="Manager")
    second = wire.Customer(emulator, customer.instance, emulator.create_api_key(second_id)).renew()
    key = customer.root_key()
    not_met = (409, "AUTHORIZATIONS_NOT_MET")
    assert customer.act(key, "setKeyForDeletion").outcome == (409, "NOT_DUAL_AUTH_ERR")
    policy = wire.envelope({"dualAuthDelete": {"enabled": True}})
    assert customer.call("PUT", f"/keys/{key}/policies?policy=dualAuthDelete", policy).status == 200
    assert not_met == delete(second, key).outcome
    assert customer.act(key, "setKeyForDeletion").status == 204
    assert customer.call("GET", f"/keys/{key}/metadata").resource["dualAuthDelete"]["keySetForDeletion"]
    assert not_met == delete(customer, key).outcome
    at(7 * DAY + 60)
    second.renew()
    assert not_met == delete(second, key).outcome
    customer.act(key, "setKeyForDeletion")
    customer.act(key, "unsetKeyForDeletion")
    assert not_met == delete(second, key).outcome
    customer.act(key, "setKeyForDeletion")
    assert delete(second, key).status == 204


def test_rotation_policy_rotates(customer, at, wire) -> None:
    """A rotation policy of one month makes a new version every 30 days, and only while it is enabled."""
    key = customer.root_key()
    ciphertext = customer.wrap(key)["ciphertext"]
    body = wire.envelope({"rotation": {"enabled": True, "interval_month": 1}})
    assert customer.call("PUT", f"/keys/{key}/policies", body).status == 200
    at(61 * DAY)
    assert len(customer.call("GET", f"/keys/{key}/versions").json["resources"]) == 3
    assert "rewrappedKeyVersion" in customer.act(key, "unwrap", {"ciphertext": ciphertext}).json
    body = wire.envelope({"rotation": {"enabled": False}})
    customer.call("PUT", f"/keys/{key}/policies", body)
    at(61 * DAY)
    assert len(customer.call("GET", f"/keys/{key}/versions").json["resources"]) == 3


def test_control_obeys_the_clock_unless_told(emulator) -> None:
    """The control client waives waiting times only with ignore_timing, and is never counted."""
    crn = emulator.create_root_key()
    emulator.rotate(crn)
    with pytest.raises(EmulatorError) as refused:
        emulator.rotate(crn)
    assert refused.value.code == "KEY_ROTATION_NOT_PERMITTED"
    emulator.rotate(crn, ignore_timing=True)
    for undone, done in (("disable", "enable"), ("delete", "restore")):
        getattr(emulator, undone)(crn)
        with pytest.raises(EmulatorError) as refused:
            getattr(emulator, done)(crn)
        assert refused.value.code == "REQ_TOO_EARLY_ERR"
        getattr(emulator, done)(crn, ignore_timing=True)
    emulator.delete(crn)
    emulator.purge(crn, ignore_timing=True)
    with pytest.raises(EmulatorError, match="no such key"):
        emulator.key(crn)
    assert emulator.counts() == {}


def test_clock_can_be_set(emulator) -> None:
    """The clock moves by a difference or to a moment, and tells what it shows."""
    before = emulator.now()
    emulator.set_clock(before + DAY)
    assert 0 <= emulator.now() - before - DAY < 60
    emulator.advance(-DAY)
    assert 0 <= emulator.now() - before < 60
