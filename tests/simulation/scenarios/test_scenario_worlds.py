"""Scenarios with loads, jobs, bad networks, and a control plane and agents that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from navarch.core.model import events as ev
from navarch.errors import ConfigError
from navarch.simulator.report.recorder import Recorder
from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Run
from simulation.scenarios.scenario_texts import POOL, messages, pool, read

SCALING = POOL.replace("max_nodes: 5}", "max_nodes: 12, autoscaling: {type: reactive}}")
JOB = "{name: llm, pool: train, nodes: 3, work: 20m, checkpoint: 5m, checkpoint_cost: 10s}"


def mistakes(text: str) -> list[str]:
    return [str(fault) for fault in examine_text(text, path=Path("here.yaml")).faults]


# --- loads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "load, level",
    [
        ("{pattern: constant, level: 4}", 4),
        ("{pattern: ramp, from: 2, to: 4, lasts: 1h}", 3),
        ("{pattern: steps, steps: [{at: 0s, level: 1}, {at: 20m, level: 5}]}", 5),
        ("{pattern: diurnal, base: 2, peak: 6, period: 1h, peak_at: 30m}", 6),
        ("{sum: [{pattern: constant, level: 1}, {trace: load.csv, after: repeat}]}", 3),
        ("{trace: load.csv, jobs_per_node: 10}", 20),
        ("{trace: load.csv, unit: requests, requests_per_node: 5}", 2),
    ],
)
def test_every_pattern_and_trace_is_a_load(tmp_path: Path, load: str, level: float) -> None:
    (tmp_path / "load.csv").write_text("time,value\n0,1\n600,2\n3600,2\n")
    text = f"{SCALING}load:\n  train: {load}\n"
    examined = examine_text(text, path=tmp_path / "test.yaml")
    assert examined.scenario is not None, examined.faults
    run = Run(examined.scenario, 1)
    run.twin.run_until(examined.scenario.lasts)
    assert run.twin.blueprint.scaled[0].demand.jobs(run.twin.since) == level


def test_a_load_that_rolls_dice_rolls_those_of_the_run() -> None:
    text = f"{SCALING}load: {{train: {{pattern: bursty, per_day: 900, size: 1, base: 2}}}}\n"

    def loads(seed: int) -> list[float]:
        twin = Run(read(text), seed).twin
        demand = twin.blueprint.scaled[0].demand
        return [demand.jobs(twin.blueprint.lasts * part / 20) for part in range(20)]

    assert loads(1) == loads(1) != loads(2)


@pytest.mark.parametrize(
    "more, told",
    [
        ("load:\n  train:\n    pattern: ramp\n    from: 1", "8: load.train.to: is missing"),
        (
            "load:\n  train: {sum: [{pattern: constant,\n    level: -1}]}",
            "8: load.train.sum[0].level",
        ),
        ("load: {train: {trace: gone.csv}}", "6: load.train.trace: "),
        ("load: {train: {level: 3}}", "6: load.train: expected one of pattern, trace and sum"),
    ],
)
def test_a_mistake_in_a_load_is_named_with_its_line(more: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Run(read(SCALING + more))
    assert f"test.yaml:{told}" in str(caught.value)


# --- jobs ------------------------------------------------------------------------------------


def test_jobs_run_on_the_pool_and_their_goodput_is_asserted() -> None:
    run = pool(
        more=f"jobs: [{JOB}]\nassertions:\n"
        "  - {type: goodput_above, target: 'pool:train', expected: 50}\n"
        "  - {type: goodput_above, expected: 99}\n"
    )
    outcome = run.live()
    assert run.training is not None
    (report,) = run.training.report().pools
    assert report.jobs_done == 1
    (failure,) = messages(outcome)
    assert failure.startswith("test.yaml:9: expected a goodput > 99 %, seen ")
    assert failure.endswith("(1 of 1 jobs done)")


def test_a_job_dies_with_its_node_and_starts_again() -> None:
    run = pool(
        "{at: 12m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: xid_error, xid_code: 79, count: 1}}",
        more=f"jobs: [{JOB}]\n",
    )
    assert messages(run.live()) == []
    assert run.training is not None
    (job,) = run.training.report().jobs
    assert job.restarts == {"xid 79": 1}


def test_a_pool_that_scales_follows_its_queue_of_jobs() -> None:
    text = SCALING.replace("type: reactive", "type: queue, jobs_per_node: 1")
    run = Run(read(text + f"jobs: [{JOB.replace('nodes: 3', 'nodes: 9')}]\n"), 1)
    run.twin.run_until(run.scenario.lasts / 2)
    assert run.training is not None
    assert run.training.busy_nodes("train") == 9


@pytest.mark.parametrize(
    "more, told",
    [
        (
            f"jobs: [{JOB}]\nload: {{train: {{pattern: constant, level: 1}}}}",
            "load.train: expected either",
        ),
        ("assertions: [{type: goodput_above, expected: 1}]", "nothing to look at, expected jobs"),
        (
            f"jobs: [{JOB}]\nassertions: [{{type: goodput_above, target: tran, expected: 1}}]",
            "no jobs in pool tran, expected one of train",
        ),
        (f"jobs: [{JOB}]\nassertions: [{{type: goodput_above}}]", "expected a number"),
        ("jobs: 3", "here.yaml:6: jobs: expected a list"),
        ("network: {quality: {loss: 2}}", "network.quality.loss: expected a number from 0 to 1"),
        ("network: {spells: [{zone: a}]}", "did you mean zones?"),
        ("outages: {disk_full: [{begins: 1h}]}", "outages.disk_full[0].lasts: missing"),
        ("outages: {crashes_per_day: -1}", "outages.crashes_per_day: expected a number from 0"),
    ],
)
def test_a_mistake_around_jobs_and_outages_is_named(more: str, told: str) -> None:
    found = mistakes(SCALING + more)
    assert any(told in each for each in found), found


def test_a_mistake_in_a_job_has_its_line() -> None:
    with pytest.raises(ConfigError, match=r"test.yaml:8: jobs\[0\].nodes: expected a whole number"):
        Run(read(POOL + "jobs:\n  - name: llm\n    nodes: many\n    work: 1h\n    pool: train"))


# --- the network, and the control plane ------------------------------------------------------


def test_a_zone_that_is_cut_off_is_silent_and_comes_back() -> None:
    text = POOL.replace("min_nodes: 3", "region: us, zones: [a, b], min_nodes: 4")
    run = Run(read(text + "network: {spells: [{begins: 10m, lasts: 4m, zones: [a]}]}\n"), 1)
    assert messages(run.live()) == []
    kinds = [type(fact) for fact in run.twin.facts()]
    assert kinds.count(ev.NodeLost) == 2


def test_a_bad_network_ends_with_the_scenario() -> None:
    run = pool(more="network: {quality: {loss: 0.9}, spells: [{begins: 25m}]}\n")
    assert [each for each in messages(run.live()) if "liveness" in each] == []
    assert run.twin.wires.is_well(next(iter(run.twin.nodes.values())).described)


def test_a_control_plane_that_fails_in_every_way_keeps_its_word() -> None:
    run = pool(
        "{at: 15m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: xid_error, xid_code: 79, count: 1, alias: sick}}",
        more="outages: {crashes_per_day: 400, stalls_per_day: 200, stall_max: 30s, "
        "disk_full: [{begins: 5m, lasts: 2m}, {begins: 28m, lasts: 1h}]}\n",
    )
    outcome = run.live()
    assert messages(outcome) == []
    assert run.twin.server._life > 5  # noqa: SLF001 - how often it was started is told nowhere


# --- agents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault, is_lost",
    [
        ("failure_type: freeze, lasts: 10m", True),
        ("failure_type: freeze, lasts: 20s", False),
        ("failure_type: flap, every: 10m, lasts: 9m", True),
        ("failure_type: clock_drift, drift: -3h", False),
        ("failure_type: reregistration", False),
    ],
)
def test_agents_fail_as_an_event_says(fault: str, *, is_lost: bool) -> None:
    run = pool(
        "{at: 10m, action: inject_failure, target: 'pool:train', "
        f"params: {{{fault}, count: 1, alias: sick}}}}"
    )
    assert messages(run.live()) == []
    assert any(isinstance(each, ev.NodeLost) for each in run.twin.facts()) is is_lost


def test_a_frozen_agent_is_a_trouble_until_it_goes_on() -> None:
    run = pool(
        "{at: 10m, action: inject_failure, target: 'pool:train', "
        "params: {failure_type: freeze, lasts: 40s, count: 1}}"
    )
    recorder = Recorder(run.twin)
    run.live()
    troubles = recorder.report().troubles
    assert (troubles.count, troubles.recovered, troubles.open) == (1, 1, 0)


@pytest.mark.parametrize("said", ["every: 2m", "drift: 1m"])
def test_what_another_fault_is_told_is_refused(said: str) -> None:
    event = (
        f"{{at: 1m, action: inject_failure, target: any, params: {{failure_type: crash, {said}}}}}"
    )
    found = mistakes(f"{POOL}events: [{event}]")
    assert ["beside it" in each for each in found] == [True]
