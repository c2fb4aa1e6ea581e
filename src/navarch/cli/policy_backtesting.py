"""``policy backtest``: what a health policy would have done, had it judged the past."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import clock, output
from navarch.cli.parameters import DURATION, MOMENT
from navarch.cli.session import PAGE_SIZE, Session, connected
from navarch.errors import NavarchError

if TYPE_CHECKING:
    from navarch.core.model.events import Event
    from navarch.policy import HealthPolicy
    from navarch.simulator.policy_backtest import Trial
    from navarch.simulator.policy_backtest_report import Backtest
    from navarch.simulator.policy_journal import JournalReader
    from navarch.simulator.policy_shadow import Conditions

FILE = click.Path(path_type=Path)

JOURNAL = "navarch.db"
"""What the journal is called in a data folder."""

PATIENCE = timedelta(seconds=2)
"""How long people wait without being told how far it is."""

DRAWINGS = (".svg", ".html")


@click.command("backtest")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--since", type=MOMENT, help="Only what happened since then.  [default: all that is kept]"
)
@click.option(
    "--until",
    type=MOMENT,
    help="How long the journal was written.  [default: its last fact; for a server, now]",
)
@click.option("--journal", type=FILE, help="The file of a journal; a server may be using it.")
@click.option("--data", type=FILE, help="The data folder that it is in.")
@click.option("--pool", default="", help="Only the nodes of this pool.")
@click.option("--config", type=FILE, help="Whose settings hold: intervals, probation and so on.")
@click.option(
    "--boot", type=DURATION, default="10m", show_default=True, help="How long a machine boots."
)
@click.option(
    "--drain",
    type=DURATION,
    default="10m",
    show_default=True,
    help="How long it takes until a node is empty.",
)
@click.option("--chart", type=FILE, help="Write a picture of it: a .svg or a .html file.")
@connected
def backtest(  # noqa: PLR0913 - click hands over one argument an option
    session: Session,
    *,
    file: Path | None,
    since: datetime | None,
    until: datetime | None,
    journal: Path | None,
    data: Path | None,
    pool: str,
    config: Path | None,
    boot: timedelta,
    drain: timedelta,
    chart: Path | None,
) -> None:
    """Judge the past by another policy: who would have been repaired, when, and rightly.

    FILE is the candidate; without it, the policy that comes with Navarch. The past is a journal, or
    that of the running server.
    """
    if journal is not None and data is not None:
        raise click.UsageError("say either --journal or --data")
    if chart is not None and chart.suffix not in DRAWINGS:
        message = f"{chart} is no picture: expected a name that ends with .svg or .html"
        raise click.BadParameter(message, param_hint="'--chart'")
    policy = _policy(file)
    conditions = _conditions(config, boot, drain)
    from navarch.simulator.policy_backtest import Trial

    if journal is None and data is not None:
        journal = data / JOURNAL
    if journal is None:
        name = session.server
        trial = Trial(policy, conditions, since=since, pool=pool)
        result = _tried(trial, _served(session), 0, until or clock.now())
    else:
        name = str(journal)
        with _opened(journal) as reader:
            trial = Trial(policy, conditions, since=since, pool=pool, known=reader.known())
            result = _tried(trial, reader.facts(), reader.last - reader.first + 1, until)
    if chart is not None:
        _draw(chart, result, name)
    _show(result, session.output)


# --- what is tried on what -------------------------------------------------------------------


def _policy(file: Path | None) -> HealthPolicy:
    """Read the candidate; end the command where it has mistakes, as `policy check` does."""
    from navarch.policy import HealthPolicy, check_file

    if file is None:
        return HealthPolicy.default()
    found = check_file(file)
    if found.policy is None:
        for error in found.errors:
            output.mistake(error)
        click.get_current_context().exit(1)
    return found.policy


def _conditions(config: Path | None, boot: timedelta, drain: timedelta) -> Conditions:
    from navarch.simulator.policy_shadow import Conditions

    if config is None:
        return Conditions(boot=boot, drain=drain)
    from navarch.config import load

    settings = load.load(config).server.settings()
    return Conditions(settings=settings, boot=boot, drain=drain)


@contextlib.contextmanager
def _opened(journal: Path) -> Iterator[JournalReader]:
    from navarch.simulator.policy_journal import JournalReader

    with contextlib.closing(JournalReader(journal)) as reader:
        yield reader


def _served(session: Session) -> Iterator[Event]:
    """Fetch every fact that a server keeps, page by page, up to the newest when it was asked."""
    from msgspec import DecodeError

    from navarch.core.model import events

    after, last = 0, None
    while last is None or after < last:
        request = {"afterSeq": str(after), "limit": PAGE_SIZE}
        answer = session.call("ListEvents", request)
        last = int(answer.get("lastSeq", 0)) if last is None else last
        page = answer.get("events", [])
        if not page:
            return
        for fact in page:
            after = int(fact.get("seq", 0))
            try:
                yield events.decode(str(fact.get("payload", "")).encode())
            except DecodeError as error:
                message = f"fact {after} of {session.server} cannot be read: {error}"
                raise NavarchError(message) from error


def _tried(trial: Trial, facts: Iterable[Event], count: int, until: datetime | None) -> Backtest:
    """Try a policy, and tell people how far it is once that takes long; 0 is no known end."""
    began, shown = clock.now(), False
    for number, fact in enumerate(facts, start=1):
        trial.take(fact)  # type: ignore[arg-type]  # only facts are journaled
        if number % PAGE_SIZE == 0 and sys.stderr.isatty() and clock.now() - began > PATIENCE:
            shown = True
            of = f" of {count:,} ({number * 100 // max(count, number)}%)" if count else ""
            click.echo(f"\rnavarch: {number:,}{of} facts judged", err=True, nl=False)
    if shown:
        click.echo("", err=True)
    return trial.result(until)


# --- what is shown ---------------------------------------------------------------------------


def _draw(chart: Path, result: Backtest, name: str) -> None:
    from navarch.simulator import policy_chart

    if chart.suffix == ".svg":
        text = policy_chart.drawing(result)
    else:
        text = policy_chart.page(result, f"Policy {result.policy} on {name}")
    try:
        chart.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NavarchError(f"{chart}: cannot be written: {error.strerror}") from error


def _show(result: Backtest, form: str) -> None:
    from navarch.simulator import policy_backtest_report as report

    if output.for_programs(form):
        output.document(report.document(result), form)
        return
    for line in report.summary(result):
        output.line(line)
    output.line("")
    rows = report.rows(result)
    if rows:
        output.table(report.HEADERS, rows)
    else:
        output.line("the two policies do not differ about any node")
    output.line("")
    output.table(("", "CANDIDATE", "IN USE THEN"), report.totals(result))
