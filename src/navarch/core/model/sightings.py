"""Sightings: readings that live in memory only, where the newest wins.

Losing them changes nothing about what is safe to do, it only delays: after a restart every
silence is counted anew, and an absence has to be seen again before it counts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field

from navarch.core.model.last_heard import LastHeard
from navarch.core.model.messages import Machine, Sold
from navarch.core.model.replica import NodeServing
from navarch.core.model.report import CheckResult, HealthEvent, moments
from navarch.core.model.samples import Samples

SAID_MAX: Final = 32
"""Reports of a node that are known again when they come again: as many as its agent keeps."""


class Inventory(Struct, frozen=True):
    """The newest list of one provider."""

    begun_at: datetime
    taken_at: datetime
    list_lag: timedelta
    machines: dict[str, Machine]
    """By the provider's own id."""


class Recommendation(Struct, frozen=True):
    """The newest word of a pool's autoscaler."""

    at: datetime
    target: int
    reason: str
    by: str
    held: bool = False


class Catalog(Struct, frozen=True):
    """The newest price list of one provider."""

    at: datetime
    types: dict[str, Sold]
    """By the provider's own name of the type; empty when it has no list."""


class Sightings(Struct):
    """What was seen last, of nodes and of providers."""

    heard: LastHeard = field(default_factory=LastHeard)
    """When each node was heard last, by our clock."""
    samples: Samples = field(default_factory=Samples)
    """The newest samples of each node."""
    inventories: dict[str, Inventory] = field(default_factory=dict)
    """The newest inventory of each provider."""
    missing: dict[str, datetime] = field(default_factory=dict)
    """Instances that inventories do not show: since when, by the start of the first of them."""
    strays: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """Machines with our tag that belong to no instance, by (provider, ref): since when."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What the newest failed inventory of a provider said; absent when it worked."""
    asked: dict[str, datetime] = field(default_factory=dict)
    """When each provider's newest inventory, good or failed, came in."""
    recommendations: dict[str, Recommendation] = field(default_factory=dict)
    """The newest one of each pool."""
    catalogs: dict[str, Catalog] = field(default_factory=dict)
    """The newest price list of each provider that was asked for one."""
    tried: dict[str, datetime] = field(default_factory=dict)
    """When an effect, by its key, was last tried in vain."""
    held: dict[str, tuple[HealthEvent, ...]] = field(default_factory=dict)
    """Repetitions of what a node has just reported: they become one fact a little later."""
    said: dict[str, dict[int, None]] = field(default_factory=dict)
    """What tells the newest reports of each node from others, hashed, in the order they came."""
    drains: dict[str, str] = field(default_factory=dict)
    """What the workload manager said last of each drain that is under way."""

    serving: dict[str, NodeServing] = field(default_factory=dict)
    """What runs on each node that says so, and how far its weights are."""
    deaf: bool = False
    """Whether nobody tells us anything, since another control plane leads: then all is empty."""

    def has_said(
        self, node_id: str, results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]
    ) -> bool:
        """Whether a report of a node has come before: a call that was given up may come late."""
        dated = moments(results, events)
        return bool(dated) and hash(dated) in self.said.get(node_id, ())

    def remember_report(
        self, node_id: str, results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]
    ) -> None:
        """Know a report when it comes again."""
        if dated := moments(results, events):
            said = self.said.setdefault(node_id, {})
            said[hash(dated)] = None
            if len(said) > SAID_MAX:
                del said[next(iter(said))]

    def heard_of_drain(self, node_id: str, text: str) -> None:
        """Keep what the workload manager said last of a drain; an empty text says it is over."""
        if text:
            self.drains[node_id] = text
        else:
            self.drains.pop(node_id, None)

    def forget(self, node_id: str) -> None:
        """Drop what was seen of a node that is no longer kept."""
        self.heard.pop(node_id)
        self.samples.pop(node_id)
        self.serving.pop(node_id, None)
        self.missing.pop(node_id, None)
        self.held.pop(node_id, None)
        self.said.pop(node_id, None)
        self.drains.pop(node_id, None)
        for key in (f"tell {node_id}", f"drained {node_id}"):
            self.tried.pop(key, None)
