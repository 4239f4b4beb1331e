"""The routes of data marts over HTTP: in which order things are done, and what is left where one of them fails."""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.caller import Access, Caller
from openscale_byok.core.openscale_pages import LONGEST
from openscale_byok.core.sealable import Sealable, from_datamart
from openscale_byok.errors import Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, Meta, OpenScaleInstance
from openscale_byok.shell.gateway import data_marts
from openscale_byok.shell.gateway.parts import PARTS
from openscale_byok.shell.gateway.requests import guard

GUID = "00000000-1111-2222-3333-444444444444"
BASE = f"/openscale/{GUID}/v2/data_marts"
CANARY = "canary-Zw5"
BODY: dict[str, Any] = {
    "name": "Scores",
    "database_configuration": {
        "database_type": "postgresql",
        "credentials": {"hostname": "db", "port": 5432, "db": "d", "username": "u", "password": CANARY},
        "location": {"schema_name": "s"},
    },
}
RENAME = [{"op": "replace", "path": "/name", "value": "Other"}]
PASSWORD = [{"op": "replace", "path": "/database_configuration/credentials/password", "value": CANARY}]
MOVE = [*PASSWORD, {"op": "replace", "path": "/database_configuration/credentials/hostname", "value": "elsewhere"}]


class Here:
    """Objects, giving, rights, pace and audit, all in memory; what is done to them is written down in order."""

    def __init__(self) -> None:
        self.marts: dict[str, dict[str, Any]] = {}
        self.known: dict[str, Sealable] = {}
        """What the replica's memory holds of them."""
        self.lists = False
        """Whether the caller may list data marts."""
        self.costs: list[float] = []
        self.budget = 1e9
        self.world = self
        self.done: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.heals = -1
        """After so many failures nothing fails any more."""
        self.denied: set[str] = set()
        self.lines: list[AuditEvent] = []
        spec = {"serviceInstanceId": GUID}
        self.held = OpenScaleInstance.of({"metadata": {"namespace": "a", "name": "prod"}, "spec": spec})

    def holders(self, id_: str) -> list[OpenScaleInstance]:
        return [self.held] if id_ == GUID else []

    async def caller(self, token: str, network: str = "") -> Caller:
        return Caller(token, "kubernetes")

    async def allowed(self, caller: Caller, access: Access) -> bool:
        return str(access) not in self.denied and (access.verb != "list" or (self.lists and bool(access.namespace)))

    def take(self, who: str, cost: float = 1.0) -> None:
        assert who == "alice"
        self.costs.append(cost)
        if sum(self.costs) > self.budget:
            raise Unavailable(Reason.TOO_MANY_REQUESTS, "ask less often", retry_after=1.0)

    def write(self, event: AuditEvent) -> None:
        self.lines.append(event)

    async def datamart(self, namespace: str, name: str) -> DataMart:
        self._do(f"read {name}")
        if name not in self.marts:
            raise Missing(Reason.CHANGED_MEANWHILE, "gone")
        return DataMart.of(self.marts[name])

    def sealables(self, key: tuple[str, str]) -> tuple[Sealable, ...]:
        assert key == ("a", "prod")
        return tuple(self.known.values())

    def see_stored(self, mart: DataMart) -> None:
        self.known[mart.metadata.name] = from_datamart(mart, GUID)

    async def until_gone(self, mart: DataMart, seconds: float) -> None:
        assert seconds > 0
        self.known.pop(mart.metadata.name, None)

    async def create(
        self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str]
    ) -> dict[str, Any]:
        self._do("create")
        return self.put(name, dict(spec), labels=dict(labels))

    async def patch_spec(self, kind: str, meta: Meta, spec: Mapping[str, Any]) -> dict[str, Any]:
        self._do(f"patch {dict(spec)}")
        found = self.marts[meta.name]["spec"]
        found |= {key: value for key, value in spec.items() if key != "database"}
        found["database"] |= spec.get("database", {})
        return copy.deepcopy(self.marts[meta.name])

    async def remove(self, kind: str, meta: Meta) -> None:
        self._do("remove")
        assert meta.uid
        del self.marts[meta.name]

    async def ready(self, key: tuple[str, str]) -> None:
        self._do("ready")

    async def give(self, seen: DataMart, password: bytes) -> DataMart:
        self._do(f"give {seen.spec.database.host}")
        assert password.decode().startswith(CANARY)
        return seen

    def put(self, name: str, spec: dict[str, Any], **meta: Any) -> dict[str, Any]:
        """A data mart as it is stored."""
        self.marts[name] = {"metadata": {"namespace": "a", "name": name, "uid": f"u-{name}", **meta}, "spec": spec}
        return copy.deepcopy(self.marts[name])

    def _do(self, what: str) -> None:
        self.done.append(what)
        error = self.fails.get(what.split(maxsplit=1)[0])
        if error is not None and self.heals:
            self.heals -= 1
            raise error


@pytest.fixture
def here() -> Here:
    """An instance without data marts."""
    return Here()


@pytest.fixture
async def client(here: Here) -> AsyncIterator[TestClient]:
    """The routes behind the gateway's own middleware."""
    app = web.Application(middlewares=[guard(here, here, here)])
    app[PARTS] = SimpleNamespace(rights=here, reader=here, objects=here, giving=here, pace=here)
    app.add_routes(data_marts.routes("/openscale/{instance}/v2"))
    async with TestClient(TestServer(app), headers={"Authorization": "Bearer alice"}) as found:
        yield found


async def ask(client: TestClient, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and body, in which there is never the password."""
    answer = await client.request(method, path, json=body)
    text = await answer.text()
    assert CANARY not in text
    assert answer.headers["X-Global-Transaction-ID"]
    return answer.status, await answer.json() if text else None


async def made(client: TestClient, here: Here) -> str:
    """The id of a data mart that was made over HTTP."""
    status, found = await ask(client, "POST", BASE, BODY)
    assert status == 202
    here.done.clear()
    here.lines.clear()
    return str(found["metadata"]["id"])


async def test_a_data_mart_is_made_once_its_password_can_be_sealed(client, here):
    """Asked first, made then, sealed at last; labelled as the gateway's, and without the password in its spec."""
    status, found = await ask(client, "POST", BASE, BODY)
    assert status == 202
    assert here.done == ["ready", "create", "give db"]
    (name,) = here.marts
    assert found["metadata"]["id"] == name
    assert here.marts[name]["metadata"]["labels"] == {"openscale.byok.dev/managed-by": "gateway"}
    assert CANARY not in str(here.marts)
    (line,) = here.lines
    assert (line.action, line.outcome, line.namespace, line.name) == ("datamart/create", "success", "a", name)


@pytest.mark.parametrize(
    ("step", "error", "status", "done"),
    [
        ("ready", Refused(Reason.KEY_DISABLED, "no"), 403, ["ready"]),
        ("create", Refused(Reason.INVALID_OBJECT, "no"), 400, ["ready", "create"]),
        ("give", Refused(Reason.KEY_DISABLED, "no"), 403, ["ready", "create", "give db", "remove"]),
        ("give", Unavailable(Reason.KEY_PROTECT_UNAVAILABLE, "away"), 503, ["ready", "create", "give db", "remove"]),
    ],
)
async def test_what_cannot_be_sealed_is_not_kept(client, here, step, error, status, done):
    """Whichever step fails, no data mart without a password stays behind, and the audit says that it failed."""
    here.fails[step] = error
    found, body = await ask(client, "POST", BASE, BODY)
    assert (found, body["errors"][0]["code"]) == (status, error.reason.value)
    assert here.done == done
    assert not here.marts
    assert {line.outcome for line in here.lines} <= {"failure", "denied"}


@pytest.mark.parametrize(
    ("patch", "done"),
    [
        (RENAME, ["patch {'displayName': 'Other'}"]),
        (PASSWORD, ["ready", "give db"]),
        (MOVE, ["ready", "patch {'database': {'host': 'elsewhere'}}", "give elsewhere"]),
        ([{"op": "replace", "path": "/name", "value": "Scores"}], []),
    ],
    ids=["rename", "password", "move", "nothing"],
)
async def test_a_change_is_stored_and_its_password_sealed_for_it(client, here, patch, done):
    """The spec first, the password for that spec then, and neither where it stays."""
    name = await made(client, here)
    status, found = await ask(client, "PATCH", f"{BASE}/{name}", patch)
    assert status == 200
    assert here.done == [f"read {name}", *done]
    assert found["metadata"]["id"] == name
    (line,) = here.lines
    assert line.action == ("datamart.password/set" if "ready" in done else "datamart/update")


async def test_a_password_that_cannot_be_sealed_changes_nothing(client, here):
    """Where the root key says no, the endpoint stays where it was, with the password that is sealed for it."""
    name = await made(client, here)
    here.fails["ready"] = Refused(Reason.KEY_DISABLED, "no")
    before = copy.deepcopy(here.marts)
    status, _ = await ask(client, "PATCH", f"{BASE}/{name}", MOVE)
    assert status == 403
    assert here.marts == before


async def test_a_change_begins_anew_where_the_object_changed_meanwhile(client, here):
    """The operator writes the status at any moment: the patch is about what is there then, and the caller is told
    nothing of it."""
    name = await made(client, here)
    here.fails["patch"] = Changed(Reason.CHANGED_MEANWHILE, "another")
    here.heals = 2
    status, _ = await ask(client, "PATCH", f"{BASE}/{name}", MOVE)
    assert status == 200
    patched = "patch {'database': {'host': 'elsewhere'}}"
    assert here.done == [*[f"read {name}", "ready", patched] * 3, "give elsewhere"]


async def test_a_change_that_is_always_overtaken_is_a_conflict(client, here):
    """Nothing of anybody else's is overwritten, no password is sealed for it, and it ends."""
    name = await made(client, here)
    here.fails["patch"] = Changed(Reason.CHANGED_MEANWHILE, "another")
    status, _ = await ask(client, "PATCH", f"{BASE}/{name}", MOVE)
    assert status == 409
    assert len(here.done) == 3 * data_marts.TRIES


async def test_only_the_gateways_own_are_deleted(client, here):
    """One that kubectl made is seen, and left alone: 409, and where to change it."""
    name = await made(client, here)
    here.put("by-hand", here.marts[name]["spec"])
    status, found = await ask(client, "GET", f"{BASE}/by-hand")
    assert (status, found["entity"]["name"]) == (200, "Scores")
    status, found = await ask(client, "DELETE", f"{BASE}/by-hand")
    assert (status, found["errors"][0]["code"]) == (409, "NotOurs")
    status, found = await ask(client, "PATCH", f"{BASE}/by-hand", RENAME)
    assert (status, found["errors"][0]["code"]) == (409, "NotOurs")
    status, _ = await ask(client, "DELETE", f"{BASE}/{name}")
    assert status == 204
    assert set(here.marts) == {"by-hand"}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["none", "other", "..%2Fother", "%2e%2e", "A", "a%00b", "x" * 300, "a%2Fstatus"])
async def test_what_is_not_of_this_instance_is_not_found(client, here, method, name):
    """Another instance's, none at all, or a name that would lead elsewhere: never anything but 404, and untouched."""
    await made(client, here)
    (mine,) = here.marts
    here.put("other", {**here.marts[mine]["spec"], "instanceRef": {"name": "another"}})
    before = copy.deepcopy(here.marts)
    status, found = await ask(client, method, f"{BASE}/{name}", RENAME if method == "PATCH" else None)
    assert (status, found["errors"][0]["code"]) in ((404, "NotFound"), (404, "InvalidRequest"))
    assert here.marts == before
    assert set(here.done) <= {"read none", "read other"}


@pytest.mark.parametrize(
    ("method", "denied"),
    [("GET", "get"), ("PATCH", "patch"), ("DELETE", "delete")],
)
async def test_each_verb_is_a_right_of_its_own(client, here, method, denied):
    """Who may not is told so before the data mart is read, and the refusal is audited."""
    name = await made(client, here)
    here.denied.add(f"{denied} datamarts/{name} in namespace a")
    status, found = await ask(client, method, f"{BASE}/{name}", RENAME if method == "PATCH" else None)
    assert (status, found["errors"][0]["code"]) == (403, "NotAllowed")
    assert here.done == []
    assert [line.outcome for line in here.lines] == ["denied"]


async def test_listing_and_making_are_rights_too(client, here):
    """Without them nothing is told and nothing made."""
    here.denied.add("create datamarts in namespace a")
    assert (await ask(client, "POST", BASE, BODY))[0] == 403
    assert (await ask(client, "GET", BASE))[0] == 403
    assert here.done == []


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
async def test_a_body_that_is_no_json_is_refused(client, body):
    """Nothing of it is repeated."""
    answer = await client.post(BASE, data=body)
    assert answer.status == 400
    assert (await answer.json())["errors"][0]["message"] == "the body must be JSON"


def crowd(here: Here, number: int) -> list[str]:
    """So many data marts that the replica knows of; their ids in order."""
    database = {"type": "PostgreSQL", "host": "db", "port": 5432, "name": "d", "schema": "s", "username": "u"}
    spec = {"instanceRef": {"name": "prod"}, "database": database}
    names = [f"mart-{n:04}" for n in range(number)]
    for name in reversed(names):
        here.see_stored(DataMart.of(here.put(name, copy.deepcopy(spec), creationTimestamp="2026-11-23T00:00:00Z")))
    here.lists = True
    return names


async def test_the_list_is_from_memory_and_has_all_as_the_sdk_expects(client, here):
    """Without a query: everything, in the order of the ids, each as it is shown alone; nobody is asked for it."""
    names = crowd(here, 130)
    status, found = await ask(client, "GET", BASE)
    assert status == 200
    assert set(found) == {"data_marts"}
    assert [mart["metadata"]["id"] for mart in found["data_marts"]] == names
    assert here.done == []
    assert found["data_marts"][7] == (await ask(client, "GET", f"{BASE}/{names[7]}"))[1]


@pytest.mark.parametrize(("number", "limit"), [(0, 10), (9, 10), (10, 10), (25, 10), (5, 1), (30, LONGEST)])
async def test_pages_have_each_data_mart_once(client, here, number, limit):
    """`next` leads from page to page; the last one has none. What is deleted meanwhile disturbs no other."""
    names, path, seen = crowd(here, number), f"{BASE}?limit={limit}", []
    while path:
        status, page = await ask(client, "GET", path)
        assert (status, page["limit"]) == (200, limit)
        assert len(page["data_marts"]) <= limit
        seen += [mart["metadata"]["id"] for mart in page["data_marts"]]
        path = page.get("next", {}).get("href", "")
        if seen:
            here.known.pop(seen[0], None)
    assert seen == names


@pytest.mark.parametrize("limit", ["0", "-1", str(LONGEST + 1), "1e2", "ten", "", "%D9%A1", "1_0", "%201", "9" * 5_000])
async def test_a_limit_that_is_none_is_refused(client, here, limit):
    """With what to send instead."""
    crowd(here, 1)
    status, found = await ask(client, "GET", f"{BASE}?limit={limit}")
    assert (status, found["errors"][0]["code"]) == (400, "InvalidRequest")
    assert f"1 to {LONGEST}" in found["errors"][0]["message"]


async def test_a_list_is_charged_by_its_length(client, here):
    """A thousand data marts count as many requests, a page of few as one. Who has used up theirs is told to wait,
    before anything is written."""
    crowd(here, 1_000)
    await ask(client, "GET", f"{BASE}?limit=10")
    assert here.costs == [1.0]
    await ask(client, "GET", BASE)
    assert here.costs == [1.0, 1.0, 1_000 / data_marts.MARTS_OF_A_REQUEST]
    here.budget = sum(here.costs) + 2
    status, found = await ask(client, "GET", BASE)
    assert (status, found["errors"][0]["code"]) == (429, "TooManyRequests")


async def test_a_long_list_lets_others_be_answered_in_between(client, here, monkeypatch):
    """It is written in slices, and gives way after each."""
    crowd(here, 1_000)
    turns, sleep = [], asyncio.sleep

    async def counted(seconds: float) -> None:
        turns.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(data_marts.asyncio, "sleep", counted)
    assert (await ask(client, "GET", BASE))[0] == 200
    assert turns.count(0) >= 1_000 / data_marts.SLICE


async def test_what_was_written_here_shows_in_the_next_list(client, here):
    """Made, changed, deleted: whoever was answered sees it in the list, whatever the watch has told by then."""
    here.lists = True
    name = await made(client, here)
    assert [mart["entity"]["name"] for mart in (await ask(client, "GET", BASE))[1]["data_marts"]] == ["Scores"]
    await ask(client, "PATCH", f"{BASE}/{name}", RENAME)
    assert [mart["entity"]["name"] for mart in (await ask(client, "GET", BASE))[1]["data_marts"]] == ["Other"]
    await ask(client, "DELETE", f"{BASE}/{name}")
    assert (await ask(client, "GET", BASE))[1] == {"data_marts": []}
