"""The books of a control plane: kept while it leads, and shown as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from factories import a_sample
from navarch.controlplane import catalogue, scale_measures
from navarch.controlplane.clock import FakeClock, stopwatch
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.measures import OTHER, Measures, Names, Series
from navarch.controlplane.pool_manager import Trace
from navarch.controlplane.prices import LIST_AGE_MAX, LOOK
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.signal_ages import SignalAges, ages_of
from navarch.controlplane.timings import ProviderCalls, RequestTimes
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.messages import Heartbeat, HeartbeatBatch, RegisterNode
from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    PoolMetrics,
    PoolState,
    Quality,
    Reading,
    ScaleRecommendation,
)
from navarch.errors import NoCapacity, NotFound
from navarch.providers.base import InstanceType
from navarch.providers.fake import FakeProvider
from navarch.stores.memory import MemoryStore
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.pages import Pages
from pools import MONDAY, TYPE, a_control_plane, a_spec, pass_time, register_all, run, until
from requests_of import call, get

MINUTE = timedelta(minutes=1)


def numbers(page: str) -> dict[str, float]:
    assert list(catalogue.faults(page)) == []
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in page.splitlines())
        if not name.startswith("#")
    }


async def scraped(plane: ControlPlane) -> dict[str, float]:
    status, body = await get(plane.asgi_app, "/metrics")
    assert status == 200
    return numbers(body.decode())


def told(
    story: Callable[[ControlPlane, FakeClock, list[str]], Awaitable[None]], **spec: object
) -> None:
    """Tell a story of a control plane with two nodes."""

    async def all_of_it() -> None:
        clock = FakeClock(MONDAY)
        async with a_control_plane(clock, a_spec(**spec)) as (plane, _):
            await story(plane, clock, await register_all(plane, 2))

    run(all_of_it())


# --- time and money ---------------------------------------------------------------------------


def test_time_is_added_up_while_nobody_scrapes() -> None:
    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        for turn in range(4):
            percent = 80 if turn else 0
            for id_ in ids:
                await plane.runtime.ask(Heartbeat(id_, a_sample(percent)))
            await pass_time(clock, timedelta(seconds=15), timedelta(seconds=15))
        shown = await scraped(plane)
        assert shown['navarch_pool_utilization_ratio{pool="training"}'] == pytest.approx(0.8)
        use = {each: shown[f'{GPU_SECONDS}{{pool="training",use="{each}"}}'] for each in USES}
        assert use == {"good": 90, "idle": 30, "lost": 0, "unknown": 0}

    told(story)


def test_prices_are_read_of_pools_that_do_not_buy_by_price() -> None:
    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        provider = plane.providers["fake"]
        assert isinstance(provider, FakeProvider)
        sold = InstanceType(name=TYPE, gpu_count=8, gpu_type="H100", price_per_hour=98.0)
        provider.cloud.instance_types = (sold,)
        shown = await scraped(plane)
        assert shown['navarch_pool_unpriced_nodes{pool="training"}'] == 2
        assert COST not in shown
        await pass_time(clock, LOOK, timedelta(seconds=15))
        shown = await scraped(plane)
        assert shown['navarch_pool_unpriced_nodes{pool="training"}'] == 0
        assert shown[COST] == 196
        await pass_time(clock, timedelta(minutes=30), MINUTE)
        spent = 'navarch_cost_dollars_total{pool="training",provider="fake"}'
        before = (await scraped(plane))[spent]
        assert before == pytest.approx(98, rel=0.01)
        provider.cloud.instance_types = (replace(sold, price_per_hour=0.0),)
        await pass_time(clock, LIST_AGE_MAX, MINUTE)
        shown = await scraped(plane)
        assert shown['navarch_pool_unpriced_nodes{pool="training"}'] == 2
        assert COST not in shown
        assert shown[spent] > before

    told(story)


def test_lists_of_sellers_without_a_machine_are_read_while_somebody_looks() -> None:
    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        sold = InstanceType(name=TYPE, gpu_count=8, gpu_type="H100", price_per_hour=50.0)
        dear = FakeProvider(name="dear")
        dear.cloud.instance_types = (sold,)
        plane.register_provider(dear)
        prices = plane.accounts.prices
        await pass_time(clock, LOOK, timedelta(seconds=15))
        assert set(prices.catalogs()) == {"fake"}
        prices.want(["dear"])
        await pass_time(clock, LOOK, timedelta(seconds=15))
        assert prices.catalogs()["dear"].types[TYPE].price_usd_per_hour == 50.0
        dear.cloud.instance_types = (replace(sold, price_per_hour=60.0),)
        await pass_time(clock, 2 * LIST_AGE_MAX, MINUTE)  # nobody looks any more
        assert prices.catalogs()["dear"].types[TYPE].price_usd_per_hour == 50.0
        assert len(ids) == 2

    told(story)


GPU_SECONDS = "navarch_gpu_seconds_total"
USES = ("good", "idle", "lost", "unknown")
COST = 'navarch_pool_cost_dollars_per_hour{pool="training"}'


# --- who counts ------------------------------------------------------------------------------


def test_a_restart_counts_from_zero_and_knows_what_is_there() -> None:
    async def all_of_it() -> None:
        clock, store = FakeClock(MONDAY), MemoryStore()
        provider = FakeProvider(now=clock.now, sleep=clock.sleep)
        config = ServerConfig(clock=clock)
        for number in range(2):
            plane = ControlPlane(config, store)
            plane.register_provider(provider)
            async with plane:
                await plane.configure_pools([a_spec()])
                await register_all(plane, 2)
                shown = await scraped(plane)
            assert shown['navarch_pool_healthy_nodes{pool="training"}'] == 2
            assert shown['navarch_disruption_budget_nodes{pool="training"}'] == 1
            written = 'navarch_journal_facts_total{{kind="{}"}}'
            assert shown[written.format("node_registered")] == (2 if number == 0 else 0)
            assert shown[written.format("resumed")] == 1
            assert shown["navarch_leader"] == 1

    run(all_of_it())


def test_everything_in_the_catalogue_can_be_shown() -> None:
    """By whoever serves: the control plane, its plugins, its certificate, and single nodes."""
    told_elsewhere = {
        name for name in catalogue.BY_NAME if name.startswith(("navarch_plugin_", "navarch_tls_"))
    }
    measures: list[Measures] = []

    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        application = plane.asgi_app
        service = Heard()
        measures.append(
            scale_measures.measure(
                Pages(), plane, service, application, RequestTimes(stopwatch), node_series_max=1
            )
        )

    told(story)
    assert measures[0].names | told_elsewhere == catalogue.BY_NAME.keys()


class Heard:
    """A service that took nothing."""

    heartbeats = 0


def test_what_has_not_happened_yet_is_shown_as_zero() -> None:
    """Else ``increase()`` of Prometheus would miss the first time."""

    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        shown = await scraped(plane)
        refused = (
            'navarch_provider_call_failures_total{provider="fake",call="provision",error="%s"}'
        )
        zeros = (
            'navarch_provisions_total{provider="fake",outcome="quota_exceeded"}',
            refused % "unauthorized",
            refused % "timed_out",
            'navarch_provider_call_duration_seconds_count{provider="fake",call="terminate"}',
            'navarch_repairs_total{rung="replace",outcome="started"}',
            'navarch_nodes_lost_total{pool="training"}',
            'navarch_scaling_decisions_total{pool="training",direction="down"}',
            'navarch_interruptions_total{provider="fake"}',
            'navarch_journal_facts_total{kind="orphan_condemned"}',
        )
        assert {name: shown.get(name) for name in zeros} == dict.fromkeys(zeros, 0)

    told(story)


def test_the_oldest_machine_that_waits_is_told_of() -> None:
    async def all_of_it() -> None:
        clock = FakeClock(MONDAY)
        async with a_control_plane(clock, a_spec()) as (plane, _):
            oldest = 'navarch_instances_oldest_seconds{awaits="registration"}'
            await until(lambda: len(plane.runtime.machine.fleet.booting) == 2)
            clock.advance(timedelta(seconds=20))
            assert (await scraped(plane))[oldest] == 20
            await register_all(plane, 2)
            assert (await scraped(plane))[oldest] == 0

    run(all_of_it())


def test_what_repair_may_do_and_what_failed_is_told_of() -> None:
    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        fleet, now = plane.runtime.machine.fleet, clock.now()
        for fact in (
            ev.InstanceCondemned(now, ids[0], "sick", cause="sickness"),
            ev.RepairHalted(now, "training", "many are silent"),
        ):
            fold.apply(fleet, fact)
            plane.accounts.hear(fact)
        fleet.pools["training"] = replace(fleet.pools["training"], failures=3, failed_at=now)
        shown = await scraped(plane)
        budget = 'navarch_disruption_budget_{}nodes{{pool="training"}}'
        assert [shown[budget.format(each)] for each in ("", "used_", "hour_left_")] == [1, 1, 5]
        breaker = 'navarch_breaker_{}{{pool="training"}}'
        assert [shown[breaker.format(each)] for each in ("open", "half_open")] == [1, 0]
        half = ev.RepairHalfOpened(now, "training", "a person has looked")
        fold.apply(fleet, half)
        shown = await scraped(plane)
        assert [shown[breaker.format(each)] for each in ("open", "half_open")] == [0, 1]
        failures = 'navarch_pool_launch_failures{pool="training"}'
        assert shown[failures] == 3
        fleet.pools["training"] = replace(
            fleet.pools["training"], failed_at=now - timedelta(minutes=16)
        )
        assert (await scraped(plane))[failures] == 0

    told(story)


# --- single nodes ----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 5])
def test_as_many_nodes_as_asked_for_have_series_of_their_own(most: int) -> None:
    async def all_of_it() -> None:
        clock = FakeClock(MONDAY)
        config = ServerConfig(clock=clock, node_series_max=most)
        async with ControlPlane(config) as plane:
            for name in ("a", "b", "c"):
                await plane.runtime.ask(RegisterNode(name))
            await plane.runtime.ask(HeartbeatBatch(frozenset("ab"), {"a": a_sample(40)}))
            clock.advance(timedelta(seconds=7))
            shown = await scraped(plane)
        nodes = {name: value for name, value in shown.items() if name.startswith("navarch_node_")}
        some = list("abc")[:most]
        expected: dict[str, float] = {}
        expected |= {f'navarch_node_status{{node="{n}",pool="",status="active"}}': 1 for n in some}
        expected |= {f'navarch_node_health{{node="{n}",pool="",health="unknown"}}': 1 for n in some}
        expected |= {f'navarch_node_heard_seconds{{node="{n}",pool=""}}': 7 for n in some}
        if most:
            expected['navarch_node_utilization_ratio{node="a",pool=""}'] = 0.4
        assert nodes == expected

    run(all_of_it())


# --- signals ---------------------------------------------------------------------------------


def a_trace(metrics: PoolMetrics, at: timedelta = timedelta(), pool: str = "training") -> Trace:
    state = PoolState(name=pool, metrics=metrics)
    return Trace(MONDAY + at, pool, "x", state, ScaleRecommendation(1, "so"), timedelta())


def reading(value: float, at: timedelta, quality: Quality = Quality.OK) -> Reading:
    return Reading(value, "jobs", MONDAY + at, quality, "slurm")


def as_numbers(series: Series) -> dict[tuple[str, ...], float]:
    return dict(series)


def test_a_signal_grows_old_while_its_source_fails() -> None:
    ages = SignalAges(Names(10), lambda: MONDAY + 5 * MINUTE)
    good = {PENDING_JOBS: reading(3, MINUTE), UTILIZATION: reading(0, MINUTE, Quality.ABSENT)}
    ages.hear(a_trace(PoolMetrics(pending_jobs=3, readings=good), MINUTE))
    key = ("training", PENDING_JOBS, "slurm")
    assert as_numbers(ages.ages()) == {key: 240}
    assert as_numbers(ages.jobs()) == {("training",): 3}
    failed = Reading(0, "jobs", None, Quality.ERROR, "slurm", "no answer")
    ages.hear(a_trace(PoolMetrics(readings={PENDING_JOBS: failed}), 2 * MINUTE))
    assert as_numbers(ages.ages()) == {key: 240}
    assert as_numbers(ages.jobs()) == {}  # what nobody knows is no zero
    assert ages.failures == {("training", "slurm"): 1}
    stale = {PENDING_JOBS: reading(4, 3 * MINUTE, Quality.STALE)}
    ages.hear(a_trace(PoolMetrics(pending_jobs=4, readings=stale), 4 * MINUTE))
    assert as_numbers(ages.ages()) == {key: 120}
    assert ages.failures == {("training", "slurm"): 2}
    ages.keep(())
    assert as_numbers(ages.ages()) == {}


def test_a_plain_source_is_as_fresh_as_it_says() -> None:
    ages = SignalAges(Names(10), lambda: MONDAY + MINUTE)
    ages.hear(a_trace(PoolMetrics(pending_jobs=2)))
    expected = {("training", each, ""): 60 for each in (UTILIZATION, PENDING_JOBS, QUEUE_DEPTH)}
    assert as_numbers(ages.ages()) == expected
    assert as_numbers(ages.jobs()) == {("training",): 2}


def test_of_pools_without_series_of_their_own_the_oldest_signal_counts() -> None:
    samples = {
        "a/one": {"queue": reading(1, MINUTE)},
        "a/two": {"queue": reading(1, timedelta()), "rate": reading(1, MINUTE, Quality.ABSENT)},
        "a/three": {"queue": reading(1, 2 * MINUTE, Quality.STALE)},
    }
    shown = as_numbers(ages_of(samples, Names(1), MONDAY + 3 * MINUTE))
    assert shown == {("a/one", "queue"): 120, (OTHER, "queue"): 180}


# --- calls -----------------------------------------------------------------------------------


class Watched:
    """Calls of a provider, by a watch that goes on a second each time that it is looked at."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = ProviderCalls(self.look)

    def look(self) -> float:
        self.seconds += 1
        return self.seconds

    async def make(self, call_: str, error: BaseException | None = None) -> None:
        async with self.calls.timed("fake", call_, 60):
            if error is not None:
                raise error


def test_calls_of_providers_are_measured_and_their_errors_counted() -> None:
    async def story() -> None:
        watched = Watched()
        await watched.make("list")
        for error in (NoCapacity("none"), KeyError("a bug of theirs"), TimeoutError()):
            with pytest.raises(type(error)):
                await watched.make("provision", error)
        with pytest.raises(NotFound):
            await watched.make("terminate", NotFound("gone already"))
        assert {key: each.count for key, each in watched.calls.durations.items()} == {
            ("fake", "list"): 1,
            ("fake", "provision"): 3,
            ("fake", "terminate"): 1,
        }
        assert watched.calls.durations["fake", "list"].total == 1
        assert watched.calls.failures == {
            ("fake", "provision", "no_capacity"): 1,
            ("fake", "provision", OTHER): 1,
            ("fake", "provision", "timed_out"): 1,
        }

    run(story())


def test_a_call_that_takes_too_long_has_timed_out() -> None:
    async def story() -> None:
        calls = ProviderCalls(stopwatch)
        with pytest.raises(TimeoutError):
            async with calls.timed("fake", "list", 0.001):
                await asyncio.Event().wait()
        assert calls.failures == {("fake", "list", "timed_out"): 1}
        assert calls.durations["fake", "list"].count == 1

    run(story())


def test_a_call_that_is_abandoned_is_not_counted() -> None:
    async def story() -> None:
        calls = ProviderCalls(stopwatch)
        begun = asyncio.Event()

        async def wait() -> None:
            async with calls.timed("fake", "list", 60):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (calls.durations, calls.failures) == ({}, {})

    run(story())


def test_calls_of_the_service_are_measured_and_one_of_61_on_the_hot_path() -> None:
    async def story(plane: ControlPlane, clock: FakeClock, ids: list[str]) -> None:
        application = plane.asgi_app
        hot = application.hot
        assert hot is not None
        request = hot.prepare("SendHeartbeat", [(b"content-type", b"application/proto")])
        assert request is not None
        for number in range(62):
            body = pb.HeartbeatRequest(node_id=ids[number % 2]).SerializeToString()
            assert hot.answer(request, body) is not None
        await call(application, "GetNode", pb.GetNodeRequest(node_id="nobody"))
        shown = numbers((await get(application, "/metrics"))[1].decode())
        count = "navarch_request_duration_seconds_count"
        assert shown[f'{count}{{method="GetNode"}}'] == 1
        assert shown['navarch_heartbeats_total{path="hot"}'] == 62
        assert shown[f'{count}{{method="Heartbeat"}}'] == 122  # the 1st and the 62nd

    told(story)
