"""The two threads that learn what a fleet is like, and go on when a server goes away.

One reads: who leads, the pools, and the nodes page by page, one page a turn, so that ten thousand
nodes cost neither side more than a thousand. The other follows the journal, and what a fact is
about is read again at once. Each has a connection of its own. What fails is shown and tried again,
ever more slowly, as long as nobody ends it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from navarch.cli.events import PASSING, RETRY_FIRST, RETRY_MAX
from navarch.cli.session import PAGE_SIZE
from navarch.cli.top.seen import LIVE, RECONNECTING, Seen, line_of
from navarch.cli.views import EventView, PoolView, read, read_each
from navarch.errors import NavarchError, WireError
from navarch.wire.servers import Servers

Json = dict[str, Any]

EVERY: Final = timedelta(seconds=2)
"""How often pools and the next page of nodes are read."""
SOON: Final = timedelta(milliseconds=400)
"""How soon what a fact is about is read again: facts come in groups."""
ONE_BY_ONE_MAX: Final = 50
"""Of more nodes than these that have changed together, all pages are read at once."""
BACK_MAX: Final = 200
"""Facts that are read of the past; the connection that was away for more skips the rest."""
SILENCE_MAX: Final = timedelta(seconds=60)
"""A stream that says nothing for so long is opened again: its connection may be half of one."""
ENDING_MAX: Final = timedelta(seconds=5)
"""How long the end waits for a thread that is in the middle of a call."""


class Watching:
    """Keeps a `Seen` true until it is ended."""

    def __init__(
        self,
        connect: Callable[[], Servers],
        seen: Seen,
        *,
        every: timedelta = EVERY,
        soon: timedelta = SOON,
    ) -> None:
        """Begin with `start`; `connect` makes a connection for each thread."""
        self.seen = seen
        self._every, self._soon = every, soon
        self._reading, self._following = connect(), connect()
        self._ended, self._poked = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._all = True
        """Whether nobody knows which nodes have changed."""
        self._token = ""
        """What the server called the next page."""
        self._after = ""
        """The last node of the page before."""
        self._failed: NavarchError | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(each,), daemon=True)
            for each in (self._read, self._follow)
        ]

    @property
    def failed(self) -> NavarchError | None:
        """What cannot be put right by waiting, such as a wrong token; None while it goes on."""
        return self._failed

    def start(self) -> None:
        """Begin to learn."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop, and hang up. May be called twice."""
        self._ended.set()
        self._poked.set()
        for servers in (self._following, self._reading):
            for client in servers.clients:
                client.hang_up()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(ENDING_MAX.total_seconds())
        for servers in (self._following, self._reading):
            servers.close()

    def poke(self, *nodes: str) -> None:
        """Have the pools, and these nodes, be read soon."""
        with self._lock:
            self._changed.update(nodes)
        self._poked.set()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except NavarchError as error:
            if not self._ended.is_set():
                self._failed = error
                self.seen.linked(state=RECONNECTING, problem=str(error))

    # ---- who leads, pools, nodes

    def _read(self) -> None:
        """Read, again and again."""
        retry = RETRY_FIRST
        while not self._ended.is_set():
            try:
                was_all = self._turn()
                retry = RETRY_FIRST
            except WireError as error:
                self._away(error)
                self._ended.wait(max(error.retry_after or retry, retry).total_seconds())
                retry = min(retry * 2, RETRY_MAX)
                continue
            if was_all:  # a storm of changes must not have all pages read all the time
                self._ended.wait(self._every.total_seconds())
            elif self._poked.wait(self._every.total_seconds()):
                self._ended.wait(self._soon.total_seconds())

    def _turn(self) -> bool:
        """Read once what may be another than before; return whether that was all pages."""
        self._poked.clear()
        with self._lock:
            changed, self._changed = self._changed, set()
            whole, self._all = self._all or len(changed) > ONE_BY_ONE_MAX, False
        try:
            answer = self._reading.call("ListPools", {})
            self.seen.told_pools(read_each(answer, "pools", PoolView))
            chosen = self._reading.chosen
            role = "standby" if chosen.standby else "leader"
            self.seen.linked(state=LIVE, server=chosen.url, role=role, problem="")
            if whole:
                self._all_pages()
            else:
                for node in sorted(changed):
                    self._one(node)
                self._page()
        except WireError:
            with self._lock:
                self._changed |= changed
                self._all = self._all or whole
            raise
        return whole

    def _all_pages(self) -> None:
        self._token = self._after = ""
        self._page()
        while self._token and not self._ended.is_set():
            self._page()

    def _page(self) -> None:
        """Read the next page of nodes; behind the last comes the first."""
        request: Json = {"pageSize": PAGE_SIZE, "pageToken": self._token}
        answer = self._reading.call("ListNodes", request)
        entries = answer.get("nodes", ())
        token = str(answer.get("nextPageToken", ""))
        last = str(entries[-1].get("nodeId", "")) if token and entries else None
        lines = [line for line in map(line_of, entries) if line is not None]
        self.seen.told_page(lines, after=self._after, last=last)
        self._token, self._after = token, last or ""

    def _one(self, node: str) -> None:
        """Read one node; that it is not there is an answer too."""
        try:
            answer = self._reading.call("GetNode", {"nodeId": node})
        except WireError as error:
            if error.code != "not_found":
                raise
            self.seen.told_node(node, None)
            return
        self.seen.told_node(node, line_of(answer.get("node", {})))

    # ---- facts

    def _follow(self) -> None:
        """Follow the journal, over restarts of servers."""
        retry = RETRY_FIRST
        while not self._ended.is_set():
            try:
                after = self._caught_up()
                request = {"afterSeq": str(after)}
                stream = self._following.stream(
                    "WatchEvents", request, silence_max=SILENCE_MAX.total_seconds()
                )
                for message in stream:
                    retry = RETRY_FIRST
                    self._take(message.get("event", {}))
            except WireError as error:
                silent = error.code == "deadline_exceeded"
                if not silent:
                    self._away(error)
            self._ended.wait(retry.total_seconds())
            retry = min(retry * 2, RETRY_MAX)

    def _caught_up(self) -> int:
        """Show the newest facts, and return where to follow from.

        The journal is another one than before if it does not have what was read last: its data
        were removed, or were in memory. A standby may only be a little behind.
        """
        request: Json = {"limit": BACK_MAX, "newestFirst": True}
        answer = self._following.call("ListEvents", request)
        last_seq = int(answer.get("lastSeq", 0))
        newest = read_each(answer, "events", EventView)
        known = self.seen.newest
        if known is not None:
            if known in newest:
                return known.seq
            if last_seq < known.seq and self._following.chosen.standby:
                return known.seq
            with self._lock:
                self._all = True
            self._poked.set()
        self.seen.told_facts(reversed(newest), anew=True)
        return last_seq

    def _take(self, event: Mapping[str, Any]) -> None:
        fact = read(event, EventView)
        self.seen.told_facts([fact])
        concerned = [each for each in fact.subjects if self._may_be_node(fact, each)]
        self.poke(*concerned)

    def _may_be_node(self, fact: EventView, subject: str) -> bool:
        return self.seen.has_node(subject) or (
            fact.kind == "node_registered" and subject == fact.subjects[0]
        )

    def _away(self, error: WireError) -> None:
        """Show that a call failed. Raises it where waiting helps nobody who begins."""
        if self._ended.is_set():
            return
        if error.code not in PASSING and not self.seen.link.role:
            raise error
        self.seen.linked(state=RECONNECTING, problem=error.message)
