"""Liveness: who has been silent for too long, by our own clock.

The sender's time is never asked. A restart of ours is not an outage of theirs: silence is counted
from the latest of the last sighting, the last registration and the last `Resumed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Node, Phase
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings


def heard_last(fleet: Fleet, sightings: Sightings, node: Node) -> datetime:
    """When silence began to count for a node."""
    heard = max(sightings.heard.get(node.id, node.heard_at), node.heard_at)
    return max(heard, fleet.resumed_at or heard)


def lost(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.NodeLost]:
    """Find the connected nodes that have been silent for longer than is allowed."""
    limit = now - settings.silence_max
    for node in fleet.nodes.values():
        if node.phase is Phase.TERMINATED or node.contact is Contact.LOST:
            continue
        silent_since = heard_last(fleet, sightings, node)
        if silent_since < limit:
            yield ev.NodeLost(now, node.id, _because(now, silent_since, settings))


def _because(now: datetime, silent_since: datetime, settings: Settings) -> str:
    seconds = (now - silent_since).total_seconds()
    interval = settings.heartbeat_interval.total_seconds()
    return (
        f"silent for {seconds:.0f} s: more than {settings.missed_heartbeats} heartbeats "
        f"of {interval:g} s missed"
    )
