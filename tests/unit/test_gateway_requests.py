"""What every request goes through: the line before the answer, one wording for those who may not know, no text of
errors that are not ours."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.core.caller import Caller, not_authenticated
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.requests import ASKED, guard, not_allowed

SECRET = "canary-password"


class Here:
    """Rights, pace and audit in memory."""

    def __init__(self) -> None:
        self.lines: list[AuditEvent] = []
        self.full = False
        self.left = 1_000

    async def caller(self, token: str, network: str = "") -> Caller:
        if token != "good":
            raise not_authenticated("nobody holds it")
        return Caller("alice", "kubernetes")

    async def allowed(self, *_: object) -> bool:
        return True

    def take(self, who: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable(Reason.TOO_MANY_REQUESTS, "ask less often", retry_after=7.0)

    def write(self, event: AuditEvent) -> None:
        if self.full:
            raise Unavailable(Reason.AUDIT_UNAVAILABLE, "the audit cannot be written")
        self.lines.append(event)


async def password(request: web.Request) -> web.Response:
    """A route that hands something out, and is audited."""
    request[ASKED].about(Action.CREDENTIALS_READ, "DataMart", "n", "m")
    return web.json_response({"password": SECRET})


async def denied(request: web.Request) -> web.Response:
    """A route that refuses."""
    request[ASKED].about(Action.CREDENTIALS_READ, "DataMart", "n", "m")
    raise not_allowed()


async def revoked(_: web.Request) -> web.Response:
    """A route whose root key said no."""
    raise Refused(Reason.KEY_DISABLED, "the root key was disabled", trace="kp-1")


async def mistaken(_: web.Request) -> web.Response:
    """A route with a mistake."""
    raise ValueError(SECRET)


async def unanswered(_: web.Request) -> web.Response:
    """A route that could not ask."""
    raise Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "Key Protect cannot be reached", retry_after=12.4)


async def nameless(request: web.Request) -> web.Response:
    """A route that refuses before it knows a name."""
    request[ASKED].about(Action.BINDING_CREATED, "RootKeyBinding", "", "")
    raise not_allowed()


async def everybody(_: web.Request) -> web.Response:
    """A route that anybody may see."""
    return web.json_response({})


@pytest.fixture
def here() -> Here:
    """What the middleware asks."""
    return Here()


@pytest.fixture
async def client(here: Here) -> AsyncIterator[TestClient]:
    """A client of an application with nothing but the middleware."""
    app = web.Application(middlewares=[guard(here, here, here, frozenset({"/open"}))])
    for route in (password, denied, revoked, mistaken, unanswered, nameless):
        app.router.add_get(f"/{route.__name__}", route)
    app.router.add_get("/open", everybody)
    async with TestClient(TestServer(app)) as found:
        yield found


GOOD = {"Authorization": "Bearer good"}


async def test_the_line_is_written_and_says_who(client, here) -> None:
    """What is handed out has its line: who, by whom vouched, what, from where."""
    answer = await client.get("/password", headers=GOOD)
    assert (answer.status, (await answer.json())["password"]) == (200, SECRET)
    (line,) = here.lines
    assert (line.action, line.outcome, line.who, line.by) == (
        Action.CREDENTIALS_READ, "success", "alice", "kubernetes",
    )  # fmt: skip
    assert (line.namespace, line.name, line.source) == ("n", "m", "127.0.0.1")
    assert SECRET not in repr(line)


async def test_without_its_line_nothing_is_handed_out(client, here) -> None:
    """The audit cannot be written: 503 with that reason in place of the answer."""
    here.full = True
    answer = await client.get("/password", headers=GOOD)
    assert answer.status == 503
    text = await answer.text()
    assert SECRET not in text
    assert "AuditUnavailable" in text
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(("path", "status"), [("/denied", 403), ("/revoked", 403)])
async def test_a_refusal_has_its_line_or_is_none(client, here, path, status) -> None:
    """Refusals are audited whatever was asked; where they cannot be, 503: nobody is refused unseen."""
    answer = await client.get(path, headers=GOOD)
    assert answer.status == status
    assert [line.outcome for line in here.lines] == ["denied"]
    here.full = True
    assert (await client.get(path, headers=GOOD)).status == 503


async def test_a_refusal_that_knows_no_name_yet_says_the_path(client, here) -> None:
    """The path names the instance: a denied line never leaves out what was asked for."""
    await client.get("/nameless", headers=GOOD)
    assert [(line.action, line.name) for line in here.lines] == [(Action.BINDING_CREATED, "/nameless")]


async def test_a_revocation_is_marked_as_one_and_carries_key_protects_id(client, here) -> None:
    """A client can tell it from a lack of rights; the line has what Key Protect's support asks for."""
    answer = await client.get("/revoked", headers=GOOD)
    assert answer.headers["OpenScale-Byok-Revoked"] == "true"
    assert here.lines[0].trace == "kp-1"
    assert "OpenScale-Byok-Revoked" not in (await client.get("/denied", headers=GOOD)).headers


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer bad"}, {"Authorization": "Basic good"}])
async def test_strangers_are_told_to_sign_in(client, here, headers) -> None:
    """401 and how to sign in; a line that names nobody."""
    answer = await client.get("/password", headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert [(line.who, line.reason) for line in here.lines] == [("", "NotAuthenticated")]


async def test_strangers_do_not_fill_the_audit(client, here) -> None:
    """Who asks without a token more often than their pace gets 429, and no line."""
    here.left = 3
    found = [(await client.get("/password")).status for _ in range(6)]
    assert found == [401] * 3 + [429] * 3
    assert len(here.lines) == 3


async def test_who_asks_too_often_is_told_when_to_come_back(client, here) -> None:
    """429 with Retry-After; nothing is handed out."""
    here.left = 0
    answer = await client.get("/password", headers=GOOD)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


async def test_a_mistake_of_ours_says_nothing_of_what_it_met(client) -> None:
    """500 in the one shape; the text of an error that is not ours may hold anything."""
    answer = await client.get("/mistaken", headers=GOOD)
    assert answer.status == 500
    assert SECRET not in await answer.text()
    assert (await answer.json())["trace"] == answer.headers["X-Global-Transaction-ID"]


async def test_no_answer_is_503_with_when_to_come_back(client) -> None:
    """Unavailable is 503, its reason, and the seconds that the other side asked for."""
    answer = await client.get("/unanswered", headers=GOOD)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "12")
    assert (await answer.json())["errors"][0]["code"] == "KeyProtectUnavailable"


async def test_what_is_open_asks_nobody(client, here) -> None:
    """An open path needs no token and leaves no line; one that does not exist does."""
    assert (await client.get("/open")).status == 200
    assert here.lines == []
    assert (await client.get("/open/..%2fpassword")).status in (401, 404)
    assert (await client.get("/nothing", headers=GOOD)).status == 404
