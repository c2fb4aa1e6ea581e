"""The load of a pool: what a scenario says about it, as a demand that events may change.

Traces and generators are read by `navarch.simulator.loads` where that package is there; constant
work is understood here.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import cast

from msgspec import Struct

from navarch.config.reading import nearest
from navarch.errors import ConfigError
from navarch.simulator.twin.demand import Demand

GENERATORS = "navarch.simulator.loads"
KEYS = ("pattern", "jobs", "jobs_per_node")


class Constant(Struct, frozen=True):
    """The same work all the time."""

    amount: float
    jobs_per_node: float = 1.0

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run."""
        return self.amount


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


def demand_of(written: Mapping[str, object], folder: Path, *, file: str, key: str) -> Demand:
    """Make the demand that a scenario describes under ``load.POOL``.

    Raises `ConfigError` with the key of what cannot be used.
    """
    is_constant = written.get("pattern", "constant") == "constant" and "trace" not in written
    if not is_constant and importlib.util.find_spec(GENERATORS) is not None:
        module = importlib.import_module(GENERATORS)
        make = cast("Callable[[dict[str, object], Path], Demand]", module.demand_of)
        try:
            return make(dict(written), folder)
        except ConfigError as error:
            place = f"{key}.{error.key}" if error.key else key
            raise ConfigError(error.message, file=file, line=error.line, key=place) from error
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error), file=file, key=key) from error
    if not is_constant:
        message = f"{written.get('pattern', 'trace')} is not known, expected pattern: constant"
        raise ConfigError(message, file=file, key=key)
    for name in written:
        if name not in KEYS:
            message = f"unknown key{nearest(name, KEYS) or ', expected ' + ', '.join(KEYS)}"
            raise ConfigError(message, file=file, key=f"{key}.{name}")
    jobs = _number(written.get("jobs", 0.0), file=file, key=f"{key}.jobs")
    room = _number(written.get("jobs_per_node", 1.0), file=file, key=f"{key}.jobs_per_node")
    if room <= 0:
        raise ConfigError("expected a number above 0", file=file, key=f"{key}.jobs_per_node")
    return Constant(jobs, room)


def _number(value: object, *, file: str, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ConfigError(f"expected a number from 0 to 1e9, got {value}", file=file, key=key)
    return float(value)
