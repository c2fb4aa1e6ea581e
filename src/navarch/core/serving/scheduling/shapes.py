"""What all nodes are to one shape of pod, worked out once and kept true row by row.

What plugins say is kept by row: a number for the first reason that rules the node out, and the sum
of the weighted scores. After a reservation only its row is asked about again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.batch import REASONS_MAX, BatchScheduler, Watch
from navarch.core.serving.scheduling.gpus import GPUFit, choose
from navarch.core.serving.scheduling.snapshot import Ints, Rows, Snapshot
from navarch.core.serving.views import Pod

FITS: Final = np.int16(32767)
"""The number of no reason at all: higher than any."""
SHIFT: Final = 8
"""A reason's number is the plugin's place, and the plugin's own number in the lower bits."""
NO_SCORE: Final = REASONS_MAX + 1
PLUGINS_MAX: Final = 126
"""Plugins that can take part at one time."""
ALL: Final = slice(None)

Codes = NDArray[np.int16]


class Bound(Struct, frozen=True):
    """A plugin in its place among the others."""

    plugin: Any
    """A `BatchScheduler`."""
    place: int
    """0 for the one that rules nodes out first."""
    weight: float
    filters: bool
    scores: bool
    dynamic: bool
    costly: bool
    watch: Watch | None = None
    """Who sees its calls about all nodes; None: nobody."""

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Any:  # noqa: ANN401
        """Have the plugin work out what is the same for all nodes."""
        if self.watch is None:
            return self.plugin.prepare(pod, pool, snapshot)
        return self.watch.see(
            self.plugin.name,
            "prepare",
            pod,
            snapshot,
            lambda: self.plugin.prepare(pod, pool, snapshot),
        )

    def mask(self, pod: Pod, state: Any, snapshot: Snapshot, rows: Rows) -> Ints:  # noqa: ANN401
        """Have it rule rows out; what is seen is the question about all of them."""
        if self.watch is None or rows is not ALL:
            return self.plugin.mask(state, snapshot, rows)  # type: ignore[no-any-return]
        return self.watch.see(  # type: ignore[no-any-return]
            self.plugin.name, "mask", pod, snapshot, lambda: self.plugin.mask(state, snapshot, rows)
        )

    def score(
        self,
        pod: Pod,
        state: Any,  # noqa: ANN401
        snapshot: Snapshot,
        rows: Rows,
    ) -> NDArray[np.float64]:
        """Have it score rows; what is seen is the question about all of them."""
        if self.watch is None or rows is not ALL:
            return self.plugin.score(state, snapshot, rows)  # type: ignore[no-any-return]
        return self.watch.see(  # type: ignore[no-any-return]
            *(self.plugin.name, "score", pod, snapshot),
            lambda: self.plugin.score(state, snapshot, rows),
        )


def bind(
    plugins: Iterable[BatchScheduler],
    weights: Mapping[str, float] | None = None,
    priorities: Mapping[str, int] | None = None,
    watches: Mapping[str, Watch] | None = None,
) -> tuple[Bound, ...]:
    """Put plugins in their order: by priority, then by name; costly ones last.

    `weights` and `priorities` count instead of the plugins' own, by name. `watches` see the calls
    of plugins, by name.

    Raises `ValueError` for two of one name, more than `PLUGINS_MAX` of them, and a weight that is
    negative or for nobody.
    """
    weights, given = weights or {}, priorities or {}
    listed = sorted(
        plugins,
        key=lambda each: (
            getattr(each, "costly", False),
            -given.get(each.name, each.priority),
            each.name,
        ),
    )
    names = [each.name for each in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two scheduler plugins are called {twice[0]!r}: expected different names")
    if len(listed) > PLUGINS_MAX:
        raise ValueError(f"{len(listed)} scheduler plugins: expected at most {PLUGINS_MAX}")
    for name, weight in weights.items():
        if name not in names:
            raise ValueError(f"weight for {name!r}: expected one of {', '.join(sorted(names))}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight {weight!r} for {name!r}: expected a number of at least 0")
    return tuple(
        Bound(
            each,
            place,
            float(weights.get(each.name, getattr(each, "weight", 1.0))),
            bool(getattr(each, "filters", True)),
            bool(getattr(each, "scores", True)),
            bool(getattr(each, "dynamic", True)),
            bool(getattr(each, "costly", False)),
            (watches or {}).get(each.name),
        )
        for place, each in enumerate(listed)
    )


def key_of(pod: Pod) -> tuple[object, ...]:
    """Give what makes two pods one shape: all but name, gang and priority."""
    return (
        *(pod.namespace, pod.agent_pool, pod.gpu_request, pod.gpu_memory, pod.gpu_type),
        *(pod.mig_profile, pod.locality, pod.min_bandwidth, pod.model, pod.model_bytes),
        *(pod.spot_allowed, pod.cost_max, pod.strategy, pod.data_regions, pod.avoid),
        *(pod.affinity, pod.replica_affinity, pod.tolerations),
        tuple(pod.node_selector.items()),
        tuple(pod.labels.items()),
        tuple(pod.annotations.items()),
    )


class Shape:
    """One shape of pod, against all nodes of a snapshot."""

    def __init__(
        self, pod: Pod, pool: AgentPool, bound: Sequence[Bound], snapshot: Snapshot
    ) -> None:
        """Ask every plugin about every node. Cost: O(nodes) for each plugin with a say."""
        self.pod = pod
        self.snapshot = snapshot
        states = [(each, each.prepare(pod, pool, snapshot)) for each in bound]
        self.states: list[tuple[Bound, Any]] = [
            (each, state) for each, state in states if state is not None
        ]
        """The plugins with a say, and what each has worked out."""
        self.fit = next((state for each, state in self.states if type(each.plugin) is GPUFit), None)
        self.weight = sum(each.weight for each, _ in self.states if each.scores) or 1.0
        self.columns = {
            each.place: np.zeros(len(snapshot)) for each, _ in self.states if each.scores
        }
        """What each plugin scored, by its place."""
        self._sort_states()
        self.moves = any(
            each.filters and type(each.plugin) is not GPUFit
            for layer in self._by_layer[1:]
            for each, _ in layer
        )
        """Whether anything but its GPUs can rule a row out after a reservation."""
        size = len(snapshot)
        fresh, zeros = np.full(size, FITS, dtype=np.int16), np.zeros(size)
        self._still = self._ask(self._by_layer[0], ALL, fresh, zeros)
        self._near = self._still[0].copy(), self._still[1].copy()
        self._far = fresh.copy(), zeros.copy()
        self._known = np.zeros(size, dtype=np.bool_)
        self.codes: Codes = fresh
        """By row: the reason, or `FITS`."""
        self.total: NDArray[np.float64] = zeros
        """By row: the sum of the weighted scores; -1 where it does not fit."""
        self._seen = self._epoch = 0
        self._update(ALL)

    def _sort_states(self) -> None:
        """Sort plugins into layers.

        What reservations do not change; what changes with the row; what changes with any row; and
        what is asked last, of few.
        """
        layers: tuple[list[tuple[Bound, Any]], ...] = ([], [], [], [])
        for each, state in self.states:
            wide = getattr(each.plugin, "is_wide", None)
            if each.costly:
                layers[3].append((each, state))
            elif not each.dynamic:
                layers[0].append((each, state))
            else:
                layers[2 if wide is not None and wide(state) else 1].append((each, state))
        self._by_layer = layers

    def _ask(
        self,
        states: Sequence[tuple[Bound, Any]],
        rows: Rows,
        codes: Codes,
        total: NDArray[np.float64],
    ) -> tuple[Codes, NDArray[np.float64]]:
        """Take these plugins' word on these rows; `codes` and `total` are what is known of them."""
        codes, total = codes.copy(), total.copy()
        for each, state in states:
            if each.filters:
                local = each.mask(self.pod, state, self.snapshot, rows)
                known = np.where(local, np.minimum(local, REASONS_MAX) + self._base(each), FITS)
                np.minimum(codes, known, out=codes, casting="unsafe")
            if each.scores:
                scores = each.score(self.pod, state, self.snapshot, rows)
                self.columns[each.place][rows] = scores
                total += each.weight * scores
        lost = np.isnan(total)
        if lost.any():
            for each, _ in states:
                if each.scores:
                    bad = np.isnan(self.columns[each.place][rows]) & (codes == FITS)
                    codes[bad] = self._base(each) + NO_SCORE
            total[lost] = 0.0
        return codes, total

    @staticmethod
    def _base(each: Bound) -> np.int16:
        return np.int16(each.place << SHIFT)

    def _update(self, rows: Rows) -> None:
        """Ask anew about these rows, whatever has changed there."""
        _, near, far, last = self._by_layer
        codes, total = self._ask(near, rows, self._still[0][rows], self._still[1][rows])
        if far:
            self._near[0][rows], self._near[1][rows] = codes, total
            codes, total = self._ask(far, ALL, *self._near)
        if last:
            self._known[rows] = False
            rows = ALL if far else rows
            self._ask_last(rows, codes)
            codes, total = np.minimum(codes, self._far[0][rows]), total + self._far[1][rows]
        elif far:
            rows = ALL
        self.codes[rows] = codes
        self.total[rows] = np.where(codes == FITS, total, -1.0)
        self._seen, self._epoch = len(self.snapshot.log), self.snapshot.epoch

    def _ask_last(self, rows: Rows, codes: Codes) -> None:
        """Ask costly plugins about those rows that fit so far and that they have not seen."""
        numbers = np.arange(len(self.snapshot))[rows]
        few = numbers[(codes == FITS) & ~self._known[rows]]
        reasons, total = np.full(len(few), FITS, dtype=np.int16), np.zeros(len(few))
        for filtering in (True, False):
            for each, state in self._by_layer[3]:
                if not (each.filters if filtering else each.scores):
                    continue
                open_ = np.flatnonzero(reasons == FITS)
                one = [(structs.replace(each, filters=filtering, scores=not filtering), state)]
                answer = self._ask(one, few[open_], reasons[open_], total[open_])
                reasons[open_], total[open_] = answer
        self._far[0][few], self._far[1][few] = reasons, total
        self._known[few] = True

    def refresh(self) -> None:
        """Ask again about the rows that reservations have changed. Cost: O(those)."""
        log = self.snapshot.log
        if self._seen == len(log) and self._epoch == self.snapshot.epoch:
            return
        if self._epoch != self.snapshot.epoch:
            self._update(ALL)
            return
        self._update(np.array(sorted(set(log[self._seen :])), dtype=np.intp))

    def best(self) -> int:
        """Give the row with the highest score, the first by name of equal ones; -1: none fits."""
        self.refresh()
        if not len(self.total):
            return -1
        row = int(self.total.argmax())
        return row if self.total[row] >= 0 else -1

    def fits(self, row: int) -> bool:
        """Whether one row fits, as of the last `refresh`."""
        return bool(self.codes[row] == FITS)

    def choose(self, row: int) -> tuple[int, ...] | None:
        """Choose the GPUs of a row, by position. None: it has not enough."""
        return choose(self.fit, self.snapshot, row)

    def score(self, row: int) -> float:
        """Give the row's score, from 0 to 100."""
        return min(max(float(self.total[row]) / self.weight, 0.0), 100.0)

    def praise(self, row: int) -> tuple[str, ...]:
        """Name what spoke for a row: plugins with their scores, the weightiest first."""
        found = [
            (each.weight * float(self.columns[each.place][row]), each)
            for each, _ in self.states
            if each.scores
        ]
        found.sort(key=lambda pair: (-pair[0], pair[1].place))
        return tuple(
            f"{each.plugin.name} {self.columns[each.place][row]:.0f}"
            for total, each in found
            if total > 0
        )

    def text(self, code: int) -> str:
        """Name the reason with this number."""
        place, local = code >> SHIFT, code & ((1 << SHIFT) - 1)
        each, state = next(pair for pair in self.states if pair[0].place == place)
        if local == NO_SCORE:
            return f"{each.plugin.name} gave no score"
        texts = each.plugin.texts(state, self.snapshot)
        return str(texts[min(local, len(texts)) - 1]) if texts else f"refused by {each.plugin.name}"

    def counts(self) -> dict[str, int]:
        """Count the nodes by the reason that rules them out, the most frequent first."""
        numbers, counts = np.unique(self.codes, return_counts=True)
        found: dict[str, int] = {}
        for code, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            if code != FITS:
                text = self.text(code)
                found[text] = found.get(text, 0) + count
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    def why_not(self) -> WhyNot:
        """Remember the reason for every row that does not fit now. Cost: two bytes a node."""
        return WhyNot(self)

    def sole_blockers(self) -> list[tuple[Bound, Ints]]:
        """Find the rows that only one plugin rules out, by plugin."""
        blockers = np.zeros(len(self.snapshot), dtype=np.int64)
        last = np.zeros(len(self.snapshot), dtype=np.int64)
        for each, state in self.states:
            if each.filters and not each.costly:
                bad = each.mask(self.pod, state, self.snapshot, ALL) != 0
                blockers += bad
                last[bad] = each.place
        found: list[tuple[Bound, Ints]] = []
        for each, _ in self.states:
            if each.costly:
                sole = (blockers == 0) & (self.codes >> SHIFT == each.place)
            else:
                sole = (blockers == 1) & (last == each.place)
            if each.filters and sole.any():
                found.append((each, np.flatnonzero(sole)))
        return found


class WhyNot(Mapping[str, str]):
    """The reason for every node that does not fit, by name; words are looked up when asked for."""

    def __init__(self, shape: Shape) -> None:
        """Remember how it is now."""
        self._shape = shape
        self._codes = shape.codes.copy()

    def __getitem__(self, name: str) -> str:
        code = int(self._codes[self._shape.snapshot.row[name]])
        if code == FITS:
            raise KeyError(name)
        return self._shape.text(code)

    def __iter__(self) -> Iterator[str]:
        names = self._shape.snapshot.names
        return (names[row] for row in np.flatnonzero(self._codes != FITS).tolist())

    def __len__(self) -> int:
        """How many nodes do not fit."""
        return int(np.count_nonzero(self._codes != FITS))

    def __repr__(self) -> str:
        return repr(dict(self))
