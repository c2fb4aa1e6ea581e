"""Demand: how much work wants to run on a pool, over time."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class Demand(Protocol):
    """How much work there is."""

    @property
    def jobs_per_node(self) -> float:
        """How much of it keeps one node busy, above 0."""
        ...

    def jobs(self, since: timedelta) -> float:
        """The work that wants to run, this long after the beginning; at least 0."""
        ...
