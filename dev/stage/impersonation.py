"""Requests of whoever one likes, and what became of them: passed, or refused by one of the chart's policies."""

from collections.abc import Callable

from openscale_byok.resources import GROUP
from stage.api import ApiError
from stage.scene import GATEWAY_ACCOUNT, NAMESPACE, OPERATOR_ACCOUNT
from stage.team import Team

ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
OPERATOR, GATEWAY = (f"system:serviceaccount:{NAMESPACE}:{name}" for name in (OPERATOR_ACCOUNT, GATEWAY_ACCOUNT))
COLLECTOR, NAMESPACES = (
    f"system:serviceaccount:kube-system:{name}" for name in ("generic-garbage-collector", "namespace-controller")
)
REFUSED, PASSES = "the policy refuses it", "passes"
KINDS = ("datamarts", "openscaleinstances", "rootkeybindings")
_CORE = ("configmaps", "secrets", "serviceaccounts/token")

Rule = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Resource, verbs, names (none: all of them)."""


def as_user(user: str, *groups: str) -> dict[str, str]:
    """Headers that make the admin this user."""
    return {"Impersonate-User": user} | ({"Impersonate-Group": groups[0]} if groups else {})


def grant(team: Team, user: str, *rules: Rule) -> None:
    """Rights in the team's namespace."""
    api, name = {"apiVersion": "rbac.authorization.k8s.io/v1"}, user.replace(":", "-")
    listed = [
        {"apiGroups": ["" if resource in _CORE else GROUP], "resources": [resource], "verbs": list(verbs)}
        | ({"resourceNames": list(names)} if names else {})
        for resource, verbs, names in rules
    ]
    metadata = {"metadata": {"name": name, "namespace": team.namespace}}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    team.scene.apply(
        api | {"kind": "Role", "rules": listed} | metadata,
        api | {"kind": "RoleBinding", "roleRef": ref, "subjects": [subject]} | metadata,
    )


def outcome_of(request: Callable[[], object]) -> str:
    """What becomes of a request."""
    try:
        request()
    except ApiError as error:
        return told(error)
    return PASSES


def told(error: ApiError) -> str:
    """Whether it was a policy of ours that refused, or else what."""
    return REFUSED if error.status == 403 and "ValidatingAdmissionPolicy 'openscale-byok-" in str(error) else str(error)
