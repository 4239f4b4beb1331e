"""Alerts and dashboard: promtool's unit tests of the rules, a runbook for each, and only metrics that are shown."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from openscale_byok.shell.gateway.metrics import Metrics
from openscale_byok.shell.metrics import ProgramMetrics
from stage import chart
from stage.metrics_page import described

ROOT = Path(__file__).parents[2]
FILES = chart.CHART / "files"
TESTS = Path(__file__).with_name("alerts_test.yaml")
RULES = yaml.safe_load((FILES / "alerts.yaml").read_text())
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus")


def promtool(folder: Path, rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The unit tests, of these rules."""
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    shutil.copy(TESTS, folder)
    command = [PROMTOOL or "promtool", "test", "rules", TESTS.name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@needs_promtool
def test_alerts_fire_for_what_they_say_and_for_nothing_else(tmp_path):
    """Each row of alerts_test.yaml holds."""
    done = promtool(tmp_path, RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("broken", ["never", "always"])
def test_the_rows_notice_an_alert_that_never_or_always_fires(tmp_path, broken):
    """With every expression false, each row that expects an alert fails; with every one true, each that expects none
    does."""
    rules = json.loads(json.dumps(RULES))
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = "vector(1) > 2" if broken == "never" else "vector(1)"
    done = promtool(tmp_path, rules)
    failed = set(re.findall(r'ALERTS\{alertname=\\?"(\w+)', done.stdout + done.stderr))
    assert failed >= set(ALERTS), done.stdout + done.stderr


def test_each_alert_has_rows_that_fire_and_rows_that_do_not():
    """By the names of the rows."""
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    for alert in ALERTS:
        rows = [row for row in tests if row["name"].startswith(f"{alert.removeprefix('OpenScaleByok')}:")]
        assert {bool(row["promql_expr_test"][0]["exp_samples"]) for row in rows} == {True, False}, alert


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_leads_to_a_runbook_with_commands(alert):
    """Its section is where the link leads, says what is seen and what it means, and has a command or leads to one."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (page.rpartition("/")[2], anchor) == ("runbooks.md", alert.lower())
    section = RUNBOOKS.split(f"\n## {alert}\n")[1].split("\n## ")[0]
    if not section.strip().startswith("As [OpenScaleByok"):
        assert all(word in section for word in ("**You see**", "**It means**", "```sh", "kubectl"))


def test_no_runbook_is_about_an_alert_that_is_not_there():
    """Sections and alerts are the same."""
    assert set(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == set(ALERTS)


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names, without a histogram's endings."""
    names = re.findall(r"\b(?:openscale_byok|controller_runtime|workqueue|rest_client|process)_\w+", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {alert: rule["expr"] for alert, rule in ALERTS.items()} | {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_only_what_is_shown_is_asked_for(name):
    """A metric that a rule or a panel names is one that operator or gateway shows."""
    known = {found.name for metrics in (ProgramMetrics(), Metrics()) for found in described(metrics)}
    found = metrics_in(EXPRESSIONS[name])
    assert found
    assert found <= known | {"process_resident_memory_bytes"}


def test_the_dashboard_is_for_any_grafana():
    """Its data source is a variable, its panels have a meaning each, and none lies upon another."""
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own
    for panel in PANELS:
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    named = {alert for panel in PANELS for alert in re.findall(r"OpenScaleByok\w+", panel["description"])}
    assert named <= set(ALERTS)
