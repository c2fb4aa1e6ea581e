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


def counting_since(fleet: Fleet) -> datetime | None:
    """Since when silences are counted; None: we were never away."""
    return fleet.resumed_at


def heard_last(fleet: Fleet, sightings: Sightings, node: Node) -> datetime:
    """When silence began to count for a node."""
    heard = max(sightings.heard.get(node.id) or node.heard_at, node.heard_at)
    return max(heard, counting_since(fleet) or heard)


def lost(
    fleet: Fleet, sightings: Sightings, now: datetime, settings: Settings
) -> Iterator[ev.NodeLost]:
    """Find the connected nodes that have been silent for longer than is allowed.

    Cost: O(1) within `silence_max` of a restart; then one look at a packed column, and O(nodes) in
    Python only when somebody is overdue or has not been heard since.
    """
    limit = now - settings.silence_max
    since = counting_since(fleet)
    if since is not None and since >= limit:
        return
    suspects = _suspects(fleet, sightings, limit)
    if not suspects:
        return
    for node in fleet.nodes.values():
        if node.id not in suspects or node.contact is Contact.LOST:
            continue
        if node.phase is Phase.TERMINATED:
            continue
        silent_since = heard_last(fleet, sightings, node)
        if silent_since < limit:
            yield ev.NodeLost(now, node.id, _because(now, silent_since, settings))


def _suspects(fleet: Fleet, sightings: Sightings, limit: datetime) -> set[str]:
    """Find who was heard last before `limit`, or never since we began, and is not known as lost."""
    overdue = set(sightings.heard.before(limit))
    if len(sightings.heard) < len(fleet.nodes):
        overdue |= fleet.nodes.keys() - set(sightings.heard)
    return overdue - fleet.lost.keys() - fleet.gone.keys()


def _because(now: datetime, silent_since: datetime, settings: Settings) -> str:
    seconds = (now - silent_since).total_seconds()
    interval = settings.heartbeat_interval.total_seconds()
    return (
        f"silent for {seconds:.0f} s: more than {settings.missed_heartbeats} heartbeats "
        f"of {interval:g} s missed"
    )
