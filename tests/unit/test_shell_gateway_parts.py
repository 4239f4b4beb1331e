"""Which instance a request by a service instance id is about: the caller's rights say it, and a no tells nothing."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.caller import Access, Caller
from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.engine.rights import Rights
from openscale_byok.engine.world import World
from openscale_byok.resources import OpenScaleInstance
from openscale_byok.shell.clock import SystemClock
from openscale_byok.shell.gateway.parts import INSTANCES, PARTS, instance_of
from openscale_byok.shell.gateway.requests import guard

TOKEN = {"Authorization": "Bearer good"}
ACCESSES = (Access("create", "rootkeybindings"), Access("bind", INSTANCES), Access("get", INSTANCES))


class Reviews:
    """The authorizer: knows one caller, who may what they may in these namespaces; counts what it is asked."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces
        self.asked: list[Access] = []

    def signer(self, token: str) -> str:
        return ""

    async def caller(self, token: str) -> Caller:
        return Caller("user", "kubernetes")

    async def allowed(self, caller: Caller, access: Access) -> bool:
        self.asked.append(access)
        return access.namespace in self.namespaces


class Quiet:
    """Never too often, and no audit."""

    def take(self, who: str) -> None:
        return None

    def write(self, event: AuditEvent) -> None:
        return None


def guid(number: int) -> str:
    """A service instance id."""
    return f"00000000-0000-0000-0000-{number:012}"


def world(policy: InstancePolicy, *claims: tuple[str, int]) -> World:
    """One instance for each claim, in this order of age."""
    found = World(lambda _: None, policy)
    for age, (namespace, number) in enumerate(claims):
        meta = {
            "namespace": namespace, "name": f"of-{namespace}-{number}", "uid": f"{namespace}-{number}-{age}",
            "resourceVersion": "1", "creationTimestamp": f"2026-11-23T00:00:0{age}Z",
        }  # fmt: skip
        found.see(OpenScaleInstance.KIND, {"metadata": meta, "spec": {"serviceInstanceId": guid(number)}}, gone=False)
    return found


async def show(request: web.Request) -> web.Response:
    """A route that says which instance it is about."""
    found = await instance_of(request, *ACCESSES)
    return web.json_response({"namespace": found.metadata.namespace})


@pytest.fixture
async def ask() -> AsyncIterator[Any]:
    """Asks for an id in a world, as somebody who may in these namespaces."""
    clients: list[TestClient] = []

    async def client(seen: World, *namespaces: str) -> tuple[TestClient, Reviews]:
        reviews = Reviews(*namespaces)
        app = web.Application(middlewares=[guard(Rights(reviews, SystemClock()), Quiet(), Quiet())])
        app[PARTS] = SimpleNamespace(rights=Rights(reviews, SystemClock()), reader=SimpleNamespace(world=seen))
        app.add_routes([web.get("/openscale/{instance}", show)])
        found = TestClient(TestServer(app))
        await found.start_server()
        clients.append(found)
        return found, reviews

    yield client
    for each in clients:
        await each.close()


async def answer(client: TestClient, number: int) -> tuple[int, Any]:
    """The status, and the namespace or the error."""
    got = await client.get(f"/openscale/{guid(number)}", headers=TOKEN)
    body = await got.json()
    return got.status, body.get("namespace") or (body["errors"][0]["code"], body["errors"][0]["message"])


async def test_who_claims_first_gets_nothing_of_those_who_have_no_rights_there(ask):
    """An id that a stranger claimed before is answered for in the namespace that the caller has rights in."""
    both = world(InstancePolicy(), ("stranger", 1), ("team", 1))
    assert await answer((await ask(both, "team"))[0], 1) == (200, "team")
    assert await answer((await ask(both, "stranger"))[0], 1) == (200, "stranger")


async def test_who_has_rights_in_both_is_asked_to_settle_it(ask):
    """Nobody guesses where a password goes that two namespaces claim."""
    client, _ = await ask(world(InstancePolicy(), ("stranger", 1), ("team", 1)), "team", "stranger")
    status, (code, message) = await answer(client, 1)
    assert (status, code) == (409, "Conflict")
    assert "settings.allowedInstances" in message


async def test_where_the_owner_says_whose_it_is_there_alone(ask):
    """Neither age nor rights elsewhere count then."""
    owned = world(InstancePolicy({guid(1): "team"}), ("stranger", 1), ("team", 1), ("stranger", 2))
    assert await answer((await ask(owned, "team", "stranger"))[0], 1) == (200, "team")
    assert (await answer((await ask(owned, "stranger"))[0], 1))[0] == 403
    assert (await answer((await ask(owned, "team", "stranger"))[0], 2))[0] == 403


@pytest.mark.parametrize("warm", [(), (1,), (99,), (1, 99, 2)], ids=str)
async def test_a_made_up_id_costs_the_same_questions_as_a_foreign_one(ask, warm):
    """Number and kind of what the API server is asked, whatever was asked before: so the time tells nothing either."""
    seen = world(InstancePolicy(), ("team", 1), ("team", 2), ("team", 3))
    asked = []
    for number in (3, 77):
        client, reviews = await ask(seen, "elsewhere")
        for before in warm:
            assert (await answer(client, before))[0] == 403
        reviews.asked.clear()
        assert await answer(client, number) == (403, ("NotAllowed", "you have no right to this, or it does not exist"))
        asked.append([(a.verb, a.resource, bool(a.namespace), bool(a.name)) for a in reviews.asked])
    assert asked[0] == asked[1]
    assert len(asked[0]) >= len(ACCESSES)
