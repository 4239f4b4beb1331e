"""The second formulation of the key protocol, in Promela, agrees with ours on every rule.

promela/ formulates DESIGN, section 5, anew; spin explores it. So a mistake in our explorer cannot hide. Its author had
read the Python beside it: a misreading of section 5 may be in both.
"""

from __future__ import annotations

import dataclasses
import os

import handover_protocol as handover
import pytest
import release_protocol as release
import seal_protocol as seal
from agreement import NOT_IN_PROMELA, RULES, WHOLE, WHOLE_FULL, Case
from spin import missing

pytestmark = pytest.mark.timeout(600)
needs_spin = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
full = pytest.mark.skipif(os.environ.get("OPENSCALE_MODEL") != "full", reason="takes minutes: set OPENSCALE_MODEL=full")


def names(rules: type) -> set[str]:
    """The rules that a model of ours knows."""
    return {field.name for field in dataclasses.fields(rules)}


def test_same_rules() -> None:
    """Each rule of our models is taken out in Promela too, or is listed as not modelled, with the reason."""
    ours = {"seal": names(seal.Rules), "release": names(release.Rules), "handover": names(handover.Rules)}
    theirs = {model: {case.rule for case in RULES if case.model == model} for model in ours}
    for model, rules in ours.items():
        left_out = rules if model in NOT_IN_PROMELA else set()
        assert theirs[model] | left_out == rules, model
        assert not theirs[model] & left_out, f"{model}: in Promela after all"


@needs_spin
@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_holds(case: Case) -> None:
    """With all rules spin finds nothing, in the whole state space."""
    assert case.verify().error_at == 0


@needs_spin
@pytest.mark.parametrize("case", RULES, ids=str)
def test_needs_each_rule(case: Case) -> None:
    """Without this rule spin finds a loss, as our explorer does."""
    assert case.verify().error_at > 0


@full
@needs_spin
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", WHOLE_FULL, ids=str)
def test_full(case: Case) -> None:
    """Larger bounds bring nothing new."""
    assert case.verify(seconds=1500, megabytes=6000).error_at == 0
