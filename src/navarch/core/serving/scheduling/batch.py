"""What a scheduler plugin is in its batch form: asked once for all nodes, by columns.

An engine calls `prepare` once for each distinct shape of pod, and then `mask` and `score` for all
nodes; and again only for the rows that reservations have changed since. A plugin that has nothing
to say about a pod answers None to `prepare` and is not asked again.

Plugins are pure: the same pod, pool and columns give the same answer. Pods that differ only in
their name, gang and priority are one shape, and are answered by one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.snapshot import Ints, Rows, Snapshot
from navarch.core.serving.views import Pod

REASONS_MAX: Final = 254
"""Different reasons of one plugin for one pod; what has a higher code is told as the last."""

Floats = NDArray[np.float64]


class BatchScheduler(Protocol):
    """Chooses nodes for pods, all at once."""

    name: str
    priority: int
    """Higher ones rule nodes out first; ties go by name."""

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Any:  # noqa: ANN401
        """Work out what is the same for all nodes. None: it has nothing to say about this pod."""
        ...

    def mask(self, state: Any, snapshot: Snapshot, rows: Rows) -> Ints:  # noqa: ANN401
        """Say of each row whether it fits: 0, or the number of a reason, from 1."""
        ...

    def texts(self, state: Any, snapshot: Snapshot) -> Sequence[str]:  # noqa: ANN401
        """Name the reasons, the first having the number 1."""
        ...

    def score(self, state: Any, snapshot: Snapshot, rows: Rows) -> Floats:  # noqa: ANN401
        """Say of each row how good it is, from 0 to 100; no number (NaN) rules the row out."""
        ...


class Watch(Protocol):
    """Sees how plugins are asked about all nodes, so that each such call can leave a trace."""

    def see(
        self,
        plugin: str,
        point: str,
        pod: Pod,
        snapshot: Snapshot,
        ask: Callable[[], Any],
    ) -> Any:  # noqa: ANN401
        """Call `ask`, which is the method `point` of a plugin, and return what it answers."""
        ...


class Batch:
    """What batch plugins have unless they say otherwise.

    A plugin that inherits nothing is taken to filter, to score, and to follow what is reserved.
    """

    name: str = ""
    priority: int = 100
    weight: float = 1.0
    """How much its score counts, unless the scheduler is told otherwise."""
    filters: bool = False
    """Whether `mask` is asked."""
    scores: bool = False
    """Whether `score` is asked."""
    dynamic: bool = False
    """Whether its answer about a row follows what is reserved there. False: it is asked once."""
    costly: bool = False
    """Whether it is asked last, and only about rows that all others let pass."""
    essential: bool = False
    """Whether nothing is placed without it, whatever a registry holds."""

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Any:  # noqa: ANN401
        """Work out what is the same for all nodes. None: it has nothing to say about this pod."""
        raise NotImplementedError(f"{type(self).__name__}.prepare")

    def mask(self, state: Any, snapshot: Snapshot, rows: Rows) -> Ints:  # noqa: ANN401
        """Say of each row whether it fits."""
        raise NotImplementedError(f"{type(self).__name__}.mask")

    def texts(self, state: Any, snapshot: Snapshot) -> Sequence[str]:  # noqa: ANN401
        """Name the reasons."""
        return ()

    def is_wide(self, state: Any) -> bool:  # noqa: ANN401
        """Whether a reservation may change its answer about other rows too."""
        return False

    def score(self, state: Any, snapshot: Snapshot, rows: Rows) -> Floats:  # noqa: ANN401
        """Say of each row how good it is."""
        raise NotImplementedError(f"{type(self).__name__}.score")

    def easings(
        self,
        pod: Pod,
        state: Any,  # noqa: ANN401
        snapshot: Snapshot,
        rows: Ints,
    ) -> list[Easing]:
        """List smaller wishes that this plugin might let pass on these rows.

        The rows are those that it alone rules out. What comes back is tried before it is told.
        """
        return []


ORDER: Final = (
    *("uncordon", "free", "tolerate", "selector", "affinity", "replica-affinity", "topology"),
    *("spot", "cost", "type", "memory", "count", "node", "plugin"),
)
"""Kinds of changes, the smallest first: what one command on one node does, then what a pool may
give up without getting less, then what costs money, then what it would get less of."""


class Easing(Struct, frozen=True):
    """One change that might let a pod fit."""

    kind: str
    """One of `ORDER`."""
    text: str
    """As an order, such as ``uncordon gpu-7``."""
    size: float = 0.0
    """Of two of one kind the smaller goes first."""
    pod: Pod | None = None
    """The pod as it would be; None: the node changes."""
    node: str = ""
    """The node that changes; empty: the pod does."""
    gpus: tuple[int, ...] = ()
    """The GPUs that would have to be free, by index, where the kind is ``free``."""
    share: float = 1.0
    """How much of each."""
    mig: str = ""
    """The slice of each; empty: none."""
    plugin: str = ""
    """The plugin that would have to be disabled; empty: none."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Where it stands among others."""
        return ORDER.index(self.kind), self.size, self.text


def changed(pod: Pod, kind: str, text: str, size: float = 0.0, **fields: object) -> Easing:
    """Propose another pod."""
    return Easing(kind, text, size, pod=msgspec.structs.replace(pod, **fields))
