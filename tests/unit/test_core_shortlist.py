"""Which of an instance's bindings are looked at, where somebody creates thousands."""

from dataclasses import replace

import pytest

from openscale_byok.core import conditions
from openscale_byok.core.plan import plan
from openscale_byok.core.shortlist import MOST_BINDINGS, shortlist
from openscale_byok.core.steps import Hold, Release
from openscale_byok.core.view import choose
from openscale_byok.reasons import Reason
from openscale_byok.resources import RootKeyBinding
from sim.views import NEW, OLD, A, B, binding, crn, entry, instance, view

C = crn("c")
NEWER = "2026-02-01T00:00:00Z"
CROWD = [binding(f"crowd-{n:02}", crn("d"), made=f"2026-03-01T00:00:{n:02}Z", ours=False) for n in range(40)]


def names(bindings) -> list[str]:
    return [found.metadata.name for found in bindings]


def test_the_oldest_keep_their_place_and_as_many_as_there_is_room_for():
    """However the cluster happens to list them; up to the bound nobody is left out."""
    properties = instance().properties
    assert names(shortlist(CROWD[:MOST_BINDINGS], properties).looked_at) == names(CROWD[:MOST_BINDINGS])
    found = shortlist(list(reversed(CROWD)), properties)
    assert names(found.looked_at) == names(CROWD[:MOST_BINDINGS])
    assert names(found.beyond) == names(CROWD[MOST_BINDINGS:])


def test_the_incumbent_and_what_former_data_keys_need_are_always_among_them():
    """Also where they are younger than everybody else, or being deleted: nothing of their keys opens without them."""
    properties = instance([entry(NEW, A), entry(OLD, B, "Retiring")]).properties
    needed = [
        binding("former", B, made="2027-01-01T00:00:00Z", deleting=True),
        binding("a", A, made="2027-01-01T00:00:00Z"),
    ]
    found = shortlist([*CROWD, *needed], properties)
    assert names(found.looked_at) == ["a", "former", *names(CROWD[: MOST_BINDINGS - 2])]


def test_a_crowd_that_names_the_incumbents_own_root_key_does_not_replace_it():
    """Neither the one in force, nor who is chosen after it."""
    known = instance([entry(NEW, A)])
    crowd = [binding(f"copy-{n:02}", A, made=NEWER, ours=False) for n in range(40)]
    bindings = [*crowd, binding("a", A), binding("next", B, made="2026-01-02T00:00:00Z")]
    found = shortlist(bindings, known.properties)
    assert names(found.looked_at)[:2] == ["a", "next"]
    chosen = choose(view(known, bindings=found.looked_at)).binding
    assert chosen is not None
    assert chosen.metadata.name == "a"


def test_one_that_is_being_deleted_makes_room():
    """A place is for whoever may still be chosen."""
    going = [binding(f"going-{n:02}", C, deleting=True) for n in range(40)]
    found = shortlist([*going, *CROWD[:MOST_BINDINGS]], instance().properties)
    assert names(found.looked_at) == names(CROWD[:MOST_BINDINGS])
    assert set(names(found.beyond)) == set(names(going))


def test_those_beyond_are_told_so_once_and_get_no_finalizer():
    """Stalled, with the cure; not again once they say it for the spec that they have."""
    known = instance([entry(NEW, A)])
    found = shortlist([binding("a", A), *CROWD], known.properties)
    seen = replace(view(known, bindings=found.looked_at), beyond=found.beyond)
    step = plan(seen)
    assert isinstance(step, Hold)
    assert step.meta.name not in names(found.beyond)
    patches = {patch.meta.name: patch for patch in conditions.patches(seen, "t")}
    said = {each["type"]: (each["status"], each["reason"]) for each in patches["crowd-30"].status["conditions"]}
    assert said == {"Ready": ("False", Reason.TOO_MANY_BINDINGS), "Stalled": ("True", Reason.TOO_MANY_BINDINGS)}
    told = RootKeyBinding.of(
        {
            "metadata": {"name": "crowd-30", "namespace": "n", "uid": "u", "generation": 0, "creationTimestamp": NEWER},
            "spec": {"instanceRef": {"name": "prod"}, "rootKey": {"crn": B}},
            "status": dict(patches["crowd-30"].status),
        }
    )
    assert told.status.conditions[0].reason == Reason.TOO_MANY_BINDINGS
    assert "crowd-30" not in names(shortlist([*CROWD[:30], *CROWD[31:], told], known.properties).beyond)


@pytest.mark.parametrize("orphans", [False, True], ids=["with their instance", "without it"])
def test_those_beyond_are_let_go_when_they_are_deleted(orphans):
    """A finalizer that one got while there was room keeps nobody's namespace from going."""
    known = None if orphans else instance([entry(NEW, A)])
    going = binding("going", C, deleting=True)
    found = shortlist([*([] if orphans else [binding("a", A)]), *CROWD, going], instance().properties)
    assert "going" in names(found.beyond)
    looked_at = [binding(b.metadata.name, b.root_key) for b in found.looked_at]
    step = plan(replace(view(known, bindings=looked_at), beyond=(going,), last_report=0.0))
    assert isinstance(step, Release)
    assert step.binding.metadata.name == "going"
