"""A team: a namespace with root keys of its own, a memory of every secret handed out, and exact counts.

For tests that share one scene: what one team costs is counted apart from what others do at the same time.
"""

import base64
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from local_cluster import audit
from openscale_byok.resources import KINDS
from stage import manifests
from stage.proof import Proof
from stage.scene import Scene, Tally

MARKER = "cnry"
"""Begins every password that a team hands out."""

API_KEY_SECRET = "key-protect"  # the name of a Secret
Object = dict[str, Any]


@dataclass
class Vault:
    """Every secret of the session, and where the operator wrote them (nowhere)."""

    known: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)

    def add(self, secret: str | bytes) -> None:
        """Remember a secret, in the forms that it might leak in."""
        raw = secret.encode() if isinstance(secret, str) else secret
        if len(raw) < 8:
            return
        plain = {raw.decode()} if isinstance(secret, str) else set()
        encoded = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
        self.known |= plain | encoded | {raw.hex()}

    def leaked(self, text: str) -> list[str]:
        """Which secrets a text holds, by their first characters."""
        return [secret[:6] for secret in self.known if secret in text]

    def look(self, where: str, text: str) -> None:
        """Remember where a secret was found."""
        found = self.leaked(text)
        if found:
            self.leaks.append(f"{where}: {found}")


@dataclass
class Team:
    """A namespace, and what one does in it."""

    scene: Scene
    vault: Vault
    namespace: str
    beacon: str = ""
    """A root key that is always polled: the operator's clock, as seen from outside. Its own where none is named."""
    keys: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    # Objects ------------------------------------------------------------------------------------------

    def root_keys(self, number: int = 1) -> list[str]:
        """New root keys, and an API key that may use them all in the Secret that instances name."""
        self.keys += [self.scene.emulator.create_root_key(name=f"{self.namespace}-{n}") for n in range(number)]
        api_key = self.scene.api_key(*self.keys[-number:])
        self.vault.add(api_key)
        self.create(manifests.secret(self.namespace, API_KEY_SECRET, {"apikey": api_key}))
        return self.keys[-number:]

    def create(self, *objects: Object) -> None:
        """Create objects, as they come."""
        self.scene.api.create(*objects)

    def instance(self, name: str = "prod", **spec: Any) -> None:  # noqa: ANN401 -- whatever its spec may hold
        """An instance whose bindings use the team's API key."""
        self.ids.setdefault(name, str(uuid.uuid4()))
        self.create(manifests.instance(self.namespace, name, self.ids[name], api_key_secret=API_KEY_SECRET, **spec))

    def bind(self, name: str, crn: str, instance: str = "prod", **spec: Any) -> None:  # noqa: ANN401 -- as above
        """A binding."""
        self.create(manifests.binding(self.namespace, name, instance, crn, **spec))

    def password(self) -> str:
        """A new password, with the marker in it."""
        found = f"{MARKER}-{secrets.token_urlsafe(12)}"
        self.vault.add(found)
        return found

    def source(self, name: str, *, handover: bool = False, **values: str | bytes) -> None:
        """A Secret."""
        for value in values.values():
            self.vault.add(value)
        self.create(manifests.secret(self.namespace, name, values, handover=handover))

    def marts(
        self,
        *names: str,
        instance: str = "prod",
        handover: bool = False,
        sources: bool = True,
        **spec: Any,  # noqa: ANN401 -- as above
    ) -> None:
        """Data marts, each with a Secret of its own that holds a new password."""
        for name in names:
            if sources:
                self.passwords[name] = self.password()
                self.source(f"{name}-db", handover=handover, password=self.passwords[name])
            self.create(manifests.datamart(self.namespace, name, instance, f"{name}-db", **spec))

    def give_again(self, name: str, *, handover: bool = False) -> None:
        """The password of a data mart, given once more: another one."""
        self.passwords[name] = self.password()
        self.source(f"{name}-db", handover=handover, password=self.passwords[name])

    def patch(self, kind: str, name: str, change: Object, *, status: bool = False) -> Object:
        """Merge a change into an object (or its status)."""
        return self.scene.api.patch(kind, self.namespace, name, change, subresource="status" if status else "")

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, and do not wait."""
        self.scene.api.delete(kind, self.namespace, name)

    def get(self, kind: str, name: str) -> Object:
        """An object, or {}."""
        return self.scene.api.get(kind, self.namespace, name)

    # Callers of the gateway ----------------------------------------------------------------------------

    def caller(self, name: str, *rights: str, audience: str = "openscale-byok", seconds: int = 3600) -> str:
        """A token of a new ServiceAccount with these rights, each as ``verb,verb resource[/name]``."""
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        self.create(manifests.bare("v1", "ServiceAccount", self.namespace, name))
        self.grant(name, subject, *rights)
        token = self.scene.cluster.token_for(self.namespace, name, seconds=seconds, audience=audience)
        self.vault.add(token)
        return token

    def grant(self, name: str, subject: Object, *rights: str) -> None:
        """A Role with these rights, and its binding to a subject."""
        self.create(*manifests.role(self.namespace, name, subject, [manifests.right(right) for right in rights]))

    # Looking ------------------------------------------------------------------------------------------

    def condition(self, kind: str, name: str, type_: str = "Ready") -> Object:
        """A condition of an object, for the generation that it has; {} where there is none."""
        return condition(self.get(kind, name), type_)

    def until(self, what: Callable[[], Any], text: str, seconds: float = 20) -> None:
        """Wait for something; say how everything stands where it does not come."""
        try:
            self.scene.until(lambda: bool(what()), text, seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.standing()}") from None

    def until_ready(self, *names: str, kind: str = "DataMart", seconds: float = 20) -> None:
        """Wait until these are Ready for the spec that they have."""
        self.until(
            lambda: all(self.condition(kind, n).get("status") == "True" for n in names), f"{names} are Ready", seconds
        )

    def until_reason(self, kind: str, name: str, reason: str, type_: str = "Ready", seconds: float = 20) -> Object:
        """Wait for a reason; the condition with it."""
        self.until(
            lambda: self.condition(kind, name, type_).get("reason") == reason, f"{kind} {name}: {reason}", seconds
        )
        return self.condition(kind, name, type_)

    def until_protected(self, root_key: str, instance: str = "prod", seconds: float = 30) -> None:
        """Wait until an instance has one data key, under this root key ("global"), and all is sealed with it."""

        def done() -> bool:
            found = self.get("OpenScaleInstance", instance)
            keys = found.get("status", {}).get("properties", {}).get("dataKeys", [])
            return [k["rootKey"] for k in keys] == [root_key] and condition(found).get("status") == "True"

        self.until(done, f"{instance} is under {root_key}", seconds)

    def until_gone(self, kind: str, name: str, seconds: float = 20) -> None:
        """Wait until an object is gone."""
        self.until(lambda: not self.get(kind, name), f"{kind} {name} is gone", seconds)

    def until_settled(self, *others: "Team") -> None:
        """Wait until the operator has written nothing here (nor for the others) during three key polls."""
        since, polls = self._now(), self._polls()

        def quiet() -> bool:
            nonlocal since, polls
            if self._written(since, *others):
                since, polls = self._now(), self._polls()
            return self._polls() >= polls + 3

        self.until(quiet, "the operator settles: no write during three polls", 30)

    def polled(self, more: int = 3) -> None:
        """Wait until the operator has looked at a root key so many times more."""
        before = self.looks()
        self.until(lambda: self.looks() >= before + more, f"{more} key polls have gone by")

    def looks(self) -> int:
        """How often this team's root keys were looked at, or tried to."""
        return self.calls()["metadata"]

    def standing(self) -> str:
        """How everything stands, for a failure's text."""
        lines = []
        for kind in KINDS:
            for found in self.scene.api.list(kind.KIND, self.namespace):
                told = "; ".join(
                    f"{c['type']}={c['status']}/{c['reason']}: {c['message']}"
                    for c in found.get("status", {}).get("conditions", ())
                )
                lines.append(f"{kind.KIND} {found['metadata']['name']}: {told}")
        log = [line for line in self.scene.operator.log.read_text().splitlines() if self.namespace in line]
        return "\n".join(lines + log[-15:])

    def search(self) -> None:
        """Look for every known secret in all that is stored here but specs."""
        for kind in (*(k.KIND for k in KINDS), "Event"):
            for item in self.scene.api.list(kind, self.namespace):
                where = f"{self.namespace}: {kind} {item['metadata']['name']}"
                self.vault.look(where, str({part: value for part, value in item.items() if part != "spec"}))

    # Counting -----------------------------------------------------------------------------------------

    def calls(self) -> Counter[str]:
        """Calls to Key Protect for this team's root keys, so far."""
        found: Counter[str] = Counter()
        by_key = self.scene.emulator.all_counts()["keys"]
        for crn in self.keys:
            found.update(by_key.get(crn.rpartition(":")[2], {}))
        return found

    @contextmanager
    def counted(self) -> Iterator[Tally]:
        """Count what the operator does for this team inside: exact once the block has ended."""
        tally, calls, since = Tally(), self.calls(), self._now()
        yield tally
        tally.key_protect.update(self.calls() - calls)
        tally.writes.update(self._written(since))
        tally.reads.update(Counter(event.target for event in self._requests(since) if event.is_read))

    def nothing_written(self, polls: int = 4) -> None:
        """Watch for some key polls: not one write, and no call but the polls."""
        with self.counted() as tally:
            self.wait(polls)
        if tally.writes or set(tally.key_protect) - {"metadata"}:
            raise AssertionError(f"{tally.writes} {tally.key_protect}\n{self.standing()}")

    def wait(self, polls: int) -> None:
        """Let so many key polls go by, as seen from outside."""
        before = self._polls()
        self.until(lambda: self._polls() >= before + polls, f"{polls} polls have gone by", 30)

    def _polls(self) -> int:
        key = (self.beacon or self.keys[0]).rpartition(":")[2]
        return int(self.scene.emulator.all_counts()["keys"].get(key, {}).get("metadata", 0))

    def _now(self) -> int:
        log = self.scene.cluster.audit_log
        if log is None:
            raise RuntimeError("counting needs the audit log of a cluster of our own")
        return audit.position(log)

    def _written(self, since: int, *others: "Team") -> Counter[str]:
        return Counter(event.target for event in self._requests(since, *others) if event.is_write)

    def _requests(self, since: int, *others: "Team") -> Iterator[audit.AuditEvent]:
        """The operator's, to the API server, that are about this team (or the others)."""
        log, where = self.scene.cluster.audit_log, {self.namespace, *(other.namespace for other in others)}
        for event in audit.requests(log, since) if log is not None else ():
            if event.user == self.scene.operator_user and event.namespace in where:
                yield event

    # Proving ------------------------------------------------------------------------------------------

    def proof(self, instance: str = "prod") -> Proof:
        """Open every envelope of an instance without the operator's code."""
        marts = [
            m
            for m in self.scene.api.list("DataMart", self.namespace)
            if m["spec"]["instanceRef"]["name"] == instance and m.get("status", {}).get("sealedPassword")
        ]
        opener = self.scene.opener()
        found = opener.open_all(self.get("OpenScaleInstance", instance), marts)
        for key in opener.data_keys:
            self.vault.add(key)
        return found

    def prove(self, *root_keys: str, instance: str = "prod") -> None:
        """Every password is there, as it was given last, under these root keys only."""
        found = self.proof(instance)
        if not found.holds or found.passwords != self.passwords or found.root_keys != set(root_keys):
            raise AssertionError(f"{found.failures} {found.root_keys} {sorted(found.passwords)}\n{self.standing()}")


def condition(found: Object, type_: str = "Ready") -> Object:
    """A condition of an object, if it was found for the object's present generation."""
    status = found.get("status", {})
    if status.get("observedGeneration") != found.get("metadata", {}).get("generation"):
        return {}
    return next((c for c in status.get("conditions", ()) if c["type"] == type_), {})
