"""What a node is, apart from its GPUs: whether it is in service, its labels, taints and product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model.resources import AgentPool, NodeAffinity, Toleration
from navarch.core.serving.scheduling.batch import Batch, Easing, Floats, changed
from navarch.core.serving.scheduling.snapshot import Ints, Rows, Snapshot
from navarch.core.serving.views import Pod, Taint

EASINGS_MAX: Final = 8
"""Smaller wishes that one plugin proposes for one pod."""


class Asked(Struct):
    """An answer about every row, worked out at once."""

    codes: Ints | None = None
    texts: tuple[str, ...] = ()
    scores: Floats | None = None


class Static(Batch):
    """A plugin whose whole answer follows from what reservations do not change."""

    def mask(self, state: Asked, snapshot: Snapshot, rows: Rows) -> Ints:
        """Say of each row whether it fits."""
        assert state.codes is not None, self.name
        return state.codes[rows]

    def texts(self, state: Asked, snapshot: Snapshot) -> Sequence[str]:
        """Name the reasons."""
        return state.texts

    def score(self, state: Asked, snapshot: Snapshot, rows: Rows) -> Floats:
        """Say of each row how good it is."""
        assert state.scores is not None, self.name
        return state.scores[rows]


class InService(Static):
    """Lets pods only on nodes that are healthy, heard, and not cordoned or on their way out."""

    name = "in-service"
    priority = 1090
    filters = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked:
        """Look at every node."""
        return Asked(snapshot.why_out, tuple(snapshot.why_words[1:]))

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Uncordon the first node that is only cordoned, or bring the first back into service."""
        cordoned = [row for row in rows.tolist() if snapshot.nodes[row].unschedulable]
        for row in cordoned or rows[:1].tolist():
            name, why = snapshot.names[row], snapshot.why_words[snapshot.why_out[row]]
            if why == "cordoned":
                return [Easing("uncordon", f"uncordon {name}", node=name)]
        name = snapshot.names[int(rows[0])]
        why = snapshot.why_words[snapshot.why_out[int(rows[0])]]
        return [Easing("node", f"bring {name} back into service ({why})", node=name)]


class GPUType(Static):
    """Lets pods only on nodes with the GPU product that they ask for."""

    name = "gpu-type"
    priority = 1080
    filters = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Compare each product once, without regard to upper and lower case."""
        if not pod.gpu_type:
            return None
        wanted = pod.gpu_type.casefold()
        good = np.array([wanted in each.casefold() for each in snapshot.gpu_types], dtype=np.bool_)
        codes = np.where(good[snapshot.gpu_type], 0, 1) if len(snapshot) else snapshot.gpu_type
        return Asked(codes, (f"no {pod.gpu_type} GPUs",))

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Ask for the products that there are."""
        there = sorted({snapshot.gpu_types[code] for code in snapshot.gpu_type[rows].tolist()})
        found = [changed(pod, "type", f"ask for {each}", gpu_type=each) for each in there if each]
        return found[:EASINGS_MAX] or [changed(pod, "type", "ask for any GPU type", gpu_type="")]


class Taints(Static):
    """Lets pods only on nodes whose taints they tolerate; prefers those without soft taints.

    ``NoSchedule`` and ``NoExecute`` rule a node out. Each ``PreferNoSchedule`` that is not
    tolerated halves its score.
    """

    name = "taints"
    priority = 1070
    filters = True
    scores = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Look at each distinct set of taints once."""
        if not any(snapshot.taint_sets):
            return None
        texts: list[str] = []
        codes, scores = [], []
        for taints in snapshot.taint_sets:
            bad = [each for each in taints if not tolerated(pod, each)]
            hard = [each for each in bad if each.effect != "PreferNoSchedule"]
            if hard:
                text = f"taint {_taint(hard[0])}"
                if text not in texts:
                    texts.append(text)
                codes.append(texts.index(text) + 1)
            else:
                codes.append(0)
            scores.append(100.0 / 2 ** (len(bad) - len(hard)))
        by_set = np.array(codes, dtype=np.int64)[snapshot.taints]
        return Asked(by_set, tuple(texts), np.array(scores, dtype=np.float64)[snapshot.taints])

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Tolerate one more taint, where it is the only one in the way."""
        found = {}
        for code in np.unique(snapshot.taints[rows]).tolist():
            taints = snapshot.taint_sets[code]
            hard = [each for each in taints if each.effect != "PreferNoSchedule"]
            bad = [each for each in hard if not tolerated(pod, each)]
            if len(bad) == 1:
                one = bad[0]
                toleration = Toleration(one.key, "Equal", one.value, one.effect)
                text = f"tolerate the taint {_taint(one)}, or remove it"
                more = (*pod.tolerations, toleration)
                found[text] = changed(pod, "tolerate", text, tolerations=more)
        return [found[text] for text in sorted(found)][:EASINGS_MAX]


def _taint(taint: Taint) -> str:
    value = f"={taint.value}" if taint.value else ""
    return f"{taint.key}{value}:{taint.effect}"


def tolerated(pod: Pod, taint: Taint) -> bool:
    """Whether a pod puts up with a taint, by the rules of Kubernetes."""
    for each in pod.tolerations:
        if each.effect and each.effect != taint.effect:
            continue
        if not each.key:
            if each.operator == "Exists":
                return True
        elif each.key == taint.key and (each.operator == "Exists" or each.value == taint.value):
            return True
    return False


class NodeSelector(Static):
    """Lets pods only on nodes that carry all labels of their selector."""

    name = "node-selector"
    priority = 1060
    filters = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Compare each label once."""
        if not pod.node_selector:
            return None
        codes = np.zeros(len(snapshot), dtype=np.int64)
        wanted = sorted(pod.node_selector.items())
        for number, (key, value) in reversed(list(enumerate(wanted, 1))):
            codes[~matching(snapshot, NodeAffinity(key, "In", (value,)))] = number
        return Asked(codes, tuple(f"label {key} is not {value}" for key, value in wanted))

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Drop one label."""
        found = []
        for key, value in sorted(pod.node_selector.items()):
            kept = {each: pod.node_selector[each] for each in pod.node_selector if each != key}
            text = f"drop the selector {key}={value}"
            found.append(changed(pod, "selector", text, node_selector=kept))
        return found[:EASINGS_MAX]


def matching(snapshot: Snapshot, term: NodeAffinity) -> NDArray[np.bool_]:
    """Tell by row whether a label is as a term says; ``NotIn`` holds where it is missing."""
    codes, words = snapshot.label(term.key)
    wanted = set(term.values)
    known = np.array([word in wanted for word in words] + [False], dtype=np.bool_)
    match term.operator:
        case "In":
            return known[codes]
        case "NotIn":
            return ~known[codes]
        case "Exists":
            return codes >= 0
        case "DoesNotExist":
            return codes < 0


class NodeAffinities(Static):
    """Lets pods only on nodes as their affinity requires; prefers those that it prefers.

    The score is the weight of the preferred terms that hold, in percent of the weight of all.
    """

    name = "node-affinity"
    priority = 1050
    filters = True
    scores = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Look at each term once."""
        if not pod.affinity:
            return None
        codes = np.zeros(len(snapshot), dtype=np.int64)
        required = [term for term in pod.affinity if term.weight <= 0]
        for number, term in reversed(list(enumerate(required, 1))):
            codes[~matching(snapshot, term)] = number
        scores = np.zeros(len(snapshot), dtype=np.float64)
        preferred = [term for term in pod.affinity if term.weight > 0]
        for term in preferred:
            scores[matching(snapshot, term)] += term.weight
        if preferred:
            scores *= 100.0 / sum(term.weight for term in preferred)
        texts = tuple(f"not {_term(term)}" for term in required)
        return Asked(codes, texts, np.minimum(scores, 100.0))

    def easings(self, pod: Pod, state: Asked, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Drop one required term."""
        found = []
        for at, term in enumerate(pod.affinity):
            if term.weight <= 0:
                kept = pod.affinity[:at] + pod.affinity[at + 1 :]
                text = f"drop the node affinity {_term(term)}"
                found.append(changed(pod, "affinity", text, affinity=kept))
        return found[:EASINGS_MAX]


def _term(term: NodeAffinity) -> str:
    values = f" {', '.join(term.values)}" if term.operator in ("In", "NotIn") else ""
    return f"{term.key} {term.operator}{values}"


class Avoid(Static):
    """Goes last to nodes where the replica could not be started a moment ago."""

    name = "avoid"
    weight = 20.0
    scores = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> Asked | None:
        """Look the nodes up."""
        rows = [snapshot.row[name] for name in pod.avoid if name in snapshot.row]
        if not rows:
            return None
        scores = np.full(len(snapshot), 100.0)
        scores[rows] = 0.0
        return Asked(scores=scores)
