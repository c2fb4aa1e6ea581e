"""The batch form of schedulers, as its checks look at it: asked by columns, about all at once.

The checks of the documents' form ask about one node; `fits` and `score` ask a batch plugin the same
of a snapshot with one row. `expect_rows` asks it about all rows, and holds what comes back against
what the host takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.batch import REASONS_MAX
from navarch.core.serving.scheduling.snapshot import Snapshot
from navarch.core.serving.views import Node, Pod
from navarch.testing.findings import expect

ALL: Final = slice(None)

Batched: TypeAlias = Any
"""An object with `prepare`, `mask` and perhaps `score` and `texts`."""


def is_batched(plugin: object) -> bool:
    """Whether a plugin has the batch form."""
    return callable(getattr(plugin, "mask", None))


def fits(plugin: Batched, pod: Pod, node: Node, pool: AgentPool) -> bool:
    """Ask whether one node fits."""
    snapshot = Snapshot([node])
    state = plugin.prepare(pod, pool, snapshot)
    if state is None or not getattr(plugin, "filters", True):
        return True
    return not np.asarray(plugin.mask(state, snapshot, ALL)).any()


def score(plugin: Batched, pod: Pod, node: Node, pool: AgentPool) -> float:
    """Ask how good one node is; 0 where it has nothing to say, or rules the node out here."""
    snapshot = Snapshot([node])
    state = plugin.prepare(pod, pool, snapshot)
    if state is None or not getattr(plugin, "scores", hasattr(plugin, "score")):
        return 0.0
    (answer,) = np.asarray(plugin.score(state, snapshot, ALL), dtype=np.float64)
    return 0.0 if np.isnan(answer) else float(answer)


def expect_rows(plugin: Batched, pod: Pod, nodes: Sequence[Node], pool: AgentPool) -> int:
    """See that it answers for each row, all at once and for some of them; count the rows.

    Raises `Broken`.
    """
    snapshot = Snapshot(nodes)
    count = len(snapshot)
    state = plugin.prepare(pod, pool, snapshot)
    if state is None:
        return 0
    some = np.arange(0, count, 3)
    if getattr(plugin, "filters", True):
        codes = np.asarray(plugin.mask(state, snapshot, ALL))
        whole = codes.shape == (count,) and codes.dtype.kind in "bui"
        expect(whole and not (codes < 0).any(), f"mask of {count} rows is {codes!r:.100}")
        part = np.asarray(plugin.mask(state, snapshot, some))
        expect(
            np.array_equal(part, codes[some]), "mask of some rows differs from that of all of them"
        )
        texts = getattr(plugin, "texts", None)
        highest = int(codes.max(initial=0))
        named = len(tuple(texts(state, snapshot))) if callable(texts) else highest
        expect(highest <= min(named, REASONS_MAX), f"reason {highest} has no text: {named} have")
    if getattr(plugin, "scores", hasattr(plugin, "score")):
        scores = np.asarray(plugin.score(state, snapshot, ALL), dtype=np.float64)
        expect(scores.shape == (count,), f"score of {count} rows has the shape {scores.shape}")
        good = np.isnan(scores) | ((scores >= 0) & (scores <= 100))
        expect(good.all(), f"scores are {scores[~good][:5]}, expected 0 to 100")
    return count
