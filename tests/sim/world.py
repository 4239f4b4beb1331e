"""The whole simulated world: what a user may do, what goes wrong, and the way to rest."""

import copy
from collections.abc import Callable
from typing import Any

import structlog

from openscale_byok.core.key_state import KeyState
from openscale_byok.core.source import Source
from openscale_byok.engine.context import Tuning
from openscale_byok.resources import HANDOVER_KEY, HANDOVER_TYPE, DataMart, OpenScaleInstance, RootKeyBinding

from .checks import Checks
from .cluster import Cluster, Raw
from .gate import task_factory
from .gateway import Gateway
from .loop import LoopClock, VirtualLoop
from .operator import Operator
from .root_keys import RootKey, Vault

NAMESPACE, INSTANCE = "prod", "openscale"
SERVICE_INSTANCE_ID = "0a1b2c3d-0000-4000-8000-000000000001"
_CRN = "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:{0}:key:{1}"
CRNS = {
    letter: _CRN.format("11111111-2222-4333-8444-555555555555", f"00000000-0000-4000-8000-00000000000{number}")
    for number, letter in enumerate("ABC")
}
QUIET_SECONDS = 800.0
"""Longer than any interval of the operator's (a relist every 600 s): whoever is silent so long is at rest."""
TUNING = Tuning(key_poll_seconds=200.0, lookout_seconds=200.0, source_refresh_seconds=300.0, writes_in_flight=4)


class World:
    """A cluster, root keys, and as many operators as there are."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.loop.set_task_factory(task_factory)
        self.loop.set_exception_handler(self._unhandled)
        clock = LoopClock(self.loop)
        self.cluster = Cluster(lambda: clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.vault = Vault()
        self.operators: list[Operator] = []
        self.gateways: list[Gateway] = []
        self.checks = Checks(self.cluster, self.vault)
        self.cluster.canaries = self.vault.canaries
        self.cluster.on_change.append(self.checks)
        self.cluster.on_consume.append(self._consumed)
        self.unhandled: list[str] = []
        self.tuning = TUNING
        self._passwords = self._started = 0
        structlog.configure(processors=[self._logged], cache_logger_on_first_use=False)

    def close(self) -> None:
        """End everything."""
        for each in (*self.operators, *self.gateways):
            each.crash()
        self.loop.run_ready()
        self.loop.close()
        structlog.reset_defaults()

    # Operators -----------------------------------------------------------------------------------------

    def start(self) -> Operator:
        """Start an operator, with an empty memory."""
        self._started += 1
        made = Operator(f"operator-{self._started}", self.loop, self.cluster, self.vault, self.tuning)
        self.operators.append(made)
        self.loop.run_ready()
        return made

    def start_gateway(self) -> Gateway:
        """Start a replica of the gateway, with an empty memory. It works where it is named in `run` and `wait`."""
        made = Gateway(f"gateway-{len(self.gateways) + 1}", self.loop, self.cluster, self.vault, self.tuning)
        self.gateways.append(made)
        self.loop.run_ready()
        return made

    def living(self) -> list[Operator]:
        """Those that run."""
        self.operators = [operator for operator in self.operators if operator.alive]
        assert not self.unhandled, self.unhandled
        return self.operators

    def run(self, *operators: Operator | Gateway, limit: int = 1_500) -> None:
        """Let them work until all wait for time: events arrive in order, calls are answered in order."""
        for _ in range(limit):
            busy = [operator for operator in operators or self.living() if operator.busy()]
            if not busy:
                return
            for operator in busy:
                operator.deliver_heard()
                self.loop.run_ready()
                if operator.process.pending:
                    operator.process.whole()
                self.loop.run_ready()
            self.living()
        names = [call.name for o in self.operators for call in o.process.pending]
        raise AssertionError(f"does not come to rest: {names}")

    def wait(self, seconds: float, *operators: Operator | Gateway) -> None:
        """Let time pass, and them (or everyone) work meanwhile."""
        until = self.loop.time() + seconds
        while True:
            self.run(*operators)
            timer = self.loop.next_timer()
            if timer is None or timer > until:
                break
            self.loop.jump(timer)
        self.loop.jump(until)
        self.run(*operators)

    def settle(self, limit: int = 12) -> None:
        """Let time pass until nobody has written anything for long."""
        for _ in range(limit):
            before = self.cluster.writes
            if not self.living():
                self.start()
            for operator in self.operators:
                operator.hears = lambda _: True
            self.wait(QUIET_SECONDS)
            if self.cluster.writes == before:
                return
        raise AssertionError("never stops writing")

    # The user ------------------------------------------------------------------------------------------

    def create_instance(self, **spec: Any) -> None:
        """A new instance."""
        made = {"serviceInstanceId": SERVICE_INSTANCE_ID, "dataKeyRevision": 0, **spec}
        self.cluster.create(OpenScaleInstance.KIND, NAMESPACE, INSTANCE, made)

    def change_instance(self, **spec: Any) -> None:
        """Change its spec."""
        self.cluster.change_spec(OpenScaleInstance.KIND, NAMESPACE, INSTANCE, spec)

    def delete_instance(self) -> None:
        """kubectl delete, without waiting."""
        self.cluster.delete(OpenScaleInstance.KIND, NAMESPACE, INSTANCE)

    def instance(self) -> Raw:
        """As it is stored."""
        return self.cluster.get(OpenScaleInstance.KIND, NAMESPACE, INSTANCE)

    def bind(self, name: str, letter: str) -> None:
        """A binding to one of the root keys."""
        credentials = {"apiKeySecretRef": {"name": "api-key", "key": "apikey"}}
        spec = {"instanceRef": {"name": INSTANCE}, "rootKey": {"crn": CRNS[letter]}, "credentials": credentials}
        self.cluster.create(RootKeyBinding.KIND, NAMESPACE, name, spec)

    def unbind(self, name: str) -> None:
        """Delete a binding."""
        self.cluster.delete(RootKeyBinding.KIND, NAMESPACE, name)

    def binding(self, name: str) -> Raw | None:
        """As it is stored."""
        return self.cluster.find(RootKeyBinding.KIND, NAMESPACE, name)

    def root_key(self, letter: str) -> RootKey:
        """The customer's side of a root key."""
        return self.vault.key(CRNS[letter])

    def give(self, mart: str, *, handover: bool) -> bytes:
        """Write a new password into a data mart's Secret."""
        self._passwords += 1
        password = f"canary-password-{self._passwords}"
        self.vault.canaries.add(password)
        type_ = HANDOVER_TYPE if handover else "Opaque"
        before = self.cluster.secrets.get((NAMESPACE, f"pw-{mart}"))
        self.checks.given(mart, password.encode(), self._endpoint(mart))
        if before is not None and before.type != type_:
            del self.cluster.secrets[NAMESPACE, f"pw-{mart}"]  # a type is immutable: replaced in one go
        self.cluster.put_secret(NAMESPACE, f"pw-{mart}", {HANDOVER_KEY: password.encode()}, type_)
        return password.encode()

    def create_mart(self, name: str, host: str = "db.example.com") -> None:
        """A data mart whose password is in the Secret of its name."""
        ref = {"name": f"pw-{name}", "key": HANDOVER_KEY}
        database = {
            "type": "PostgreSQL", "host": host, "port": 5432, "name": "marts", "schema": "openscale",
            "username": name, "tls": "VerifyFull", "password": {"secretRef": ref, "revision": 0},
        }  # fmt: skip
        source = self.cluster.secrets.get((NAMESPACE, f"pw-{name}"))
        if source is not None:
            self.checks.given(name, source.values[HANDOVER_KEY], host)
        spec = {"instanceRef": {"name": INSTANCE}, "database": database}
        self.cluster.create(DataMart.KIND, NAMESPACE, name, spec)

    def move_mart(self, name: str, host: str) -> None:
        """Send its password elsewhere, which is allowed only while the password is given anew."""
        self.cluster.change_spec(DataMart.KIND, NAMESPACE, name, {"database": {"host": host}})
        source = self.cluster.secrets.get((NAMESPACE, f"pw-{name}"))
        if source is not None:
            self.checks.allow(source.values[HANDOVER_KEY], host)

    def revise_mart(self, name: str) -> None:
        """Ask for a new look at the source."""
        revision = self.mart(name)["spec"]["database"]["password"]["revision"]
        self.cluster.change_spec(DataMart.KIND, NAMESPACE, name, {"database": {"password": {"revision": revision + 1}}})

    def delete_mart(self, name: str) -> None:
        """Delete a data mart, and its Secret after it."""
        self.checks.forget(name)
        self.cluster.delete(DataMart.KIND, NAMESPACE, name)
        if (NAMESPACE, f"pw-{name}") in self.cluster.secrets:
            self.cluster.drop_secret(NAMESPACE, f"pw-{name}")

    def remove_mart(self, name: str) -> bool:
        """Delete a data mart, and let its Secret be; whether it is gone at once."""
        self.cluster.delete(DataMart.KIND, NAMESPACE, name)
        gone = self.cluster.find(DataMart.KIND, NAMESPACE, name) is None
        if gone:
            self.checks.forget(name)
        return gone

    def remake_mart(self, name: str) -> bool:
        """Make a data mart anew once it is gone, as its owner does who finds its Secret there; whether that was so."""
        if self.cluster.find(DataMart.KIND, NAMESPACE, name) is not None or not self.secret(name):
            return False
        self.checks.forget(name)
        self.create_mart(name)
        return True

    def secret(self, name: str) -> bool:
        """Whether the Secret of a data mart is there."""
        return (NAMESPACE, f"pw-{name}") in self.cluster.secrets

    def snapshot(self) -> Callable[[], None]:
        """Keep the cluster as it is; how to put it back. No watch says anything of that."""
        cluster = self.cluster
        kept = copy.deepcopy((cluster.objects, cluster.secrets, cluster.version, self.checks.newest))

        def put_back() -> None:
            objects, secrets, cluster.version, newest = copy.deepcopy(kept)
            for stored, then in ((cluster.objects, objects), (cluster.secrets, secrets), (self.checks.newest, newest)):
                stored.clear()
                stored.update(then)
            for operator in self.operators:
                operator.events.clear()

        return put_back

    def remove_source(self, name: str) -> bool:
        """Delete a kept source, if the data mart says that just this one is safely sealed."""
        raw, source = self.mart(name), self.cluster.secrets.get((NAMESPACE, f"pw-{name}"))
        mart = DataMart.of(raw)
        ready = next((c for c in mart.status.conditions if c.type == "Ready"), None)
        sealed = mart.status.sealed_password
        if source is None or source.handover or ready is None or ready.status != "True" or sealed is None:
            return False
        if sealed.source is None or mart.status.observed_generation != mart.metadata.generation:
            return False
        if (sealed.source.uid, sealed.source.resource_version) != (source.uid, source.resource_version):
            return False
        self.cluster.drop_secret(NAMESPACE, f"pw-{name}")
        return True

    def mart(self, name: str) -> Raw:
        """As it is stored."""
        return self.cluster.get(DataMart.KIND, NAMESPACE, name)

    def heal(self) -> None:
        """Every root key works again."""
        for key in self.vault.keys.values():
            key.state, key.away, key.refused = KeyState.ACTIVE, False, False

    # ---------------------------------------------------------------------------------------------------

    def _consumed(self, name: str, source: Source) -> None:
        if self.cluster.on_change:  # a story that asks questions of its own checks nothing else
            self.checks.consumed(name, source)

    def _endpoint(self, mart: str) -> str:
        raw = self.cluster.find(DataMart.KIND, NAMESPACE, mart)
        return "" if raw is None else str(raw["spec"]["database"]["host"])

    def _logged(self, _: Any, __: str, event: Any) -> Any:
        for canary in self.vault.canaries:
            assert canary not in str(event), "a secret in a log"
        raise structlog.DropEvent

    def _unhandled(self, _: Any, context: dict[str, Any]) -> None:
        self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")
