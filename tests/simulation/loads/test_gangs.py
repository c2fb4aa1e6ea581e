"""Gangs: jobs start together, save at times, die together, and lose what theory says."""

from __future__ import annotations

from datetime import timedelta
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.simulator.dice import Dice, Stream
from navarch.simulator.loads.gangs import Gang, Gangs, JobSpec
from navarch.simulator.loads.goodput import best_interval, expected_goodput, job_report
from navarch.simulator.loads.shapes import OutOfBounds
from navarch.simulator.timeline import EPOCH, Timeline
from navarch.simulator.twin.clouds import waiting_time

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

JOB = JobSpec(
    "llm", "train", 2, 3 * HOUR, checkpoint=30 * MINUTE, checkpoint_cost=MINUTE, restart=5 * MINUTE
)


def gangs_with(*specs: JobSpec, nodes: int = 2, backfill: bool = False) -> tuple[Timeline, Gangs]:
    time = Timeline()
    gangs = Gangs(time, specs, backfill=backfill)
    gangs.begin()
    for number in range(nodes):
        gangs.up(f"n{number}", "train")
    return time, gangs


def test_a_job_that_nothing_happens_to_takes_its_work_its_start_and_its_checkpoints() -> None:
    time, gangs = gangs_with(JOB)
    time.run()
    (gang,) = gangs.all
    assert time.now - EPOCH == 5 * MINUTE + 3 * HOUR + 5 * MINUTE  # no checkpoint at the end
    assert gang.done_at == time.now
    assert gang.spent.kept == 3 * HOUR
    assert gang.spent.saving == 5 * MINUTE
    assert gangs.busy_nodes("train") == 0


def test_a_dead_node_costs_the_work_since_the_last_checkpoint() -> None:
    time, gangs = gangs_with(JOB, nodes=3)
    time.run_until(EPOCH + 5 * MINUTE + 31 * MINUTE + 20 * MINUTE)
    gangs.down("n1", "crash")
    (gang,) = gangs.all
    assert gang.spent.kept == 30 * MINUTE
    assert gang.spent.lost == 20 * MINUTE
    assert gang.spent.saving == MINUTE
    assert gang.deaths == {"crash": 1}
    assert gang.nodes == ("n2", "n0"), "it goes on at once with the spare node"
    time.run()
    assert gang.spent.kept == 3 * HOUR
    assert gang.spent.starting == 10 * MINUTE


def test_a_checkpoint_that_is_not_written_to_its_end_saves_nothing() -> None:
    time, gangs = gangs_with(JOB)
    time.run_until(EPOCH + 5 * MINUTE + 30 * MINUTE + timedelta(seconds=59))
    gangs.fail("n0", "xid 31")
    (gang,) = gangs.all
    assert gang.spent.kept == timedelta()
    assert gang.spent.lost == 30 * MINUTE
    assert gang.spent.saving == timedelta(seconds=59)


def test_a_job_waits_until_all_its_nodes_are_free() -> None:
    time, gangs = gangs_with(JOB, nodes=1)
    time.run_until(EPOCH + HOUR)
    assert gangs.busy_nodes("train") == 0
    assert gangs.waiting_nodes("train") == 2
    gangs.up("n1", "train")
    (gang,) = gangs.all
    assert gang.nodes == ("n0", "n1")
    assert gang.waited_first == HOUR
    gangs.up("n2", "serve")
    assert gangs.busy_nodes("serve") == 0


def test_priority_goes_first_and_then_whoever_came_first() -> None:
    low, high = replace(JOB, name="low"), replace(JOB, name="high", priority=5)
    later = replace(JOB, name="later", arrives=MINUTE)
    time, gangs = gangs_with(low, later, high, nodes=0)
    time.run_until(EPOCH + 2 * MINUTE)
    assert [gang.spec.name for gang in gangs.waiting("train")] == ["high", "low", "later"]


def test_a_small_job_passes_a_large_one_only_where_that_is_allowed() -> None:
    large, small = replace(JOB, name="large", nodes=3), replace(JOB, name="small", nodes=1)
    for backfill, busy in ((False, 0), (True, 1)):
        time, gangs = gangs_with(large, small, nodes=2, backfill=backfill)
        time.run_until(EPOCH)
        assert gangs.busy_nodes("train") == busy


def test_a_job_that_saves_when_asked_loses_nothing_to_a_drain() -> None:
    time, gangs = gangs_with(replace(JOB, saves_when_asked=True))
    time.run_until(EPOCH + 5 * MINUTE + 20 * MINUTE)
    gangs.leave("n0", "drained")
    (gang,) = gangs.all
    assert gangs.is_busy("n0")
    time.run_until(time.now + MINUTE)
    assert not gangs.is_busy("n0")
    assert gang.spent.kept == 20 * MINUTE
    assert gang.spent.lost == timedelta()
    assert gang.spent.saving == MINUTE
    assert gang.deaths == {"drained": 1}


def test_a_job_that_does_not_save_when_asked_dies_at_once() -> None:
    time, gangs = gangs_with(JOB)
    time.run_until(EPOCH + 25 * MINUTE)
    gangs.leave("n0", "drained")
    (gang,) = gangs.all
    assert not gangs.is_busy("n1")
    assert gang.spent.lost == 20 * MINUTE


def test_a_node_that_fails_while_its_job_leaves_it_takes_the_work_along() -> None:
    time, gangs = gangs_with(replace(JOB, saves_when_asked=True))
    time.run_until(EPOCH + 25 * MINUTE)
    gangs.leave("n0", "drained")
    gangs.down("n1", "crash")
    time.run_until(time.now + 10 * MINUTE)
    (gang,) = gangs.all
    assert gang.spent.lost == 20 * MINUTE
    assert gang.deaths == {"crash": 1}


def test_a_closed_node_keeps_its_job_and_gets_no_other() -> None:
    second = replace(JOB, name="second")
    time, gangs = gangs_with(JOB, second)
    time.run_until(EPOCH + MINUTE)
    gangs.close("n0")
    time.run()
    assert gangs.all[0].done_at is not None
    assert gangs.all[1].began_at is None


@pytest.mark.parametrize(
    "field, value, text",
    [
        ("nodes", 0, "nodes: expected a number from 1"),
        ("work", timedelta(), "work: expected a duration from 1s"),
        ("checkpoint", -MINUTE, "checkpoint: expected a duration from 1s"),
    ],
)
def test_a_job_outside_the_bounds_is_refused(field: str, value: object, text: str) -> None:
    with pytest.raises(OutOfBounds, match=text):
        replace(JOB, **{field: value})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.sampled_from(["up", "down", "fail", "leave", "close"]),
            st.integers(0, 5),
        ),
        max_size=40,
    ),
    st.booleans(),
    st.booleans(),
)
def test_whatever_happens_to_nodes_no_time_is_lost_from_the_books(
    happenings: list[tuple[int, str, int]],
    saves: bool,  # noqa: FBT001 - drawn
    backfill: bool,  # noqa: FBT001 - drawn
) -> None:
    specs = tuple(
        replace(JOB, name=f"j{n}", nodes=1 + n, saves_when_asked=saves, arrives=n * 20 * MINUTE)
        for n in range(3)
    )
    time, gangs = gangs_with(*specs, nodes=4, backfill=backfill)
    for minutes, what, number in happenings:
        time.run_until(time.now + minutes * MINUTE)
        node = f"n{number}"
        match what:
            case "up":
                gangs.up(node, "train")
            case "close":
                gangs.close(node)
            case "down":
                gangs.down(node, what)
            case "fail":
                gangs.fail(node, what)
            case _:
                gangs.leave(node, what)
        busy = [node for gang in gangs.all for node in gang.nodes]
        assert len(busy) == len(set(busy)) == gangs.busy_nodes("train")
    for gang in gangs.all:
        report = job_report(gang, time.now, EPOCH)
        wall = (gang.done_at or time.now) - gang.arrived_at
        assert report.wall == pytest.approx(wall / HOUR)
        assert gang.spent.kept <= gang.spec.work
        assert (gang.done_at is not None) == (gang.spent.kept == gang.spec.work)


# --- theory --------------------------------------------------------------------------------------

NODES = 16
MTBF = 4 * HOUR
COST = MINUTE
RESTART = 5 * MINUTE


def long_run(interval: timedelta, work: timedelta) -> Gang:
    """Run a long job on nodes each of which fails at a constant rate, and comes back at once."""
    spec = JobSpec(
        "long", "train", NODES, work, checkpoint=interval, checkpoint_cost=COST, restart=RESTART
    )
    time, gangs = gangs_with(spec, nodes=NODES)

    def fail(node: str, rolls: Stream) -> None:
        gangs.fail(node, "crash")
        if gangs.all[0].done_at is None:
            time.after(waiting_time(rolls, NODES * MTBF), fail, node, rolls)

    for number in range(NODES):
        rolls = Dice(number).stream("failures")
        time.after(waiting_time(rolls, NODES * MTBF), fail, f"n{number}", rolls)
    time.run_until(EPOCH)
    (gang,) = gangs.all
    time.run()
    return gang


def goodput(gang: Gang) -> float:
    assert gang.done_at is not None
    return gang.spec.work / (gang.done_at - gang.arrived_at)


@pytest.mark.parametrize("minutes", [5, 22, 60])
def test_goodput_under_constant_failures_is_what_daly_computed(minutes: int) -> None:
    gang = long_run(minutes * MINUTE, timedelta(days=400))
    expected = expected_goodput(minutes * MINUTE, COST, RESTART, MTBF)
    assert sum(gang.deaths.values()) > 2000
    assert goodput(gang) == pytest.approx(expected, rel=0.01)


def test_the_best_interval_of_a_sweep_is_the_one_that_young_computed() -> None:
    best = best_interval(COST, MTBF)
    assert best.total_seconds() == pytest.approx(sqrt(2 * 60 * 4 * 3600))
    factors = (0.25, 0.5, 0.75, 1.0, 1.33, 2.0, 4.0)
    found = {factor: goodput(long_run(factor * best, timedelta(days=400))) for factor in factors}
    assert max(found, key=found.__getitem__) in (0.75, 1.0, 1.33)
    assert found[0.25] < found[0.5] < found[1.0]
    assert found[4.0] < found[2.0] < found[1.0]
