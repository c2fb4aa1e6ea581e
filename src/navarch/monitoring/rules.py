"""Rules of Prometheus as values, and the file in which Prometheus reads them.

Form: Prometheus' documentation of recording and alerting rules, read November 2026. Names of
recorded series are ``level:metric:operations``, the level being the labels that are left.

Every rule keeps the label ``job``, so one Prometheus may watch several fleets: each of them is a
job of its own in its configuration. Several control planes over one journal are several instances
of one job: numbers that all of them know are taken once (``max``), those that only the leader
knows, from the leader (`led`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import yaml
from msgspec import Struct

Severity = Literal["critical", "warning"]
"""``critical`` wakes somebody; ``warning`` is for working hours."""

HEAD: Final = (
    "# Written by `navarch monitoring rules`, from src/navarch/monitoring; change it there.\n"
)
_NAME: Final = re.compile(r"Navarch[A-Z][A-Za-z]+")


class Chosen(Struct, frozen=True, kw_only=True):
    """What differs from one installation to the next."""

    jobs: tuple[str, ...] = ("navarch",)
    """What Prometheus calls the jobs that scrape control planes, one for each fleet."""
    runbooks: str = "docs/runbooks"
    """Where runbooks are, an address or a folder, without a slash at its end."""
    control_plane: str = "https://navarch.example:50051"
    """Where people reach the control plane's own page, without a slash at its end."""
    grafana: str = ""
    """The address of Grafana, without a slash at its end; empty: links begin with its path."""
    dollars_per_hour_max: float = 1000.0
    """What the fleet may cost before somebody is told."""
    lost_share_max: float = 0.2
    """The share of paid GPU time that may be lost before somebody is told, from 0 to 1."""


class Recording(Struct, frozen=True):
    """A number that Prometheus reckons beforehand."""

    name: str
    expr: str
    about: str
    """One sentence, for the comment above it."""


class Alert(Struct, frozen=True, kw_only=True):
    """A state that somebody has to do something about."""

    name: str
    """CamelCase, beginning with ``Navarch``; its runbook is the page of that name."""
    severity: Severity
    expr: str
    lasts: str
    """How long it has to be so before anybody is told, such as ``5m``."""
    summary: str
    """One line; may have Prometheus' templates, such as ``{{ $labels.pool }}``."""
    description: str
    """What is so, with the numbers, and what it leads to."""
    board: str
    """The uid of the dashboard that shows it."""
    by_pool: bool = False
    """Whether it has the label ``pool``, so that the dashboard opens at that pool."""


class Group(Struct, frozen=True):
    """Rules that are reckoned together, one after another."""

    name: str
    rules: tuple[Recording | Alert, ...]


def led(series: str) -> str:
    """Keep of a series what the leader says; standbys do not know it."""
    return f"({series} and on (job, instance) (navarch_leader == 1))"


def grew(series: str, window: str) -> str:
    """Select the counters that grew within a window, those that began in it included.

    `increase` alone misses the first event: a counter that is shown from its first event on never
    was 0.
    """
    began = f"({series} unless {series} offset {window})"
    return f"(\n  increase({series}[{window}]) > 0\n  or {began}\n)"


def runbook_url(alert: Alert, chosen: Chosen) -> str:
    """Where the runbook of an alert is."""
    return f"{chosen.runbooks}/{alert.name}.md"


def board_url(alert: Alert, chosen: Chosen) -> str:
    """Where the dashboard of an alert is, opened at its fleet and its pool."""
    pool = "&var-pool={{ $labels.pool }}" if alert.by_pool else ""
    return f"{chosen.grafana}/d/{alert.board}?var-job={{{{ $labels.job }}}}{pool}"


def written(groups: Sequence[Group], chosen: Chosen) -> str:
    """Write a file of rules. Raises `ValueError` when a name stands twice or does not fit."""
    _demand_names(groups)
    content = {"groups": [_group(group, chosen) for group in groups]}
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=96)
    for recording in recordings_in(groups):
        line = f"  - record: {recording.name}\n"
        text = text.replace(line, f"  # {recording.about}\n{line}")
    return HEAD + text


def alerts_in(groups: Sequence[Group]) -> Iterator[Alert]:
    """Go through the alerts of groups."""
    yield from (rule for group in groups for rule in group.rules if isinstance(rule, Alert))


def recordings_in(groups: Sequence[Group]) -> Iterator[Recording]:
    """Go through the recorded series of groups."""
    yield from (rule for group in groups for rule in group.rules if isinstance(rule, Recording))


def _demand_names(groups: Sequence[Group]) -> None:
    names = [rule.name for group in groups for rule in group.rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"rules stand twice: {', '.join(twice)}")
    for alert in alerts_in(groups):
        if not _NAME.fullmatch(alert.name):
            raise ValueError(f"alert {alert.name}: expected a name like NavarchNodesLost")
    for recording in recordings_in(groups):
        if recording.name.count(":") != 2:
            raise ValueError(f"{recording.name}: expected level:metric:operations")


def _group(group: Group, chosen: Chosen) -> dict[str, Any]:
    return {"name": group.name, "rules": [_rule(rule, chosen) for rule in group.rules]}


def _rule(rule: Recording | Alert, chosen: Chosen) -> dict[str, Any]:
    if isinstance(rule, Recording):
        return {"record": rule.name, "expr": _Block(rule.expr)}
    return {
        "alert": rule.name,
        "expr": _Block(rule.expr),
        "for": rule.lasts,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": runbook_url(rule, chosen),
            "dashboard_url": board_url(rule, chosen),
        },
    }


class _Block(str):
    """Text that keeps its lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks."""


def _represent_block(dumper: _Dumper, text: _Block) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(_Block, _represent_block)
