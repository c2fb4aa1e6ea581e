"""How the tests of the simulation look for a failure, and in which runs."""

from __future__ import annotations

from collections.abc import Iterable

from navarch.simulator.faults import Plan
from navarch.simulator.sweep import crash_plans
from navarch.simulator.world import Failed, World


def first_failure(seeds: Iterable[int], points: int, plan: Plan | None = None) -> Failed | None:
    """Run seeds, then each of them with up to `points` ways to crash, until a run fails.

    Without a plan each seed draws its own.
    """
    try:
        boundaries = {seed: len(World(seed, plan).run().boundaries) for seed in seeds}
        for seed, count in boundaries.items():
            for crashes in crash_plans(seed, count, points):
                World(seed, plan, crashes=crashes).run()
    except Failed as failed:
        return failed
    return None
