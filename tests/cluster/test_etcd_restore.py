"""etcd is put back under the running operator: it notices, ends with one clear line, and started again finds its way.

No watch says anything of it: the API server waits until the version that kopf asks for comes round again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from local_cluster.snapshots import Snapshot
from stage.operator_process import Operator
from stage.scene import NAMESPACE, Scene, raise_scene
from stage.team import Team, Vault

ENDED = "the cluster's resourceVersion went backwards"


@dataclass
class Past:
    """A team's cluster as it was at some moments, and the passwords that it held then."""

    team: Team
    keys: list[str]
    moments: dict[str, tuple[Snapshot, dict[str, str]]] = field(default_factory=dict)

    def keep(self, name: str) -> None:
        """Remember this moment."""
        self.moments[name] = self.team.scene.cluster.snapshot(), dict(self.team.passwords)

    def go_on(self, note: str) -> None:
        """Let more happen than an API server writes when it starts: else the version is not behind after a restore."""
        for number in range(50):
            change = {"metadata": {"annotations": {"note": f"{note} {number}"}}}
            self.team.scene.api.patch("Namespace", "", self.team.namespace, change)
        name = f"later-{len(self.team.passwords)}"
        self.team.marts(name, handover=True)
        self.team.until_ready(name)
        self.team.until_ready("prod", kind="OpenScaleInstance")


@pytest.fixture(scope="module")
def alone(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene with a cluster of its own, which is put back again and again."""
    settings = {"KEY_POLL_SECONDS": "0.25", "SOURCE_REFRESH_SECONDS": "1"}
    with raise_scene(folder=tmp_path_factory.mktemp("e"), postgres=False, settings=settings) as raised:
        yield raised
        log = raised.operator.log.read_text()
        vault.look("the log of an operator whose cluster was restored", log)
        assert "Unclosed" not in log, "every session is closed, however the process ends"


@pytest.fixture(scope="module")
def past(alone: Scene, vault: Vault) -> Past:
    """Root key A; a hand-over that is not consumed yet; on the way to B; there; and then a new password."""
    alone.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-past"}})
    team = Team(alone, vault, "team-past")
    keys = team.root_keys(3)
    team.beacon = keys[2]
    team.instance("clock")
    team.bind("clock", team.beacon, "clock")
    team.instance()
    team.bind("a", keys[0])
    team.until_protected(keys[0])
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    alone.operator.kill()
    team.marts("three", handover=True)
    past = Past(team, keys)
    past.keep("before")
    alone.operator.start()
    team.until_ready("three")
    team.until_gone("Secret", "three-db")
    alone.operator.kill()
    alone.emulator.fault("unwrap", key=keys[0], status=503)
    team.bind("b", keys[1])
    team.delete("RootKeyBinding", "a")
    alone.operator.start()
    team.until_reason("OpenScaleInstance", "prod", "ReEncrypting")
    past.keep("on the way")
    alone.emulator.clear_faults()
    team.until_protected(keys[1])
    team.until_gone("RootKeyBinding", "a")
    past.keep("after")
    team.marts("four", handover=True)
    team.give_again("two", handover=True)
    team.patch("DataMart", "two", {"spec": {"database": {"password": {"revision": 1}}}})
    team.until_ready("two", "four")
    past.go_on("at last")
    team.until_settled()
    return past


def test_an_operator_that_has_nothing_to_do_notices_too(past: Past) -> None:
    """With no poll, no look at a source and no write that would tell it, it asks for itself."""
    scene, team = past.team.scene, past.team
    scene.operator.stop()
    hour = {"KEY_POLL_SECONDS": "3600", "SOURCE_REFRESH_SECONDS": "3600", "NAMESPACE": NAMESPACE}
    urls = {"IAM_URL": scene.emulator.iam_url, "KEY_PROTECT_URL": scene.emulator.url}
    quiet = Operator(scene.folder / "operator.kubeconfig", scene.folder / "quiet.log", hour | urls)
    opened = team.calls()["unwrap"]
    try:
        quiet.start()
        team.until(lambda: team.calls()["unwrap"] > opened, "it has looked at everything once")
        scene.cluster.restore(past.moments["after"][0])
        team.until(lambda: not quiet.is_alive, "the operator ends", 15)
        assert quiet.stop() == 1
        assert quiet.log.read_text().count(ENDED) == 1
    finally:
        quiet.kill()


@pytest.mark.parametrize(("moment", "root_key"), [("after", 1), ("on the way", 1), ("before", 0)])
def test_the_operator_ends_and_the_next_one_opens_all_that_was_there(past: Past, moment: str, root_key: int) -> None:
    """What was consumed since is consumed again, what moved since moves again; the passwords are those of then."""
    team, operator, keys = past.team, past.team.scene.operator, past.keys
    if not operator.is_alive:
        operator.start()
    past.go_on(moment)
    before = operator.log.stat().st_size
    snapshot, passwords = past.moments[moment]
    team.passwords = dict(passwords)
    team.scene.cluster.restore(snapshot)
    team.until(lambda: not operator.is_alive, "the operator ends", 15)
    assert operator.stop() == 1, "Kubernetes starts it again"
    said = operator.log.read_text()[before:]
    assert said.count(ENDED) == 1
    assert "Traceback" not in said
    operator.start()
    team.until_ready(*team.passwords)
    team.until_protected(keys[root_key])
    team.until_settled()
    team.prove(keys[root_key])
    assert not team.get("Secret", "three-db"), "the hand-over is consumed"
    assert bool(team.get("RootKeyBinding", "a")) == (root_key == 0)
