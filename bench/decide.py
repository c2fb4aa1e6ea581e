"""How long deciding takes for a large fleet, when nothing is to do and when much is.

    python bench/decide.py [--runs 7] [--json FILE]

CPU time, medians of 7 runs. The fleet is made by folding facts, as a restart does; nothing is made
up behind the core's back. "1,000 launches" raises the targets of all pools by 20.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from figures import Figure, options, write

from navarch.core import fold
from navarch.core.decide import decide
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.owed import owed

POOLS = 50
NODES_A_POOL = 200
GROWTH = 20
RUNS = 7
START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCES = tuple(
    Source(provider, priority=at, regions=("east", "west"))
    for at, provider in enumerate(("alpha", "beta", "gamma"))
)


def fleet() -> Machine:
    """Fold a fleet of 10,000 serving nodes in 50 pools of three providers."""
    machine = Machine()
    facts: list[ev.Fact] = [ev.FleetFounded(START, "k3f9"), ev.Resumed(START, "bench")]
    gpus = tuple(GPU(index, name="H100") for index in range(8))
    for pool in range(POOLS):
        name = f"pool{pool}"
        spec = PoolSpec(
            name,
            "alpha",
            instance_type="h100-8x",
            sources=SOURCES,
            min_nodes=NODES_A_POOL,
            max_nodes=NODES_A_POOL + GROWTH,
        )
        facts.append(ev.PoolConfigured(START, spec))
        for node in range(NODES_A_POOL):
            id_ = f"{name}-k3f9-{pool * NODES_A_POOL + node + 1:04d}"
            facts.append(ev.LaunchRequested(START, id_, name, "alpha", "bench"))
            facts.append(ev.InstanceLaunched(START, id_, f"i-{id_}", "bench"))
            facts.append(
                ev.NodeRegistered(
                    START, id_, provider="alpha", pool=name, instance_id=id_, gpus=gpus
                )
            )
    for fact in facts:
        fold.apply(machine.fleet, fact)
    sample = NodeSample(gpus=tuple(GPUSample(index, 60, 400, 80.0) for index in range(8)))
    machine.step([msg.Heartbeat(id_, sample) for id_ in machine.fleet.nodes], START)
    return machine


def timed(machine: Machine, now: datetime) -> tuple[float, int]:
    """Decide once; return the CPU time in milliseconds and the number of facts."""
    began = time.process_time()
    facts = decide(machine.fleet, machine.sightings, now, machine.strategies)
    return (time.process_time() - began) * 1000, len(facts)


def row(what: str, values: list[float], facts: int, budget: float) -> Figure:
    """Print a line of the table."""
    figure = Figure(what, "ms", values)
    print(f"{what:<42} {figure.value:8.1f} ms {facts:7d} facts   budget {budget:g} ms")
    return figure


def main() -> None:
    """Print the table."""
    asked = options("how long deciding takes for a large fleet")
    asked.set_defaults(runs=RUNS)
    given = asked.parse_args()
    machine = fleet()
    now = START + timedelta(seconds=20)
    quiet = [timed(machine, now) for _ in range(given.runs)]
    figures = [row("decide, 10,000 nodes, nothing to do", [ms for ms, _ in quiet], quiet[0][1], 20)]
    owing, count = [], 0
    for _ in range(given.runs):
        began = time.process_time()
        count = sum(
            1 for _ in owed(machine.fleet, machine.sightings, now, machine.strategies.settings)
        )
        owing.append((time.process_time() - began) * 1000)
    figures.append(row("owed, the same", owing, count, 20))
    for pool in machine.fleet.pools:
        target = NODES_A_POOL + GROWTH
        fold.apply(machine.fleet, ev.TargetChanged(now, pool, target, "bench"))
    growing = [timed(machine, now) for _ in range(given.runs)]
    figures.append(row("decide, 1,000 launches", [ms for ms, _ in growing], growing[0][1], 200))
    write(figures, given.json)


if __name__ == "__main__":
    main()
