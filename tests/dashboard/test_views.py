"""What the fleet and the events view show, without a server."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from factories import START
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.command import CommandType
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Repair, Stage
from navarch.core.model.node import Contact, Intent, Metadata, Node, Phase
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import Health
from navarch.core.model.sightings import Sightings
from navarch.core.settings import Settings
from navarch.dashboard import stream
from navarch.dashboard.rows import ORDER, Rows, State, row_of
from navarch.dashboard.seen import Seen
from navarch.dashboard.views import VIEWS, events, fleet
from navarch.errors import WireError
from navarch.stores.memory import MemoryStore

NODE = Node("n1", START, START, pool="training", provider="fake", because="registered")
BOUGHT = Instance("n1", "training", "fake", InstanceState.RUNNING, START, "it runs")
REPAIR = Repair(Remedy.REBOOT, START, Stage.DRAINING, START, "XID 79")
BAD = Finding("xid-79", Health.UNHEALTHY, Remedy.REBOOT, START, START, because="off the bus")
LATER = START + timedelta(hours=1)


def seen(*facts: ev.Fact, journal: MemoryStore | None = None) -> Seen:
    """A fleet of these facts, and a journal that has them."""
    store = journal or MemoryStore()
    known = Fleet()
    for fact in facts:
        fold.apply(known, fact)
    return Seen(known, Sightings(), LATER, Settings(), store, seq=len(facts))


def asked(*facts: ev.Fact, below: str = "", **query: str) -> events.EventsView | events.EventView:
    """What the events view shows of a journal of these facts."""

    async def ask() -> events.EventsView | events.EventView:
        store = MemoryStore()
        await store.open()
        await store.append(facts, after=0)
        found = await events.view(seen(journal=store), below, query)
        await store.close()
        return found

    return asyncio.run(ask())


def page(*facts: ev.Fact, **query: str) -> events.EventsView:
    """The same, where it is a stretch of the journal."""
    found = asked(*facts, **query)
    assert isinstance(found, events.EventsView)
    return found


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node,state,because",
    [
        (NODE, State.ACTIVE, "registered"),
        (replace(NODE, health=Health.DEGRADED), State.DEGRADED, "registered"),
        (
            replace(NODE, health=Health.UNHEALTHY, findings=(BAD,)),
            State.UNHEALTHY,
            "off the bus (rule xid-79)",
        ),
        (replace(NODE, health=Health.UNHEALTHY, repair=REPAIR), State.REPAIRING, "XID 79"),
        (replace(NODE, intent=Intent.CORDONED), State.CORDONED, "registered"),
        (replace(NODE, intent=Intent.DRAINED), State.CORDONED, "registered"),
        (replace(NODE, intent=Intent.DRAINING), State.DRAINING, "registered"),
        (replace(NODE, phase=Phase.LEAVING), State.DRAINING, "registered"),
        (replace(NODE, phase=Phase.TERMINATING), State.TERMINATING, "it runs"),
        (
            replace(NODE, contact=Contact.LOST, lost_because="silent", repair=REPAIR),
            State.LOST,
            "silent",
        ),
    ],
)
def test_the_gravest_that_can_be_said_of_a_node_is_its_state(
    node: Node, state: State, because: str
) -> None:
    row = row_of(node, BOUGHT)
    assert row is not None
    assert (row.state, row.because) == (state, because)


def test_a_machine_that_boots_is_shown_and_one_that_has_ended_is_not() -> None:
    booting = replace(BOUGHT, state=InstanceState.PENDING_REGISTRATION, because="it boots")
    row = row_of(None, booting)
    assert row is not None
    assert (row.state, row.because) == (State.BOOTING, "it boots")
    assert row_of(None, replace(BOUGHT, state=InstanceState.FAILED)) is None
    assert row_of(replace(NODE, phase=Phase.TERMINATED), BOUGHT) is None
    assert row_of(None, None) is None


def test_a_replacement_that_is_bought_counts_as_repair() -> None:
    condemned = replace(BOUGHT, condemned_at=START, condemned_because="too hot")
    row = row_of(replace(NODE, condemned=True, health=Health.UNHEALTHY), condemned)
    assert row is not None
    assert (row.state, row.because) == (State.REPAIRING, "too hot")


def test_rows_tell_what_has_changed_and_nothing_else() -> None:
    known = Fleet()
    for number in range(3):
        fold.apply(known, ev.NodeRegistered(START, f"n{number}"))
    rows = Rows(known)
    assert len(rows.refresh()[0]) == 3
    assert rows.refresh() == ([], [])
    version = rows.version
    fold.apply(known, ev.IntentChanged(START, "n1", Intent.CORDONED, "odd"))
    changed, gone = rows.refresh()
    assert ([row.id for row in changed], gone) == (["n1"], [])
    assert rows.version == version + 1
    fold.apply(known, ev.NodeRetired(START, "n2", "gone"))
    assert rows.refresh() == ([], ["n2"])
    assert len(rows) == 2


def test_rows_see_instances_that_facts_were_about() -> None:
    known = Fleet()
    fold.apply(known, ev.PoolConfigured(START, PoolSpec("training", "fake", max_nodes=3)))
    rows = Rows(known)
    rows.refresh()
    fact = ev.LaunchRequested(START, "n1", "training", "fake", because="0 of 1")
    fold.apply(known, fact)
    assert rows.refresh() == ([], []), "nobody has said so"
    rows.note(ev.subjects(fact))
    assert [row.state for row in rows.refresh()[0]] == [State.BOOTING]


# --- the fleet -----------------------------------------------------------------------------------


def test_the_fleet_stands_in_columns_that_say_what_the_rows_say() -> None:
    labels = Metadata(labels={"rack": "r7"})
    facts: list[ev.Fact] = [
        *(ev.NodeRegistered(START, f"n{number}", zone="a", metadata=labels) for number in range(3)),
        ev.IntentChanged(START, "n1", Intent.CORDONED, "odd"),
    ]
    shown = asyncio.run(fleet.view(seen(*facts), "", {}))
    machines = shown.machines
    assert machines.id == ["n0", "n1", "n2"]
    assert [shown.states[place] for place in machines.state] == ["active", "cordoned", "active"]
    assert [machines.because.names[place] for place in machines.because.of][1] == "odd"
    assert [machines.rack.names[place] for place in machines.rack.of] == ["r7"] * 3
    assert shown.counts["cordoned"] == 1
    assert sum(shown.counts.values()) == 3
    assert shown.states == [state.value for state in ORDER]


def test_an_empty_fleet_is_shown_as_such() -> None:
    shown = asyncio.run(fleet.view(seen(), "", {}))
    assert shown.machines.id == []
    assert set(shown.counts.values()) == {0}


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_view_refuses_what_it_does_not_know(name: str) -> None:
    async def ask() -> None:
        store = MemoryStore()
        await store.open()
        try:
            await VIEWS[name](seen(journal=store), "no/such/thing", {})
        finally:
            await store.close()

    with pytest.raises(WireError) as caught:
        asyncio.run(ask())
    assert caught.value.code in ("not_found", "invalid_argument")


# --- the journal ---------------------------------------------------------------------------------


def facts_of(count: int) -> list[ev.Fact]:
    """Registrations and cordons by turns, one a minute."""
    made: list[ev.Fact] = []
    for number in range(count):
        at = START + timedelta(minutes=number)
        if number % 2:
            made.append(ev.IntentChanged(at, f"n{number - 1}", Intent.CORDONED, "<b>odd</b>"))
        else:
            made.append(ev.NodeRegistered(at, f"n{number}"))
    return made


def test_the_newest_facts_come_first_and_older_ones_page_by_page() -> None:
    facts = facts_of(250)
    seqs: list[int] = []
    before: int | None = 251
    while before is not None:
        shown = page(*facts, before=str(before))
        seqs += [each.seq for each in shown.events]
        before = shown.before
    assert seqs == list(range(250, 0, -1))


def test_facts_are_found_by_words_kind_subject_and_time() -> None:
    facts = facts_of(40)
    assert {each.kind for each in page(*facts, kind="intent_changed").events} == {"intent_changed"}
    assert [each.seq for each in page(*facts, subject="n4").events] == [6, 5]
    assert [each.seq for each in page(*facts, text="ODD n4").events] == [6]
    since = (START + timedelta(minutes=38)).isoformat()
    assert [each.seq for each in page(*facts, since=since).events] == [40, 39]
    assert page(*facts, text="nothing is like this").before is None


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"before": "-1"},
        {"before": "9" * 40},
        {"before": "²"},
        {"text": "x" * 1_000},
        {"order": "seq"},
    ],
)
def test_a_search_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(WireError) as caught:
        page(*facts_of(2), **query)
    assert caught.value.code == "invalid_argument"


def test_a_search_looks_through_so_many_facts_and_says_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "READ", 10)
    monkeypatch.setattr(events, "LOOKED_AT_MAX", 20)
    shown = page(*facts_of(60), text="n2 registered")
    assert (shown.events, shown.looked_at, shown.before) == ([], 20, 41)


def test_one_fact_is_shown_with_all_that_is_in_it() -> None:
    shown = asked(*facts_of(2), below="2")
    assert isinstance(shown, events.EventView)
    assert shown.event.pages == ["nodes"]
    assert b"<b>odd</b>" in bytes(shown.payload)
    for nothing in ("3", "0"):
        with pytest.raises(WireError, match="there is no fact"):
            asked(*facts_of(2), below=nothing)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(events.KEYS)), st.text(max_size=30)))
def test_no_query_breaks_the_search(query: dict[str, str]) -> None:
    code = "invalid_argument"
    try:
        page(*facts_of(3), **query)
    except WireError as error:
        code = error.code
    assert code == "invalid_argument"


# --- what waits for a viewer ---------------------------------------------------------------------


def test_who_reads_too_slowly_is_cut_off_and_nothing_more_is_kept() -> None:
    async def run() -> None:
        viewer = stream.Viewer("vera")
        part = b"x" * (stream.QUEUE_BYTES_MAX // 4)
        for _ in range(4):
            viewer.put(part)
        assert await viewer.take() == part * 4
        for _ in range(5):
            viewer.put(part)
        assert viewer.cut
        assert viewer.waiting_bytes == 0
        assert await viewer.take() is None

    asyncio.run(run())


def test_a_message_is_one_event_whatever_stands_in_it() -> None:
    told = stream.message("facts", {"text": "a\n\nevent: x\ndata: {}\r\n"})
    assert told.count(b"\n") == 3
    assert told.startswith(b"event: facts\ndata: {")


def test_pools_are_told_as_the_api_tells_them() -> None:
    spec = PoolSpec("training", "fake", min_nodes=1, max_nodes=3)
    told = stream.pool_rows(seen(ev.PoolConfigured(START, spec)).fleet)["training"]
    assert (told["min_nodes"], told["max_nodes"], told["paused"]) == (1, 3, False)


def test_a_command_is_no_link() -> None:
    issued = ev.CommandIssued(START, "cmd-1", "n1", CommandType.CORDON, LATER)
    shown = page(issued)
    assert dict(zip(shown.events[0].subjects, shown.events[0].pages, strict=True)) == {
        "n1": "nodes",
        "cmd-1": "",
    }


def test_moments_are_told_with_their_zone() -> None:
    at: datetime = page(*facts_of(1)).events[0].at
    assert at.tzinfo is not None
