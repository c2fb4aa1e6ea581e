"""All nodes at one moment, as columns: what is asked of every node is asked of all at once.

Rows are in the order of the nodes' names, so that the first of equal rows is the first by name. A
reservation touches one row, and is remembered in `Snapshot.log`, so that what was worked out for
the other rows stays true. A what-if is a copy.

Shares of GPUs are whole numbers of millionths: adding and taking away again restores a row exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from navarch.core.serving.views import GPU_RESOURCE, MIG_RESOURCE, Node, Slot, Taint

UNIT: Final = 1_000_000
"""A whole GPU."""
HOSTNAME: Final = "kubernetes.io/hostname"
"""The label that every node is taken to have: its name, where it says nothing else."""
LOG_MAX: Final = 65_536
"""Changes that are remembered; when there are more, everything is worked out anew."""

GPUS_MAX: Final = 64
"""GPUs of a node, a kind of MIG slice counted as one: what agents may register, too."""
SLICES_MAX: Final = 4_096
"""Slices of one kind on a node: 64 of each of its GPUs."""

Rows: TypeAlias = NDArray[np.intp] | slice
"""Some rows by number, ascending, or all of them by ``slice(None)``."""
Ints: TypeAlias = NDArray[np.int64]
Grouping: TypeAlias = Literal["node", "socket", "nvlink", "socket and nvlink"]
"""What GPUs have to have in common."""


def units(share: float) -> int:
    """Turn a share of a GPU into millionths, rounded down: three thirds fit on one GPU."""
    return int(share * UNIT + 1e-3)


def oversize(node: Node) -> str:
    """Say what is wrong with the number of a node's GPUs or slices; empty: nothing.

    Numbers come from documents of others, and each GPU costs memory for every node.
    """
    if len(node.gpus) > GPUS_MAX:
        return f"lists more than {GPUS_MAX} GPUs"
    for amounts in (node.capacity, node.allocatable):
        kinds = 0
        for resource, amount in amounts.items():
            whole = resource == GPU_RESOURCE
            if not whole and not resource.startswith(MIG_RESOURCE):
                continue
            limit = GPUS_MAX if whole else SLICES_MAX
            if not 0 <= amount <= limit:  # nor is NaN
                return f"has no possible number of {resource}: expected 0 to {limit:,}"
            kinds += int(amount) if whole else 1
        if kinds > GPUS_MAX and not node.gpus:
            return f"has more than {GPUS_MAX} GPUs and kinds of slices"
    return ""


def slots_of(node: Node) -> tuple[Slot, ...]:
    """List the GPUs that a node offers, none where there is an `oversize` of them.

    A node that lists none has as many equal ones as its capacity says, and one more for each kind
    of MIG slice. What `Node.allocatable` keeps from work is taken from the end.
    """
    if oversize(node):
        return ()
    allocatable = node.allocatable or node.capacity
    if node.gpus:
        kept = node.capacity.get(GPU_RESOURCE, 0) - allocatable.get(GPU_RESOURCE, 0)
        return node.gpus[: len(node.gpus) - int(kept)] if kept > 0 else node.gpus
    count = int(allocatable.get(GPU_RESOURCE, 0))
    slots = [Slot(index) for index in range(count)]
    for resource, slices in sorted(allocatable.items()):
        if resource.startswith(MIG_RESOURCE):
            profile = resource.removeprefix(MIG_RESOURCE)
            slots.append(Slot(len(slots), mig_free={profile: int(slices)}))
    return tuple(slots)


def why_out(node: Node) -> str:
    """Why nothing may begin to run on a node, in a word or two; empty: it may."""
    if wrong := oversize(node):
        return wrong
    if node.why_not:
        return node.why_not
    if node.unschedulable:
        return "cordoned"
    if not node.healthy:
        return "unhealthy"
    for condition in node.conditions:
        if condition.type == "Ready" and condition.status != "True":
            return "not ready"
    return ""


class Interned:
    """Words by number, in the order of their arrival."""

    def __init__(self) -> None:
        """Know no word."""
        self.words: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, word: str) -> int:
        """Give the word's number."""
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code


class Snapshot:
    """The nodes, by row; GPU columns have a second axis, the position of a GPU on its node.

    `free`, `mig` and `replicas` change with reservations. All else stays. Cost: O(nodes and GPUs)
    to make, O(GPUs of a node) to change a row.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        """Take these nodes; of several with one name the last."""
        named = {node.name: node for node in nodes}
        self.nodes: list[Node] = [named[name] for name in sorted(named)]
        """As they were given, by row."""
        self.names: tuple[str, ...] = tuple(node.name for node in self.nodes)
        self.row: dict[str, int] = {name: row for row, name in enumerate(self.names)}
        self.version = 0
        """How often it was changed."""
        self.epoch = 0
        """How often `log` was begun anew."""
        self.log: list[int] = []
        """The rows that reservations changed, in order."""
        self._slots = [slots_of(node) for node in self.nodes]
        self._node_columns()
        self._slot_columns()
        self._labels: dict[str, tuple[Ints, tuple[str, ...]]] = {}
        self._models: dict[str, NDArray[np.bool_]] = {}
        self._replicas: dict[str, Ints] = {}
        self._groups: dict[Grouping, tuple[Ints, int]] = {}
        self._divided: dict[str, dict[int, int]] = {}
        self._views: dict[int, Node | None] = {}
        """Rows that were changed, as nodes; None: to be made when it is asked for."""

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.nodes)

    def _node_columns(self) -> None:
        nodes = self.nodes
        why, types, regions = Interned(), Interned(), Interned()
        why.code("")
        self.why_out: Ints = _ints(why.code(why_out(node)) for node in nodes)
        """The number of the reason in `why_words`; 0: things may run here."""
        self.why_words = why.words
        self.gpu_type: Ints = _ints(types.code(node.gpu_type) for node in nodes)
        self.gpu_types = types.words
        self.region: Ints = _ints(regions.code(node.region) for node in nodes)
        self.regions = regions.words
        self.spot = np.array([node.spot for node in nodes], dtype=np.bool_)
        self.price = np.array([node.price_per_hour for node in nodes], dtype=np.float64)
        self.fetch = np.array([node.fetch_bytes_per_second for node in nodes], dtype=np.float64)
        """Bytes a second; 0: not known."""
        sets: dict[tuple[Taint, ...], int] = {}
        self.taints: Ints = _ints(sets.setdefault(node.taints, len(sets)) for node in nodes)
        """The number of the node's taints in `taint_sets`."""
        self.taint_sets: tuple[tuple[Taint, ...], ...] = tuple(sets)

    def _slot_columns(self) -> None:
        slots = self._slots
        shape = len(slots), max((len(each) for each in slots), default=0)
        self.offered = np.zeros(shape, dtype=np.bool_)
        """Whether there is a GPU at this position."""
        self.free: Ints = np.zeros(shape, dtype=np.int64)
        """Millionths that nobody has; 0 where a GPU is divided into slices."""
        self.memory: Ints = np.zeros(shape, dtype=np.int64)
        self.socket: Ints = np.full(shape, -1, dtype=np.int64)
        self.nvlink: Ints = np.full(shape, -1, dtype=np.int64)
        self.bandwidth: Ints = np.zeros(shape, dtype=np.int64)
        self.mig: dict[str, Ints] = {}
        """Free slices by profile."""
        for row, listed in enumerate(slots):
            width = len(listed)
            if not width:
                continue
            self.offered[row, :width] = True
            self.free[row, :width] = [_free_units(slot) for slot in listed]
            self.memory[row, :width] = [slot.memory for slot in listed]
            self.socket[row, :width] = [slot.socket for slot in listed]
            self.nvlink[row, :width] = [slot.nvlink for slot in listed]
            self.bandwidth[row, :width] = [slot.bandwidth for slot in listed]
            for at, slot in enumerate(listed):
                for profile, free in slot.mig_free.items():
                    if profile not in self.mig:
                        self.mig[profile] = np.zeros(shape, dtype=np.int64)
                    self.mig[profile][row, at] = free
        self.slot_count: Ints = counted(self.offered)
        """GPUs of each node."""
        self.free_sum: Ints = self.free.sum(axis=1)
        """What is free of all GPUs of each node, in millionths."""

    # --- columns that are made when they are first asked for --------------------------------

    def label(self, key: str) -> tuple[Ints, tuple[str, ...]]:
        """Give the values of a label: their numbers by row, -1 where it is missing, and the words.

        Every node has `HOSTNAME`. Cost: O(nodes) the first time.
        """
        if key not in self._labels:
            words = Interned()
            found = (
                node.labels.get(key, node.name if key == HOSTNAME else None) for node in self.nodes
            )
            codes = _ints(-1 if value is None else words.code(value) for value in found)
            self._labels[key] = codes, tuple(words.words)
        return self._labels[key]

    def has_model(self, model: str) -> NDArray[np.bool_]:
        """Tell by row whether a model's weights are on the disk."""
        if model not in self._models:
            here = [model in node.models for node in self.nodes]
            self._models[model] = np.array(here, dtype=np.bool_)
        return self._models[model]

    def replicas(self, agent_pool: str) -> Ints:
        """Count the replicas of a pool of agents by row, reservations included."""
        if agent_pool not in self._replicas:
            counts = _ints(node.replicas.get(agent_pool, 0) for node in self.nodes)
            self._replicas[agent_pool] = counts
        return self._replicas[agent_pool]

    def groups(self, by: Grouping) -> tuple[Ints, int]:
        """Number the groups of GPUs of each node that have something in common.

        Returns the number by row and position, -1 for a GPU in no group, and how many numbers there
        are. Numbers are dense in each row, in the order of their first GPUs.
        """
        if by not in self._groups:
            nvlink, socket = self.nvlink, self.socket
            joined = (nvlink << 16) | (socket & 0xFFFF)
            keys = {
                "node": np.zeros_like(socket),
                "socket": socket,
                "nvlink": nvlink,
                "socket and nvlink": np.where(nvlink >= 0, joined, -1),
            }
            self._groups[by] = _dense(np.where(self.offered, keys[by], -1))
        return self._groups[by]

    def slices(self, profile: str) -> Ints:
        """Count the free MIG slices of a profile by row and position."""
        if profile not in self.mig:
            self.mig[profile] = np.zeros(self.free.shape, dtype=np.int64)
        return self.mig[profile]

    # --- one row ------------------------------------------------------------------------------

    def gpu_index(self, row: int, at: int) -> int:
        """Give the index that the node itself has for the GPU at this position."""
        return self._slots[row][at].index

    def is_divided(self, row: int, at: int) -> bool:
        """Whether the GPU at this position is divided into slices."""
        return bool(self._slots[row][at].mig_free)

    def divided(self, profile: str) -> dict[int, int]:
        """Give the first position of each row where there are slices of a profile, free or not.

        Cost: O(GPUs) the first time.
        """
        if profile not in self._divided:
            self._divided[profile] = {
                row: min(at for at, slot in enumerate(slots) if profile in slot.mig_free)
                for row, slots in enumerate(self._slots)
                if any(profile in slot.mig_free for slot in slots)
            }
        return self._divided[profile]

    def positions(self, row: int, gpus: Sequence[int]) -> list[int]:
        """Give the positions of GPUs by their indexes.

        Raises `KeyError` when the node has no GPU of such an index.
        """
        slots = self._slots[row]
        if all(gpu < len(slots) and slots[gpu].index == gpu for gpu in gpus):
            return list(gpus)
        where = {slot.index: at for at, slot in enumerate(slots)}
        return [where[gpu] for gpu in gpus]

    def node(self, row: int) -> Node:
        """Show a row as a node, reservations included."""
        if row not in self._views:
            return self.nodes[row]
        view = self._views[row]
        if view is None:
            view = self._views[row] = self._view(row)
        return view

    def _view(self, row: int) -> Node:
        node, slots = self.nodes[row], []
        for at, slot in enumerate(self._slots[row]):
            mig = {profile: int(self.mig[profile][row, at]) for profile in slot.mig_free}
            free = slot.free if mig else int(self.free[row, at]) / UNIT
            slots.append(msgspec.structs.replace(slot, free=free, mig_free=mig))
        counts = {pool: int(self.replicas(pool)[row]) for pool in node.replicas}
        counts |= {pool: int(column[row]) for pool, column in self._replicas.items()}
        replicas = {pool: count for pool, count in counts.items() if count}
        return msgspec.structs.replace(node, gpus=tuple(slots), replicas=replicas)

    # --- changes --------------------------------------------------------------------------------

    def reserve(
        self, row: int, at: Sequence[int], share: int, *, mig: str = "", agent_pool: str = ""
    ) -> None:
        """Take a share, in millionths, of the GPUs at these positions, or a slice of each."""
        self._change(row, at, -share, -1, mig)
        if agent_pool:
            self.replicas(agent_pool)[row] += 1

    def unreserve(
        self, row: int, at: Sequence[int], share: int, *, mig: str = "", agent_pool: str = ""
    ) -> None:
        """Give back what `reserve` took, or what something that runs here has."""
        self._change(row, at, share, 1, mig)
        if agent_pool:
            self.replicas(agent_pool)[row] -= 1

    def _change(self, row: int, at: Sequence[int], share: int, slices: int, mig: str) -> None:
        if mig:
            column = self.slices(mig)
            for position in at:
                column[row, position] += slices
        else:
            free = self.free[row]
            for position in at:
                free[position] += share
            self.free_sum[row] += share * len(at)
        self._views[row] = None
        self.version += 1
        if len(self.log) >= LOG_MAX:
            self.log.clear()
            self.epoch += 1
        self.log.append(row)

    def copy(self) -> Snapshot:
        """Make a snapshot that can change without this one noticing. Cost: O(GPUs)."""
        twin = Snapshot.__new__(Snapshot)
        vars(twin).update(vars(self))
        twin.detach()
        return twin

    def detach(self) -> None:
        """Have own copies of what can change, after a shallow copy."""
        self.free = self.free.copy()
        self.free_sum = self.free_sum.copy()
        self.why_out = self.why_out.copy()
        self.mig = {profile: column.copy() for profile, column in self.mig.items()}
        self._replicas = {pool: column.copy() for pool, column in self._replicas.items()}
        self._views = self._views.copy()
        self.log = self.log.copy()

    def follow(self, other: Snapshot, row: int) -> None:
        """Take over a row of the snapshot that this one was copied from."""
        self.free[row], self.free_sum[row] = other.free[row], other.free_sum[row]
        for profile, column in other.mig.items():
            self.slices(profile)[row] = column[row]
        for pool in other.counted_pools() | self.counted_pools():
            self.replicas(pool)[row] = other.replicas(pool)[row]
        self.reserve(row, (), 0)

    def counted_pools(self) -> set[str]:
        """Name the pools of agents whose replicas anybody has asked for."""
        return set(self._replicas)

    def with_free(self, row: int, at: Sequence[int], share: int, mig: str = "") -> Snapshot:
        """Copy, with so much free on these GPUs, or a slice more for each time one is named."""
        twin = self.copy()
        for position in at:
            free = 0 if mig else int(self.free[row, position])
            twin.unreserve(row, (position,), max(share - free, 0), mig=mig)
        return twin

    def with_service(self, row: int) -> Snapshot:
        """Copy, with nothing that keeps work from this node."""
        twin = self.copy()
        twin.why_out[row] = 0
        return twin

    def reserved(self) -> tuple[object, ...]:
        """Everything that reservations change, for comparing."""
        mig = {profile: column.tolist() for profile, column in self.mig.items() if column.any()}
        pools = {}
        for pool, column in self._replicas.items():
            given = _ints(node.replicas.get(pool, 0) for node in self.nodes)
            if (column != given).any():
                pools[pool] = (column - given).tolist()
        return self.free.tolist(), mig, pools


def counted(flags: NDArray[np.bool_]) -> Ints:
    """Count what is true in each row: by a product, which is seven times as fast as a sum."""
    counts: Ints = (flags.astype(np.float32) @ np.ones(flags.shape[1], np.float32)).astype(np.int64)
    return counts


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _free_units(slot: Slot) -> int:
    """Millionths that are free, to the nearest: what is left of shares is no exact number."""
    return 0 if slot.mig_free else round(min(max(slot.free, 0.0), 1.0) * UNIT)


def _dense(key: Ints) -> tuple[Ints, int]:
    """Number the different non-negative keys of each row from 0."""
    numbers = np.full(key.shape, -1, dtype=np.int64)
    most = 0
    patterns: dict[bytes, list[int]] = {}
    for row in range(key.shape[0]):
        raw = key[row].tobytes()
        if raw not in patterns:
            seen: dict[int, int] = {}
            found = key[row].tolist()
            patterns[raw] = [-1 if k < 0 else seen.setdefault(k, len(seen)) for k in found]
            most = max(most, len(seen))
        numbers[row] = patterns[raw]
    return numbers, most
