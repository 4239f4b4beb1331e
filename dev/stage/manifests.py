"""Objects as people write them, for the demo, the tests and the benchmarks."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from openscale_byok.resources import API_VERSION, GROUP, HANDOVER_TYPE

Object = dict[str, Any]


def secret(namespace: str, name: str, values: Mapping[str, str | bytes], *, handover: bool = False) -> Object:
    """A Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": HANDOVER_TYPE if handover else "Opaque",
        "data": {key: encoded(value) for key, value in values.items()},
    }


def encoded(value: str | bytes) -> str:
    """A value as a Secret holds it."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def instance(namespace: str, name: str, service_instance_id: str, *, api_key_secret: str = "", **spec: Any) -> Object:  # noqa: ANN401 -- whatever its spec may hold
    """An OpenScaleInstance; *api_key_secret* names the Secret (key ``apikey``) of its default credentials."""
    if api_key_secret:
        spec["credentials"] = {"apiKeySecretRef": {"name": api_key_secret, "key": "apikey"}}
    return _object("OpenScaleInstance", namespace, name, {"serviceInstanceId": service_instance_id, **spec})


def binding(namespace: str, name: str, instance_name: str, crn: str, **spec: Any) -> Object:  # noqa: ANN401 -- whatever its spec may hold
    """A RootKeyBinding."""
    return _object(
        "RootKeyBinding", namespace, name, {"instanceRef": {"name": instance_name}, "rootKey": {"crn": crn}, **spec}
    )


def datamart(
    namespace: str,
    name: str,
    instance_name: str,
    source: str,
    *,
    key: str = "password",
    host: str = "db.example.com",
    port: int = 5432,
    database: str = "postgres",
    username: str = "openscale",
    revision: int = 0,
    tls: str = "Disable",
    ca_bundle: str = "",
) -> Object:
    """A DataMart whose password is first read from Secret *source*."""
    password: Object = {"secretRef": {"name": source, "key": key}}
    if revision:
        password["revision"] = revision
    spec = {
        "instanceRef": {"name": instance_name},
        "database": {
            "type": "PostgreSQL",
            "host": host,
            "port": port,
            "name": database,
            "schema": "openscale",
            "username": username,
            "tls": tls,
            "password": password,
        }
        | ({"caBundle": ca_bundle} if ca_bundle else {}),
    }
    return _object("DataMart", namespace, name, spec)


def bare(api_version: str, kind: str, namespace: str, name: str) -> Object:
    """An object that has nothing but its name."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def right(text: str) -> Object:
    """A rule of a Role for one of our resources, from ``verb,verb resource`` or ``verb resource/name``."""
    verbs, _, what = text.partition(" ")
    resource, _, name = what.partition("/")
    found: Object = {"apiGroups": [GROUP], "resources": [resource], "verbs": verbs.split(",")}
    return found | ({"resourceNames": [name]} if name else {})


def role(namespace: str, name: str, subject: Object, rules: list[Object]) -> tuple[Object, Object]:
    """A Role, and its RoleBinding to a subject."""
    api, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "Role", "name": name}
    bound = {"roleRef": reference, "subjects": [subject]}
    return bare(api, "Role", namespace, name) | {"rules": rules}, bare(api, "RoleBinding", namespace, name) | bound


def as_text(objects: Iterable[Object]) -> str:
    """A List, for `kubectl apply -f -`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _object(kind: str, namespace: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }
