"""Telling: what a fleet is like, in lines for people and for whoever looks without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from navarch.core import explain
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.sightings import Sightings
from navarch.core.sentences import sentence
from navarch.core.settings import Settings
from navarch.errors import NavarchError
from navarch.simulator.timeline import EPOCH

KINDS = ("node", "instance", "pool")
"""What can be explained."""


def counts(fleet: Fleet) -> Mapping[str, Mapping[str, int]]:
    """Count the nodes by status and the instances by state, in the order of the words."""
    nodes = Counter(node.status.value for node in fleet.nodes.values())
    instances = Counter(each.state.value for each in fleet.instances.values())
    return {"nodes": dict(sorted(nodes.items())), "instances": dict(sorted(instances.items()))}


def counted(words: Mapping[str, int]) -> str:
    """Say a count on one line."""
    return ", ".join(f"{count:,} {word}" for word, count in words.items()) or "none"


def explained(
    fleet: Fleet, sightings: Sightings, settings: Settings, now: datetime, kind: str, id_: str
) -> Iterator[str]:
    """Say why a node, an instance or a pool is as it is, line by line.

    Raises `NavarchError` when there is no such thing.
    """
    if kind == "node" and id_ in fleet.nodes:
        yield from explain.explain_node(fleet, sightings, fleet.nodes[id_], now, settings)
    elif kind == "instance" and id_ in fleet.instances:
        yield from explain.explain_instance(sightings, fleet.instances[id_], now)
    elif kind == "pool" and id_ in fleet.pools:
        yield from explain.explain_pool(fleet, sightings, fleet.pools[id_], now, settings)
    elif kind in KINDS:
        raise NavarchError(f"{kind} {id_} is not known")
    else:
        raise NavarchError(f"{kind} is nothing to explain, expected one of {', '.join(KINDS)}")


def told(facts: Iterable[tuple[int, ev.Event]]) -> Iterator[str]:
    """Say facts, each behind its number and how long after the beginning it was taken."""
    for seq, fact in facts:
        yield f"{seq:>6}  +{fact.at - EPOCH}  {sentence(fact)}"
