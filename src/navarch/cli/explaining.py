"""``explain``: why a node, an instance, a pool or a replica is as it is."""

from __future__ import annotations

import click

from navarch.cli import output
from navarch.cli.session import Json, Session, connected

KINDS = ("node", "instance", "pool", "agent-pool", "replica")


@click.command("explain")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("subject", metavar="ID")
@connected
def explain(session: Session, kind: str, subject: str) -> None:
    """Say why a node, an instance, a pool or a replica is as it is.

    The ID of a pool of agents is its name, or NAMESPACE/NAME.
    """
    if kind == "agent-pool" and "/" not in subject:
        subject = f"default/{subject}"
    word = kind.upper().replace("-", "_")
    request = {"kind": f"SUBJECT_KIND_{word}", "id": subject}
    answer = session.call("Explain", request)
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    show(answer)


def show(answer: Json, *, facts_max: int | None = None) -> None:
    """Write an explanation for people; of its facts the newest, all where `facts_max` is None."""
    from navarch.cli import views

    for line in answer.get("lines", ()):
        output.line(str(line))
    facts = views.read_each(answer, "facts", views.EventView)
    kept = facts if facts_max is None else facts[-facts_max:]
    if kept:
        output.line("")
    for view in kept:
        output.line(f"{view.seq:>6}  {output.stamp(view.at)}  {view.text or view.kind}")
