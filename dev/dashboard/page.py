"""The dashboard's JSON with what Prometheus answers, as a page: panels where Grafana would have them."""

import html
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboard.prometheus import Prometheus

WIDTH, ROW = 1_560, 34
"""Pixels: of the page, and of one unit of height of the grid."""
COLORS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffb357", "#96d98d", "#ca95e5")
NAMED = {"green": "#2f8f4e", "orange": "#c9701a", "red": "#c4302b"}
_STYLE = """
*{box-sizing:border-box} body{margin:0;background:#111217;color:#d8d9da;font:13px/1.35 Inter,"DejaVu Sans",sans-serif}
header{padding:12px 16px;font-size:19px;font-weight:600} header small{font-weight:400;font-size:12px;color:#8e8e93}
.grid{position:relative;width:1560px} .panel{position:absolute;padding:4px}
.box{height:100%;background:#181b1f;border:1px solid #26292e;border-radius:3px;padding:7px 9px;overflow:hidden}
.box h3{margin:0 0 4px;font-size:13px;font-weight:500;white-space:nowrap}
.row{padding:9px 8px 0;font-size:15px;font-weight:500;color:#ccccdc}
.stat{display:flex;align-items:center;justify-content:center;height:calc(100% - 22px);font-size:36px;font-weight:600;
  border-radius:2px;color:#fff}
table{border-collapse:collapse;width:100%;font-size:12.5px} td,th{text-align:left;padding:3px 8px 3px 0;
  border-bottom:1px solid #26292e;white-space:nowrap} th{color:#6e9fff;font-weight:500}
.legend{font-size:11px;color:#b0b1b5;line-height:1.45} .legend i{display:inline-block;width:12px;height:3px;
  margin:0 4px 3px 0} .legend span{margin-right:10px;white-space:nowrap}
text{fill:#8e8e93;font-size:10px}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is shown, in seconds since the epoch."""

    begin: float
    end: float

    @property
    def step(self) -> float:
        """Between two points."""
        return max(1.0, (self.end - self.begin) / 240)


def made(file: Path, prometheus: Prometheus, span: Span) -> tuple[str, int]:
    """The page, and its height in pixels."""
    board = json.loads(file.read_text())
    parts = [_placed(panel, _body(panel, prometheus, span)) for panel in board["panels"]]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * ROW + 60
    title = f"{html.escape(board['title'])} <small>drawn from the dashboard's JSON, with Prometheus' answers</small>"
    text = f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style><header>{title}</header>'
    return text + f'<div class="grid">{"".join(parts)}</div>', height


def _placed(panel: Mapping[str, Any], body: str) -> str:
    at, unit = panel["gridPos"], WIDTH / 24
    style = f"left:{at['x'] * unit:.0f}px;top:{at['y'] * ROW}px;width:{at['w'] * unit:.0f}px;height:{at['h'] * ROW}px"
    title = html.escape(panel["title"])
    if panel["type"] == "row":
        return f'<div class="panel row" style="{style}">▾ {title}</div>'
    return f'<div class="panel" style="{style}"><div class="box"><h3>{title}</h3>{body}</div></div>'


def _body(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> str:
    if panel["type"] == "row":
        return ""
    drawn = {"stat": _stat, "table": _table, "timeseries": _series}
    return drawn[panel["type"]](panel, prometheus, span)


def query(expression: str) -> str:
    """An expression with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "10s").replace("$namespace", ".*")


def _instant(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> list[dict[str, Any]]:
    expression = query(panel["targets"][0]["expr"])
    return list(prometheus.ask("query", query=expression, time=span.end)["result"])


def _stat(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    found = _instant(panel, prometheus, span)
    value = float(found[0]["value"][1]) if found else math.nan
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return f'<div class="stat" style="background:{NAMED[steps[-1]["color"]]}">{shown(value, defaults["unit"])}</div>'


def _table(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> str:
    options = panel["transformations"][0]["options"]
    columns = [name for name, _ in sorted(options["indexByName"].items(), key=lambda each: each[1])]
    value = "" if options["excludeByName"]["Value"] else options["renameByName"]["Value"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in [*columns, *filter(None, [value])])
    rows = []
    for found in _instant(panel, prometheus, span):
        cells = [html.escape(found["metric"].get(name, "")) for name in columns]
        cells += [shown(float(found["value"][1]), panel["fieldConfig"]["defaults"]["unit"])] if value else []
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(sorted(rows))}</table>"


Line = tuple[str, list[tuple[float, float]]]


def _lines(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> Iterator[Line]:
    for target in panel["targets"]:
        asked = {"query": query(target["expr"]), "start": span.begin, "end": span.end, "step": span.step}
        for found in prometheus.ask("query_range", **asked)["result"]:
            legend = target["legendFormat"]
            for label, text in found["metric"].items():
                legend = legend.replace("{{" + label + "}}", text)
            points = [(at, float(text)) for at, text in found["values"] if math.isfinite(float(text))]
            if points:
                yield legend, points


def _series(panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> str:
    defaults, at = panel["fieldConfig"]["defaults"], panel["gridPos"]
    lines = sorted(_lines(panel, prometheus, span))
    if defaults["custom"]["stacking"]["mode"] == "normal":
        lines = _stacked(lines)
    width, height = WIDTH / 24 * at["w"] - 30, at["h"] * ROW - 80
    most = _round(max((value for _, points in lines for _, value in points), default=0.0))
    left = 46

    def spot(when: float, value: float) -> str:
        x = left + (when - span.begin) / (span.end - span.begin) * (width - left)
        return f"{x:.1f},{height - value / most * (height - 8):.1f}"

    drawn = [_grid(span, width, height, left, most, defaults["unit"])]
    for number, (_, points) in reversed(list(enumerate(lines))):
        color, opacity = COLORS[number % len(COLORS)], defaults["custom"]["fillOpacity"] / 100
        for piece in _pieces(points, span.step):
            path = " ".join(spot(*point) for point in piece)
            area = f"{spot(piece[0][0], 0)} {path} {spot(piece[-1][0], 0)}"
            drawn.append(f'<polygon points="{area}" fill="{color}" opacity="{opacity}"/>')
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    legend = "".join(
        f'<span><i style="background:{COLORS[number % len(COLORS)]}"></i>{html.escape(name)}</span>'
        for number, (name, _) in enumerate(lines)
    )
    return (
        f'<svg width="{width:.0f}" height="{height + 16:.0f}">{"".join(drawn)}</svg><div class="legend">{legend}</div>'
    )


def _pieces(points: list[tuple[float, float]], step: float) -> list[list[tuple[float, float]]]:
    """A line where nothing was known for a while is two."""
    found = [[points[0]]]
    for point in points[1:]:
        if point[0] - found[-1][-1][0] > 2.5 * step:
            found.append([])
        found[-1].append(point)
    return found


def _grid(span: Span, width: float, height: float, left: float, most: float, unit: str) -> str:
    found = []
    for part in range(5):
        y = height - part / 4 * (height - 8)
        found.append(f'<line x1="{left}" x2="{width:.0f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#2b2e34"/>')
        found.append(f'<text x="{left - 6}" y="{y + 3:.1f}" text-anchor="end">{shown(most * part / 4, unit)}</text>')
    minutes, parts = (span.end - span.begin) / 60, 6 if width > 420 else 3
    for part in range(1, parts):
        x = left + part / parts * (width - left)
        ago = f"{minutes * (1 - part / parts):.1f} min ago"
        found.append(f'<text x="{x:.0f}" y="{height + 14:.0f}" text-anchor="middle">{ago}</text>')
    return "".join(found)


def _stacked(lines: list[Line]) -> list[Line]:
    below: dict[float, float] = {}
    found = list[Line]()
    for name, points in lines:
        raised = [(at, value + below.get(at, 0.0)) for at, value in points]
        below |= dict(raised)
        found.append((name, raised))
    return found


def _round(value: float) -> float:
    """The next number above that is easy to divide by four."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 6, 8, 10) if power * factor >= value)


def shown(value: float, unit: str) -> str:
    """A value as Grafana would print it."""
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "∞"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    if unit == "s" and value >= 120:
        return f"{value / 60:.0f} min"
    if unit == "s" and value < 1:
        return f"{value * 1000:.0f} ms"
    text = f"{value:.0f}" if value >= 20 or value == int(value) else f"{value:.1f}" if value >= 2 else f"{value:.2g}"
    return text + {"s": " s", "ops": "/s", "reqps": "/s"}.get(unit, "")
