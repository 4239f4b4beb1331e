"""Which root key should be in force: design, section 3."""

from dataclasses import replace

import pytest

from openscale_byok.core.view import choose
from openscale_byok.reasons import Reason
from openscale_byok.resources import GLOBAL
from sim.views import DISABLED, EXPIRED, NEW, NO, UNREACHED, USABLE, A, B, binding, entry, instance, view

IN_FORCE, WAITING, NONE = Reason.IN_FORCE, Reason.WAITING_FOR_ROOT_KEY, Reason.NO_ROOT_KEY
ELDER, YOUNGER = "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
FORBID = {"globalKeyPolicy": "Forbid"}
UNDER_A, UNDER_GLOBAL = [entry(NEW, A)], [entry(NEW)]

a, b = binding("a", A, made=ELDER), binding("b", B, made=YOUNGER)
old_b, same = binding("b", B, made="2020-01-01T00:00:00Z"), binding("c", A, made=YOUNGER)
a_goes, b_goes = binding("a", A, made=ELDER, deleting=True), binding("b", B, made=YOUNGER, deleting=True)
c_goes = binding("c", A, made=YOUNGER, deleting=True)
a_bare, b_bare = binding("a", A, made=ELDER, ours=False), binding("b", B, made=YOUNGER, ours=False)

# what it is: data keys, spec, bindings, what is known of their root keys -> root key, by which binding, why
ROWS = {
    "nothing bound": ([], {}, [], {}, (GLOBAL, None, IN_FORCE)),
    "one binding": ([], {}, [a], {}, (A, "a", IN_FORCE)),
    "the oldest usable": ([], {}, [b, a], {}, (A, "a", IN_FORCE)),
    "the oldest usable, not the oldest": ([], {}, [a, b], {"a": DISABLED}, (B, "b", IN_FORCE)),
    "an expired one is not usable": ([], {}, [a, b], {"a": EXPIRED}, (B, "b", IN_FORCE)),
    "an unreached one is not usable": ([], {}, [a, b], {"a": UNREACHED}, (B, "b", IN_FORCE)),
    "the oldest, whatever its name": ([], {}, [binding("a", A, made=YOUNGER), old_b], {}, (B, "b", IN_FORCE)),
    "a refused one is not usable, whatever its last look": (
        [], {}, [a, b], {"a": replace(USABLE, trouble=NO)}, (B, "b", IN_FORCE)
    ),
    "the incumbent is older": (UNDER_A, {}, [a, b], {}, (A, "a", IN_FORCE)),
    "the incumbent is younger": (UNDER_A, {}, [a, old_b], {}, (A, "a", IN_FORCE)),
    "the incumbent is refused": (UNDER_A, {}, [a, b], {"a": DISABLED}, (A, "a", IN_FORCE)),
    "the incumbent cannot be reached": (UNDER_A, {}, [a, b], {"a": UNREACHED}, (A, "a", IN_FORCE)),
    "the incumbent goes, a Standby takes over": (UNDER_A, {}, [a_goes, b], {}, (B, "b", IN_FORCE)),
    "the incumbent goes, the Standby is not usable": (
        UNDER_A, {}, [a_goes, b], {"b": DISABLED}, (A, "a", WAITING)
    ),
    "the incumbent went, the Standby is not usable": (UNDER_A, {}, [b], {"b": UNREACHED}, (A, None, WAITING)),
    "the global key holds, the binding is not usable": (
        UNDER_GLOBAL, {}, [a], {"a": UNREACHED}, (GLOBAL, None, WAITING)
    ),
    "the global key holds, the binding is usable": (UNDER_GLOBAL, {}, [a], {}, (A, "a", IN_FORCE)),
    "nothing holds, the binding is not usable": ([], {}, [a], {"a": DISABLED}, (None, None, WAITING)),
    "no finalizer yet": ([], {}, [a_bare], {}, (None, None, WAITING)),
    "no finalizer yet, another has it": ([], {}, [a_bare, b], {}, (B, "b", IN_FORCE)),
    "the incumbent lost its finalizer": (UNDER_A, {}, [a_bare], {}, (A, "a", WAITING)),
    "the last one goes": (UNDER_A, {}, [a_goes], {}, (GLOBAL, None, IN_FORCE)),
    "all go": (UNDER_A, {}, [a_goes, b_goes], {}, (GLOBAL, None, IN_FORCE)),
    "the last one went": (UNDER_A, {}, [], {}, (GLOBAL, None, IN_FORCE)),
    "Forbid, nothing bound": ([], FORBID, [], {}, (None, None, NONE)),
    "Forbid, the global key holds": (UNDER_GLOBAL, FORBID, [], {}, (None, None, NONE)),
    "Forbid, the last one goes and holds": (UNDER_A, FORBID, [a_goes], {}, (A, "a", IN_FORCE)),
    "Forbid, all go, the incumbent holds": (UNDER_A, FORBID, [b_goes, a_goes], {}, (A, "a", IN_FORCE)),
    "Forbid, the last one goes and holds nothing": ([], FORBID, [a_goes], {}, (None, None, NONE)),
    "Forbid, the incumbent went": (UNDER_A, FORBID, [], {}, (None, None, NONE)),
    "Forbid, the incumbent goes, a Standby takes over": (UNDER_A, FORBID, [a_goes, b], {}, (B, "b", IN_FORCE)),
    "Forbid, the incumbent goes, the Standby waits": (
        UNDER_A, FORBID, [a_goes, b_bare], {}, (A, "a", WAITING)
    ),
    "one CRN twice": (UNDER_A, {}, [same, a, b], {}, (A, "a", IN_FORCE)),
    "one CRN twice, the older goes": (UNDER_A, {}, [same, a_goes, b], {}, (A, "c", IN_FORCE)),
    "one CRN twice, both go": (UNDER_A, {}, [c_goes, a_goes], {}, (GLOBAL, None, IN_FORCE)),
    "one CRN twice, both go, Forbid": (UNDER_A, FORBID, [c_goes, a_goes], {}, (A, "a", IN_FORCE)),
}  # fmt: skip


@pytest.mark.parametrize(("recorded", "spec", "bindings", "keys", "wanted"), ROWS.values(), ids=ROWS)
def test_the_choice(recorded, spec, bindings, keys, wanted):
    """The incumbent, else the oldest usable, else what holds now; the global key only where nothing is bound."""
    choice = choose(view(instance(recorded, **spec), bindings=bindings, keys=keys))
    assert (choice.root_key, choice.binding and choice.binding.metadata.name, choice.reason) == wanted


@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_the_bindings_says_nothing(name):
    """A list may show them in any order."""
    recorded, spec, bindings, keys, _ = ROWS[name]
    there, back = (
        choose(view(instance(recorded, **spec), bindings=some, keys=keys)) for some in (bindings, bindings[::-1])
    )
    assert there == back


@pytest.mark.parametrize("name", ROWS)
def test_what_waits_says_for_what(name):
    """A choice that is not plainly in force has a sentence that names the binding or the field that helps."""
    recorded, spec, bindings, keys, (_, _, reason) = ROWS[name]
    message = choose(view(instance(recorded, **spec), bindings=bindings, keys=keys)).message
    if reason is WAITING:
        assert any(b.metadata.name in message for b in bindings)
    elif reason is NONE:
        assert "spec.globalKeyPolicy" in message


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if any(not b.metadata.deleting for b in row[2])])
def test_nothing_drops_to_the_global_key_while_a_binding_is_there(name):
    """While one is not being deleted, the global key is never put in force; it only goes on where it holds."""
    recorded, spec, bindings, keys, _ = ROWS[name]
    choice = choose(view(instance(recorded, **spec), bindings=bindings, keys=keys))
    assert choice.root_key != GLOBAL or (recorded is UNDER_GLOBAL and choice.reason is WAITING)
