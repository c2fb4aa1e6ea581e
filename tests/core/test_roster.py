"""The roster follows its fleet, and knows every page without looking at every node."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from factories import a_node, name
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent, NodeStatus
from navarch.core.model.touched import TOUCHED_MAX, Touched
from navarch.core.roster import Group, Roster

CHANGES = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.sampled_from(["put", "put", "put", "drop", "look"]),
        st.sampled_from(["east", "west"]),
        st.sampled_from(["training", "serving"]),
        st.sampled_from(Intent),
    ),
    max_size=60,
)


def statuses(fleet: Fleet) -> Counter[Group]:
    return Counter(
        Group(node.provider, node.region, node.pool, node.status) for node in fleet.nodes.values()
    )


@given(CHANGES, st.integers(0, 3), st.sampled_from(["", "east"]), st.sampled_from([None, "active"]))
def test_pages_and_counts_are_those_of_the_fleet_whatever_happens(
    changes: list[tuple[int, str, str, str, Intent]], size: int, region: str, status: str | None
) -> None:
    fleet = Fleet()
    roster = Roster(fleet)
    for n, what, region_of, pool, intent in changes:
        match what:
            case "put":
                fleet.put_node(a_node(n, region=region_of, pool=pool, intent=intent))
            case "drop":
                fleet.drop((), [name(n)])
            case _:
                roster.refresh()
    roster.refresh()
    assert roster.counts() == statuses(fleet)
    assert len(roster) == len(fleet.nodes)
    wanted = sorted(
        node.id
        for node in fleet.nodes.values()
        if region in ("", node.region) and status in (None, node.status.value)
    )
    found: list[str] = []
    after = ""
    while True:
        ids, after = roster.page(
            size=size,
            after=after,
            region=region,
            status=None if status is None else NodeStatus(status),
        )
        assert len(ids) <= (size or len(wanted))
        found += ids
        if not after:
            break
    assert found == wanted


def test_a_narrow_filter_and_a_wide_one_find_the_same() -> None:
    fleet = Fleet()
    for n in range(1, 101):
        fleet.put_node(a_node(n, pool="few" if n % 50 == 0 else "many"))
    roster = Roster(fleet)
    roster.refresh()
    assert roster.page(pool="few") == ([name(50), name(100)], "")
    assert roster.page(pool="few", after=name(50)) == ([name(100)], "")
    assert roster.page(pool="many", size=2, after=name(49)) == ([name(51), name(52)], name(52))
    assert roster.page(pool="none", size=2) == ([], "")


def test_what_a_plan_of_the_core_does_is_no_news() -> None:
    fleet = Fleet()
    fleet.put_node(a_node(1))
    touched = fleet.follow()
    assert touched.take() is None
    plan = fleet.copy()
    plan.put_node(a_node(2))
    plan.drop((), [name(1)])
    assert touched.take() == set()
    fleet.put_node(a_node(3))
    assert touched.take() == {name(3)}


def test_too_many_changes_are_remembered_as_all() -> None:
    touched = Touched()
    assert touched.take() is None
    for number in range(TOUCHED_MAX + 5):
        touched.add(str(number))
    assert touched.take() is None
    assert touched.take() == set()
