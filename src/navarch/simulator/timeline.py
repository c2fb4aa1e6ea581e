"""The timeline: virtual time, and what is to happen in it.

A heap of (time, order, act). Time moves only from one act to the next, and of two acts at one
moment the one that was scheduled first comes first, so a run depends on nothing but its input.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ParamSpec

P = ParamSpec("P")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When every simulation begins."""


class Timeline:
    """What happens next, and what time it is then."""

    def __init__(self) -> None:
        """Begin at `EPOCH` with nothing to happen."""
        self.now = EPOCH
        self.stopped = False
        self._order = 0
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []

    def after(
        self, delay: timedelta, act: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Let `act` happen after a delay that is not negative."""
        self._order += 1
        happen: Callable[[], None] = partial(act, *args, **kwargs)
        heapq.heappush(self._heap, (self.now + delay, self._order, happen))

    def run(self) -> None:
        """Let everything happen in its order, until `stop` or until nothing is left."""
        heap = self._heap
        while heap and not self.stopped:
            self.now, _, happen = heapq.heappop(heap)
            happen()

    def run_until(self, moment: datetime) -> None:
        """Let everything up to a moment happen, that moment included, and let it be that moment."""
        heap = self._heap
        while heap and not self.stopped and heap[0][0] <= moment:
            self.now, _, happen = heapq.heappop(heap)
            happen()
        if not self.stopped:
            self.now = max(self.now, moment)

    def stop(self) -> None:
        """Let nothing more happen."""
        self.stopped = True
