"""GPUs: whether a node has those that a pod asks for, how well they fit, and which they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling.batch import Batch, Easing, Floats, changed
from navarch.core.serving.scheduling.snapshot import (
    UNIT,
    Grouping,
    Ints,
    Rows,
    Snapshot,
    counted,
    units,
)
from navarch.core.serving.views import MIG_RESOURCE, Pod

COUNT_MAX: Final = 4096
"""GPUs, or slices, that one pod may ask for."""

FRESH: Final = 25.0
"""How good it is to put a share on a GPU that nobody uses yet, from 0 to 100."""


class Ask(Struct, frozen=True):
    """The GPUs that a pod asks for."""

    kind: Literal["none", "whole", "share", "mig"]
    count: int = 0
    """GPUs, or slices."""
    units: int = 0
    """Millionths of each GPU."""
    by: Grouping = "node"
    """What they have to have in common."""
    fault: str = ""
    """Why nobody could give them; empty: the question is a good one."""


def ask_of(pod: Pod) -> Ask:
    """Read what a pod asks for."""
    request = pod.gpu_request
    if not math.isfinite(request) or not 0 <= request <= COUNT_MAX:
        return Ask("none", fault=f"asks for {request:g} GPUs: expected from 0 to {COUNT_MAX}")
    if pod.mig_profile:
        slices = request or 1
        if slices != int(slices):
            return Ask("none", fault=f"asks for {slices:g} slices: expected a whole number")
        return Ask("mig", int(slices))
    if not request:
        return Ask("none")
    if request < 1:
        if not (share := units(request)):
            return Ask("none", fault=f"asks for {request:g} GPUs: a millionth is the least")
        return Ask("share", 1, share)
    if request != int(request):
        fault = f"asks for {request:g} GPUs: expected a whole number, or a share below 1"
        return Ask("none", fault=fault)
    return Ask("whole", int(request), UNIT, grouping(pod) if request > 1 else "node")


def grouping(pod: Pod) -> Grouping:
    """Say what the pod's GPUs have to have in common, if there are several."""
    linked = pod.locality == "nvlink" or pod.min_bandwidth > 0
    if pod.locality == "same-socket":
        return "socket and nvlink" if linked else "socket"
    return "nvlink" if linked else "node"


def together(good: NDArray[np.bool_], groups: Ints, count: int) -> Ints:
    """Count the GPUs in the fullest group of each row."""
    most = counted(good & (groups == 0))
    for group in range(1, count):
        np.maximum(most, counted(good & (groups == group)), out=most)
    return most


class _Fit(Struct):
    ask: Ask
    good: NDArray[np.bool_]
    """Which GPUs could serve if they were free."""
    structural: Ints
    """By row, the reason that no waiting cures; 0: none."""
    groups: Ints
    group_count: int
    texts: tuple[str, ...]
    mig: str
    """The slice that is asked for; empty: none."""


_NO_GPUS, _FEW, _MEMORY, _UNKNOWN, _APART, _NO_FREE, _FEW_FREE, _FREE_APART = range(1, 9)
_NO_SHARE, _NO_SLICE, _FEW_SLICES = range(9, 12)
"""Reasons by number, in the order of `_words`."""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.4g} GB" if size % 2**30 else f"{size >> 30} GiB"


def _words(pod: Pod, ask: Ask) -> tuple[str, ...]:
    near = "on one socket" if ask.by == "socket" else "joined by NVLink"
    if pod.min_bandwidth:
        near += f" of {pod.min_bandwidth / 1e9:g} GB/s"
    count = ask.count
    return (
        "no GPUs",
        f"fewer than {count} GPUs",
        f"GPUs of less than {_gigabytes(pod.gpu_memory)}",
        "GPU memory not known",
        f"no {count} GPUs {near}",
        "no free GPUs",
        f"fewer than {count} free GPUs",
        f"no {count} free GPUs {near}",
        f"no GPU with {pod.gpu_request:g} free",
        f"no free {pod.mig_profile} slice",
        f"fewer than {count} free {pod.mig_profile} slices",
    )


class GPUFit(Batch):
    """Lets pods only where the GPUs are free that they ask for.

    Count, memory, shares, MIG slices, and how near to each other they are.
    """

    name = "gpu-fit"
    priority = 1000
    filters = True
    dynamic = True
    essential = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> _Fit | None:
        """Find the GPUs that could serve."""
        ask = ask_of(pod)
        if ask.kind == "none":
            return None
        groups, group_count = snapshot.groups(ask.by)
        good = snapshot.offered.copy()
        if pod.gpu_memory:
            good &= snapshot.memory >= pod.gpu_memory
        if pod.min_bandwidth and ask.by != "node":
            good &= snapshot.bandwidth >= pod.min_bandwidth
        structural = np.zeros(len(snapshot), dtype=np.int64)
        need = 1 if ask.kind == "mig" else ask.count
        if ask.by != "node":
            structural[together(good, groups, group_count) < need] = _APART
        if pod.gpu_memory:
            enough = counted(snapshot.offered & (snapshot.memory >= pod.gpu_memory)) >= need
            unknown = (snapshot.offered & (snapshot.memory == 0)).any(axis=1)
            structural[~enough & unknown] = _UNKNOWN
            structural[~enough & ~unknown] = _MEMORY
        structural[snapshot.slot_count < need] = _FEW
        structural[snapshot.slot_count == 0] = _NO_GPUS
        words = _words(pod, ask)
        return _Fit(ask, good, structural, groups, group_count, words, pod.mig_profile)

    def mask(self, state: _Fit, snapshot: Snapshot, rows: Rows) -> Ints:
        """Say which rows have enough free GPUs."""
        ask, good = state.ask, state.good[rows]
        if ask.kind == "mig":
            slices = np.where(good, snapshot.slices(state.mig)[rows], 0).sum(axis=1)
            short = np.where(slices > 0, _FEW_SLICES, _NO_SLICE)
            return _masked(state, rows, np.where(slices >= ask.count, 0, short))
        free = good & (snapshot.free[rows] >= ask.units)
        if ask.kind == "share":
            return _masked(state, rows, np.where(free.any(axis=1), 0, _NO_SHARE))
        count = counted(free)
        codes = np.where(count >= ask.count, 0, np.where(count, _FEW_FREE, _NO_FREE))
        if ask.by != "node":
            near = together(free, state.groups[rows], state.group_count)
            codes[(codes == 0) & (near < ask.count)] = _FREE_APART
        return _masked(state, rows, codes)

    def texts(self, state: _Fit, snapshot: Snapshot) -> Sequence[str]:
        """Name the reasons."""
        return state.texts

    def easings(self, pod: Pod, state: _Fit, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """List GPUs to be freed, and smaller asks."""
        found = self._freeing(pod, state, snapshot, rows)
        if pod.locality not in ("any", "same-node"):
            found.append(changed(pod, "topology", "ask for locality any", locality="any"))
        if pod.min_bandwidth:
            found.append(changed(pod, "topology", "ask for no minBandwidth", 1, min_bandwidth=0))
        if pod.gpu_memory:
            most = int(np.where(snapshot.offered[rows], snapshot.memory[rows], 0).max(initial=0))
            if 0 < most < pod.gpu_memory:
                text = f"ask for GPUs of {_gigabytes(most)}"
                found.append(changed(pod, "memory", text, -most, gpu_memory=most))
        found.extend(self._fewer(pod, state, snapshot, rows))
        return found

    def _freeing(self, pod: Pod, state: _Fit, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Find the node where the least has to be freed."""
        best: tuple[float, int, tuple[int, ...]] | None = None
        for row in rows[state.structural[rows] == 0].tolist():
            busy = _to_free(state, snapshot, row)
            if busy is not None and (best is None or busy[0] < best[0]):
                best = busy[0], row, busy[1]
        if best is None:
            return []
        amount, row, at = best
        name, gpus = snapshot.names[row], tuple(snapshot.gpu_index(row, each) for each in at)
        which = " and ".join(str(gpu) for gpu in dict.fromkeys(gpus))
        match state.ask.kind:
            case "share":
                text = f"free {pod.gpu_request:g} of GPU {which} on {name}"
            case "mig":
                plural = "s" if len(gpus) > 1 else ""
                text = f"free {len(gpus)} more {state.mig} slice{plural} on {name}"
            case _:
                plural = "s" if len(gpus) > 1 else ""
                text = f"free {len(gpus)} more GPU{plural} on {name} ({which})"
        share = state.ask.units / UNIT or 1.0
        return [Easing("free", text, amount, None, name, gpus, share, state.mig)]

    def _fewer(self, pod: Pod, state: _Fit, snapshot: Snapshot, rows: Ints) -> list[Easing]:
        """Find the most that could be had at once."""
        ask, good = state.ask, state.good[rows]
        if ask.kind == "share":
            free = np.where(good, snapshot.free[rows], 0).max(initial=0)
            if not (share := int(free)):
                return []
            text = f"ask for {share / UNIT:g} of a GPU"
            return [changed(pod, "count", text, -share, gpu_request=share / UNIT)]
        if ask.kind == "mig":
            most = int(np.where(good, snapshot.slices(state.mig)[rows], 0).sum(axis=1).max())
        else:
            free_now = good & (snapshot.free[rows] >= UNIT)
            most = int(together(free_now, state.groups[rows], state.group_count).max())
        if not 0 < most < ask.count:
            return []
        noun = f"{state.mig} slice" if ask.kind == "mig" else "GPU"
        text = f"ask for {most} {noun}{'s' if most > 1 else ''}"
        return [changed(pod, "count", text, -most, gpu_request=float(most))]


def _masked(state: _Fit, rows: Rows, codes: Ints) -> Ints:
    structural = state.structural[rows]
    return np.where(structural, structural, codes)


def _to_free(state: _Fit, snapshot: Snapshot, row: int) -> tuple[float, tuple[int, ...]] | None:
    """Find what has to be freed on a row: how much, and at which positions. None: it cannot be."""
    ask = state.ask
    good = np.flatnonzero(state.good[row]).tolist()
    free = snapshot.free[row].tolist()
    if ask.kind == "mig":
        capacity = snapshot.nodes[row].capacity.get(MIG_RESOURCE + state.mig, 0)
        if row not in snapshot.divided(state.mig) or capacity < ask.count:
            return None
        have = snapshot.slices(state.mig)[row].tolist()
        missing = ask.count - sum(have[at] for at in good)
        return float(missing), (snapshot.divided(state.mig)[row],) * missing
    whole = [at for at in good if not snapshot.is_divided(row, at)]
    if ask.kind == "share":
        if not whole:
            return None
        at = max(whole, key=lambda each: (free[each], -each))
        return (ask.units - free[at]) / UNIT, (at,)
    groups = state.groups[row].tolist()
    members: dict[int, list[int]] = {}
    for at in whole:
        if groups[at] >= 0:
            members.setdefault(groups[at], []).append(at)
    options = []
    for among in members.values():
        busy = sorted((at for at in among if free[at] < UNIT), key=lambda at: (-free[at], at))
        missing = ask.count - (len(among) - len(busy))
        if len(among) >= ask.count and missing > 0:
            options.append((float(missing), tuple(sorted(busy[:missing]))))
    return min(options) if options else None


# --- which ones --------------------------------------------------------------------------------


def choose(fit: _Fit | None, snapshot: Snapshot, row: int) -> tuple[int, ...] | None:
    """Choose the GPUs of a row that a pod gets, by position, ascending.

    They are chosen so that what stays free stays useful: shares go to GPUs that are shared already,
    several GPUs to the smallest group that holds them. Of a slice each position stands for one.
    None: the row has not enough.
    """
    if fit is None:
        return ()
    ask = fit.ask
    if fit.structural[row]:
        return None
    good = np.flatnonzero(fit.good[row]).tolist()
    if ask.kind == "mig":
        return _choose_slices(snapshot.slices(fit.mig)[row].tolist(), good, ask.count)
    free = snapshot.free[row].tolist()
    links = snapshot.groups("nvlink")[0][row].tolist()
    whole = [0] * (len(links) + 1)
    for at in good:
        if free[at] >= UNIT:
            whole[links[at]] += 1
    if ask.kind == "share":
        fits = [at for at in good if free[at] >= ask.units]
        if not fits:
            return None
        return (min(fits, key=lambda at: (free[at], whole[links[at]], at)),)
    groups = links if ask.by == "node" else fit.groups[row].tolist()
    members: dict[int, list[int]] = {}
    for at in good:
        if free[at] >= UNIT:
            members.setdefault(groups[at], []).append(at)
    options = sorted((len(each), group, each) for group, each in members.items())
    for size, group, each in options:
        if size >= ask.count and (group >= 0 or ask.by == "node"):
            return tuple(each[: ask.count])
    if ask.by != "node":
        return None
    flat = [at for _, _, each in options for at in each]
    return tuple(sorted(flat[: ask.count])) if len(flat) >= ask.count else None


def _choose_slices(free: list[int], good: list[int], count: int) -> tuple[int, ...] | None:
    chosen: list[int] = []
    for at in sorted((at for at in good if free[at] > 0), key=lambda at: (free[at], at)):
        chosen.extend([at] * min(free[at], count - len(chosen)))
        if len(chosen) == count:
            return tuple(sorted(chosen))
    return None


# --- how well they go there --------------------------------------------------------------------


class Packing(Batch):
    """Fills nodes that are in use already, or spreads pods, as the pod's strategy says.

    Packed: the share of the node's GPUs that would be in use. Spread: the share that would stay
    free, divided by the replicas of the same pool there, and one.
    """

    name = "packing"
    scores = True
    dynamic = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> tuple[Pod, Ask]:
        """Read what the pod asks for."""
        return pod, ask_of(pod)

    def score(self, state: tuple[Pod, Ask], snapshot: Snapshot, rows: Rows) -> Floats:
        """Say how full each row would be."""
        pod, ask = state
        total = np.maximum(snapshot.slot_count[rows], 1) * UNIT
        free = snapshot.free_sum[rows]
        need = 0 if ask.kind == "mig" else ask.count * ask.units
        left = np.maximum(free - need, 0) / total
        if pod.strategy == "bin-pack":
            packed: Floats = 100.0 - 100.0 * left
            return packed
        spread: Floats = 100.0 * left / (1 + snapshot.replicas(pod.agent_pool)[rows])
        return spread


class Fragmentation(Batch):
    """Keeps whole GPUs and whole NVLink groups free for those who need them.

    Whole GPUs: 100 where they use up what is free in a group, less for each GPU that is left over
    in it. Shares: at least 50 on a GPU that is shared already, 25 on one that nobody uses yet.
    Slices: 100 where they use up the node's slices.
    """

    name = "fragmentation"
    scores = True
    dynamic = True

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> _Fit | None:
        """Find the GPUs that could serve. Nothing to say about pods that are to be spread."""
        return GPUFit().prepare(pod, pool, snapshot) if pod.strategy == "bin-pack" else None

    def score(self, state: _Fit, snapshot: Snapshot, rows: Rows) -> Floats:
        """Say how little would be left over."""
        ask, good = state.ask, state.good[rows]
        if ask.kind == "mig":
            slices = np.where(good, snapshot.slices(state.mig)[rows], 0).sum(axis=1)
            left_over: Floats = 100.0 / (1 + np.maximum(slices - ask.count, 0))
            return left_over
        if ask.kind == "share":
            free = np.where(good, snapshot.free[rows], 0)
            least = np.where(free >= ask.units, free, 2 * UNIT).min(axis=1, initial=2 * UNIT)
            shared = 100.0 - 50.0 * (least - ask.units) / UNIT
            return np.where(least < UNIT, shared, FRESH)
        whole = good & (snapshot.free[rows] >= UNIT)
        groups, count = state.groups, state.group_count
        if ask.by == "node":
            groups, count = snapshot.groups("nvlink")
        groups = groups[rows]
        spare = counted(whole) - ask.count
        least = np.where(spare >= 0, spare, UNIT)
        for group in range(-1 if ask.by == "node" else 0, count):
            spare = counted(whole & (groups == group)) - ask.count
            np.minimum(least, np.where(spare >= 0, spare, UNIT), out=least)
        size = np.maximum(snapshot.slot_count[rows], 1)
        kept: Floats = 100.0 * (1 - np.minimum(least / size, 1.0))
        return kept
