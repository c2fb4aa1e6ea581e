"""Worlds that fail get quiet, and go on failing in the same way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from navarch.core import capacity, fold
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import InstanceState
from navarch.core.model.pool import Disruption, Pool, PoolSpec, Source
from navarch.core.settings import Settings
from navarch.simulator import sweep
from navarch.simulator.dice import Dice
from navarch.simulator.faults import AgentPlan, CallFaults, CloudPlan, Cut, Plan, draw_plan
from navarch.simulator.shrinking.failures import masked
from navarch.simulator.shrinking.reducing import Limits
from navarch.simulator.shrinking.scenarios import NothingFails
from navarch.simulator.shrinking.worlds import shrink_world, simpler, written
from navarch.simulator.world import Failed, World

NAMES: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(AgentPlan, CallFaults, CloudPlan, Cut, Disruption, Plan, PoolSpec, Settings, Source),
        timedelta,
    )
}


def count_no_booting_machine(patch: pytest.MonkeyPatch) -> None:
    """Plant a fault: booting instances do not count."""
    original = capacity.count

    def count(fleet: Fleet, pool: Pool) -> capacity.Count:
        running = sum(each.state is InstanceState.RUNNING for each in fleet.current_of(pool.name))
        return replace(original(fleet, pool), current=running)

    patch.setattr(capacity, "count", count)


def forget_what_was_under_way(patch: pytest.MonkeyPatch) -> None:
    """Plant a fault: a restart believes what was under way."""

    def resume(fleet: Fleet, event: ev.Resumed) -> None:
        fleet.resumed_at = event.at

    patch.setattr(fold, "_resume", resume)


def test_a_world_becomes_one_pool_at_one_quiet_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    count_no_booting_machine(monkeypatch)
    small = shrink_world(0, limits=Limits(300))
    assert small.is_whole
    (pool,) = small.plan.pools
    (cloud,) = small.plan.clouds
    assert (pool.min_nodes, cloud) == (1, CloudPlan(cloud.name))
    assert small.plan == Plan(
        Settings(), (pool,), (cloud,), AgentPlan(), faults_last=timedelta(minutes=1)
    )
    with pytest.raises(Failed) as failed:
        World(0, small.plan, crashes=small.crashes).run()
    assert str(failed.value) == small.message
    again = eval(written(small.plan), dict(NAMES))  # noqa: S307 - it is our own text
    assert again == small.plan
    assert small.text.endswith(f"World(0, {written(small.plan)}, crashes=()).run()\n")


def test_a_failure_that_needs_a_crash_keeps_one(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_what_was_under_way(monkeypatch)
    seed, crashes = next(
        (seed, found) for seed in range(20) if (found := sweep.first_failure(seed, 4)) is not None
    )
    small = shrink_world(seed, None, crashes, limits=Limits(25))
    assert 0 < len(small.crashes) <= len(crashes)
    with pytest.raises(Failed) as failed:
        World(seed, small.plan, crashes=small.crashes).run()
    assert masked(str(failed.value).split("\n")[0]) == masked(small.message.split("\n")[0])


def test_the_sweep_shrinks_the_failure_of_one_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count_no_booting_machine(monkeypatch)
    assert sweep.main(["--shrink", "0", "--runs", "20"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("# unsafe: ")
    assert "20 of 20 runs" in told.err


def test_a_world_that_holds_is_not_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Plan(
        Settings(),
        (PoolSpec("train", "alpha", min_nodes=1, max_nodes=2),),
        (CloudPlan("alpha"),),
        AgentPlan(),
        faults_last=timedelta(minutes=1),
    )
    with pytest.raises(NothingFails, match=r"World\(1, crashes=\(\)\) does not fail"):
        shrink_world(1, quiet)
    assert capsys.readouterr().out == ""


def test_every_simpler_plan_is_another_one_and_can_be_written() -> None:
    plan = draw_plan(Dice(5))
    found = list(simpler(plan))
    assert len(found) > 20
    assert all(each != plan for _, each in found)
    assert len({what for what, _ in found}) > 20
