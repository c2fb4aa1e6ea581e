"""The two faces of a store: the journal that one writer keeps, and the history that readers ask.

The control plane says each fact before it acts on it, so the journal is the only thing that must
survive. This module holds the protocols and the values they pass; `memory`, `sqlite` and `postgres`
implement both protocols in one object, and `postgres` also `SharedStore`, by which several control
planes agree who writes. It decides nothing about what a fact means: the fold does.

Rules that hold for every store:

- Sequence numbers are 1-based and gapless. Retention removes a prefix, never a hole.
- An append is all or nothing, and durable when it returns. A failed append changed nothing.
- `after` is the fence: whoever has not seen the newest fact may not write the next one.
- Damage is an error that names the first bad sequence number, never a shorter history.
- After a failed append the caller is expected to end and start again: a restart is always safe,
  a guess about a disk is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from msgspec import Struct, field

from navarch.core.model.events import Event
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.errors import JournalError

SNAPSHOTS_KEPT = 2
"""How many snapshots a store keeps: the newest, and one to fall back to when it is damaged."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Recorded(Struct, frozen=True):
    """A fact in its place in the journal."""

    seq: int
    """Place in the journal, at least 1, without gaps."""
    event: Event


class Snapshot(Struct, frozen=True):
    """The fleet as it was after one fact, so that older facts need no replay."""

    seq: int
    """The last fact that is folded into `state`."""
    state: bytes
    """Opaque to the store; whoever folds the fleet writes and reads it."""


class Kept(Struct, frozen=True):
    """A snapshot as it lies in a store."""

    seq: int
    state: bytes | None
    """None: it is damaged."""


class Loaded(Struct, frozen=True):
    """Everything a control plane needs to carry on where the last one stopped."""

    snapshot: Snapshot | None
    """The newest undamaged snapshot; None means that the replay starts from an empty fleet."""
    events: list[Recorded]
    """All facts after the snapshot, oldest first; may be empty."""
    last_seq: int
    """Sequence number of the newest fact, 0 for an empty journal. The next append's `after`."""
    damaged_snapshots: tuple[int, ...] = ()
    """Sequence numbers of newer snapshots that were passed over because they are damaged.

    Nothing is lost while older facts are still there, but an operator should hear of it.
    """


class Leader(Struct, frozen=True):
    """The control plane that holds the lease on a store, so the one that may write."""

    holder: str
    """Who it is, for people: ``pid 4242 on host a``."""
    url: str
    """Where its API is, for callers of others; empty when it did not say."""
    term: int
    """The how manieth hold this is, from 1. Grows by one each time that the lease is taken."""


class Journal(Protocol):
    """The durable record of facts, as its one writer sees it."""

    async def open(self) -> None:
        """Take the hold on the journal and make it ready, creating it when it does not exist.

        Raises JournalConflict, naming the holder, while another process (or this one) holds it,
        and JournalError when it cannot be opened. After a failed open nothing is held.
        """

    async def load(self) -> Loaded:
        """Return the newest usable snapshot and every fact after it.

        Raises JournalCorrupt when a needed fact is damaged or missing. Cost: O(facts after the
        snapshot).
        """

    async def append(self, events: Sequence[Event], *, after: int) -> int:
        """Add `events` behind fact `after` and return the new last sequence number.

        Durable when it returns; all or nothing. No events is allowed and only checks the fence.
        Raises JournalConflict when the last fact is not `after`, and JournalError when the disk
        refuses. A caller that is cancelled while waiting does not know whether they were kept.
        """

    async def snapshot(self, seq: int, state: bytes) -> None:
        """Keep `state` as the fold of all facts up to and including `seq`.

        The newest two are kept; the same `seq` again replaces. Raises JournalError when `seq` is
        older than the newest snapshot or newer than the newest fact.
        """

    async def close(self) -> None:
        """Finish what is under way and free the hold. Closing a closed store does nothing."""


class History(Protocol):
    """The same facts, as readers see them: what happened, to what, and when."""

    async def read(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Return up to `limit` facts with a sequence number above `after` and below `before`.

        A `before` of None is no limit. `subject` keeps the facts about one pool, instance, node or
        command; `since` keeps those said to have happened at or after an aware time; None keeps
        all. Facts that retention has removed are silently absent. Raises JournalCorrupt at the
        first damaged record, and
        ValueError when `limit` is below 1 or `since` is naive.
        """

    async def last_seq(self) -> int:
        """Return the sequence number of the newest fact, 0 for an empty journal."""

    async def forget(self, *, before: datetime, keep_bytes: int | None = None) -> int:
        """Remove the oldest facts and return how many.

        A fact goes when it and all its elders happened before `before`, or when the encoded
        facts from it on are larger than `keep_bytes` (None: no limit on size). A fact after the
        newest undamaged snapshot always stays, so without a snapshot nothing goes.
        """


class Store(Journal, History, Protocol):
    """One object with both faces: what a control plane is given."""


class SharedStore(Store, Protocol):
    """A store that several control planes reach, of which one at a time holds the *lease*.

    Whoever holds it may write; it is renewed in the background from `acquire` to `release`, by the
    database's clock. `open` is `connect` and `acquire`. The fence of an append is the term of the
    lease and the last fact, both checked in its own transaction: a leader that was replaced
    without knowing it writes nothing, whatever its clock says.
    """

    async def connect(self) -> None:
        """Reach the database for reading (`load`, `read`, `last_seq`, `leader`); hold nothing.

        Raises JournalError when it cannot be reached or used. `close` ends it.
        """

    async def leader(self) -> Leader | None:
        """Return whose lease has not run out, by the database's clock; None: nobody's.

        Raises JournalError when the database does not answer in time.
        """

    async def acquire(self) -> bool:
        """Take the lease when it is free or has run out; False while another holds it.

        True at once when it is ours already. Raises JournalError when the database does not
        answer in time; then nothing is held.
        """

    async def release(self) -> None:
        """Give the lease up, so that another may take it at once; nothing when it is not ours.

        Raises JournalError when the database does not answer: then it runs out by itself.
        """

    def held(self) -> bool:
        """Tell whether the lease still counts, by our own clock.

        Counted from before the last renewal was sent, so it ends here before it ends there.
        """

    async def lost(self) -> str:
        """Wait until the lease is lost or was not renewed in time, and return the reason.

        After that every append raises JournalConflict, until it is acquired anew. Raises
        JournalError when there is no lease to lose.
        """

    async def wait_appended(self, after: int, timeout: timedelta) -> int:  # noqa: ASYNC109
        """Return the newest sequence number once it is above `after`, or at the `timeout`."""


@runtime_checkable
class Restorable(Protocol):
    """A store that can be filled from elsewhere while it is empty."""

    async def restore(
        self, first: int, snapshots: Sequence[Snapshot], pages: Iterable[Sequence[Recorded]]
    ) -> int:
        """Write `snapshots`, and facts from number `first` on, into the open and empty journal.

        Whole or not at all, whatever ends us. Returns the last sequence number. Raises
        JournalError when the journal is not empty, and whatever `pages` raises.
        """
        ...


class Projection(Struct):
    """Records as some facts have left them, for the tables that people read; None: no more."""

    nodes: dict[str, Node | None] = field(default_factory=dict)
    instances: dict[str, Instance | None] = field(default_factory=dict)
    pools: dict[str, Pool | None] = field(default_factory=dict)
    whole: bool = False
    """Whether it is all there is, so that whatever is not in it is no more."""

    def add(self, later: Projection) -> None:
        """Put what came later over this."""
        if later.whole:
            self.nodes, self.instances, self.pools, self.whole = {}, {}, {}, True
        self.nodes.update(later.nodes)
        self.instances.update(later.instances)
        self.pools.update(later.pools)


@runtime_checkable
class ReadModels(Protocol):
    """A store that also shows the fleet as tables, for people and charts, never for itself."""

    def stage(self, changed: Projection) -> None:
        """Write these records in the transaction of the next append. What is staged adds up."""

    async def projected_seq(self) -> int:
        """Return the last fact that the tables show.

        Behind the journal after facts were appended without `stage`: then whoever writes next
        stages the whole fleet.
        """


def not_empty(journal: object) -> JournalError:
    """Return the error for a journal that is to be filled and has facts already."""
    return JournalError(f"journal {journal} is not empty: name a store that has no facts yet")


def microseconds(moment: datetime) -> int:
    """Return an aware `moment` as whole microseconds since 1970 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def check_question(limit: int, since: datetime | None) -> None:
    """Raise ValueError for a `read` that no store can answer."""
    if limit < 1:
        raise ValueError(f"limit {limit} is below 1: ask for at least one fact")
    if since is not None and since.tzinfo is None:
        raise ValueError(f"since {since} has no time zone: pass an aware UTC time")
