"""Dashboards as rows of panels, and their layout in Grafana's format."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The data source that the reader has chosen."""
_SERIES = re.compile(
    r"\b((?:studyroom|gnatsd|jetstream|process|haproxy|slo)[_:][\w:]+|ALERTS|up)(\{[^}]*\}|\b(?![\w(]))"
)
"""A series in an expression, and its labels if there are some."""
_PLACE = 'cluster=~"$cluster",namespace=~"$namespace"'
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
    instances: str
    """The series whose `instance_label` has the values of the variable `instance`."""
    of_instance: tuple[str, ...]
    """How the names of the series begin that the variable selects."""
    instance_label: str = "instance"

    def selected(self, expression: str) -> str:
        """Return an expression that reads only the series that the variables of the dashboard select."""

        def chosen(found: re.Match[str]) -> str:
            name, labels = found[1], (found[2] or "").strip("{}")
            own = [f'{self.instance_label}=~"$instance"'] if name.startswith(self.of_instance) else []
            return f"{name}{{{','.join(filter(None, [labels, _PLACE, *own]))}}}"

        return _SERIES.sub(chosen, expression)

    @property
    def uid(self) -> str:
        return f"studyroom-{self.name}"


ROLLOUTS = (
    ("Gateway starts", "gateway", "green"),
    ("Presence starts", "presence", "blue"),
    ("Documents starts", "documents", "purple"),
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
            panels.append(_panel(next(ids), panel, dashboard, {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y}))
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
        "templating": {"list": _variables(dashboard)},
        "annotations": {"list": [_annotation(dashboard, *rollout) for rollout in ROLLOUTS]},
        "links": [
            {"type": "dashboards", "tags": ["studyroom"], "title": "Studyroom", "asDropdown": False, "keepTime": True}
        ],
        "panels": panels,
    }


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Return the variables from which the reader chooses. All of a label includes series that do not have it."""
    source = {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1,
        "current": {}, "hide": 0, "includeAll": False, "multi": False, "options": [], "regex": "",
    }  # fmt: skip
    instances = f"{dashboard.instances}{{{_PLACE}}}"
    return [
        source,
        _variable("cluster", "Cluster", "label_values(studyroom_event_loop_tasks, cluster)"),
        _variable("namespace", "Namespace", 'label_values(studyroom_event_loop_tasks{cluster=~"$cluster"}, namespace)'),
        _variable("instance", "Instance", f"label_values({instances}, {dashboard.instance_label})"),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
        "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "hide": 0, "regex": "", "options": [],
        "includeAll": True, "allValue": ".*", "multi": True, "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _annotation(dashboard: Dashboard, title: str, job: str, colour: str) -> dict[str, Any]:
    return {
        "name": title,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": replace(dashboard, of_instance=()).selected(_starts(job)),
        "useValueForTime": job != "nats",
        "titleFormat": title,
        "textFormat": "{{instance}}{{server_id}}",
        "step": "15s",
    }


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    position = {"h": 1, "w": _WIDTH * _IN_A_ROW, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


def _panel(number: int, panel: Panel, dashboard: Dashboard, position: dict[str, int]) -> dict[str, Any]:
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
            {"refId": chr(ord("A") + index), "expr": dashboard.selected(expression), "legendFormat": legend}
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
