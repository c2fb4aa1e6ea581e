"""Writes ``docs/providers/faults.md``: which cloud is held to which fault, control plane included.

Run it as ``python tools/fault_matrix.py`` after the clouds on trial (``tests/clouds/stands.py``) or
the faults have changed. It reads their tables and runs nothing: "seen" says that a test tells this
story at this cloud's double, and the suite as a whole says that it passes.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "providers" / "faults.md"

OPENING: Final = """\
# What each cloud's faults end in

One row for each fault, one column for each cloud. **seen**: a test lets it happen at a double of
the cloud (at SSH: at a real sshd), on real sockets, to the real provider under the real control
plane, and sees that all ends with just the machines that are wanted: each known to the fleet, none
left behind and none bought that nobody wanted. A letter: it means nothing there, for the reason
below. Written by `python tools/fault_matrix.py`; a test sees that it is up to date.

The patience of control plane and providers (witness gaps, list lags, waits after refusals) is
shortened for it, the order of things is not: see `tests/clouds/`.
"""


def rendered(faults: Iterable[str], columns: Mapping[str, Mapping[str, str]]) -> str:
    """Write the page. `columns` has, by the cloud's name, why a fault means nothing there."""
    notes: dict[str, str] = {}

    def cell(fault: str, reasons: Mapping[str, str]) -> str:
        reason = reasons.get(fault)
        return "seen" if reason is None else notes.setdefault(reason, f"({_letter(len(notes))})")

    lines = [OPENING, _row(["", *columns]), _row(["---"] * (len(columns) + 1))]
    lines += [_row([each, *(cell(each, why) for why in columns.values())]) for each in faults]
    if notes:
        lines += ["", "Not applicable, because", ""]
        lines += [f"- {mark} {reason}" for reason, mark in notes.items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Write the page for the clouds that are on trial. Imports their tests."""
    folder = str(ROOT / "tests")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    faults = importlib.import_module("clouds.faults").Fault
    stands = [each.stand for each in importlib.import_module("clouds.stands").STANDS]
    columns = {
        each.title: {fault.value: why for fault, why in each.not_applicable.items()}
        for each in stands
    }
    return rendered([each.value for each in faults], columns)


def _letter(number: int) -> str:
    """Count in letters; there are fewer reasons than letters."""
    return "abcdefghijklmnopqrstuvwxyz"[number]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write the page, and say so."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
