"""What a control plane counts of itself: true, bounded, and cheap to read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from navarch.controlplane import catalogue
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.described import COMMIT_BOUNDS
from navarch.controlplane.measures import OTHER, Measures, Names, by
from navarch.core.model.command import CommandType
from navarch.core.model.messages import IssueCommand, RegisterNode
from navarch.plugins.histograms import Histogram
from navarch.stores.sqlite import SqliteStore
from navarch.wire.asgi import Application
from navarch.wire.generated import navarch_pb2 as pb
from pools import MONDAY, a_control_plane, a_spec, register_all, run
from requests_of import call, get


def numbers(text: str) -> dict[str, float]:
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines())
        if not name.startswith("#")
    }


def scraped(
    story: Callable[[ControlPlane, Application, list[str]], Awaitable[None]], **spec: object
) -> dict[str, float]:
    """Tell a story of a control plane with two nodes, and scrape it at the end."""

    async def told() -> str:
        async with a_control_plane(FakeClock(MONDAY), a_spec(**spec)) as (plane, _):
            ids = await register_all(plane, 2)
            application = plane.asgi_app
            await story(plane, application, ids)
            status, page = await get(application, "/metrics")
            assert status == 200
            return page.decode()

    text = run(told())
    assert list(catalogue.faults(text)) == []
    return numbers(text)


async def nothing(plane: ControlPlane, application: Application, ids: list[str]) -> None:
    """Do nothing."""


def test_nodes_are_counted_by_pool_and_status() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        await get(application, "/metrics")  # so that the second look sees what changed since
        await plane.runtime.ask(IssueCommand(ids[0], CommandType.CORDON, reason="a look"))
        await plane.runtime.ask(RegisterNode("by-itself"))

    told = scraped(story)
    nodes = {name: value for name, value in told.items() if name.startswith("navarch_nodes{")}
    assert nodes == {
        'navarch_nodes{pool="training",status="active"}': 1,
        'navarch_nodes{pool="training",status="cordoned"}': 1,
        'navarch_nodes{pool="",status="active"}': 1,
    }
    assert told['navarch_pool_target_nodes{pool="training"}'] == 2
    assert told['navarch_pool_current_nodes{pool="training"}'] == 2
    assert told['navarch_instances{awaits="registration"}'] == 0


def test_pools_beyond_the_bound_are_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.controlplane.accounts.POOLS_MAX", 0)
    told = scraped(nothing)
    assert told[f'navarch_nodes{{pool="{OTHER}",status="active"}}'] == 2
    assert told[f'navarch_pool_target_nodes{{pool="{OTHER}"}}'] == 2
    assert told[f'navarch_pool_healthy_nodes{{pool="{OTHER}"}}'] == 2
    assert not any("training" in name for name in told)


def test_no_series_names_a_node() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        for id_ in ids:
            await call(application, "Heartbeat", pb.HeartbeatRequest(node_id=id_))
        await call(application, "GetNode", pb.GetNodeRequest(node_id="nobody"))
        told = (await get(application, "/metrics"))[1].decode()
        assert not any(id_ in told for id_ in (*ids, "nobody"))

    scraped(story)


def test_calls_are_counted_by_how_they_ended() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        for id_ in ids:
            await call(application, "Heartbeat", pb.HeartbeatRequest(node_id=id_))
        beats = [pb.HeartbeatRequest(node_id=id_) for id_ in (*ids, "stranger")]
        await call(application, "HeartbeatBatch", pb.HeartbeatBatchRequest(heartbeats=beats))
        await call(application, "Heartbeat", pb.HeartbeatRequest(node_id="stranger"))
        await get(application, "/nowhere")

    told = scraped(story)
    assert told['navarch_requests_total{method="Heartbeat",code="ok"}'] == 2
    assert told['navarch_requests_total{method="Heartbeat",code="not_found"}'] == 1
    assert told['navarch_requests_total{method="HeartbeatBatch",code="ok"}'] == 1
    assert told['navarch_heartbeats_total{path="ordinary"}'] == 4
    assert told['navarch_requests_refused_total{reason="not_found"}'] == 1
    assert told['navarch_requests_refused_total{reason="unknown_path"}'] == 1


def test_what_the_hot_path_answers_counts_too() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        await call(application, "Heartbeat", pb.HeartbeatRequest(node_id="stranger"))
        assert application.hot is not None
        counts = application.hot.counts
        counts.heartbeats, counts.batches, counts.batched, counts.polls = 3, 2, 500, 7

    told = scraped(story)
    assert told['navarch_heartbeats_total{path="hot"}'] == 503
    assert told['navarch_requests_total{method="Heartbeat",code="ok"}'] == 3
    assert told['navarch_requests_total{method="Heartbeat",code="not_found"}'] == 1
    assert told['navarch_requests_total{method="HeartbeatBatch",code="ok"}'] == 2
    assert told['navarch_requests_total{method="PollCommands",code="ok"}'] == 7


def test_the_work_behind_is_told() -> None:
    seqs: list[int] = []

    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        await call(application, "ListNodes", pb.ListNodesRequest())
        await plane.runtime.snapshot()
        await plane.runtime.ask(RegisterNode("by-itself"))
        seqs.append(plane.runtime.seq)

    told = scraped(story)
    assert told["navarch_journal_seq"] == seqs[0]
    assert told["navarch_journal_unfolded_facts"] == 1
    assert told['navarch_inbox_messages{class="heartbeats"}'] == 0
    assert told['navarch_inbox_refused_total{class="operators"}'] == 0
    assert told["navarch_inbox_shed_total"] == 0
    assert told['navarch_listing_made_total{form="proto"}'] == 2
    assert told['navarch_listing_kept_bytes{form="proto"}'] > 0
    assert told["process_resident_memory_bytes"] > 10 * 2**20
    assert told["process_cpu_seconds_total"] > 0


def test_nothing_is_shown_that_the_journal_does_not_have() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        before = numbers((await get(application, "/metrics"))[1].decode())
        runtime = plane.runtime
        runtime._settled.clear()  # noqa: SLF001 - an append is under way
        fleet = runtime.machine.fleet
        fleet.drop((), [ids[0]])
        pool = fleet.pools["training"]
        fleet.pools["training"] = replace(pool, target=7)
        between = numbers((await get(application, "/metrics"))[1].decode())
        name = 'navarch_nodes{pool="training",status="active"}'
        target = 'navarch_pool_target_nodes{pool="training"}'
        assert (before[name], between[name]) == (2, 2)
        assert (before[target], between[target]) == (2, 2)
        runtime._settled.set()  # noqa: SLF001 - it has ended
        after = numbers((await get(application, "/metrics"))[1].decode())
        assert (after[name], after[target]) == (1, 7)

    scraped(story)


# --- the mechanism ---------------------------------------------------------------------------


def test_a_name_is_shown_once_and_as_the_catalogue_has_it() -> None:
    measures = Measures()
    measures.one("navarch_connections", lambda: 1)
    with pytest.raises(ValueError, match="navarch_connections is there already"):
        measures.one("navarch_connections", lambda: 1)
    with pytest.raises(ValueError, match="navarch_things is not in the catalogue"):
        measures.one("navarch_things", lambda: 1)
    with pytest.raises(ValueError, match="navarch_watchers is a gauge"):
        measures.histograms("navarch_watchers", list)
    with pytest.raises(ValueError, match="seconds is a histogram"):
        measures.one("navarch_journal_commit_duration_seconds", lambda: 1)


def test_large_numbers_keep_their_digits() -> None:
    measures = Measures()
    measures.one("navarch_inbox_shed_total", lambda: 123_456_789_012)
    measures.one("navarch_event_loop_lag_seconds", lambda: 0.1234567890123)
    assert [line for line in measures.lines() if line[0] != "#"] == [
        "navarch_inbox_shed_total 123456789012",
        "navarch_event_loop_lag_seconds 0.1234567890123",
    ]


def test_what_is_not_known_is_left_out() -> None:
    measures = Measures()
    measures.one("navarch_journal_bytes", lambda: None)
    measures.many("navarch_replicas", lambda: by({}))
    measures.histograms("navarch_boot_duration_seconds", list)
    assert list(measures.lines()) == []


def test_a_histogram_is_written_anew_when_it_has_changed() -> None:
    measures = Measures()
    counted = Histogram(COMMIT_BOUNDS)
    measures.histograms("navarch_journal_commit_duration_seconds", lambda: [((), counted)])

    def told() -> dict[str, float]:
        return numbers("\n".join(measures.lines()))

    name = "navarch_journal_commit_duration_seconds"
    assert told()[f"{name}_count"] == 0
    counted.add(0.0005)
    counted.add(0.3, times=3)
    after = told()
    assert told() == after
    assert after[f'{name}_bucket{{le="0.0001"}}'] == 0
    assert after[f'{name}_bucket{{le="0.0005"}}'] == 1  # a bound is in its bucket
    assert after[f'{name}_bucket{{le="0.25"}}'] == 1
    assert after[f'{name}_bucket{{le="1"}}'] == 4
    assert after[f'{name}_bucket{{le="+Inf"}}'] == after[f"{name}_count"] == 4
    assert after[f"{name}_sum"] == pytest.approx(0.9005)


def test_labels_are_escaped() -> None:
    measures = Measures()
    nasty = 'a"b\\c\nd'
    measures.many("navarch_replicas", lambda: by({nasty: 1}))
    [line] = [line for line in measures.lines() if line[0] != "#"]
    assert line == 'navarch_replicas{state="a\\"b\\\\c\\nd"} 1'
    assert list(catalogue.faults(line)) == []


def test_values_beyond_the_bound_become_other_and_stay_so() -> None:
    names = Names(2)
    assert [names.label(value) for value in ("b", "a", "", "c", "a", "b")] == [
        *("b", "a", "", OTHER, "a", "b")
    ]


def test_time_passes_while_a_pool_has_a_long_name() -> None:
    """A scrape of a pool whose name has every letter that names may have is well formed."""

    async def told() -> None:
        clock = FakeClock(MONDAY)
        async with a_control_plane(clock, a_spec(name="a-b.c_d")) as (plane, _):
            clock.advance(timedelta(seconds=1))
            _, page = await get(plane.asgi_app, "/metrics")
            assert 'navarch_pool_target_nodes{pool="a-b.c_d"} 2' in page.decode().splitlines()

    run(told())


def test_a_journal_in_a_file_says_how_large_it_is(tmp_path: Path) -> None:
    async def told() -> tuple[int, int]:
        store = SqliteStore(tmp_path / "navarch.db")
        assert store.size_bytes() == 0
        async with ControlPlane(store=store) as plane:
            _, page = await get(plane.asgi_app, "/metrics")
            return store.size_bytes(), int(numbers(page.decode())["navarch_journal_bytes"])

    measured, shown = run(told())
    assert measured == shown > 0
