"""What is shown of a fleet: columns, their order and width, what stands first, and in which colour.

Nothing here draws. Colour never stands alone: each state has a word, and a sign before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final, Generic, TypeVar

from navarch.cli.output import plain
from navarch.cli.top.seen import Link, NodeLine, Picture, rank_of
from navarch.cli.views import EventView, PoolView

Line = TypeVar("Line")

COLOURS: Final = {
    "LOST": "bold red",
    "UNHEALTHY": "bold red",
    "DEGRADED": "bold yellow",
    "UNKNOWN": "magenta",
    "TERMINATING": "magenta",
    "DRAINING": "cyan",
    "CORDONED": "blue",
    "ACTIVE": "green",
    "PAUSED": "bold yellow",
    "REPAIR-PAUSED": "bold red",
}
"""By state; one that is not here has none. The sixteen colours of every terminal."""

SIGNS: Final = {
    **dict.fromkeys(("LOST", "UNHEALTHY", "REPAIR-PAUSED"), "!! "),
    **dict.fromkeys(("DEGRADED", "PAUSED"), "! "),
    **dict.fromkeys(("UNKNOWN", "TERMINATING", "DRAINING", "CORDONED"), "- "),
}
"""What stands before the word for a state; nothing where all is well."""

GAP: Final = 2
"""Blanks between two columns."""

SHARE: Final = 0.33
"""What part of a table its last column has at least, where nothing else is said."""

LOOKED_AT: Final = 300
"""Lines by which the widths of columns are chosen."""


@dataclass(frozen=True)
class Column(Generic[Line]):
    """One column of a table."""

    name: str
    text: Callable[[Line], str]
    """What stands in it."""
    width_max: int
    """Longer texts are cut."""
    need: int
    """Columns of the highest need go first where there is no room; 0: it stays."""
    right: bool = False
    """Whether numbers stand below numbers."""
    colour: Callable[[Line], str] | None = None
    moment: Callable[[Line], datetime | None] | None = None
    """Where it shows how long ago something was: when; `text` is not asked then."""

    def words(self, line: Line, now: datetime) -> str:
        """What stands in it at a time."""
        return self.text(line) if self.moment is None else ago(self.moment(line), now)


@dataclass(frozen=True)
class Placed(Generic[Line]):
    """A column with its width."""

    column: Column[Line]
    width: int


def ago(moment: datetime | None, now: datetime) -> str:
    """Say how long ago a time was, in at most four signs; empty without a time."""
    if moment is None:
        return ""
    seconds = max(int((now - moment).total_seconds()), 0)
    for unit, length, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{seconds // length}{unit}"
    return f"{min(seconds // 86400, 999)}d"


def state_of(word: str) -> str:
    """Return the word for a state with its sign."""
    return f"{SIGNS.get(word, '')}{word}"


def colour_of(word: str) -> str:
    """Return the colour of a state as rich knows it; empty for none."""
    return COLOURS.get(word, "")


NODE_COLUMNS: Final[tuple[Column[NodeLine], ...]] = (
    Column("NODE", attrgetter("node"), 36, 0),
    Column(
        *("STATE", lambda line: state_of(line.state), 14, 0),
        colour=lambda line: colour_of(line.state),
    ),
    Column("POOL", attrgetter("pool"), 20, 1),
    Column("HEARD", attrgetter("node"), 5, 2, right=True, moment=attrgetter("heard")),
    Column(
        *("HEALTH", attrgetter("health"), 9, 6),
        colour=lambda line: "" if line.health == "HEALTHY" else colour_of(line.health),
    ),
    Column("CONTACT", attrgetter("contact"), 9, 7),
    Column("INTENT", attrgetter("intent"), 10, 5),
    Column("GPUS", lambda line: str(line.gpus), 4, 3, right=True),
    Column("PROVIDER", attrgetter("provider"), 12, 8),
    Column("PLACE", attrgetter("place"), 24, 9),
    Column("TYPE", attrgetter("kind"), 20, 10),
    Column("BECAUSE", attrgetter("because"), 400, 0),
)
"""The last one gets the room that is left."""


def _number(name: str, text: Callable[[PoolView], int], need: int) -> Column[PoolView]:
    return Column(name, lambda pool: str(text(pool)), 7, need, right=True)


POOL_COLUMNS: Final[tuple[Column[PoolView], ...]] = (
    Column("POOL", lambda pool: pool.name, 24, 0),
    Column(
        *("STATE", lambda pool: state_of(pool.state_word), 16, 0),
        colour=lambda pool: colour_of(pool.state_word),
    ),
    _number("TARGET", lambda pool: pool.target_nodes, 0),
    _number("ACTUAL", lambda pool: pool.current_nodes, 0),
    _number("READY", lambda pool: pool.ready_nodes, 1),
    _number("BOOTING", lambda pool: pool.booting_nodes, 1),
    Column(
        *("LOST", lambda pool: str(pool.lost_nodes), 7, 1),
        right=True,
        colour=lambda pool: "bold red" if pool.lost_nodes else "",
    ),
    Column("RANGE", lambda pool: f"{pool.min_nodes}-{pool.max_nodes}", 11, 3, right=True),
    Column("BECAUSE", lambda pool: pool.because, 400, 0),
)


def said(fact: EventView) -> str:
    """Say a fact and its reason; most sentences hold their reason already."""
    text = fact.text or fact.kind
    return text if fact.because in text else f"{text} (because {fact.because})"


EVENT_COLUMNS: Final[tuple[Column[EventView], ...]] = (
    Column("SEQ", lambda fact: str(fact.seq), 10, 2, right=True),
    Column(
        "AT",
        lambda fact: "" if fact.at is None else f"{fact.at.astimezone(UTC):%H:%M:%S}",
        8,
        0,
    ),
    Column("KIND", lambda fact: fact.kind, 22, 3),
    Column("WHAT", said, 600, 0),
)


def placed(
    columns: Sequence[Column[Line]],
    lines: Sequence[Line],
    now: datetime,
    width: int,
    *,
    share: float = SHARE,
) -> list[Placed[Line]]:
    """Choose columns and their widths for `lines`, in a table of `width` signs.

    A column is as wide as its widest text; the last one takes what is left. Columns go, those of
    the highest need first, until the last one has its `share` of the table. Of many lines some are
    looked at, so that the cost does not grow with the fleet.
    """
    looked_at = lines[:: max(len(lines) // LOOKED_AT, 1)]
    widths = {
        column.name: min(
            max([len(column.name), *(len(column.words(line, now)) for line in looked_at)]),
            column.width_max,
        )
        for column in columns[:-1]
    }
    kept = list(columns[:-1])
    room_wanted = max(int(width * share), 16)
    while sum(widths[each.name] + GAP for each in kept) > width - room_wanted:
        droppable = [each for each in kept if each.need]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda each: each.need))
    used = sum(widths[each.name] + GAP for each in kept)
    last = Placed(columns[-1], max(width - used, 8))
    return [*(Placed(each, widths[each.name]) for each in kept), last]


def cell(text: str, width: int, *, right: bool = False) -> str:
    """Bring a stranger's text to a width, cut with a sign that says so."""
    text = plain(text)
    if len(text) > width:
        return text[: width - 1] + "…" if width > 1 else text[:width]
    return text.rjust(width) if right else text.ljust(width)


# ---- what stands first, and what not at all

SORTS: Final[dict[str, Callable[[NodeLine], tuple[object, ...]]]] = {
    "what is wrong": lambda line: (line.rank, line.pool, line.node),
    "node": lambda line: (line.node,),
    "pool": lambda line: (line.pool, line.rank, line.node),
    "silence": lambda line: (-1.0 if line.heard is None else line.heard.timestamp(), line.node),
    "gpus": lambda line: (-line.gpus, line.node),
}
"""By what lines can be sorted; the first one is how it begins."""


def chosen(
    nodes: Iterable[NodeLine], *, sort: str, pool: str = "", words: str = ""
) -> list[NodeLine]:
    """Return the lines of one pool that hold every word, sorted. Cost: O(nodes log nodes)."""
    wanted = words.lower().split()
    kept = (line for line in nodes if not pool or line.pool == pool)
    if wanted:
        kept = (line for line in kept if all(word in _searched(line) for word in wanted))
    return sorted(kept, key=SORTS[sort])


def _searched(line: NodeLine) -> str:
    """All that typing looks through."""
    parts = (line.node, line.state, line.pool, line.health, line.contact, line.intent)
    return " ".join((*parts, line.provider, line.place, line.kind, line.because)).lower()


def counted(nodes: Iterable[NodeLine]) -> list[tuple[str, int]]:
    """Return how many nodes are in each state, what is wrong first."""
    counts = Counter(line.state for line in nodes)
    return sorted(counts.items(), key=lambda pair: (rank_of(pair[0]), pair[0]))


def summary(picture: Picture) -> list[tuple[str, str]]:
    """Say how many nodes there are, and in which states: phrases, each with its colour."""
    total = f"{len(picture.nodes):,} {'node' if len(picture.nodes) == 1 else 'nodes'}"
    if not picture.complete:
        total += " so far"
    gpus = sum(line.gpus for line in picture.nodes)
    counts = counted(picture.nodes)
    states = [(f"{count:,} {word.lower()}", colour_of(word)) for word, count in counts]
    return [(f"{total}, {gpus:,} GPUs{':' if states else ''}", ""), *states]


def greeting(link: Link) -> str:
    """Say who answers."""
    parts = [link.server, link.role, f"seq {link.seq}" if link.seq else ""]
    return "  ".join(part for part in parts if part)
