"""The journal, read and followed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from navarch.cli import clock, output
from navarch.cli.parameters import MOMENT
from navarch.cli.session import PAGE_SIZE, Json, Session, connected
from navarch.errors import WireError

if TYPE_CHECKING:
    from navarch.cli import views

LIMIT = 50
"""Facts shown when nobody says how many: about a screen."""
RETRY_FIRST = timedelta(milliseconds=250)
RETRY_MAX = timedelta(seconds=5)
"""The longest wait between attempts to reach a server that went away."""
PASSING = frozenset(["unavailable", "deadline_exceeded", "aborted", "resource_exhausted"])
"""Codes that the same request may not get again: a server that restarts, a proxy before it."""


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Then print facts as they are recorded.")
@click.option("--since", type=MOMENT, help="Only facts since then: 10m, or an RFC 3339 time.")
@click.option("--subject", default="", help="Only facts about this node, instance or pool.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="At most so many.  [default: 50; all with --since]"
)
@connected
def show_events(
    session: Session, *, follow: bool, since: datetime | None, subject: str, limit: int | None
) -> None:
    """Print facts from the journal, the oldest first.

    The newest 50 unless told otherwise. With --follow, JSON is one document a line.
    """
    if since is None:
        recorded, last_seq = _newest(session, subject=subject, limit=limit or LIMIT)
    else:
        recorded, last_seq = _since(session, subject=subject, since=since, limit=limit)
    if follow:
        _print_each(session, recorded)
        _print_each(session, followed(session, subject=subject, after_seq=last_seq))
    elif output.for_programs(session.output):
        output.document({"events": recorded, "lastSeq": str(last_seq)}, session.output)
    elif recorded:
        _print_each(session, recorded)
    else:
        output.note(f"no such facts at {session.server}")


def _newest(session: Session, *, subject: str, limit: int) -> tuple[list[Json], int]:
    """Fetch the newest facts, the oldest of them first, and the journal's last number."""
    if limit > PAGE_SIZE:
        message = f"at most {PAGE_SIZE}, or say --since to read more"
        raise click.BadParameter(message, param_hint="'--limit'")
    request = {"subject": subject, "limit": limit, "newestFirst": True}
    answer = session.call("ListEvents", request)
    return list(reversed(answer.get("events", []))), int(answer.get("lastSeq", 0))


def _since(
    session: Session, *, subject: str, since: datetime, limit: int | None
) -> tuple[list[Json], int]:
    """Fetch the facts since a time, page by page, and the number from which to follow."""
    found: list[Json] = []
    after_seq = 0
    while True:
        wanted = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        request = {"subject": subject, "since": since.isoformat(), "limit": wanted}
        answer = session.call("ListEvents", {**request, "afterSeq": str(after_seq)})
        page = answer.get("events", [])
        found.extend(page)
        if limit is not None and len(found) >= limit:
            return found, int(found[-1].get("seq", 0))
        if len(page) < wanted:
            return found, int(answer.get("lastSeq", 0))
        after_seq = int(page[-1].get("seq", 0))


def followed(session: Session, *, subject: str, after_seq: int) -> Iterator[Json]:
    """Yield each fact after `after_seq` as it is recorded, forever, across server restarts."""
    retry = RETRY_FIRST
    told = False
    while True:
        try:
            after_seq = _rewound(session, after_seq)
            request = {"subject": subject, "afterSeq": str(after_seq)}
            if told:
                output.note(f"reached {session.server} again")
            told, retry = False, RETRY_FIRST
            for message in session.stream("WatchEvents", request):
                fact = message.get("event", {})
                after_seq = int(fact.get("seq", after_seq))
                yield fact
        except WireError as error:
            if error.code not in PASSING:
                raise
            if not told:
                output.note(f"{error.message}; waiting for it to come back")
                told = True
        clock.wait(retry)
        retry = min(retry * 2, RETRY_MAX)


def _rewound(session: Session, after_seq: int) -> int:
    """Return where to go on: at the start when the journal is shorter than what was read.

    A server that comes back with another journal (its data were removed, or kept in memory) would
    otherwise stay silent until it has caught up.
    """
    last_seq = int(session.call("ListEvents", {"limit": 1}).get("lastSeq", 0))
    if last_seq >= after_seq or session.servers.chosen.standby:  # a standby may be a little behind
        return after_seq
    output.note("the journal is another one than before; reading it from its start")
    return 0


def _print_each(session: Session, facts: Iterator[Json] | list[Json]) -> None:
    """Print each fact at once: on a line for people, as a document for programs."""
    import json

    from navarch.cli import views

    for fact in facts:
        if session.output == "json":
            click.echo(json.dumps(fact, ensure_ascii=False))
        elif session.output == "yaml":
            click.echo("---")
            output.document(fact, "yaml")
        else:
            _print_line(views.read(fact, views.EventView), wide=session.output == "wide")


def _print_line(fact: views.EventView, *, wide: bool) -> None:
    subjects = f"{','.join(fact.subjects)}  " if wide else ""
    text = fact.text or fact.kind
    # Most sentences hold their reason already.
    because = f" (because {fact.because})" if fact.because not in text else ""
    output.line(
        f"{fact.seq:>6}  {output.stamp(fact.at)}  {fact.kind:<22}  {subjects}{text}{because}"
    )
