"""Bad sources: each has a condition that names the field and the cure; nothing is lost, nothing loops."""

import pytest

from stage import manifests
from stage.team import Team


def test_every_bad_source_names_field_and_cure_and_is_sealed_once_it_is_mended(team: Team) -> None:
    """Missing Secret, missing key, empty, 64 KiB, binary, line break, two passwords: told apart, no loop, mended."""
    team.instance()
    bad = {
        "no-secret": ({}, "SecretNotFound", "Reconciling", "spec.database.password.secretRef"),
        "no-key": ({"other": "x" * 9}, "SecretKeyMissing", "Stalled", "secretRef.key"),
        "empty": ({"password": ""}, "PasswordEmpty", "Stalled", "password is empty"),
        "long": ({"password": "cnry" * (16 << 10)}, "PasswordTooLong", "Stalled", "65536 bytes"),
        "binary": ({"password": b"\xff\xfe\x00cnry-binary"}, "PasswordNotText", "Stalled", "UTF-8"),
        "line": ({"password": "cnry-password-line\n"}, "PasswordNotText", "Stalled", "line break"),
        "two": ({"password": "cnry-first-of-2", "more": "cnry-second-of-2"}, "HandoverNotExclusive", "Stalled", "own"),
    }
    for name, (values, *_) in bad.items():
        if values:
            team.source(f"{name}-db", handover=name == "two", **values)
    team.marts(*bad, sources=False)
    for name, (_, reason, which, text) in bad.items():
        found = team.until_reason("DataMart", name, reason)
        assert found["status"] == "False"
        assert text in found["message"]
        assert f"{name}-db" in found["message"]
        assert team.condition("DataMart", name, which)["status"] == "True"
        assert team.condition("DataMart", name, "Sealed")["status"] == "False"
    team.nothing_written(6)
    assert team.get("Secret", "two-db"), "a Secret with two passwords is never consumed"

    for name in bad:
        team.delete("Secret", f"{name}-db")
        team.give_again(name)
    team.until_ready(*bad, seconds=40)
    team.prove("global")
    assert not [c for c in team.get("DataMart", "two")["status"]["conditions"] if c["type"] == "Stalled"]


def test_the_sealed_password_survives_what_becomes_of_its_kept_source(team: Team) -> None:
    """A kept source that turns bad leaves the former password sealed, says so, and a good one is taken up again."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    team.patch("Secret", "one-db", {"data": {"password": ""}})
    found = team.until_reason("DataMart", "one", "PasswordEmpty")
    assert "former password stays sealed" in found["message"]
    team.prove("global")
    team.nothing_written(5)
    team.delete("Secret", "one-db")
    team.until_ready("one")
    team.until_reason("DataMart", "one", "SourceGone", "SourceRemoved")
    team.prove("global")
    team.nothing_written(5)


def test_a_changed_kept_source_is_sealed_anew_and_a_raised_revision_at_once(team: Team) -> None:
    """A new password in a kept Secret is sealed within the refresh; `password.revision` does not wait for it."""
    team.instance()
    team.marts("one")
    team.until_ready("one")
    for revise in (False, True):
        team.passwords["one"] = team.password()
        before = team.get("DataMart", "one")["status"]["sealedPassword"]["envelope"]
        team.patch("Secret", "one-db", {"stringData": {"password": team.passwords["one"]}})
        if revise:
            team.patch("DataMart", "one", {"spec": {"database": {"password": {"revision": 1}}}})
        team.until(
            lambda before=before: team.get("DataMart", "one")["status"]["sealedPassword"]["envelope"] != before,
            "it is sealed anew",
            1.5 if revise else 5,
        )
        team.until_ready("one")
        team.prove("global")
    team.until_settled()
    team.nothing_written(6)


def test_a_handover_secret_of_two_data_marts_goes_once_both_are_sealed(team: Team) -> None:
    """One hand-over Secret named by two data marts is deleted only when both are sealed from it."""
    team.instance()
    team.instance("late", suspend=True)
    password = team.password()
    team.source("shared", handover=True, password=password)
    team.create(
        manifests.datamart(team.namespace, "one", "prod", "shared"),
        manifests.datamart(team.namespace, "two", "late", "shared"),
    )
    team.until_ready("one")
    found = team.until_reason("DataMart", "one", "SourceKept", "SourceRemoved")
    assert "two" in found["message"]
    team.nothing_written()
    assert team.get("Secret", "shared")
    team.patch("OpenScaleInstance", "late", {"spec": {"suspend": False}})
    team.until_ready("two")
    team.until_gone("Secret", "shared")
    team.until_reason("DataMart", "one", "HandedOver", "SourceRemoved")
    team.until_reason("DataMart", "two", "HandedOver", "SourceRemoved")
    team.passwords = {"one": password}
    team.prove("global")
    team.passwords = {"two": password}
    team.prove("global", instance="late")
    team.nothing_written(5)


@pytest.mark.parametrize("handover", [True, False])
def test_a_new_password_after_the_source_was_gone(team: Team, handover: bool) -> None:
    """A password that is given again after its source had gone is taken up by raising the revision."""
    team.instance()
    team.marts("one", handover=True)
    team.until_ready("one")
    team.until_gone("Secret", "one-db")
    team.give_again("one", handover=handover)
    team.patch("DataMart", "one", {"spec": {"database": {"password": {"revision": 1}}}})
    sealed = "HandedOver" if handover else "SourceKept"
    team.until_ready("one")
    team.until_reason("DataMart", "one", sealed, "SourceRemoved")
    team.prove("global")
    assert bool(team.get("Secret", "one-db")) is not handover
    team.nothing_written(5)
