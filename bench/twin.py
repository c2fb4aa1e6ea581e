"""How fast the twin is: a large fleet for a day, and a scenario of chaos.

    python bench/twin.py [--runs 3] [--json FILE]

Each run is a process of its own: CPU time of the whole run, from the first import to the last fact,
and the largest resident memory. The fleet: 20 pools of 500 nodes of eight H100, bought at one
seller at the beginning, faults at the rates of the profile `h100-2024`, the default health policy,
the whole control plane ticking every 10 seconds. The budgets: 10,000 nodes for 24 hours within 90 s
and 500 MB, and a scenario of 1,000 nodes and ten minutes of chaos within 10 s.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from figures import Figure, options, write

POOLS = 20
NODES_A_POOL = 500
HOURS = 24
CHAOS = Path(__file__).parents[1] / "examples" / "scenarios" / "chaos-1000.yaml"


def fleet() -> dict[str, float]:
    """Live through a day of a large fleet."""
    from navarch.core.model.pool import Disruption, PoolSpec  # noqa: PLC0415 - a run's own time
    from navarch.policy.health_policy import HealthPolicy  # noqa: PLC0415
    from navarch.simulator.faults import CloudPlan  # noqa: PLC0415
    from navarch.simulator.twin.blueprint import Blueprint, Seller  # noqa: PLC0415
    from navarch.simulator.twin.twin import Twin  # noqa: PLC0415
    from navarch.simulator.whatif.profiles import PROFILES  # noqa: PLC0415

    pools = tuple(
        PoolSpec(
            f"pool{number:02}",
            "alpha",
            instance_type="gpu",
            min_nodes=NODES_A_POOL,
            max_nodes=NODES_A_POOL + 10,
            disruption=Disruption(max_unavailable_percent=2.0),
        )
        for number in range(POOLS)
    )
    twin = Twin(
        Blueprint(
            name="a day",
            pools=pools,
            sellers=(Seller(CloudPlan("alpha")),),
            policy=HealthPolicy.default(),
            hazards=PROFILES["h100-2024"].hazards(),
            lasts=timedelta(hours=HOURS),
        ),
        seed=1,
    )
    twin.run()
    assert twin.fleet is not None
    serving = len(twin.fleet.serving)
    return {"facts": len(twin.facts()), "serving": serving, "nodes": POOLS * NODES_A_POOL}


def chaos() -> dict[str, float]:
    """Live through the scenario of chaos."""
    from navarch.simulator.scenarios.reading import load  # noqa: PLC0415 - a run's own time
    from navarch.simulator.scenarios.running import run_scenario  # noqa: PLC0415

    outcome = run_scenario(load(CHAOS))
    return {"passed": float(outcome.passed)}


RUNS = {"fleet": fleet, "chaos": chaos}


def measured(name: str) -> dict[str, float]:
    """Run one of them in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def one(name: str) -> None:
    """Run one of them here, and print what it took."""
    found = RUNS[name]()
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu_s"] = time.process_time()
    found["rss_mb"] = used.ru_maxrss / 1024
    print(json.dumps(found))


def main() -> None:
    """Print the table."""
    parser = options("how fast the twin is")
    parser.set_defaults(runs=3)
    parser.add_argument("--one", choices=RUNS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one)
        return
    days = [measured("fleet") for _ in range(asked.runs)]
    nodes, facts = days[0]["nodes"], days[0]["facts"]
    day = Figure("a day of 10,000 nodes, CPU", "s", [each["cpu_s"] for each in days])
    memory = Figure("a day of 10,000 nodes, memory", "MB", [each["rss_mb"] for each in days])
    lived = nodes * HOURS * 3600 / 1e6
    rate = Figure("node-seconds a CPU-second", "million/s", [lived / each for each in day.runs])
    print(f"{nodes:,.0f} nodes, {HOURS} h: {day.value:8.1f} s CPU (budget 90), {rate.value:.1f}")
    print(
        f"  million node-seconds a second, {memory.value:.0f} MB (budget 500), {facts:,.0f} facts"
    )
    storms = [measured("chaos") for _ in range(max(asked.runs, 3))]
    chaotic = Figure("chaos-1000, 10 minutes, CPU", "s", [each["cpu_s"] for each in storms])
    peak = Figure("chaos-1000, 10 minutes, memory", "MB", [each["rss_mb"] for each in storms])
    print(f"chaos-1000, 10 min:  {chaotic.value:8.1f} s CPU (budget 10), {peak.value:.0f} MB")
    write([day, memory, rate, chaotic, peak], asked.json)


if __name__ == "__main__":
    main()
