"""Dashboards of Grafana as values, and the JSON in which Grafana reads them.

Form: the types of @grafana/schema 13.2, whose dashboards have `SCHEMA` as their version, read
November 2026. Grafana raises older versions by itself, so any later one reads these.

Panels lie in rows from left to right, as wide as they say, 24 columns in all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from navarch.monitoring.rules import Chosen

SCHEMA: Final = 42
COLUMNS: Final = 24
TAG: Final = "navarch"
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
GREY: Final = "text"

Kind = Literal["timeseries", "stat", "table", "bargauge"]


class Query(Struct, frozen=True):
    """An expression, and what its lines are called."""

    expr: str
    legend: str = ""
    """The name of a line, with labels such as ``{{pool}}``."""


class Panel(Struct, frozen=True, kw_only=True):
    """One field of a dashboard."""

    title: str
    about: str
    """What it shows and how it is read, for the tooltip."""
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    """A unit in Grafana's words, such as ``s``, ``bytes``, ``percentunit`` or ``currencyUSD``."""
    width: int = 8
    height: int = 8
    stacked: bool = False
    steps: tuple[tuple[float, str], ...] = ()
    """From which value on it has which colour; below the first it is green."""
    colours: Mapping[str, str] = {}
    """The colours of lines, by their names."""
    texts: Mapping[int, str] = {}
    """Words in the place of numbers."""
    minimum: float | None = 0
    maximum: float | None = None
    hidden: tuple[str, ...] = ()
    """Columns of a table that are left out."""
    named: Mapping[str, str] = {}
    """What columns of a table are called instead."""
    alerts: tuple[str, ...] = ()
    """Alerts about what is shown; their runbooks are linked."""


class Row(Struct, frozen=True):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(Struct, frozen=True, kw_only=True):
    """Something to choose at the top of a dashboard: one of the values of a label."""

    name: str
    label: str
    series: str
    """The series whose label is meant."""
    of: str
    """The label."""
    many: bool = False
    """Whether several, and all, can be chosen."""


class Board(Struct, frozen=True, kw_only=True):
    """A dashboard."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    """Beside the source of data and the fleet, which all have."""

    @property
    def panels(self) -> Iterator[Panel]:
        """All its panels."""
        return (panel for row in self.rows for panel in row.panels)


_LINK: Final[Mapping[str, Any]] = {
    "type": "link",
    "icon": "external link",
    "tooltip": "",
    "tags": [],
    "asDropdown": False,
    "includeVars": False,
    "keepTime": False,
    "targetBlank": True,
}
JOB: Final = Variable(name="job", label="Fleet", series="navarch_build_info", of="job")
POOL: Final = Variable(
    name="pool",
    label="Pool",
    series='navarch_pool_target_nodes{job="$job"}',
    of="pool",
    many=True,
)
PROVIDER: Final = Variable(
    name="provider",
    label="Provider",
    series='navarch_provider_call_duration_seconds_count{job="$job"}',
    of="provider",
    many=True,
)


def written(board: Board, chosen: Chosen) -> str:
    """Write a dashboard as Grafana imports it."""
    return json.dumps(document(board, chosen), indent=2, ensure_ascii=False) + "\n"


def document(board: Board, chosen: Chosen) -> dict[str, Any]:
    """Give the JSON of a dashboard."""
    variables = [_source(), *(_variable(each) for each in (JOB, *board.variables))]
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": _links(chosen),
        "templating": {"list": variables},
        "panels": list(_placed(board.rows, chosen)),
    }


def _links(chosen: Chosen) -> list[dict[str, Any]]:
    return [
        {
            **_LINK,
            "title": "Dashboards",
            "type": "dashboards",
            "tags": [TAG],
            "icon": "dashboard",
            "asDropdown": True,
            "includeVars": True,
            "keepTime": True,
            "targetBlank": False,
            "url": "",
        },
        {**_LINK, "title": "Control plane", "url": chosen.control_plane},
        {**_LINK, "title": "Runbooks", "icon": "doc", "url": chosen.runbooks},
    ]


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "regex": "",
    }


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.series}, {variable.of})"
    everything: dict[str, Any] = {}
    if variable.many:
        everything = {
            "allValue": ".*",
            "current": {"selected": True, "text": "All", "value": "$__all"},
        }
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": variable.many,
        "multi": variable.many,
        "options": [],
        "regex": "",
        **everything,
    }


# --- where panels lie -------------------------------------------------------------------------


def _placed(rows: Sequence[Row], chosen: Chosen) -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for row in rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
            "panels": [],
        }
        number, top = number + 1, top + 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield {"id": number, "gridPos": place, **_panel(panel, chosen)}
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, chosen: Chosen) -> dict[str, Any]:
    instant = panel.kind in {"stat", "table", "bargauge"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "format": "table" if panel.kind == "table" else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel, chosen))},
        "options": _options(panel),
        "transformations": list(_transformations(panel)),
        "links": [
            {**_LINK, "icon": "doc", "title": name, "url": f"{chosen.runbooks}/{name}.md"}
            for name in panel.alerts
        ],
    }


# --- how panels look --------------------------------------------------------------------------


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": GREEN, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.steps]
    lines = panel.kind == "timeseries"
    content: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if lines else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": _mappings(panel),
    }
    if panel.minimum is not None:
        content["min"] = panel.minimum
    if panel.maximum is not None:
        content["max"] = panel.maximum
    if lines:
        content["custom"] = {
            "drawStyle": "line",
            "lineInterpolation": "stepAfter" if panel.unit == "short" else "linear",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return content


def _mappings(panel: Panel) -> list[dict[str, Any]]:
    if not panel.texts:
        return []
    words = {str(value): {"text": text} for value, text in panel.texts.items()}
    return [{"type": "value", "options": words}]


def _overrides(panel: Panel, chosen: Chosen) -> Iterator[dict[str, Any]]:
    for name, colour in panel.colours.items():
        yield {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
    if "alertname" in panel.named:
        link = {"title": "Runbook", "url": f"{chosen.runbooks}/${{__value.raw}}.md"}
        yield {
            "matcher": {"id": "byName", "options": panel.named["alertname"]},
            "properties": [{"id": "links", "value": [{**link, "targetBlank": True}]}],
        }


def _options(panel: Panel) -> dict[str, Any]:
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            return {
                "legend": {
                    "displayMode": "list",
                    "placement": "bottom",
                    "showLegend": True,
                    "calcs": [],
                },
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            colour = "background" if panel.steps else "value"
            return {"colorMode": colour, "graphMode": "none", "reduceOptions": reduced}
        case "bargauge":
            shape = {"displayMode": "basic", "orientation": "horizontal"}
            return {**shape, "reduceOptions": reduced, "showUnfilled": True}
        case "table":
            return {"cellHeight": "sm", "showHeader": True}


def _transformations(panel: Panel) -> Iterator[dict[str, Any]]:
    if panel.kind != "table":
        return
    if len(panel.queries) > 1:
        yield {"id": "merge", "options": {}}
    yield {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(("Time", *panel.hidden), True),
            "indexByName": {},
            "renameByName": dict(panel.named),
        },
    }
