"""One scene for all tests about the operator: real API server, real HTTP Key Protect, the operator as a process.

At a team's end its namespace is deleted in whatever state the test left it, and at the session's end every one
of them must be gone: a namespace never hangs.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count

import pytest

from local_cluster import Cluster
from openscale_byok.core.audit_chain import verify
from stage.gateway_process import Gateway
from stage.scene import AUDIT_LOG, Scene, raise_scene
from stage.strangers import Strangers, strangers
from stage.team import Team, Vault

POLL_SECONDS = 0.25
SOURCE_REFRESH_SECONDS = 1
_numbers = count(1)


@pytest.fixture(scope="session")
def vault() -> Vault:
    """The session's secrets."""
    return Vault()


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strangers]:
    """Endpoints that a binding may name, and that are not Key Protect."""
    with strangers(tmp_path_factory.mktemp("strangers")) as found:
        yield found


@pytest.fixture(scope="session")
def scene(
    crds: Cluster, vault: Vault, stranger: Strangers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Everything that runs, without PostgreSQL. At its end: no secret in the log, no namespace that hangs."""
    settings = {"KEY_POLL_SECONDS": str(POLL_SECONDS), "SOURCE_REFRESH_SECONDS": str(SOURCE_REFRESH_SECONDS)}
    settings |= {"TRUSTED_PROFILES": "true", "ALLOWED_ENDPOINTS": json.dumps([*stranger.urls.values()])}
    values = {"trustedProfiles": {"enabled": True}}
    folder = tmp_path_factory.mktemp("s")
    settings["AUDIT_CHAIN"] = "true"
    with raise_scene(cluster=crds, folder=folder, postgres=False, settings=settings, values=values) as raised:
        yield raised
        if crds.has_controller_manager:
            _until_gone(raised, vault)
        assert raised.operator.is_alive
        assert raised.operator.stop() == 0
        vault.look("the operator's log", raised.operator.log.read_text())
        vault.look("the audit", (folder / AUDIT_LOG).read_text())
        with (folder / AUDIT_LOG).open("rb") as audit:
            assert verify(audit).fault is None
        # kopf's watch generators may be collected while they end: its own noise, at an exit only.
        errors = [line for line in raised.operator.lines() if line.get("error")]
        assert not [line for line in errors if "infinite_watch" not in line["event"]], "an exception was logged"
        assert not vault.leaks


def _until_gone(scene: Scene, vault: Vault) -> None:
    try:
        scene.until(lambda: not _teams(scene), "every team's namespace is gone, whatever state it was left in", 45)
    except TimeoutError as error:
        standing = "\n".join(f"{name}: {Team(scene, vault, name).standing()}" for name in _teams(scene))
        raise AssertionError(f"{error}\n{standing}") from None


def _teams(scene: Scene) -> list[str]:
    names = [found["metadata"]["name"] for found in scene.api.list("Namespace")]
    return [name for name in names if name.startswith("team-")]


@pytest.fixture(scope="session")
def beacon(scene: Scene, vault: Vault) -> Iterator[str]:
    """A binding that nothing ever happens to. Its polls tell the tests that time went by for the operator."""
    team = _new_team(scene, vault, "team-beacon")
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.until_protected(key)
    yield key
    scene.api.delete("Namespace", "", team.namespace)


@pytest.fixture
def team(crowd: Callable[[int], AbstractContextManager[list[Team]]]) -> Iterator[Team]:
    """A team of this test's own."""
    with crowd(1) as (found,):
        yield found


@pytest.fixture(scope="session")
def crowd(scene: Scene, vault: Vault, beacon: str) -> Callable[[int], AbstractContextManager[list[Team]]]:
    """So many teams, for as long as the block lasts."""

    @contextmanager
    def gathered(number: int) -> Iterator[list[Team]]:
        teams = [_new_team(scene, vault, f"team-{next(_numbers)}", beacon) for _ in range(number)]
        try:
            yield teams
        finally:
            scene.emulator.clear_faults()
            if not scene.operator.is_alive:
                scene.operator.start()
            for found in teams:
                found.search()
                scene.api.delete("Namespace", "", found.namespace)

    return gathered


def _new_team(scene: Scene, vault: Vault, name: str, beacon: str = "") -> Team:
    scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return Team(scene, vault, name, beacon)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares the cluster with an operator comes last: to others it would be an intruder in their statuses."""
    items.sort(key=lambda item: "scene" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="module")
def gateway(scene: Scene, vault: Vault) -> Iterator[Gateway]:
    """A gateway under the chart's rights, for one module. At its end: no secret in its log, nor in its audit.

    Its own polls are counted with the operator's: a module that uses it and waits for polls sees them come faster.
    """
    limits = {"GATEWAY_REQUESTS_PER_SECOND": "1000", "GATEWAY_BURST": "1000"}
    with scene.gateway(**limits) as started:
        yield started
        assert started.is_alive
    vault.look("the gateway's log", started.log.read_text())
    vault.look("the gateway's audit", (scene.folder / "gateway.audit").read_text())
    assert not [line for line in started.lines() if line["event"] == "unexpected"]
    assert not vault.leaks
