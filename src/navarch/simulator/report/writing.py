"""Writing a report down: as files in a folder, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from navarch.errors import ReportNotWritten
from navarch.simulator.report.figures import number, span
from navarch.simulator.report.model import Report, Times, report_json
from navarch.simulator.report.page import page

PAGE: Final = "report.html"
DOCUMENT: Final = "report.json"
JOURNAL: Final = "journal.jsonl"

WIDTH: Final = 28
"""How wide the names in the table are."""


def write(report: Report, folder: Path, journal: bytes = b"") -> tuple[Path, ...]:
    """Write ``report.html``, ``report.json`` and ``journal.jsonl``, and return their paths.

    The folder is made if it is not there. Each file is there whole or not at all: it is written
    under another name first. Without a journal, or with an empty one, none is written.

    Raises `ReportNotWritten` when the folder can not be made or written to.
    """
    files = {PAGE: page(report).encode(), DOCUMENT: report_json(report)}
    if journal:
        files[JOURNAL] = journal
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            draft = folder / f".{name}.draft"
            try:
                draft.write_bytes(content)
                draft.replace(folder / name)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReportNotWritten(
            f"the report cannot be written to {folder}: {reason}; expected a folder that can be "
            "written to"
        ) from error
    return tuple(folder / name for name in files)


def summary_lines(report: Report) -> list[str]:
    """The numbers that matter, one a line, for a terminal; the names in a column of their own."""
    return [f"{name.ljust(WIDTH)}{value}".rstrip() for name, value in _rows(report)]


def _rows(report: Report) -> list[tuple[str, str]]:
    fleet, troubles, repairs = report.fleet, report.troubles, report.repairs
    hours = fleet.gpu_hours
    total = (hours.good + hours.idle + hours.lost) or 1
    share = fleet.node_hours_delivered / (fleet.node_hours_wanted or 1)
    put_off = {
        "for a budget": repairs.budget_hits,
        "for the breaker": repairs.brake_hits,
        "for room": repairs.room_hits,
    }
    rows = [
        ("RUN", f"{report.blueprint}, seed {report.seed}, {span(report.seconds)}"),
        ("AVAILABILITY", f"{fleet.availability:.2%}"),
        ("CAPACITY DELIVERED", f"{share:.2%} of {number(fleet.node_hours_wanted)} node-hours"),
        ("GPU-HOURS GOOD", f"{number(hours.good)} ({hours.good / total:.1%})"),
        ("GPU-HOURS IDLE", f"{number(hours.idle)} ({hours.idle / total:.1%})"),
        ("GPU-HOURS LOST", f"{number(hours.lost)} ({hours.lost / total:.1%})"),
        ("COST", f"${fleet.usd:,.2f}"),
        *(
            (f"  {each.provider} for {each.pool or '(no pool)'}", f"${each.usd:,.2f}")
            for each in report.costs
        ),
        ("FAULTS", _counted({each.label: each.count for each in report.failures})),
        ("NODES IN TROUBLE", str(troubles.count)),
        (
            "  REPLACED, WELL AGAIN, OUT",
            f"{troubles.replaced}, {troubles.recovered}, {troubles.open}",
        ),
        ("  DECIDED TOO LATE, NEVER", f"{troubles.too_late}, {troubles.never_decided}"),
        ("TIME TO DETECT", _times(troubles.seconds_to_detect)),
        ("TIME TO REPAIR", _times(troubles.seconds_to_repair)),
        (
            "REPLACEMENTS",
            f"{repairs.replacements_right} needed, {repairs.replacements_wrong} not",
        ),
        (
            "RESETS AND REBOOTS",
            f"{repairs.in_place_right} needed, {repairs.in_place_wrong} not",
        ),
        *_goodput(report),
        ("REPAIRS PUT OFF", _counted(put_off)),
        ("SPOT MACHINES TAKEN AWAY", str(sum(each.interrupted for each in report.costs))),
    ]
    refused = {
        f"{each.provider} {why}": count
        for each in report.purchases
        for why, count in each.refused.items()
    }
    return [*rows, ("PURCHASES REFUSED", _counted(refused))]


def _goodput(report: Report) -> Iterator[tuple[str, str]]:
    for each in report.goodput:
        name = f"GOODPUT OF {each.pool or 'NO POOL'}"
        yield name, f"{each.goodput:.1%}, {each.jobs_done} of {each.jobs} jobs done"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number(count)}" for name, count in counts.items()) or "none"


def _times(times: Times) -> str:
    if not times.count:
        return "–"
    return f"p50 {span(times.p50)}, p95 {span(times.p95)}, p99 {span(times.p99)}"
