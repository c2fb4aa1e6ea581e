"""``guardrail``: texts are checked as agents' texts are, without any server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from navarch.cli import output
from navarch.cli.session import Json, output_format, output_option
from navarch.errors import ConfigError

if TYPE_CHECKING:
    from navarch.core.model.resources import AgentClass
    from navarch.plugins.guardrails.stream import Session
    from navarch.plugins.protocols import GuardrailResult

FILE = click.Path(path_type=Path, allow_dash=True)
FINDINGS = ("LINE", "COLUMN", "LENGTH", "TYPE", "SCORE")
BYTES_MAX = 64 << 20
"""A text to be checked: read whole."""


@click.group("guardrail")
def guardrail() -> None:
    """Try the checks of agents' texts."""


@guardrail.command("check")
@click.argument("file", type=FILE)
@click.option("--type", "types", multiple=True, help="A check to make; may be repeated."
              "  [default: pii-detection]")  # fmt: skip
@click.option("--agent-class", "document", type=FILE, help="A file with an AgentClass.")
@click.option("--name", default="", help="Which AgentClass of the file.  [default: the only one]")
@click.option("--redact", is_flag=True, help="Print the text as it may go on, and nothing else.")
@output_option
@click.pass_context
def check(
    context: click.Context,
    file: Path,
    types: tuple[str, ...],
    document: Path | None,
    name: str,
    *,
    redact: bool,
) -> None:
    """Look for what must not pass in FILE, or in what comes in for -.

    Exits with 1 when the text is blocked. What an agent class asks for is done; without one, checks
    redact with --redact, and only report without.
    """
    import asyncio

    text = _text(file)
    session, out, result = asyncio.run(
        _checked(_agent_class(context, types, document, name, redact=redact), text)
    )
    form = output_format(context)
    if redact and not output.for_programs(form):
        click.echo(out, nl=False)
        if result.action == "block":
            output.note(f"blocked: {result.reason}")
    elif output.for_programs(form):
        output.document(_told(session, text, out if redact else None, result), form)
    else:
        rows = [_row(text, finding) for finding in session.findings]
        output.table(FINDINGS, rows)
        output.line("")
        output.line(f"{result.action}: {result.reason or 'nothing found'}")
    context.exit(1 if result.action == "block" else 0)


async def _checked(one: AgentClass, text: str) -> tuple[Session, str, GuardrailResult]:
    from navarch.plugins.guardrails.engine import GuardrailEngine
    from navarch.plugins.protocols import GuardrailRequest

    engine = GuardrailEngine(one)
    session = engine.session(GuardrailRequest(content="", direction="input"))
    out = session.feed(text)
    result = await session.finish()
    return session, out + session.tail, result


def _agent_class(
    context: click.Context, types: tuple[str, ...], file: Path | None, name: str, *, redact: bool
) -> AgentClass:
    """Read the checks, or make those that --type names."""
    from navarch.core.model.resources import AgentClass, AgentClassSpec, GuardrailSpec, ObjectMeta

    if file is not None:
        if types:
            raise click.UsageError("give --type or --agent-class, not both")
        return _read(context, file, name)
    chosen = types or ("pii-detection",)
    action: Literal["redact", "warn"] = "redact" if redact else "warn"
    specs = tuple(GuardrailSpec(type=each, action=action) for each in chosen)
    return AgentClass(metadata=ObjectMeta(name="command"), spec=AgentClassSpec(guardrails=specs))


def _read(context: click.Context, file: Path, name: str) -> AgentClass:
    """Read one agent class of a file; end the command where the file has mistakes."""
    from navarch.core.model.resources import AgentClass
    from navarch.plugins.resources.reading import read_file

    found = read_file(file)
    for error in found.mistakes:
        output.mistake(error)
    if found.mistakes:
        context.exit(1)
    classes = [each for each in found.resources if isinstance(each, AgentClass)]
    chosen = [each for each in classes if name in {"", each.name, each.full_name}]
    if len(chosen) != 1:
        known = ", ".join(each.full_name for each in classes) or "none"
        what = f"one AgentClass {name!r}" if name else "one AgentClass, or --name"
        raise ConfigError(f"expected {what}; the file has: {known}", file=str(file))
    return chosen[0]


def _text(file: Path) -> str:
    import sys

    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with file.open("rb") as stream:
                content = stream.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from error
    if len(content) > BYTES_MAX:
        raise ConfigError(f"is larger than {BYTES_MAX >> 20} MiB", file=str(file))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8", file=str(file)) from error


def _place(text: str, start: int) -> tuple[int, int]:
    """Say line and column of a character, both from 1."""
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)


def _row(text: str, finding: tuple[int, int, str, float]) -> tuple[str, ...]:
    start, end, kind, score = finding
    line, column = _place(text, start)
    return str(line), str(column), str(end - start), kind, f"{score:.2f}"


def _told(session: Session, text: str, out: str | None, result: GuardrailResult) -> Json:
    findings = []
    for start, end, kind, score in session.findings:
        line, column = _place(text, start)
        findings.append(
            {"start": start, "end": end, "line": line, "column": column, "type": kind}
            | {"score": score}
        )
    return {
        "passed": result.passed,
        "action": result.action,
        "reason": result.reason,
        "scan": result.metadata.get("scan", ""),
        "findings": findings,
        "content": out,
    }
