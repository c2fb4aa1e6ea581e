"""The load of a pool in a scenario: a demand that events may change, or its training jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from navarch.errors import ConfigError
from navarch.simulator.loads import Training, demand_of, jobs_of
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.twin.demand import Demand


class Dial:
    """A demand that somebody may set to something else."""

    def __init__(self, demand: Demand) -> None:
        """Follow `demand` until it is set."""
        self._demand = demand
        self._set: float | None = None

    @property
    def jobs_per_node(self) -> float:
        """How much of it keeps one node busy."""
        return self._demand.jobs_per_node

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run."""
        return self._demand.jobs(since) if self._set is None else self._set

    def set(self, jobs: float) -> None:
        """Let so much work want to run from now on."""
        self._set = jobs


def dials_of(scenario: Scenario, seed: int) -> dict[str, Dial]:
    """Make the demand of each pool under ``load``.

    Raises `ConfigError` with the place of what cannot be used.
    """
    return {
        name: Dial(_demand(scenario, load, f"load.{name}", seed))
        for name, load in scenario.written.load.items()
    }


def _demand(scenario: Scenario, load: Mapping[str, object], key: str, seed: int) -> Demand:
    try:
        return demand_of(load, scenario.file.parent, seed=seed, key=key)
    except ConfigError as error:
        raise scenario.fault(error.message, error.key or key) from error


def training_of(scenario: Scenario, seed: int) -> Training | None:
    """Make the training jobs; None where there are none.

    Raises `ConfigError` with the place of what cannot be used.
    """
    written = scenario.written
    if not written.jobs:
        return None
    try:
        jobs = jobs_of(list(written.jobs), seed=seed, pools=tuple(written.pools))
    except ConfigError as error:
        raise scenario.fault(error.message, error.key or "jobs") from error
    return Training(jobs, backfill=written.backfill)
