"""``simulate shrink``: the smallest scenario found that fails as a larger one does."""

from __future__ import annotations

from pathlib import Path

import click

from navarch.cli import output
from navarch.errors import ConfigError, NavarchError

RUNS_MAX = 1_000_000


@click.command("shrink")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--seed",
    type=click.IntRange(0, 2**53),
    help="Where chance begins in the run that fails.  [default: as the scenario says, else 0]",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the smaller scenario is written.  [default: standard output]",
)
@click.option(
    "--max-runs",
    type=click.IntRange(1, RUNS_MAX),
    default=200,
    show_default=True,
    help="How many scenarios are tried at most.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    help="How much processor time that may take.  [default: any]",
)
def shrink(
    *, file: Path, seed: int | None, out: Path | None, max_runs: int, max_seconds: float | None
) -> None:
    """Make a scenario that fails smaller, as long as it fails in the same way.

    Ends with 1 if it does not fail. The same file and seed give the same smaller scenario, unless
    --max-seconds ends the search.
    """
    from navarch import documents
    from navarch.simulator.scenarios.reading import FILE_MAX
    from navarch.simulator.shrinking.reducing import Limits
    from navarch.simulator.shrinking.scenarios import shrink as shrunk_of

    try:
        text = documents.read_text(file, most=FILE_MAX, expected="a scenario")
    except documents.Unreadable as error:
        raise ConfigError(error.message, file=str(file), line=error.line) from error
    limits = Limits(max_runs, max_seconds)
    shrunk = shrunk_of(text, path=file, seed=seed, limits=limits, tell=output.note)
    if not shrunk.is_whole:
        output.note("the limits are reached: it may get smaller with higher ones")
    if out is None:
        click.echo(shrunk.text, nl=False)
        return
    try:
        out.write_text(shrunk.text, encoding="utf-8")
    except OSError as error:
        raise NavarchError(f"{out}: cannot be written: {error.strerror or error}") from error
    output.line(f"{out}: found in {shrunk.runs} runs, fails with seed {shrunk.seed}")
