"""All benchmarks, one table.

    python bench/run.py [--only NAME ...] [--quick | --long] [--against FILE] [--markdown]

Runs the scripts of this folder in turn, each as a process of its own, and prints one table: what
was measured, its budget and whether it is met, what others need (quoted, with date and source), and
peers measured in the same run. `bench/budgets.toml` says what is run and what is expected. What was
found is kept in ``bench/results/DATE-HOST.json``; ``--against FILE`` shows what has changed since
an earlier run by more than noise, ``--from FILE`` shows a run that was kept, without measuring,
and ``--markdown`` writes the table into ``docs/performance.md``.

Exits with 1 when a budget is missed by more than noise, or a script has failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from suite import comparing, results, table
from suite.budgets import Budgets, BudgetsError, Script, load
from suite.results import Results, ResultsError, ScriptRun

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
PAGE = FOLDER.parent / "docs" / "performance.md"
BEGIN = "<!-- budgets: written by bench/run.py --markdown -->"
END = "<!-- end of budgets -->"
SECONDS_MAX = 15 * 60
SECONDS_MAX_LONG = 4 * 3600
"""A script that takes longer is ended."""


def options() -> argparse.ArgumentParser:
    """Make the options."""
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these scripts alone")
    how = asked.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="few repetitions, for a first look")
    how.add_argument("--long", action="store_true", help="also those that take an hour")
    asked.add_argument(
        "--against", type=Path, metavar="FILE", help="an earlier run to compare with"
    )
    asked.add_argument("--from", dest="kept", type=Path, metavar="FILE", help="show this kept run")
    asked.add_argument("--json", type=Path, metavar="FILE", help="keep the run there instead")
    asked.add_argument("--markdown", action="store_true", help=f"write the table into {PAGE.name}")
    return asked


def environment() -> dict[str, str]:
    """Let scripts keep compiled modules: else their starts measure the compiler."""
    return {name: each for name, each in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def ran(script: Script, *, quick: bool, long: bool) -> ScriptRun:
    """Run one script, showing what it prints."""
    load_before = results.load_average()
    path = FOLDER / f"{script.name}.py"
    print(f"== {script.name}", flush=True)
    if not path.is_file():
        return ScriptRun(script.name, 0.0, None, load_before, f"there is no {path.name}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        arguments = script.arguments(quick=quick, long=long)
        command = [sys.executable, str(path), *arguments, "--json", str(written)]
        limit = SECONDS_MAX_LONG if long else SECONDS_MAX
        trouble, exit_code = "", None
        try:
            exit_code = subprocess.run(
                command, check=False, env=environment(), timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            trouble = f"it was ended after {limit} s"
        figures = []
        try:
            figures = results.read_figures(written)
        except ResultsError as error:
            what = error if written.exists() else "see what it printed"
            trouble = trouble or f"exit code {exit_code}, no figures: {what}"
    seconds = time.monotonic() - began
    return ScriptRun(script.name, seconds, exit_code, load_before, trouble, figures)


def measured(budgets: Budgets, only: list[str], *, quick: bool, long: bool) -> Results:
    """Run all that is asked for."""
    machine = results.this_machine()
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    scripts = [ran(each, quick=quick, long=long) for each in budgets.chosen(only, long=long)]
    return Results(at, machine, quick, scripts)


def written(page: str, content: str) -> str:
    """Put the table into the text of the page; raise `BudgetsError` without its marks."""
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise BudgetsError(f"{PAGE.name} has no marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def verdict(budgets: Budgets, found: Results) -> list[str]:
    """List why the exit code is 1."""
    missed = [
        f"{line.row.what}: {line.ours}, budget {line.budget}"
        for line in table.lines(budgets, found)
        if line.outcome is table.Outcome.MISSED
    ]
    broken = [f"bench/{each.name}.py: {each.trouble}" for each in found.scripts if each.trouble]
    return missed + broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or show what was measured; compare, and judge."""
    asked = options().parse_args(arguments)
    try:
        budgets = load()
        earlier = results.read(asked.against) if asked.against else None
        if asked.kept:
            found = results.read(asked.kept)
        else:
            found = measured(budgets, asked.only, quick=asked.quick, long=asked.long)
            print(f"\nkept in {results.keep(found, RESULTS, asked.json)}")
        print(f"\n{table.text(budgets, found)}")
        if earlier is not None:
            print(f"\n{comparing.told(budgets, earlier, found)}")
        if asked.markdown:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(written(page, table.markdown(budgets, found)), encoding="utf-8")
    except (BudgetsError, ResultsError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    why = verdict(budgets, found)
    print("\n" + ("\n".join(f"MISSED: {each}" for each in why) or "every budget is met"))
    return 1 if why else 0


if __name__ == "__main__":
    raise SystemExit(main())
