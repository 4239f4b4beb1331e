"""The page that draws the dashboard: each panel is drawn from what Prometheus answers, and nothing is left out."""

from typing import Any

import pytest

from dashboard import page
from stage import chart


class Answers:
    """Prometheus, which answers each question with two series."""

    def ask(self, path: str, **query: Any) -> Any:
        assert "$" not in query["query"]
        metric = {
            "namespace": "team-<a>",
            "name": "prod",
            "binding": "eu",
            "reason": "KeyDisabled",
            "component": "operator",
        }
        if path == "query":
            return {"result": [{"metric": metric, "value": [0, "3"]}]}
        return {"result": [{"metric": metric, "values": [[0, "1"], [60, "2"], [100, "NaN"]]}]}


def test_every_panel_is_drawn():
    """Its title is there, with a number, a table or lines; what comes from outside is escaped."""
    text, height = page.made(chart.CHART / "files" / "dashboard.json", Answers(), page.Span(0, 100))
    assert text.count('class="stat"') == 6
    assert text.count("<table>") == 2
    assert text.count("<svg") == 10
    assert "team-<a>" not in text
    assert "team-&lt;a&gt;" in text
    assert height > 1_000


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (float("nan"), "s", "none"), (float("inf"), "short", "∞"), (0.0123, "s", "12 ms"), (3.0, "s", "3 s"),
        (3_600.0, "s", "60 min"), (2**20 * 90.0, "bytes", "90 MiB"), (0.5, "reqps", "0.5/s"), (12.25, "short", "12.2"),
    ],
)  # fmt: skip
def test_a_value_is_printed_for_people(value, unit, expected):
    """With its unit, and no more digits than tell something."""
    assert page.shown(value, unit) == expected
