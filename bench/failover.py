"""How long a failover takes, and what it costs: real processes, kill -9, a real PostgreSQL.

Three control planes share a journal; callers write without a pause; the leader is killed again and
again at moments drawn from a seed, and started anew as a standby. Counted at the end: acknowledged
writes that are not in the journal, machines that the cloud has and the journal does not know, and
machines that were bought twice.

    .venv/bin/python bench/failover.py [--kills 20] [--seed 1] [--json FILE]

Needs Debian's package ``postgresql``. A kill takes about nine seconds, most of which is the lease.
The database flushes to its disk as it would in production.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, options, write

from infra.failover import (
    Callers,
    Site,
    a_cloud,
    kill_leaders,
    verdict,
    wait_calm,
)
from infra.real_parts import free_ports
from infra.real_postgres import RealPostgres

GOAL_P95_SECONDS = 10.0


def main() -> int:
    """Measure, print, and end with 0 when nothing was lost and the goal was met."""
    parser = options("how long a failover takes, and what it costs")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began_at = time.monotonic()

    def tell(number: int, seconds: float) -> None:
        print(f"kill {number}: {seconds:.2f} s", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="navarch-failover-") as folder:
        server = RealPostgres()
        try:
            *ports, cloud_port = free_ports(4)
            hosts = [(f"cp{n}", "127.0.0.1", port, ()) for n, port in enumerate(ports)]
            with a_cloud("127.0.0.1", cloud_port) as cloud:
                site = Site(Path(folder), server.url(), hosts, cloud)
                try:
                    for member in site.members:
                        member.start()
                    site.wait_leader()
                    with Callers(site, asked.seed) as callers:
                        took = kill_leaders(site, callers, asked.kills, asked.seed, tell)
                        callers.settle()
                        wait_calm(site)
                    found = verdict(site, callers.got)
                finally:
                    site.end()
        finally:
            server.stop()
    took.sort()
    p95 = took[min(int(len(took) * 0.95), len(took) - 1)]
    shown = {
        "kills": asked.kills,
        "seed": asked.seed,
        "takeover_p50_seconds": round(statistics.median(took), 2),
        "takeover_p95_seconds": round(p95, 2),
        "takeover_max_seconds": round(took[-1], 2),
        "goal_p95_seconds": GOAL_P95_SECONDS,
        **asdict(found),
        "wall_seconds": round(time.monotonic() - began_at),
    }
    for name, value in shown.items():
        print(f"{name:>24}  {value}")
    bad = (found.lost, found.leaked, found.doubled, found.missing, found.wrong)
    figures = [
        Figure("takeover, p95", "s", [p95]),
        Figure("takeover", "s", took),
        Figure("failures", "failures", [float(sum(map(len, bad)))]),
    ]
    write(figures, asked.json)
    return 0 if found.clean and p95 <= GOAL_P95_SECONDS else 1


if __name__ == "__main__":
    raise SystemExit(main())
