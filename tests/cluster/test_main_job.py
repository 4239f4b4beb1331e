"""The main job on a real API server: sealed, moved under a root key, to another one, and back."""

from stage.team import Team


def test_case_1_then_another_root_key_then_the_global_key(team: Team) -> None:
    """A root key is bound before the first data mart; then A -> B straight, by a Standby; then back. All opens."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    team.bind("a", key_a)
    team.until_protected(key_a)
    team.marts("handed", handover=True)
    team.marts("kept")
    team.until_ready("handed", "kept")
    team.prove(key_a)
    assert not team.get("Secret", "handed-db")
    assert team.condition("DataMart", "handed", "SourceRemoved")["status"] == "True"
    assert team.condition("DataMart", "kept", "SourceRemoved")["reason"] == "SourceKept"

    team.bind("b", key_b)
    team.until_reason("RootKeyBinding", "b", "Standby")
    assert team.get("RootKeyBinding", "b")["status"]["role"] == "Standby"
    team.prove(key_a)
    team.delete("RootKeyBinding", "a")
    team.until_protected(key_b)
    team.until_gone("RootKeyBinding", "a")
    team.scene.emulator.delete(key_a)
    team.prove(key_b)

    team.delete("RootKeyBinding", "b")
    team.until_protected("global")
    team.until_gone("RootKeyBinding", "b")
    team.scene.emulator.delete(key_b)
    team.prove("global")
    assert team.get("OpenScaleInstance", "prod")["status"]["protection"] == "Global"
    told = {(e["regarding"]["name"], e["reason"]) for e in team.scene.api.list("Event", team.namespace)}
    assert told >= {("a", "Released"), ("b", "Released")}
    assert told >= {("prod", reason) for reason in ("DataKeyMinted", "RootKeyChanged", "DataKeyRetired")}
    team.nothing_written()
