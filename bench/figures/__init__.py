"""What the benchmarks of scale have in common: figures, how they are told, and a fleet to measure.

A figure is a name, a unit and the value of each run; its value is their median. A script prints its
figures as a table, and writes them with ``--json FILE`` as a list of objects with `name`, `value`,
`unit` and `runs`.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

RUNS = 5


@dataclass
class Figure:
    """One figure."""

    name: str
    unit: str
    runs: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)


def options(about: str) -> argparse.ArgumentParser:
    """Make the options that all scripts have."""
    asked = argparse.ArgumentParser(description=about)
    asked.add_argument("--runs", type=int, default=RUNS, help="how often, at least 1")
    asked.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return asked


def tell(figures: Iterable[Figure], file: Path | None) -> None:
    """Print the figures, and write them if there is a file."""
    told = list(figures)
    width = max(len(each.name) for each in told)
    for each in told:
        span = f"{min(each.runs):,.3f} to {max(each.runs):,.3f}"
        print(f"{each.name:<{width}}  {each.value:>12,.3f} {each.unit:<6}  {span}")
    write(told, file)


def write(figures: Iterable[Figure], file: Path | None) -> None:
    """Write figures, where a file was asked for."""
    if file is not None:
        content = [
            {"name": each.name, "value": each.value, "unit": each.unit, "runs": each.runs}
            for each in figures
        ]
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def cpu_ms(work: Callable[[], object], runs: int, name: str, *, times: int = 1) -> Figure:
    """Measure the CPU time of some work, in milliseconds: `times` of it in each run."""
    figure = Figure(name, "ms")
    for _ in range(runs):
        gc.collect()
        begun = time.process_time()
        for _ in range(times):
            work()
        figure.runs.append((time.process_time() - begun) / times * 1e3)
    return figure
