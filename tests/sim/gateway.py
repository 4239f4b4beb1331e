"""A replica of the gateway on the simulated cluster: its reader and what it seals, every call at the process's gate."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from openscale_byok.adapters import global_key
from openscale_byok.engine.context import Context, Tuning
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.giving import Giving
from openscale_byok.engine.opening import Opened
from openscale_byok.engine.reader import Reader
from openscale_byok.errors import Changed
from openscale_byok.reasons import Reason
from openscale_byok.resources import KINDS, DataMart, Meta

from .cluster import Cluster, Event, Raw
from .gate import Process
from .loop import LoopClock, VirtualLoop
from .operator import GLOBAL_KEY_SECRET, LOG, OWN_NAMESPACE, GatedCluster, Lines, Secrets
from .root_keys import GatedRootKeys, Vault


class GatedObjects:
    """`ports.Objects` behind the gate."""

    def __init__(self, process: Process, cluster: Cluster) -> None:
        self._process = process
        self._cluster = cluster

    async def datamart(self, namespace: str, name: str) -> DataMart:
        effect = partial(self._cluster.get, DataMart.KIND, namespace, name)
        return DataMart.of(await self._process.ask(f"read DataMart {name}", effect))

    async def create(
        self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str]
    ) -> Raw:
        def effect() -> Raw:
            if self._cluster.find(kind, namespace, name) is not None:
                raise Changed(Reason.CHANGED_MEANWHILE, f"{name} exists")
            return self._cluster.create(kind, namespace, name, dict(spec))

        return await self._process.ask(f"create {kind} {name}", effect)

    async def patch_spec(self, kind: str, meta: Meta, spec: Mapping[str, Any]) -> Raw:
        raise NotImplementedError

    async def remove(self, kind: str, meta: Meta) -> None:
        await self._process.ask(f"delete {kind}", partial(self._cluster.delete, kind, meta.namespace, meta.name))


class Gateway:
    """One run of a replica."""

    def __init__(self, name: str, loop: VirtualLoop, cluster: Cluster, vault: Vault, tuning: Tuning) -> None:
        self.process = Process(name)
        self.events: list[Event] = []
        self.hears: Callable[[Event], bool] = lambda _: True
        self._loop, self._cluster = loop, cluster
        clock = LoopClock(loop)
        store = GatedCluster(self.process, cluster)
        key = global_key.GlobalKey(Secrets(cluster), OWN_NAMESPACE, GLOBAL_KEY_SECRET)
        with self.process.running():
            root_keys = GatedRootKeys(self.process, vault, key)
            audit = Lines(self.process, [])
            context = Context(store, store, root_keys, clock, DataKeys(clock), audit, tuning, (LOG,), lambda: 0.5)
            self.reader = Reader(context)
            self._giving = Giving(context, self.reader, GatedObjects(self.process, cluster))
            self._main = loop.create_task(self.reader.serve())
        for kind in KINDS:
            self.events += [Event(kind.KIND, raw, gone=False) for raw in cluster.all(kind.KIND)]
        cluster.watchers.append(self.events.append)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.alive

    def crash(self) -> None:
        """kill -9."""
        self.process.crash()
        self._loop.run_ready()

    def busy(self) -> bool:
        """Whether something may go on without time going on."""
        return self.alive and bool(self.process.pending or any(map(self.hears, self.events)))

    def deliver_heard(self) -> None:
        """Let every event arrive that is heard; the others wait."""
        heard = [event for event in self.events if self.hears(event)]
        self.events[:] = [event for event in self.events if event not in heard]
        for event in heard:
            with self.process.running():
                self._loop.call_soon(partial(self.reader.see, event.kind, event.raw, gone=event.gone))

    def give(self, mart: Raw, password: bytes) -> "asyncio.Task[DataMart]":
        """A request that gives a password for a data mart as it was seen."""
        with self.process.running():
            return self._loop.create_task(self._giving.give(DataMart.of(mart), password))

    def open(self, namespace: str, name: str) -> "asyncio.Task[Opened]":
        """A request that reads a password."""
        with self.process.running():
            return self._loop.create_task(self.reader.open(DataMart.KIND, namespace, name))
