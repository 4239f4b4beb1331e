"""The stories on the gateway that is told, and every answer that only such a one gives."""

import asyncio
import json
import os
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agent.running import options, running, target, until
from agent.stories import AgentStories, There
from agent.told import PASSWORD, TOKEN, Told, error, revoked
from openscale_byok.shell.agent.asking import MAX_BODY, Door
from openscale_byok.shell.agent.formats import Format
from openscale_byok.shell.agent.run import Failed, run


def door_of(told: Told, seconds: float = 5.0) -> Door:
    """The way to it."""
    return Door(told.url, told.ca_file, told.token_file, seconds)


class TestStories(AgentStories):
    """The gateway that is told."""

    @pytest.fixture
    def there(self, told: Told) -> There:
        path = "/v1/namespaces/team-a/datamarts/scores/credentials"

        def answering(answer: object):
            async def act() -> None:
                told.answer = answer

            return act

        async def change(password: str) -> None:
            told.credentials |= {"password": password}

        def only_the_one() -> web.Response:
            return error(403, "NotAllowed")

        serve = told._respond

        async def respond(request: web.Request) -> web.StreamResponse:
            return await serve(request) if request.path == path else only_the_one()

        told._respond = respond  # type: ignore[method-assign]
        return There(
            door_of(told), "team-a", "scores", lambda: str(told.credentials["password"]), change,
            answering(revoked), answering(None), answering(only_the_one), answering(None), told.stop, told.start,
        )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder / "scores.json"


async def test_a_poller_costs_nothing(told, file):
    """Once it has the file the agent asks with its ETag, is answered 304, and writes nothing."""
    async with running(options(door_of(told), target(file))):
        await until(lambda: len(told.asked) >= 4)
        written = file.stat().st_ino
        await until(lambda: len(told.asked) >= 8)
        assert written == file.stat().st_ino
    statuses = [status for _, _, status in told.asked]
    assert statuses == [200] + [304] * (len(statuses) - 1)


async def test_a_file_that_somebody_changed_or_deleted_comes_back(told, file):
    """What the workload finds is what the gateway gives, whoever was at the file meanwhile."""
    async with running(options(door_of(told), target(file))):
        await until(file.exists)
        file.write_text("{}")
        await until(lambda: PASSWORD in file.read_text())
        file.unlink()
        await until(lambda: file.exists() and PASSWORD in file.read_text())


NO_ANSWERS = {
    "unavailable": lambda: error(503, "KeyProtectUnavailable"),
    "too many": lambda: error(429, "TooManyRequests"),
    "not authenticated": lambda: error(401, "NotAuthenticated"),
    "conflict": lambda: error(409, "PasswordNotGiven"),
    "not found by a proxy": lambda: web.Response(status=404, text="default backend - 404"),
    "forbidden by a proxy": lambda: web.Response(status=403, text="<html>forbidden</html>"),
    "redirect": lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    "not JSON": lambda: web.Response(text="<html>hello</html>"),
    "no password": lambda: web.json_response({"hostname": "db.example.com"}),
    "unasked 304": lambda: web.Response(status=304),
    "too long": lambda: web.json_response({"errors": [{"code": "NotAllowed"}], "x": "x" * MAX_BODY}, status=403),
    "hang": "hang",
    "cut off": "cut",
}  # fmt: skip


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_no_answer_is_not_a_no(told, file, answer):
    """Whatever is not a clear no leaves the file as it is, byte by byte; the next good answer is taken."""
    async with running(options(door_of(told, seconds=0.3), target(file))) as task:
        await until(file.exists)
        before = file.read_bytes()
        file.write_bytes(before)  # so that the next question names no ETag
        begun = len(told.asked)
        told.answer = answer
        await until(lambda: len(told.asked) >= begun + 3 or answer == "hang")
        await asyncio.sleep(0.5)
        assert before == file.read_bytes()
        assert not task.done()
        told.answer = None
        told.credentials["password"] = "n3w"
        await until(lambda: "n3w" in file.read_text())
    assert not [path for path, _, _ in told.asked if "elsewhere" in path]


@pytest.mark.parametrize(
    "answer",
    [revoked, lambda: error(403, "NotAllowed"), lambda: error(404, "NotFound")],
    ids=["revoked", "not allowed", "does not exist"],
)
async def test_a_clear_no_takes_the_file_away_at_once(told, file, answer, capfd):
    """Within one interval the file is gone, and the log says why, once, with the gateway's trace."""
    async with running(options(door_of(told), target(file))):
        await until(file.exists)
        told.answer = answer
        begun = time.monotonic()
        await until(lambda: not file.exists())
        assert time.monotonic() - begun < 2.0
        asked = len(told.asked)
        await until(lambda: len(told.asked) >= asked + 3)
    said = capfd.readouterr()
    text = said.out + said.err
    assert text.count("file removed") == 1
    assert "trace-1" in text
    assert PASSWORD not in text
    assert TOKEN not in text


async def test_retry_after_is_honoured(told, file):
    """Who is told to come back in two seconds does not come before."""
    told.answer = lambda: error(429, "TooManyRequests", Retry_After="2")
    async with running(options(door_of(told), target(file))):
        await until(lambda: told.asked)
        told.answer, begun = None, time.monotonic()
        await until(file.exists)
    assert time.monotonic() - begun > 1.8


async def test_a_restart_extends_nothing(told, file):
    """An agent that finds a file older than --keep-seconds, and no gateway, takes it away."""
    await run(options(door_of(told), target(file), once_seconds=30.0))
    await told.stop()
    past = time.time() - 100
    os.utime(file, (past, past))
    async with running(options(door_of(told), target(file), keep=60.0)):
        await until(lambda: not file.exists())


async def test_what_cannot_be_taken_away_stops_no_question(told, file):
    """A file that is too old and cannot be removed is tried again at each look, at the usual pace, until it is gone."""
    file.mkdir()
    os.utime(file, (1, 1))
    told.answer = lambda: error(503, "KeyProtectUnavailable")
    async with running(options(door_of(told), target(file))):
        await until(lambda: len(told.asked) >= 3)
        assert file.is_dir()
        file.rmdir()
        await until(lambda: not file.exists())
        told.answer = None
        await until(file.is_file)
    assert len(told.asked) < 30


async def test_keep_zero_keeps(told, file):
    """With --keep-seconds 0 a file stays for as long as nobody says no."""
    await run(options(door_of(told), target(file), once_seconds=30.0))
    os.utime(file, (1, 1))
    told.answer = lambda: error(503, "KeyProtectUnavailable")
    async with running(options(door_of(told), target(file), keep=0)):
        await until(lambda: len(told.asked) >= 4)
        assert file.exists()


async def test_a_renewed_token_is_used(told, file):
    """The kubelet renews the token: from then on the new one is shown, without a restart."""
    async with running(options(door_of(told), target(file))):
        await until(file.exists)
        told.rotate_token("r3n3wed")
        told.credentials["password"] = "n3w"
        await until(lambda: "n3w" in file.read_text())


@pytest.mark.parametrize("content", ["", "two words", "zwölf", "a\x07b"])
async def test_a_token_that_is_none_is_named(told, file, content):
    """An empty or broken token file is named by its path, and never quoted."""
    told.token_file.write_text(content)
    with pytest.raises(Failed, match=str(told.token_file)) as failed:
        await run(options(door_of(told), target(file), once_seconds=0.5))
    assert not content or content not in str(failed.value)


async def test_a_renewed_authority_is_trusted_and_the_former_is_not(told, file):
    """The mounted certificate of the authority is read when it changes; what it does not sign is not asked."""
    async with running(options(door_of(told), target(file))):
        await until(file.exists)
        await told.stop()
        told.renew_authority(trusted=False)
        await told.start()
        told.credentials["password"] = "n3w"
        asked = len(told.asked)
        await asyncio.sleep(0.5)
        assert len(told.asked) == asked
        told.trust()
        await until(lambda: "n3w" in file.read_text())


async def test_another_hosts_certificate_is_refused(told, file):
    """A certificate that our authority signed for another name vouches for nobody."""
    door = Door(told.url.replace("127.0.0.1", "127.0.0.2"), told.ca_file, told.token_file, 1.0)
    with pytest.raises(Failed, match=r"certificate|reached"):
        await run(options(door, target(file), once_seconds=1.0))
    assert not told.asked


async def test_nothing_of_the_environment_is_taken(told, file, monkeypatch, tmp_path):
    """Neither a proxy nor a netrc sees a token."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    await run(options(door_of(told), target(file), once_seconds=30.0))
    assert file.exists()


async def test_several_targets_go_their_own_ways(told, file):
    """Each data mart has its own file in its own format; one that cannot be written holds up no other."""
    told.credentials["type"] = "Db2"
    env, pgpass = file.with_name("scores.env"), file.with_name("pgpass")
    async with running(options(door_of(told), target(file), target(env, Format.ENV), target(pgpass, Format.PGPASS))):
        await until(lambda: file.exists() and env.exists())
        assert not pgpass.exists()
        told.credentials["type"] = "PostgreSQL"
        await until(pgpass.exists)
        told.credentials["type"] = "Db2"
        await until(lambda: not pgpass.exists())
        assert env.exists()


async def test_a_data_marts_own_authority_lies_beside_the_service_file(told, file):
    """libpq can only name a file: it is there before the service file is, and goes with it."""
    told.credentials |= {"ca": "-----BEGIN CERTIFICATE-----\n", "tls": "VerifyFull"}
    service = target(file, Format.SERVICE)
    async with running(options(door_of(told), service)):
        await until(file.exists)
        assert f"sslrootcert={service.ca_file}\n" in file.read_text()
        assert service.ca_file.read_text() == told.credentials["ca"]
        told.answer = revoked
        await until(lambda: not file.exists() and not service.ca_file.exists())


async def test_health(told, file, free_port):
    """Live while it runs; ready once each file is there, and not when one is gone. No secret is in it."""
    async with (
        running(options(door_of(told), target(file), health_address="127.0.0.1", health_port=free_port)),
        aiohttp.ClientSession(f"http://127.0.0.1:{free_port}") as session,
    ):
        await until(file.exists)
        async with session.get("/readyz") as answer:
            assert answer.status == 200
            found = await answer.text()
        assert PASSWORD not in found
        assert json.loads(found)["targets"][0]["state"] == "Fresh"
        told.answer = revoked
        await until(lambda: not file.exists())
        async with session.get("/readyz") as answer:
            assert answer.status == 503
        async with session.get("/livez") as answer:
            assert answer.status == 200


async def test_old_tls_is_refused(told, file):
    """A gateway that speaks less than TLS 1.2 is not spoken to."""
    from openscale_byok.shell.agent.asking import Gateway

    gateway = Gateway(door_of(told))
    try:
        context = gateway._trust()
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
    finally:
        await gateway.close()
