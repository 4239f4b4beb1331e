"""What is kept of each of many thousands of objects, and what is dropped when it is parsed."""

import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openscale_byok.core.sealable import from_datamart
from openscale_byok.crypto.data_key import DataKey
from openscale_byok.crypto.envelope import Wrapped, seal
from openscale_byok.resources import DataMart, Meta, drop_unused
from openscale_byok.shell.event_window import EventWindow
from openscale_byok.shell.watch_answers import LONG_LINE_BYTES, ShortLines

SERVICE = "0a1b2c3d-0000-4000-8000-000000000001"
KEY, WRAPPED = DataKey(bytes(32)), Wrapped("crn:" + "r" * 80, "w" * 200)
LONG = "x" * 100_000
FAT: dict[str, Any] = {
    "annotations": {"example.org/note": LONG, "openscale.byok.dev/abandon": "d" * 16},
    "labels": {"app.kubernetes.io/managed-by": "openscale-byok-gateway", "example.org/some": "label"},
    "managedFields": [{"manager": LONG}],
    "ownerReferences": [{"name": LONG}],
    "selfLink": LONG,
}


def sealed(name: str, **meta: Any) -> dict[str, Any]:
    """A data mart as the API server answers with it: each text is an object of its own."""
    database = {"type": "Db2", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u", "tls": "VerifyFull"}
    database |= {"password": {"secretRef": {"name": "s", "key": "password"}}, "caBundle": "certificates " * 9}
    raw: dict[str, Any] = {"metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}"} | meta}
    raw["spec"] = {"instanceRef": {"name": "prod"}, "database": database}
    context = from_datamart(DataMart.of(raw), SERVICE).context
    source = {"uid": "u", "resourceVersion": "1", "handover": True, "name": "s", "key": "password", "revision": 0}
    envelope = seal(b"secret", KEY, context, WRAPPED, bytes(12))
    condition = {"type": "Ready", "status": "True", "reason": "Sealed", "message": "sealed", "lastTransitionTime": "t"}
    stored = {"dataKey": KEY.id, "envelope": envelope, "sealedTime": "t", "source": source}
    raw["status"] = {"sealedPassword": stored, "conditions": [condition], "observedGeneration": 1}
    return json.loads(json.dumps(raw))  # type: ignore[no-any-return] # as JSON gives it


def reachable(root: object) -> list[object]:
    """Everything that an object holds, but for classes and modules."""
    found: dict[int, object] = {}
    todo = [root]
    while todo:
        each = todo.pop()
        if id(each) not in found and not isinstance(each, type):
            found[id(each)] = each
            todo += gc.get_referents(each)
    return list(found.values())


def test_metadata_that_nobody_uses_is_held_by_nothing():
    """Whoever may create an object decides on its annotations, labels and owners; not on what we keep of them."""
    kept = from_datamart(DataMart.of(sealed("a", **FAT)), SERVICE)
    assert LONG not in [each for each in reachable(kept) if isinstance(each, str)]
    assert kept.meta.annotations == {"openscale.byok.dev/abandon": "d" * 16}
    assert kept.meta.labels == {"app.kubernetes.io/managed-by": "openscale-byok-gateway"}


def test_a_value_that_is_kept_is_short_however_long_it_was():
    """Also under a name of ours somebody may store 262,144 characters."""
    meta = Meta.of({"name": "a", "annotations": {"openscale.byok.dev/abandon": LONG}})
    assert [len(value) for value in meta.annotations.values()] == [253]


@pytest.mark.parametrize("wrong", ["text", ["a"], {"openscale.byok.dev/abandon": 1}])
def test_annotations_of_another_shape_are_refused(wrong):
    """As every field of another shape than the API server has."""
    with pytest.raises(ValueError, match="annotations"):
        Meta.of({"annotations": wrong})


def test_the_envelopes_text_is_kept_once():
    """Neither its parts nor its header are kept beside it, nor a second context that says the same."""
    kept = from_datamart(DataMart.of(sealed("a")), SERVICE)
    assert kept.envelope is not None
    texts = [each for each in reachable(kept) if isinstance(each, str)]
    protected = kept.envelope.text.split(".")[0]
    assert [text for text in texts if protected in text] == [kept.envelope.text]
    assert kept.envelope.context is kept.context


def test_what_many_objects_have_in_common_is_kept_once():
    """Wrapped data key, root key, data key, conditions, certificates: ten thousand objects say the same."""
    one, two = (from_datamart(DataMart.of(sealed(name)), SERVICE) for name in ("a", "b"))
    assert one.envelope is not None
    assert two.envelope is not None
    assert one.envelope.wrapped.ciphertext is two.envelope.wrapped.ciphertext
    assert one.envelope.wrapped.root_key is two.envelope.wrapped.root_key
    assert one.envelope.data_key is two.envelope.data_key
    assert one.conditions[0] is two.conditions[0]
    assert one.manner.ca_bundle is two.manner.ca_bundle


def test_an_object_is_kept_in_values_of_slots():
    """But for conditions, which are shared: a model with its dict and its set of names is ten times as large."""
    kept = from_datamart(DataMart.of(sealed("a")), SERVICE)
    own = [each for each in reachable(kept) if each not in kept.conditions]
    assert not [each for each in own if isinstance(each, DataMart) or hasattr(each, "__pydantic_fields_set__")]


def test_a_raw_object_loses_exactly_what_its_model_would_drop():
    """So what is made of it is the same."""
    raw, shorter = sealed("a", **FAT), sealed("a", **FAT)
    drop_unused(shorter)
    assert DataMart.of(raw) == DataMart.of(shorter)
    assert LONG not in json.dumps(shorter)
    for strange in ({}, {"metadata": "text"}, {"metadata": {"annotations": None}}):
        drop_unused(strange)


class Parts:
    """A body in parts of any size."""

    def __init__(self, *parts: bytes) -> None:
        self._parts, self.closed = parts, "as the reader has it"

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


@pytest.mark.parametrize("size", [1, 7, 8_192, 10**7])
async def test_a_watch_is_read_line_by_line_however_it_comes(size):
    """No event is lost, joined or changed, but for what nobody uses; nor is a last one without an end."""
    events = [
        {"type": "MODIFIED", "object": sealed(name, **(FAT if fat else {}))}
        for name, fat in zip("abc", (0, 1, 0), strict=True)
    ]
    bodies = b"\n".join(json.dumps(event).encode() for event in events)
    if size < 8:
        bodies = bodies.replace(LONG.encode(), b"y")
    reader = ShortLines(
        Parts(*(bodies[at : at + size] for at in range(0, len(bodies), size))), EventWindow(lambda: 0.0)
    )
    found = b"".join([part async for part in reader.iter_chunked(size)])
    lines = [json.loads(line) for line in found.split(b"\n") if line]
    assert [DataMart.of(line["object"]) for line in lines] == [DataMart.of(event["object"]) for event in events]
    assert reader.closed == "as the reader has it"
    assert LONG.encode() not in found


async def test_a_line_that_is_no_event_stays_as_it_is():
    """kopf says what it makes of it."""
    for line in (b"{" * (LONG_LINE_BYTES + 1), b'["' + b"x" * LONG_LINE_BYTES + b'"]', b'{"type":"BOOKMARK"}', b"[1]"):
        found = b"".join(
            [part async for part in ShortLines(Parts(line + b"\n"), EventWindow(lambda: 0.0)).iter_chunked(9)]
        )
        assert found.strip() == line
