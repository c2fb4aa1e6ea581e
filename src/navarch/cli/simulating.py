"""``simulate``: fleets in virtual time, without any server: scenarios, and a user's own config."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from navarch.cli import (
    clock,
    output,
    policies,
    simulating_live,
    simulating_replay,
    simulating_serving,
    simulating_shrink,
    simulating_whatif,
)
from navarch.cli.scenario_files import read_scenario
from navarch.cli.session import Json, output_format, output_option
from navarch.errors import NavarchError

if TYPE_CHECKING:
    from navarch.simulator.scenarios.running import Check, Outcome, Run
    from navarch.simulator.scenarios.schema import Scenario

FILE = click.Path(path_type=Path)

CHECKS = ("CHECK", "OUTCOME", "AT", "LINE")
SLICES = 200
"""Into how many parts a run is divided for the sake of its progress."""
FRAME = timedelta(milliseconds=200)
"""How often a paced run catches up with the clock on the wall."""
LINES = 4
"""How many lines tell of the progress where there is no terminal."""
SPEED_MAX = 1_000_000.0


class Speed(click.ParamType[float]):
    """How much faster than the clock on the wall: ``realtime``, ``max`` or a number above 0."""

    name = "realtime|max|number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it, or end the program with a usage error."""
        if value == "realtime":
            return 1.0
        if value == "max":
            return math.inf
        try:
            speed = float(str(value))
        except ValueError:
            speed = 0.0
        if not (0 < speed <= SPEED_MAX or value == math.inf):
            message = (
                f"{value!r} is no speed, expected realtime, max or a number up to {SPEED_MAX:,.0f}"
            )
            self.fail(message, param, ctx)
        return speed


@click.group("simulate", invoke_without_command=True)
@simulating_whatif.options
@click.pass_context
def simulate(context: click.Context, /, **options: Any) -> None:  # noqa: ANN401 - as what-if
    """Try fleets, policies and autoscalers in virtual time.

    With --config: what a configuration would come to, and variants of it.
    """
    simulating_whatif.directly(context, options)


simulate.add_command(simulating_whatif.what_if)
simulate.add_command(simulating_whatif.profiles)


@simulate.command("validate")
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@output_option
@click.pass_context
def validate(context: click.Context, files: tuple[Path, ...]) -> None:
    """Name every mistake in scenarios, and in the policies, loads and classes that they name."""
    from navarch.simulator.scenarios.building import examine

    examined = [(file, examine(file)) for file in files]
    form = output_format(context)
    if output.for_programs(form):
        content = [
            {"file": str(file), "errors": [policies.mistake(fault) for fault in each.faults]}
            for file, each in examined
        ]
        output.document(content, form)
    else:
        for file, each in examined:
            for fault in each.faults:
                output.mistake(fault)
            if each.scenario is not None:
                output.line(f"{file}: no mistakes; {_described(each.scenario)}")
    context.exit(1 if any(each.faults for _, each in examined) else 0)


@simulate.command("run")
@click.argument("file", type=FILE)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**53),
    help="Where chance begins.  [default: as the scenario says, else 0]",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for the report: a page, JSON, the journal, and what was checked.",
)
@click.option(
    "--speed",
    type=Speed(),
    help="Pace the run by the clock on the wall: realtime, or how many times faster.  [default: "
    "max; with --serve realtime]",
)
@click.option(
    "--serve",
    is_flag=True,
    help="Answer the calls of `navarch -s URL` meanwhile, and go on until Ctrl-C.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where --serve does, on this machine; port 0 is any free one.  [default: 127.0.0.1:0]",
)
@output_option
@click.pass_context
def run(
    context: click.Context,
    *,
    file: Path,
    seed: int | None,
    report: Path | None,
    speed: float | None,
    serve: bool,
    listen: str | None,
) -> None:
    """Live through a scenario, and check what it demands.

    Ends with 1 if anything does not hold. The same file and seed give the same journal, byte for
    byte.
    """
    from navarch.simulator.scenarios.running import Run

    if listen is not None and not serve:
        raise click.UsageError("--listen goes with --serve")
    scenario = read_scenario(context, file)
    form = output_format(context)
    is_recorded = report is not None or not (serve or output.for_programs(form))
    one = Run(scenario, seed, recorded=is_recorded)
    if serve:
        outcome = simulating_live.serve_run(one, listen, speed)
        if report is not None:
            _write(report, one, outcome)
        context.exit(0 if outcome.passed else 1)
    every = max(scenario.lasts / SLICES, timedelta(seconds=1))
    pace = _paced(speed, clock.now())
    if speed is not None and math.isfinite(speed):
        every = FRAME * speed
    with _progress(file.name, shown=not output.for_programs(form)) as tell:

        def passed(since: timedelta, lasts: timedelta) -> None:
            tell(since, lasts)
            pace(since)

        outcome = one.live(passed, every)
    if report is not None:
        _write(report, one, outcome)
    if output.for_programs(form):
        output.document(_document(outcome), form)
    else:
        _show(outcome, one)
    context.exit(0 if outcome.passed else 1)


def _described(scenario: Scenario) -> str:
    written, stress = scenario.written, scenario.stress
    nodes = len(written.fleet)
    if stress is not None and stress.fleet_gen is not None:
        nodes = stress.fleet_gen.total_nodes
    parts = [
        f"{nodes:,} nodes" if nodes else "",
        f"{len(written.pools)} pools" if written.pools else "",
        f"{len(written.events)} events",
        f"{len(written.assertions)} assertions",
        f"{scenario.lasts} of virtual time",
    ]
    return f"{scenario.name}, {', '.join(part for part in parts if part)}"


# --- progress --------------------------------------------------------------------------------


@contextmanager
def _progress(name: str, *, shown: bool) -> Iterator[Callable[[timedelta, timedelta], None]]:
    """Tell people how far a run is: as a bar on a terminal, as a few lines elsewhere."""
    error = sys.stderr
    if not shown:
        yield lambda _since, _lasts: None
    elif error.isatty():
        with click.progressbar(length=SLICES, label=name, file=error) as bar:

            def advance(since: timedelta, lasts: timedelta) -> None:
                done = min(int(SLICES * (since / lasts)), SLICES) if lasts else SLICES
                bar.update(max(done - bar.pos, 0))

            yield advance
    else:
        told = 0

        def tell(since: timedelta, lasts: timedelta) -> None:
            nonlocal told
            part = int(LINES * (since / lasts)) if lasts else LINES
            if part > told:
                told = part
                output.note(f"{name}: {since} of {lasts}")

        yield tell


def _paced(speed: float | None, began: datetime) -> Callable[[timedelta], None]:
    """Wait so that no more virtual time passes than the wall's, times the speed; None: as fast."""

    def pace(since: timedelta) -> None:
        ahead = since / speed - (clock.now() - began) if speed is not None else timedelta()
        if ahead > timedelta():
            clock.wait(ahead)

    return pace


# --- what is shown ---------------------------------------------------------------------------


def _show(outcome: Outcome, one: Run) -> None:
    from navarch.simulator.report import summary_lines

    output.table(CHECKS, [_row(check) for check in outcome.checks])
    output.line("")
    for check in outcome.failures:
        for line in check.message.split("\n"):
            output.line(line)
        output.line("")
    if one.report is not None:
        for line in summary_lines(one.report):
            output.line(line)
        output.line("")
    held = len(outcome.checks) - len(outcome.failures)
    output.block(
        (
            ("scenario", f"{outcome.name}, seed {outcome.seed}"),
            ("virtual time", str(outcome.lasted)),
            ("nodes at the end", f"{outcome.nodes:,}"),
            ("facts", f"{outcome.facts:,}"),
            ("journal", f"sha256 {outcome.digest}"),
            ("checks", f"{held} of {len(outcome.checks)} hold"),
        )
    )


def _row(check: Check) -> tuple[str, ...]:
    outcome = "passed" if check.passed else "FAILED"
    return check.what, outcome, f"+{check.at}", str(check.line) if check.line else ""


def _document(outcome: Outcome) -> Json:
    return {
        "name": outcome.name,
        "seed": outcome.seed,
        "passed": outcome.passed,
        "virtualSeconds": outcome.lasted.total_seconds(),
        "nodes": outcome.nodes,
        "faults": outcome.faults,
        "facts": outcome.facts,
        "costUsd": round(outcome.cost, 2),
        "journalSha256": outcome.digest,
        "checks": [
            {
                "what": check.what,
                "passed": check.passed,
                "atSeconds": check.at.total_seconds(),
                "line": check.line or None,
                "message": check.message,
            }
            for check in outcome.checks
        ],
        "log": [
            {
                "atSeconds": each.at.total_seconds(),
                "line": each.line or None,
                "what": each.what,
                "failure": each.failure,
            }
            for each in outcome.log
        ],
    }


def _write(folder: Path, one: Run, outcome: Outcome) -> None:
    """Write the report of a run, and what came of it."""
    import json

    from navarch.simulator.report import write

    assert one.report is not None
    write(one.report, folder, one.twin.journal)
    try:
        text = json.dumps(_document(outcome), indent=2, ensure_ascii=False)
        (folder / "outcome.json").write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise NavarchError(f"{folder}: cannot be written: {error.strerror or error}") from error


simulate.add_command(simulating_live.interactive)
simulate.add_command(simulating_replay.replay)
simulate.add_command(simulating_shrink.shrink)
simulate.add_command(simulating_serving.serving)
