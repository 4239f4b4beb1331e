"""What is stored was tampered with, copied, moved or lost: said, never used, and mended from the source or by hand."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from stage import manifests
from stage.team import Team

Object = dict[str, Any]


def sealed(team: Team, name: str) -> Object:
    """What is stored of a data mart's password."""
    return dict(team.get("DataMart", name)["status"]["sealedPassword"])


def store(team: Team, name: str, envelope: str) -> None:
    """Write an envelope as an intruder with the right to /status would."""
    team.patch("DataMart", name, {"status": {"sealedPassword": {"envelope": envelope}}}, status=True)


def flipped(envelope: str) -> str:
    """One character of the ciphertext changed."""
    parts = envelope.split(".")
    parts[3] = ("A" if parts[3][0] != "A" else "B") + parts[3][1:]
    return ".".join(parts)


def test_a_tampered_or_copied_envelope_is_refused_and_mended_by_giving_the_password_again(team: Team) -> None:
    """A flipped bit is Tampered, another data mart's or instance's envelope is ContextMismatch; each names the cure."""
    team.instance()
    team.instance("other")
    names = ("flip", "copy", "alien", "junk")
    team.marts(*names, handover=True)
    team.marts("donor", handover=True)
    team.marts("foreign", handover=True, instance="other")
    team.until_ready(*names, "donor", "foreign")
    foreign = team.passwords.pop("foreign")

    store(team, "flip", flipped(sealed(team, "flip")["envelope"]))
    store(team, "copy", sealed(team, "donor")["envelope"])
    store(team, "alien", sealed(team, "foreign")["envelope"])
    store(team, "junk", "no.envelope.at.all.")
    reasons = {"flip": "Tampered", "copy": "ContextMismatch", "alien": "ContextMismatch", "junk": "Tampered"}
    for name, reason in reasons.items():
        found = team.until_reason("DataMart", name, reason)
        assert found["status"] == "False"
        assert f"give the password again in Secret {name}-db, key password" in found["message"]
        assert team.condition("DataMart", name, "Stalled")["status"] == "True"
        assert team.condition("DataMart", name, "Sealed")["status"] != "True", "what does not open is not sealed"
    team.until_reason("OpenScaleInstance", "prod", "Stuck")
    team.until_settled()
    team.nothing_written(6)

    for name in names:
        team.give_again(name, handover=True)
    team.until_ready(*names, seconds=90)
    team.prove("global")
    team.until_ready("prod", kind="OpenScaleInstance")
    team.passwords = {"foreign": foreign}
    team.prove("global", instance="other")


def test_a_tampered_envelope_is_mended_by_itself_while_its_source_is_kept(team: Team) -> None:
    """With the source still there nobody has to act: the password is sealed anew from it."""
    team.instance()
    team.marts("one", "two")
    team.until_ready("one", "two")
    for name, broken in (("one", flipped(sealed(team, "one")["envelope"])), ("two", sealed(team, "one")["envelope"])):
        store(team, name, broken)
        team.until(lambda name=name, broken=broken: sealed(team, name)["envelope"] != broken, f"{name} is mended")
        team.until_ready(name)
    team.prove("global")
    team.until_settled()


def test_a_tampered_envelope_keeps_no_one_else_from_moving(team: Team) -> None:
    """A change of root key passes a broken envelope by: the others move, the broken one is counted as stuck."""
    (key,) = team.root_keys()
    team.instance()
    team.marts("one", "two", "three", handover=True)
    team.until_ready("one", "two", "three")
    store(team, "two", flipped(sealed(team, "two")["envelope"]))
    team.until_reason("DataMart", "two", "Tampered")
    team.bind("a", key)
    team.until(lambda: team.get("OpenScaleInstance", "prod")["status"]["secrets"]["current"] == 2, "the others moved")
    team.until_reason("OpenScaleInstance", "prod", "Stuck")
    assert team.get("OpenScaleInstance", "prod")["status"]["secrets"]["stuck"] == 1
    team.until_settled()
    team.nothing_written(5)
    team.give_again("two")
    team.until_ready("two", seconds=90)
    team.until_protected(key)
    team.prove(key)


def test_a_changed_endpoint_asks_for_the_password_and_recovers_either_way(team: Team) -> None:
    """A sealed password goes only where it was given for: EndpointChanged, until it is given again, or moved back."""
    team.instance()
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    for name in ("one", "two"):
        team.patch("DataMart", name, {"spec": {"database": {"host": "elsewhere.example.com"}}})
    for name in ("one", "two"):
        found = team.until_reason("DataMart", name, "EndpointChanged")
        assert "spec.database" in found["message"]
        assert "db.example.com" in found["message"]
        assert f"give the password again in Secret {name}-db" in found["message"]
    team.until_settled()
    team.nothing_written(5)
    team.patch("DataMart", "one", {"spec": {"database": {"host": "db.example.com"}}})
    team.until_ready("one", seconds=5)
    team.give_again("two", handover=True)
    team.until_ready("two", seconds=90)
    team.prove("global")
    team.until_gone("Secret", "two-db")
    team.until_settled()


def test_an_endpoint_that_changed_does_not_hold_up_a_change_of_root_key(team: Team) -> None:
    """It is re-encrypted as it is, bound to its former endpoint, so that the old root key is needed by nothing."""
    key_a, key_b = team.root_keys(2)
    team.instance()
    team.bind("a", key_a)
    team.until_protected(key_a)
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.patch("DataMart", "one", {"spec": {"database": {"host": "elsewhere.example.com"}}})
    team.until_reason("DataMart", "one", "EndpointChanged")
    team.bind("b", key_b)
    team.delete("RootKeyBinding", "a")
    team.until_gone("RootKeyBinding", "a")
    team.scene.emulator.delete(key_a)
    assert team.condition("DataMart", "one")["reason"] == "EndpointChanged"
    team.patch("DataMart", "one", {"spec": {"database": {"host": "db.example.com"}}})
    team.until_ready("one", "two")
    team.prove(key_b)


def test_a_changed_endpoint_with_a_kept_source_is_sealed_anew(team: Team) -> None:
    """With the source still there the password is given for the new endpoint by whoever changed the spec."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.patch("DataMart", "one", {"spec": {"database": {"host": "elsewhere.example.com"}}})
    team.until_ready("one")
    team.prove("global")


def test_a_wiped_status_of_a_data_mart(team: Team) -> None:
    """Sealed anew from a kept source; asked for again, and taken, where the source was handed over."""
    team.instance()
    team.marts("kept")
    team.marts("handed", handover=True)
    team.until_ready("kept", "handed")
    for name in ("kept", "handed"):
        team.patch("DataMart", name, {"status": None}, status=True)
    team.until_ready("kept")
    found = team.until_reason("DataMart", "handed", "SecretNotFound")
    assert "handed-db" in found["message"]
    team.until_settled()
    team.nothing_written()
    team.give_again("handed", handover=True)
    team.until_ready("handed", seconds=30)
    team.prove("global")


@pytest.mark.parametrize("customer", [True, False])
def test_lost_properties_are_rebuilt_from_the_envelopes(team: Team, customer: bool) -> None:
    """The instance is deleted by force and created again: every envelope brings its own wrapped key; none is lost."""
    keys = team.root_keys() if customer else []
    team.instance()
    if customer:
        team.bind("a", keys[0])
        team.until_protected(keys[0])
    team.marts("one", "two", handover=True)
    team.until_ready("one", "two")
    team.until_ready("prod", kind="OpenScaleInstance")
    envelopes = {name: sealed(team, name)["envelope"] for name in ("one", "two")}
    team.delete("OpenScaleInstance", "prod")
    team.patch("OpenScaleInstance", "prod", {"metadata": {"finalizers": None}})
    team.until_gone("OpenScaleInstance", "prod")
    team.until_reason("DataMart", "one", "InstanceNotFound")
    team.instance()
    team.until_protected(keys[0] if customer else "global")
    team.until_ready("one", "two")
    assert {name: sealed(team, name)["envelope"] for name in envelopes} == envelopes, "nothing had to be sealed anew"
    team.prove(keys[0] if customer else "global")
    team.until_settled()
    team.nothing_written()


def test_the_api_server_keeps_an_active_data_key_from_being_wiped(team: Team) -> None:
    """`status: null` on an instance is refused: nothing is lost to begin with."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    with pytest.raises(Exception, match="may not vanish"):
        team.patch("OpenScaleInstance", "prod", {"status": None}, status=True)
    with pytest.raises(Exception, match="may not vanish"):
        team.patch("OpenScaleInstance", "prod", {"status": {"properties": {"dataKeys": []}}}, status=True)


def test_an_envelope_of_a_newer_format_is_left_alone(team: Team) -> None:
    """After a downgrade: nothing overwrites it although its source is there, and no data key that it may need goes."""
    (key,) = team.root_keys()
    team.instance()
    team.marts("one", "two")
    team.until_ready("one", "two")
    header, *rest = sealed(team, "one")["envelope"].split(".")
    text = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)).replace(b"byok.v2", b"byok.v3")
    newer = ".".join([base64.urlsafe_b64encode(text).rstrip(b"=").decode(), *rest])
    store(team, "one", newer)
    found = team.until_reason("DataMart", "one", "NewerFormat")
    assert "run the newer operator" in found["message"]
    team.bind("a", key)
    team.until(lambda: sealed(team, "two")["dataKey"] != sealed(team, "one")["dataKey"], "the other moved")
    team.until_settled()
    team.nothing_written(5)
    assert sealed(team, "one")["envelope"] == newer
    entries = team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"]
    assert {entry["rootKey"] for entry in entries} == {key, "global"}


def _flipped_key(team: Team, entry: Object) -> Object:
    """Its wrapped form, one character changed."""
    return entry | {"wrapped": flipped(entry["wrapped"])}


def _foreign_key(team: Team, entry: Object) -> Object:
    """In its place the wrapped form of a former data key of the same instance, which unwraps without complaint."""
    team.patch("OpenScaleInstance", "prod", {"spec": {"dataKeyRevision": 1}})
    team.until(lambda: [key["id"] for key in _data_keys(team)] not in ([entry["id"]], []), "another data key")
    team.until_settled()
    (active,) = _data_keys(team)
    return active | {"wrapped": entry["wrapped"]}


def _data_keys(team: Team) -> list[Object]:
    return list(team.get("OpenScaleInstance", "prod")["status"]["properties"]["dataKeys"])


@pytest.mark.parametrize("tampered", [_flipped_key, _foreign_key])
def test_a_wrapped_data_key_that_was_tampered_with(team: Team, tampered: Callable[[Team, Object], Object]) -> None:
    """Found at the next unwrap: Ready is no longer said, nothing is overwritten; put back, all is well again."""
    team.instance()
    team.marts("one", handover=True)
    team.until_ready("one")
    (entry,) = _data_keys(team)
    junk = tampered(team, entry)
    (good,) = _data_keys(team)
    team.patch("OpenScaleInstance", "prod", {"status": {"properties": {"dataKeys": [junk]}}}, status=True)
    team.scene.operator.restart()
    found = team.until_reason("OpenScaleInstance", "prod", "Tampered")
    assert found["status"] == "False"
    team.until_settled()
    team.nothing_written()
    team.patch("OpenScaleInstance", "prod", {"status": {"properties": {"dataKeys": [good]}}}, status=True)
    team.until_ready("prod", kind="OpenScaleInstance")
    team.prove("global")


def test_two_instances_that_claim_one_id(team: Team) -> None:
    """The one that holds properties keeps it, the other is Conflict; when the first goes, the second takes over."""
    team.instance("first")
    team.marts("one", instance="first")
    team.until_ready("one")
    team.ids["second"] = team.ids["first"]
    team.instance("second")
    team.create(manifests.datamart(team.namespace, "two", "second", "one-db"))
    found = team.until_reason("OpenScaleInstance", "second", "Conflict")
    assert "spec.serviceInstanceId" in found["message"]
    assert "first" in found["message"]
    team.until_reason("DataMart", "two", "Conflict")
    assert team.condition("OpenScaleInstance", "first")["status"] == "True"
    team.until_settled()
    team.nothing_written()
    team.delete("DataMart", "one")
    team.delete("OpenScaleInstance", "first")
    team.until_gone("OpenScaleInstance", "first")
    team.until_ready("two", seconds=30)
    team.until_ready("second", kind="OpenScaleInstance")
