"""The chart's rights on a real API server: what its authorizer allows the operator, and what it does not.

The last test holds the list against what the running operator asks for: nothing is missing, nothing superfluous.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from local_cluster import Cluster, audit
from openscale_byok.resources import GROUP
from stage import chart
from stage.scene import NAMESPACE
from stage.team import Team

KINDS = ("datamarts", "openscaleinstances", "rootkeybindings")
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
SECRET = "openscale-byok-global-key"
AUTHORITY = "openscale-byok-gateway-ca"
NO_USER_ROLES = dict.fromkeys(("aggregateToView", "aggregateToEdit", "aggregateToAdmin", "create"), False)
ONLY_OPERATOR = {"userRoles": NO_USER_ROLES, "gateway": {"enabled": False}}

Question = tuple[str, str, str, str, str]
"""Verb, group, resource (with its subresource), namespace ('': all of them), name ('': any)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rights are: the operator's namespace, one that grants, one that does not."""

    cluster: Cluster
    own: str
    granting: str
    other: str

    @property
    def user(self) -> str:
        """The operator, as the API server knows it."""
        return f"system:serviceaccount:{self.own}:{self.account}"

    @property
    def gateway(self) -> str:
        """The gateway, as the API server knows it."""
        return f"{self.user}-gateway"

    @property
    def account(self) -> str:
        """The operator's ServiceAccount."""
        return f"{self.own}-openscale-byok"

    def values(self, *, trusted_profiles: bool = True) -> dict[str, object]:
        """The chart's values."""
        return {
            "secretAccess": {"namespaces": [self.granting]},
            "trustedProfiles": {"enabled": trusted_profiles, "serviceAccounts": ["kp"]},
        }


@pytest.fixture
def place(crds: Cluster, namespace: str) -> Iterator[Place]:
    """The rights that the chart renders, applied; taken away again at the end."""
    found = Place(crds, namespace, f"{namespace}-granting", f"{namespace}-other")
    documents = chart.rights(found.values(), namespace=namespace, release=namespace)
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    for name in (found.granting, found.other):
        crds.kubectl("create", "namespace", name)
    crds.kubectl("apply", "-f", "-", input=listing)
    yield found
    crds.kubectl("delete", "--wait=false", "-f", "-", input=listing)
    crds.kubectl("delete", "namespace", found.granting, found.other, "--wait=false")


def review(cluster: Cluster, user: str, questions: list[Question]) -> set[Question]:
    """Ask the API server's authorizer all of them, as `kubectl auth can-i --as` asks one; those that are allowed."""
    items = []
    for verb, group, resource, namespace, name in questions:
        plain, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plain, "subresource": subresource}
        spec = {
            "user": user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": attributes | {"namespace": namespace, "name": name},
        }
        items.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    template = r'jsonpath={.status.allowed}{"\n"}'
    answers = cluster.kubectl("create", "-f", "-", "-o", template, input=listing).stdout.split()
    assert len(answers) == len(questions)
    return {question for question, answer in zip(questions, answers, strict=True) if answer == "true"}


def questions(place: Place) -> list[Question]:
    """Every verb on every resource that could matter, in each namespace and in all."""
    resources = [(GROUP, kind + sub) for kind in KINDS for sub in ("", "/status", "/finalizers")]
    resources += [("events.k8s.io", "events"), ("", "events"), ("", "secrets"), ("", "configmaps"), ("", "namespaces")]
    resources += [("", "serviceaccounts"), ("rbac.authorization.k8s.io", "rolebindings")]
    resources += [("apiextensions.k8s.io", "customresourcedefinitions"), ("coordination.k8s.io", "leases")]
    resources += [(GROUP, "datamartcredentials"), ("authentication.k8s.io", "tokenreviews")]
    resources += [("authorization.k8s.io", "subjectaccessreviews")]
    namespaces = ("", place.own, place.granting, place.other)
    asked = [
        (verb, group, resource, namespace, "")
        for (group, resource), verb, namespace in product(resources, (*VERBS, "bind"), namespaces)
    ]
    names = {
        "secrets": (SECRET, AUTHORITY, "any"),
        "configmaps": (AUTHORITY, "any"),
        "serviceaccounts/token": ("kp", "any"),
    }
    asked += [
        (verb, "", resource, namespace, name)
        for resource in names
        for verb, namespace, name in product(VERBS, namespaces[1:], names[resource])
    ]
    return asked


def test_the_operator_may_do_this_and_nothing_else(place):
    """Of all that could matter it is allowed what is listed here: its own kinds, and Secrets where that is granted."""
    namespaces = ("", place.own, place.granting, place.other)
    everywhere = {
        "openscaleinstances": ("get", "list", "watch", "patch"),
        "rootkeybindings": ("list", "watch", "patch"),
        "datamarts": ("list", "watch", "patch"),
    }
    expected: set[Question] = {("create", "events.k8s.io", "events", namespace, "") for namespace in namespaces}
    for kind, namespace in product(KINDS, namespaces):
        expected |= {(verb, GROUP, kind, namespace, "") for verb in everywhere[kind]}
        expected |= {("patch", GROUP, f"{kind}/status", namespace, "")}
    secrets = ("", SECRET, AUTHORITY, "any")
    expected |= {("create", "", "secrets", place.own, name) for name in secrets}
    expected |= {("get", "", "secrets", place.own, SECRET)}
    expected |= {(verb, "", "secrets", place.granting, name) for verb in ("get", "delete") for name in secrets}
    expected |= {("create", "", "serviceaccounts/token", place.granting, "kp")}
    assert review(place.cluster, place.user, questions(place)) == expected


def test_the_gateway_may_do_this_and_nothing_else(place):
    """The same for the gateway: its rights are other ones, and it deletes no Secret and lists none."""
    namespaces = ("", place.own, place.granting, place.other)
    everywhere = {
        "openscaleinstances": ("bind", "get", "list", "watch"),
        "rootkeybindings": ("create", "delete", "list", "watch"),
        "datamarts": ("create", "delete", "get", "list", "patch", "watch"),
        "datamarts/status": ("patch",),
    }
    expected: set[Question] = set()
    for kind, namespace in product(everywhere, namespaces):
        expected |= {(verb, GROUP, kind, namespace, "") for verb in everywhere[kind]}
    for group, resource in (
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    ):
        expected |= {("create", group, resource, namespace, "") for namespace in namespaces}
    secrets = ("", SECRET, AUTHORITY, "any")
    expected |= {("create", "", "secrets", place.own, name) for name in secrets}
    expected |= {("create", "", "configmaps", place.own, name) for name in ("", AUTHORITY, "any")}
    expected |= {
        (verb, "", kind, place.own, AUTHORITY) for kind in ("secrets", "configmaps") for verb in ("get", "patch")
    }
    expected |= {("get", "", "secrets", place.own, SECRET)}
    expected |= {("get", "", "secrets", place.granting, name) for name in secrets}
    expected |= {("create", "", "serviceaccounts/token", place.granting, "kp")}
    assert review(place.cluster, place.gateway, questions(place)) == expected


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("patch", "datamarts.openscale.byok.dev", "--subresource=status"), "yes"),
        (("patch", "datamarts.openscale.byok.dev"), "yes"),
        (("update", "datamarts.openscale.byok.dev"), "no"),
        (("list", "secrets", "--all-namespaces"), "no"),
        (("get", "secrets/openscale-byok-global-key"), "yes"),
        (("get", "secrets/another"), "no"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_kubectl_says_the_same(place, arguments, answer):
    """What a person would type to check it: `kubectl auth can-i … --as`, in the operator's namespace."""
    command = ("auth", "can-i", *arguments, f"--as={place.user}", f"--namespace={place.own}")
    assert place.cluster.kubectl(*command, check=False).stdout.strip() == answer


def _as_operator(place: Place, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    token = place.cluster.token_for(place.own, place.account)
    path = place.cluster.kubeconfig_for_token(token, tmp_path / "kubeconfig")
    # kubectl takes the last --kubeconfig.
    return place.cluster.kubectl(*arguments, f"--kubeconfig={path}", check=False)


def test_a_token_of_the_account_has_these_rights(place, tmp_path):
    """An operator outside of the cluster is the ServiceAccount: it sees our kinds, and no Secret but those granted."""
    who = _as_operator(place, tmp_path, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert who.stdout == place.user, who.stderr
    assert _as_operator(place, tmp_path, "get", "openscale", "--all-namespaces").returncode == 0
    for namespace, word in ((place.granting, "NotFound"), (place.other, "Forbidden")):
        answer = _as_operator(place, tmp_path, "get", "secret", "s", f"--namespace={namespace}")
        assert f"({word})" in answer.stderr
    assert "(Forbidden)" in _as_operator(place, tmp_path, "get", "secrets", f"--namespace={place.granting}").stderr


def test_an_owner_grants_a_namespace_with_the_readmes_commands(place):
    """README's two commands, run for a namespace that the chart does not name, grant it what the chart would."""
    readme = (chart.CHART / "README.md").read_text().replace("\\\n", " ")
    commands = [
        line.split()[1:] for line in readme.splitlines() if line.startswith("kubectl --namespace team-a create")
    ]
    assert [command[3] for command in commands] == ["role", "rolebinding"]
    for command in commands:
        given = {"team-a": place.other, "--serviceaccount=openscale-byok:openscale-byok": ""}
        words = [given.get(word, word) or f"--serviceaccount={place.own}:{place.account}" for word in command]
        place.cluster.kubectl(*words)
    asked: list[Question] = [(verb, "", "secrets", place.other, "") for verb in VERBS]
    assert {question[0] for question in review(place.cluster, place.user, asked)} == {"get", "delete"}


@pytest.mark.parametrize(("role", "written"), [("view", ()), ("edit", ("datamarts",)), ("admin", KINDS)])
def test_people_have_what_kubernetes_own_roles_say(place, role, written):
    """`edit` writes data marts, `view` reads, `admin` writes and binds; none writes a status or reads a password."""
    if not place.cluster.has_controller_manager:
        pytest.skip("no controller-manager here: it is what puts aggregated roles together")
    user = f"{role}-of-{place.other}"
    place.cluster.kubectl(
        "create", "rolebinding", role, f"--clusterrole={role}", f"--user={user}", f"--namespace={place.other}"
    )
    resources = [kind + sub for kind in KINDS for sub in ("", "/status")]
    resources.append("datamartcredentials")
    asked: list[Question] = [(verb, GROUP, one, place.other, "") for one in resources for verb in VERBS]
    bind: Question = ("bind", GROUP, "openscaleinstances", place.other, "")
    reads = {"get", "list", "watch"}
    expected = {question for question in asked if question[2] in KINDS and question[0] in reads}
    expected |= {question for question in asked if question[2] in written and question[0] not in reads}
    expected |= {bind} if role == "admin" else set()
    asked.append(bind)
    deadline = time.monotonic() + 30
    held = review(place.cluster, user, asked)
    while held != expected and time.monotonic() < deadline:  # a controller puts the rules together
        held = review(place.cluster, user, asked)
    assert held == expected


def test_the_operator_uses_every_right_and_no_other(team: Team):
    """A binding comes and goes around a hand-over: what the operator asked for is what the chart grants it, exactly."""
    log = team.scene.cluster.audit_log
    if log is None:
        pytest.skip("a cluster that was lent gives no audit log")
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    team.marts("m", handover=True)
    team.until_ready("m")
    team.delete("RootKeyBinding", "a")
    team.until_gone("RootKeyBinding", "a")

    places = ("", NAMESPACE, team.namespace)
    ours = (one for one in audit.requests(log) if one.user == team.scene.operator_user and one.namespace in places)
    asked = [one for one in ours if one.resource]
    assert [one for one in asked if one.code in (401, 403)] == []
    used = {(one.verb, one.group, "/".join(filter(None, (one.resource, one.subresource)))) for one in asked}
    granted = {
        (verb, group, resource)
        for role in chart.rights({"secretAccess": {"clusterWide": True}} | ONLY_OPERATOR)
        for rule in role.get("rules", ())
        for verb, group, resource in product(rule["verbs"], rule["apiGroups"], rule["resources"])
    }
    watches = {right for right in granted if right[0] == "watch"}  # audited when they end
    assert used | watches == granted
