"""The record of one sample, and the memory in which many of them lie."""

from __future__ import annotations

import functools
import mmap
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Record = np.dtype[np.void]
Records = NDArray[np.void]

SIZES: Final = (4, 4, 2, 2, 1)
"""Bytes of what is read of a GPU: utilization, memory, temperature, power and index."""


def layout(width: int) -> Record:
    """The record of one sample of at most `width` GPUs."""
    names = ["at", "cpu", "memory", "utilization", "used", "temperature", "power", "index", "gpus"]
    forms: list[Any] = ["<i8", "<f4", "<f4"]
    forms += [(form, (width,)) for form in ("<f4", "<u4", "<i2", "<u2", "u1")]
    sizes = [8, 4, 4, *(size * width for size in (4, 4, 2, 2, 1)), 2]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    offsets[-1] += offsets[-1] % 2
    itemsize = -(-(offsets[-1] + 2) // 8) * 8
    return np.dtype(
        {"names": names, "formats": [*forms, "<u2"], "offsets": offsets, "itemsize": itemsize}
    )


@functools.cache
def packer(width: int, gpus: int) -> struct.Struct:
    """Write one record of `layout` at once; the columns of absent GPUs become zero."""
    form = layout(width)
    absent = width - gpus
    parts = ["<qff"]
    parts += [f"{gpus}{code}{absent * size}x" for code, size in zip("fIhHB", SIZES, strict=True)]
    odd = width % 2
    end = form.itemsize - struct.calcsize("".join(parts)) - odd - 2
    return struct.Struct("".join([*parts, f"{odd}xH{end}x"]))


def _memory(size: int) -> mmap.mmap:
    """Return so many zero bytes, of which the system takes only the pages that are written to.

    NumPy's own arrays ask for pages of 2 MiB where they are large, and each of those would be taken
    whole for the few rows of it that are in use: a node then takes 24 KB in place of 13.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


class Page:
    """Some rows of a block: the samples of each of the `kept` places in time lie together."""

    __slots__ = ("buffer", "first", "records", "rows")

    def __init__(self, first: int, rows: int, kept: int, form: Record) -> None:
        self.first = first
        self.rows = rows
        self.records: Records = np.frombuffer(_memory(kept * rows * form.itemsize), dtype=form)
        self.buffer = self.records.data.cast("B")
