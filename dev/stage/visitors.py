"""What `make up` prepares for its visitors: an instance that the gateway serves, and identities that may use it.

It lies in a namespace of its own, so that whoever walks through the examples finds theirs empty.
"""

from dataclasses import dataclass

import jwt

from stage import manifests
from stage.scene import Scene

NAMESPACE = "demo"
INSTANCE = "openscale"
SERVICE_INSTANCE_ID = "5d9e0b7c-2a64-4f3b-9c81-7e6f1d2c3b4a"
READER = "demo"
"""A ServiceAccount."""
EXAMPLES = "default"
"""The namespace of those who walk through the examples."""
AUDIENCE = "openscale-byok"
_API_KEY_SECRET = "key-protect"  # the name of a Secret
_RBAC = "rbac.authorization.k8s.io"
_TOKEN_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Visitors:
    """Who may do what with the gateway, here and in the namespace of the examples."""

    service_instance_id: str
    """Of an OpenScaleInstance whose bindings use credentials that Key Protect takes."""
    api_key: str
    """IAM's: its owner is the namespaces' admin, so binds and keeps data marts; has no right in Key Protect."""
    token: str
    """Kubernetes': its owner reads credentials, and may do nothing else."""


def prepare(scene: Scene) -> Visitors:
    """Make all of it, once."""
    scene.namespace(NAMESPACE)
    scene.create(manifests.secret(NAMESPACE, _API_KEY_SECRET, {"apikey": scene.api_key()}))
    scene.create(manifests.instance(NAMESPACE, INSTANCE, SERVICE_INSTANCE_ID, api_key_secret=_API_KEY_SECRET))
    api_key = scene.emulator.create_api_key(scene.emulator.create_service_id(name="demo"))
    claims = jwt.decode(scene.emulator.token(api_key), options={"verify_signature": False})
    admin = {"apiGroup": _RBAC, "kind": "User", "name": f"iam:{claims['iam_id']}"}
    reader = {"kind": "ServiceAccount", "name": READER, "namespace": NAMESPACE}
    scene.create(manifests.bare("v1", "ServiceAccount", NAMESPACE, READER))
    for namespace in (NAMESPACE, EXAMPLES):
        scene.create(
            _given(namespace, "demo-admin", "admin", admin),
            _given(namespace, "demo-reader", "openscale-byok-credentials-reader", reader),
        )
    token = scene.cluster.token_for(NAMESPACE, READER, seconds=_TOKEN_SECONDS, audience=AUDIENCE)
    return Visitors(SERVICE_INSTANCE_ID, api_key, token)


def _given(namespace: str, name: str, role: str, subject: manifests.Object) -> manifests.Object:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    found = manifests.bare(f"{_RBAC}/v1", "RoleBinding", namespace, name)
    return found | {"roleRef": reference, "subjects": [subject]}
