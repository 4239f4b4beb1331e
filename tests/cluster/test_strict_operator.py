"""An operator whose owner allows little: what it may not read or use is named, and nothing goes on in secret."""

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from stage.scene import Scene, install_rights, raise_scene
from stage.team import Team, Vault

GRANTED, OTHER = "team-granted", "team-other"
GIVEN = "0a1b2c3d-0000-4000-8000-000000000001"
"""The service instance id that the owner gives to the granted namespace."""
PROFILE = {"trustedProfile": {"id": "Profile-1", "serviceAccountName": "any"}}


@pytest.fixture(scope="module")
def strict(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Secrets of one namespace only, root keys of one account for it, no trusted profiles."""
    if "OPENSCALE_DEV_KUBECONFIG" in os.environ:
        pytest.skip("a cluster that was lent has one operator already")
    allowed = {GRANTED: ["crn:v1:bluemix:public:kms:us-south:a/ffffffffffffffffffffffffffffffff"], "*": ["crn"]}
    settings = {"KEY_POLL_SECONDS": "0.25", "ALLOWED_ROOT_KEYS": json.dumps(allowed)}
    settings["ALLOWED_INSTANCES"] = json.dumps({GIVEN: GRANTED, "*": "*"})
    settings["MINIMUM_RETENTION_DAYS"] = "7"
    folder = tmp_path_factory.mktemp("s")
    nothing = {"secretAccess": {"clusterWide": False}}
    with raise_scene(folder=folder, postgres=False, settings=settings, values=nothing) as raised:
        for name in (GRANTED, OTHER):
            raised.namespace(name)
        granted = {"secretAccess": {"clusterWide": False, "namespaces": [GRANTED]}}
        install_rights(raised.cluster, folder, granted)
        yield raised
        vault.look("the operator's log", raised.operator.log.read_text())
        assert not vault.leaks


def test_a_root_key_that_is_not_on_the_allow_list(strict: Scene, vault: Vault) -> None:
    """Another account's root key is refused before anybody is asked about it."""
    team = Team(strict, vault, GRANTED)
    (key,) = team.root_keys()
    team.instance()
    team.bind("a", key)
    found = team.until_reason("RootKeyBinding", "a", "RootKeyNotAllowed")
    assert "have its CRN prefix allowed" in found["message"]
    assert not team.calls()


def test_an_account_that_only_the_crn_claims(strict: Scene, vault: Vault) -> None:
    """The list allows one account. A root key of another one, whose CRN says that account, is never in force."""
    team = Team(strict, vault, GRANTED)
    key = strict.emulator.create_root_key()
    team.keys.append(key)
    team.source("claims-key", apikey=strict.api_key(key))
    false = key.replace(key.split(":")[6], "a/" + "f" * 32)
    team.instance("claims")
    team.marts("claims-one", instance="claims", handover=True)
    credentials = {"apiKeySecretRef": {"name": "claims-key", "key": "apikey"}}
    team.bind("claims", false, instance="claims", credentials=credentials)
    found = team.until_reason("RootKeyBinding", "claims", "CRNMismatch")
    assert false in found["message"]
    assert key in found["message"]
    assert team.condition("RootKeyBinding", "claims", "Stalled")["status"] == "True"
    team.until_reason("DataMart", "claims-one", "WaitingForRootKey")
    team.polled()
    assert "properties" not in team.get("OpenScaleInstance", "claims")["status"]
    assert not {"wrap", "unwrap", "rewrap"} & set(team.calls()), "Key Protect was asked whose it is, and nothing else"


def test_a_trusted_profile_where_they_are_off(strict: Scene, vault: Vault) -> None:
    """The binding says that they are off, and what to use instead."""
    team = Team(strict, vault, OTHER)
    (key,) = team.root_keys()
    team.instance("profiled")
    team.bind("profiled", key, instance="profiled", credentials=PROFILE)
    found = team.until_reason("RootKeyBinding", "profiled", "TrustedProfileOff")
    assert "use apiKeySecretRef" in found["message"]


def test_a_namespace_that_grants_nothing(strict: Scene, vault: Vault) -> None:
    """Neither an API key nor a password can be read: who must grant what is said, and nothing is asked in vain."""
    team = Team(strict, vault, OTHER)
    key = strict.emulator.create_root_key()
    team.instance()
    team.bind("a", key)
    found = team.until_reason("RootKeyBinding", "a", "SecretForbidden", "KeyUsable")
    assert "RoleBinding in this namespace" in found["message"]
    team.instance("free")
    team.marts("one", instance="free")
    found = team.until_reason("DataMart", "one", "SecretForbidden")
    assert "RoleBinding in this namespace" in found["message"]


def test_an_id_that_the_owner_gave_to_another_namespace(strict: Scene, vault: Vault) -> None:
    """Who claims it first elsewhere gets nothing, and is not told whose it is; the gateway serves it from there."""
    stranger, team = Team(strict, vault, OTHER), Team(strict, vault, GRANTED)
    stranger.ids["squatter"] = team.ids["given"] = GIVEN
    stranger.instance("squatter")
    found = stranger.until_reason("OpenScaleInstance", "squatter", "InstanceNotAllowed")
    assert GRANTED not in found["message"]
    team.instance("given")
    team.marts("sealed", instance="given")
    team.until_ready("sealed")
    stranger.marts("unsealed", instance="squatter")
    stranger.until_reason("DataMart", "unsealed", "InstanceNotAllowed")
    with strict.gateway() as gateway:
        keeper, squatter = (
            who.caller("keeper", "list datamarts", "get openscaleinstances") for who in (team, stranger)
        )
        path = f"/openscale/{GIVEN}/v2/data_marts"
        assert [mart["metadata"]["id"] for mart in gateway.call("GET", path, keeper).json["data_marts"]] == ["sealed"]
        assert gateway.call("GET", path, squatter).status == 403
    stranger.search()
    assert GRANTED not in str(strict.api.list("Event", OTHER))


def test_a_retention_that_the_owner_finds_too_short(strict: Scene, vault: Vault) -> None:
    """Whoever asks for `Shred` at once waits for as long as the operator's owner says."""
    team = Team(strict, vault, GRANTED)
    team.instance("hasty", deletion={"policy": "Shred", "retentionDays": 0})
    team.marts("kept", instance="hasty")
    team.until_ready("kept")
    team.delete("OpenScaleInstance", "hasty")
    found = team.until_reason("OpenScaleInstance", "hasty", "Shredding")
    deleted = team.get("OpenScaleInstance", "hasty")["metadata"]["deletionTimestamp"]
    until = datetime.fromisoformat(deleted) + timedelta(days=7)
    assert f"on {until:%Y-%m-%dT%H:%M:%SZ} 1 sealed passwords" in found["message"]
    team.delete("DataMart", "kept")  # and nothing is left that a retention would keep
    team.until_gone("OpenScaleInstance", "hasty")
