"""The live stream: what changes in the fleet, told to everybody who looks at it.

What is told is made once, however many look: at most four times a second while facts come, and not
at all while nobody looks. Each viewer has a queue with a bound. Who reads too slowly for it is cut
off; the browser calls again by itself, and begins with a fresh view.

Messages are Server-Sent Events (HTML Living Standard, 9.2; read November 2026), each with one line
of JSON: ``hello`` once, then ``nodes``, ``pools``, ``facts`` and ``tick``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from google.protobuf import json_format
from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.sentences import sentence
from navarch.dashboard.rows import Row, Rows
from navarch.dashboard.seen import Seen
from navarch.errors import NavarchError
from navarch.stores.base import Recorded
from navarch.telemetry.log import Log
from navarch.wire import answers
from navarch.wire.limits import LimitExceeded

log = Log(__name__)

VIEWERS_MAX: Final = 200
"""Streams at one time: each is a connection that stays."""
VIEWERS_OF_ONE_MAX: Final = 50
"""Streams of one caller: one person's tabs must not take every place."""
QUEUE_BYTES_MAX: Final = 2 * 1024 * 1024
"""What may wait for one viewer."""
EVERY: Final = 0.25
"""Seconds between two messages about nodes, at least."""
TICK_EVERY: Final = 5.0
"""Seconds after which something is sent in any case: proxies cut silent connections."""
POOLS_EVERY: Final = 1.0
"""Seconds between two looks at all pools, at least."""
POOLS_SHARE: Final = 50.0
"""How many times longer than a look at all pools took nobody looks again: 2 % of the time."""
FACTS_MAX: Final = 200
"""Facts in one message, the newest ones."""
ROWS_MAX: Final = 2_000
"""Rows in one message; where more have changed, viewers fetch the whole view."""


class FactRow(Struct, frozen=True):
    """A fact, as pages show it."""

    seq: int
    at: datetime
    kind: str
    subjects: Sequence[str]
    pages: Sequence[str]
    """For each subject which page shows it: ``nodes``, ``pools``, ``serving``, or none."""
    text: str
    """The fact in one sentence."""
    because: str
    """The reason; empty for what was merely observed."""


def fact_row(recorded: Recorded) -> FactRow:
    """Write a fact for pages."""
    event = recorded.event
    because = getattr(event, "because", "")
    subjects = ev.subjects(event)
    return FactRow(
        recorded.seq,
        event.at,
        ev.kind(event),
        subjects,
        [_page_of(event, subject) for subject in subjects],
        sentence(event),
        because if isinstance(because, str) else "",
    )


def _page_of(event: ev.Event, subject: str) -> str:
    """Which page shows a subject of a fact; empty: none does."""
    if isinstance(event, ev.RecordsForgotten):
        return ""
    if isinstance(event, ev.PoolConfigured) or getattr(event, "pool", None) == subject:
        return "pools"
    if subject in (getattr(event, "node_id", None), getattr(event, "instance_id", None)):
        return "nodes"
    served = (getattr(event, "replica_id", None), getattr(event, "agent_pool", None))
    return "serving" if subject in served else ""


def pool_rows(fleet: Fleet) -> dict[str, dict[str, object]]:
    """Every pool as ``PoolInfo`` has it, in snake_case. Cost: O(pools + instances)."""
    told: dict[str, dict[str, object]] = {}
    for name, pool in sorted(fleet.pools.items()):
        members = ((each, fleet.node_of(each)) for each in fleet.instances_of(name))
        told[name] = json_format.MessageToDict(
            answers.pool_info(pool, members),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    return told


def message(kind: str, content: object) -> bytes:
    """Write one message of a stream. JSON has no line breaks of its own."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(content))


class Viewer:
    """One who looks, and what waits for him."""

    def __init__(self, name: str) -> None:
        """Begin with nothing waiting. `name` says who it is, for the bound of one."""
        self.name = name
        self._waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        """How much waits."""
        self._more = asyncio.Event()
        self.cut = False
        """Whether too much waited: then nothing more comes."""

    def put(self, told: bytes) -> None:
        """Have this sent; where too much waits, nothing is any more."""
        if self.cut:
            return
        self.waiting_bytes += len(told)
        if self.waiting_bytes > QUEUE_BYTES_MAX:
            self.cut = True
            self._waiting.clear()
            self.waiting_bytes = 0
        else:
            self._waiting.append(told)
        self._more.set()

    def end(self) -> None:
        """Have nothing more sent."""
        self.cut = True
        self._more.set()

    async def take(self) -> bytes | None:
        """Wait for what is to be sent, all of it at once; None: nothing comes any more."""
        await self._more.wait()
        self._more.clear()
        if self.cut:
            return None
        told = b"".join(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0
        return told


class Hub:
    """Tells all viewers what changes."""

    def __init__(self, seen: Callable[[], Seen]) -> None:
        """Look at the fleet by `seen`, while anybody looks."""
        self._seen = seen
        self._viewers: set[Viewer] = set()
        self._running: asyncio.Task[None] | None = None
        self._rows: Rows | None = None
        self._pools: dict[str, dict[str, object]] = {}
        self._pools_due = 0.0
        self._seq = 0
        self._cut = 0

    def __len__(self) -> int:
        """How many look."""
        return len(self._viewers)

    @property
    def cut(self) -> int:
        """How many were cut off since the start, for they read too slowly."""
        return self._cut

    def rows(self) -> Rows:
        """Every machine as a row, as it is now; viewers are told what has changed since.

        Ask when the fleet is settled. Cost: O(what has changed).
        """
        seen = self._seen()
        rows, other = self._rows, False
        if rows is None or rows.fleet is not seen.fleet:
            other = rows is not None
            rows = self._rows = Rows(seen.fleet)
        if not self._viewers:  # then nobody has read facts, and noted whom they are about
            rows.note_all()
        self._tell_rows(seen, rows, other=other)
        return rows

    def join(self, name: str) -> Viewer:
        """Have one more look. Raises `WireError` when too many do."""
        of_one = sum(each.name == name for each in self._viewers)
        if len(self._viewers) >= VIEWERS_MAX or of_one >= VIEWERS_OF_ONE_MAX:
            text = f"{len(self._viewers)} pages look at this control plane: close some"
            raise LimitExceeded("viewers", text, code="resource_exhausted")
        viewer = Viewer(name)
        if self._running is None or self._running.done():
            self._begin()
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Have one look no more."""
        self._viewers.discard(viewer)
        if viewer.cut:
            self._cut += 1
        if not self._viewers and self._running is not None:
            self._running.cancel()
            self._running = None

    async def close(self) -> None:
        """End all streams."""
        for viewer in self._viewers:
            viewer.end()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    # --- telling -------------------------------------------------------------------------

    def _begin(self) -> None:
        seen = self._seen()
        self._seq = seen.seq
        self._pools = {}
        self._pools_due = 0.0
        if self._rows is not None:
            self._rows.note_all()
        self._running = asyncio.create_task(self._run(), name="dashboard")

    async def _run(self) -> None:
        """Tell what changes until nobody looks."""
        try:
            while self._viewers:
                before = self._seen()
                assert before.control_plane is not None, "a stream is of a running control plane"
                runtime = before.control_plane.runtime
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_EVERY):
                        await runtime.wait_appended(self._seq)
                await self._tell_facts()
                await runtime.settled()
                seen = self._seen()
                self.rows()
                self._tell_pools(seen)
                self._tell("tick", {"seq": seen.seq, "now": seen.now, "standing": seen.standing})
                await asyncio.sleep(EVERY)
        except NavarchError as error:
            log.warning("streams_ended", error=str(error))
        finally:
            for viewer in self._viewers:  # they call again, and find out what is the matter
                viewer.end()

    async def _tell_facts(self) -> None:
        seen = self._seen()
        self._seq = min(self._seq, seen.seq)
        if seen.seq == self._seq:
            return
        recorded = await seen.journal.read(after=self._seq, limit=FACTS_MAX + 1)
        left_out = 0
        if len(recorded) > FACTS_MAX:
            newest = await seen.journal.read(after=self._seq, limit=FACTS_MAX, newest_first=True)
            recorded = newest[::-1]
            left_out = recorded[0].seq - self._seq - 1
        if not recorded:
            return
        self._note(recorded, whole=left_out == 0)
        self._seq = recorded[-1].seq
        facts = [fact_row(each) for each in recorded]
        self._tell("facts", {"facts": facts, "left_out": left_out})

    def _note(self, recorded: Iterable[Recorded], *, whole: bool) -> None:
        """Remember whose rows may have changed."""
        if self._rows is None:
            return
        for each in recorded:
            subjects = ev.subjects(each.event)
            self._rows.note(subjects)
            whole = whole and bool(subjects)
        if not whole:
            self._rows.note_all()

    def _tell_rows(self, seen: Seen, rows: Rows, *, other: bool) -> None:
        """Tell which rows have changed; all of them, if it is another fleet than before."""
        changed, gone = rows.refresh()
        if not self._viewers or not (changed or gone or other):
            return
        if other or len(changed) + len(gone) > ROWS_MAX:
            told: dict[str, object] = {"rows": [], "gone": [], "all": True}
        else:
            told = {"rows": [_whole(row) for row in changed], "gone": gone, "all": False}
        self._tell("nodes", {"seq": seen.seq, "now": seen.now, **told})

    def _tell_pools(self, seen: Seen) -> None:
        """Tell which pools have changed, seldom enough for the largest ones."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if begun < self._pools_due:
            return
        pools = pool_rows(seen.fleet)
        took = loop.time() - begun
        self._pools_due = begun + max(POOLS_EVERY, POOLS_SHARE * took)
        changed = [each for name, each in pools.items() if self._pools.get(name) != each]
        gone = [name for name in self._pools if name not in pools]
        self._pools = pools
        if changed or gone:
            self._tell("pools", {"pools": changed, "gone": gone})

    def _tell(self, kind: str, content: object) -> None:
        told = message(kind, content)
        for viewer in self._viewers:
            viewer.put(told)


def _whole(row: Row) -> dict[str, object]:
    """A row with all its fields: pages need no defaults."""
    return {name: getattr(row, name) for name in row.__struct_fields__}
