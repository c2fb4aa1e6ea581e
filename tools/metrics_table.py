"""Writes the tables of ``docs/metrics.md`` from the catalogue of measures.

Run it as ``python tools/metrics_table.py`` after `navarch.controlplane.catalogue` has changed. What
stands outside of the marks is written by hand and kept.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from navarch.controlplane import catalogue
from navarch.controlplane.described import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from navarch.controlplane.described import Described

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "metrics.md"
BEGIN: Final = "<!-- written by tools/metrics_table.py: begin -->\n"
END: Final = "<!-- written by tools/metrics_table.py: end -->\n"


def tables(rows: Iterable[Described] = catalogue.ALL) -> str:
    """Write a heading and a table for each group of measures, and a table of the labels."""
    lines: list[str] = []
    used: set[str] = set()
    for group, of_group in groupby(rows, key=lambda row: row.group):
        lines += [f"\n## {group}\n", "| name | type | labels | says |", "|---|---|---|---|"]
        for row in of_group:
            used.update(row.labels)
            labels = ", ".join(f"`{label}`" for label in row.labels)
            says = " ".join(part for part in (row.about, row.more) if part)
            unit = f", {row.unit}" if row.unit else ""
            lines.append(f"| `{row.name}` | {row.type}{unit} | {labels} | {says} |")
    lines += ["\n## Labels\n", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {LABELS[label]} |" for label in sorted(used)]
    return "\n".join(lines) + "\n\n"


def page(text: str) -> str:
    """Put the tables into the page. Raises `ValueError` when it has no marks for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/metrics.md has not both of {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}{tables()}{END}{after}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
