"""Commands about instances: the machines that we bought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from navarch.cli import clock, output
from navarch.cli.session import Json, Session, connected
from navarch.errors import WireError

if TYPE_CHECKING:
    from navarch.cli import views

STATES = ("provisioning", "pending_registration", "running", "terminating", "terminated", "failed")
COLUMNS = ("INSTANCE", "POOL", "STATE", "NODE", "CREATED")
LINES_SHOWN = 10
"""Lines of a start-up log that are shown unless all are asked for."""
WIDE = ("PROVIDER", "REGION", "ZONE", "TYPE", "PROVIDER ID", "BECAUSE")


@click.group("instance")
def instance() -> None:
    """Show the machines that we bought."""


@instance.command("list")
@click.option("--provider", default="", help="Only instances that this provider sells.")
@click.option("--region", default="", help="Only instances in this region.")
@click.option(
    "--state", type=click.Choice(STATES, case_sensitive=False), help="Only instances in this state."
)
@click.option("--pool", default="", help="Only instances of this pool.")
@connected
def list_instances(
    session: Session, provider: str, region: str, state: str | None, pool: str
) -> None:
    """List the instances."""
    request: dict[str, object] = {"provider": provider, "region": region, "poolName": pool}
    if state:
        request["state"] = f"INSTANCE_STATE_{state.upper()}"
    answer = session.all_pages("ListInstances", request, "instances")
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    found = views.read_each(answer, "instances", views.InstanceView)
    if not found:
        output.note(f"no instances at {session.server}")
        return
    _table(found, wide=session.output == "wide")


def _table(found: list[views.InstanceView], *, wide: bool) -> None:
    now = clock.now()
    rows = []
    for one in found:
        row = [one.instance_id, one.pool_name, one.state_word, one.node_id]
        row += [output.age(one.created_at, now)]
        if wide:
            row += [one.provider, one.region, one.zone, one.instance_type, one.provider_ref]
            row += [one.status_message]
        rows.append(row)
    output.table((*COLUMNS, *WIDE) if wide else COLUMNS, rows)


@instance.command("get")
@click.argument("instance_id", metavar="INSTANCE")
@click.option("--log", "whole", is_flag=True, help="Show all that is known of the start-up log.")
@connected
def get_instance(session: Session, instance_id: str, whole: bool) -> None:
    """Show one instance, and the end of what its start-up script told.

    The log is asked of the machine or its provider, which may take some seconds.
    """
    answer = session.call("GetInstance", {"instanceId": instance_id})
    if output.for_programs(session.output):
        told = _told(session, instance_id)
        output.document({**answer, "bootstrapLog": told}, session.output)
        return
    from navarch.cli import views

    one = views.read(answer.get("instance", {}), views.InstanceView)
    output.block(
        [
            ("Instance", one.instance_id),
            ("Pool", one.pool_name),
            ("State", one.state_word),
            ("Because", one.status_message),
            ("Node", one.node_id or "none: its agent has not registered"),
            ("Provider", one.provider),
            ("Provider id", one.provider_ref or "none: the provider has not told it"),
            ("Region", one.region),
            ("Zone", one.zone),
            ("Type", one.instance_type),
            ("Created", output.stamp(one.created_at)),
            ("Ready", output.stamp(one.ready_at)),
            ("Terminated", output.stamp(one.terminated_at)),
            ("Labels", ", ".join(f"{name}={text}" for name, text in sorted(one.labels.items()))),
        ]
    )
    _show_log(views.read(_told(session, instance_id), views.LogView), whole=whole)


def _told(session: Session, instance_id: str) -> Json:
    """Ask for the start-up log; a failure is a part of the answer, for the rest has been had."""
    try:
        return session.call("GetBootstrapLog", {"instanceId": instance_id})
    except WireError as error:
        return {"problem": str(error)}


def _show_log(log: views.LogView, *, whole: bool) -> None:
    """Write the log below the rest: its last lines, or all of them."""
    lines = log.text.splitlines()
    shown = lines if whole else lines[-LINES_SHOWN:]
    if lines:
        amount = f"{len(lines)} lines"
        if len(shown) < len(lines):
            amount = f"the last {len(shown)} of {amount}, --log shows all"
        output.line(f"Start-up log, from {log.source} at {output.stamp(log.read_at)}: {amount}")
    elif not log.problem:
        output.line("Start-up log: empty so far")
    if log.problem:
        output.line(f"Start-up log: cannot be read{' now' if lines else ''}: {log.problem}")
    for line in shown:
        output.line(f"  {line}")
