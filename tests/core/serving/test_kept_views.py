"""Views that are kept are always those that would be made anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import START, a_fleet, a_node, an_instance, name
from navarch.core.model.fleet import Fleet, Weights
from navarch.core.model.gpu import GPU
from navarch.core.model.messages import Sold
from navarch.core.model.node import Contact, Intent, Metadata, Phase
from navarch.core.model.replica import ModelSeen, NodeServing, Replica, ReplicaState
from navarch.core.model.report import Health
from navarch.core.model.sightings import Catalog, Sightings
from navarch.core.serving import nodes
from navarch.core.serving.kept_views import KeptViews

KINDS = [
    *("node", "health", "intent", "contact", "ended", "labels", "gone", "instance", "replica"),
    *("replica", "left", "weights", "unweights", "rate", "price", "look", "look"),
]
CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 4), st.integers(0, 3)), max_size=40
)


def a_replica(n: int, at: int, share: float = 1.0) -> Replica:
    return Replica(
        f"r{n}",
        "demo/chat",
        START,
        state=ReplicaState.READY,
        node_id=name(n),
        gpus=(at,),
        share=share,
    )


def change(fleet: Fleet, seen: Sightings, what: str, n: int, number: int) -> None:
    """Change something about a node, if it is there."""
    id_ = name(n)
    node = fleet.nodes.get(id_)
    if node is None:
        if what == "node":
            gpus = tuple(GPU(at, name="H100") for at in range(4))
            fleet.put_node(a_node(n, gpus=gpus))
        return
    match what:
        case "health":
            fleet.put_node(replace(node, health=list(Health)[number]))
        case "intent":
            fleet.put_node(replace(node, intent=list(Intent)[number]))
        case "contact":
            fleet.put_node(replace(node, contact=list(Contact)[number % 2]))
        case "ended":
            fleet.put_node(replace(node, phase=list(Phase)[number]))
        case "labels":
            labels = {"navarch.io/taint.dedicated": f"t{number}"}
            fleet.put_node(replace(node, metadata=Metadata(labels=labels)))
        case "gone":
            fleet.drop([id_], [id_])
        case "instance":
            before = fleet.instances.get(id_) or an_instance(n)
            fleet.put_instance(replace(before, spot=number % 2 == 0, instance_type=f"t{number}"))
        case "replica":
            fleet.put_replica(a_replica(n, number, share=(1.0, 0.5)[number % 2]))
        case "left" if f"r{n}" in fleet.replicas:
            fleet.put_replica(replace(fleet.replicas[f"r{n}"], state=ReplicaState.ENDED))
        case "weights":
            fleet.weights.setdefault(id_, {})[f"demo/m{number}"] = Weights(START)
        case "unweights":
            fleet.weights.get(id_, {}).pop(f"demo/m{number}", None)
        case "rate":
            model = ModelSeen("demo/m", bytes_per_second=number * 1000)
            seen.serving[id_] = NodeServing((), (model,))
        case "price":
            sold = Sold("t1", price_usd_per_hour=float(number))
            seen.catalogs[node.provider] = Catalog(START, {"t1": sold})
        case _:
            return


@given(CHANGES)
def test_kept_views_are_those_that_would_be_made_anew(
    changes: list[tuple[str, int, int]],
) -> None:
    fleet, seen, kept = a_fleet(2), Sightings(), KeptViews()
    for what, n, number in changes:
        change(fleet, seen, what, n, number)
        if what == "look":
            assert kept.of(fleet, seen) == nodes.views(fleet, seen)
    assert kept.of(fleet, seen) == nodes.views(fleet, seen)


def test_only_what_changed_is_made_anew() -> None:
    fleet, seen, kept = a_fleet(3), Sightings(), KeptViews()
    before = kept.of(fleet, seen)
    fleet.put_node(replace(fleet.nodes[name(2)], intent=Intent.CORDONED))
    after = kept.of(fleet, seen)
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]
