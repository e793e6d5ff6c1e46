"""Dashboards as rows of panels, and their layout in Grafana's format."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT, _IN_A_ROW = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """One panel. `queries`: pairs of an expression and its legend. `stat`: show one number instead of a curve."""

    title: str
    unit: str
    description: str
    queries: tuple[tuple[str, str], ...]
    stat: bool = False
    highest: float | None = None
    """The end of the axis, if there is a natural one."""


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    name: str
    title: str
    rows: tuple[Row, ...]

    @property
    def uid(self) -> str:
        return f"studyroom-{self.name}"


ROLLOUTS = (
    ("Gateway starts", "gateway", "green"),
    ("Presence starts", "presence", "blue"),
    ("NATS server starts", "nats", "orange"),
)
"""Title, job and colour of the lines that mark starts of processes."""


def _starts(job: str) -> str:
    if job == "nats":
        return "changes(gnatsd_varz_start[1m]) > 0"
    return (
        f'process_start_time_seconds{{job="{job}"}} * 1000 and time() - process_start_time_seconds{{job="{job}"}} < 60'
    )


def render(dashboard: Dashboard) -> dict[str, Any]:
    ids = count(1)
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(_row(next(ids), row.title, top))
        top += 1
        for index, panel in enumerate(row.panels):
            x, y = index % _IN_A_ROW * _WIDTH, top + index // _IN_A_ROW * _HEIGHT
            panels.append(_panel(next(ids), panel, {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y}))
        top += -(-len(row.panels) // _IN_A_ROW) * _HEIGHT
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["studyroom"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": [_annotation(*rollout) for rollout in ROLLOUTS]},
        "links": [
            {"type": "dashboards", "tags": ["studyroom"], "title": "Studyroom", "asDropdown": False, "keepTime": True}
        ],
        "panels": panels,
    }


def _annotation(title: str, job: str, colour: str) -> dict[str, Any]:
    return {
        "name": title,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": _starts(job),
        "useValueForTime": job != "nats",
        "titleFormat": title,
        "textFormat": "{{instance}}{{server_id}}",
        "step": "15s",
    }


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    position = {"h": 1, "w": _WIDTH * _IN_A_ROW, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


def _panel(number: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.highest is not None:
        defaults["max"] = panel.highest
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if not panel.stat:
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def write_or_check(files: Mapping[Path, str]) -> None:
    """Write generated files. With `--check`, write none, and exit with status 1 if one is out of date."""
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        if stale:
            sys.exit(f"run make dashboards: {', '.join(path.name for path in stale)}")
        return
    for path in stale:
        path.write_text(files[path])
