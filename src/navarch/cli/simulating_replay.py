"""``simulate replay``: a fleet as it was at any fact of a journal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output
from navarch.cli.session import Json, output_format, output_option

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from navarch.core.model.fleet import Fleet
    from navarch.core.model.instance import Instance
    from navarch.core.model.node import Node
    from navarch.simulator.replay import Replayed

NODES = ("NODE", "POOL", "STATUS", "HEALTH", "CONTACT", "INTENT", "BECAUSE")
INSTANCES = ("INSTANCE", "POOL", "STATE", "PROVIDER", "TYPE", "BECAUSE")
POOLS = ("POOL", "TARGET", "MACHINES", "SERVING", "MIN", "MAX", "BECAUSE")
FACTS_SHOWN = 50
"""Facts behind an explanation, as in `navarch explain`."""


class Moment(click.ParamType[datetime]):
    """A time as ISO 8601 has it; UTC where it says no zone."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it, or end the program with a usage error."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            message = f"{value!r} is no time, expected one such as 2026-01-01T00:05:00"
            self.fail(message, param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


@click.command("replay")
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--until", type=click.IntRange(min=0), help="The last fact to fold.  [default: all]")
@click.option("--at", type=Moment(), help="The time up to which facts are folded.")
@click.option(
    "--explain",
    type=(click.Choice(("node", "instance", "pool")), str),
    metavar="KIND ID",
    help="Say why a node, an instance or a pool is as it is then.",
)
@output_option
@click.pass_context
def replay(
    context: click.Context,
    *,
    journal: Path,
    until: int | None,
    at: datetime | None,
    explain: tuple[str, str] | None,
) -> None:
    """Show the fleet as it was at a fact of a journal, and check the journal up to there.

    JOURNAL is journal.jsonl of a simulated run, the SQLite file of a control plane, which may be
    running, or the folder of either.
    """
    from navarch.simulator import replay as replaying

    replayed = replaying.replay(journal, until=until, at=at)
    form = output_format(context)
    if explain is not None:
        _explain(replayed, *explain, form=form)
    elif output.for_programs(form):
        output.document(_document(replayed), form)
    else:
        _show(replayed)


def _explain(replayed: Replayed, kind: str, id_: str, *, form: str) -> None:
    from navarch.core.model.sightings import Sightings
    from navarch.core.settings import Settings
    from navarch.simulator import replay as replaying
    from navarch.simulator import telling
    from navarch.simulator.timeline import EPOCH

    now = replayed.at or EPOCH
    lines = list(telling.explained(replayed.fleet, Sightings(), Settings(), now, kind, id_))
    facts = replaying.facts_about(replayed.journal, id_, until=replayed.seq, most=FACTS_SHOWN)
    if output.for_programs(form):
        from navarch.core.sentences import sentence

        content = {
            "lines": lines,
            "facts": [
                {"seq": seq, "at": fact.at.isoformat(), "text": sentence(fact)}
                for seq, fact in facts
            ],
        }
        output.document(content, form)
        return
    from navarch.core.sentences import sentence

    for line in lines:
        output.line(line)
    output.line("")
    for seq, fact in facts:
        output.line(f"{seq:>6}  {output.stamp(fact.at)}  {sentence(fact)}")


def _show(replayed: Replayed) -> None:
    from navarch.simulator import telling

    fleet = replayed.fleet
    pools = []
    for pool in fleet.pools.values():
        nodes = [fleet.node_of(each) for each in fleet.instances_of(pool.name)]
        serving = sum(node is not None and node.serving for node in nodes)
        numbers = (pool.target, len(nodes), serving, pool.spec.min_nodes, pool.spec.max_nodes)
        pools.append((pool.name, *map(str, numbers), pool.target_because))
    _table(POOLS, pools)
    live = [each for each in fleet.instances.values() if not each.ended]
    _table(
        INSTANCES,
        [
            (each.id, each.pool, each.state.value, each.provider, each.instance_type, each.because)
            for each in live
        ],
    )
    there = [node for node in fleet.nodes.values() if not node.over]
    _table(
        NODES,
        [
            (
                *(node.id, node.pool, node.status.value, node.health.value),
                *(node.contact.value, node.intent.value, node.because),
            )
            for node in there
        ],
    )
    counts = telling.counts(fleet)
    output.block(
        (
            ("journal", str(replayed.journal)),
            ("fleet", fleet.tag),
            ("fact", f"{replayed.seq:,}"),
            ("time", output.stamp(replayed.at)),
            ("folded", f"{replayed.facts:,} facts from {replayed.first:,}"),
            ("snapshots", f"{replayed.snapshots} on the way, all agree"),
            ("nodes", telling.counted(counts["nodes"])),
            ("instances", telling.counted(counts["instances"])),
        )
    )


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        output.table(headers, rows)
        output.line("")


def _document(replayed: Replayed) -> Json:
    from navarch.simulator import telling
    from navarch.wire import answers

    fleet = replayed.fleet
    return {
        "fleet": fleet.tag,
        "seq": replayed.seq,
        "at": None if replayed.at is None else replayed.at.isoformat(),
        "facts": replayed.facts,
        "firstSeq": replayed.first,
        "lastSeq": replayed.last,
        "snapshotsAgreed": replayed.snapshots,
        "counts": telling.counts(fleet),
        "pools": [
            _json(answers.pool_info(pool, _members(fleet, pool.name)))
            for pool in fleet.pools.values()
        ],
        "instances": [_json(answers.instance_info(each)) for each in fleet.instances.values()],
        "nodes": [_json(answers.node_info(node, None)) for node in fleet.nodes.values()],
    }


def _members(fleet: Fleet, pool: str) -> Iterator[tuple[Instance, Node | None]]:
    return ((each, fleet.node_of(each)) for each in fleet.instances_of(pool))


def _json(message: Message) -> Json:
    from google.protobuf import json_format

    return json_format.MessageToDict(message)
