"""The control plane dies at every kind of boundary, and nothing is lost, leaked or doubled.

The sample here is the same in every run, and has all the runs in which `test_mutants` and
`test_repair_mutants` look for rules that are broken on purpose. `make soak` tries 20,000 crash
points; more, for as long as one likes: ``python -m navarch.simulator.sweep``.
"""

from __future__ import annotations

from collections import Counter

import pytest

from navarch.simulator.crashes import Boundary
from navarch.simulator.sweep import crash_plans, main, sweep_seed
from navarch.simulator.world import World
from simulation import test_mutants, test_repair_mutants

SHARDS = 4
SEEDS_A_SHARD = 10
POINTS_A_SEED = 16


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_fleet_survives_crashes_everywhere(shard: int) -> None:
    crash_points = 0
    for seed in range(shard, SHARDS * SEEDS_A_SHARD, SHARDS):
        tally = sweep_seed(seed, POINTS_A_SEED)
        assert [text for _, text in tally.failures] == []
        crash_points += tally.crash_points
    assert crash_points >= 600 / SHARDS


def test_every_run_that_has_to_show_a_broken_rule_is_among_them() -> None:
    seeds, points = SHARDS * SEEDS_A_SHARD, POINTS_A_SEED
    assert seeds >= max(within for within, _ in test_mutants.MUTANTS.values())
    assert seeds >= test_repair_mutants.SEEDS
    assert points >= max(test_mutants.POINTS, test_repair_mutants.POINTS)
    for seed in range(3):
        few, many = (list(crash_plans(seed, 60, limit)) for limit in (6, points))
        assert many[:6] == few


def test_the_sweep_dies_at_every_kind_of_boundary() -> None:
    died_at: Counter[Boundary] = Counter()
    for seed in range(6):
        boundaries = len(World(seed).run().boundaries)
        for crashes in crash_plans(seed, boundaries, limit=10):
            passed = World(seed, crashes=crashes).run().boundaries
            died_at.update(passed[point] for point in crashes if point < len(passed))
    assert set(died_at) == set(Boundary)


def test_ways_to_crash_are_many_and_different() -> None:
    plans = list(crash_plans(seed=3, boundaries=50, limit=1000))
    assert len(plans) == len(set(plans))
    assert {(point,) for point in range(50)} <= set(plans)
    assert {1, 2} <= {len(plan) for plan in plans}
    assert max(len(plan) for plan in plans) >= 5
    assert len(list(crash_plans(seed=3, boundaries=50, limit=7))) == 7


def test_the_command_counts_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = main(["--crash-points", "60", "--seed", "7", "--jobs", "1"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert exit_code == 0
    assert int(last.split()[0]) >= 60
    assert "0 leaked, 0 doubled, 0 lost, 0 unconverged, 0 unsafe, 0 opaque" in last
