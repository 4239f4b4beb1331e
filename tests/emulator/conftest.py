"""One emulator for the whole tier, an instance and a customer for each test, and IBM's suite running meanwhile."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from key_protect_emulator.control import Emulator, Instance

APIKEY = "urn:ibm:params:oauth:grant-type:apikey"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def resource(self) -> Any:
        return self.json["resources"][0]

    @property
    def code(self) -> str:
        """Key Protect's reason code, or "" where the answer holds none."""
        return self.resource.get("reasons", [{"code": ""}])[0]["code"]

    @property
    def outcome(self) -> tuple[int, str]:
        return self.status, self.code if self.status >= 400 else ""


@dataclass
class Customer:
    """Speaks to Key Protect as curl would: no content type, no retries, a token bought when needed."""

    emulator: Emulator
    instance: Instance
    api_key: str
    token: str = field(default="", repr=False)

    def renew(self) -> "Customer":
        self.token = self.emulator.token(self.api_key)
        return self

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        own = {"Authorization": f"Bearer {self.token}", "Bluemix-Instance": self.instance.id}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return send(self.emulator.url, method, "/api/v2" + path, raw, own)

    def act(self, key: str, action: str, body: Any = None) -> Reply:
        return self.call("POST", f"/keys/{quote(key, safe='')}/actions/{action}", body)

    def create(self, name: str = "key", **fields: Any) -> Reply:
        return self.call("POST", "/keys", envelope({"name": name, "extractable": False, **fields}))

    def root_key(self, **fields: Any) -> str:
        """The id of a new root key."""
        return self.create(**fields).resource["id"]

    def state(self, key: str) -> int:
        return self.call("GET", f"/keys/{key}/metadata").resource["state"]

    def wrap(self, key: str, **body: Any) -> Any:
        return self.act(key, "wrap", body).json


def envelope(*resources: Any, total: int | None = None) -> dict[str, Any]:
    return {"metadata": {"collectionTotal": total or len(resources)}, "resources": list(resources)}


def send(url: str, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Reply:
    where = urlsplit(url)
    with closing(HTTPConnection(where.hostname or "", where.port, timeout=30)) as connection:
        connection.request(method, path, body, headers or {})
        with closing(connection.getresponse()) as response:
            return Reply(response.status, dict(response.headers), response.read())


def ask_token(url: str, path: str = "/identity/token", **form: str) -> Reply:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return send(url, "POST", path, urlencode(form).encode(), headers)


@pytest.fixture
def customer(emulator: Emulator) -> Customer:
    """May do everything, in an instance of the test's own."""
    return Customer(emulator, emulator.create_instance(), emulator.api_key).renew()


@pytest.fixture
def wire() -> SimpleNamespace:
    """The building blocks above, for tests that need them bare."""
    return SimpleNamespace(Customer=Customer, Reply=Reply, envelope=envelope, send=send, ask_token=ask_token)


# -- IBM's own suite sleeps for a minute: it starts with the first test of this tier and is asked last.


def _asks_ibm(item: pytest.Item) -> bool:
    return "ibm_suite" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last = [item for item in items if _asks_ibm(item)]
    items[:] = [item for item in items if item not in last] + last


@pytest.fixture(scope="session")
def ibm_suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Any]]:
    """The outcome of IBM's suite, once it is there."""
    module = next(item.module for item in request.session.items if _asks_ibm(item))
    folder = tmp_path_factory.mktemp("ibm-suite")
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(module.run_ibm_suite, folder)


@pytest.fixture(scope="session", autouse=True)
def _ibm_suite_early(request: pytest.FixtureRequest) -> None:
    if any(_asks_ibm(item) for item in request.session.items):
        request.getfixturevalue("ibm_suite")
