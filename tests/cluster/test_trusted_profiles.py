"""Trusted profiles: IAM believes a ServiceAccount of the binding's own namespace, and no API key is stored."""

import json

from stage.scene import Scene
from stage.team import Team

ACCOUNT = "openscale"


def _profile(scene: Scene, namespace: str, key: str) -> str:
    """A trusted profile that this namespace's ServiceAccount may assume, and that may use this root key."""
    jwks = json.loads(scene.kubectl("get", "--raw", "/openid/v1/jwks"))
    issuer = json.loads(scene.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    scene.emulator.trust_issuer(issuer, jwks=jwks)
    profile = scene.emulator.create_trusted_profile(
        f"profile-{namespace}", issuer=issuer, namespace=namespace, service_account=ACCOUNT
    )
    scene.emulator.grant(profile, key=key)
    return profile


def _credentials(profile: str) -> dict[str, object]:
    return {"trustedProfile": {"id": profile, "serviceAccountName": ACCOUNT}}


def test_a_trusted_profile_takes_the_place_of_an_api_key(team: Team, scene: Scene):
    """A binding signs in with its namespace's ServiceAccount, and everything moves under its root key."""
    (key,) = team.root_keys()
    scene.kubectl("create", "serviceaccount", ACCOUNT, "-n", team.namespace)
    team.instance()
    team.bind("a", key, credentials=_credentials(_profile(scene, team.namespace, key)))
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.prove(key)


def test_a_profile_of_another_namespace_is_refused(team: Team, scene: Scene):
    """A profile that trusts another namespace's ServiceAccount is refused, by name, and nothing is sealed under it."""
    (key,) = team.root_keys()
    scene.kubectl("create", "serviceaccount", ACCOUNT, "-n", team.namespace)
    team.instance()
    team.bind("a", key, credentials=_credentials(_profile(scene, "somewhere-else", key)))
    found = team.until_reason("RootKeyBinding", "a", "CredentialsRefused")
    assert f"trust ServiceAccount {team.namespace}/{ACCOUNT}" in found["message"]
    with team.counted() as tally:
        team.wait(4)
    assert set(tally.writes) <= {"serviceaccounts/token"}, "each look asks for a token, and nothing else is written"


def test_a_service_account_may_come_later(team: Team, scene: Scene):
    """Its absence is named, and once it is there the binding comes into force by itself."""
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key, credentials=_credentials(_profile(scene, team.namespace, key)))
    found = team.until_reason("RootKeyBinding", "a", "CredentialsNotFound")
    assert f"credentials.trustedProfile: ServiceAccount {ACCOUNT} does not exist" in found["message"]
    scene.kubectl("create", "serviceaccount", ACCOUNT, "-n", team.namespace)
    team.until_protected(key)
