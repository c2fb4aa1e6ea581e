"""Commands about pools: how many nodes are wanted, and whether anything has stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from navarch.cli import explaining, output
from navarch.cli.session import Json, Session, connected

if TYPE_CHECKING:
    from navarch.cli import views

COLUMNS = (
    *("POOL", "STATE", "TARGET", "CURRENT", "READY", "HEALTHY", "LOST", "BOOTING", "MIN", "MAX"),
)
WIDE = ("PROVIDERS", "REGION", "TYPE", "BECAUSE")
FACTS = 5
"""How many facts are shown behind a pool: what it wanted last, and what came of it."""


@click.group("pool")
def pool() -> None:
    """Show pools, and say how many nodes they want."""


@pool.command("list")
@connected
def list_pools(session: Session) -> None:
    """List the pools."""
    answer = session.call("ListPools", {})
    if output.for_programs(session.output):
        output.document({"pools": answer.get("pools", [])}, session.output)
        return
    from navarch.cli import views

    found = views.read_each(answer, "pools", views.PoolView)
    if not found:
        output.note(f"no pools at {session.server}")
        return
    _table(found, wide=session.output == "wide")


def _table(found: list[views.PoolView], *, wide: bool) -> None:
    rows = []
    for one in found:
        counts = [one.target_nodes, one.current_nodes, one.ready_nodes, one.healthy_nodes]
        counts += [one.lost_nodes, one.booting_nodes, one.min_nodes, one.max_nodes]
        row = [one.name, one.state_word, *map(str, counts)]
        if wide:
            row += [",".join(one.providers), one.region, one.instance_type, one.because]
        rows.append(row)
    output.table((*COLUMNS, *WIDE) if wide else COLUMNS, rows)


@pool.command("get")
@click.argument("name")
@connected
def get_pool(session: Session, name: str) -> None:
    """Show one pool: what it wants and why, what its autoscaler said, and what it cannot have."""
    answer = session.call("GetPool", {"poolName": name})
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    one = views.read(answer.get("pool", {}), views.PoolView)
    output.block(
        [
            ("Pool", one.name),
            ("State", one.state_word),
            ("Because", one.because),
            ("Target", f"{one.target_nodes} (from {one.min_nodes} to {one.max_nodes})"),
            ("Current", str(one.current_nodes)),
            ("Ready", str(one.ready_nodes)),
            ("Healthy", str(one.healthy_nodes)),
            ("Lost", str(one.lost_nodes)),
            ("Booting", str(one.booting_nodes)),
            ("Providers", ", ".join(one.providers)),
            ("Region", one.region),
            ("Zones", ", ".join(one.zones)),
            ("Type", one.instance_type),
            ("Labels", ", ".join(f"{name}={text}" for name, text in sorted(one.labels.items()))),
        ]
    )
    explanation = session.call("Explain", {"kind": "SUBJECT_KIND_POOL", "id": name})
    output.line("")
    explaining.show(explanation, facts_max=FACTS)


@pool.command("scale")
@click.argument("name")
@click.argument("nodes", type=click.IntRange(min=0))
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def scale_pool(session: Session, name: str, nodes: int, reason: str) -> None:
    """Set how many nodes a pool wants."""
    request = {"poolName": name, "targetNodes": nodes, "reason": reason}
    _tell(session, session.call("ScalePool", request))


@pool.command("pause")
@click.argument("name")
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def pause_pool(session: Session, name: str, reason: str) -> None:
    """Stop buying, repairing and scaling for a pool."""
    request = {"poolName": name, "paused": True, "reason": reason}
    _tell(session, session.call("PausePool", request))


@pool.command("resume")
@click.argument("name")
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def resume_pool(session: Session, name: str, reason: str) -> None:
    """Let a paused pool go on; acknowledge that repair has stopped.

    Repair that has stopped by itself then tries one node, and goes on if that helps.
    """
    request = {"poolName": name, "paused": False, "reason": reason}
    _tell(session, session.call("PausePool", request))


def _tell(session: Session, answer: Json) -> None:
    """Say how a pool is after it was changed."""
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    one = views.read(answer.get("pool", {}), views.PoolView)
    because = f": {one.because}" if one.because else ""
    output.line(
        f"{one.name}: {one.state_word.lower()}, target {one.target_nodes},"
        f" current {one.current_nodes}{because}"
    )
