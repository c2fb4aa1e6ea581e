"""Selection: which of a pool's offers a machine is bought from.

A ranker puts *all* offers in order; the next in the order is the fallback. What must not be asked
right now, because it refused a moment ago, is left out by `memory`, whatever the ranker says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from navarch.core.selection.availability import AvailabilityRanker
from navarch.core.selection.base import Ranker
from navarch.core.selection.cost import CostRanker
from navarch.core.selection.priority import PriorityRanker
from navarch.core.selection.round_robin import RoundRobinRanker

BUILT_IN: Mapping[str, Ranker] = MappingProxyType(
    {
        ranker.name: ranker
        for ranker in (PriorityRanker(), CostRanker(), AvailabilityRanker(), RoundRobinRanker())
    }
)
"""The rankers that a pool's strategy may name without any plugin."""

PRICELESS = frozenset({"priority", "round-robin"})
"""Strategies that never look at a price list; any other, a plugin's too, may."""
