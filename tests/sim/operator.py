"""The real engine in a process of its own, started as the composition root starts it, behind gates."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from openscale_byok.adapters import global_key
from openscale_byok.core.audit import AuditEvent
from openscale_byok.core.global_names import of_datamart, of_instance
from openscale_byok.core.sealable import Sealable, from_datamart
from openscale_byok.core.source import Source
from openscale_byok.engine.context import Context, Tuning
from openscale_byok.engine.data_keys import DataKeys
from openscale_byok.engine.reconciler import Engine
from openscale_byok.engine.scope import WentBack
from openscale_byok.errors import ByokError
from openscale_byok.ports import Listing
from openscale_byok.reasons import Reason
from openscale_byok.resources import KINDS, DataMart, Meta, OpenScaleInstance, RootKeyBinding
from openscale_byok.shell.key_log import KeyLog

from .cluster import Cluster, Event, Raw
from .gate import Process
from .loop import LoopClock, VirtualLoop
from .root_keys import GatedRootKeys, Vault

LOG = KeyLog()
OWN_NAMESPACE, GLOBAL_KEY_SECRET = "openscale-byok", "global-key"


class GatedCluster:
    """The ports `Store` and `SourceReader` for one process."""

    def __init__(self, process: Process, cluster: Cluster) -> None:
        self._process, self._cluster = process, cluster

    async def instance(self, namespace: str, name: str) -> OpenScaleInstance:
        raw = await self._ask("get instance", self._cluster.get, OpenScaleInstance.KIND, namespace, name)
        return OpenScaleInstance.of(raw)

    async def instances(self) -> Listing[OpenScaleInstance]:
        version, items = await self._ask("list instances", self._list, OpenScaleInstance.KIND, "")
        return Listing(version, tuple(map(OpenScaleInstance.of, items)))

    async def version(self) -> int:
        return self._cluster.version  # no gate: it has no effect, and no step waits for it

    async def bindings(self, namespace: str, instance: str) -> Listing[RootKeyBinding]:
        version, items = await self._ask("list bindings", self._list, RootKeyBinding.KIND, instance)
        return Listing(version, tuple(RootKeyBinding.of(raw) for raw in items if _in(raw, namespace)))

    async def datamarts(self, namespace: str, instance: str) -> Listing[DataMart]:
        version, items = await self._ask("list datamarts", self._list, DataMart.KIND, instance)
        return Listing(version, tuple(DataMart.of(raw) for raw in items if _in(raw, namespace)))

    async def sealables(self, namespace: str, instance: str, service_instance_id: str) -> Listing[Sealable]:
        marts = await self.datamarts(namespace, instance)
        return Listing(marts.version, tuple(from_datamart(mart, service_instance_id) for mart in marts.items))

    async def patch_status(self, kind: str, meta: Meta, status: Mapping[str, Any]) -> Raw:
        return await self._ask(f"patch status {meta.name}", self._cluster.patch_status, kind, meta, status)

    async def patch_finalizers(self, kind: str, meta: Meta, finalizers: Sequence[str]) -> Raw:
        return await self._ask(f"patch finalizers {meta.name}", self._cluster.patch_finalizers, kind, meta, finalizers)

    async def announce(self, kind: str, meta: Meta, reason: Reason, message: str) -> None:
        try:
            await self._ask("announce", self._cluster.announce, kind, meta, reason, message)
        except ByokError:
            return

    async def read(self, namespace: str, name: str) -> Source:
        return await self._ask(f"read Secret {name}", self._cluster.read_secret, namespace, name)

    async def delete(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        effect = self._cluster.delete_secret
        await self._ask(f"delete Secret {name}", effect, namespace, name, uid, resource_version)

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        return await self._ask(f"create Secret {name}", self._cluster.create_secret, namespace, name, values)

    async def _ask(self, name: str, effect, *args: Any) -> Any:
        return await self._process.ask(name, partial(effect, *args))

    def _list(self, kind: str, instance: str) -> tuple[int, list[Raw]]:
        return self._cluster.version, self._cluster.all(kind, instance)


class Lines:
    """The port `Audit`: each line at once, unless it is refused as any call may be."""

    def __init__(self, process: Process, lines: list[AuditEvent]) -> None:
        self._process, self._lines = process, lines

    def write(self, event: AuditEvent) -> None:
        refusal = next((e for name, e in self._process.forbidden.items() if name == "audit"), None)
        if refusal is not None:
            raise refusal
        if self._process.alive:
            self._lines.append(event)


class Secrets:
    """The global key's Secret behind a gate that is the root key's own: it answers at once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(self, namespace: str, name: str) -> Source:
        return self._cluster.read_secret(namespace, name)

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        return self._cluster.create_secret(namespace, name, values)


class Operator:
    """One run of the operator, from its start to its crash."""

    def __init__(self, name: str, loop: VirtualLoop, cluster: Cluster, vault: Vault, tuning: Tuning) -> None:
        self.process = Process(name)
        self.events: list[Event] = []
        self.audited: list[AuditEvent] = []
        """Its audit, line by line."""
        self.engine: Engine | None = None
        self.hears: Callable[[Event], bool] = lambda _: True
        """Which events arrive in `World.run`; the others wait."""
        self._loop, self._cluster, self._vault, self._tuning = loop, cluster, vault, tuning
        self._watch = self.events.append
        with self.process.running():
            self._main = loop.create_task(self._run())

    @property
    def alive(self) -> bool:
        """Whether it runs. One that could not start, or met a restored cluster, ended by itself.

        Raises whatever else ended it: nothing else may.
        """
        if self.process.alive and self._main.done():
            self.crash()
            error = None if self._main.cancelled() else self._main.exception()
            if error is not None and not isinstance(error, (ByokError, WentBack)):
                raise error
        return self.process.alive

    def crash(self) -> None:
        """kill -9."""
        if self._watch in self._cluster.watchers:
            self._cluster.watchers.remove(self._watch)
        self.events.clear()
        self.process.crash()
        self._loop.run_ready()

    def deliver_heard(self) -> None:
        """Let every event arrive that may."""
        waiting = [event for event in self.events if not self.hears(event)]
        heard = [event for event in self.events if self.hears(event)]
        self.events[:] = heard
        while self.events and self.engine is not None:
            self.deliver()
        self.events[:] = self.events + waiting

    def busy(self) -> bool:
        """Whether something may go on without time going on."""
        return self.alive and bool(self.process.pending or any(self.hears(event) for event in self.events))

    def deliver(self, number: int = 0) -> None:
        """Let an event of the watch arrive."""
        event = self.events.pop(number % len(self.events))
        if self.engine is not None:
            with self.process.running():
                self._loop.call_soon(partial(self.engine.see, event.kind, event.raw, gone=event.gone))

    async def _run(self) -> None:
        store = GatedCluster(self.process, self._cluster)
        instances = await store.instances()

        async def naming() -> dict[str, str]:
            found = [one for instance in instances.items for one in of_instance(instance)]
            found += filter(None, map(of_datamart, map(DataMart.of, self._cluster.all(DataMart.KIND))))
            return {one.version: one.where for one in found}

        await global_key.create_once(store, OWN_NAMESPACE, GLOBAL_KEY_SECRET, naming)
        key = global_key.GlobalKey(Secrets(self._cluster), OWN_NAMESPACE, GLOBAL_KEY_SECRET)
        clock = LoopClock(self._loop)
        root_keys = GatedRootKeys(self.process, self._vault, key)
        audit = Lines(self.process, self.audited)
        context = Context(
            store, store, root_keys, clock, DataKeys(clock, (LOG,)), audit, self._tuning, (LOG,), lambda: 0.5
        )
        self.engine = Engine(context)
        for instance in instances.items:
            self.engine.world.know(instance)
        for kind in KINDS:
            self.events += [Event(kind.KIND, raw, gone=False) for raw in self._cluster.all(kind.KIND)]
        self._cluster.watchers.append(self._watch)
        await self.engine.serve()


def _in(raw: Raw, namespace: str) -> bool:
    return bool(raw["metadata"]["namespace"] == namespace)
