"""Plugins in shadow: asked on live traffic, without effect, and held against what counted.

A host asks those of `Registry.shadows` after the answer that counts is settled, through the same
`Caller`, and gives both to `Shadows.compare`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct

from navarch.plugins.calls import About, Failed
from navarch.plugins.protocols import PluginKind
from navarch.plugins.verdicts import verdict_of

_T = TypeVar("_T")

KEPT: Final = 100
"""Disagreements of each plugin that are kept, the newest."""
TALLIES_MAX: Final = 1_000
"""Plugins that are counted."""


class Disagreement(Struct, frozen=True):
    """Both answers to one question."""

    at: datetime
    kind: PluginKind
    plugin: str
    """The one in shadow."""
    point: str
    pool: str
    subject: str
    effective: str
    """What counted."""
    shadow: str
    """What it would have said."""


class Tally(Struct):
    """How often a plugin in shadow said the same."""

    kind: PluginKind
    plugin: str
    same: int = 0
    different: int = 0
    failed: int = 0


class Shadows:
    """Compares, counts and keeps."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Date disagreements by `now`."""
        self._now = now
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._kept: dict[tuple[str, str], deque[Disagreement]] = {}
        self._lock = threading.Lock()

    def compare(
        self,
        about: About,
        effective: _T,
        shadow: _T | Failed,
        *,
        same: Callable[[_T, _T], bool] | None = None,
        shown: Callable[[_T], str] = verdict_of,
    ) -> bool:
        """Hold the answer of a plugin in shadow, which `about` names, against the one that counted.

        `same` says when two answers are one, None: when they are equal; `shown` says an answer in
        a line. Returns whether they agree; a failure does not. Cost: O(1).
        """
        key = (about.kind.value, about.plugin)
        if isinstance(shadow, Failed):
            differs, agree = "", False
        else:
            agree = effective == shadow if same is None else same(effective, shadow)
            differs = "" if agree else shown(shadow)[:200]
        with self._lock:
            tally = self._tallies.get(key)
            if tally is None:
                if len(self._tallies) >= TALLIES_MAX:
                    return agree
                tally = self._tallies[key] = Tally(about.kind, about.plugin)
                self._kept[key] = deque(maxlen=KEPT)
            if isinstance(shadow, Failed):
                tally.failed += 1
            elif agree:
                tally.same += 1
            else:
                tally.different += 1
                self._kept[key].append(
                    Disagreement(
                        self._now(),
                        about.kind,
                        about.plugin,
                        about.point,
                        about.pool,
                        about.subject[:200],
                        shown(effective)[:200],
                        differs,
                    )
                )
        return agree

    def tally(self, kind: PluginKind, plugin: str) -> Tally:
        """How often a plugin said the same so far."""
        with self._lock:
            return self._tallies.get((kind.value, plugin)) or Tally(kind, plugin)

    def tallies(self) -> list[Tally]:
        """The same of all of them."""
        with self._lock:
            return list(self._tallies.values())

    def disagreements(self, kind: PluginKind, plugin: str = "") -> list[Disagreement]:
        """The newest of a kind, or of one plugin, the newest last."""
        with self._lock:
            kept = [
                each
                for (kept_kind, name), ring in self._kept.items()
                if kept_kind == kind.value and plugin in ("", name)
                for each in ring
            ]
        return sorted(kept, key=lambda each: each.at)
