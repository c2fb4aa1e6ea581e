"""What an event of the log costs: to write, to leave out, and while nobody reads the log.

Run it as ``python bench/logging_cost.py``. Costs are CPU time of the process. The last two figures
are of events that go to a pipe that nobody reads: the longest that one of them kept its caller,
and how many of them were dropped.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from figures import Figure, options, tell

from navarch.controlplane.fact_log import log_facts
from navarch.core.model import events as ev
from navarch.telemetry import formats
from navarch.telemetry.log import Log, bound
from navarch.telemetry.outlet import Lines, Outlet

TIMES = 1_000
UNREAD = 20_000
BECAUSE = "no heartbeat for 30 s, which is more than 20 s"
FACT = ev.NodeLost(datetime(2026, 1, 1, tzinfo=UTC), "training-7", BECAUSE)

log = Log("navarch.bench")
logger = logging.getLogger("navarch.bench")


def plain() -> None:
    """Log an event of four fields."""
    log.info("effect_performed", seq=12, node="training-7", provider="gcp", because=BECAUSE)


def suspicious() -> None:
    """Log one that has to be looked through for secrets, field by field."""
    log.info("effect_performed", seq=12, url="https://compute.example/v1", because=BECAUSE)


def within() -> None:
    """Bind a field."""
    with bound(seq=12):
        pass


def cost(name: str, action: Callable[[], object], runs: int) -> Figure:
    """Measure one call, in microseconds."""
    figure = Figure(name, "µs")
    for _ in range(runs):
        began = time.process_time()
        for _ in range(TIMES):
            action()
        figure.runs.append((time.process_time() - began) / TIMES * 1e6)
    return figure


def unread(runs: int) -> list[Figure]:
    """Log to a pipe that nobody reads."""
    figures = [Figure("longest wait, nobody reads", "ms"), Figure("dropped of 20,000", "")]
    for _ in range(runs):
        reading, writing = os.pipe()
        stuck = Lines(Outlet(writing), formats.formatter("json", {"service": "server"}))
        logger.addHandler(stuck)
        longest = 0.0
        for _ in range(UNREAD):
            began = time.perf_counter()
            plain()
            longest = max(longest, time.perf_counter() - began)
        figures[0].runs.append(longest * 1e3)
        figures[1].runs.append(stuck.outlet.dropped)
        logger.removeHandler(stuck)
        os.close(reading)  # so that what waits is given up
    return figures


def measured(runs: int) -> list[Figure]:
    """Measure everything."""
    logger.propagate = False
    logger.setLevel(logging.INFO)
    nowhere = Outlet(os.open(os.devnull, os.O_WRONLY))
    handler = Lines(nowhere, formats.formatter("json", {"service": "server"}))
    logger.addHandler(handler)
    figures = [
        cost("an event, JSON", plain, runs),
        cost("an event with an address, JSON", suspicious, runs),
        cost("a fact, JSON", lambda: log_facts(log, (FACT,), last_seq=12), runs),
        cost("binding a field", within, runs),
    ]
    handler.setFormatter(formats.formatter("text", {}))
    figures.append(cost("an event, text", plain, runs))
    logger.setLevel(logging.WARNING)
    figures.append(cost("an event that is not logged", plain, runs))
    logger.setLevel(logging.INFO)
    logger.removeHandler(handler)
    return [*figures, *unread(min(runs, 2))]


def main() -> None:
    """Measure, and print."""
    given = options("what an event of the log costs").parse_args()
    tell(measured(given.runs), given.json)


if __name__ == "__main__":
    main()
