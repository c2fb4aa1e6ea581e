"""Samples: the newest readings of every node, in packed rings.

A heartbeat of 8 GPUs is 42 numbers, and a hundred of them of each of a hundred thousand nodes are
kept. As Python objects that would be 100 GB; here a sample is one record of 128 bytes, written by
one call, and the newest of many nodes are read by one.

Nodes are kept by how many GPUs they have, so that a record is as wide as its node: a `_Block` for
1, 2, 4, 8, 16 GPUs and so on. A block grows by whole pages, each a quarter of what there is, and
never moves what it has. In a page the first samples of all its nodes lie together, then the second
ones, so that memory is taken from the system about as samples come.

What is rounded on the way (readings of sensors are coarser than that):

- percentages are 32-bit floats, shown with 4 decimals;
- memory is whole KiB, at most 4 TiB a GPU; power 0 to 65,535 W; temperatures -32,768 to 32,767 °C;
- the index of a GPU is at most 255.

Values beyond these ends become the end. Moments are whole microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.sample_records import SIZES, Page, Records, layout, packer

KEPT: Final = 100
"""Samples of a node that are kept: 50 minutes at one every 30 seconds."""
ROWS_FIRST: Final = 64
"""Nodes of the first page of a block."""
_GROWTH: Final = 4
"""A new page is so small a part of the others: that is the most that may be taken in vain."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_KIB: Final = 1024
_DECIMALS: Final = 4
_MEMORY_MAX: Final = 2**32 - 1
_POWER_MAX: Final = 2**16 - 1
_TEMPERATURE_MIN: Final = -(2**15)
_TEMPERATURE_MAX: Final = 2**15 - 1
_INDEX_MAX: Final = 255
_FLOAT_MAX: Final = 3.4e38
_ROW_BITS: Final = 40
_ROW_MASK: Final = (1 << _ROW_BITS) - 1

_Chosen = slice | NDArray[np.int64]


class Utilization(Struct, frozen=True):
    """How busy the GPUs of many nodes are."""

    mean: float
    """Over all GPUs, from 0 to 100."""
    nodes: int
    """How many nodes have told it."""
    gpus: int
    newest: datetime
    """When the newest of the samples came."""


class Columns(Struct, frozen=True):
    """A sample of one node, the readings of its GPUs as columns of equal length."""

    cpu_percent: float
    memory_percent: float
    index: Sequence[int]
    temperature_celsius: Sequence[int]
    power_watts: Sequence[int]
    utilization_percent: Sequence[float]
    memory_used: Sequence[int]
    """Bytes."""


class Readings(Struct, frozen=True):
    """Samples of many nodes as columns, a row each; those of GPUs have a second dimension.

    Only the first `gpus[row]` columns of a row count; the others must be zero.
    """

    cpu_percent: NDArray[np.floating[Any]]
    memory_percent: NDArray[np.floating[Any]]
    gpus: NDArray[np.integer[Any]]
    index: NDArray[np.integer[Any]]
    temperature_celsius: NDArray[np.integer[Any]]
    power_watts: NDArray[np.integer[Any]]
    utilization_percent: NDArray[np.floating[Any]]
    memory_used: NDArray[np.integer[Any]]
    """Bytes."""


class Samples:
    """The newest samples of each node; nodes that never sent one are absent."""

    def __init__(self, kept: int = KEPT) -> None:
        """Keep so many samples of each node, at least one."""
        if kept < 1:
            raise ValueError(f"{kept} samples of a node: expected at least 1")
        self._kept = kept
        self._blocks: list[_Block] = []
        """Of 1, 2, 4, 8 GPUs and so on."""
        self._where: dict[str, int] = {}
        """By node: the number of its block in the high bits, its row there in the low ones."""

    def __contains__(self, node_id: object) -> bool:
        """Whether a node has sent a sample."""
        return node_id in self._where

    def __iter__(self) -> Iterator[str]:
        """All who have sent one."""
        return iter(self._where)

    def __len__(self) -> int:
        """How many nodes have sent one."""
        return len(self._where)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same samples. Cost: O(samples)."""
        return (
            isinstance(other, Samples)
            and self._where.keys() == other._where.keys()
            and all(self.history(node_id) == other.history(node_id) for node_id in self)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __deepcopy__(self, memo: dict[int, object]) -> Samples:
        """Return the same samples in memory of their own. Cost: O(samples), in Python."""
        copied = memo[id(self)] = Samples(self._kept)
        for node_id in self:
            for at, sample in self.history(node_id):
                copied.record(node_id, at, sample)
        return copied

    @property
    def nbytes(self) -> int:
        """Bytes that samples take, with the columns beside them. Cost: O(nodes)."""
        return sum(block.nbytes for block in self._blocks)

    def record(self, node_id: str, at: datetime, sample: NodeSample) -> None:
        """Keep a sample; the oldest one goes. Cost: O(its GPUs), amortised: 6 µs for 8."""
        self.record_columns(node_id, moment_of(at), _columns(sample))

    def record_columns(self, node_id: str, at: int, sample: Columns) -> None:
        """Keep a sample whose GPUs come as columns; `at` as `moment_of` gives it.

        Cost: O(its GPUs), amortised: 3 µs for 8.
        """
        place = self._where.get(node_id)
        if place is None or (1 << (place >> _ROW_BITS)) < len(sample.index):
            place = self._place(node_id, len(sample.index))
        self._blocks[place >> _ROW_BITS].write(place & _ROW_MASK, at, sample)

    def record_many(self, node_ids: Sequence[str], at: datetime, readings: Readings) -> None:
        """Keep a sample of each of these nodes, of which none is named twice.

        Cost: O(samples), a few NumPy calls for all, and one dictionary look-up for each.
        """
        if not node_ids:
            return
        places = self._places(node_ids, readings.gpus)
        blocks, rows = places >> _ROW_BITS, places & _ROW_MASK
        when = moment_of(at)
        first = int(blocks[0])
        if (blocks == first).all():
            self._blocks[first].write_many(rows, when, readings, slice(None))
            return
        for number in np.unique(blocks).tolist():
            chosen = np.nonzero(blocks == number)[0]
            self._blocks[number].write_many(rows[chosen], when, readings, chosen)

    def newest(self, node_id: str) -> NodeSample | None:
        """Return the newest sample of a node; None when it never sent one. Cost: O(its GPUs)."""
        found = self._find(node_id)
        return None if found is None else found[0].read(found[1], 0)[1]

    def newest_at(self, node_id: str) -> datetime | None:
        """When the newest sample of a node came; None when it never sent one."""
        found = self._find(node_id)
        return None if found is None else _at(int(found[0].newest[found[1]]))

    def load(self, node_id: str) -> float | None:
        """Return the mean utilization of a node's GPUs, from 0 to 100; None when none was read."""
        found = self._find(node_id)
        if found is None:
            return None
        block, row = found
        gpus = int(block.gpus[row])
        return float(block.busy[row]) / gpus if gpus else None

    def history(self, node_id: str) -> list[tuple[datetime, NodeSample]]:
        """Return what is kept of a node, oldest first. Cost: O(samples × GPUs), in Python."""
        found = self._find(node_id)
        if found is None:
            return []
        block, row = found
        count = min(int(block.written[row]), self._kept)
        return [block.read(row, age) for age in range(count - 1, -1, -1)]

    def utilization(self, node_ids: Iterable[str], since: datetime) -> Utilization | None:
        """Return the mean over all GPUs of these nodes, from their newest samples.

        Samples older than `since` do not count; None when no GPU is left. Cost: a dictionary
        look-up for each node, and a few NumPy calls for all.
        """
        where = self._where
        places = np.array([where[id_] for id_ in node_ids if id_ in where], dtype=np.int64)
        blocks, rows = places >> _ROW_BITS, places & _ROW_MASK
        limit = moment_of(since)
        busy, gpus, nodes, newest = 0.0, 0, 0, -1
        for number, block in enumerate(self._blocks):
            picked = rows[blocks == number]
            picked = picked[(block.newest[picked] >= limit) & (block.gpus[picked] > 0)]
            if len(picked):
                busy += float(block.busy[picked].sum())
                gpus += int(block.gpus[picked].sum())
                nodes += len(picked)
                newest = max(newest, int(block.newest[picked].max()))
        return Utilization(busy / gpus, nodes, gpus, _at(newest)) if gpus else None

    def activity(
        self, node_ids: Sequence[str], since: datetime, least: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return of each node how many GPUs are busy, how many were read, and their utilization.

        Busy is one with `least` percent or more in the newest sample; the utilization is the sum
        over all GPUs. A node without a sample since `since` has none. Cost: a dictionary look-up
        for each node, and a few NumPy calls for all.
        """
        get = self._where.get
        places = np.array([get(id_, -1) for id_ in node_ids], dtype=np.int64)
        active = np.zeros(len(places), dtype=np.int64)
        read = np.zeros(len(places), dtype=np.int64)
        busy = np.zeros(len(places), dtype=np.float64)
        blocks, rows = places >> _ROW_BITS, places & _ROW_MASK  # a block of -1 is nobody's
        limit = moment_of(since)
        for number, block in enumerate(self._blocks):
            mine = np.nonzero(blocks == number)[0]
            mine = mine[block.newest[rows[mine]] >= limit]
            if len(mine):
                read[mine] = block.gpus[rows[mine]]
                busy[mine] = block.busy[rows[mine]]
                active[mine] = block.active(rows[mine], least)
        return active, read, busy

    def pop(self, node_id: str) -> None:
        """Forget a node. Its memory is used again, by another with as many GPUs."""
        found = self._find(node_id)
        if found is not None:
            found[0].free(found[1])
            del self._where[node_id]

    def _find(self, node_id: str) -> tuple[_Block, int] | None:
        place = self._where.get(node_id)
        return None if place is None else (self._blocks[place >> _ROW_BITS], place & _ROW_MASK)

    def _places(self, node_ids: Sequence[str], gpus: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Find where nodes are, or make room for those that are new or have more GPUs now."""
        where = self._where
        if any(node_id not in where for node_id in node_ids):
            for node_id, count in zip(node_ids, gpus.tolist(), strict=True):
                if node_id not in where:
                    self._place(node_id, count)
        places = np.array([where[node_id] for node_id in node_ids], dtype=np.int64)
        tight = np.nonzero(gpus > (1 << (places >> _ROW_BITS)))[0]
        for number in tight.tolist():
            places[number] = self._place(node_ids[number], int(gpus[number]))
        return places

    def _place(self, node_id: str, gpus: int) -> int:
        """Make room for a node that is new, or that has more GPUs than it had."""
        number = max(gpus - 1, 0).bit_length()
        while len(self._blocks) <= number:
            self._blocks.append(_Block(1 << len(self._blocks), self._kept))
        block = self._blocks[number]
        row = block.take()
        before = self._find(node_id)
        if before is not None:
            for at, sample in self.history(node_id):
                block.write(row, moment_of(at), _columns(sample))
            before[0].free(before[1])
        place = number << _ROW_BITS | row
        self._where[node_id] = place
        return place


def moment_of(at: datetime) -> int:
    """Return a moment as samples keep it: microseconds since the year 2000."""
    return (at - _EPOCH) // _MICROSECOND


def _at(moment: int) -> datetime:
    return _EPOCH + moment * _MICROSECOND


def _columns(sample: NodeSample) -> Columns:
    gpus = sample.gpus
    return Columns(
        sample.cpu_percent,
        sample.memory_percent,
        [gpu.index for gpu in gpus],
        [gpu.temperature_celsius for gpu in gpus],
        [gpu.power_watts for gpu in gpus],
        [gpu.utilization_percent for gpu in gpus],
        [gpu.memory_used for gpu in gpus],
    )


class _Block:
    """The samples of the nodes that have up to `width` GPUs."""

    __slots__ = (
        *("_deepest", "_free", "_kept", "_layout", "_packers", "_pages", "_place_of", "_rows"),
        *("busy", "gpus", "newest", "width", "written"),
    )

    def __init__(self, width: int, kept: int) -> None:
        self.width = width
        self._kept = kept
        self._layout = layout(width)
        self._packers = [packer(width, gpus) for gpus in range(width + 1)]
        self._pages: list[Page] = []
        self._place_of: list[tuple[Page, int]] = []
        """By row: its page, and its number there."""
        self._free: list[int] = []
        self._rows = 0
        self.written: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """By row: how many samples it ever got; the newest is in place (written - 1) % kept."""
        self._deepest: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """By row: how many places were ever used, by nodes that are forgotten."""
        self.newest: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """By row: when the newest sample came."""
        self.busy: NDArray[np.float64] = np.zeros(0, dtype=np.float64)
        """By row: the sum of the utilization of all GPUs, in the newest sample."""
        self.gpus: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """By row: how many GPUs the newest sample has."""

    @property
    def nbytes(self) -> int:
        used = np.maximum(self._deepest, np.minimum(self.written, self._kept)).sum()
        columns = (self.written, self._deepest, self.newest, self.busy, self.gpus)
        return int(used) * self._layout.itemsize + sum(column.nbytes for column in columns)

    def take(self) -> int:
        """Return a row that nobody uses."""
        if self._free:
            return self._free.pop()
        row = self._rows
        self._rows += 1
        last = self._pages[-1] if self._pages else None
        if last is None or row == last.first + last.rows:
            rows = max(ROWS_FIRST, row // _GROWTH)
            last = Page(row, rows, self._kept, self._layout)
            self._pages.append(last)
            for name in ("written", "_deepest", "newest", "busy", "gpus"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate((column, np.zeros(rows, dtype=column.dtype))))
        self._place_of.append((last, row - last.first))
        return row

    def free(self, row: int) -> None:
        """Let a row be used by another node."""
        self._deepest[row] = max(self._deepest[row], min(self.written[row], self._kept))
        self.written[row] = 0
        self.gpus[row] = 0
        self._free.append(row)

    def write(self, row: int, at: int, sample: Columns) -> None:
        """Write the next sample of a row."""
        index, utilization = sample.index, sample.utilization_percent
        cpu, memory = sample.cpu_percent, sample.memory_percent
        celsius, watts = sample.temperature_celsius, sample.power_watts
        kibs = [(used + _KIB // 2) // _KIB for used in sample.memory_used]
        gpus = len(index)
        written = self.written.item(row)
        page, number = self._place_of[row]
        offset = (written % self._kept * page.rows + number) * self._layout.itemsize
        pack = self._packers[gpus].pack_into
        try:
            pack(
                *(page.buffer, offset, at, cpu, memory),
                *(*utilization, *kibs, *celsius, *watts, *index, gpus),
            )
        except (struct.error, OverflowError):
            pack(
                *(page.buffer, offset, at, _cut(cpu), _cut(memory)),
                *map(_cut, utilization),
                *(min(max(each, 0), _MEMORY_MAX) for each in kibs),
                *(min(max(each, _TEMPERATURE_MIN), _TEMPERATURE_MAX) for each in celsius),
                *(min(max(each, 0), _POWER_MAX) for each in watts),
                *(min(max(each, 0), _INDEX_MAX) for each in index),
                gpus,
            )
        self.written[row] = written + 1
        self.newest[row] = at
        self.busy[row] = sum(utilization)
        self.gpus[row] = gpus

    def write_many(
        self, rows: NDArray[np.int64], at: int, readings: Readings, chosen: _Chosen
    ) -> None:
        """Write the next sample of many rows, none of them twice: `chosen` of the readings."""
        width = min(self.width, readings.index.shape[1])
        records: Records = np.zeros(len(rows), dtype=self._layout)
        utilization = readings.utilization_percent[chosen, :width]
        gpus = readings.gpus[chosen]
        used = readings.memory_used[chosen, :width]
        kibs = (used >> 10) + ((used & (_KIB - 1)) >> 9)  # rounded, and without an overflow
        records["at"] = at
        records["cpu"] = readings.cpu_percent[chosen]
        records["memory"] = readings.memory_percent[chosen]
        records["utilization"][:, :width] = utilization
        records["used"][:, :width] = kibs.clip(0, _MEMORY_MAX)
        records["temperature"][:, :width] = readings.temperature_celsius[chosen, :width].clip(
            _TEMPERATURE_MIN, _TEMPERATURE_MAX
        )
        records["power"][:, :width] = readings.power_watts[chosen, :width].clip(0, _POWER_MAX)
        records["index"][:, :width] = readings.index[chosen, :width].clip(0, _INDEX_MAX)
        records["gpus"] = gpus
        places = self.written[rows] % self._kept
        pages = np.searchsorted([page.first for page in self._pages], rows, side="right") - 1
        for number in np.unique(pages).tolist():
            page, inside = self._pages[number], pages == number
            where = places[inside] * page.rows + (rows[inside] - page.first)
            page.records[where] = records[inside]
        self.written[rows] += 1
        self.newest[rows] = at
        self.busy[rows] = utilization.sum(axis=1, dtype=np.float64)
        self.gpus[rows] = gpus

    def active(self, rows: NDArray[np.int64], least: float) -> NDArray[np.int64]:
        """Count the GPUs of each row with at least so much utilization in the newest sample."""
        counts = np.zeros(len(rows), dtype=np.int64)
        places = (self.written[rows] - 1) % self._kept
        pages = np.searchsorted([page.first for page in self._pages], rows, side="right") - 1
        for number in np.unique(pages).tolist():
            page, inside = self._pages[number], pages == number
            here = places[inside] * page.rows + (rows[inside] - page.first)
            counts[inside] = (page.records["utilization"][here] >= least).sum(axis=1)
        return counts

    def read(self, row: int, age: int) -> tuple[datetime, NodeSample]:
        """Return a sample of a row and when it came; `age` 0 is the newest, 1 the one before."""
        page, number = self._place_of[row]
        place = (self.written.item(row) - 1 - age) % self._kept
        here = place * page.rows + number
        gpus = int(page.records["gpus"][here])
        packer = self._packers[gpus]
        at, cpu, memory, *rest = packer.unpack_from(page.buffer, here * self._layout.itemsize)
        busy, used, celsius, watts, index = (
            rest[column * gpus : (column + 1) * gpus] for column in range(len(SIZES))
        )
        samples = (
            GPUSample(*each[:3], round(each[3], _DECIMALS), each[4] * _KIB)
            for each in zip(index, celsius, watts, busy, used, strict=True)
        )
        cpu, memory = round(cpu, _DECIMALS), round(memory, _DECIMALS)
        return _at(at), NodeSample(cpu, memory, tuple(samples))


def _cut(value: float) -> float:
    """Return a number that a 32-bit float can hold."""
    return min(max(value, -_FLOAT_MAX), _FLOAT_MAX)
