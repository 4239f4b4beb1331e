"""Who is named so, and who reads which Secret, without a look at everybody: it always says what a look would."""

from hypothesis import given
from hypothesis import strategies as st

from openscale_byok.core.sealable import from_datamart
from openscale_byok.engine.world import World
from openscale_byok.resources import DataMart

INSTANCES, NAMES, SECRETS = ("a", "b"), ("one", "two"), ("s", "t", None)


def raw(instance: str, name: str, secret: str | None, version: int):
    """A data mart as a watch shows it."""
    database = {"type": "Db2", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u"}
    database["password"] = {"secretRef": {"name": secret, "key": "password"}} if secret else {}
    meta = {"name": name, "namespace": "n", "uid": f"{instance}-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"instanceRef": {"name": instance}, "database": database}}


events = st.lists(
    st.tuples(
        st.sampled_from(INSTANCES), st.sampled_from(NAMES), st.sampled_from(SECRETS),
        st.sampled_from(["seen", "gone", "listed", "dropped"]),
    ),
    max_size=30,
)  # fmt: skip


@given(events)
def test_the_index_says_what_a_look_at_everything_would(story):
    """Whatever comes, goes, is listed anew or dropped, in whatever order."""
    world = World(lambda _: None)
    for version, (instance, name, secret, what) in enumerate(story, 1):
        scope, found = world.scope(("n", instance)), raw(instance, name, secret, version)
        scope.listed = True
        if what == "listed":
            scope.list_marts(version, [from_datamart(DataMart.of(found), "")])
        elif what == "dropped":
            world.drop(("n", instance))
        else:
            world.see(DataMart.KIND, found, gone=what == "gone")
        everything = [(s, each) for s in world.scopes.values() for each in s.sealables.values()]
        for each in NAMES:
            named = {s.key for s, sealable in everything if sealable.meta.name == each}
            known = world.find(DataMart.KIND, "n", each)
            assert (known is not None) == bool(named)
            assert known is None or known[0].key in named
        for each in ("s", "t"):
            reading = {
                (s.key, sealable.meta.name)
                for s, sealable in everything
                if sealable.source_ref is not None and sealable.source_ref.name == each
            }
            assert {(s.key, sealable.meta.name) for s, sealable in world.reading("n", each)} == reading
        assert world.find(DataMart.KIND, "elsewhere", "one") is None
