"""What a control plane counts of itself: true, bounded, and cheap to read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from navarch.controlplane import scale_measures
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.measures import OTHER, Measure, Measures, bounded, by
from navarch.core.model.command import CommandType
from navarch.core.model.messages import IssueCommand, RegisterNode
from navarch.stores.sqlite import SqliteStore
from navarch.wire.asgi import Application
from navarch.wire.generated import navarch_pb2 as pb
from pools import MONDAY, a_control_plane, a_spec, register_all, run
from requests_of import call, get

LINE = re.compile(r'[a-z_]+(\{([a-z_]+="[^"\n]*",?)+\})? -?[0-9.e+-]+')


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
    for line in text.splitlines():
        assert line.startswith("# ") or LINE.fullmatch(line), line
    return numbers(text)


async def nothing(plane: ControlPlane, application: Application, ids: list[str]) -> None:
    """Do nothing."""


def test_nodes_are_counted_by_pool_and_status() -> None:
    async def story(plane: ControlPlane, application: Application, ids: list[str]) -> None:
        await get(application, "/metrics")  # so that the second look sees what changed since
        await plane.runtime.ask(IssueCommand(ids[0], CommandType.CORDON, reason="a look"))
        await plane.runtime.ask(RegisterNode("by-itself"))

    told = scraped(story)
    nodes = {name: value for name, value in told.items() if name.startswith("navarch_nodes")}
    assert nodes == {
        'navarch_nodes{pool="training",status="active"}': 1,
        'navarch_nodes{pool="training",status="cordoned"}': 1,
        'navarch_nodes{pool="",status="active"}': 1,
    }
    assert told['navarch_pool_target_nodes{pool="training"}'] == 2
    assert told['navarch_pool_current_nodes{pool="training"}'] == 2
    assert told['navarch_instances{awaits="registration"}'] == 0


def test_pools_beyond_the_bound_are_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_measures, "POOLS_MAX", 0)
    told = scraped(nothing)
    assert told[f'navarch_nodes{{pool="{OTHER}",status="active"}}'] == 2
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
        between = numbers((await get(application, "/metrics"))[1].decode())
        name = 'navarch_nodes{pool="training",status="active"}'
        assert (before[name], between[name]) == (2, 2)
        runtime._settled.set()  # noqa: SLF001 - it has ended
        after = numbers((await get(application, "/metrics"))[1].decode())
        assert after[name] == 1

    scraped(story)


def test_the_page_of_metrics_names_them_all(project: Path) -> None:
    page = (project / "docs" / "metrics.md").read_text()
    told = {name.partition("{")[0] for name in scraped(nothing)}
    ours = {name for name in told if not name.startswith("navarch_plugin_")}
    named = set(re.findall(r"^\| `([a-z_]+)` \|", page, flags=re.MULTILINE))
    assert ours <= named
    # What the journal of a test does not have, or nobody has done yet.
    assert named - ours <= {
        "navarch_journal_bytes",
        "navarch_requests_total",
        "navarch_requests_refused_total",
        "navarch_admission_refused_total",
    }


# --- the mechanism ---------------------------------------------------------------------------


def test_a_name_is_taken_once_and_says_what_it_is() -> None:
    measures = Measures()
    measures.gauge("navarch_things", "Things.", lambda: 1)
    with pytest.raises(ValueError, match="navarch_things is there already"):
        measures.gauge("navarch_things", "Things.", lambda: 1)
    for name, type_ in (("navarch_done", "counter"), ("navarch_done_total", "gauge")):
        with pytest.raises(ValueError, match="end in _total"):
            measures.add(Measure(name, "Done.", list, type_))


def test_large_numbers_keep_their_digits() -> None:
    measures = Measures()
    measures.counter("navarch_done_total", "Done.", lambda: 123_456_789_012)
    measures.gauge("navarch_share", "A share.", lambda: 0.1234567890123)
    assert [line for line in measures.lines() if line[0] != "#"] == [
        "navarch_done_total 123456789012",
        "navarch_share 0.1234567890123",
    ]


def test_what_is_not_known_is_left_out() -> None:
    measures = Measures()
    measures.gauge("navarch_unknown", "Not known.", lambda: None)
    measures.gauges("navarch_empty", "None yet.", lambda: by("kind", {}))
    assert list(measures.lines()) == []


def test_labels_beyond_the_bound_become_other() -> None:
    label = bounded(["a", "b", "c"], 2)
    assert [label(value) for value in ("a", "b", "c", "d", "")] == ["a", "b", OTHER, OTHER, ""]


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
