"""Load over time: read from a file, or made up from a seed.

A trace is a step function: each value holds until the next row, and the last row says only when the
trace ends. Its values are in one of two units:

- ``nodes``: the work of that many nodes, which is utilization × nodes / 100 where it was measured;
- ``jobs``: jobs in the queue, waiting and running.

A file has the columns ``time`` and ``value``, in any order and beside any others. Times are RFC
3339 with an offset, or seconds from any beginning, all of one kind and ascending.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from msgspec import Struct

from navarch.simulator.dice import Dice, Stream

Unit = Literal["nodes", "jobs"]

START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday, midnight: when traces in seconds and made-up weeks begin."""

EXPECTED = "expected a CSV file with the columns time and value"


class TraceError(ValueError):
    """A trace that cannot be used; the text says where and what was expected."""


class Trace(Struct, frozen=True):
    """Load over time."""

    times: tuple[datetime, ...]
    """Ascending, at least two."""
    values: tuple[float, ...]
    """As many; each holds until the next time. At least 0."""
    unit: Unit = "nodes"

    @property
    def start(self) -> datetime:
        """When it begins."""
        return self.times[0]

    @property
    def end(self) -> datetime:
        """When it is over."""
        return self.times[-1]


def read_trace(path: Path, unit: Unit = "nodes") -> Trace:
    """Read a CSV file. Raises `TraceError`, which names file, line and expectation."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return parse_trace(lines, unit, name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read ({error}); {EXPECTED}") from error


def parse_trace(lines: Iterable[str], unit: Unit = "nodes", *, name: str = "trace") -> Trace:
    """Read the lines of a CSV file; `name` stands in errors. Raises `TraceError`."""
    reader = csv.DictReader(lines, strict=True)
    rows = _Rows()
    try:
        _check_columns(reader.fieldnames or ())
        for row in reader:
            rows.add(row["time"], row["value"])
        rows.check_length()
    except (TraceError, csv.Error) as error:
        raise TraceError(f"{name}:{max(reader.reader.line_num, 1)}: {error}") from error
    return Trace(tuple(rows.times), tuple(rows.values), unit)


def _check_columns(names: Iterable[str]) -> None:
    missing = {"time", "value"} - set(names)
    if missing:
        raise TraceError(f"no column {' and '.join(sorted(missing))}; {EXPECTED}")


class _Rows:
    """The rows read so far."""

    def __init__(self) -> None:
        self.times: list[datetime] = []
        self.values: list[float] = []
        self._in_seconds: bool | None = None

    def add(self, time: str | None, value: str | None) -> None:
        """Take one row; `TraceError` when it does not follow the ones before."""
        moment, in_seconds = _moment(time)
        if self._in_seconds not in {None, in_seconds}:
            raise TraceError("times in seconds and RFC 3339 are mixed; expected one kind")
        if self.times and moment <= self.times[-1]:
            raise TraceError(f"time {time} is not later than the one before")
        self._in_seconds = in_seconds
        self.times.append(moment)
        self.values.append(_value(value))

    def check_length(self) -> None:
        """Raise `TraceError` when the rows make no trace."""
        if len(self.times) < 2:
            raise TraceError("expected at least two rows of values")


def _moment(text: str | None) -> tuple[datetime, bool]:
    """Read a time, and tell whether it was written in seconds."""
    written = (text or "").strip()
    try:
        return START + timedelta(seconds=float(written)), True
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise TraceError(
            f"time {written!r}: expected seconds, or RFC 3339 such as 2026-01-05T09:30:00Z"
        )
    return moment.astimezone(UTC), False


def _value(text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise TraceError(f"value {(text or '').strip()!r}: expected a number from 0 on")
    return value


class Week(Struct, frozen=True):
    """What a made-up load looks like: an inference service with office hours.

    The night's level, a hill over each day that rises in the morning and falls in the evening,
    lower at the weekend, noise that lasts some minutes, and days that differ in height by a tenth
    and begin up to ten minutes early or late.
    """

    days: int = 7
    low: float = 6.0
    """Nodes' worth of work at night."""
    high: float = 40.0
    """Nodes' worth of work at the height of a working day."""
    weekend: float = 0.4
    """How high the weekend's hills are, as a part of the others."""
    noise: float = 0.04
    """The usual distance from the pattern, as a part of it."""
    noise_lasts: timedelta = timedelta(minutes=20)
    """After what time most of a deviation is forgotten."""
    interval: timedelta = timedelta(minutes=1)
    """Between two values."""


def made_up(seed: int, week: Week | None = None) -> Trace:
    """Make a load from a seed; it begins on a Monday at midnight UTC. Equal seeds, equal loads."""
    week = week or Week()
    dice = Dice(seed).stream("load")
    heights = [0.9 + 0.2 * dice.fraction() for _ in range(week.days)]
    shifts = [timedelta(minutes=dice.integer(-10, 10)) for _ in range(week.days)]
    keep = math.exp(-(week.interval / week.noise_lasts))
    push = week.noise * math.sqrt(1 - keep * keep)
    times, values, deviation = [], [], 0.0
    for index in range(int(timedelta(days=week.days) / week.interval) + 1):
        moment = START + index * week.interval
        day = min((moment - START).days, week.days - 1)
        height = heights[day] * (week.weekend if moment.weekday() >= 5 else 1.0)
        usual = week.low + (week.high - week.low) * height * _hill(moment - shifts[day])
        deviation = keep * deviation + push * _bell(dice)
        times.append(moment)
        values.append(max(usual * (1 + deviation), 0.0))
    return Trace(tuple(times), tuple(values))


def _hill(moment: datetime) -> float:
    """Return how high the day's hill is at a time of day, from 0 to 1.

    It is half up at 8:30, nearly all of it within half an hour, and half down at 18:00, within two.
    """
    hour = moment.hour + moment.minute / 60
    rise = 1 / (1 + math.exp(-(hour - 8.5) / 0.12))
    fall = 1 / (1 + math.exp((hour - 18) / 0.5))
    return rise * fall


def _bell(dice: Stream) -> float:
    """Roll a number around 0 with deviation 1: the sum of twelve rolls is near enough."""
    return sum(dice.fraction() for _ in range(12)) - 6
