"""Which scope an object is in."""

from openscale_byok.engine.world import World
from openscale_byok.resources import DataMart


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
