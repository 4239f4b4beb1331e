"""What IBM's SDK asks before anything else, over HTTP: what is true here, and only for who may know it."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.caller import Access, Caller
from openscale_byok.engine.world import World
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import OpenScaleInstance
from openscale_byok.shell.gateway import side_calls
from openscale_byok.shell.gateway.parts import INSTANCES, PARTS
from openscale_byok.shell.gateway.requests import guard

TOKEN = {"Authorization": "Bearer good"}
May = Callable[[Access], bool]


class Rights:
    """Knows one caller, and counts what is asked about them."""

    def __init__(self) -> None:
        self.may: May = lambda _: False
        self.asked: list[Access] = []
        self.costs: list[float] = []

    async def caller(self, token: str, network: str = "") -> Caller:
        if token != "good":
            raise Refused(Reason.NOT_AUTHENTICATED, "no")
        return Caller("iam:iam-1", "iam")

    def take(self, who: str, cost: float = 1.0) -> None:
        assert who == "iam:iam-1"
        self.costs.append(cost)

    async def allowed(self, caller: Caller, access: Access) -> bool:
        self.asked.append(access)
        return self.may(access)


class Quiet:
    """Never too often, and no audit."""

    def take(self, caller: Caller) -> None:
        return None

    def write(self, event: AuditEvent) -> None:
        return None


def guid(number: int) -> str:
    """A service instance id."""
    return f"00000000-0000-0000-0000-{number:012}"


def instance(namespace: str, name: str, number: int, created: str = "2026-11-23T00:00:00Z") -> dict[str, Any]:
    """An instance as it is stored."""
    meta = {
        "namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": "1",
        "creationTimestamp": created,
    }  # fmt: skip
    return {"metadata": meta, "spec": {"serviceInstanceId": guid(number)}}


@pytest.fixture
def rights() -> Rights:
    """What the caller may do: nothing, until a test says more."""
    return Rights()


@pytest.fixture
def world() -> World:
    """Three instances in two namespaces, and a younger one that claims the id of another."""
    found = World(lambda _: None)
    for raw in (
        instance("a", "one", 1),
        instance("a", "two", 2),
        instance("b", "three", 3),
        instance("b", "thief", 1, "2026-11-24T00:00:00Z"),
    ):
        found.see(OpenScaleInstance.KIND, raw, gone=False)
    return found


@pytest.fixture
async def client(rights: Rights, world: World) -> AsyncIterator[TestClient]:
    """The routes behind the gateway's own middleware."""
    app = web.Application(middlewares=[guard(rights, Quiet(), Quiet(), side_calls.HEARTBEATS)])
    app[PARTS] = SimpleNamespace(rights=rights, reader=SimpleNamespace(world=world), pace=rights)
    app.add_routes(side_calls.routes("/openscale/{instance}/v2"))
    async with TestClient(TestServer(app)) as found:
        yield found


async def entitled(client: TestClient) -> list[str]:
    """The ids that the caller is told."""
    answer = await client.get("/v1/entitlements?nocache=true", headers=TOKEN)
    assert answer.status == 200
    return [found["id"] for found in (await answer.json())["entitlements"]["ai_openscale"]]


@pytest.mark.parametrize("path", sorted(side_calls.HEARTBEATS))
async def test_the_heartbeat_needs_no_token_and_says_cloud(client, path):
    """The SDK asks without one; any other answer would make it turn the verification of certificates off."""
    answer = await client.get(path)
    assert (answer.status, await answer.json()) == (200, {"is_cloud": True})


@pytest.mark.parametrize("path", ["/v1/entitlements", f"/openscale/{guid(1)}/v2/monitor_definitions"])
async def test_everything_else_needs_a_token(client, path):
    """Who is not known is told nothing."""
    answer = await client.get(path)
    assert answer.status == 401
    assert (await answer.json())["errors"][0]["code"] == "NotAuthenticated"


async def test_there_are_no_monitors(client):
    """Whether there is such an instance or not: the answer tells nothing about it."""
    for number in (1, 99):
        answer = await client.get(f"/openscale/{guid(number)}/v2/monitor_definitions", headers=TOKEN)
        assert await answer.json() == {"monitor_definitions": []}


@pytest.mark.parametrize(
    ("may", "expected"),
    [
        (lambda access: False, []),
        (lambda access: access == Access("list", INSTANCES), [1, 2, 3]),
        (lambda access: access == Access("list", INSTANCES, "a"), [1, 2]),
        (lambda access: access == Access("get", INSTANCES, "a", "two"), [2]),
        (lambda access: access == Access("get", INSTANCES, "b", "thief"), [1]),
        (lambda access: access.verb == "get" and access.namespace == "b", [1, 3]),
    ],
    ids=["nothing", "everywhere", "namespace", "one", "what-one-claims-oneself", "by-name"],
)
async def test_entitled_to_what_one_may_look_at(client, rights, may, expected):
    """The instances that the caller may get or list, each id once, and no others."""
    rights.may = may
    assert [guid(number) for number in expected] == await entitled(client)


async def test_one_request_asks_for_so_many_rights_and_no_more(client, rights, world):
    """Whoever may nothing cannot make the gateway ask the API server without bound."""
    for number in range(10, 10 + 2 * side_calls.MOST_QUESTIONS):
        world.see(OpenScaleInstance.KIND, instance("c", f"i-{number}", number), gone=False)
    assert await entitled(client) == []
    assert len(rights.asked) == side_calls.MOST_QUESTIONS


async def test_who_makes_the_gateway_ask_much_is_charged_for_it(client, rights, world):
    """The same whatever there is: so it tells nothing. Who may list everywhere is one question, and not charged."""
    assert await entitled(client) == []
    for number in range(10, 10 + 2 * side_calls.MOST_QUESTIONS):
        world.see(OpenScaleInstance.KIND, instance("c", f"i-{number}", number), gone=False)
    assert await entitled(client) == []
    assert rights.costs == [side_calls.COST_OF_MANY_QUESTIONS] * 2
    rights.may = lambda access: access == Access("list", INSTANCES)
    assert len(await entitled(client)) > side_calls.MOST_QUESTIONS
    assert len(rights.costs) == 2


async def test_one_warning_a_minute_however_often_somebody_asks(client, world):
    """Nobody fills the log with what their lack of rights makes us say."""
    for number in range(10, 10 + 2 * side_calls.MOST_QUESTIONS):
        world.see(OpenScaleInstance.KIND, instance("c", f"i-{number}", number), gone=False)
    with structlog.testing.capture_logs() as logged:
        for _ in range(50):
            await entitled(client)
    assert len(logged) <= 2, "a minute may end meanwhile"
