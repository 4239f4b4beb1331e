"""Who asks and what they may do, by a real API server: its tokens, its RBAC, and the rights that the gateway needs."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.aio import client, config

from local_cluster import Cluster
from openscale_byok.adapters import cluster as adapter
from openscale_byok.adapters import http
from openscale_byok.adapters.iam_tokens import IamTokens
from openscale_byok.adapters.reviews import AskedReviews
from openscale_byok.adapters.service_account_keys import ServiceAccountKeys
from openscale_byok.core.caller import CREDENTIALS, Access, Caller
from openscale_byok.engine.rights import KNOWN_SECONDS
from openscale_byok.errors import Refused, Unavailable
from openscale_byok.reasons import Reason
from openscale_byok.shell.app import SystemClock

AUDIENCE = "openscale-byok"
PAGE = (Path(__file__).parents[2] / "docs/who-may.md").read_text()
READING, BINDING = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
IAM_USER = re.search(r"name: (iam:\S+)", BINDING)[1]
API_SERVER_REMEMBERS_SECONDS = 10.0
RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME}
rules:
  - {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
  - {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME}
subjects: [{kind: ServiceAccount, name: gateway, namespace: NAME}]
"""


def token(cluster: Cluster, namespace: str, account: str, *audiences: str) -> str:
    """A token as `kubectl create token` makes it."""
    options = [f"--audience={audience}" for audience in audiences]
    return cluster.kubectl("create", "token", account, f"--namespace={namespace}", *options).stdout.strip()


def asked_by_hand(cluster: Cluster, namespace: str) -> str:
    """What the page's command says, in this namespace."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    command = next(found for found in blocks if "SubjectAccessReview" in found)
    environ = os.environ | {"PATH": f"{cluster.kubectl_path.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-euc", command.replace("team-a", namespace)], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def app(crds, namespace):
    """Two ServiceAccounts: the gateway's own, with its rights, and that of a workload."""
    crds.kubectl("create", "serviceaccount", "gateway", f"--namespace={namespace}")
    crds.kubectl("create", "serviceaccount", "app", f"--namespace={namespace}")
    rights = RIGHTS.replace("NAME", namespace)
    crds.kubectl("apply", "-f", "-", input=rights)
    yield f"system:serviceaccount:{namespace}:app"
    crds.kubectl("delete", "--wait=false", "-f", "-", input=rights)


async def asked_as(crds, namespace, account, folder) -> AsyncIterator[AskedReviews]:
    """The adapter, connected with the rights of a ServiceAccount."""
    path = crds.kubeconfig_for_token(token(crds, namespace, account), folder / f"{account}.kubeconfig")
    settings = client.Configuration()
    settings.client_session_kwargs = {"trust_env": False}
    settings.retries = False
    await config.load_kube_config(str(path), client_configuration=settings, persist_config=False)
    async with client.ApiClient(configuration=settings) as api, http.open_session() as session:
        iam = IamTokens(session, "https://iam.cloud.ibm.com", SystemClock())
        cluster = adapter.Cluster(api)
        keys = ServiceAccountKeys(cluster, (AUDIENCE,), SystemClock())
        await keys.refresh()
        yield AskedReviews(cluster, iam, (AUDIENCE,), keys)
        await keys.close()


@pytest.fixture
async def reviews(crds, namespace, app, tmp_path) -> AsyncIterator[AskedReviews]:
    """With the gateway's rights."""
    async for found in asked_as(crds, namespace, "gateway", tmp_path):
        yield found


async def refused(call) -> None:
    """The call ends with the refusal of every bad token."""
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.reason is Reason.NOT_AUTHENTICATED


async def until(condition, what, seconds=20.0):
    """Wait until the API server says so."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.1)


# Tokens ------------------------------------------------------------------------------------------------


async def test_a_token_for_us_and_every_other(crds, namespace, app, reviews):
    """Made for us, also among others: its ServiceAccount. The usual one, one for somebody else, none: nobody."""
    made = token(crds, namespace, "app", AUDIENCE)
    found = await reviews.caller(made)
    assert (found.user, found.by) == (app, "kubernetes")
    assert set(found.groups) >= {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    assert found.expires == pytest.approx(time.time() + 3600, abs=60)
    assert (await reviews.caller(token(crds, namespace, "app", "other", AUDIENCE))).user == app
    await refused(reviews.caller(token(crds, namespace, "app")))
    await refused(reviews.caller(token(crds, namespace, "app", "somebody-else")))
    await refused(reviews.caller(token(crds, namespace, "app", "iam")))
    for bad in (made[:-8], made[:-8] + "AAAAAAAA", made.rpartition(".")[0] + ".", "garbage", ".", "", "x" * 100_000):
        await refused(reviews.caller(bad))


async def test_whose_token_it_is_shows_before_the_api_server_is_asked(crds, namespace, app, reviews):
    """By the keys that the cluster publishes, to whoever has the chart's rights: a token for us names its subject; one
    for somebody else, one that was changed, and one that was made up name nobody."""
    made = token(crds, namespace, "app", AUDIENCE)
    assert reviews.signer(made) == app
    head, payload, signature = made.split(".")
    claims = jwt.decode(made, options={"verify_signature": False}) | {"sub": "system:serviceaccount:kube-system:x"}
    forged = jwt.encode(claims, "k" * 32, "HS256", {"kid": jwt.get_unverified_header(made)["kid"]})
    bad = [token(crds, namespace, "app"), token(crds, namespace, "app", "iam"), made[:-8] + "AAAAAAAA", forged]
    bad += [f"{head}.{forged.split('.')[1]}.{signature}", f"{head}.{payload}.", "garbage", "", "x" * 100_000]
    assert [reviews.signer(each) for each in bad] == [""] * len(bad)


async def test_tokens_that_the_api_server_never_made(crds, namespace, app, reviews):
    """Made with its own key one is good; these are bad for what they say: over, not yet, another issuer or key."""
    path = crds.directory / "service-account.key"
    if not path.exists():
        pytest.skip("a lent cluster keeps its signing key")
    made = token(crds, namespace, "app", AUDIENCE)
    header = {"kid": jwt.get_unverified_header(made)["kid"]}
    claims = jwt.decode(made, options={"verify_signature": False})
    now = int(time.time())

    def signed(key: object, **other: object) -> str:
        return jwt.encode(claims | other, key, "RS256", header)

    ours = path.read_bytes()
    assert (await reviews.caller(signed(ours, jti="another"))).user == app
    await refused(reviews.caller(signed(ours, iat=now - 7200, nbf=now - 7200, exp=now - 3600)))
    await refused(reviews.caller(signed(ours, nbf=now + 3600, exp=now + 7200)))
    await refused(reviews.caller(signed(ours, iss="https://issuer.example.com")))
    await refused(reviews.caller(signed(rsa.generate_private_key(public_exponent=65537, key_size=2048))))
    await refused(reviews.caller(jwt.encode(claims, None, "none")))


async def test_a_deleted_account_is_nobody(crds, namespace, app, reviews):
    """Its tokens end with it, once the API server itself has forgotten them; the page says how long that takes."""
    made = token(crds, namespace, "app", AUDIENCE)
    assert (await reviews.caller(made)).user == app
    crds.kubectl("delete", "serviceaccount", "app", f"--namespace={namespace}")
    begun = time.monotonic()

    async def gone() -> bool:
        try:
            await reviews.caller(made)
        except Refused:
            return True
        return False

    await until(gone, "the token of a deleted ServiceAccount is refused", API_SERVER_REMEMBERS_SECONDS + 5)
    assert time.monotonic() - begun < API_SERVER_REMEMBERS_SECONDS + 2
    assert f"{API_SERVER_REMEMBERS_SECONDS + KNOWN_SECONDS:.0f} seconds: {KNOWN_SECONDS:.0f} here" in PAGE


# Rights ------------------------------------------------------------------------------------------------


async def test_reading_as_the_page_grants_it(crds, namespace, app, reviews):
    """The page's YAML lets one ServiceAccount read one password in one namespace; its deletion is seen at once."""
    caller = await reviews.caller(token(crds, namespace, "app", AUDIENCE))
    read = Access("get", CREDENTIALS, namespace, "scores")
    assert not await reviews.allowed(caller, read)
    assert asked_by_hand(crds, namespace) == "false"
    granted = READING.replace("namespace: team-a", f"namespace: {namespace}")
    crds.kubectl("apply", f"--namespace={namespace}", "-f", "-", input=granted)

    async def may() -> bool:
        return await reviews.allowed(caller, read)

    async def may_not() -> bool:
        return not await may()

    await until(may, "what was granted is allowed")
    assert asked_by_hand(crds, namespace) == "true"
    for other in (
        Access("get", CREDENTIALS, namespace, "others"),
        Access("get", CREDENTIALS, namespace),
        Access("get", CREDENTIALS, "default", "scores"),
        Access("get", CREDENTIALS, "", "scores"),
        Access("list", CREDENTIALS, namespace, "scores"),
        Access("get", "datamarts", namespace, "scores"),
        Access("get", CREDENTIALS, namespace, "scores", group="example.com"),
        Access("get", f"{CREDENTIALS}/status", namespace, "scores"),
    ):
        assert not await reviews.allowed(caller, other), other
    assert not await reviews.allowed(Caller(f"system:serviceaccount:{namespace}:gateway", "kubernetes"), read)
    crds.kubectl("delete", "rolebinding", "read-scores", f"--namespace={namespace}")
    await until(may_not, "what was taken away is not")


async def test_binding_as_the_page_grants_it(crds, namespace, reviews):
    """The page's YAML lets one IAM identity bind one instance; nobody else, by no likeness of their name."""
    crds.kubectl("apply", f"--namespace={namespace}", "-f", "-", input=BINDING)
    caller = Caller(IAM_USER, "iam")
    bind = Access("bind", "openscaleinstances", namespace, "openscale")

    async def may() -> bool:
        return await reviews.allowed(caller, bind)

    await until(may, "what was granted is allowed")
    assert await reviews.allowed(caller, Access("create", "rootkeybindings", namespace))
    assert await reviews.allowed(caller, Access("delete", "rootkeybindings", namespace, "any"))
    assert not await reviews.allowed(caller, Access("bind", "openscaleinstances", namespace, "another"))
    assert not await reviews.allowed(caller, Access("bind", "openscaleinstances", namespace))
    assert not await reviews.allowed(caller, Access("update", "rootkeybindings", namespace, "any"))
    assert not await reviews.allowed(caller, Access("create", "rootkeybindings", "default"))
    assert not await reviews.allowed(caller, Access("get", CREDENTIALS, namespace, "scores"))
    for user in (IAM_USER.removeprefix("iam:"), f"{IAM_USER}0", IAM_USER.upper(), f"iam:{IAM_USER}"):
        assert not await reviews.allowed(Caller(user, "iam"), bind)


async def test_groups_and_extra_reach_the_authorizer(crds, namespace, app, reviews):
    """A right of a group is a right of its members, and of an IAM identity it is none: that is in no group."""
    role = ("create", "role", "readers", f"--namespace={namespace}", "--verb=get")
    crds.kubectl(*role, "--resource=datamarts.openscale.byok.dev")
    group = f"system:serviceaccounts:{namespace}"
    binding = ("create", "rolebinding", "readers", f"--namespace={namespace}", "--role=readers", f"--group={group}")
    crds.kubectl(*binding, "--group=system:authenticated")
    caller = await reviews.caller(token(crds, namespace, "app", AUDIENCE))
    get = Access("get", "datamarts", namespace, "any")

    async def may() -> bool:
        return await reviews.allowed(caller, get)

    await until(may, "a right of its group is its own")
    assert not await reviews.allowed(Caller(IAM_USER, "iam"), get)


async def test_without_the_right_to_ask_nobody_is_let_in(crds, namespace, app, tmp_path):
    """A gateway that may not ask answers nobody, and takes nobody's token for a bad one."""
    made = token(crds, namespace, "app", AUDIENCE)
    async for reviews in asked_as(crds, namespace, "app", tmp_path):
        for call in (reviews.caller(made), reviews.allowed(Caller(app, "kubernetes"), Access("get", "datamarts"))):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.reason is Reason.CLUSTER_UNAVAILABLE
            assert "403" in caught.value.message
            assert made not in repr(caught.value)
