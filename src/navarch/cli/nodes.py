"""Commands about nodes: ``list``, ``get``, and what operators ask of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from navarch.cli import clock, output
from navarch.cli.session import Session, connected

if TYPE_CHECKING:
    from navarch.cli import views

STATUSES = ("active", "cordoned", "draining", "unhealthy", "lost", "terminated")
GIB = 1024**3

COLUMNS = ("NODE", "POOL", "STATUS", "HEALTH", "CONTACT", "INTENT", "GPUS", "LAST HEARTBEAT")
WIDE = ("PROVIDER", "REGION", "ZONE", "TYPE", "IP", "BECAUSE")


@click.command("list")
@click.option("--provider", default="", help="Only nodes that this provider sells.")
@click.option("--region", default="", help="Only nodes in this region.")
@click.option(
    "--status",
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only nodes of this status; unhealthy includes lost.",
)
@click.option("--pool", default="", help="Only nodes of this pool.")
@click.option("-a", "--all", "ended", is_flag=True, help="Also nodes that have ended.")
@connected
def list_nodes(
    session: Session,
    *,
    provider: str,
    region: str,
    status: str | None,
    pool: str,
    ended: bool,
) -> None:
    """List the nodes; ended ones only when asked for."""
    request: dict[str, object] = {"provider": provider, "region": region, "pool": pool}
    if status:
        wanted = "unhealthy" if status == "lost" else status
        request["status"] = f"NODE_STATUS_{wanted.upper()}"
    answer = session.all_pages("ListNodes", request, "nodes")
    if status == "lost":
        answer["nodes"] = [node for node in answer["nodes"] if node.get("contact") == "lost"]
    if not status and not ended:
        nodes_now = [node for node in answer["nodes"] if node.get("phase") != "terminated"]
        answer["nodes"] = nodes_now
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    nodes = views.read_each(answer, "nodes", views.NodeView)
    if not nodes:
        output.note(f"no nodes at {session.server}")
        return
    _table(nodes, wide=session.output == "wide")


def _table(nodes: list[views.NodeView], *, wide: bool) -> None:
    now = clock.now()
    rows = []
    for node in nodes:
        row = [node.node_id, node.pool, node.status_word, node.health_word, node.contact]
        row += [node.intent, str(len(node.gpus)), output.age(node.last_heartbeat, now)]
        if wide:
            row += [node.provider, node.region, node.zone, node.instance_type, node.address]
            row += [node.because]
        rows.append(row)
    output.table((*COLUMNS, *WIDE) if wide else COLUMNS, rows)


@click.command("get")
@click.argument("node")
@connected
def get_node(session: Session, node: str) -> None:
    """Show one node."""
    answer = session.call("GetNode", {"nodeId": node})
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    _describe(views.read(answer.get("node", {}), views.NodeView))


def _describe(node: views.NodeView) -> None:
    host = node.metadata
    output.block(
        [
            ("Node", node.node_id),
            ("Pool", node.pool or "none: it joined by itself"),
            ("Status", node.status_word),
            ("Because", node.because),
            ("Phase", node.phase),
            ("Health", node.health_word),
            ("Intent", node.intent),
            ("Contact", node.contact),
            ("Last heartbeat", _heartbeat(node)),
            ("Provider", node.provider),
            ("Region", node.region),
            ("Zone", node.zone),
            ("Type", node.instance_type),
            ("Host name", host.hostname),
            ("Internal IP", host.internal_ip),
            ("External IP", host.external_ip),
            ("Kernel", host.kernel_version),
            ("Labels", ", ".join(f"{name}={text}" for name, text in sorted(host.labels.items()))),
            ("GPUs", str(len(node.gpus)) if node.gpus else "none seen"),
        ]
    )
    if node.gpus:
        click.echo()
        rows = [
            (str(gpu.index), gpu.name, _memory(gpu), gpu.uuid, gpu.pci_bus_id, gpu.driver_version)
            for gpu in node.gpus
        ]
        output.table(("GPU", "NAME", "MEMORY", "UUID", "PCI BUS", "DRIVER"), rows)


def _heartbeat(node: views.NodeView) -> str:
    if node.last_heartbeat is None:
        return "none since the control plane started"
    return f"{output.age(node.last_heartbeat, clock.now())} ({output.stamp(node.last_heartbeat)})"


def _memory(gpu: views.GpuView) -> str:
    return f"{gpu.memory_total / GIB:.0f} GiB" if gpu.memory_total else ""


def _asking(name: str, doc: str) -> click.Command:
    """Make the command that asks a node for `name`."""

    @click.command(name, help=doc)
    @click.argument("node")
    @click.option("--reason", default="", help="Why; recorded and shown by explain.")
    @connected
    def ask(session: Session, node: str, reason: str) -> None:
        kind = f"NODE_COMMAND_TYPE_{name.upper()}"
        request = {"nodeId": node, "commandType": kind, "reason": reason}
        answer = session.call("IssueCommand", request)
        if output.for_programs(session.output):
            output.document(answer, session.output)
        else:
            output.line(f"{node}: {name} recorded as {answer.get('commandId', 'unknown')}")

    return ask


cordon = _asking("cordon", "Let a node take no new work; what runs there stays.")
uncordon = _asking("uncordon", "Let a node take work again.")
drain = _asking("drain", "Move the work away from a node.")
terminate = _asking("terminate", "Stop a node for good and give its machine back.")


@click.command("clear")
@click.argument("node")
@click.option("--reason", default="", help="Why; recorded and shown by explain.")
@connected
def clear(session: Session, node: str, reason: str) -> None:
    """Set aside everything that stands against a node's health.

    For a node that was put right by hand. What its next reports say counts again.
    """
    answer = session.call("ClearHealth", {"nodeId": node, "reason": reason})
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    from navarch.cli import views

    now = views.read(answer.get("node", {}), views.NodeView)
    because = f": {now.because}" if now.because else ""
    output.line(f"{node}: cleared; {now.status_word.lower()}, {now.health_word.lower()}{because}")
