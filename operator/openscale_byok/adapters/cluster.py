"""The cluster behind the ports `Store`, `Objects` and `SourceReader`, and what else we ask of an API server.

Every write is a JSON merge patch with the resourceVersion that was read, so the API server refuses it
(409) if the object is another by now.
"""

import base64
import copy
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any, Literal, TypeVar, overload
from urllib.parse import quote, urlencode

from openscale_byok.adapters.api_server import FIELD_MANAGER, ApiServer
from openscale_byok.core.sealable import Sealable, from_datamart
from openscale_byok.core.source import Source
from openscale_byok.errors import ByokError, Missing, Refused, Unavailable
from openscale_byok.ports import Listing
from openscale_byok.reasons import TABLE, Reason
from openscale_byok.resources import (
    API_VERSION,
    GROUP,
    KINDS,
    VERSION,
    DataMart,
    Meta,
    OpenScaleInstance,
    RootKeyBinding,
)

PAGE = 50
"""Objects in one page of a list. They are as large as whoever may create them wants: 262 kB of annotations, 1.5 MB in
all."""
_REVIEWS = {"TokenReview": "authentication.k8s.io/v1", "SubjectAccessReview": "authorization.k8s.io/v1"}
T = TypeVar("T", OpenScaleInstance, RootKeyBinding, DataMart)
K = TypeVar("K")
_PLURAL = {kind.KIND: kind.PLURAL for kind in KINDS}


class Cluster(ApiServer):
    """The API server, as our rights let us see it."""

    namespaces: tuple[str, ...] = ()
    """Those that are served; none is named where all are."""

    def within(self, namespaces: Sequence[str]) -> "Cluster":
        """The same connection, for whom only these namespaces are there."""
        found = copy.copy(self)
        found.namespaces = tuple(namespaces)
        return found

    # Store --------------------------------------------------------------------------------------------

    async def instance(self, namespace: str, name: str) -> OpenScaleInstance:
        """See `ports.Store`."""
        return _parse(OpenScaleInstance, await self.call("GET", _path(OpenScaleInstance.PLURAL, namespace, name)))

    async def instances(self) -> Listing[OpenScaleInstance]:
        """See `ports.Store`."""
        return _joined([await self._list(OpenScaleInstance, one, "", tolerant=True) for one in self._places])

    async def version(self) -> int:
        """See `ports.Store`. One item at most is sent; without a resourceVersion the answer is never a cached one."""
        page = await self.call("GET", f"{_path(OpenScaleInstance.PLURAL, self._places[0])}?limit=1")
        return int(page["metadata"]["resourceVersion"])

    async def bindings(self, namespace: str, instance: str) -> Listing[RootKeyBinding]:
        """See `ports.Store`."""
        return await self._list(RootKeyBinding, namespace, instance)

    async def datamarts(self, namespace: str, instance: str) -> Listing[DataMart]:
        """See `ports.Store`."""
        return await self._list(DataMart, namespace, instance)

    async def sealables(self, namespace: str, instance: str, service_instance_id: str) -> Listing[Sealable]:
        """See `ports.Store`."""
        return await self._list(DataMart, namespace, instance, lambda mart: from_datamart(mart, service_instance_id))

    async def datamart(self, namespace: str, name: str) -> DataMart:
        """See `ports.Objects`."""
        return _parse(DataMart, await self.call("GET", _path(DataMart.PLURAL, namespace, name)))

    async def create(
        self, kind: str, namespace: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str]
    ) -> dict[str, Any]:
        """See `ports.Objects`."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": spec,
        }
        return await self.call("POST", f"{_path(_PLURAL[kind], namespace)}?fieldManager={FIELD_MANAGER}", body)

    async def patch_spec(self, kind: str, meta: Meta, spec: Mapping[str, Any]) -> dict[str, Any]:
        """See `ports.Objects`."""
        body = {"metadata": {"resourceVersion": meta.resource_version}, "spec": spec}
        return await self.patch(_path(_PLURAL[kind], meta.namespace, meta.name), body)

    async def remove(self, kind: str, meta: Meta) -> None:
        """See `ports.Objects`."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": meta.uid}}
        await self.call("DELETE", _path(_PLURAL[kind], meta.namespace, meta.name), body)

    async def every_datamart(self) -> Listing[DataMart]:
        """Every data mart that is served: what is asked before a global key is made, or a version of it removed."""
        return _joined([await self._list(DataMart, one, "", tolerant=True) for one in self._places])

    async def patch_status(self, kind: str, meta: Meta, status: Mapping[str, Any]) -> dict[str, Any]:
        """See `ports.Store`."""
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": status}
        return await self.patch(_path(_PLURAL[kind], meta.namespace, meta.name) + "/status", body)

    async def patch_finalizers(self, kind: str, meta: Meta, finalizers: Sequence[str]) -> dict[str, Any]:
        """See `ports.Store`."""
        body = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": list(finalizers)}}
        return await self.patch(_path(_PLURAL[kind], meta.namespace, meta.name), body, soon=True)

    async def announce(self, kind: str, meta: Meta, reason: Reason, message: str) -> None:
        """See `ports.Store`. In a namespace that is being deleted the API server answers 403: so be it."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{meta.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": meta.namespace},
            "eventTime": now,
            "reportingController": GROUP,
            "reportingInstance": FIELD_MANAGER,
            "action": "Reconcile",
            "type": TABLE[reason].event,
            "reason": reason.value,
            "note": message[:1024],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{quote(meta.namespace, safe='')}/events"
        try:
            await self.call("POST", path, body)
        except (Refused, Unavailable, Missing):
            return

    async def serves_our_kinds(self) -> list[str]:
        """Which of our kinds the API server does not serve, with their status. kopf would only warn, and be blind."""
        try:
            found = await self.call("GET", f"/apis/{GROUP}/{VERSION}")
        except Missing:
            found = {"resources": []}
        served = {resource["name"] for resource in found["resources"]}
        return [kind.KIND for kind in KINDS if not {kind.PLURAL, f"{kind.PLURAL}/status"} <= served]

    # SourceReader -------------------------------------------------------------------------------------

    async def read(self, namespace: str, name: str) -> Source:
        """See `ports.SourceReader`."""
        raw = await self.call("GET", _secret(namespace, name), secret=f"Secret {name}")
        meta = raw["metadata"]
        values = {key: base64.b64decode(value) for key, value in (raw.get("data") or {}).items()}
        return Source(meta["uid"], meta["resourceVersion"], raw.get("type") or "Opaque", values)

    async def delete(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """See `ports.SourceReader`."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        await self.call("DELETE", _secret(namespace, name), body, secret=f"Secret {name}")

    async def create_secret(self, namespace: str, name: str, values: Mapping[str, bytes]) -> Source:
        """Create a Secret of ours. `Changed` where one of this name exists."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "openscale-byok"}},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode("ascii") for key, value in values.items()},
        }
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"
        raw = await self.call("POST", path, body, secret=f"Secret {name}")
        return Source(raw["metadata"]["uid"], raw["metadata"]["resourceVersion"], "Opaque", dict(values))

    async def write_secret(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, bytes | None]
    ) -> None:
        """Merge values into a Secret that is still as it was read; None takes one out. `Changed` where it is not."""
        encoded = {key: None if raw is None else base64.b64encode(raw).decode("ascii") for key, raw in values.items()}
        body = {"metadata": {"resourceVersion": resource_version}, "data": encoded}
        path = f"{_secret(namespace, name)}?fieldManager={FIELD_MANAGER}"
        await self.call("PATCH", path, body, secret=f"Secret {name}")

    async def config_map(self, namespace: str, name: str) -> tuple[str, dict[str, str]]:
        """A ConfigMap of ours: its resourceVersion and its values. `Missing` where there is none."""
        raw = await self.call("GET", f"{_config_maps(namespace)}/{quote(name, safe='')}")
        return raw["metadata"]["resourceVersion"], raw.get("data") or {}

    async def write_config_map(
        self, namespace: str, name: str, resource_version: str, values: Mapping[str, str]
    ) -> None:
        """Merge values into a ConfigMap that is still as it was read; create it where it was read as missing ("").

        `Changed` where it is another by now.
        """
        body: dict[str, Any] = {"data": dict(values)}
        if resource_version:
            body["metadata"] = {"resourceVersion": resource_version}
            await self.patch(f"{_config_maps(namespace)}/{quote(name, safe='')}", body)
            return
        body |= {"apiVersion": "v1", "kind": "ConfigMap"}
        body["metadata"] = {"name": name, "labels": {"app.kubernetes.io/part-of": "openscale-byok"}}
        await self.call("POST", _config_maps(namespace), body)

    async def whoami(self) -> str:
        """The user name that the API server knows us by (SelfSubjectReview, which stores nothing)."""
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        raw = await self.call("POST", path, body)
        return str(raw["status"]["userInfo"].get("username", ""))

    async def service_account_token(self, namespace: str, name: str, audience: str) -> str:
        """A short-lived token of a ServiceAccount (TokenRequest), for IAM's cr-token grant."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600},
        }
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/serviceaccounts/{quote(name, safe='')}/token"
        raw = await self.call("POST", path, body, secret=f"ServiceAccount {name}")
        return str(raw["status"]["token"])

    async def review(self, kind: Literal["TokenReview", "SubjectAccessReview"], spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        """Ask the API server who somebody is, or what they may do: its answer's status. Nothing is stored."""
        body = {"apiVersion": _REVIEWS[kind], "kind": kind, "spec": spec}
        return (await self.call("POST", f"/apis/{_REVIEWS[kind]}/{kind.lower()}s", body)).get("status")

    async def may_serve(self, namespace: str) -> bool:
        """Whether we may list and watch our kinds in a namespace (SelfSubjectAccessReview, which stores nothing)."""
        path, api = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "authorization.k8s.io/v1"
        for resource, verb in product(_PLURAL.values(), ("list", "watch")):
            attributes = {"namespace": namespace, "verb": verb, "group": GROUP, "resource": resource}
            body = {"apiVersion": api, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
            if not (await self.call("POST", path, body))["status"].get("allowed"):
                return False
        return True

    # HTTP ---------------------------------------------------------------------------------------------

    @property
    def _places(self) -> tuple[str, ...]:
        """Where to list; "": everywhere."""
        return self.namespaces or ("",)

    @overload
    async def _list(self, kind: type[T], namespace: str, instance: str, *, tolerant: bool = False) -> Listing[T]: ...

    @overload
    async def _list(self, kind: type[T], namespace: str, instance: str, keep: Callable[[T], K]) -> Listing[K]: ...

    async def _list(
        self,
        kind: type[T],
        namespace: str,
        instance: str,
        keep: Callable[[T], Any] = lambda model: model,
        *,
        tolerant: bool = False,
    ) -> Listing[Any]:
        """A list from the API server's own storage, not from its cache: resourceVersion unset means that.

        Each page becomes what is kept of it before the next is read: as JSON, and as a model, an object takes more
        memory than that, and there may be ten thousand. *tolerant* names apart those of another shape than their
        CRD demands.
        """
        path, unreadable = _path(kind.PLURAL, namespace), list[str]()
        query = {"limit": str(PAGE)}
        if instance:
            query["fieldSelector"] = f"spec.instanceRef.name={instance}"
        items: list[Any] = []
        while True:
            async with self.page(namespace):
                page = await self.call("GET", f"{path}?{urlencode(query)}")
                for raw in page["items"]:
                    try:
                        items.append(_kept(kind, raw, keep))
                    except Refused:
                        if not tolerant:
                            raise
                        unreadable.append(f"{kind.__name__} {raw['metadata']['namespace']}/{raw['metadata']['name']}")
                following, version = page["metadata"].get("continue"), page["metadata"]["resourceVersion"]
                del page
            if not following:
                # The later pages of one list show the state of the first.
                return Listing(int(version), tuple(items), tuple(unreadable))
            query["continue"] = following


def _joined(lists: Sequence[Listing[T]]) -> Listing[T]:
    """One list of several places: as old as the oldest of them."""
    items = tuple(item for one in lists for item in one.items)
    unreadable = tuple(name for one in lists for name in one.unreadable)
    return Listing(min(one.version for one in lists), items, unreadable)


def _parse(kind: type[T], raw: dict[str, Any]) -> T:
    """An object as its model.

    One that does not fit keeps its instance waiting. Left out of a list, it could have the data key retired
    that it still names.
    """
    try:
        return kind.model_validate(raw)
    except ValueError:
        name = raw.get("metadata", {}).get("name", "")
        text = f"{kind.__name__} {name}: not of the shape that its CRD demands; are the CRDs of this version applied?"
        raise Refused(Reason.INVALID_OBJECT, text) from None


def _kept(kind: type[T], raw: dict[str, Any], keep: Callable[[T], Any]) -> Any:  # noqa: ANN401 -- whatever is kept
    """What is kept of an object. Whatever it makes us raise is said of it: else nobody could tell which one it is."""
    try:
        return keep(_parse(kind, raw))
    except ByokError:
        raise
    except Exception as error:  # noqa: BLE001 -- no parser's author knows all that it raises
        text = (
            f"{kind.__name__} {raw['metadata']['name']}: cannot be read ({type(error).__name__}); correct or delete it"
        )
        raise Refused(Reason.INVALID_OBJECT, text) from None


def _path(plural: str, namespace: str = "", name: str = "") -> str:
    path = f"/apis/{GROUP}/{VERSION}"
    if namespace:
        path += f"/namespaces/{quote(namespace, safe='')}"
    path += f"/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _secret(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"


def _config_maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps"
