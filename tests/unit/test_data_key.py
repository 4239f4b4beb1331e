"""The data key: its id commits to it, and it never shows."""

import copy
import hashlib
import hmac
import pickle

import pytest

from openscale_byok.crypto.data_key import COMMITMENT_LABEL, DataKey, b64url, commitment

RAW = bytes(range(32))


def test_the_id_is_rfc_5869_hkdf():
    """The id can be recomputed from RFC 5869 alone: extract with a zero salt, expand by the label."""
    extracted = hmac.digest(bytes(32), RAW, hashlib.sha256)
    expanded = hmac.digest(extracted, COMMITMENT_LABEL + b"\x01", hashlib.sha256)
    assert commitment(RAW) == b64url(expanded) == DataKey(RAW).id
    assert len(DataKey(RAW).id) == 43


def test_the_id_is_final():
    """The id of a given key never changes: every stored envelope names its key by it."""
    assert commitment(RAW) == "m9JJsFsFQ5RuF94MeKAVJIwwKq3XwczaJ9gF_AxiJLk"


def test_every_bit_of_the_key_is_committed_to():
    """Keys that differ in any one bit have different ids."""
    ids = {commitment((int.from_bytes(RAW) ^ 1 << bit).to_bytes(32)) for bit in range(256)}
    assert len(ids | {commitment(RAW)}) == 257


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_only_32_bytes(length):
    """A data key has 32 bytes; the refusal does not show what was given."""
    with pytest.raises(ValueError, match=f"not {length}") as refused:
        DataKey(b"K" * length)
    assert "KK" not in str(refused.value)


def test_it_never_shows():
    """No way of printing a data key prints its bytes, and it has no attributes to dump."""
    key = DataKey(b"CANARYCANARYCANARYCANARYCANARY!!")
    for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key}), str(ValueError(key))):
        assert "CANARY" not in shown
        assert "…" in shown
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda f: f.__name__)
def test_it_does_not_leave_the_process(leave):
    """A data key cannot be pickled or copied: not into a cache on disk, nor into another process."""
    with pytest.raises(TypeError, match="never pickled"):
        leave(DataKey(RAW))


def test_equal_keys_are_equal():
    """Two reads of one key compare equal and hash alike; another key does not, nor its bytes."""
    assert DataKey(RAW) == DataKey(RAW)
    assert len({DataKey(RAW), DataKey(RAW), DataKey(bytes(32))}) == 2
    assert DataKey(RAW) != RAW
    assert DataKey(RAW).reveal() == RAW
