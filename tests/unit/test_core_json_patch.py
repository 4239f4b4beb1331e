"""JSON Patch on objects: what RFC 6902 says, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.core import json_patch
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason

DOCUMENT = {"name": "n", "at": {"host": "h", "port": 1, "tls": True}, "a/b": {"m~n": 0}}


def run(*operations: object) -> dict:
    """The document after this patch."""
    return json_patch.patched(DOCUMENT, json_patch.operations(list(operations)))


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "replace", "path": "/name", "value": "m"}], {**DOCUMENT, "name": "m"}),
        ([{"op": "add", "path": "/new", "value": None}], {**DOCUMENT, "new": None}),
        ([{"op": "add", "path": "/name", "value": {"a": 1}}], {**DOCUMENT, "name": {"a": 1}}),
        ([{"op": "remove", "path": "/at/tls"}], {**DOCUMENT, "at": {"host": "h", "port": 1}}),
        ([{"op": "replace", "path": "/a~1b/m~0n", "value": 2}], {**DOCUMENT, "a/b": {"m~n": 2}}),
        ([{"op": "add", "path": "/~01", "value": 1}], {**DOCUMENT, "~1": 1}),
        ([{"op": "add", "path": "/", "value": 1}], {**DOCUMENT, "": 1}),
        ([{"op": "test", "path": "/at", "value": {"tls": True, "port": 1, "host": "h"}}], DOCUMENT),
        (
            [{"op": "add", "path": "/x", "value": {}}, {"op": "add", "path": "/x/y", "value": 1}],
            {**DOCUMENT, "x": {"y": 1}},
        ),
    ],
)
def test_a_patch_does_what_it_says(operations, expected):
    """Each operation changes the one place that its pointer names, in order; the document handed in stays."""
    before = repr(DOCUMENT)
    assert expected == run(*operations)
    assert before == repr(DOCUMENT)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("x", "operation 0: must be an object with op and path"),
        ({"op": "move", "from": "/a", "path": "/b"}, "operation 0: op must be one of add, replace, test, remove"),
        ({"op": ["add"], "path": "/b", "value": 1}, "op must be one of"),
        ({"op": "add", "path": "name", "value": 1}, "path must be a JSON Pointer that begins with '/'"),
        ({"op": "add", "path": "", "value": 1}, "path must be a JSON Pointer that begins with '/'"),
        ({"op": "add", "path": "/a~2", "value": 1}, "write ~ as ~0"),
        ({"op": "add", "path": "/a~~01", "value": 1}, "write ~ as ~0"),
        ({"op": "add", "path": "/a"}, "op add has exactly the members op, path, value"),
        ({"op": "remove", "path": "/name", "value": 1}, "op remove has exactly the members op, path"),
        ({"op": "add", "path": "/a", "value": 1, "why": 1}, "has exactly the members"),
        ({"op": "replace", "path": "/none", "value": 1}, "there is nothing at /none; use op add"),
        ({"op": "remove", "path": "/at/none"}, "there is nothing at /at/none"),
        ({"op": "add", "path": "/none/x", "value": 1}, "path /none/x leads nowhere: there is no none"),
        ({"op": "add", "path": "/name/x", "value": 1}, "path /name/x leads nowhere"),
    ],
)
def test_what_is_no_patch_is_refused(operation, message):
    """A patch that RFC 6902 or this document has no place for is refused, and the operation is named."""
    with pytest.raises(Refused) as refused:
        run(operation)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert message in refused.value.message


@pytest.mark.parametrize("body", [None, {}, "x", [], [{"op": "remove", "path": "/name"}] * 17])
def test_a_patch_is_a_short_array(body):
    """Anything but an array of 1 to 16 operations is refused."""
    with pytest.raises(Refused, match="array of 1 to 16 operations"):
        json_patch.operations(body)


@pytest.mark.parametrize(
    ("path", "value"), [("/name", "m"), ("/at/port", True), ("/at/tls", 1), ("/at", {"host": "h"}), ("/at", {})]
)
def test_a_test_that_fails_is_a_conflict(path, value):
    """A test that finds another value stops the patch with a conflict; true is not 1."""
    with pytest.raises(Refused, match="nothing was changed") as refused:
        run({"op": "test", "path": path, "value": value})
    assert refused.value.reason is Reason.CONFLICT


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json, max_size=4), st.text(max_size=6), json)
def test_added_is_found_and_removed_is_gone(document, name, value):
    """What is added is there afterwards, under whatever name; removed, the rest is as before."""
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    added = [{"op": "add", "path": pointer, "value": value}, {"op": "test", "path": pointer, "value": value}]
    there = json_patch.patched(document, json_patch.operations(added))
    assert value == there[name]
    gone = json_patch.patched(there, json_patch.operations([{"op": "remove", "path": pointer}]))
    assert {key: found for key, found in document.items() if key != name} == gone
