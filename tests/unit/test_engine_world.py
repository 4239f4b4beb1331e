"""Which scope an object is in."""

from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.engine.world import World
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance


class Unreadable(dict):
    """Raises what no parser of ours is known to raise."""

    def __getattribute__(self, name: str):
        raise RuntimeError("no parser expects this")


def raw(instance: str, version: int):
    """Data mart `one` of an instance, as a watch shows it."""
    database = {"type": "Db2", "host": "h", "port": 1, "name": "d", "schema": "s", "username": "u"}
    database["password"] = {"secretRef": {"name": "s", "key": "password"}}
    meta = {"name": "one", "namespace": "n", "uid": f"uid-{instance}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"instanceRef": {"name": instance}, "database": database}}


def test_an_object_made_anew_for_another_instance_is_found_there():
    """Also while the end of the former one was not heard of; in its own namespace and kind only."""
    for order in (("before", "now"), ("now", "before")):
        world = World(lambda _: None)
        for instance in order:
            world.scope(("n", instance)).listed = True
            world.see(DataMart.KIND, raw(instance, 5 if instance == "before" else 7), gone=False)
        found = world.find(DataMart.KIND, "n", "one")
        assert found is not None
        assert found[0].key == ("n", "now")
        assert world.find(DataMart.KIND, "other", "one") is None
        assert world.find("OtherKind", "n", "one") is None
        assert world.find(DataMart.KIND, "n", "two") is None


SERVICE = "0a1b2c3d-0000-4000-8000-000000000001"


def seen(world: World, name: str, version: int, service: str = SERVICE, *, gone: bool = False) -> None:
    """An event of an instance."""
    meta = {"name": name, "namespace": "n", "uid": f"uid-{name}-{service}", "resourceVersion": str(version)}
    raw = {"metadata": meta, "spec": {"serviceInstanceId": service}}
    world.see(OpenScaleInstance.KIND, raw, gone=gone)


def claiming(world: World, service: str = SERVICE) -> list[str]:
    """The names of those who claim an id."""
    return [key[1] for key, _ in world.claimants(service)]


def test_whatever_an_object_makes_us_raise_is_its_instances_matter():
    """An event can fail at nothing: its instance is read anew, and says so; the next event is taken in."""
    woken: list[tuple[str, str]] = []
    world = World(woken.append)
    world.scope(("n", "before")).listed = True
    bad = raw("before", 5)
    bad["spec"]["database"] = Unreadable()
    world.see(DataMart.KIND, bad, gone=False)
    assert woken == [("n", "before")]
    assert not world.scope(("n", "before")).listed
    world.scope(("n", "before")).listed = True
    world.see(DataMart.KIND, raw("before", 7), gone=False)
    assert world.find(DataMart.KIND, "n", "one") is not None


def test_who_claims_an_id_is_known_whatever_comes_and_goes():
    """Each instance is found by the id that it claims now, until it is gone; made anew with another id, by that."""
    world = World(lambda _: None)
    seen(world, "one", 1)
    seen(world, "two", 2)
    assert claiming(world) == ["one", "two"]
    assert world.conflict(("n", "one")) is None
    refused = world.conflict(("n", "two"))
    assert refused is not None
    assert "OpenScaleInstance one already" in refused.message
    seen(world, "one", 3, gone=True)
    assert claiming(world) == ["two"]
    assert world.conflict(("n", "two")) is None
    other = SERVICE.replace("1", "2")
    seen(world, "two", 4, other)
    assert (claiming(world), claiming(world, other)) == ([], ["two"])


def test_a_scope_that_was_dropped_is_found_no_more():
    """Neither by its namespace, nor by its key; it is made anew on demand."""
    world = World(lambda _: None)
    world.scope(("n", "now")).listed = True
    world.see(DataMart.KIND, raw("now", 7), gone=False)
    world.scope(("n", "other"))
    world.drop(("n", "now"))
    world.drop(("n", "never"))
    assert world.find(DataMart.KIND, "n", "one") is None
    assert list(world.scopes) == [("n", "other")]
    assert not world.scope(("n", "now")).sealables


def claimed(policy: InstancePolicy, *namespaces: str) -> World:
    """One instance of each namespace, all with the same id; the first is the oldest."""
    world = World(lambda _: None, policy)
    for age, namespace in enumerate(namespaces):
        meta = {
            "name": f"of-{namespace}", "namespace": namespace, "uid": f"uid-{namespace}", "resourceVersion": "1",
            "creationTimestamp": f"2026-11-23T00:00:0{age}Z",
        }  # fmt: skip
        world.see(OpenScaleInstance.KIND, {"metadata": meta, "spec": {"serviceInstanceId": SERVICE}}, gone=False)
    return world


def test_nobody_is_told_which_foreign_namespace_claims_the_same_id():
    """What a conflict says is shown in one namespace: another one, and what is in it, is not named there."""
    world = claimed(InstancePolicy(), "secret-project", "team")
    conflict = world.conflict(("team", "of-team"))
    assert conflict is not None
    assert conflict.reason is Reason.CONFLICT
    assert "secret-project" not in conflict.message
    assert "settings.allowedInstances" in conflict.message


def test_where_the_owner_says_whose_an_id_is_nobody_else_counts():
    """Not who came first; and the others are told no more than that it is not theirs."""
    world = claimed(InstancePolicy({SERVICE: "team"}), "secret-project", "team")
    assert world.conflict(("team", "of-team")) is None
    conflict = world.conflict(("secret-project", "of-secret-project"))
    assert conflict is not None
    assert conflict.reason is Reason.INSTANCE_NOT_ALLOWED
    assert "team" not in conflict.message.replace("secret-project", "")
    assert [found.key for found in world.holders(SERVICE)] == [("team", "of-team")]


def stored(version: int, uid: str = "uid-now") -> DataMart:
    """Data mart `one` of instance `now`, as a write was answered with."""
    found = raw("now", version)
    found["metadata"]["uid"] = uid
    return DataMart.of(found)


def test_what_a_write_was_answered_with_shows_at_once_and_never_brings_back_what_is_newer():
    """It moves forward only: an event, a list or a deletion that was heard since is newer than an answer."""
    scope = World(lambda _: None).scope(("n", "now"))
    scope.listed, scope.listed_marts = True, 5
    assert not scope.see_stored(stored(5)), "a later list did not show it"
    assert scope.see_stored(stored(7))
    assert not scope.see_stored(stored(7))
    assert not scope.see_stored(stored(6))
    assert scope.sealables["one"].meta.version == 7
    assert scope.see_mart(raw("now", 8))
    assert not scope.see_stored(stored(8))
    assert scope.see_mart(raw("now", 9), gone=True)
    assert not scope.see_stored(stored(8)), "it is gone since"
    assert not scope.sealables
    assert scope.see_stored(stored(12, "uid-new")), "made anew"
