"""Every action in every state, over HTTP: Key Protect's published matrix, written out again here."""

import datetime as dt

import pytest

from key_protect_emulator.keys import MATRIX, Action, State

STATES = ("Active", "Suspended", "Deactivated", "Destroyed")
NUMBERS = dict(zip(STATES, (1, 2, 3, 5), strict=True))
HOURS = 3_600

TABLE = """
                       Active  Suspended  Deactivated  Destroyed
wrap                      200        409          409        410
unwrap                    200        409          200        410
rewrap                    200        409          200        410
rotate                    204        409          204        409
disable                   204        409          409        409
enable                    409        204          409        409
delete                    204        204          204        410
restore                   409        409          409        201
purge                     409        409          409        200
setKeyForDeletion         204        204          204        409
unsetKeyForDeletion       204        204          204        409
sync                      204        204          204        204
get                       200        200          200        200
metadata                  200        200          200        200
versions                  200        409          409        409
versions-of-all-states    200        200          200        200
registrations             200        200          200        200
"""
CODES = {409: "KEY_ACTION_INVALID_STATE_ERR", 410: "KEY_DELETED_ERR"}
ROWS = [line.split() for line in TABLE.strip().splitlines()[1:]]
CASES = [(row[0], state, int(status)) for row in ROWS for state, status in zip(STATES, row[1:], strict=True)]


def key_in(customer, state: str, policies: dict) -> tuple[str, str]:
    """A root key in a state, long enough for every waiting time to have passed; and a ciphertext of it."""
    emulator = customer.emulator
    expires = dt.datetime.fromtimestamp(emulator.now() + HOURS, dt.UTC).isoformat()
    fields = {"name": "key", "extractable": False, **policies}
    if state == "Deactivated":
        fields["expirationDate"] = expires
    body = {"metadata": {"collectionTotal": 1}, "resources": [fields]}
    key = customer.call("POST", "/keys_with_policy_overrides", body).resource["id"]
    ciphertext = customer.wrap(key)["ciphertext"]
    if state == "Suspended":
        customer.act(key, "disable")
    if state == "Destroyed":
        customer.call("DELETE", f"/keys/{key}")
    emulator.advance(5 * HOURS)
    customer.renew()
    assert NUMBERS[state] == customer.state(key)
    return key, ciphertext


def attempt(customer, action: str, key: str, ciphertext: str):
    if action in {"unwrap", "rewrap"}:
        return customer.act(key, action, {"ciphertext": ciphertext})
    plain = {
        "delete": ("DELETE", ""),
        "restore": ("POST", "/restore"),
        "purge": ("DELETE", "/purge"),
        "get": ("GET", ""),
        "metadata": ("GET", "/metadata"),
        "versions": ("GET", "/versions"),
        "versions-of-all-states": ("GET", "/versions?allKeyStates=true"),
        "registrations": ("GET", "/registrations"),
    }
    method, suffix = plain.get(action, ("POST", f"/actions/{action}"))
    return customer.call(method, f"/keys/{key}{suffix}")


@pytest.mark.parametrize(("action", "state", "status"), CASES)
def test_matrix(customer, action: str, state: str, status: int) -> None:
    """An action in a state succeeds or is refused exactly as the published matrix says."""
    policies = {"dualAuthDelete": {"enabled": True}} if "Deletion" in action and state != "Destroyed" else {}
    key, ciphertext = key_in(customer, state, policies)
    assert (status, CODES.get(status, "")) == attempt(customer, action, key, ciphertext).outcome


@pytest.mark.parametrize("state", STATES)
def test_lists_show_all_but_deleted_keys(customer, state: str) -> None:
    """The default list holds Active, Suspended and Deactivated keys; deleted ones must be asked for."""
    key, _ = key_in(customer, state, {})
    shown = [k["id"] for k in customer.call("GET", "/keys").json["resources"]]
    assert ([] if state == "Destroyed" else [key]) == shown
    asked = customer.call("GET", f"/keys?state={NUMBERS[state]}").json["resources"]
    assert [key] == [k["id"] for k in asked]


def test_matrix_is_total() -> None:
    """The matrix answers for every action; there is no state 4."""
    assert set(Action) == set(MATRIX)
    assert {1, 2, 3, 5} == {int(state) for state in State}
