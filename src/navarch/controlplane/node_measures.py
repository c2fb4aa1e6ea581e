"""Series of single nodes, for those who want them and know what they cost.

The first so many nodes by their ids have them. A scrape of 1,000 takes some 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from navarch.controlplane.measures import Measures, Values
from navarch.controlplane.runtime import Runtime
from navarch.core.model.node import Node
from navarch.wire.listing import Listing


def measure_nodes(
    measures: Measures, runtime: Callable[[], Runtime], listing: Listing, nodes_max: int
) -> None:
    """Show the measures of so many nodes."""

    def nodes() -> Iterator[Node]:
        fleet = runtime().machine.fleet
        ids, _ = listing.roster(fleet).page(size=nodes_max)
        return (fleet.nodes[id_] for id_ in ids if id_ in fleet.nodes)

    def heard() -> Iterator[tuple[Values, float]]:
        now, sightings = runtime().clock.now(), runtime().machine.sightings
        for node in nodes():
            at = sightings.heard.get(node.id) or node.heard_at
            yield (node.id, node.pool), max((now - at).total_seconds(), 0.0)

    def load() -> Iterator[tuple[Values, float]]:
        samples = runtime().machine.sightings.samples
        for node in nodes():
            percent = samples.load(node.id)
            if percent is not None:
                yield (node.id, node.pool), percent / 100

    measures.many(
        "navarch_node_status", lambda: (((n.id, n.pool, n.status.value), 1.0) for n in nodes())
    )
    measures.many(
        "navarch_node_health", lambda: (((n.id, n.pool, n.health.value), 1.0) for n in nodes())
    )
    measures.many("navarch_node_heard_seconds", heard)
    measures.many("navarch_node_utilization_ratio", load)
