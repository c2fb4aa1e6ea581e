"""The fleet on one plain screen: for scripts, and for terminals that cannot be drawn on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from navarch.cli import clock, output
from navarch.cli.session import Json, Session
from navarch.cli.top import shown
from navarch.cli.top.seen import LIVE, Link, Picture, line_of
from navarch.cli.views import EventView, PoolView, read_each

EVENTS = 10
"""The newest facts that are shown."""
NODES = 20
"""Nodes that are shown when nobody says how many: what is wrong comes first."""
POOL_COLUMNS = (*("POOL", "STATE", "TARGET", "ACTUAL", "READY", "BOOTING", "LOST", "BECAUSE"),)
NODE_COLUMNS = (*("NODE", "STATE", "POOL", "HEARD", "GPUS", "BECAUSE"),)


def show(session: Session, *, nodes_max: int, pool: str, words: str) -> None:
    """Print pools, nodes and the newest facts once.

    `nodes_max` is how many nodes; `pool` and `words` choose among them. Raises `WireError`.
    """
    pools = session.call("ListPools", {})
    nodes = session.all_pages("ListNodes", {}, "nodes")
    events = session.call("ListEvents", {"limit": EVENTS, "newestFirst": True})
    facts = list(reversed(events.get("events", [])))
    if output.for_programs(session.output):
        found = {"pools": pools.get("pools", []), "nodes": nodes["nodes"], "events": facts}
        output.document({**_head(session, events), **found}, session.output)
        return
    head = _head(session, events)
    link = Link(LIVE, head["server"], head["role"], int(head["seq"]))
    lines = [line for line in map(line_of, nodes["nodes"]) if line is not None]
    picture = Picture(
        link,
        read_each(pools, "pools", PoolView),
        lines,
        read_each({"events": facts}, "events", EventView),
        complete=True,
    )
    _print(picture, nodes_max=nodes_max, pool=pool, words=words, now=clock.now())


def _head(session: Session, events: Json) -> dict[str, Any]:
    chosen = session.servers.chosen
    role = "standby" if chosen.standby else "leader"
    return {"server": chosen.url, "role": role, "seq": str(events.get("lastSeq", "0"))}


def _print(picture: Picture, *, nodes_max: int, pool: str, words: str, now: datetime) -> None:
    output.line(f"navarch top  {shown.greeting(picture.link)}  {output.stamp(now)}")
    (total, _), *states = shown.summary(picture)
    output.line(f"{total} {', '.join(words for words, _ in states)}".rstrip())
    if picture.pools:
        click.echo()
        output.table(POOL_COLUMNS, [_pool(each) for each in picture.pools])
    kept = shown.chosen(picture.nodes, sort="what is wrong", pool=pool, words=words)
    if kept:
        click.echo()
        rows = [
            [
                *(line.node, shown.state_of(line.state), line.pool),
                *(shown.ago(line.heard, now), str(line.gpus), line.because),
            ]
            for line in kept[:nodes_max]
        ]
        output.table(NODE_COLUMNS, rows)
    if len(kept) > nodes_max:
        rest = ", ".join(f"{count:,} {word}" for word, count in shown.counted(kept[nodes_max:]))
        output.line(f"... and {len(kept) - nodes_max:,} more: {rest}; --nodes shows more of them")
    if picture.events:
        click.echo()
    for fact in picture.events:
        output.line(f"{fact.seq:>6}  {output.stamp(fact.at)}  {shown.said(fact)}")


def _pool(pool: PoolView) -> list[str]:
    counts = (pool.target_nodes, pool.current_nodes, pool.ready_nodes, pool.booting_nodes)
    words = [pool.name, shown.state_of(pool.state_word), *map(str, counts)]
    return [*words, str(pool.lost_nodes), pool.because]
