"""How far a model has come, and how quickly: written by threads, read by whoever asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from navarch.core.model.replica import ModelSeen

WINDOW: Final = timedelta(seconds=10)
"""Over how long a rate is measured."""
SAMPLES_MAX: Final = 64


class Progress:
    """The way of one model."""

    def __init__(self, name: str, now: Callable[[], datetime]) -> None:
        """Know nothing yet."""
        self._name = name
        self._now = now
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._problem = ""
        self._samples: deque[tuple[datetime, int]] = deque(maxlen=SAMPLES_MAX)
        self.fetched = 0
        """Bytes that came over the network or from another disk, in this process."""
        self.from_peers = 0
        """How many of them came from other nodes."""

    def begin(self, total: int, done: int) -> None:
        """Know how much it is, and how much is there already."""
        with self._lock:
            self._total, self._done = total, done
            self._samples.clear()

    def came_before(self, count: int) -> None:
        """Count bytes that an earlier try has left here."""
        with self._lock:
            self._done += count

    def came(self, count: int, *, from_peer: bool = False) -> None:
        """Count bytes that have come, and forget the last problem."""
        with self._lock:
            self._done += count
            self.fetched += count
            self.from_peers += count if from_peer else 0
            self._problem = ""

    def lost(self, count: int) -> None:
        """Take bytes back that turned out to be wrong."""
        with self._lock:
            self._done -= count

    def troubled(self, problem: str) -> None:
        """Say why it does not go on."""
        with self._lock:
            self._problem = problem

    def seen(self) -> ModelSeen:
        """Tell how far it is."""
        now = self._now()
        with self._lock:
            done = self._done
            while len(self._samples) > 1 and self._samples[0][0] < now - WINDOW:
                self._samples.popleft()
            if not self._samples or self._samples[-1][0] < now:
                self._samples.append((now, done))
            since, before = self._samples[0]
            seconds = (now - since).total_seconds()
            rate = max(0, int((done - before) / seconds)) if seconds > 0 else 0
            return ModelSeen(
                model=self._name,
                bytes_done=done,
                bytes_total=self._total,
                problem=self._problem,
                bytes_per_second=rate,
            )
