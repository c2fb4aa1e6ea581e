"""Reading the plain form of the frequent requests, quickly or not at all.

Each function returns what a request says if it is what agents send as a rule, and None for
everything else: what is malformed, out of range or merely unusual. None never means "bad", only
"let the ordinary way look at it", which reads everything and words its errors. So these functions
may be narrow, and must never accept what `navarch.wire.codec` would refuse or read differently:

- percentages are within 0 to 100, nothing is moved to the nearer end;
- JSON has the camelCase names, whole numbers as numbers, 64-bit ones also as text, and times in
  UTC as agents write them; an unknown name is no plain form;
- ids are not checked: they are looked up in the fleet, which has only valid ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from google.protobuf.message import DecodeError
from msgspec import Struct
from numpy.typing import NDArray

from navarch.core.model import messages
from navarch.core.model.samples import Columns, Readings
from navarch.errors import WireError
from navarch.wire import codec
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.limits import Limits

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
SECONDS_MIN: Final = -62_135_596_800
SECONDS_MAX: Final = 253_402_300_799
NANOS_MAX: Final = 999_999_999
PERCENT_MAX: Final = 100.0

_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
"""How agents write a time; the protobuf mapping also knows offsets and nanoseconds."""
_COUNTED: Final = [list(range(count)) for count in range(65)]
"""The indexes of a node's GPUs, as a rule."""


class Many(Struct, frozen=True):
    """A batch of heartbeats, each of another node."""

    node_ids: frozenset[str]
    sampled: Sequence[str]
    """Those with a sample."""
    readings: Readings
    """The samples, in their order."""


One = tuple[str, Columns | None] | messages.Heartbeat
"""A heartbeat: its node and sample, or the whole message where it says what runs on its node."""


# --- binary ----------------------------------------------------------------------------------


def heartbeat(body: bytes, limits: Limits) -> One | None:
    """Read a heartbeat in binary form. Cost: 4 µs for 8 GPUs, most of it the look-ups of fields."""
    try:
        request = pb.HeartbeatRequest.FromString(body)
    except DecodeError:
        return None
    if request.HasField("serving"):
        return _serving(request, limits)
    if request.HasField("timestamp"):
        stamp = request.timestamp
        if not (SECONDS_MIN <= stamp.seconds <= SECONDS_MAX and 0 <= stamp.nanos <= NANOS_MAX):
            return None
    if not request.HasField("metrics"):
        return request.node_id, None
    metrics = request.metrics
    gpus = list(metrics.gpu_metrics)
    sample = Columns(
        metrics.cpu_usage_percent,
        metrics.memory_usage_percent,
        [gpu.gpu_index for gpu in gpus],
        [gpu.temperature for gpu in gpus],
        [gpu.power_usage for gpu in gpus],
        [gpu.utilization_percent for gpu in gpus],
        [gpu.memory_used for gpu in gpus],
    )
    return (request.node_id, sample) if _is_plain(sample, limits) else None


def poll(body: bytes) -> str | None:
    """Read which node polls, in binary form."""
    try:
        return pb.GetNodeCommandsRequest.FromString(body).node_id
    except DecodeError:
        return None


def _serving(request: pb.HeartbeatRequest, limits: Limits) -> messages.Heartbeat | None:
    try:
        return codec.heartbeat(request, limits)
    except WireError:
        return None


def _is_plain(sample: Columns, limits: Limits) -> bool:
    """Whether all numbers are in range and no GPU is named twice. NaN is in no range."""
    if not (
        0.0 <= sample.cpu_percent <= PERCENT_MAX and 0.0 <= sample.memory_percent <= PERCENT_MAX
    ):
        return False
    index, busy = sample.index, sample.utilization_percent
    count = len(index)
    if not count:
        return True
    if count > limits.gpus or (
        index != _COUNTED[count]
        and not (min(index) >= 0 and max(index) < limits.gpus and len(set(index)) == count)
    ):
        return False
    total = sum(busy)
    return (
        total == total  # noqa: PLR0124 - NaN is not
        and min(busy) >= 0.0
        and max(busy) <= PERCENT_MAX
        and min(sample.memory_used) >= 0
    )


# --- JSON ------------------------------------------------------------------------------------


class _Gpu(Struct, forbid_unknown_fields=True, rename="camel"):
    gpu_index: int = 0
    temperature: int = 0
    power_usage: int = 0
    utilization_percent: float = 0.0
    memory_used: int | str = 0


class _Metrics(Struct, forbid_unknown_fields=True, rename="camel"):
    cpu_usage_percent: float = 0.0
    memory_usage_percent: float = 0.0
    gpu_metrics: list[_Gpu] = []


class _Heartbeat(Struct, forbid_unknown_fields=True, rename="camel"):
    node_id: str = ""
    timestamp: str | None = None
    metrics: _Metrics | None = None


class _Batch(Struct, forbid_unknown_fields=True):
    heartbeats: list[_Heartbeat] = []


class _Poll(Struct, forbid_unknown_fields=True, rename="camel"):
    node_id: str = ""


_heartbeats = msgspec.json.Decoder(_Heartbeat)
_batches = msgspec.json.Decoder(_Batch)
_polls = msgspec.json.Decoder(_Poll)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def heartbeat_json(body: bytes, limits: Limits) -> One | None:
    """Read a heartbeat in JSON. Cost: 6 µs for 8 GPUs."""
    try:
        request = _heartbeats.decode(body)
    except _UNREADABLE:
        return None
    if request.timestamp is not None and not _is_time(request.timestamp):
        return None
    if request.metrics is None:
        return request.node_id, None
    sample = _sample(request.metrics)
    if sample is None or not _is_plain(sample, limits) or not _are_int32(sample):
        return None
    return request.node_id, sample


def poll_json(body: bytes) -> str | None:
    """Read which node polls, in JSON."""
    try:
        return _polls.decode(body).node_id
    except _UNREADABLE:
        return None


def batch_json(body: bytes, limits: Limits) -> Many | None:
    """Read a batch in JSON; none of its nodes may say what runs there. Cost: 7 µs a heartbeat."""
    try:
        heartbeats = _batches.decode(body).heartbeats
    except _UNREADABLE:
        return None
    sampled: list[str] = []
    samples: list[Columns] = []
    for each in heartbeats:
        if each.timestamp is not None and not _is_time(each.timestamp):
            return None
        if each.metrics is not None:
            sample = _sample(each.metrics)
            if sample is None or not _is_plain(sample, limits) or not _are_int32(sample):
                return None
            sampled.append(each.node_id)
            samples.append(sample)
    node_ids = frozenset([each.node_id for each in heartbeats])
    if not 0 < len(heartbeats) <= limits.heartbeats or len(node_ids) < len(heartbeats):
        return None
    return Many(node_ids, sampled, _readings(samples))


def _sample(metrics: _Metrics) -> Columns | None:
    gpus = metrics.gpu_metrics
    used = [gpu.memory_used for gpu in gpus]
    if gpus and isinstance(used[0], int):
        if str in set(map(type, used)):
            return None
    elif gpus:
        # Digits and nothing else, all at once: `int` would also take signs and spaces.
        try:
            digits = "".join(used)  # type: ignore[arg-type]  # a number among them raises
        except TypeError:
            return None
        if not (digits.isascii() and digits.isdecimal()) or "" in used:
            return None
        if max(map(len, used)) > 19:  # type: ignore[arg-type]  # they are texts
            return None
        used = list(map(int, used))
    return Columns(
        metrics.cpu_usage_percent,
        metrics.memory_usage_percent,
        [gpu.gpu_index for gpu in gpus],
        [gpu.temperature for gpu in gpus],
        [gpu.power_usage for gpu in gpus],
        [gpu.utilization_percent for gpu in gpus],
        used,  # type: ignore[arg-type]  # there is no text among them any more
    )


def _are_int32(sample: Columns) -> bool:
    """Whether the whole numbers fit into the fields of the protocol."""
    if not sample.index:
        return True
    celsius, watts = sample.temperature_celsius, sample.power_watts
    return (
        max(celsius) <= INT32_MAX
        and min(celsius) >= -INT32_MAX - 1
        and max(watts) <= INT32_MAX
        and min(watts) >= -INT32_MAX - 1
        and max(sample.memory_used) <= INT64_MAX
    )


def _is_time(text: str) -> bool:
    """Whether a text is a time in the form that agents write, and that day exists."""
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _readings(samples: Sequence[Columns]) -> Readings:
    """Put samples side by side, in arrays as wide as the node with the most GPUs."""
    counts = np.array([len(sample.index) for sample in samples], dtype=np.int64)
    width = int(counts.max(initial=0))
    inside = np.arange(width) < counts[:, None]

    def whole(name: str) -> NDArray[np.int64]:
        filled = np.zeros(inside.shape, dtype=np.int64)
        filled[inside] = [value for sample in samples for value in getattr(sample, name)]
        return filled

    busy = np.zeros(inside.shape, dtype=np.float64)
    busy[inside] = [value for sample in samples for value in sample.utilization_percent]
    return Readings(
        np.array([sample.cpu_percent for sample in samples], dtype=np.float64),
        np.array([sample.memory_percent for sample in samples], dtype=np.float64),
        counts,
        whole("index"),
        whole("temperature_celsius"),
        whole("power_watts"),
        busy,
        whole("memory_used"),
    )
