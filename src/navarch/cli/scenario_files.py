"""Scenarios as the commands of ``simulate`` are given them: by files, with all their mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output

if TYPE_CHECKING:
    from navarch.simulator.scenarios.schema import Scenario


def read_scenario(context: click.Context, file: Path) -> Scenario:
    """Read a scenario; end the command where it has mistakes."""
    from navarch.simulator.scenarios.reading import examine

    examined = examine(file)
    for fault in examined.faults:
        output.mistake(fault)
    if examined.scenario is None:
        context.exit(1)
    return examined.scenario
