"""Whether a fleet survives that its control plane is killed, anywhere.

    python bench/crashes.py [--crash-points 2000] [--seed 0] [--jobs 2] [--json FILE]

Runs the simulator's sweep: a control plane dies between any two steps that leave a trace, once or
several times in a run, and starts again from its journal. A failure is a machine that leaks or is
bought twice, a fact or a node that is lost, a fleet that never settles, or an action without a
reason. Prints what failed, and the CPU time of a crash point.

Exits with 1 when anything failed.
"""

from __future__ import annotations

import os
import resource

from figures import Figure, options, tell

from navarch.simulator.sweep import KINDS, Tally, sweep

POINTS = 2_000


def main() -> int:
    """Sweep, print, and judge."""
    asked = options("whether a fleet survives that its control plane is killed anywhere")
    asked.add_argument("--crash-points", type=int, default=POINTS, help="at least so many")
    asked.add_argument("--seed", type=int, default=0, help="the first seed")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = asked.parse_args()
    whole = Tally()
    for sofar in sweep(given.seed, given.crash_points, given.jobs):
        whole = sofar
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    kinds = [kind for kind, _ in whole.failures]
    figures = [
        Figure("failures", "failures", [float(len(kinds))]),
        Figure("crash points", "points", [float(whole.crash_points)]),
        Figure("crashes", "crashes", [float(whole.crashes)]),
        Figure("a crash point", "ms", [(used.ru_utime + used.ru_stime) / whole.crash_points * 1e3]),
        *(Figure(kind, "failures", [float(kinds.count(kind))]) for kind in KINDS),
    ]
    tell(figures, given.json)
    for _, text in whole.failures:
        print(text)
    return 1 if whole.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
