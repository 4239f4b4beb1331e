"""Those who use the gateway: who binds and keeps data marts by an API key of IAM, and who reads credentials.

And what `make up` prepares for them: an instance in a namespace of its own, so that whoever walks through the
examples finds theirs empty.
"""

from dataclasses import dataclass

import jwt

from stage import manifests
from stage.scene import Scene

NAMESPACE = "demo"
INSTANCE = "openscale"
SERVICE_INSTANCE_ID = "5d9e0b7c-2a64-4f3b-9c81-7e6f1d2c3b4a"
EXAMPLES = "default"
"""The namespace of those who walk through the examples."""
AUDIENCE = "openscale-byok"
READER_ROLE = "openscale-byok-credentials-reader"
_API_KEY_SECRET = "key-protect"  # the name of a Secret
_RBAC = "rbac.authorization.k8s.io"
_TOKEN_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Visitors:
    """Who may do what with the gateway, in the instance's namespace and in that of the examples."""

    service_instance_id: str
    """Of an OpenScaleInstance whose bindings use credentials that Key Protect takes."""
    api_key: str
    """IAM's: its owner is the namespaces' admin."""
    token: str
    """Kubernetes': its owner reads credentials, and may do nothing else."""


def prepare(scene: Scene) -> Visitors:
    """Make all of it, once."""
    scene.namespace(NAMESPACE)
    scene.create(manifests.secret(NAMESPACE, _API_KEY_SECRET, {"apikey": scene.api_key()}))
    scene.create(manifests.instance(NAMESPACE, INSTANCE, SERVICE_INSTANCE_ID, api_key_secret=_API_KEY_SECRET))
    api_key = admin(scene, NAMESPACE, EXAMPLES)
    return Visitors(SERVICE_INSTANCE_ID, api_key, somebody(scene, NAMESPACE, "demo", NAMESPACE, EXAMPLES))


def admin(scene: Scene, *namespaces: str) -> str:
    """An API key whose owner is the admin of namespaces: binds, keeps data marts; has no right in Key Protect."""
    api_key = scene.emulator.create_api_key(scene.emulator.create_service_id(name="demo"))
    claims = jwt.decode(scene.emulator.token(api_key), options={"verify_signature": False})
    subject = {"apiGroup": _RBAC, "kind": "User", "name": f"iam:{claims['iam_id']}"}
    scene.create(*[_given(namespace, "gateway-admin", "admin", subject) for namespace in namespaces])
    return api_key


def somebody(scene: Scene, namespace: str, name: str, *readable: str) -> str:
    """A token for the gateway, of a new ServiceAccount that may read credentials in these namespaces, if any."""
    scene.create(manifests.bare("v1", "ServiceAccount", namespace, name))
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    if readable:
        scene.create(*[_given(where, f"{name}-reads", READER_ROLE, subject) for where in readable])
    return scene.cluster.token_for(namespace, name, seconds=_TOKEN_SECONDS, audience=AUDIENCE)


def _given(namespace: str, name: str, role: str, subject: manifests.Object) -> manifests.Object:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    found = manifests.bare(f"{_RBAC}/v1", "RoleBinding", namespace, name)
    return found | {"roleRef": reference, "subjects": [subject]}
