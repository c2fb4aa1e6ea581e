"""Commands about the configuration file; only `apply` needs a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output, policies
from navarch.cli.session import Json, Session, connected, output_format, output_option
from navarch.errors import WireError

if TYPE_CHECKING:
    from navarch.config.load import Examination
    from navarch.policy import CheckReport

FILE = click.Path(path_type=Path)


@click.group("config")
def config() -> None:
    """Check, explain and apply the configuration file."""


@config.command("check")
@click.argument("file", type=FILE)
@output_option
@click.pass_context
def check(context: click.Context, file: Path) -> None:
    """Name every mistake in a configuration file and in the health policy that it names."""
    from navarch.config import load

    found = _with_providers(load.examine(file))
    judged = _policy_of(found)
    if output.for_programs(output_format(context)):
        policy = None if judged is None else _policy_document(judged)
        content = {
            "file": str(file),
            "faults": [policies.mistake(fault) for fault in found.faults],
            "warnings": [policies.mistake(warning) for warning in found.warnings],
            "policy": policy,
        }
        output.document(content, output_format(context))
        context.exit(1 if found.faults or (judged and judged[1].errors) else 0)
    for warning in found.warnings:
        output.note(f"warning: {warning}")
    _refuse_faults(context, found)
    assert found.config is not None
    if judged is not None:
        policies.tell(judged[0], judged[1].errors, judged[1].warnings)
        if judged[1].errors:
            context.exit(1)
    counts = f"{len(found.config.pools)} pools, {len(found.config.providers)} providers"
    output.line(f"{file}: no mistakes; {counts}")


def _with_providers(found: Examination) -> Examination:
    """Add what is wrong in a file and only providers can tell; none of them is asked anything."""
    from msgspec import structs

    from navarch.wiring import providers

    if found.config is None:
        return found
    faults = providers.faults(found.config, found.readings)
    if not faults:
        return found
    return structs.replace(found, config=None, faults=tuple(faults), warnings=())


def _policy_of(found: Examination) -> tuple[Path, CheckReport] | None:
    """Check the policy that a configuration names; None where there is none to check."""
    if found.config is None or found.config.server.health_policy is None:
        return None
    from navarch.policy import check_file

    path = found.config.server.health_policy
    return path, check_file(path)


def _policy_document(judged: tuple[Path, CheckReport]) -> Json:
    path, report = judged
    errors = [policies.mistake(error) for error in report.errors]
    return {"file": str(path), "faults": errors, "warnings": list(report.warnings)}


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
