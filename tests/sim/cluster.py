"""The API server's objects in memory: compare-and-swap, merge patches, finalizers, Secrets, watch events.

What is said of a real API server here was read there: a patch that changes nothing leaves the
resourceVersion alone, no finalizer is added to what is being deleted, an Active data key may not vanish.
"""

import itertools
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openscale_byok.core.source import Source
from openscale_byok.errors import Changed, Missing, Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import KINDS, Meta, OpenScaleInstance

Raw = dict[str, Any]
At = tuple[str, str, str]
_MODEL = {kind.KIND: kind for kind in KINDS}


@dataclass(frozen=True)
class Event:
    """What a watch says."""

    kind: str
    raw: Raw
    gone: bool


def _copy(raw: Any) -> Any:
    """What came over the wire is nobody else's. (Far quicker than copy.deepcopy.)"""
    return pickle.loads(pickle.dumps(raw))  # noqa: S301 -- our own bytes of a moment ago


def merge(into: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386): null deletes, lists replace."""
    if not isinstance(patch, Mapping):
        return _copy(patch)
    merged = dict(into) if isinstance(into, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


@dataclass
class Cluster:
    """The truth. Synchronous: a call has its whole effect or none."""

    now: Callable[[], str]
    objects: dict[At, Raw] = field(default_factory=dict)
    secrets: dict[tuple[str, str], Source] = field(default_factory=dict)
    watchers: list[Callable[[Event], None]] = field(default_factory=list)
    on_change: list[Callable[[], None]] = field(default_factory=list)
    on_consume: list[Callable[[str, Source], None]] = field(default_factory=list)
    """Called with the name of a Secret, and what it held, just before the operator deletes it."""
    canaries: set[str] = field(default_factory=set)
    announced: list[tuple[str, str]] = field(default_factory=list)
    writes: int = 0
    version: int = 100
    _uids: Any = field(default_factory=itertools.count)

    # What anyone may do --------------------------------------------------------------------------------

    def get(self, kind: str, namespace: str, name: str) -> Raw:
        try:
            return _copy(self.objects[kind, namespace, name])
        except KeyError:
            raise Missing(Reason.CHANGED_MEANWHILE, f"{kind} {name} does not exist") from None

    def find(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self.objects.get((kind, namespace, name))

    def all(self, kind: str, instance: str = "") -> list[Raw]:
        found = (raw for (of, _, _), raw in sorted(self.objects.items()) if of == kind)
        return [_copy(raw) for raw in found if not instance or raw["spec"]["instanceRef"]["name"] == instance]

    def create(self, kind: str, namespace: str, name: str, spec: Raw, status: Raw | None = None) -> Raw:
        assert (kind, namespace, name) not in self.objects, f"{name} exists"
        meta = {
            "name": name, "namespace": namespace, "uid": f"uid-{next(self._uids)}", "generation": 1,
            "creationTimestamp": self.now(), "finalizers": [],
        }  # fmt: skip
        raw = {"kind": kind, "metadata": meta, "spec": spec, "status": status or {"observedGeneration": -1}}
        return self._store((kind, namespace, name), raw)

    def change_spec(self, kind: str, namespace: str, name: str, patch: Raw) -> None:
        raw = self.get(kind, namespace, name)
        spec = merge(raw["spec"], patch)
        if spec != raw["spec"]:
            raw["spec"] = spec
            raw["metadata"]["generation"] += 1
            self._store((kind, namespace, name), raw)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """What kubectl delete does: gone at once, or marked while finalizers hold it."""
        raw = self.get(kind, namespace, name)
        if raw["metadata"]["finalizers"]:
            if "deletionTimestamp" not in raw["metadata"]:
                raw["metadata"]["deletionTimestamp"] = self.now()
                raw["metadata"]["generation"] += 1
                self._store((kind, namespace, name), raw)
        else:
            self._remove((kind, namespace, name), raw)

    # What the operator does ----------------------------------------------------------------------------

    def patch_status(self, kind: str, meta: Meta, status: Mapping[str, Any]) -> Raw:
        json.dumps(status)  # what cannot be sent fails here, as it would there
        raw = self._at_version(kind, meta)
        patched = merge(raw, {"status": status})
        self._admit(kind, raw, patched)
        return self._patched(kind, meta, raw, patched)

    def patch_finalizers(self, kind: str, meta: Meta, finalizers: Sequence[str]) -> Raw:
        raw = self._at_version(kind, meta)
        added = set(finalizers) - set(raw["metadata"]["finalizers"])
        if added and "deletionTimestamp" in raw["metadata"]:
            raise Refused(Reason.INVALID_OBJECT, "no new finalizers while it is being deleted")
        patched = _copy(raw)
        patched["metadata"]["finalizers"] = list(finalizers)
        if "deletionTimestamp" in raw["metadata"] and not finalizers:
            self.writes += 1
            return self._remove((kind, meta.namespace, meta.name), patched)
        return self._patched(kind, meta, raw, patched)

    def read_secret(self, namespace: str, name: str) -> Source:
        try:
            return self.secrets[namespace, name]
        except KeyError:
            raise Missing(Reason.CHANGED_MEANWHILE, f"Secret {name} does not exist") from None

    def put_secret(self, namespace: str, name: str, values: Mapping[str, bytes], type_: str = "Opaque") -> Source:
        """Create it, or change its values: same uid, another resourceVersion. A change of type is another Secret."""
        before = self.secrets.get((namespace, name))
        same = before is not None and before.type == type_
        uid = before.uid if before is not None and same else f"uid-{next(self._uids)}"
        self.version += 1
        made = self.secrets[namespace, name] = Source(uid, str(self.version), type_, dict(values))
        self._changed()
        return made

    def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        if (namespace, name) in self.secrets:
            raise Changed(Reason.CHANGED_MEANWHILE, f"Secret {name} exists")
        self.writes += 1
        return self.put_secret(namespace, name, values)

    def delete_secret(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        found = self.read_secret(namespace, name)
        if (found.uid, found.resource_version) != (uid, resource_version):
            raise Changed(Reason.CHANGED_MEANWHILE, f"Secret {name} is another by now")
        for check in self.on_consume:
            check(name, found)
        self.writes += 1
        self.drop_secret(namespace, name)

    def drop_secret(self, namespace: str, name: str) -> None:
        self.version += 1
        del self.secrets[namespace, name]
        self._changed()

    def announce(self, kind: str, meta: Meta, reason: Reason, message: str) -> None:
        self._search(message)
        self.announced.append((meta.name, reason.value))

    # How -----------------------------------------------------------------------------------------------

    def _at_version(self, kind: str, meta: Meta) -> Raw:
        raw = self.get(kind, meta.namespace, meta.name)
        if raw["metadata"]["resourceVersion"] != meta.resource_version:
            raise Changed(Reason.CHANGED_MEANWHILE, f"{kind} {meta.name} changed since it was read")
        return raw

    def _admit(self, kind: str, before: Raw, after: Raw) -> None:
        """The CRD's own rules; an attempt to break one is a fault of the operator, so it fails loudly."""
        _MODEL[kind].of(after)
        if kind != OpenScaleInstance.KIND:
            return
        old, new = OpenScaleInstance.of(before).properties, OpenScaleInstance.of(after).properties
        assert sum(entry.active for entry in new.data_keys) <= 1, "two Active data keys"
        assert all(new.find(entry.id) for entry in old.data_keys if entry.active), "an Active data key vanishes"
        assert len({entry.id for entry in new.data_keys}) == len(new.data_keys) <= 16, "the list of data keys"

    def _patched(self, kind: str, meta: Meta, raw: Raw, patched: Raw) -> Raw:
        if patched == raw:
            return raw  # a no-op: same resourceVersion, no event
        self.writes += 1
        return self._store((kind, meta.namespace, meta.name), patched)

    def _store(self, at: At, raw: Raw) -> Raw:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self._search(json.dumps(raw))
        self.objects[at] = raw
        self._tell(Event(at[0], _copy(raw), gone=False))
        self._changed()
        return _copy(raw)

    def _remove(self, at: At, raw: Raw) -> Raw:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        del self.objects[at]
        self._tell(Event(at[0], _copy(raw), gone=True))
        self._changed()
        return _copy(raw)

    def _tell(self, event: Event) -> None:
        for watcher in self.watchers:
            watcher(event)

    def _changed(self) -> None:
        for check in self.on_change:
            check()

    def _search(self, text: str) -> None:
        for canary in self.canaries:
            assert canary not in text, "a secret in plain form"
