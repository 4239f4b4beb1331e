"""The chart's policy on Secrets, on a real API server: whoever names one must be allowed to read it."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from stage import manifests
from stage.api import MERGE_PATCH, ApiError, Object, path
from stage.impersonation import ALL, GATEWAY, KINDS, PASSES, REFUSED, as_user, grant, outcome_of
from stage.team import Team

CRN = (
    "crn:v1:bluemix:public:kms:us-south:a/0123456789abcdef0123456789abcdef:"
    "11111111-2222-4333-8444-555555555555:key:00000000-0000-4000-8000-000000000001"
)
EDITOR = tuple((kind, ALL, ()) for kind in KINDS)
BINDER = ("openscaleinstances", ("bind",), ())
SERVICE = "00000000-1111-2222-3333-444444444444"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"
PROFILE = {"trustedProfile": {"id": "Profile-1", "serviceAccountName": "kp"}}
KEY = {"apiKeySecretRef": {"name": "kp", "key": "apikey"}}

# What an editor of a data mart does, whose password is read from Secret "m-db" of the namespace.
DATABASE: dict[str, Object] = {
    "another Secret": {"password": {"secretRef": {"name": "other"}}},
    "another key of it": {"password": {"secretRef": {"key": "other"}}},
    "host": {"host": "evil.example.com"},
    "port": {"port": 1},
    "name": {"name": "evil"},
    "username": {"username": "evil"},
    "type": {"type": "Db2"},
    "tls": {"tls": "Require"},
    "caBundle": {"tls": "VerifyFull", "caBundle": CERTIFICATE},
}
FREE: dict[str, Object] = {
    "schema": {"spec": {"database": {"schema": "other"}}},
    "revision": {"spec": {"database": {"password": {"revision": 1}}}},
    "display name": {"spec": {"displayName": "Scores"}},
    "no Secret any more": {"spec": {"database": {"host": "new.example.com", "password": None}}},
    "label": {"metadata": {"labels": {"a": "b"}}},
    "nothing": {},
}


@pytest.fixture
def sealed(team: Team) -> Team:
    """A data mart with a source that is kept, made by the admin."""
    team.instance()
    team.marts("m")
    team.until_ready("m")
    return team


def said(team: Team, kind: str, name: str, change: Object, headers: dict[str, str]) -> str:
    """What becomes of a merge patch."""
    where = f"{path(kind, team.namespace, name)}?dryRun=All"
    return outcome_of(lambda: team.scene.api.call("PATCH", where, change, MERGE_PATCH, headers))


def made(team: Team, new: Object, headers: dict[str, str]) -> str:
    """What becomes of a create."""
    where = f"{path(new['kind'], team.namespace)}?dryRun=All"
    return outcome_of(lambda: team.scene.api.call("POST", where, new, more=headers))


def mart(team: Team, source: str) -> Object:
    """A data mart that reads its password from a Secret; from none where it is empty."""
    new = manifests.datamart(team.namespace, "new", "prod", source or "none")
    if not source:
        del new["spec"]["database"]["password"]
    return new


def new_objects(team: Team) -> dict[str, Callable[[], Object]]:
    """One of each way to name something, all the same names: Secret "kp", ServiceAccount "kp"."""

    def instance(**spec: Any) -> Object:
        return manifests.instance(team.namespace, "new", SERVICE, **spec)

    def binding(**spec: Any) -> Object:
        return manifests.binding(team.namespace, "new", "prod", CRN, **spec)

    return {
        "data mart": lambda: mart(team, "kp"),
        "instance": lambda: instance(credentials=KEY),
        "binding": lambda: binding(credentials=KEY),
        "instance with a profile": lambda: instance(credentials=PROFILE),
        "binding with a profile": lambda: binding(credentials=PROFILE),
        "data mart that names none": lambda: mart(team, ""),
        "instance that names none": instance,
        "binding that names none": binding,
    }


def test_who_may_name_one_in_a_new_object(team: Team) -> None:
    """`get` on that Secret, by its name; for a profile, the right to tokens of that ServiceAccount. None: no right."""
    grant(team, "editor", *EDITOR, BINDER)
    grant(team, "reader", *EDITOR, BINDER, ("secrets", ("get",), ("kp",)))
    grant(team, "reader-of-another", *EDITOR, BINDER, ("secrets", ("get",), ("other",)))
    grant(team, "lister", *EDITOR, BINDER, ("secrets", ("list", "watch", "create"), ()))
    grant(team, "user-of-the-account", *EDITOR, BINDER, ("serviceaccounts/token", ("create",), ("kp",)))
    new = new_objects(team)
    free = {name: PASSES for name in new if name.endswith("none")}
    secrets, accounts = ("data mart", "instance", "binding"), ("instance with a profile", "binding with a profile")
    nothing = free | dict.fromkeys((*secrets, *accounts), REFUSED)
    expected = {
        "editor": nothing,
        "reader": nothing | dict.fromkeys(secrets, PASSES),
        "reader-of-another": nothing,
        "lister": nothing,
        "user-of-the-account": nothing | dict.fromkeys(accounts, PASSES),
    }
    assert {who: {name: made(team, make(), as_user(who)) for name, make in new.items()} for who in expected} == expected
    assert {made(team, make(), {}) for make in new.values()} == {PASSES}, "the cluster's admin"


def test_who_may_change_what_is_read_or_where_it_goes(sealed: Team) -> None:
    """While a source is named, every field of the endpoint is as good as the Secret itself; what is neither is free."""
    grant(sealed, "editor", *EDITOR)
    grant(sealed, "reader", *EDITOR, ("secrets", ("get",), ("m-db", "other")))
    touching = {name: {"spec": {"database": change}} for name, change in DATABASE.items()}
    for who, touched in (("editor", REFUSED), ("reader", PASSES)):
        found = {name: said(sealed, "DataMart", "m", change, as_user(who)) for name, change in touching.items()}
        assert found == dict.fromkeys(touching, touched), who
        found = {name: said(sealed, "DataMart", "m", change, as_user(who)) for name, change in FREE.items()}
        assert found == dict.fromkeys(FREE, PASSES), who


def test_who_may_change_credentials(team: Team) -> None:
    """Of instance and binding: another Secret, another key of it, a profile; to name none any more is free."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key, credentials=KEY)
    grant(team, "editor", *EDITOR, BINDER)
    grant(team, "reader", *EDITOR, BINDER, ("secrets", ("get",), ("kp", "other", "key-protect")))
    changes = {
        "another Secret": {"apiKeySecretRef": {"name": "other"}},
        "another key of it": {"apiKeySecretRef": {"key": "other"}},
    }
    expected = {"editor": dict.fromkeys(changes, REFUSED), "reader": dict.fromkeys(changes, PASSES)}
    for kind, name in (("OpenScaleInstance", "prod"), ("RootKeyBinding", "a")):
        for who, outcomes in expected.items():
            specs = {does: {"spec": {"credentials": asked}} for does, asked in changes.items()}
            found = {does: said(team, kind, name, spec, as_user(who)) for does, spec in specs.items()}
            assert found == outcomes
        profile = {"spec": {"credentials": {"apiKeySecretRef": None, **PROFILE}}}
        assert said(team, kind, name, profile, as_user("reader")) == REFUSED
        assert said(team, kind, name, {"spec": {"credentials": None}}, as_user("editor")) == PASSES
    other = {"spec": {"dataKeyRevision": 1}}
    assert said(team, "OpenScaleInstance", "prod", other, as_user("editor")) == PASSES
    assert said(team, "RootKeyBinding", "a", {"spec": {"dataKeyCacheSeconds": 120}}, as_user("editor")) == PASSES


def test_the_gateway_names_none(sealed: Team) -> None:
    """It may read Secrets for itself and acts for callers who may not: none gets a Secret that way."""
    gateway = as_user(GATEWAY, "system:masters")
    labels = {"metadata": {"labels": {"openscale.byok.dev/managed-by": "gateway"}}}
    sealed.patch("DataMart", "m", labels)
    own = mart(sealed, "m-db")
    own["metadata"] |= labels["metadata"]
    assert made(sealed, own, gateway) == REFUSED
    del own["spec"]["database"]["password"]
    assert made(sealed, own, gateway) == PASSES
    for name, change in DATABASE.items():
        assert said(sealed, "DataMart", "m", {"spec": {"database": change}}, gateway) == REFUSED, name
    assert said(sealed, "DataMart", "m", FREE["display name"], gateway) == PASSES


def test_what_was_made_before_stays_and_is_applied_again(sealed: Team) -> None:
    """Flux, Argo CD and kubectl put the same manifest again and change what is free, without a right on the Secret."""
    grant(sealed, "gitops", *EDITOR)
    manifest = manifests.datamart(sealed.namespace, "m", "prod", "m-db")
    words = ("apply", "--as=gitops", "-f", "-", "-n", sealed.namespace)
    sealed.scene.kubectl(*words, given=json.dumps(manifest))
    server = ("--server-side", "--field-manager=kustomize-controller", "--force-conflicts")
    sealed.scene.kubectl(*words, *server, given=json.dumps(manifest))
    manifest["spec"]["displayName"] = "Scores"
    sealed.scene.kubectl(*words, *server, given=json.dumps(manifest))
    assert sealed.get("DataMart", "m")["spec"]["displayName"] == "Scores"
    sealed.until_ready("m")
    sealed.prove("global")


def test_kubernetes_own_edit_may(team: Team) -> None:
    """`edit` and `admin` of a namespace read its Secrets and use its accounts anyway: nothing changes for them."""
    if not team.scene.cluster.has_controller_manager:
        pytest.skip("no controller-manager here: it is what puts aggregated roles together")
    for role in ("edit", "admin"):
        bind = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user=an-{role}", "-n", team.namespace)
        team.scene.kubectl(*bind)
    new = new_objects(team)
    team.until(lambda: made(team, new["data mart"](), as_user("an-edit")) == PASSES, "an edit may")
    team.until(lambda: made(team, new["instance"](), as_user("an-admin")) == PASSES, "an admin may")
    assert made(team, new["binding with a profile"](), as_user("an-admin")) == PASSES


TOLD = {
    "data mart": (
        'Secret "kp" in DataMart, nor change where what it holds goes: the verb "get" is missing on secrets "kp"'
    ),
    "instance with a profile": (
        'ServiceAccount "kp" in OpenScaleInstance: the verb "create" is missing on serviceaccounts/token "kp"'
    ),
}


@pytest.mark.parametrize("what", TOLD)
def test_the_refusal_says_what_is_missing_and_how_to_grant_it(team: Team, what: str) -> None:
    """The message names who, what, where, and commands that work as they stand but for names."""
    grant(team, "editor", *EDITOR)
    new = new_objects(team)[what]()
    with pytest.raises(ApiError) as refused:
        team.scene.api.call("POST", path(new["kind"], team.namespace), new, more=as_user("editor"))
    message = str(refused.value)
    assert f'editor may not name {TOLD[what]} in namespace "{team.namespace}". Have it granted: ' in message
    commands = message.partition("Have it granted: ")[2].replace("NAME", "namers").replace("USER", "editor")
    for command in commands.split(" && "):
        team.scene.kubectl(*shlex.split(command.removeprefix("kubectl ")))
    team.until(lambda: made(team, new, as_user("editor")) == PASSES, "what was granted is in force")
