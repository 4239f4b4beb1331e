"""Deletion where it is least convenient: nothing hangs for ever without saying why and what to do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count

import pytest

from local_cluster.errors import ClusterError
from openscale_byok.resources import GROUP, KINDS
from stage import chart, manifests
from stage.scene import NAMESPACE, ROOT, Scene, install_rights, raise_scene
from stage.team import Team, Vault

DEFINITIONS = {kind.KIND: f"{kind.PLURAL}.{GROUP}" for kind in KINDS}
_numbers = count(1)


# Namespaces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["runs", "comes back later"])
def test_a_namespace_goes_with_everything_in_it_whatever_its_state(
    crowd: Callable[[int], AbstractContextManager[list[Team]]], operator: str
) -> None:
    """Settled, in the middle of a re-encryption, stuck, with a disabled key: the namespace controller gets it done."""
    with crowd(4) as teams:
        settled, moving, stuck, disabled = teams
        scene = settled.scene
        keys = {team.namespace: team.root_keys()[0] for team in teams}
        for team in teams:
            team.instance()
            team.bind("a", keys[team.namespace])
            team.marts("one", "two", handover=True)
        for team in teams:
            team.until_protected(keys[team.namespace])
            team.until_ready("one", "two")
        scene.operator.kill()
        scene.emulator.fault("unwrap", key=keys[moving.namespace], status=503)
        moving.delete("RootKeyBinding", "a")
        scene.operator.start()
        moving.until_reason("OpenScaleInstance", "prod", "ReEncrypting")
        for team in (stuck, disabled):
            scene.emulator.disable(keys[team.namespace])
            team.until_reason("RootKeyBinding", "a", "KeyDisabled", "KeyUsable")
        stuck.delete("RootKeyBinding", "a")
        stuck.until_reason("RootKeyBinding", "a", "Stuck")
        if operator == "comes back later":
            scene.operator.kill()
        for team in teams:
            scene.api.delete("Namespace", "", team.namespace)
        if operator == "comes back later":
            for team in teams:
                team.until(lambda team=team: not team.get("DataMart", "one"), "the data marts are gone")
                team.until(
                    lambda team=team: is_going(team, "OpenScaleInstance", "prod"),
                    "the instance is held by its finalizer",
                )
            scene.operator.start()
        for team in teams:
            team.until(
                lambda team=team: not scene.api.get("Namespace", "", team.namespace), f"{team.namespace} is gone", 45
            )


def is_going(team: Team, kind: str, name: str) -> bool:
    """Deleted, and there still: held by its finalizer."""
    return bool(team.get(kind, name).get("metadata", {}).get("deletionTimestamp"))


# Custom resource definitions, and the chart ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene with a cluster of its own: what is deleted here would be missed by other tests."""
    with raise_scene(
        folder=tmp_path_factory.mktemp("d"), postgres=False, settings={"KEY_POLL_SECONDS": "0.25"}
    ) as raised:
        yield raised


@pytest.fixture
def lonely(own_scene: Scene, vault: Vault) -> Iterator[Team]:
    """A team in the scene of its own, settled under its root key, with everything there again at the end."""
    name = f"lonely-{next(_numbers)}"
    own_scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    team = Team(own_scene, vault, name)
    settle(team)
    yield team
    come_back(own_scene)


def settle(team: Team) -> None:
    """An instance under a root key of the team's, and a data mart."""
    (key,) = team.keys or team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one")
    team.until_ready("one")
    team.prove(key)


def come_back(scene: Scene) -> None:
    """What a person and the kubelet do: apply the definitions, and start the operator, until both are there to stay.

    A definition that waits for its objects to go is applied in vain, and once more when it is gone.
    """

    def there() -> bool:
        try:
            scene.kubectl("apply", "-k", str(ROOT / "crds"))
            scene.kubectl("wait", "--for=condition=Established", "crd", *DEFINITIONS.values(), "--timeout=60s")
            found = scene.kubectl("get", "crd", *DEFINITIONS.values(), "-o", "json")
            if not scene.operator.is_alive:
                scene.operator.start()
        except (ClusterError, RuntimeError):  # one of them went meanwhile
            return False
        return "deletionTimestamp" not in found

    scene.until(there, "the definitions are served, and the operator runs", 90)
    scene.operator.restart()  # it may be about to end, for a definition that it watched and that went: a kubelet waits


def undefine(team: Team, *kinds: str) -> None:
    """Delete the definitions of these kinds, as the policy on them asks for, and do not wait."""
    names = [DEFINITIONS[kind] for kind in kinds]
    team.scene.kubectl("annotate", "crd", *names, f"{GROUP}/allow-deletion=true", "--overwrite")
    team.scene.kubectl("delete", "crd", *names, "--wait=false")


def undefined(team: Team, kind: str) -> bool:
    """Whether the definition is gone."""
    return not team.scene.kubectl("get", "crd", DEFINITIONS[kind], "--ignore-not-found").strip()


def ended_clearly(team: Team, *kinds: str) -> None:
    """The operator ends, and says which kinds are missing and how to apply them; until then it does not start."""
    operator = team.scene.operator
    try:
        team.scene.until(lambda: not operator.is_alive, "the operator ends", 60)
    except TimeoutError as error:
        raise AssertionError(f"{error}\n{operator.log.read_text()[-4000:]}") from None
    last = "\n".join(operator.log.read_text().splitlines()[-3:])
    for said in (last, refused_start(team)):
        assert all(kind in said for kind in kinds), said
        assert "kubectl apply -k crds" in said
    assert "Traceback" not in operator.log.read_text()


def refused_start(team: Team) -> str:
    """What the operator says when it does not start."""
    with pytest.raises(RuntimeError) as refused:
        team.scene.operator.start()
    return str(refused.value)


def works_again(team: Team, *missing: str) -> None:
    """Once the definitions are applied, whatever is missing is created anew and all is as it was."""
    come_back(team.scene)
    key = team.keys[0]
    if "OpenScaleInstance" in missing:
        team.until_gone("OpenScaleInstance", "prod")
        team.instance()
    if "RootKeyBinding" in missing:
        team.until_gone("RootKeyBinding", "a")
        team.bind("a", key)
    if "DataMart" in missing:
        team.create(manifests.datamart(team.namespace, "one", "prod", "one-db"))
    team.until_protected(key)
    team.until_ready("one")
    team.prove(key)


def test_the_definition_of_instances_is_deleted(lonely: Team) -> None:
    """Each instance is held by its data marts and says so; with the last one it goes, and the operator ends clearly."""
    undefine(lonely, "OpenScaleInstance")
    found = lonely.until_reason("OpenScaleInstance", "prod", "DataMartsRemain")
    assert "(one): delete them first" in found["message"]
    lonely.prove(lonely.keys[0])
    lonely.delete("DataMart", "one")
    lonely.until(lambda: undefined(lonely, "OpenScaleInstance"), "the definition is gone")
    ended_clearly(lonely, "OpenScaleInstance")
    works_again(lonely, "OpenScaleInstance", "DataMart")


def test_the_definition_of_bindings_is_deleted(lonely: Team) -> None:
    """It deletes every binding: what they protect moves to the global key before they go; nothing is lost."""
    undefine(lonely, "RootKeyBinding")
    lonely.until_protected("global")
    lonely.until(lambda: undefined(lonely, "RootKeyBinding"), "the definition is gone")
    ended_clearly(lonely, "RootKeyBinding")
    lonely.prove("global")
    works_again(lonely, "RootKeyBinding")


def test_the_definition_of_data_marts_is_deleted(lonely: Team) -> None:
    """The data marts go, as their owner asked; the operator ends clearly, and instance and binding stay as they are."""
    before = lonely.get("OpenScaleInstance", "prod")["status"]["properties"]
    undefine(lonely, "DataMart")
    ended_clearly(lonely, "DataMart")
    assert lonely.get("OpenScaleInstance", "prod")["status"]["properties"] == before
    works_again(lonely, "DataMart")


@pytest.mark.parametrize("operator", ["runs", "is down"])
def test_all_definitions_are_deleted(lonely: Team, operator: str) -> None:
    """Everything goes, or waits for the operator, which says what it needs; the definitions applied, it ends well."""
    if operator == "is down":
        lonely.scene.operator.kill()
    undefine(lonely, *DEFINITIONS)
    if operator == "is down":
        lonely.until(lambda: undefined(lonely, "DataMart"), "the data marts are gone")
        for kind, name in (("OpenScaleInstance", "prod"), ("RootKeyBinding", "a")):
            lonely.until(
                lambda kind=kind, name=name: is_going(lonely, kind, name), f"the {kind} is held by its finalizer"
            )
        assert "does not serve DataMart; apply the CRDs first" in refused_start(lonely)
    else:
        ended_clearly(lonely, "DataMart")
    works_again(lonely, *DEFINITIONS)


def test_what_is_deleted_while_the_operator_is_uninstalled_waits_for_it(lonely: Team) -> None:
    """Its rights and its process gone: objects with our finalizer wait; installed again, it lets them go."""
    scene = lonely.scene
    assert scene.operator.stop() == 0
    values = {"secretAccess": {"clusterWide": True}}
    installed = chart.rights(values, namespace=NAMESPACE) + chart.policies(values, namespace=NAMESPACE)
    scene.kubectl("delete", "-n", NAMESPACE, "-f", "-", given=manifests.as_text(installed))
    objects = {"RootKeyBinding": "a", "OpenScaleInstance": "prod", "DataMart": "one"}
    for kind, name in objects.items():
        lonely.delete(kind, name)
    lonely.until_gone("DataMart", "one")
    for kind in ("RootKeyBinding", "OpenScaleInstance"):
        assert is_going(lonely, kind, objects[kind])
    install_rights(scene.cluster, scene.folder, {})
    scene.operator.start()
    for kind, name in objects.items():
        lonely.until_gone(kind, name)
    works_again(lonely, *objects)
