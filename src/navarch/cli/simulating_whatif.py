"""``simulate what-if``: what a configuration would come to, and which variant of it is better."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from navarch.cli import output
from navarch.cli.session import output_format, output_option

if TYPE_CHECKING:
    from navarch.simulator.whatif.loads import Load

FILE = click.Path(path_type=Path)

SEEDS, SEEDS_MAX, DAYS, DAYS_MAX, JOBS_MAX = 5, 1000, 30.0, 366.0, 256
PROFILE = "h100-2024"

_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option("--config", type=FILE, help="The configuration to run."),
    click.option(
        "--profile",
        metavar="NAME",
        default=PROFILE,
        show_default=True,
        help="Which faults come how often; `simulate profiles` lists them.",
    ),
    click.option(
        "--days",
        type=click.FloatRange(0, DAYS_MAX, min_open=True),
        default=DAYS,
        show_default=True,
        help="How much time passes.",
    ),
    click.option(
        "--load",
        "loads",
        metavar="[POOL=]FILE",
        multiple=True,
        help="A trace of load, CSV with the columns time and value, in nodes' worth of work. "
        "Without POOL: for every pool that has an autoscaler.",
    ),
    click.option(
        "--vary",
        "varied",
        metavar="KEY=V1,V2,...",
        multiple=True,
        help="Compare values of a key of the configuration; several: all combinations, up to 64.",
    ),
    click.option(
        "--seeds",
        type=click.IntRange(1, SEEDS_MAX),
        default=SEEDS,
        show_default=True,
        help="Runs of each variant, the same seeds for all.",
    ),
    click.option(
        "--first-seed", type=click.IntRange(0), default=1, show_default=True, help="Their first."
    ),
    click.option(
        "--spot",
        metavar="NAME",
        default="",
        help="How spot machines are taken away; `simulate profiles` lists it.  [default: the "
        "profile's]",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, JOBS_MAX),
        help="Processes at once.  [default: one a processor]",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        default="",
        help="Run on Ray instead, at this address; local starts one.  [needs navarch[ray]]",
    ),
    click.option(
        "--report",
        type=FILE,
        metavar="DIR",
        help="Write text, JSON, CSV and the report of each variant's first run there.",
    ),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of what-if runs to a command."""
    for option in (output_option, *reversed(_OPTIONS)):
        command = option(command)
    return command


@click.command("what-if")
@options
@click.pass_context
def what_if(context: click.Context, /, **said: Any) -> None:  # noqa: ANN401 - one value an option
    """Run a configuration in virtual time, and compare variants of it.

    The control plane, its policy and its autoscalers are those of the configuration; clouds and
    faults are simulated. Nothing is contacted and no credentials are needed.
    """
    if said["config"] is None:
        raise click.UsageError("Missing option '--config'", ctx=context)
    _answer(context, said)


def directly(context: click.Context, said: Mapping[str, Any]) -> None:
    """Do the same for the group itself, when no command of it was named."""
    if context.invoked_subcommand is not None:
        if said["config"] is not None:
            message = f"--config stands behind {context.invoked_subcommand}, not before it"
            raise click.UsageError(message, ctx=context)
        return
    if said["config"] is None:
        click.echo(context.get_help())
        return
    _answer(context, said)


def _answer(context: click.Context, said: Mapping[str, Any]) -> None:
    from navarch.simulator.whatif import asking, profiles, telling, varying
    from navarch.simulator.whatif.preparing import World

    world = World(
        profile=profiles.profile(said["profile"]),
        lasts=timedelta(days=said["days"]),
        loads=tuple(map(_load, said["loads"])),
        spot=said["spot"],
    )
    question = asking.Question(
        config=said["config"],
        world=world,
        varied=tuple(map(varying.parse, said["varied"])),
        seeds=said["seeds"],
        first_seed=said["first_seed"],
        reported=said["report"] is not None,
    )
    plan = asking.planned(question)
    jobs = said["jobs"] or os.cpu_count() or 1
    with _progress(len(plan.tasks)) as on_done:
        outcome = asking.answered(plan, jobs=jobs, ray=said["ray"], on_done=on_done)
    if said["report"] is not None:
        telling.write(outcome, said["report"])
    form = output_format(context)
    if output.for_programs(form):
        output.document(telling.document(outcome), form)
        return
    for line in telling.text(outcome).splitlines():
        output.line(line)
    if said["report"] is not None:
        output.note(f"written to {said['report']}")


def _load(text: str) -> Load:
    """Read ``POOL=FILE`` or ``FILE``; a file whose name has ``=`` needs its pool before it."""
    from navarch.simulator.whatif.loads import EVERY_POOL, Load

    pool, equals, path = text.partition("=")
    return Load(pool, Path(path)) if equals else Load(EVERY_POOL, Path(text))


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """Show people how many runs are over, where somebody can see it."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=count, label=f"{count} runs", file=sys.stderr) as bar:
        yield lambda: bar.update(1)


@click.command("profiles")
@output_option
@click.pass_context
def profiles(context: click.Context) -> None:
    """List the profiles of faults, and the markets of spot machines."""
    from navarch.simulator.whatif import listing

    form = output_format(context)
    if output.for_programs(form):
        output.document(listing.document(), form)
        return
    output.table(listing.HEADERS, listing.rows())
    output.line("")
    output.table(listing.SPOT_HEADERS, listing.spot_rows())
