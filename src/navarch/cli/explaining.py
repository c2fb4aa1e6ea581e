"""``explain``: why a node, an instance or a pool is as it is."""

from __future__ import annotations

import click

from navarch.cli import output
from navarch.cli.session import Session, connected

KINDS = ("node", "instance", "pool")


@click.command("explain")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("subject", metavar="ID")
@connected
def explain(session: Session, kind: str, subject: str) -> None:
    """Say why a node, an instance or a pool is as it is."""
    request = {"kind": f"SUBJECT_KIND_{kind.upper()}", "id": subject}
    answer = session.call("Explain", request)
    if output.for_programs(session.output):
        output.document(answer, session.output)
        return
    for line in answer.get("lines", ()):
        output.line(str(line))
    facts = answer.get("facts", ())
    if facts:
        from navarch.cli import views

        output.line("")
        for fact in facts:
            view = views.read(fact, views.EventView)
            output.line(f"{view.seq:>6}  {output.stamp(view.at)}  {view.text or view.kind}")
