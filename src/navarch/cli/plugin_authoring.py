"""``plugin verify`` and ``plugin new``: for authors of plugins, without any server."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.parameters import DURATION
from navarch.cli.session import Json, output_format, output_option

if TYPE_CHECKING:
    from navarch.testing.findings import Finding
    from navarch.testing.verification import Verdict

CHECKS = ("CHECK", "RESULT", "TIME", "TEXT")


class Config(click.ParamType[dict[str, object]]):
    """A plugin's configuration, as a mapping of JSON."""

    name = "json"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, object]:
        """Read it, or end the program with a usage error."""
        try:
            config: object = json.loads(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)
        if not isinstance(config, dict):
            self.fail(f'{value!r} is no mapping such as {{"depth": 10}}', param, ctx)
        return config


@click.command("verify")
@click.argument("target")
@click.option("--kind", metavar="KIND", default="", help="Its kind, where its methods do not say.")
@click.option("--config", type=Config(), help="What it is configured with.")
@click.option(
    "--deadline",
    type=DURATION,
    default=timedelta(seconds=60),
    show_default="60s",
    help="How long the checks of one plugin may take.",
)
@output_option
@click.pass_context
def verify(
    context: click.Context,
    target: str,
    kind: str,
    config: dict[str, object] | None,
    deadline: timedelta,
) -> None:
    """Hold a plugin against the contract of its kind.

    TARGET is a file, the folder of a package, package.module:Class, or the name of an installed
    entry point. It is tried in a process of its own.
    """
    from navarch.testing.verification import verify as try_out

    verdicts = try_out(target, kind=kind, config=config, deadline=deadline)
    ok = all(verdict.ok for verdict in verdicts)
    if output.for_programs(output_format(context)):
        content = {"ok": ok, "plugins": [_document(verdict) for verdict in verdicts]}
        output.document(content, output_format(context))
    else:
        for number, verdict in enumerate(verdicts):
            if number:
                output.line("")
            _show(verdict)
    context.exit(0 if ok else 1)


def _show(verdict: Verdict) -> None:
    named = f" {verdict.name}" if verdict.name else ""
    output.line(f"{verdict.kind}{named} ({verdict.plugin})")
    output.table(CHECKS, map(_row, verdict.findings))
    broken = sum(not finding.ok for finding in verdict.findings)
    skipped = sum(finding.skipped for finding in verdict.findings)
    kept = len(verdict.findings) - broken - skipped
    more = f", {skipped} not tried" if skipped else ""
    output.line(f"{kept} kept, {broken} broken{more}")


def _row(finding: Finding) -> tuple[str, ...]:
    return finding.check, _result(finding), f"{finding.seconds * 1000:.1f} ms", finding.text


def _result(finding: Finding) -> str:
    if finding.skipped:
        return "not tried"
    return "kept" if finding.ok else "BROKEN"


def _document(verdict: Verdict) -> Json:
    return {
        "plugin": verdict.plugin,
        "kind": verdict.kind,
        "name": verdict.name,
        "ok": verdict.ok,
        "findings": [
            {
                "check": finding.check,
                "ok": finding.ok,
                "skipped": finding.skipped,
                "seconds": round(finding.seconds, 6),
                "text": finding.text,
            }
            for finding in verdict.findings
        ],
    }


@click.command("new")
@click.argument("kind")
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the folder NAME is made.  [default: here]",
)
@output_option
@click.pass_context
def new(context: click.Context, kind: str, name: str, parent: Path) -> None:
    """Write the package of a new plugin: module, tests, packaging.

    KIND is scheduler, autoscaler (of replicas), model-loader, metrics-provider, guardrail,
    pool-autoscaler, provider, ranker or metrics-source.
    """
    from navarch.plugins.kinds import kind_of
    from navarch.testing.scaffold import write_package

    written = write_package(kind_of(kind), name, parent)
    if output.for_programs(output_format(context)):
        content: Json = {
            "folder": str(written.folder),
            "files": list(written.paths),
            "use": written.use,
        }
        output.document(content, output_format(context))
        return
    for path in written.paths:
        output.line(str(written.folder / path))
    output.line("")
    output.line(f"cd {written.folder} && pip install -e '.[test]' && pytest")
