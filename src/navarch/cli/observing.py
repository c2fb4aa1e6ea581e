"""``monitoring``: what Prometheus and Grafana are given, written for an installation.

No control plane is asked: rules and dashboards know a fleet by the names of its metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from navarch.cli import output
from navarch.errors import NavarchError

FOLDER = click.Path(path_type=Path, file_okay=False)
RUNBOOKS = "docs/runbooks"


class Words(click.ParamType[str]):
    """Text that stands in quotation marks in files of others."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take it, or end the program with a usage error."""
        text = str(value)
        if not text or not text.isprintable() or any(sign in text for sign in "\"'\\{}$"):
            self.fail(
                f"{text!r} does not fit: expected signs that can be seen, without quotation marks,"
                " braces, dollar signs and backslashes",
                param,
                ctx,
            )
        return text


class Address(Words):
    """Where something is found; it has no slash at its end afterwards."""

    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take it, or end the program with a usage error."""
        return super().convert(value, param, ctx).rstrip("/")


WORDS = Words()
ADDRESS = Address()

_jobs = click.option(
    "--job",
    "jobs",
    type=WORDS,
    multiple=True,
    default=("navarch",),
    show_default=True,
    help="What Prometheus calls the job that scrapes a fleet.  May be repeated: one a fleet.",
)
_runbooks = click.option(
    "--runbooks",
    type=ADDRESS,
    default=RUNBOOKS,
    show_default=True,
    metavar="URL",
    help="Where the runbooks are; NAME.md is added.",
)
_out = click.option("--out", type=FOLDER, help="Write files into this folder.  [default: print]")


@click.group("monitoring")
def monitoring() -> None:
    """Write rules for Prometheus and dashboards for Grafana."""


@monitoring.command("rules")
@_jobs
@_runbooks
@click.option(
    "--grafana",
    type=ADDRESS,
    metavar="URL",
    help="Where Grafana is, for the links of alerts.  [default: links begin with /d/]",
)
@click.option(
    "--cost-max",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    metavar="DOLLARS",
    help="What a fleet may cost in an hour before NavarchCostAboveBudget.",
)
@click.option(
    "--lost-max",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="The share of GPU time that may be lost before NavarchGpuTimeLost.",
)
@_out
def rules(
    *,
    jobs: tuple[str, ...],
    runbooks: str,
    grafana: str | None,
    cost_max: float,
    lost_max: float,
    out: Path | None,
) -> None:
    """Write the recording and alert rules for Prometheus."""
    from navarch.monitoring import files
    from navarch.monitoring.rules import Chosen

    chosen = Chosen(
        jobs=jobs,
        runbooks=runbooks,
        grafana=grafana or "",
        dollars_per_hour_max=cost_max,
        lost_share_max=lost_max,
    )
    _give(files.rule_files(chosen), out)


@monitoring.command("dashboards")
@_runbooks
@click.option(
    "--control-plane",
    type=ADDRESS,
    default="https://navarch.example:50051",
    show_default=True,
    metavar="URL",
    help="Where people reach the control plane's own page.",
)
@_out
def dashboards(*, runbooks: str, control_plane: str, out: Path | None) -> None:
    """Write the dashboards for Grafana, one JSON file each."""
    from navarch.monitoring import files
    from navarch.monitoring.rules import Chosen

    _give(files.dashboard_files(Chosen(runbooks=runbooks, control_plane=control_plane)), out)


@monitoring.command("scrape")
@click.argument("targets", metavar="HOST:PORT...", nargs=-1, required=True, type=WORDS)
@click.option("--job", type=WORDS, default="navarch", show_default=True, help="The fleet's name.")
@click.option(
    "--credentials-file",
    type=WORDS,
    default="/etc/prometheus/navarch-viewer.token",
    show_default=True,
    metavar="FILE",
    help="Where Prometheus finds the token of a viewer.",
)
@click.option(
    "--no-credentials", is_flag=True, help="Nobody is asked for a token, as by `navarch up`."
)
@click.option(
    "--ca-file",
    type=WORDS,
    metavar="FILE",
    help="Whose certificates Prometheus trusts.  [default: plain HTTP]",
)
@_out
def scrape(
    *,
    targets: tuple[str, ...],
    job: str,
    credentials_file: str,
    no_credentials: bool,
    ca_file: str | None,
    out: Path | None,
) -> None:
    """Write a configuration of Prometheus that scrapes control planes and has the rules."""
    from navarch.monitoring import files
    from navarch.monitoring.scraping import Scraping

    scraping = Scraping(
        targets=targets,
        job=job,
        credentials_file=None if no_credentials else credentials_file,
        ca_file=ca_file,
    )
    _give(files.scrape_files(scraping), out)


def _give(written: Mapping[str, str], out: Path | None) -> None:
    """Print files one after another, or write them into a folder and name them."""
    if out is None:
        for text in written.values():
            click.echo(text, nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (out / name).write_text(text, encoding="utf-8")
            output.line(str(out / name))
    except OSError as error:
        raise NavarchError(f"cannot write to {out}: {error.strerror or error}") from error
