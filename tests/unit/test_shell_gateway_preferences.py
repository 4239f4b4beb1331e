"""Requests that change a root key at once, on as many replicas: every order in which their calls can arrive."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import product
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from openscale_byok.core.audit import Action
from openscale_byok.core.preferences import LABELS, current
from openscale_byok.errors import Changed, Missing
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import Meta, OpenScaleInstance, RootKeyBinding
from openscale_byok.shell.gateway import preferences
from openscale_byok.shell.gateway.parts import PARTS
from openscale_byok.shell.gateway.requests import ASKED, Asked

CRN = "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:11111111-2222-4333-8444-555555555555:key:"
A, B, C, FORMER = (f"{CRN}00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3, 4))
INSTANCE = OpenScaleInstance.of(
    {
        "metadata": {"namespace": "n", "name": "i"},
        "spec": {
            "serviceInstanceId": "0a1b2c3d-0000-4000-8000-000000000001",
            "credentials": {"apiKeySecretRef": {"name": "kp", "key": "apikey"}},
        },
    }
)


class Cluster:
    """The bindings, for every replica. All that is made is made in one second."""

    def __init__(self, *root_keys: str, held: bool) -> None:
        self.held = held
        """Whether a deleted binding stays for a while, by the operator's finalizer."""
        self.bindings: dict[str, dict[str, Any]] = {}
        for number, root_key in enumerate(root_keys):
            self._put(f"former-{number}", root_key, "2026-01-01T00:00:00Z")

    def create(self, name: str, spec: Mapping[str, Any]) -> None:
        """Somebody makes one."""
        if name in self.bindings:
            raise Changed(Reason.CHANGED_MEANWHILE, "it exists")
        self._put(name, spec["rootKey"]["crn"], "2026-02-01T00:00:00Z")

    def remove(self, meta: Meta) -> None:
        """Somebody deletes one."""
        if meta.name not in self.bindings:
            raise Missing(Reason.NOT_FOUND, "gone")
        if self.held:
            self.bindings[meta.name]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"
        else:
            del self.bindings[meta.name]

    def staying(self) -> list[RootKeyBinding]:
        """Those that are not being deleted."""
        found = [RootKeyBinding.of(raw) for raw in self.bindings.values()]
        return [binding for binding in found if not binding.metadata.deleting]

    def _put(self, name: str, root_key: str, made: str) -> None:
        meta = {"name": name, "namespace": "n", "labels": LABELS, "creationTimestamp": made}
        self.bindings[name] = {"metadata": meta, "spec": {"instanceRef": {"name": "i"}, "rootKey": {"crn": root_key}}}


class Replica:
    """One request on a replica of its own; each of its calls waits for its turn to arrive at the API server."""

    def __init__(self, cluster: Cluster, wanted: str | None) -> None:
        self._cluster = cluster
        self._turn, self._calls = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._ask(wanted))
        self.task.add_done_callback(lambda _: self._calls.set())

    async def bindings(self, namespace: str, instance: str) -> Listing[RootKeyBinding]:
        await self._wait()
        return Listing(1, tuple(RootKeyBinding.of(raw) for raw in self._cluster.bindings.values()))

    async def create(self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], labels: Any) -> None:
        await self._wait()
        self._cluster.create(name, spec)

    async def remove(self, kind: str, meta: Meta) -> None:
        await self._wait()
        self._cluster.remove(meta)

    async def describe(self, binding: RootKeyBinding, credentials: object) -> None:
        return None

    def conflict(self, key: tuple[str, str]) -> None:
        return None

    async def arrive(self) -> None:
        """Let its next call arrive, and go on until it makes another one, or is done."""
        await self._calls.wait()
        self._calls.clear()
        self._turn.set()
        await self._calls.wait()
        if self.task.done():
            assert isinstance(self.task.exception(), Changed | None)

    async def _wait(self) -> None:
        self._turn.clear()
        self._calls.set()
        await self._turn.wait()

    async def _ask(self, wanted: str | None) -> bool:
        app, asked = web.Application(), Asked("t", source="", name="")
        app[PARTS] = SimpleNamespace(
            reader=SimpleNamespace(world=self, describe=self.describe), store=self, objects=self
        )
        asked.about(Action.BINDING_CREATED, RootKeyBinding.KIND, "", "")
        request = make_mocked_request("PUT", "/", app=app)
        request[ASKED] = asked
        return await preferences._hold(request, INSTANCE, wanted)


async def played(cluster: Cluster, wishes: tuple[str | None, ...], order: Iterator[int]) -> Cluster:
    """Let the calls arrive in this order, and what is left after it one request after the other."""
    replicas = [Replica(cluster, wanted) for wanted in wishes]
    bound = bool(cluster.staying())
    while running := [replica for replica in replicas if not replica.task.done()]:
        chosen = replicas[next(order, 0)]
        await (running[0] if chosen.task.done() else chosen).arrive()
        if bound and None not in wishes:
            assert cluster.staying(), "nothing is bound for a moment: everything would go under the global key"
    return cluster


def orders() -> Iterator[Iterator[int]]:
    """Every order of two requests' calls in which the turn changes three times, after up to four calls each."""
    for first, *lengths in product((0, 1), range(1, 5), range(1, 5), range(1, 5)):
        turns = [[(first + number) % 2] * length for number, length in enumerate(lengths)]
        yield iter([turn for some in turns for turn in some])


@pytest.mark.parametrize("held", [False, True], ids=["gone-at-once", "held"])
@pytest.mark.parametrize("start", [(), (A,), (A, B)], ids=lambda s: "".join(k[-1] for k in s) or "none")
@pytest.mark.parametrize("wishes", [(A, B), (A, A)], ids=["two-root-keys", "one-root-key"])
async def test_two_at_once_leave_one_binding(wishes, start, held):
    """Whatever the order of their calls: one binding stays, to a root key that was asked for; and never none."""
    for order in orders():
        cluster = await played(Cluster(*start, held=held), wishes, order)
        (kept,) = cluster.staying()
        assert kept.root_key in wishes
        assert current(INSTANCE, cluster.staying()) == kept.root_key


@pytest.mark.parametrize("held", [False, True], ids=["gone-at-once", "held"])
async def test_one_that_takes_it_back_at_the_same_time(held):
    """A DELETE beside a PUT: what was asked for, or nothing, and never a former one."""
    for order in orders():
        cluster = await played(Cluster(FORMER, held=held), (A, None), order)
        assert {binding.root_key for binding in cluster.staying()} <= {A}


@pytest.mark.parametrize("held", [False, True], ids=["gone-at-once", "held"])
async def test_three_at_once(held):
    """In a hundred orders by chance."""
    for seed in range(100):
        order = Random(seed).choices(range(3), k=50)  # noqa: S311 -- no secret
        cluster = await played(Cluster(FORMER, held=held), (A, B, C), iter(order))
        (kept,) = cluster.staying()
        assert kept.root_key in (A, B, C)
