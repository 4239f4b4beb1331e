"""The one table of reasons."""

import re

import pytest

from openscale_byok.errors import ByokError, Changed, Missing, Refused, Unavailable
from openscale_byok.reasons import TABLE, Reason


def test_one_row_for_each_reason():
    """Every reason has its row, and no row stands for nothing."""
    assert set(TABLE) == set(Reason)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_reason_reads_well(reason):
    """A reason fits a condition's `reason`, and says what it means in one line of its own."""
    row = TABLE[reason]
    assert re.fullmatch(r"([A-Z]+[a-z]*)+", reason.value)
    assert reason.name.replace("_", "").lower() == reason.value.lower()
    assert row.meaning
    assert not row.meaning.endswith(".")
    assert row.meaning[0] == row.meaning[0].lower() or row.meaning.startswith(("Key Protect", "IAM"))
    assert [other for other in Reason if TABLE[other].meaning == row.meaning] == [reason]


@pytest.mark.parametrize("reason", [reason for reason in Reason if TABLE[reason].stalled])
def test_what_needs_a_person_is_a_warning(reason):
    """A reason that stalls is announced by a Warning: nobody looks for a Normal event."""
    assert TABLE[reason].event == "Warning"


@pytest.mark.parametrize("kind", [ByokError, Refused, Unavailable, Changed, Missing])
def test_an_error_is_its_reason_and_our_sentence(kind):
    """An error shows its reason and the sentence written for it, and nothing else."""
    error = kind(Reason.TAMPERED, "a sentence")
    assert (str(error), error.reason) == ("a sentence", Reason.TAMPERED)
    assert repr(error) == f"{kind.__name__}(Tampered: a sentence)"
