"""The agent as the kubelet runs it: exit codes, signals, a crash at any moment; and no secret in what it says."""

import json
import signal

import aiohttp
import pytest

from agent.running import Process, until
from agent.told import PASSWORD, TOKEN, Told, error, revoked


def environment(told: Told, *targets: str, **more: str) -> dict[str, str]:
    """The settings of an agent, as a pod's environment has them."""
    return {
        "URL": told.url, "CA_FILE": str(told.ca_file), "TOKEN_FILE": str(told.token_file), "NAMESPACE": "team-a",
        "TARGETS": " ".join(targets), "INTERVAL": "0.1", "REQUIRE_MEMORY": "true",
    } | more  # fmt: skip


async def test_once_ends_well(told, volume, tmp_path):
    """The init container's exit code is 0 once every file is there."""
    first, second = volume / "scores.json", volume / "scores.env"
    settings = environment(told, f"scores={first}", f"env:team-b/scores={second}")
    process = Process(tmp_path / "log", "--once", **settings)
    assert await process.ended() == 0, process.log.read_text()
    assert json.loads(first.read_text())["password"] == PASSWORD
    assert f"DB_PASSWORD='{PASSWORD}'\n" in second.read_text()
    assert {path.split("/")[3] for path, _, _ in told.asked} == {"team-a", "team-b"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [(revoked, "KeyDisabled"), (lambda: error(503, "KeyProtectUnavailable"), "503 KeyProtectUnavailable")],
    ids=["revoked", "unavailable"],
)
async def test_once_that_waits_in_vain_says_for_what(told, volume, tmp_path, answer, said):
    """After its time the exit code is 1, and the last line names the data mart and the gateway's reason."""
    told.answer = answer
    process = Process(tmp_path / "log", "--once", "--wait-seconds=1", **environment(told, f"scores={volume}/s"))
    assert await process.ended() == 1
    last = process.log.read_text().splitlines()[-1]
    assert "team-a/scores" in last
    assert said in last
    assert not list(volume.iterdir())


@pytest.mark.parametrize("keep", [False, True], ids=["remove", "keep"])
async def test_its_end(told, volume, tmp_path, keep):
    """SIGTERM ends it within a second, whatever hangs, and takes the files away unless it shall not."""
    file = volume / "scores.json"
    flags = ["--keep-at-end"] if keep else []
    process = Process(tmp_path / "log", *flags, **environment(told, f"scores={file}"))
    await until(file.exists)
    told.answer = "hang"
    assert await process.end(signal.SIGTERM) < 1.0
    assert process.code == 0
    assert file.exists() == keep


async def test_its_end_while_somebody_is_connected(told, volume, tmp_path, free_port):
    """A probe's open connection delays no end."""
    file = volume / "scores.json"
    process = Process(tmp_path / "log", **environment(told, f"scores={file}", HEALTH_PORT=str(free_port)))
    await until(file.exists)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{free_port}/readyz") as answer:
            assert answer.status == 200
        assert await process.end(signal.SIGTERM) < 1.0


async def test_a_killed_agent_leaves_no_partial_file(told, volume, tmp_path):
    """Killed at any moment, it leaves the former file or the next; the next agent sweeps what lies beside."""
    file = volume / "scores.json"
    whole = {}
    for round_ in range(4):
        log = tmp_path / f"log-{round_}"
        process = Process(log, **environment(told, f"scores={file}", INTERVAL="0.1"))
        begun = len(told.asked)
        for number in range(round_ * 2 + 1):
            password = f"{round_}-{number}-" + "x" * 4_000
            whole[password] = True
            told.credentials["password"] = password
            asked = len(told.asked)
            await until(lambda asked=asked: len(told.asked) > asked)
        await until(lambda begun=begun: len(told.asked) > begun)
        process.kill()
        if file.exists():
            assert json.loads(file.read_text())["password"] in whole | {PASSWORD: True}
    beside = volume / ".scores.json.openscale-byok-new"
    beside.write_text("half of a passw")
    await told.stop()
    process = Process(tmp_path / "log", **environment(told, f"scores={file}"))
    await until(lambda: not beside.exists())
    await process.end(signal.SIGTERM)


async def test_a_folder_on_a_disk(told, tmp_path):
    """It is warned of; with --require-memory it is refused, and nothing is written."""
    folder = tmp_path / "disk"
    folder.mkdir()
    settings = environment(told, f"scores={folder}/s")
    process = Process(tmp_path / "log", "--once", **settings)
    assert await process.ended() == 1
    assert "is not in memory" in process.log.read_text()
    assert not list(folder.iterdir())
    assert not told.asked
    process = Process(tmp_path / "log-2", "--once", **settings | {"REQUIRE_MEMORY": "false"})
    assert await process.ended() == 0
    (warning,) = [line for line in process.lines() if line["event"] == "folder"]
    assert warning["level"] == "warning"
    assert (folder / "s").exists()


async def test_no_secret_in_what_it_says(told, volume, tmp_path):
    """Neither the password nor the token is in any line, whatever is answered."""
    told.credentials |= {"tls": "NoSuchThing"}
    process = Process(tmp_path / "log", **environment(told, f"scores={volume}/s"))
    await until(lambda: "understands" in process.log.read_text())
    told.credentials |= {"tls": "Require", "password": PASSWORD + "\0"}
    told.answer = lambda: error(401, "NotAuthenticated")
    await until(lambda: "401" in process.log.read_text())
    told.answer = revoked
    await until(lambda: "Revoked" in process.log.read_text())
    await process.end(signal.SIGTERM)
    text = process.log.read_text()
    assert PASSWORD not in text
    assert TOKEN not in text
    assert all(line.startswith("{") for line in text.splitlines())


WRONG = {
    "--url=http://gateway:8443": "https://HOST",
    "--url=https://user:pass@gateway": "https://HOST",
    "--target=Scores=/tmp/x": "FORMAT",
    "--target=yaml:scores=/tmp/x": "no format 'yaml'",
    "--target=../../secrets=/tmp/x": "FORMAT",
    "--interval=0": "--interval",
    "--keep-seconds=1": "twice --interval",
    "--mode=0644": "--mode",
    "--env-prefix=1X": "variable",
}  # fmt: skip


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_usage_is_named(argument):
    """A wrong option is refused by name with exit code 2, before anything is asked."""
    from click.testing import CliRunner

    from openscale_byok.shell.cli import main

    right = {"--url": "https://gateway:8443", "--target": "team-a/scores=/tmp/x"}
    name, _, value = argument.partition("=")
    arguments = [part for pair in (right | {name: value}).items() for part in pair]
    done = CliRunner().invoke(main, ["agent", *arguments])
    assert done.exit_code == 2, done.output
    assert WRONG[argument] in " ".join(done.output.split())
