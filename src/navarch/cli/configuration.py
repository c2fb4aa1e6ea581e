"""Commands about the configuration file; only `apply` needs a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.session import Session, connected, output_format, output_option
from navarch.errors import WireError

if TYPE_CHECKING:
    from navarch.config.load import Examination

FILE = click.Path(path_type=Path)


@click.group("config")
def config() -> None:
    """Check, explain and apply the configuration file."""


@config.command("check")
@click.argument("file", type=FILE)
@output_option
@click.pass_context
def check(context: click.Context, file: Path) -> None:
    """Name every mistake in a configuration file."""
    from navarch.config import load

    found = load.examine(file)
    if output.for_programs(output_format(context)):
        faults = [
            {"line": fault.line, "key": fault.key, "message": fault.message}
            for fault in found.faults
        ]
        output.document({"file": str(file), "faults": faults}, output_format(context))
        context.exit(1 if faults else 0)
    _refuse_faults(context, found)
    assert found.config is not None
    counts = f"{len(found.config.pools)} pools, {len(found.config.providers)} providers"
    output.line(f"{file}: no mistakes; {counts}")


@config.command("explain")
@click.argument("file", type=FILE)
@output_option
@click.pass_context
def explain(context: click.Context, file: Path) -> None:
    """Show every effective value and where it comes from."""
    from navarch.config import load

    found = load.examine(file)
    _refuse_faults(context, found)
    rows = [
        (one.key, one.shown, "default" if one.line is None else f"{file}:{one.line}")
        for one in found.readings
    ]
    if output.for_programs(output_format(context)):
        names = ("key", "value", "from")
        values = [dict(zip(names, row, strict=True)) for row in rows]
        output.document({"values": values}, output_format(context))
        return
    output.table(("KEY", "VALUE", "FROM"), rows)


def _refuse_faults(context: click.Context, found: Examination) -> None:
    """Print each mistake on a line of its own and end the command, if there is any."""
    for fault in found.faults:
        output.note(str(fault))
    if found.faults:
        context.exit(1)


@config.command("apply")
@click.argument("file", type=FILE)
@connected
def apply(session: Session, file: Path) -> None:
    """Have a running control plane use the pools, autoscalers and metrics of a file.

    A file with a mistake changes nothing, and neither does one that changes what only a restart
    can. The control plane reads its own file again when it restarts or gets SIGHUP, so change
    that one too.
    """
    from navarch.config import document

    request = {"text": document.read_text(file), "source": str(file)}
    try:
        answer = session.call("ApplyConfig", request)
    except WireError as error:
        if error.code != "invalid_argument":
            raise
        for mistake in error.message.splitlines():
            output.note(mistake)
        click.get_current_context().exit(1)
    if output.for_programs(session.output):
        output.document({"changes": answer.get("changes", [])}, session.output)
        return
    for change in answer.get("changes", ()):
        output.line(str(change))
    if not answer.get("changes"):
        output.note(f"{file} says what {session.server} does already")


@config.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from navarch.config import json_schema

    output.document(json_schema.json_schema(), "json")
