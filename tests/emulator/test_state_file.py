"""What was acknowledged survives kill -9, and the file that holds it is for its owner alone."""

import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest

from key_protect_emulator.codec import decode, encode
from key_protect_emulator.control import Emulator, EmulatorError
from key_protect_emulator.world import World

DEK = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state.json"


def test_everything_survives(state, wire) -> None:
    """After kill -9 and a restart: keys, versions, ciphertexts, states, grants, API keys, tokens, the clock."""
    with Emulator.start(state) as before:
        customer = wire.Customer(before, before.instance, before.api_key).renew()
        key, deleted = customer.root_key(aliases=["kept"]), customer.root_key()
        ciphertext = customer.wrap(key, plaintext=DEK, aad=["a"])["ciphertext"]
        customer.act(key, "rotate")
        customer.call("DELETE", f"/keys/{deleted}")
        reader = before.create_service_id()
        before.grant(reader, before.instance, key)
        api_key = before.create_api_key(reader)
        before.advance(1_000)
        metadata, now = customer.call("GET", "/keys/kept/metadata").json, before.now()
        before.kill()
    with Emulator.start(state) as after:
        assert (after.instance, after.api_key) == (before.instance, before.api_key)
        assert 0 <= after.now() - now < 60
        customer.emulator = after
        assert customer.call("GET", "/keys/kept/metadata").json == metadata
        opened = customer.act("kept", "unwrap", {"ciphertext": ciphertext, "aad": ["a"]}).json
        assert opened["plaintext"] == DEK
        assert "rewrappedKeyVersion" in opened
        assert customer.state(deleted) == 5
        assert wire.Customer(after, after.instance, api_key).renew().act(key, "wrap").status == 200


def test_nothing_acknowledged_is_lost(state, wire) -> None:
    """Killed in the middle of concurrent creates, every key that was answered with 201 is there afterwards."""
    acknowledged: list[str] = []
    enough = threading.Event()
    with Emulator.start(state) as before:
        customer = wire.Customer(before, before.instance, before.api_key).renew()

        def create_until_killed() -> None:
            while True:
                try:
                    acknowledged.append(customer.create().resource["id"])
                except (OSError, HTTPException):
                    return
                if len(acknowledged) >= 40:
                    enough.set()

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(create_until_killed) for _ in range(4)]
            assert enough.wait(60)
            before.kill()
            for done in running:
                done.result()
    with Emulator.start(state) as after:
        customer.emulator = after
        stored = {key["id"] for key in customer.call("GET", "/keys?limit=5000").json["resources"]}
        assert set(acknowledged) <= stored


def test_file_is_private(state) -> None:
    """The state file, which holds key material, can be read by its owner only, and no draft stays behind."""
    with Emulator.start(state):
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert [path.name for path in state.parent.iterdir()] == [state.name]


def test_unwritten_state_is_not_acknowledged(state, wire) -> None:
    """If the change cannot be stored, the answer is 500, not success."""
    with Emulator.start(state) as emulator:
        customer = wire.Customer(emulator, emulator.instance, emulator.api_key).renew()
        state.unlink()
        state.mkdir()  # rename onto a folder fails, even for root
        assert customer.create().status == 500
        state.rmdir()
        assert customer.create().status == 201


@pytest.mark.parametrize("content", ["{", '{"format": 99}', "[]", "null"])
def test_bad_state_file(state, content: str) -> None:
    """A state file that cannot be read stops the start, with a sentence, and is left as it is."""
    state.write_text(content)
    with pytest.raises(EmulatorError, match="cannot use the state file"):
        Emulator.start(state)
    assert state.read_text() == content


def test_codec_round_trip(state, wire) -> None:
    """A world with everything in it reads back as it was written."""
    with Emulator.start(state) as emulator:
        customer = wire.Customer(emulator, emulator.instance, emulator.api_key).renew()
        customer.create(payload=DEK, tags=["t"])
        customer.call("POST", "/import_token", {})
        customer.call("POST", "/key_rings/ring-1")
        policy = {"policy_type": "rotation", "policy_data": {"enabled": True, "attributes": {"interval_month": 1}}}
        customer.call("PUT", "/instance/policies", wire.envelope(policy))
        customer.create()
        emulator.trust_issuer("https://c", jwks=wire.send(emulator.url, "GET", "/identity/keys").json)
        emulator.create_trusted_profile("p", issuer="https://c", namespace="n", service_account="s")
    raw = json.loads(state.read_text())
    assert encode(decode(World, raw)) == raw
