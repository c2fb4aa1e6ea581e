"""The views: what each page shows, as JSON.

A view reads and never changes anything. It is a function of what it is given, so it is tested
without a server: make a `Seen`, ask, compare.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from navarch.dashboard.seen import Seen
from navarch.dashboard.views import cost, events, fleet, nodes, pools, serving, simulations

View = Callable[[Seen, str, Mapping[str, str]], Awaitable[object]]
"""Answers what is below its path and in a query. Raises `WireError` with ``not_found`` or
``invalid_argument``."""

VIEWS: Final[Mapping[str, View]] = {
    "cost": cost.view,
    "events": events.view,
    "fleet": fleet.view,
    "nodes": nodes.view,
    "pools": pools.view,
    "serving": serving.view,
    "simulations": simulations.view,
}
"""By the first part of the path below ``/ui/``."""

KEPT: Final = frozenset({"fleet"})
"""The views that depend on rows alone: an answer is good until a row changes."""
