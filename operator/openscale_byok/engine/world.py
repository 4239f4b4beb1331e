"""Every instance's scope, kept up to date by events; says which scope an event wakes."""

from collections.abc import Callable, Iterable
from typing import Any

from openscale_byok.core.instance_policy import InstancePolicy
from openscale_byok.core.sealable import Sealable
from openscale_byok.engine.claims import Claims
from openscale_byok.engine.context import log
from openscale_byok.engine.scope import Key, Scope, nobody_minds
from openscale_byok.engine.sealable_index import SealableIndex
from openscale_byok.errors import Refused
from openscale_byok.reasons import Reason
from openscale_byok.resources import DataMart, OpenScaleInstance, RootKeyBinding

Claimant = tuple[Key, OpenScaleInstance]
NOBODYS = InstancePolicy()


class World:
    """All scopes. Events come in by `see`; whatever they change is woken."""

    def __init__(
        self,
        wake: Callable[[Key], None],
        policy: InstancePolicy = NOBODYS,
        went: Callable[[Key, Sealable], None] = nobody_minds,
    ) -> None:
        self._wake = wake
        self._went = went
        self._policy = policy
        self._claims = Claims()
        self._index = SealableIndex()
        self._places: dict[str, dict[Key, Scope]] = {}
        self.scopes: dict[Key, Scope] = {}

    def scope(self, key: Key) -> Scope:
        """The scope of an instance, made on demand: what refers to it may come before it."""
        found = self.scopes.get(key)
        if found is None:
            found = Scope(key, claims=self._claims, index=self._index, policy=self._policy, went=self._went)
            self.scopes[key] = found
            self._places.setdefault(key[0], {})[key] = found
        return found

    def drop(self, key: Key) -> None:
        """Forget a scope in which there is nothing any more."""
        dropped = self.scopes.pop(key, None)
        if dropped is not None:
            for sealable in list(dropped.sealables.values()):
                dropped.forget(sealable)
            of_namespace = self._places[key[0]]
            del of_namespace[key]
            if not of_namespace:
                del self._places[key[0]]

    def see(self, kind: str, raw: dict[str, Any], *, gone: bool, listed: bool = False) -> None:
        """Take in an event. One of an object of another shape than its CRD demands makes its instance list anew, and
        so say it."""
        try:
            if listed:
                self._compare(kind, raw)
            self._see(kind, raw, gone=gone)
        except Exception as error:  # noqa: BLE001 -- whatever one object makes us raise is its instance's matter alone
            name = raw.get("metadata", {}).get("name", "")
            log.warning("invalid object", kind=kind, name=name, cause=type(error).__name__)
            self._doubt(raw)

    def _doubt(self, raw: dict[str, Any]) -> None:
        reference = (raw.get("spec") or {}).get("instanceRef") or {}
        key = (raw.get("metadata", {}).get("namespace", ""), reference.get("name", ""))
        if key in self.scopes:
            self.doubt(key)

    def doubt(self, key: Key) -> None:
        """What is known of an instance may be older than the cluster: have it all read anew."""
        self.scope(key).listed = False
        self._wake(key)

    def _see(self, kind: str, raw: dict[str, Any], *, gone: bool) -> None:
        if kind == DataMart.KIND:
            # The most frequent event by far, and mostly the echo of our own write: no model is built before
            # the scope finds it to be news.
            key = (raw["metadata"]["namespace"], raw["spec"]["instanceRef"]["name"])
            scope = self.scope(key)
            if not scope.listed or scope.see_mart(raw, gone=gone):
                self._wake(key)
        elif kind == RootKeyBinding.KIND:
            binding = RootKeyBinding.of(raw)
            scope = self.scope(binding.instance_key)
            if scope.see_binding(binding, gone=gone) or not scope.listed:
                self._wake(binding.instance_key)
        else:
            self._see_instance(OpenScaleInstance.of(raw), gone=gone)

    def _compare(self, kind: str, raw: dict[str, Any]) -> None:
        """A watch that lists anew and shows something older than what is known: read it all, and see which is so.

        Most probably the list was overtaken by our own write. Or the cluster was restored with a version
        beyond all that was seen before (`etcdutl snapshot restore --bump-revision`).
        """
        spec, meta = raw["spec"], raw["metadata"]
        named = meta["name"] if kind == OpenScaleInstance.KIND else spec["instanceRef"]["name"]
        scope = self.scopes.get((meta["namespace"], named))
        if scope is not None and scope.known_version(kind, meta["name"]) > int(meta["resourceVersion"]):
            self.doubt(scope.key)

    def know(self, instance: OpenScaleInstance) -> None:
        """Know of an instance before the first event: who claims what must not depend on their order."""
        self.scope(instance.key).see_instance(instance)

    def find(self, kind: str, namespace: str, name: str) -> tuple[Scope, Sealable] | None:
        """A sealable by its name, and the scope that it is in.

        It may be in two where it was made anew for another instance and the end of the former one was not heard
        of yet: the newer one counts.
        """
        scopes = (self.scopes[key] for key in self._index.named(namespace, name))
        found = [(scope, scope.sealables[name]) for scope in scopes]
        named = [(scope, sealable) for scope, sealable in found if sealable.kind == kind]
        return max(named, key=lambda each: each[1].meta.version, default=None)

    def of_namespace(self, namespace: str) -> Iterable[Scope]:
        """The scopes of a namespace."""
        return self._places.get(namespace, {}).values()

    def reading(self, namespace: str, secret: str) -> list[tuple[Scope, Sealable]]:
        """The sealables that read a Secret, or were sealed from it, and the scopes that they are in."""
        scopes = ((self.scopes[key], name) for key, name in self._index.reading(namespace, secret))
        return [(scope, scope.sealables[name]) for scope, name in scopes]

    def claimants(self, service_instance_id: str) -> list[Claimant]:
        """The instances that claim a service instance id and may."""
        scopes = ((at, self.scopes.get(at)) for at in self._claims.of(service_instance_id))
        return [
            (at, scope.instance)
            for at, scope in scopes
            if scope is not None and scope.instance is not None and self._policy.admits(service_instance_id, at[0])
        ]

    def holders(self, service_instance_id: str) -> list[OpenScaleInstance]:
        """In each namespace in which a service instance id is claimed: the instance that holds it there."""
        places: dict[str, list[Claimant]] = {}
        for claimant in self.claimants(service_instance_id):
            places.setdefault(claimant[0][0], []).append(claimant)
        return [_first(places[namespace])[1] for namespace in sorted(places)]

    def newest_instance(self) -> int:
        """The newest resourceVersion that an instance was seen with."""
        return max((s.instance.metadata.version for s in self.scopes.values() if s.instance is not None), default=0)

    def conflict(self, key: Key) -> Refused | None:
        """Why an instance does not have the service instance id that it claims, or None where it has.

        It is shown in the instance's namespace: nothing of another one is in it.
        """
        mine = self.scope(key).instance
        if mine is None:
            return None
        if not self._policy.admits(mine.spec.service_instance_id, key[0]):
            text = (
                f"spec.serviceInstanceId: namespace {key[0]} may not claim this id; have the operator's owner give it "
                "to this namespace (settings.allowedInstances)"
            )
            return Refused(Reason.INSTANCE_NOT_ALLOWED, text)
        others = self._others_like(mine)
        if not others:
            return None
        holder, _ = _first([(key, mine), *others])
        if holder == key:
            return None
        if holder[0] == key[0]:
            text = f"is claimed by OpenScaleInstance {holder[1]} already; delete one of the two"
        else:
            text = (
                "is claimed by an instance of another namespace already; delete this one, or have the operator's owner "
                "say whose the id is (settings.allowedInstances)"
            )
        return Refused(Reason.CONFLICT, f"spec.serviceInstanceId {text}")

    def _others_like(self, instance: OpenScaleInstance) -> list[Claimant]:
        """Other instances that claim the same service instance id."""
        return [other for other in self.claimants(instance.spec.service_instance_id) if other[0] != instance.key]

    def _see_instance(self, instance: OpenScaleInstance, *, gone: bool) -> None:
        scope = self.scope(instance.key)
        known = scope.instance
        if gone:
            if known is not None and known.metadata.uid == instance.metadata.uid:
                scope.see_instance(None)
        elif not scope.see_instance(instance) and scope.listed:
            return  # before the first list every event wakes: after a start, an instance is known without one
        self._wake(instance.key)
        if gone or known is None:
            for other, _ in self._others_like(instance):
                self._wake(other)


def _first(claimants: list[Claimant]) -> Claimant:
    """Who holds an id. One that holds properties holds wrapped keys: it must keep what it protects."""
    return min(claimants, key=lambda c: (not c[1].properties.data_keys, c[1].metadata.creation_timestamp, c[0]))
