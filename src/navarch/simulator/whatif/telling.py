"""A comparison as text for people, as a document for programs, and as files of a folder."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from navarch.errors import NavarchError
from navarch.simulator.report import report_from_json
from navarch.simulator.report import write as write_report
from navarch.simulator.whatif.comparing import MEASURES, Compared, Estimate, verdicts
from navarch.simulator.whatif.measures import Measures
from navarch.simulator.whatif.preparing import World

VERSION = 1
"""Of the document's form."""

LABELS: Mapping[str, str] = {
    "availability": "time with all capacity, %",
    "capacity_delivered": "capacity delivered, %",
    "gpu_hours_good": "GPU-hours good",
    "gpu_hours_idle": "GPU-hours idle",
    "gpu_hours_lost": "GPU-hours lost",
    "cost_usd": "cost, USD",
    "broken": "nodes broken",
    "replacements_right": "replacements right",
    "replacements_wrong": "replacements wrong",
    "replacements_late": "replacements too late",
    "repairs_in_place": "repairs in place",
    "repair_seconds_p50": "time to repair p50, min",
    "repair_seconds_p95": "time to repair p95, min",
    "repair_seconds_p99": "time to repair p99, min",
    "unrepaired": "broken at the end",
    "budget_hits": "repairs held by budget",
    "budget_wait_hours": "waited for budget, h",
    "spot_interruptions": "spot interruptions",
}
"""What each measure is called in a table."""

SCALES: Mapping[str, tuple[float, str]] = {
    "availability": (100, ".3f"),
    "capacity_delivered": (100, ".4f"),
    "cost_usd": (1, ",.0f"),
    "gpu_hours_good": (1, ",.0f"),
    "gpu_hours_idle": (1, ",.0f"),
    "gpu_hours_lost": (1, ",.1f"),
    "repair_seconds_p50": (1 / 60, ".1f"),
    "repair_seconds_p95": (1 / 60, ".1f"),
    "repair_seconds_p99": (1 / 60, ".1f"),
}
"""By what a measure is multiplied in a table, and how it is written; else as it is, ``.1f``."""


UNFIT = re.compile(r"[^A-Za-z0-9=._-]+")
"""What does not belong into the name of a folder."""

NAME_MAX = 100
"""Characters of the name of a folder."""


class Outcome(Struct, frozen=True):
    """Everything that a set of what-if runs came to."""

    config: str
    world: World
    seeds: tuple[int, ...]
    variants: tuple[Compared, ...]
    runs: tuple[tuple[Measures, ...], ...]
    """By variant, then by seed."""
    warnings: tuple[str, ...]
    sources: tuple[str, ...]
    """Where rates and prices are from."""
    reports: tuple[bytes, ...] = ()
    """Of the first run of each variant, as JSON; empty where they were not asked for."""


def headers(outcome: Outcome) -> list[str]:
    """Name the columns: the measure, then the variants."""
    return ["", *(each.name.upper() if not each.values else each.name for each in outcome.variants)]


def rows(outcome: Outcome) -> list[list[str]]:
    """Write a row for each measure: mean ± half the interval of 95%, a column a variant.

    A mark ``*`` says that a variant differs from the first by more than chance.
    """
    table = []
    for key in MEASURES:
        cells = [_cell(each, key) for each in outcome.variants]
        table.append([LABELS[key], *cells])
        if key == "cost_usd":
            table += _cost_rows(outcome.variants)
    return table


def _cost_rows(variants: Sequence[Compared]) -> list[list[str]]:
    providers = sorted({name for each in variants for name in each.costs})
    if len(providers) < 2:
        return []
    return [
        [f"  {name}", *(_written(each.costs.get(name), "cost_usd") for each in variants)]
        for name in providers
    ]


def _cell(one: Compared, key: str) -> str:
    differs = one.differences.get(key)
    mark = "*" if differs is not None and differs.is_beyond_chance else ""
    return _written(one.estimates[key], key) + mark


def _written(found: Estimate | None, key: str) -> str:
    if found is None:
        return ""
    scale, form = SCALES.get(key, (1.0, ".1f"))
    text = f"{found.mean * scale:{form}}"
    return text if not found.half_width else f"{text} ± {found.half_width * scale:{form}}"


def notes(outcome: Outcome) -> Iterator[str]:
    """Say what the table is of, and what is not as it would be."""
    days = outcome.world.lasts.total_seconds() / 86_400
    yield (
        f"{outcome.config}: profile {outcome.world.profile.name}, {days:g} days, "
        f"{len(outcome.seeds)} seeds from {outcome.seeds[0]}; mean ± 95% of each"
    )
    for warning in outcome.warnings:
        yield f"note: {warning}"


def closing(outcome: Outcome) -> Iterator[str]:
    """Say which variant is better, and what the marks mean."""
    if len(outcome.variants) > 1:
        yield "* differs from the first variant by more than chance (95%, paired by seed)"
        yield from verdicts(outcome.variants)


def text(outcome: Outcome) -> str:
    """Write everything for people."""
    cells = [headers(outcome), *rows(outcome)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [*notes(outcome), ""]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join([*lines, "", *closing(outcome), ""])


def document(outcome: Outcome) -> dict[str, object]:
    """Write everything for programs; equal runs make equal documents."""
    world = outcome.world
    return {
        "version": VERSION,
        "config": outcome.config,
        "profile": world.profile.name,
        "days": world.lasts.total_seconds() / 86_400,
        "spot_market": world.spot or world.profile.spot,
        "loads": [{"pool": load.pool, "file": str(load.path)} for load in world.loads],
        "seeds": list(outcome.seeds),
        "warnings": list(outcome.warnings),
        "sources": list(outcome.sources),
        "variants": [
            _variant(each, runs, outcome.seeds)
            for each, runs in zip(outcome.variants, outcome.runs, strict=True)
        ],
        "verdicts": list(verdicts(outcome.variants)) if len(outcome.variants) > 1 else [],
    }


def _variant(one: Compared, runs: Sequence[Measures], seeds: Sequence[int]) -> dict[str, object]:
    return {
        "name": one.name,
        "values": dict(one.values),
        "measures": {key: _estimate(found) for key, found in one.estimates.items()},
        "cost_usd_by_provider": {name: _estimate(found) for name, found in one.costs.items()},
        "differences_to_first": {key: _difference(found) for key, found in one.differences.items()},
        "runs": [
            {"seed": seed, **structs.asdict(run)} for seed, run in zip(seeds, runs, strict=True)
        ],
    }


def _estimate(found: Estimate | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {
        "mean": found.mean,
        "ci95_half_width": found.half_width,
        "runs": found.runs,
    }


def _difference(found: Estimate | None) -> dict[str, object] | None:
    said = _estimate(found)
    if said is None or found is None:
        return None
    return {**said, "beyond_chance": found.is_beyond_chance}


def write(outcome: Outcome, folder: Path) -> None:
    """Write ``what-if.txt``, ``what-if.json`` and ``runs.csv`` into a folder, made if need be.

    Of each variant that has one, the report of its first run goes into a folder named after the
    variant. Raises `NavarchError` when that cannot be.
    """
    files = {
        "what-if.txt": text(outcome),
        "what-if.json": json.dumps(document(outcome), indent=2, ensure_ascii=False) + "\n",
        "runs.csv": _runs(outcome),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise NavarchError(f"{folder}: cannot be written: {error.strerror}") from error
    for name, raw in zip(folders(outcome), outcome.reports, strict=False):
        write_report(report_from_json(raw), folder / name)


def folders(outcome: Outcome) -> list[str]:
    """Name a folder for each variant, after it as far as file systems let us."""
    names: list[str] = []
    for number, variant in enumerate(outcome.variants, 1):
        name = UNFIT.sub("-", variant.name).strip("-.")[:NAME_MAX] or str(number)
        while name in names:
            name = f"{name}-{number}"
        names.append(name)
    return names


def _runs(outcome: Outcome) -> str:
    """Write one line a run."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["variant", "seed", *MEASURES])
    for variant, runs in zip(outcome.variants, outcome.runs, strict=True):
        for seed, run in zip(outcome.seeds, runs, strict=True):
            table.writerow([variant.name, seed, *(count(run) for count in MEASURES.values())])
    return lines.getvalue()
