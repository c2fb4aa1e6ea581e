"""How long the command line takes to start: what somebody waits for who types a command.

    python bench/cli_start.py [--runs 15] [--json FILE]

Budget: 100 ms for each. Each command runs as a process of its own, from before the fork until it
has ended; the first run, which may have to read files from disk, does not count. `list` is told to
ask a port where nobody listens, so it pays for everything but an answer. Wall time is what people
wait, on a machine that does nothing else; CPU time says the same on one that does.

Exits with 1 when a median of the CPU time is above the budget.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from figures import Figure, options, write

RUNS = 15
BUDGET_MS = 100
NOBODY = "http://127.0.0.1:1"
COMMANDS = (["--help"], ["pool", "--help"], ["version"], ["list", "-s", NOBODY])


class Cost(NamedTuple):
    """What one run took, in milliseconds."""

    cpu_ms: float
    wall_ms: float


def cost(arguments: list[str]) -> Cost:
    """Run the program once."""
    program = Path(sys.executable).with_name("navarch")
    # Without compiled modules, which this variable forbids to keep, one would measure the compiler.
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    used = cpu_seconds()
    started = time.perf_counter()
    subprocess.run([program, *arguments], capture_output=True, check=False, env=environ)
    wall = time.perf_counter() - started
    return Cost(cpu_ms=(cpu_seconds() - used) * 1000, wall_ms=wall * 1000)


def cpu_seconds() -> float:
    """Return what the processes that have ended took, user and system."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Print the medians of each command, and the worst wall time."""
    asked = options("how long the command line takes to start")
    asked.set_defaults(runs=RUNS)
    given = asked.parse_args()
    slow, figures = False, []
    print(f"{'':<24} {'cpu ms':>8} {'wall ms':>8} {'worst':>8}   budget {BUDGET_MS} of CPU")
    for arguments in COMMANDS:
        cost(arguments)
        costs = [cost(arguments) for _ in range(given.runs)]
        cpu = statistics.median(one.cpu_ms for one in costs)
        wall = statistics.median(one.wall_ms for one in costs)
        worst = max(one.wall_ms for one in costs)
        slow = slow or cpu > BUDGET_MS
        name = " ".join(["navarch", *arguments[:2]])
        print(f"{name:<24} {cpu:>8.1f} {wall:>8.1f} {worst:>8.1f}")
        figures.append(Figure(f"{name}, CPU", "ms", [one.cpu_ms for one in costs]))
        figures.append(Figure(f"{name}, wall", "ms", [one.wall_ms for one in costs]))
    write(figures, given.json)
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
