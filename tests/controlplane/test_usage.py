"""Time of GPUs and money: added up piece by piece, and never made up."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest

from factories import START, a_sample
from navarch.controlplane.census import NOTHING, Bought, Look, Paid
from navarch.controlplane.measures import OTHER, Names
from navarch.controlplane.usage import SLICE, GpuSeconds, Usage
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.samples import Samples

MINUTE = timedelta(minutes=1)
CHEAP = Bought("a", "fake", "small", spot=False)
DEAR = Bought("a", "fake", "large", spot=False)
UNKNOWN = Bought("a", "fake", "odd", spot=False)
PRICES = {CHEAP: 1.0, DEAR: 36.0}


def a_look(paid: Paid = Paid.SERVING, pool: str = "a", bought: Bought | None = None) -> Look:
    return Look(pool, (), paid, 8, bought)


def busy(*percents: float) -> NodeSample:
    return NodeSample(
        cpu_percent=1.0,
        memory_percent=1.0,
        gpus=tuple(GPUSample(index, 40, 300, each, 0) for index, each in enumerate(percents)),
    )


class Story:
    """A usage, its samples, and a clock."""

    def __init__(self, pools_max: int = 10) -> None:
        self.usage = Usage(Names(pools_max), Names(10), PRICES.get)
        self.samples = Samples()
        self.now = START
        self.looks: dict[str, Look] = {}

    def becomes(self, id_: str, look: Look) -> None:
        self.usage.changed(id_, self.looks.get(id_, NOTHING), look, self.now)
        self.looks[id_] = look

    def tell(self, id_: str, sample: NodeSample) -> None:
        self.samples.record(id_, self.now, sample)

    def pass_time(self, duration: timedelta) -> None:
        self.now += duration

    def sweep(self) -> None:
        list(self.usage.sweep(self.samples, self.now, self.now - 2 * MINUTE))

    def spent(self, pool: str = "a") -> GpuSeconds:
        return self.usage.gpu_seconds[pool]


def test_each_gpu_is_good_or_idle_by_its_newest_sample() -> None:
    story = Story()
    story.becomes("n1", a_look())
    story.pass_time(MINUTE)
    story.tell("n1", busy(100, 5, 4.9, 0, 0, 0, 50))  # one of eight was not read
    story.sweep()
    assert story.spent() == GpuSeconds(good=180, idle=240, lost=0, unknown=60)
    assert story.usage.busy["a"].utilization == pytest.approx(159.9)
    assert story.usage.busy["a"].gpus == 7


def test_silence_is_not_idleness() -> None:
    story = Story()
    story.becomes("n1", a_look())
    story.tell("n1", a_sample(100))
    story.pass_time(timedelta(minutes=3))
    story.sweep()
    assert story.spent() == GpuSeconds(unknown=8 * 180)
    assert story.usage.busy == {}


def test_a_lost_node_is_lost_from_the_moment_of_the_fact() -> None:
    story = Story()
    story.becomes("n1", a_look())
    story.tell("n1", busy(*[100.0] * 8))
    story.sweep()
    story.pass_time(timedelta(seconds=10))
    story.becomes("n1", a_look(Paid.LOST))
    story.pass_time(timedelta(seconds=20))
    story.sweep()
    story.pass_time(timedelta(seconds=5))
    story.becomes("n1", NOTHING)
    story.pass_time(MINUTE)
    story.sweep()
    assert story.spent() == GpuSeconds(good=80, lost=8 * 25)


def test_how_often_it_sweeps_changes_nothing_about_the_sum() -> None:
    once, often = Story(), Story()
    for story, sweeps in ((once, 1), (often, 60)):
        story.becomes("n1", a_look())
        story.becomes("n2", a_look(Paid.LOST, pool="b"))
        story.tell("n1", busy(*[90.0] * 3, *[0.0] * 5))
        for _ in range(sweeps):
            story.pass_time(MINUTE / sweeps)
            story.sweep()
    assert once.spent("a").good == pytest.approx(often.spent("a").good) == pytest.approx(180)
    assert once.spent("a").idle == pytest.approx(often.spent("a").idle) == pytest.approx(300)
    assert once.spent("b").lost == pytest.approx(often.spent("b").lost) == pytest.approx(480)


def test_a_place_in_the_columns_is_used_again_and_takes_nothing_along() -> None:
    story = Story()
    for number in range(200):
        story.becomes(f"n{number}", a_look())
        story.tell(f"n{number}", busy(*[100.0] * 8))
    story.sweep()
    for number in range(200):
        story.becomes(f"n{number}", NOTHING)
    for number in range(200, 400):
        story.becomes(f"n{number}", a_look(pool="b"))
    story.pass_time(MINUTE)
    story.sweep()
    assert story.spent("a") == GpuSeconds()
    assert story.spent("b") == GpuSeconds(unknown=200 * 480)


def test_a_large_fleet_is_swept_in_slices_between_which_nodes_change() -> None:
    story = Story()
    for number in range(SLICE + 10):
        story.becomes(f"n{number}", a_look(Paid.LOST))
    story.pass_time(MINUTE)
    sweeping = story.usage.sweep(story.samples, story.now, story.now - MINUTE)
    next(sweeping)
    story.becomes("late", a_look(Paid.LOST, pool="new"))
    story.becomes(f"n{SLICE + 5}", NOTHING)
    assert len(list(sweeping)) >= 1
    assert story.spent("a").lost == 480 * (SLICE + 10)
    assert story.spent("new").lost == 0


def test_a_clock_that_is_set_back_adds_nothing_and_takes_nothing_away() -> None:
    story = Story()
    story.becomes("n1", a_look(Paid.LOST, bought=DEAR))
    story.pass_time(MINUTE)
    story.sweep()
    story.pass_time(-MINUTE / 2)
    story.sweep()
    story.becomes("n1", a_look(Paid.SERVING, bought=CHEAP))
    story.pass_time(MINUTE / 2)
    story.sweep()
    assert story.spent() == GpuSeconds(lost=480)
    assert sum(story.usage.dollars.values()) == pytest.approx(0.6 + 0.5 / 60)


def test_pools_beyond_the_bound_are_added_up() -> None:
    story = Story(pools_max=1)
    for number, pool in enumerate("abc"):
        story.becomes(f"n{number}", a_look(Paid.LOST, pool=pool))
    story.pass_time(MINUTE)
    story.sweep()
    assert {pool: each.lost for pool, each in story.usage.gpu_seconds.items()} == {
        "a": 480,
        OTHER: 960,
    }


# --- money -----------------------------------------------------------------------------------


def test_what_machines_cost_is_what_they_cost_while_they_were_there() -> None:
    story = Story()
    story.becomes("n1", a_look(bought=CHEAP))
    story.pass_time(timedelta(minutes=30))
    story.becomes("n2", a_look(bought=CHEAP))
    story.becomes("n3", a_look(Paid.LOST, bought=DEAR))
    assert story.usage.rates() == ({"a": 38.0}, {})
    story.pass_time(timedelta(minutes=30))
    story.sweep()
    story.becomes("n3", NOTHING)
    story.pass_time(timedelta(hours=1))
    story.sweep()
    assert story.usage.dollars["a", "fake"] == pytest.approx(0.5 + 0.5 + 0.5 + 18 + 2)
    assert story.usage.rates() == ({"a": 2.0}, {})


def test_an_unknown_price_is_counted_and_is_no_zero() -> None:
    story = Story()
    story.becomes("n1", a_look(bought=UNKNOWN))
    story.becomes("n2", a_look(bought=UNKNOWN))
    story.pass_time(MINUTE)
    story.sweep()
    assert story.usage.rates() == ({}, {"a": 2})
    assert story.usage.dollars == {}
    assert story.usage.providers() == {"fake"}


def test_a_price_that_becomes_known_counts_from_then_on() -> None:
    prices: dict[Bought, float] = {}
    usage = Usage(Names(10), Names(10), prices.get)
    sweep = partial(_swept, usage)
    usage.changed("n1", NOTHING, a_look(bought=UNKNOWN), START)
    sweep(START + timedelta(hours=1))
    prices[UNKNOWN] = 7.0
    sweep(START + timedelta(hours=3))
    assert usage.dollars == {("a", "fake"): pytest.approx(14)}


def _swept(usage: Usage, now: datetime) -> None:
    assert list(usage.sweep(Samples(), now, now)) == [None]
