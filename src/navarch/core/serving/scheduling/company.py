"""With whom a replica shares a node, a zone or a region, and with whom it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model.resources import AgentPool, ReplicaAffinity
from navarch.core.serving.scheduling.batch import Batch, Easing, Floats, changed
from navarch.core.serving.scheduling.nodes import EASINGS_MAX
from navarch.core.serving.scheduling.snapshot import HOSTNAME, Ints, Rows, Snapshot
from navarch.core.serving.views import Pod


class _Terms(Struct):
    own: str
    required: tuple[ReplicaAffinity, ...]
    preferred: tuple[ReplicaAffinity, ...]
    wide: bool
    """Whether a replica changes more than the node that it goes to."""


class ReplicaAffinities(Batch):
    """Keeps replicas together, or apart, within what a label names: a node, a zone.

    A node without the label is in no such place: nobody is with it there, and nobody apart. The
    first replica of a pool that wants to be with its own may go anywhere. The score is the weight
    of the preferred terms that hold, in percent of the weight of all.
    """

    name = "replica-affinity"
    priority = 1010
    filters = True
    scores = True
    dynamic = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> _Terms | None:
        """Sort the terms."""
        if not pod.replica_affinity:
            return None
        required = tuple(term for term in pod.replica_affinity if term.weight <= 0)
        preferred = tuple(term for term in pod.replica_affinity if term.weight > 0)
        unique = len(snapshot.label(HOSTNAME)[1]) == len(snapshot)
        wide = any(term.topology_key != HOSTNAME or not term.anti for term in pod.replica_affinity)
        return _Terms(pod.agent_pool, required, preferred, wide or not unique)

    def is_wide(self, state: _Terms) -> bool:
        """Whether a reservation may change the answer about other rows too."""
        return state.wide

    def mask(self, state: _Terms, snapshot: Snapshot, rows: Rows) -> Ints:
        """Look at each required term once."""
        codes = np.zeros(len(snapshot), dtype=np.int64)[rows]
        for number, term in reversed(list(enumerate(state.required, 1))):
            codes[~self._holds(snapshot, term, state, rows)] = number
        return codes

    def texts(self, state: _Terms, snapshot: Snapshot) -> Sequence[str]:
        """Name the terms."""
        return tuple(_term(term, state.own) for term in state.required)

    def score(self, state: _Terms, snapshot: Snapshot, rows: Rows) -> Floats:
        """Add up the preferred terms that hold."""
        scores = np.zeros(len(snapshot), dtype=np.float64)[rows]
        for term in state.preferred:
            scores[self._holds(snapshot, term, state, rows)] += term.weight
        if state.preferred:
            scores *= 100.0 / sum(term.weight for term in state.preferred)
        return np.minimum(scores, 100.0)

    def _holds(
        self, snapshot: Snapshot, term: ReplicaAffinity, state: _Terms, rows: Rows
    ) -> NDArray[np.bool_]:
        if state.wide:
            return holds(snapshot, term, state.own)[rows]
        nobody: NDArray[np.bool_] = snapshot.replicas(term.agent_pool or state.own)[rows] == 0
        return nobody

    def easings(self, pod: Pod, state: _Terms, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Drop one required term."""
        found = []
        for at, term in enumerate(pod.replica_affinity):
            if term.weight <= 0:
                kept = pod.replica_affinity[:at] + pod.replica_affinity[at + 1 :]
                what = "anti-affinity" if term.anti else "affinity"
                whose = term.agent_pool or state.own
                text = f"drop the {what} to {whose} by {term.topology_key}"
                found.append(changed(pod, "replica-affinity", text, replica_affinity=kept))
        return found[:EASINGS_MAX]


def _term(term: ReplicaAffinity, own: str) -> str:
    whose = term.agent_pool or own
    if term.anti:
        return f"{whose} is there already (by {term.topology_key})"
    return f"no {whose} there (by {term.topology_key})"


def holds(snapshot: Snapshot, term: ReplicaAffinity, own: str) -> NDArray[np.bool_]:
    """Tell by row whether a replica here would be with, or apart from, those of a pool."""
    codes, words = snapshot.label(term.topology_key)
    pool = term.agent_pool or own
    replicas = snapshot.replicas(pool)
    named = codes >= 0
    counts = np.bincount(codes[named], weights=replicas[named], minlength=len(words))
    there = np.append(counts > 0, False)[codes]  # the last: where the label is missing
    if term.anti:
        return ~there
    if pool == own and not there.any():
        return named
    return there
