"""The operator goes away at the worst moment: nothing lost, and it takes up where it was."""

import random
import signal
import time

from stage import manifests
from stage.team import Team


def test_the_operator_is_killed_again_and_again_while_everything_moves(team: Team) -> None:
    """kill -9 after as many moves as chance has it: every envelope opens in the middle and at the end."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    number = 120
    names = [f"m{n:03}" for n in range(number)]
    team.passwords = {name: team.password() for name in names}
    team.source("all", **team.passwords)
    team.create(*(manifests.datamart(team.namespace, name, "prod", "all", key=name) for name in names))
    team.until_ready(names[-1], seconds=60)
    seed = random.randrange(1 << 16)  # noqa: S311 -- when, not what
    chance = random.Random(seed)  # noqa: S311 -- as above

    def moved(crn: str) -> bool:
        status = team.get("OpenScaleInstance", "prod")["status"]
        keys = [entry["rootKey"] for entry in status["properties"]["dataKeys"]]
        return keys == [crn] and status["secrets"]["current"] == number

    def under(crn: str) -> int:
        entries = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
        ids = {entry["id"] for entry in entries if entry["rootKey"] == crn}
        sealed = (m["status"].get("sealedPassword", {}) for m in team.scene.api.list("DataMart", team.namespace))
        return sum(found.get("dataKey") in ids for found in sealed)

    for step, crn in enumerate((key_a, key_b, "global")):
        if crn != "global":
            team.bind(f"b{step}", crn)
        if step:
            team.delete("RootKeyBinding", f"b{step - 1}")
        for _ in range(2):
            enough = chance.randrange(number)
            team.until(lambda crn=crn, n=enough: under(crn) >= n, f"{enough} are under {crn} (seed {seed})", 60)
            team.scene.operator.kill()
            found = team.proof()
            assert found.holds, (seed, found.failures)
            assert found.passwords.items() <= team.passwords.items(), seed
            team.scene.operator.start()
        team.until(lambda crn=crn: moved(crn), f"all are under {crn} (seed {seed})", 60)
        if step:
            team.until_gone("RootKeyBinding", f"b{step - 1}", 60)
            team.scene.emulator.delete((key_a, key_b)[step - 1])
    team.until_settled()
    team.prove("global")


def test_a_restart_with_nothing_to_do_costs_nothing(team: Team) -> None:
    """Killed and started again, with everything settled: no write, no wrap, no unwrap but to verify what is stored."""
    (key,) = team.root_keys()
    team.instance()
    team.instance("free")
    team.bind("a", key)
    team.until_protected(key)
    team.marts("one", "two", handover=True)
    team.marts("kept")
    team.marts("free-one", instance="free")
    team.until_ready("one", "two", "kept", "free-one")
    team.until_settled()
    with team.counted() as tally:
        team.scene.operator.restart()
        team.polled(8)
    assert not tally.writes, team.standing()
    assert tally.key_protect["wrap"] == tally.key_protect["rewrap"] == 0
    assert tally.key_protect["unwrap"] <= 1


def test_an_instance_that_was_deleted_while_nobody_looked(team: Team) -> None:
    """Deleted together with its data mart while the operator was down: let go after the start, with no event more."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.until_settled()
    team.scene.operator.kill()
    team.delete("DataMart", "one")
    team.delete("OpenScaleInstance", "prod")
    team.until_gone("DataMart", "one")
    assert team.get("OpenScaleInstance", "prod")
    team.scene.operator.start()
    team.until_gone("OpenScaleInstance", "prod", 10)


def test_sigterm_ends_it_at_once_with_exit_code_0(team: Team) -> None:
    """A pod that is told to go, goes: in the middle of work too, and what it left is taken up again."""
    team.instance()
    names = [f"m{n:02}" for n in range(30)]
    team.marts(*names)
    began = time.monotonic()
    assert team.scene.operator.stop() == 0
    took = time.monotonic() - began
    assert took < 4, "kopf's own five seconds are not waited for"
    team.scene.operator.start()
    team.until_ready(*names)
    team.prove("global")


def test_sigint_too(team: Team) -> None:
    """Ctrl+C in a terminal."""
    import os

    os.kill(team.scene.operator.pid, signal.SIGINT)
    team.until(lambda: not team.scene.operator.is_alive, "it ends", 5)
    assert team.scene.operator.stop() == 0
