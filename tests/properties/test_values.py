"""Properties of single values: they are written and read back equal, and folding is stable."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import indexes
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet, Orphan, Snapshot
from navarch.core.model.fleet import decode as read_snapshot
from navarch.core.model.fleet import encode as write_snapshot
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.offer import Refusals
from navarch.core.model.pool import Pool
from navarch.core.model.report import HealthEvent, folded
from strategies import facts, messages, structs


@given(facts)
def test_a_fact_is_read_back_equal(fact: ev.Fact) -> None:
    assert ev.decode(ev.encode(fact)) == fact


@given(facts)
def test_a_fact_has_a_kind_and_its_subjects_are_not_empty(fact: ev.Fact) -> None:
    assert msgspec.json.decode(ev.encode(fact))["kind"] == ev.kind(fact)
    match fact:
        case ev.RecordsForgotten() | ev.PoolConfigured():
            pass
        case _:
            named = ev.subjects(fact)
            assert len(named) == len(set(named))
            assert "" not in named


@given(messages)
def test_a_message_survives_decoding(message: msg.Message) -> None:
    raw = msgspec.json.encode(message)
    assert msgspec.json.decode(raw, type=type(message)) == message


@given(
    st.lists(structs(Pool), max_size=3),
    st.lists(structs(Instance), max_size=3),
    st.lists(structs(Node), max_size=3),
    st.lists(structs(Orphan), max_size=3),
    st.lists(structs(Refusals), max_size=2),
)
def test_any_fleet_at_all_is_read_back_equal(
    pools: list[Pool],
    instances: list[Instance],
    nodes: list[Node],
    orphans: list[Orphan],
    held: list[Refusals],
) -> None:
    records = Snapshot(
        "k3f9",
        len(instances),
        pools={pool.name: pool for pool in pools},
        instances={instance.id: instance for instance in instances},
        nodes={node.id: node for node in nodes},
        orphans={f"{orphan.provider}/{orphan.ref}": orphan for orphan in orphans},
        refusals={refusals.failure: refusals for refusals in held},
    )
    fleet = Fleet(records)
    again = read_snapshot(write_snapshot(fleet))
    assert (again, again.records()) == (fleet, records)
    assert (fleet.copy(), indexes(fleet.copy())) == (fleet, indexes(fleet))
    assert indexes(again) == indexes(fleet)


@given(st.lists(structs(Instance), max_size=4), st.lists(structs(Node), max_size=4))
def test_putting_records_one_by_one_gives_the_same_indexes(
    instances: list[Instance], nodes: list[Node]
) -> None:
    """Later records of the same id replace the earlier ones, in the indexes too."""
    fleet = Fleet()
    for instance in instances:
        fleet.put_instance(replace(instance, pool="blue", provider="alpha"))
    for node in nodes:
        fleet.put_node(node)
    assert indexes(fleet) == indexes(Fleet(fleet.records()))


@given(st.lists(structs(HealthEvent), max_size=8).map(tuple))
def test_folding_events_loses_none_and_is_done_after_once(events: tuple[HealthEvent, ...]) -> None:
    once = folded(events)
    assert sum(event.count for event in once) == sum(event.count for event in events)
    assert {event.shape for event in once} == {event.shape for event in events}
    assert folded(once) == once
