"""All that is told to Prometheus and Grafana, as files."""

from __future__ import annotations

from navarch.monitoring import grafana, rules
from navarch.monitoring.alerts import alerts
from navarch.monitoring.boards import BOARDS
from navarch.monitoring.recordings import recordings
from navarch.monitoring.rules import Chosen, Group
from navarch.monitoring.scraping import RULES_FILE, Scraping, written


def groups(chosen: Chosen) -> tuple[Group, ...]:
    """All rules: first what is recorded, then the alerts that look at it."""
    return (*recordings(), *alerts(chosen))


def rule_files(chosen: Chosen) -> dict[str, str]:
    """Give the file of rules, by its name."""
    return {RULES_FILE: rules.written(groups(chosen), chosen)}


def dashboard_files(chosen: Chosen) -> dict[str, str]:
    """Give the dashboards, one file each, by their names."""
    return {f"{board.uid}.json": grafana.written(board, chosen) for board in BOARDS}


def scrape_files(scraping: Scraping) -> dict[str, str]:
    """Give a configuration of Prometheus, by its name."""
    return {"prometheus.yml": written(scraping)}
