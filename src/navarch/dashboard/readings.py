"""What a node's sensors read, over time: the samples of its heartbeats, and reported memory errors.

A heartbeat brings utilization, temperature, power and memory of each GPU. It has no word for what
could not be read and sends zero then, so a zero that cannot be true is told as what it is: nothing.
Memory errors are in no heartbeat. They come as health events, of which the fleet keeps how many
there were, for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.finding import Tally
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.report import HealthEvent
from navarch.core.model.samples import KEPT
from navarch.dashboard.seen import Seen
from navarch.stores.base import Recorded

HOURS: Final = 24
"""For how long memory errors are counted, as the fleet keeps them."""
_HOUR: Final = timedelta(hours=1)

CORRECTED: Final = ("ecc_sbe", "xid:92")
"""Kinds of health events that say that memory was wrong and was put right by itself.

These and the next ones are by NVIDIA's XID catalogue, which `navarch.policy` has as data.
"""
UNCORRECTED: Final = ("ecc_dbe", "xid:48", "xid:94", "xid:95")
"""Those that say that what was in memory is lost."""
REMAPPED: Final = ("xid:63", "xid:64")
"""Those that say that rows of memory were replaced by spare ones, or could not be."""


class GPUReadings(Struct):
    """The samples of one GPU, oldest first; None where a value was not told."""

    index: int
    utilization_percent: list[float | None]
    temperature_celsius: list[int | None]
    power_watts: list[int | None]
    memory_used_bytes: list[int | None]


class Readings(Struct):
    """The samples of a node."""

    now: datetime
    heard_at: datetime | None
    """When it was heard last; None: not since the start of the control plane."""
    interval_seconds: float
    """How often heartbeats are wanted: samples further apart have a gap between them."""
    kept: int
    """How many samples are kept at most."""
    times: list[datetime]
    """When each sample came, oldest first."""
    cpu_percent: list[float | None]
    memory_percent: list[float | None]
    gpus: list[GPUReadings]


class Errors(Struct):
    """The memory errors of one sort that one GPU reported."""

    hours: list[int]
    """Events in each of the last 24 hours, the newest last."""
    total: int | None = None
    """How many errors the board counts in all, by its newest report; None: it did not say."""
    text: str = ""
    """The newest report that was read; empty: none was."""
    at: datetime | None = None
    seq: int = 0
    """Its fact in the journal."""


class MemoryErrors(Struct):
    """The memory errors that one GPU reported within a day."""

    index: int
    """-1: those that named no GPU."""
    corrected: Errors
    uncorrected: Errors
    remapped: Errors


def readings_of(seen: Seen, node_id: str, indexes: Sequence[int] = ()) -> Readings:
    """Tell the samples of a node; GPUs of `indexes` that are in no sample have no values.

    Cost: O(samples × GPUs), 2 ms for 8 GPUs.
    """
    history = seen.samples.history(node_id)
    samples = [sample for _, sample in history]
    read = {gpu.index for sample in samples for gpu in sample.gpus}
    by_index = [{gpu.index: gpu for gpu in sample.gpus} for sample in samples]
    return Readings(
        now=seen.now,
        heard_at=seen.sightings.heard.get(node_id),
        interval_seconds=seen.settings.heartbeat_interval.total_seconds(),
        kept=KEPT,
        times=[at for at, _ in history],
        cpu_percent=_host(samples, lambda sample: sample.cpu_percent),
        memory_percent=_host(samples, lambda sample: sample.memory_percent),
        gpus=[
            _gpu(index, [gpus.get(index) for gpus in by_index])
            for index in sorted(read.union(indexes))
        ],
    )


def _host(
    samples: Sequence[NodeSample], value: Callable[[NodeSample], float]
) -> list[float | None]:
    """A value of the host; where it is zero all the time nobody reads it."""
    values = [value(sample) for sample in samples]
    return list(values) if any(values) else [None] * len(values)


def _gpu(index: int, samples: Sequence[GPUSample | None]) -> GPUReadings:
    uses_memory = any(sample is not None and sample.memory_used for sample in samples)
    return GPUReadings(
        index,
        [None if each is None else each.utilization_percent for each in samples],
        [None if each is None else each.temperature_celsius or None for each in samples],
        [None if each is None else each.power_watts or None for each in samples],
        [None if each is None or not uses_memory else each.memory_used for each in samples],
    )


# --- memory errors ---------------------------------------------------------------------------


def memory_errors(
    tallies: Mapping[str, Sequence[Tally]],
    facts: Sequence[Recorded],
    indexes: Sequence[int],
    now: datetime,
) -> list[MemoryErrors]:
    """Tell the memory errors of a node's GPUs: one entry for each of `indexes`, and for others.

    `tallies` are the node's, `facts` those that were read of it, oldest first.
    """
    newest = _newest_events(facts)
    kinds = {*CORRECTED, *UNCORRECTED, *REMAPPED}
    told = {each.gpu_index for kind in kinds for each in tallies.get(kind, ())}
    return [
        MemoryErrors(
            index,
            *(
                _errors(index, sort, tallies, newest, now)
                for sort in (CORRECTED, UNCORRECTED, REMAPPED)
            ),
        )
        for index in sorted(told.union(indexes))
    ]


_Newest = Mapping[tuple[str, int], tuple[HealthEvent, Recorded]]


def _newest_events(facts: Sequence[Recorded]) -> _Newest:
    """The newest event of each kind and GPU, and the fact that brought it."""
    return {
        (event.kind, event.gpu_index): (event, recorded)
        for recorded in facts
        if isinstance(recorded.event, ev.HealthReported)
        for event in recorded.event.events
    }


def _errors(
    index: int,
    kinds: Sequence[str],
    tallies: Mapping[str, Sequence[Tally]],
    newest: _Newest,
    now: datetime,
) -> Errors:
    hours = [0] * HOURS
    for kind in kinds:
        for tally in tallies.get(kind, ()):
            age = (now - tally.at) // _HOUR
            if tally.gpu_index == index and age < HOURS:
                hours[HOURS - 1 - max(age, 0)] += tally.count
    found = [newest[kind, index] for kind in kinds if (kind, index) in newest]
    if not found:
        return Errors(hours)
    event, recorded = max(found, key=lambda each: each[1].seq)
    totals = (_total(each) for each, _ in found)
    return Errors(
        hours,
        next((total for total in totals if total is not None), None),
        event.message or event.described,
        recorded.event.at,
        recorded.seq,
    )


def _total(event: HealthEvent) -> int | None:
    """How many errors a board counts in all; None: the event does not say."""
    written = str(event.metrics.get(f"{event.event_type}_total", ""))
    return int(written) if written.isascii() and written.isdecimal() else None
