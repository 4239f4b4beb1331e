"""A few lines of JSON client for the API server, through `kubectl proxy` on a private socket.

kubectl takes a third of a second for each question; a test asks hundreds. The proxy signs in as kubectl does,
whatever cluster it is.
"""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local_cluster import Cluster
from openscale_byok.resources import API_VERSION, KINDS
from stage.child import die_with_parent

Object = dict[str, Any]
START_SECONDS = 30.0
RESTORER = "restorer"
"""Who writes statuses here: the chart's policy lets nobody but the operator and such a user, the admin included."""

AS_RESTORER = (f"--as={RESTORER}", "--as-group=system:masters")
"""The same for kubectl."""

MERGE_PATCH = "application/merge-patch+json"
_AS_RESTORER = {"Impersonate-User": RESTORER, "Impersonate-Group": "system:masters"}
_PLURAL = {kind.KIND: (f"/apis/{API_VERSION}", kind.PLURAL) for kind in KINDS} | {
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Namespace": ("/api/v1", "namespaces"),
    "Event": ("/apis/events.k8s.io/v1", "events"),
}


class ApiError(RuntimeError):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """The API server as the cluster's admin."""

    def __init__(self, socket_path: Path) -> None:
        """Talk to a `kubectl proxy` that listens there."""
        self._socket = socket_path

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401 -- JSON
        content_type: str = "application/json",
        more: Mapping[str, str] = {},
    ) -> Any:  # noqa: ANN401 -- JSON
        """One request, with *more* headers.

        Raises:
            ApiError: the answer is no 2xx.
        """
        connection = _Connection(self._socket)
        try:
            headers = {"Content-Type": content_type, "Accept": "application/json", **more}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        found = json.loads(raw) if raw.startswith((b"{", b"[")) else {"message": raw.decode(errors="replace")}
        if answer.status >= 300:
            raise ApiError(answer.status, found.get("message", ""))
        return found

    def create(self, *objects: Object) -> None:
        """Create objects, in this order."""
        for document in objects:
            self.call("POST", path(document["kind"], document["metadata"].get("namespace", "")), document)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object, or {} where it does not exist."""
        try:
            return dict(self.call("GET", path(kind, namespace, name)))
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        """The objects of a kind, in a namespace or in all of them."""
        return list(self.call("GET", path(kind, namespace))["items"])

    def patch(
        self, kind: str, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> Object:
        """Merge a change into an object, or into its subresource; a status as the one who may."""
        where = path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return dict(self.call("PATCH", where, change, MERGE_PATCH, _AS_RESTORER if subresource == "status" else {}))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object, if it is there."""
        try:
            self.call("DELETE", path(kind, namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """Where objects of a kind are, or one of them."""
    root, plural = _PLURAL[kind]
    where = f"{root}/namespaces/{namespace}/{plural}" if namespace and kind != "Namespace" else f"{root}/{plural}"
    return f"{where}/{name}" if name else where


def _listens(at: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        return tried.connect_ex(str(at)) == 0


@contextmanager
def connect(cluster: Cluster, folder: Path) -> Iterator[Api]:
    """An API client for as long as the block lasts.

    Raises:
        RuntimeError: the proxy did not come up.
    """
    at = folder / "api.sock"
    process = subprocess.Popen(
        [*cluster.kubectl_argv, "proxy", f"--unix-socket={at}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(at):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("kubectl proxy did not start")
            time.sleep(0.02)
        yield Api(at)
    finally:
        process.kill()
        process.wait()
