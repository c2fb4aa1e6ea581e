"""Commands that a node's agent carries out, and what came of them.

Each is recorded at once and carried out when the agent polls; with ``--wait`` the journal is
followed until the result is there. Agents reset and reboot only where whoever runs them allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from navarch.cli import events, output
from navarch.cli.parameters import GPU
from navarch.cli.session import Json, Session, connected
from navarch.errors import WireError

RESULT = "command_finished"
"""The kind of fact that tells how a command goes on."""
PENDING = frozenset(["issued", "delivered", "running"])
"""States that a result follows."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands to an agent take."""
    for option in (
        click.option("--wait", is_flag=True, help="Wait for the result; exit 1 if it is not good."),
        click.option("--reason", default="", help="Why; recorded and shown by explain."),
    ):
        command = option(command)
    return command


@click.command("reset")
@click.argument("node")
@click.option("--gpu", type=GPU, metavar="INDEX|all", required=True, help="Which GPU to reset.")
@_options
@connected
def reset(session: Session, *, node: str, gpu: str, reason: str, wait: bool) -> None:
    """Reset a GPU of a node, or all. What runs there is lost: drain it first."""
    _issue(session, node, "gpu_reset", {"gpu": gpu}, reason=reason, wait=wait)


@click.command("reboot")
@click.argument("node")
@_options
@connected
def reboot(session: Session, *, node: str, reason: str, wait: bool) -> None:
    """Reboot a node. What runs there is lost: drain it first."""
    _issue(session, node, "reboot", {}, reason=reason, wait=wait)


@click.command("diagnose")
@click.argument("node")
@click.option(
    "--level",
    type=click.IntRange(1, 4),
    help="How thorough, as NVIDIA's diagnostic counts: 1 takes seconds, 3 a quarter of an hour."
    "  [default: the agent's own]",
)
@_options
@connected
def diagnose(session: Session, *, node: str, level: int | None, reason: str, wait: bool) -> None:
    """Have a node's agent run its diagnostic, or read its sensors if it has none."""
    parameters = {} if level is None else {"level": str(level)}
    _issue(session, node, "run_diagnostic", parameters, reason=reason, wait=wait)


def _issue(
    session: Session, node: str, kind: str, parameters: Json, *, reason: str, wait: bool
) -> None:
    """Record a command, and tell what came of it if that is waited for."""
    # Before it is recorded, so that its result cannot be missed.
    after_seq = _last_seq(session) if wait else 0
    request = {
        "nodeId": node,
        "commandType": f"NODE_COMMAND_TYPE_{kind.upper()}",
        "parameters": parameters,
        "reason": reason,
    }
    answer = session.call("IssueCommand", request)
    command_id = str(answer.get("commandId", "unknown"))
    for_programs = output.for_programs(session.output)
    if not for_programs:
        output.line(f"{node}: {kind} recorded as {command_id}")
    result = _awaited(session, node, command_id, after_seq) if wait else None
    if for_programs:
        output.document(answer if result is None else {**answer, "result": result}, session.output)
    elif result is not None:
        _tell(node, kind, result)
    if result is not None and result.get("state") != "succeeded":
        click.get_current_context().exit(1)


def _last_seq(session: Session) -> int:
    return int(session.call("ListEvents", {"limit": 1}).get("lastSeq", 0))


def _awaited(session: Session, node: str, command_id: str, after_seq: int) -> Json:
    """Follow the journal until a command has a result, and return that; commands expire.

    Its keys are ``state``, ``message`` and ``output``.
    """
    from navarch.cli import views

    for fact in events.followed(session, subject=node, after_seq=after_seq):
        if fact.get("kind") != RESULT:
            continue
        told = views.read(_payload(fact), views.ResultView)
        if told.command_id == command_id and told.state not in PENDING:
            return {"state": told.state, "message": told.message, "output": told.output}
    raise AssertionError("the journal is followed until the result is there")


def _payload(fact: Json) -> object:
    import json

    try:
        return json.loads(fact.get("payload", ""))
    except ValueError as error:
        raise WireError("internal", f"the server's answer is not understood: {error}") from error


def _tell(node: str, kind: str, result: Json) -> None:
    """Say how a command ended, and what its program printed."""
    message = f": {result['message']}" if result["message"] else ""
    output.line(f"{node}: {kind} {result['state']}{message}")
    for line in str(result["output"]).splitlines():
        output.line(f"  {line}")
