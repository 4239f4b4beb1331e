"""What a user's wish for a root key comes to: which binding to make, which to delete, and when it is done."""

import pytest

from openscale_byok.core.preferences import LABELS, ROOT_KEY, Wish, current, patched, progress, root_key_in, wish
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance, RootKeyBinding

CRN = "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:11111111-2222-4333-8444-555555555555:key:"
A, B = (f"{CRN}00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))


def binding(name, root_key, *, ours=True, going=False, made="2026-01-01T00:00:00Z"):
    """A binding as the API server holds it."""
    meta = {"name": name, "namespace": "n", "creationTimestamp": made}
    meta |= {"labels": dict(LABELS)} if ours else {}
    meta |= {"deletionTimestamp": "2026-02-01T00:00:00Z"} if going else {}
    return RootKeyBinding.of({"metadata": meta, "spec": {"instanceRef": {"name": "i"}, "rootKey": {"crn": root_key}}})


def instance(in_force="", ready="True", current_=3, total=3):
    """An instance with a root key in force."""
    condition = {"type": "Ready", "status": ready, "reason": "Current", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    secrets = {"total": total, "current": current_}
    status = {"properties": {"userRootKeyCRN": in_force}, "conditions": [condition], "secrets": secrets}
    spec = {"serviceInstanceId": "0a1b2c3d-0000-4000-8000-000000000001"}
    return OpenScaleInstance.of({"metadata": {"name": "i", "namespace": "n"}, "spec": spec, "status": status})


def test_a_first_root_key_is_one_binding_to_make():
    """Where nothing is bound, a binding is made, numbered, and nothing is deleted."""
    found = wish("i", A, [])
    assert found.create.endswith("-1")
    assert found.create != wish("another", A, []).create
    assert (found.root_key, found.delete) == (A, ())


def test_the_same_root_key_is_nothing_to_do():
    """A root key that is bound already is left as it is."""
    assert wish("i", A, [binding("a", A)]).nothing


def test_another_root_key_is_made_before_the_former_is_deleted():
    """The next binding is to be made; once it is there, each former one of ours is to be deleted."""
    found = wish("i", B, [binding("a", A)])
    assert (bool(found.create), found.delete) == (True, ())
    after = wish("i", B, [binding(found.create, B), binding("a", A, made="2026-03-01T00:00:00Z")])
    assert (after.create, [b.metadata.name for b in after.delete]) == ("", ["a"])


def test_what_a_crash_left_is_put_in_order():
    """Two of ours at once: the wanted one stays, the other goes, and none is made."""
    found = wish("i", B, [binding("a", A), binding("b", B, made="2026-01-02T00:00:00Z")])
    assert (found.create, [b.metadata.name for b in found.delete]) == ("", ["a"])


def test_a_name_that_is_on_its_way_out_is_not_taken():
    """While a former binding is being deleted, the new one has the next number, also after the ninth."""
    first = wish("i", A, []).create
    second = wish("i", A, [binding(first, A, going=True)]).create
    assert second == first.removesuffix("1") + "2"
    found = wish("i", A, [binding(first.removesuffix("1") + str(n), A, going=True) for n in (9, 10)])
    assert found.create == first.removesuffix("1") + "11"


def test_the_newest_counts_and_is_never_deleted_by_who_wants_an_older_one():
    """What another request has just bound is overtaken by a newer one; by that alone may it be deleted."""
    one = wish("i", A, []).create
    two, three = (one.removesuffix("1") + number for number in ("2", "3"))
    both = [binding(one, A), binding(two, B)]
    assert current(instance(), both) == B
    assert wish("i", A, both) == Wish(three, A)
    assert [b.metadata.name for b in wish("i", A, [*both, binding(three, A)]).delete] == [one, two]


def test_none_wanted_deletes_ours():
    """Taking it back deletes what is ours; with nothing bound there is nothing to do."""
    assert [b.metadata.name for b in wish("i", None, [binding("a", A)]).delete] == ["a"]
    assert wish("i", None, []).nothing


@pytest.mark.parametrize("wanted", [A, B, None])
def test_somebody_elses_binding_is_refused_by_name(wanted):
    """A binding that the gateway did not make is named and left alone, whatever is wanted."""
    with pytest.raises(Refused, match="theirs") as error:
        wish("i", wanted, [binding("theirs", A, ours=False)])
    assert error.value.reason is Reason.NOT_OURS


def test_somebody_elses_binding_that_goes_is_no_hindrance():
    """One that is being deleted already keeps nobody from binding."""
    assert wish("i", B, [binding("theirs", A, ours=False, going=True)]).create


@pytest.mark.parametrize(
    ("bindings", "in_force", "expected"),
    [
        ([], "", None),
        ([binding("a", A, going=True)], A, None),
        ([binding("a", A)], "", A),
        ([binding("a", A), binding("b", B, made="2026-01-02T00:00:00Z")], A, B),
        ([binding("a", A, ours=False), binding("b", B, ours=False)], B, B),
        ([binding("a", A, ours=False)], "", A),
    ],
)
def test_the_preference_is_what_was_asked_for_last(bindings, in_force, expected):
    """The newest of ours; else the one in force; one that is being deleted is none."""
    assert current(instance(in_force), bindings) == expected


@pytest.mark.parametrize(
    ("found", "bindings", "wanted", "done"),
    [
        (instance(A), [binding("a", A)], A, True),
        (instance(A), [], A, False),  # not seen yet
        (instance(""), [binding("a", A)], A, False),
        (instance(A, "False", 1), [binding("a", A)], A, False),
        (instance(A), [binding("a", A), binding("b", B, going=True)], A, False),
        (instance(A), [binding("a", A), binding("b", B)], A, False),  # its deletion was not seen yet
        (instance(""), [], None, True),
        (instance(""), [binding("a", A)], None, False),
        (instance(A), [], None, False),
        (None, [], A, False),
    ],
)
def test_it_is_done_once_everything_is_under_it_and_nothing_is_left_of_the_former(found, bindings, wanted, done):
    """Done: the root key is in force, the instance is Ready, and no other binding is left."""
    assert progress(found, bindings, wanted).done is done


def test_progress_says_how_far_it_is():
    """Counts, and why it is not Ready."""
    assert progress(instance("", "False", 1), [binding("a", A)], A).message == "1 of 3 secrets are re-encrypted"


@pytest.mark.parametrize("body", [{ROOT_KEY: A}, {"value": A}])
def test_both_shapes_of_a_body(body):
    """As IBM documents it, and as its SDK has it."""
    assert root_key_in(body) == A


@pytest.mark.parametrize("body", [None, [], {}, {ROOT_KEY: A, "value": A}, {"other": A}, {"value": ""}, {"value": {}}])
def test_any_other_body_is_refused(body):
    """Nothing is guessed."""
    with pytest.raises(Refused) as error:
        root_key_in(body)
    assert error.value.reason is Reason.INVALID_REQUEST


def operation(op, value=None):
    """One operation on our preference."""
    return {"op": op, "path": f"/{ROOT_KEY}"} | ({} if value is None else {"value": value})


@pytest.mark.parametrize(
    ("operations", "before", "after"),
    [
        ([operation("add", A)], None, A),
        ([operation("add", B)], A, B),
        ([operation("replace", B)], A, B),
        ([operation("test", A), operation("remove")], A, None),
        ([operation("remove"), operation("add", B)], A, B),
        ([operation("test", A)], A, A),
    ],
)
def test_a_patch_is_applied_in_order(operations, before, after):
    """Each operation sees what the one before made (RFC 6902, section 3)."""
    assert patched(operations, before) == after


@pytest.mark.parametrize(
    ("operations", "reason"),
    [
        ([operation("test", B)], Reason.CONFLICT),
        ([operation("remove"), operation("remove")], Reason.INVALID_REQUEST),
        ([operation("move")], Reason.INVALID_REQUEST),
        ([{"op": "add", "path": "/other", "value": A}], Reason.INVALID_REQUEST),
        ([{"op": "add", "path": "", "value": {ROOT_KEY: A}}], Reason.INVALID_REQUEST),
        ([operation("add", "no CRN")], Reason.INVALID_REQUEST),
        (["add"], Reason.INVALID_REQUEST),
        ([], Reason.INVALID_REQUEST),
        ([operation("test", A)] * 17, Reason.INVALID_REQUEST),
        ({}, Reason.INVALID_REQUEST),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(operations, reason):
    """It is refused as a whole, with why."""
    with pytest.raises(Refused) as error:
        patched(operations, A)
    assert error.value.reason is reason


def test_a_crn_that_key_protect_does_not_confirm_is_told_and_waited_for_no_longer():
    """The binding says that Key Protect names another CRN: that is an end, and no progress."""
    mismatch = {"type": "KeyUsable", "status": "False", "reason": "CRNMismatch", "message": "names another"}
    raw = binding("b", B).model_dump(by_alias=True)
    raw["status"] = {"conditions": [mismatch | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    found = progress(instance(A, "False"), [RootKeyBinding.of(raw), binding("a", A, going=True)], B)
    assert (found.done, found.over, found.contradicted) == (False, True, "names another")
    assert not progress(instance(A, "False"), [binding("b", B), binding("a", A, going=True)], B).over
