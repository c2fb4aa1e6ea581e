"""``autoscale``: what autoscalers would have done with a load, without any server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.parameters import DURATION
from navarch.cli.session import output_format, output_option
from navarch.errors import ConfigError, NavarchError, PluginError

if TYPE_CHECKING:
    from navarch.config.autoscaling import Autoscaling
    from navarch.config.schema import Config
    from navarch.core.scaling.base import Autoscaler
    from navarch.simulator.backtest import Conditions
    from navarch.simulator.backtest_report import BacktestResult
    from navarch.simulator.load_trace import Trace, Unit

FILE = click.Path(path_type=Path)


@click.group("autoscale")
def autoscale() -> None:
    """Try autoscalers before they are trusted."""


@autoscale.command("backtest")
@click.option("--config", "file", type=FILE, required=True, help="The configuration.")
@click.option("--pool", required=True, help="The pool whose limits and autoscaler are tried.")
@click.option("--trace", type=FILE, help="The load: a CSV file with the columns time and value.")
@click.option(
    "--seed", "seeds", type=int, multiple=True, help="A made-up week in its place; may be repeated."
)
@click.option(
    "--unit",
    type=click.Choice(["nodes", "jobs"]),
    default="nodes",
    show_default=True,
    help="What the values of the trace count.",
)
@click.option(
    "--jobs-per-node",
    type=click.FloatRange(min=0, min_open=True),
    help="What one node can carry.  [default: as the pool's queue autoscaler says, else 1]",
)
@click.option(
    "--boot", type=DURATION, default="5m", show_default=True, help="How long a machine boots."
)
@click.option(
    "--interval", type=DURATION, help="How often it is asked.  [default: autoscale_interval]"
)
@click.option(
    "--compare",
    multiple=True,
    metavar="NAME,…",
    help="Others beside it: reactive, queue or predictive with their defaults, or those of pools; "
    "may be repeated.",
)
@click.option("--html", type=FILE, help="Write a page with charts, of the first load.")
@output_option
@click.pass_context
def backtest(  # noqa: PLR0913 - click hands over one argument an option
    context: click.Context,
    *,
    file: Path,
    pool: str,
    trace: Path | None,
    seeds: tuple[int, ...],
    unit: Unit,
    jobs_per_node: float | None,
    boot: timedelta,
    interval: timedelta | None,
    compare: tuple[str, ...],
    html: Path | None,
) -> None:
    """Replay a load through a pool's autoscaler: what it costs, and how often it is late."""
    if (trace is None) == (not seeds):
        raise click.UsageError("say either --trace or --seed", context)
    from navarch.config import load as loading

    config = loading.load(file)
    limits = _conditions(config, pool, boot, interval, jobs_per_node)
    others = [name for names in compare for name in names.split(",") if name]
    rivals = _rivals(config, pool, others, limits)
    results = {name: _replayed(load, rivals, limits) for name, load in _loads(trace, seeds, unit)}
    if html is not None:
        _write_page(html, *next(iter(results.items())))
    _show(results, output_format(context))


# --- what is replayed ------------------------------------------------------------------------


def _conditions(
    config: Config,
    pool: str,
    boot: timedelta,
    interval: timedelta | None,
    jobs_per_node: float | None,
) -> Conditions:
    """The pool as the configuration has it."""
    from navarch.simulator.backtest import Conditions

    spec = config.pools.get(pool)
    if spec is None:
        have = ", ".join(config.pools) or "none"
        raise ConfigError(f"there is no pool {pool}; there are: {have}", file=str(config.file))
    if interval == timedelta():
        raise click.BadParameter("it must be above zero", param_hint="'--interval'")
    return Conditions(
        min_nodes=spec.min_nodes,
        max_nodes=spec.max_nodes,
        boot_delay=boot,
        interval=interval or config.server.autoscale_interval,
        cooldown=spec.cooldown,
        jobs_per_node=jobs_per_node or _jobs_per_node(config.autoscaling.get(pool)),
    )


def _jobs_per_node(written: Autoscaling | None) -> float:
    from navarch.config.autoscaling import Queue

    return written.jobs_per_node if isinstance(written, Queue) else 1.0


def _loads(trace: Path | None, seeds: Iterable[int], unit: Unit) -> Iterator[tuple[str, Trace]]:
    """Read or make up what is replayed, each with its name."""
    from navarch.simulator import load_trace

    if trace is None:
        for seed in seeds:
            yield f"seed {seed}", load_trace.made_up(seed)
        return
    try:
        yield trace.name, load_trace.read_trace(trace, unit)
    except load_trace.TraceError as error:
        raise NavarchError(str(error)) from error


def _rivals(
    config: Config, pool: str, others: Iterable[str], limits: Conditions
) -> dict[str, Autoscaler]:
    """Who is tried, by the names of the table: the pool's own first, then types and other pools.

    Raises `ConfigError` when there is nobody to try, or nobody of that name.
    """
    from navarch.config import autoscaling as written
    from navarch.wiring import autoscalers

    types: dict[str, Autoscaling] = {
        "reactive": written.Reactive(),
        "queue": written.Queue(limits.jobs_per_node),
        "predictive": written.Predictive(lead_time=limits.boot_delay),
    }
    pools = config.autoscaling
    chosen = {_titled(pool, pools[pool]): pools[pool]} if pool in pools else {}
    for name in others:
        if name in types:
            chosen[name] = types[name]
        elif name in pools:
            chosen[_titled(name, pools[name])] = pools[name]
        else:
            known = ", ".join([*types, *pools])
            message = f"nobody to compare with is called {name}; there are: {known}"
            raise ConfigError(message, file=str(config.file))
    if not chosen:
        message = f"pool {pool} has no autoscaling: add some, or say --compare"
        raise ConfigError(message, file=str(config.file), key=f"pools.{pool}")
    return {name: autoscalers.autoscaler(each) for name, each in chosen.items()}


def _titled(pool: str, written: Autoscaling) -> str:
    return f"{pool} ({written.__struct_config__.tag})"


def _replayed(
    trace: Trace, rivals: dict[str, Autoscaler], limits: Conditions
) -> list[BacktestResult]:
    from navarch.simulator import backtest

    try:
        return backtest.compare(trace, rivals, limits)
    except Exception as error:  # the plugin guard: one of them may be somebody else's
        message = f"an autoscaler broke while it was tried: {type(error).__name__}: {error}"
        raise PluginError(message) from error


# --- what is shown ---------------------------------------------------------------------------


def _write_page(html: Path, name: str, results: list[BacktestResult]) -> None:
    from navarch.simulator import backtest_report

    try:
        html.write_text(backtest_report.page(results, f"Backtest of {name}"), encoding="utf-8")
    except OSError as error:
        raise NavarchError(f"{html}: cannot be written: {error.strerror}") from error


def _show(results: dict[str, list[BacktestResult]], form: str) -> None:
    from navarch.simulator import backtest_report

    if output.for_programs(form):
        output.document({"loads": [_document(*each) for each in results.items()]}, form)
        return
    for name, each in results.items():
        if len(results) > 1:
            output.line(name)
        click.echo(backtest_report.table(each), nl=False)


def _document(name: str, results: list[BacktestResult]) -> dict[str, object]:
    return {
        "load": name,
        "results": [
            {
                field: getattr(result, field)
                for field in result.__struct_fields__
                if field != "series"
            }
            for result in results
        ],
    }
