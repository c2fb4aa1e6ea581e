"""Readings: samples as they came, nothing made up, and memory errors by the hour."""

from __future__ import annotations

from datetime import datetime

from factories import SETTINGS, a_fleet, at, name
from navarch.core.model import events as ev
from navarch.core.model.finding import Tally
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.report import HealthEvent
from navarch.core.model.samples import KEPT
from navarch.core.model.sightings import Sightings
from navarch.dashboard.readings import HOURS, Readings, memory_errors, readings_of
from navarch.dashboard.seen import Seen
from navarch.stores.base import Recorded
from navarch.stores.memory import MemoryStore

ONE = name(1)
NOW = at(hours=30)


def read(*samples: tuple[datetime, NodeSample], indexes: tuple[int, ...] = ()) -> Readings:
    sightings = Sightings()
    for when, sample in samples:
        sightings.samples.record(ONE, when, sample)
    seen = Seen(a_fleet(1), sightings, NOW, SETTINGS, MemoryStore())
    return readings_of(seen, ONE, indexes)


def gpu(index: int, busy: float = 50.0, **changes: int) -> GPUSample:
    values = {"temperature_celsius": 60, "power_watts": 300, "memory_used": 1 << 30} | changes
    return GPUSample(index, utilization_percent=busy, **values)


def test_each_value_of_each_gpu_stands_under_its_time() -> None:
    found = read(
        (at(), NodeSample(12.5, 30.0, (gpu(0), gpu(1, 70.0)))),
        (at(seconds=30), NodeSample(13.0, 31.0, (gpu(0, 51.0), gpu(1, 71.0)))),
    )
    assert found.times == [at(), at(seconds=30)]
    assert found.cpu_percent == [12.5, 13.0]
    assert [each.index for each in found.gpus] == [0, 1]
    assert found.gpus[1].utilization_percent == [70.0, 71.0]
    assert found.gpus[0].memory_used_bytes == [1 << 30, 1 << 30]
    assert (found.interval_seconds, found.kept) == (30.0, KEPT)


def test_a_gpu_that_one_sample_lacks_has_a_hole_there() -> None:
    found = read((at(), NodeSample(gpus=(gpu(0), gpu(1)))), (NOW, NodeSample(gpus=(gpu(0),))))
    assert found.gpus[1].utilization_percent == [50.0, None]
    assert found.gpus[1].temperature_celsius == [60, None]


def test_a_zero_that_cannot_be_true_was_not_told() -> None:
    silent = gpu(0, 0.0, temperature_celsius=0, power_watts=0, memory_used=0)
    found = read((at(), NodeSample(gpus=(silent,))))
    assert found.gpus[0].utilization_percent == [0.0]
    assert found.gpus[0].temperature_celsius == [None]
    assert found.gpus[0].power_watts == [None]
    assert found.gpus[0].memory_used_bytes == [None]
    assert found.cpu_percent == [None]


def test_memory_that_was_used_once_and_is_free_now_is_zero() -> None:
    found = read(
        (at(), NodeSample(gpus=(gpu(0),))),
        (NOW, NodeSample(gpus=(gpu(0, 0.0, memory_used=0),))),
    )
    assert found.gpus[0].memory_used_bytes == [1 << 30, 0]


def test_a_node_that_never_sent_a_sample_has_none() -> None:
    found = read(indexes=(0, 1))
    assert (found.times, found.heard_at) == ([], None)
    assert [each.utilization_percent for each in found.gpus] == [[], []]


# --- memory errors ---------------------------------------------------------------------------


def test_memory_errors_are_counted_by_the_hour_for_a_day() -> None:
    tallies = {
        "ecc_sbe": (Tally(at(hours=5), 0, 9), Tally(at(hours=28, minutes=30), 0, 2)),
        "ecc_dbe": (Tally(NOW, 1, 1),),
        "xid:63": (Tally(at(hours=7), 1, 3),),
        "xid:79": (Tally(NOW, 0, 5),),
    }
    first, second = memory_errors(tallies, [], (0, 1), NOW)
    assert sum(first.corrected.hours) == 2
    assert first.corrected.hours[HOURS - 2] == 2
    assert sum(first.uncorrected.hours) == 0
    assert second.uncorrected.hours[HOURS - 1] == 1
    assert second.remapped.hours[0] == 3


def test_errors_of_no_gpu_in_particular_have_an_entry_of_their_own() -> None:
    found = memory_errors({"ecc_sbe": (Tally(NOW, -1, 1),)}, [], (0,), NOW)
    assert [each.index for each in found] == [-1, 0]


def test_the_newest_report_says_how_many_there_are_in_all() -> None:
    def report(seq: int, total: str) -> Recorded:
        metrics: dict[str, str | int | float] = {"ecc_dbe_total": total}
        event = HealthEvent("ecc_dbe", 0, metrics=metrics, message=f"{total} in all")
        return Recorded(seq, ev.HealthReported(at(minutes=seq), ONE, (), (event,), seq))

    (found,) = memory_errors({}, [report(3, "4"), report(8, "6")], (0,), NOW)
    assert (found.uncorrected.total, found.uncorrected.seq) == (6, 8)
    assert (found.uncorrected.text, found.uncorrected.at) == ("6 in all", at(minutes=8))
    (strange,) = memory_errors({}, [report(3, "many")], (0,), NOW)
    assert strange.uncorrected.total is None
    assert strange.corrected.total is None
