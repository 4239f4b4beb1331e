"""What everything must have come to once the faults have stopped and all root keys work."""

from openscale_byok.resources import GLOBAL, DataMart, OpenScaleInstance, RootKeyBinding

from .world import INSTANCE, NAMESPACE, World


def expect_settled(world: World) -> None:
    """Everything is where it belongs, and the statuses say so."""
    instance = OpenScaleInstance.of(world.instance())
    assert not instance.metadata.deleting, "stories of deletion say themselves what must come of it"
    world.change_instance(suspend=False)
    for raw in world.cluster.all(DataMart.KIND, INSTANCE):
        world.revise_mart(raw["metadata"]["name"])  # a consumed source is looked at again only where that is asked for
    world.settle()
    instance = OpenScaleInstance.of(world.instance())
    bindings = [RootKeyBinding.of(raw) for raw in world.cluster.all(RootKeyBinding.KIND, INSTANCE)]
    marts = [DataMart.of(raw) for raw in world.cluster.all(DataMart.KIND, INSTANCE)]
    _key_in_force(instance, bindings, marts)
    for mart in marts:
        _sealed(world, mart)
    for binding in bindings:
        if not binding.metadata.deleting:
            assert _says(binding, "Ready")[0] == "True", f"binding {binding.metadata.name}: {_says(binding, 'Ready')}"


def _key_in_force(instance: OpenScaleInstance, bindings: list[RootKeyBinding], marts: list[DataMart]) -> None:
    properties = instance.properties
    wanted = {b.root_key for b in bindings if not b.metadata.deleting}
    leaving = [b for b in bindings if b.metadata.deleting]
    forbidden = instance.spec.global_key_policy == "Forbid"
    active = properties.active
    assert len(properties.data_keys) <= 1, (
        f"{len(properties.data_keys)} data keys are recorded, and all could be opened"
    )
    if wanted:
        assert active is not None
        assert active.root_key in wanted, "the root key in force is not bound"
        assert not leaving, f"bindings are not let go: {[b.metadata.name for b in leaving]}"
    elif forbidden:
        # What protects stays until another takes over; no binding that is going is the ground to let another go.
        kept = {b.root_key for b in leaving}
        assert not leaving or (active is not None and kept == {active.root_key}), [b.metadata.name for b in leaving]
        return
    else:
        assert not leaving, f"bindings are not let go: {[b.metadata.name for b in leaving]}"
        assert active is None or active.root_key == GLOBAL
        assert active is not None or not marts
    if active is not None:
        assert properties.data_key_revision == instance.spec.data_key_revision
        assert _says(instance, "Ready")[0] == "True", f"instance: {_says(instance, 'Ready')}"
        assert _says(instance, "Encrypted")[0] == "True", f"instance: {_says(instance, 'Encrypted')}"


def _sealed(world: World, mart: DataMart) -> None:
    name, sealed, ready = mart.metadata.name, mart.status.sealed_password, _says(mart, "Ready")
    source = world.cluster.secrets.get((NAMESPACE, f"pw-{name}"))
    active = OpenScaleInstance.of(world.instance()).properties.active
    if ready[1] == "NoRootKey":
        return
    assert active is not None, f"{name}: {ready}"
    if ready[1] == "EndpointChanged":
        assert source is None, f"{name}: {ready}, and the password is there"
        return
    assert sealed is not None, f"{name}: {ready}"
    if ready[1] == "SecretNotFound":
        # A raised revision asks for a Secret that nobody gave: what was sealed before stays.
        asked = mart.spec.database.password.revision
        assert source is None, f"{name}: {ready}, and the password is there"
        assert sealed.source is not None
        assert asked != sealed.source.revision
    else:
        assert ready == ("True", "Sealed"), f"{name}: {ready}"
    assert sealed.data_key == active.id
    assert source is None or not source.handover, f"{name}: a hand-over source is left"
    removed = _says(mart, "SourceRemoved")
    assert (removed[0] == "False") == (source is not None), f"{name}: {removed}"
    newest = world.checks.newest.get(name)
    assert newest is None or world.checks.password_of(name) == newest, f"{name}: a former password is sealed"


def _says(found: OpenScaleInstance | RootKeyBinding | DataMart, type_: str) -> tuple[str, str]:
    """A condition's status and reason, which must be about the spec of now."""
    assert found.status.observed_generation == found.metadata.generation, f"{found.metadata.name}: not seen as it is"
    return next(((c.status, c.reason) for c in found.status.conditions if c.type == type_), ("", ""))
