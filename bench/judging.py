"""How many health events a second the default policy judges.

    python bench/judging.py [--runs 7] [--json FILE]

CPU time, medians of 7 runs, one process. *Repeated shapes*: events whose like was judged before, in
reports of 64 and of one. *First seen*: every event differs in what rules read, so that each is
evaluated; codes and types were met before. *Code never met*: the memory is emptied before each
event, but for what the rules say of its type. *Plainly*: every rule is asked in turn, without a
memory. The counts are those of a node with a day of tallies behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from figures import Figure, options, write

from navarch.core.health import NodeCounts
from navarch.core.judging import Counts
from navarch.core.model.finding import Tally
from navarch.core.model.report import HealthEvent
from navarch.policy import HealthPolicy

RUNS = 7
EVENTS = 6_400
REPORT = 64
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CODES = (13, 31, 43, 45, 48, 63, 74, 79, 92, 94, 95, 119, 144, 149, 154, 122, 999)
Metrics = dict[str, str | int | float]
WORDS = ("None", "GPU Reset Required", "Node Reboot Required")


def events(first: int, count: int) -> list[HealthEvent]:
    """Events of all types, each different from all others in what rules read."""
    return [_event(number) for number in range(first, first + count)]


def _event(number: int) -> HealthEvent:
    gpu = number % 8
    match number % 8:
        case 0 | 1 | 2:
            code = CODES[number // 8 % len(CODES)]
            message = (
                f"NVRM: Xid (PCI:0000:0{gpu}:00): {code}, pid={number}, name=python, Ch 00000008"
            )
            if code == 154:
                said = f"0x{number % 3:x} ({WORDS[number % 3]})"
                message += f", GPU recovery action changed from 0x0 (None) to {said}"
            return HealthEvent(
                "xid", gpu, metrics={"xid_code": code, "pid": number}, message=message
            )
        case 3 | 4:
            celsius: Metrics = {"temperature": 60 + number / 100_000, "power_watts": 400 + number}
            return HealthEvent("thermal", gpu, metrics=celsius, message="hot")
        case 5:
            rows: Metrics = {"row_remap_pending": number % 2, "remapped_correctable": number}
            return HealthEvent("memory", gpu, metrics=rows, message="rows")
        case 6:
            return HealthEvent("ecc_sbe", gpu, metrics={"ecc_sbe_count": number}, message="sbe")
        case _:
            metrics: Metrics = {"severity": "corrected", "pcie_replay_count": number}
            return HealthEvent("pcie", gpu, metrics=metrics, message="replays")


def past() -> Counts:
    """A node with a day of tallies: 4 kinds, on 8 GPUs, every third hour."""
    kinds = ("xid:13", "xid:74", "ecc_sbe", "nvlink")
    tallies = {
        kind: tuple(
            Tally(NOW - timedelta(hours=hour), gpu, 1)
            for hour in range(0, 24, 3)
            for gpu in range(8)
        )
        for kind in kinds
    }
    return NodeCounts(tallies, NOW)


def timed(work: Callable[[], None], count: int) -> float:
    """Do it; return events per CPU-second."""
    began = time.process_time()
    work()
    return count / (time.process_time() - began)


def reports(given: Sequence[HealthEvent], size: int) -> list[Sequence[HealthEvent]]:
    """Cut events into reports."""
    return [given[at : at + size] for at in range(0, len(given), size)]


def judged(policy: HealthPolicy, given: Sequence[Sequence[HealthEvent]], counts: Counts) -> None:
    """Judge reports."""
    for report in given:
        policy.evaluate(report, counts)


def row(what: str, rates: Sequence[float], budget: int | None) -> Figure:
    """Print a line of the table."""
    figure = Figure(what, "events/s", list(rates))
    held = f"budget {budget:>9,}" if budget else ""
    print(f"{what:<46} {figure.value:>10,.0f} events/s {1e6 / figure.value:7.1f} µs   {held}")
    return figure


def repeated(size: int, counts: Counts, runs: int) -> list[float]:
    """Rates for shapes seen before: one event in eight tells of a shape of its own."""
    policy = HealthPolicy.default()
    shapes = events(0, EVENTS // 8)
    given = reports(shapes * 8, size)
    judged(policy, given, counts)
    return [timed(lambda: judged(policy, given, counts), EVENTS) for _ in range(runs)]


def first_seen(counts: Counts, runs: int) -> list[float]:
    """Rates for shapes never seen, of codes that were."""
    policy = HealthPolicy.default()
    judged(policy, reports(events(0, 400), REPORT), counts)
    rates = []
    for run in range(runs):
        given = reports(events((run + 1) * EVENTS, EVENTS), REPORT)
        rates.append(timed(partial(judged, policy, given, counts), EVENTS))
    return rates


def never_met(counts: Counts, runs: int) -> list[float]:
    """Rates when every event meets an empty memory."""
    policy = HealthPolicy.default()
    given = events(0, EVENTS // 16)

    def work() -> None:
        for event in given:
            policy.forget()
            policy.evaluate([event], counts)

    work()
    return [timed(work, len(given)) for _ in range(runs)]


def plainly(counts: Counts, runs: int) -> list[float]:
    """Rates without plans and without a memory."""
    policy = HealthPolicy.default()
    given = reports(events(0, EVENTS // 4), REPORT)

    def work() -> None:
        for report in given:
            policy.plainly(report, counts)

    return [timed(work, EVENTS // 4) for _ in range(runs)]


def main() -> None:
    """Print the table."""
    asked = options("how many health events a second the default policy judges")
    asked.set_defaults(runs=RUNS)
    given = asked.parse_args()
    policy = HealthPolicy.default()
    print(f"default policy {policy.digest}, {len(policy.rules)} rules")
    counts, runs = past(), given.runs
    figures = [
        row("repeated shapes, 64 a report", repeated(REPORT, counts, runs), 200_000),
        row("repeated shapes, 1 a report", repeated(1, counts, runs), 200_000),
        row("first seen, 64 a report", first_seen(counts, runs), 15_000),
        row("code never met, 1 a report", never_met(counts, runs), 15_000),
        row("plainly, 64 a report", plainly(counts, runs), None),
    ]
    write(figures, given.json)


if __name__ == "__main__":
    main()
