"""The command ``leader``: which of several control planes leads, and how far the others are."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from navarch.cli import output
from navarch.cli.session import Json, Session, connected
from navarch.errors import WireError

COLUMNS: Final = ("SERVER", "ROLE", "SEQ", "LAG", "FOLLOWS", "LEADER")
PATIENCE: Final = timedelta(seconds=5)
"""How long one that is away may take: the others are to be shown soon."""


@click.command("leader")
@connected
def leader(session: Session) -> None:
    """Show which server leads, and how far behind the standbys are.

    The servers are those of -s or NAVARCH_SERVER. Ends with 1 unless exactly one leads.
    """
    session.timeout = min(session.timeout, PATIENCE)
    shown = [_asked(session, place) for place in range(len(session.addresses))]
    newest = max((int(each.get("seq", 0)) for each in shown), default=0)
    for each in shown:
        if "seq" in each:
            each["lag"] = newest - int(each["seq"])
    if output.for_programs(session.output):
        output.document({"servers": shown}, session.output)
    else:
        output.table(COLUMNS, [_row(each) for each in shown])
    _judge(shown)


def _asked(session: Session, place: int) -> Json:
    """Ask one server what it is; one that is away is shown as such."""
    client = session.servers.clients[place]
    try:
        _, standing = client.page("/leaderz")
    except WireError as error:
        return {"server": client.url, "role": "away", "problem": error.message}
    return {"server": client.url, **standing}


def _row(shown: Json) -> list[str]:
    """One line for people. How old a standby's knowledge is stands under FOLLOWS."""
    if shown["role"] == "away":
        return [shown["server"], "away", "", "", "", shown["problem"]]
    seconds = float(shown.get("behind_seconds", 0))
    follows = "" if shown["role"] == "leader" else f"{seconds:.1f}s ago"
    seq, lag = str(shown.get("seq", "")), str(shown.get("lag", ""))
    return [shown["server"], str(shown["role"]), seq, lag, follows, str(shown.get("leader", ""))]


def _judge(shown: list[Json]) -> None:
    """Warn of what a failover would bring to light, and fail unless exactly one leads."""
    keys = {str(each["node_key"]) for each in shown if each.get("node_key")}
    if len(keys) > 1:
        output.note(
            "the servers have different keys of node tokens: agents of one cannot speak to the "
            "other; give all the same node-tokens.key"
        )
    leaders = [each["server"] for each in shown if each["role"] == "leader"]
    if len(leaders) != 1:
        said = f"{' and '.join(leaders)} do" if leaders else "none does"
        raise WireError("unavailable", f"one server should lead, but {said}")
