"""Metrics: what they show, that it vanishes with its object, that it is bounded, and that the page has all of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openscale_byok.core.audit import Action, AuditEvent
from openscale_byok.engine.observed import Observed
from openscale_byok.errors import Unavailable
from openscale_byok.ports.observers import Called
from openscale_byok.reasons import Reason
from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.metrics import CountedAudit, ProgramMetrics
from stage.metrics_page import SOME, described

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
PROCESS = ("python_", "process_")
PROGRAMS = {"operator": ProgramMetrics, "gateway": Metrics}


def shown(metrics: ProgramMetrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample of `/metrics`, by name and by the values of its labels, in the order of their names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def used(metrics: ProgramMetrics) -> ProgramMetrics:
    """With a sample of each metric."""
    metrics.observe(SOME)
    metrics.called(Called("kubernetes", "PATCH", 409, "refused", 0.1))
    metrics.called(Called("key-protect", "unwrap", 200, "success", 0.1))
    metrics.pass_ended("error", 0.1)
    metrics.step_failed("mint", Reason.KEY_DISABLED)
    metrics.began("datamarts")
    if isinstance(metrics, Metrics):
        metrics.answered("/v2/data_marts", "GET", 200, 0.1)
        metrics.refused(Reason.KEY_DISABLED)
    return metrics


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_has_every_metric_with_its_labels_and_no_other(program):
    """What Prometheus would read is what docs/metrics.md lists for this program: names, types, labels."""
    row = r"^\| `([a-z_]+)` \| ([a-z]+) \| (.*?) \| (.*?) \| .+ \|$"
    rows = re.findall(row, PAGE.read_text(), re.MULTILINE)
    listed = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, of in rows if program in of}
    found = set()
    for family in text_string_to_metric_families(used(PROGRAMS[program]()).text().decode()):
        if family.name.startswith(PROCESS):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        found.add((name, family.type, labels))
    assert {(name, kind, tuple(sorted(labels))) for name, kind, labels in found} == {
        (name, kind, tuple(sorted(labels))) for name, kind, labels in listed
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_names_are_as_prometheus_wants_them(program):
    """Our prefix or a controller's, a base unit, `_total` for counters and for nothing else."""
    for found in described(PROGRAMS[program]()):
        assert found.name.startswith(("openscale_byok_", "controller_runtime_", "workqueue_", "rest_client_"))
        assert (found.type == "counter") == found.name.endswith("_total"), found.name
        assert found.text[-1] == "."
        assert not {"crn", "user", "uid", "datamart", "data_mart"} & set(found.labels)


def test_an_instance_is_shown_by_the_operator_alone():
    """Its secrets are counted once, however many gateways there are; its root key is looked at by each program."""
    operator, gateway = shown(used(ProgramMetrics())), shown(used(Metrics()))
    states = {("team-a", "prod", state): 1.0 for state in ("current", "stale", "stuck", "unsealed")}
    assert operator["openscale_byok_secrets"] == states
    assert operator["openscale_byok_resource_condition"] == {
        ("Ready", "OpenScaleInstance", "prod", "team-a", "Current", "True"): 1.0,
        ("Ready", "RootKeyBinding", "eu", "team-a", "Current", "True"): 1.0,
    }
    assert "openscale_byok_secrets" not in gateway
    assert operator["openscale_byok_root_key_usable"] == {("eu", "team-a", "True"): 1.0}
    assert gateway["openscale_byok_root_key_usable"] == operator["openscale_byok_root_key_usable"]


def test_series_vanish_with_their_objects():
    """Once nothing is there any more, no series names it."""
    metrics = used(ProgramMetrics())
    assert "team-a" in metrics.text().decode()
    metrics.observe(Observed())
    assert "team-a" not in metrics.text().decode()


def test_what_is_not_known_has_no_series():
    """A date that does not exist is no zero: its age would be fifty years."""
    (binding,) = SOME.bindings
    unknown = replace(binding, looked=None, heard=None, expires=None, opens_until=None, data_keys=0)
    metrics = ProgramMetrics()
    metrics.observe(Observed(bindings=(unknown,)))
    found = shown(metrics)
    assert [name for name in found if name.endswith("_timestamp_seconds")] == []
    assert found["openscale_byok_data_keys_held"] == {("eu", "team-a"): 0.0}


def test_a_reason_that_is_none_of_ours_is_no_label():
    """Who can write a status makes no new series with each word."""
    (instance,) = SOME.instances
    said = replace(instance.conditions[0], reason="c4n4ry")
    metrics = ProgramMetrics()
    metrics.observe(Observed(instances=(replace(instance, conditions=(said,)),)))
    assert "c4n4ry" not in metrics.text().decode()
    (labels,) = shown(metrics)["openscale_byok_resource_condition"]
    assert labels == ("Ready", "OpenScaleInstance", "prod", "team-a", "Other", "True")


def test_an_audit_that_cannot_be_written_is_counted_and_still_refused():
    """The caller is told as before."""

    class Full:
        def write(self, event: AuditEvent) -> None:
            raise Unavailable(Reason.AUDIT_UNAVAILABLE, "no space")

    metrics = ProgramMetrics()
    with pytest.raises(Unavailable):
        CountedAudit(Full(), metrics).write(AuditEvent(Action.SHREDDED, "success", "operator"))
    assert shown(metrics)["openscale_byok_audit_failures_total"] == {(): 1.0}
