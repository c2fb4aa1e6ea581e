"""Scenarios for tests, from text."""

from __future__ import annotations

from pathlib import Path

from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Outcome, Run
from navarch.simulator.scenarios.schema import Scenario

FLEET = """\
name: fleet
fleet:
  - {id: node-1, region: us, zone: us-a, labels: {tier: gold}}
  - {id: node-2, region: us, zone: us-b}
  - {id: node-3, region: eu, zone: eu-a}
"""
POOL = """\
name: pool
duration: 30m
providers: {fake: {boot_time: 1m}}
pools:
  train: {provider: fake, min_nodes: 3, max_nodes: 5}
"""


def read(text: str) -> Scenario:
    """Read a scenario that has no mistakes."""
    examined = examine_text(text, path=Path("test.yaml"))
    assert examined.scenario is not None, [str(fault) for fault in examined.faults]
    return examined.scenario


def fleet(*events: str, more: str = "", start: bool = True) -> Run:
    """Lay out three nodes and what happens to them."""
    first = ["{at: 0s, action: start_fleet}"] if start else []
    lines = "".join(f"  - {event}\n" for event in (*first, *events))
    return Run(read(f"{FLEET}events:\n{lines}{more}"), 1)


def pool(*events: str, more: str = "") -> Run:
    """Lay out a pool of three and what happens to it."""
    lines = "".join(f"  - {event}\n" for event in events)
    written = f"events:\n{lines}" if events else ""
    return Run(read(f"{POOL}{written}{more}"), 1)


def messages(outcome: Outcome) -> list[str]:
    """The first line of each failure."""
    return [check.message.split("\n")[0] for check in outcome.failures]
