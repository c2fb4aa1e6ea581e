"""Calls of plugins: remembered, limited in time, and left alone when they only fail."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from navarch.controlplane import catalogue
from navarch.controlplane.clock import stopwatch
from navarch.plugins import AgentPool, Node, Pod, exposition, threads, traces
from navarch.plugins.calls import About, Failed
from navarch.plugins.protocols import GuardrailResult, PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.scheduling import Scheduler
from navarch.plugins.shadow import KEPT, Shadows
from navarch.plugins.traces import ABANDONED_MAX, FAILURES_MAX, ISOLATION_MAX, Traced
from navarch.plugins.verdicts import verdict_of
from plugins.foreign import PreferSsd

SCHEDULER = PluginKind.SCHEDULER
ABOUT = About(SCHEDULER, "prefer-ssd", "filter", "default/chat", "pod-1 on 3 nodes")
SHORT = timedelta(milliseconds=30)
LONG = timedelta(seconds=30)


class Time:
    """A clock and a stopwatch that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 6, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def timer(self) -> float:
        return self.at.timestamp()

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="navarch.plugins")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def traced(time: Time) -> Traced:
    return Traced(time.now, time.timer)


def breaks() -> bool:
    raise KeyError("disk")


def failed(outcome: object) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


# --- remembering -----------------------------------------------------------------------------


def test_a_call_leaves_who_what_how_long_and_what_it_said(time: Time, traced: Traced) -> None:
    def slow() -> bool:
        time.passes(0.25)
        return True

    assert traced.call(ABOUT, slow) is True
    (trace,) = traced.traces(SCHEDULER)
    assert (trace.plugin, trace.point, trace.pool) == ("prefer-ssd", "filter", "default/chat")
    assert trace.subject == "pod-1 on 3 nodes"
    assert (trace.seconds, trace.outcome, trace.verdict) == (0.25, "ok", "true")
    summary = traced.summary(SCHEDULER, "prefer-ssd")
    assert (summary.calls, summary.failures, summary.p50_seconds) == (1, 0, 0.25)


def test_a_failure_is_an_answer_and_stays_known(traced: Traced) -> None:
    answer = failed(traced.call(ABOUT, breaks))
    assert (answer.text, answer.timed_out) == ("KeyError: 'disk'", False)
    assert traced.summary(SCHEDULER, "prefer-ssd").last_failure == "filter: KeyError: 'disk'"
    assert [each.outcome for each in traced.traces()] == ["failed"]


def test_a_plugin_that_ends_the_process_only_fails(traced: Traced) -> None:
    assert failed(traced.call(ABOUT, lambda: sys.exit(3))).text == "SystemExit: 3"


def test_the_ring_keeps_the_newest_and_can_be_asked_for_a_pool(time: Time) -> None:
    traced = Traced(time.now, time.timer, ring=10)
    for number in range(25):
        about = About(SCHEDULER, "p", "score", "a" if number % 5 else "b", str(number))
        traced.call(about, lambda: 1)
    assert [each.subject for each in traced.traces(SCHEDULER)] == list(map(str, range(15, 25)))
    assert [each.subject for each in traced.traces(SCHEDULER, pool="b")] == ["15", "20"]
    assert [each.subject for each in traced.traces(SCHEDULER, limit=2)] == ["23", "24"]
    assert traced.traces(PluginKind.GUARDRAIL) == []


def test_no_more_is_counted_apart_than_there_is_room_for(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "SERIES_MAX", 3)
    traced = Traced(time.now, time.timer)
    for number in range(9):
        traced.call(About(SCHEDULER, f"p{number}", "score"), lambda: 1)
    assert {each.plugin: each.durations.count for each in traced.series()} == {
        "p0": 1,
        "p1": 1,
        "p2": 1,
        "": 6,
    }


def test_calls_from_many_threads_are_all_counted(traced: Traced) -> None:
    def work() -> None:
        for _ in range(500):
            traced.call(ABOUT, lambda: 1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert traced.summary(SCHEDULER, "prefer-ssd").calls == 2000


@pytest.mark.parametrize(
    "said,verdict",
    [
        (None, "done"),
        (False, "false"),
        (0.5, "0.5"),
        ("my card is 4111", "a text of 15"),
        ([1, 2], "2 of them"),
        (GuardrailResult(passed=False, action="block", reason="2 names: Bob, Al"), "block"),
        (
            GuardrailResult(passed=False, action="my card"),  # type: ignore[arg-type]
            "an action that is none",
        ),
        (Failed("p", "score", "text"), "Failed"),
    ],
)
def test_a_verdict_is_a_line_and_never_a_text_that_was_checked(said: object, verdict: str) -> None:
    assert verdict_of(said) == verdict


# --- left alone ------------------------------------------------------------------------------


def test_a_plugin_that_only_fails_is_left_alone_then_tried_again(
    time: Time, traced: Traced
) -> None:
    for _ in range(FAILURES_MAX):
        traced.call(ABOUT, breaks)
    answer = failed(traced.call(ABOUT, lambda: True))
    assert answer.text.startswith(f"left alone after {FAILURES_MAX} failures in a row, the last:")
    assert list(traced.isolated()) == [(SCHEDULER, "prefer-ssd")]
    other = About(SCHEDULER, "other", "filter")
    assert traced.call(other, lambda: True) is True
    time.passes(30)
    assert traced.call(ABOUT, lambda: True) is True
    assert traced.isolated() == {}
    assert traced.summary(SCHEDULER, "prefer-ssd").skipped == 1


def test_who_fails_again_is_left_alone_for_longer_each_time(time: Time, traced: Traced) -> None:
    for _ in range(FAILURES_MAX):
        traced.call(ABOUT, breaks)
    for pause in (30, 60, 120, 240, 480, 600, 600):
        time.passes(pause - 1)
        assert failed(traced.call(ABOUT, breaks)).text.startswith("left alone")
        time.passes(1)
        assert failed(traced.call(ABOUT, breaks)).text == "KeyError: 'disk'"
    assert timedelta(seconds=600) == ISOLATION_MAX


def test_an_operator_can_have_it_called_at_once(traced: Traced) -> None:
    for _ in range(FAILURES_MAX):
        traced.call(ABOUT, breaks)
    traced.release(SCHEDULER, "prefer-ssd")
    assert traced.call(ABOUT, lambda: True) is True


def test_a_success_between_failures_keeps_it_in_use(traced: Traced) -> None:
    for _ in range(3 * FAILURES_MAX):
        for _ in range(FAILURES_MAX - 1):
            traced.call(ABOUT, breaks)
        assert traced.call(ABOUT, lambda: True) is True


# --- coroutines ------------------------------------------------------------------------------


async def answers() -> bool:
    await asyncio.sleep(0)
    return True


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("trusts", [True, False])
def test_a_coroutine_is_given_up_at_its_deadline(*, trusts: bool) -> None:
    traced = Traced(Time().now, stopwatch, trusts=lambda _kind, _name: trusts)

    async def main() -> tuple[object, object, object]:
        return (
            await traced.call_async(ABOUT, answers, LONG),
            await traced.call_async(ABOUT, hangs, SHORT),
            await traced.call_async(ABOUT, raises, LONG),
        )

    async def raises() -> bool:
        raise TimeoutError("the database")

    fine, late, broken = asyncio.run(main())
    assert fine is True
    assert (failed(late).text, failed(late).timed_out) == ("no answer within 0.03 s", True)
    assert (failed(broken).text, failed(broken).timed_out) == ("TimeoutError: the database", False)


def test_a_coroutine_that_cannot_be_cancelled_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "CANCEL_GRACE", timedelta(milliseconds=1))
    monkeypatch.setattr(traces, "FAILURES_MAX", 100)
    traced = Traced(Time().now, stopwatch)

    async def main() -> list[str]:
        end = asyncio.Event()

        async def stubborn() -> bool:
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue
            return True

        told = [
            failed(await traced.call_async(ABOUT, stubborn, timedelta(milliseconds=1))).text
            for _ in range(ABANDONED_MAX + 1)
        ]
        end.set()
        await asyncio.sleep(0.01)
        assert await traced.call_async(ABOUT, answers, LONG) is True
        return told

    told = asyncio.run(main())
    assert told[:-1] == ["no answer within 0.001 s"] * ABANDONED_MAX
    assert told[-1] == f"{ABANDONED_MAX} calls of it were given up and still run"


@pytest.mark.parametrize(
    "what,expected",
    [(lambda: sys.exit(2), "it raised SystemExit"), (None, "it cancelled itself")],
)
def test_a_coroutine_that_ends_the_loop_only_fails(
    what: Callable[[], object] | None, expected: str
) -> None:
    traced = Traced(Time().now, stopwatch)

    async def ends() -> object:
        if what is None:
            raise asyncio.CancelledError
        return what()

    outcome = asyncio.run(_called(traced, ends))
    assert expected in failed(outcome).text


async def _called(traced: Traced, function: Callable[[], Awaitable[object]]) -> object:
    return await traced.call_async(ABOUT, function, LONG)


def test_a_host_that_is_cancelled_takes_the_call_with_it() -> None:
    traced = Traced(Time().now, stopwatch)
    ended: list[str] = []

    async def waits() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return True

    async def main() -> None:
        host = asyncio.create_task(traced.call_async(ABOUT, waits, LONG))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        host.cancel()
        with pytest.raises(asyncio.CancelledError):
            await host
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == ["cancelled"]


# --- threads ---------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What plugins that hang wait for; opened at the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_a_plain_method_that_hangs_does_not_hang_its_host(gate: threading.Event) -> None:
    traced = Traced(Time().now, stopwatch)

    async def main() -> tuple[object, object]:
        late = await traced.call_in_thread(ABOUT, gate.wait, SHORT)
        return late, await traced.call_in_thread(ABOUT, lambda: 7, LONG)

    late, after = asyncio.run(main())
    assert (failed(late).text, failed(late).timed_out) == ("no answer within 0.03 s", True)
    assert after == 7


def test_no_more_threads_hang_for_a_plugin_than_it_may_have(gate: threading.Event) -> None:
    workers = threads.Workers()
    for _ in range(threads.HANGING_MAX):
        with pytest.raises(threads.Busy, match="no answer within"):
            workers.wait("p", gate.wait, 0.01)
    with pytest.raises(threads.Busy, match="3 calls of it hang and have not come back"):
        workers.wait("p", lambda: 1, 10)
    assert workers.wait("other", lambda: 1, 10) == 1
    gate.set()
    while workers.hanging("p"):
        threading.Event().wait(0.001)
    assert workers.wait("p", lambda: 1, 10) == 1


def test_what_waits_behind_a_call_that_hangs_is_answered_by_another_thread(
    gate: threading.Event,
) -> None:
    workers = threads.Workers()

    async def main() -> object:
        hanging = asyncio.create_task(workers.call("p", gate.wait, 0.03))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(workers.call("p", lambda: 7, 10))
        with pytest.raises(threads.Busy):
            await hanging
        return await waiting

    assert asyncio.run(main()) == 7


def test_what_a_thread_raises_is_told_and_ends_no_process() -> None:
    traced = Traced(Time().now, stopwatch)
    assert failed(traced.call_waiting(ABOUT, breaks, LONG)).text == "KeyError: 'disk'"
    told = failed(traced.call_waiting(ABOUT, lambda: sys.exit(1), LONG)).text
    assert told == "RuntimeError: it raised SystemExit: 1"
    assert traced.call_waiting(ABOUT, lambda: 7, LONG) == 7


def test_a_thread_with_nothing_to_do_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.001)
    workers = threads.Workers()
    assert workers.wait("idle", lambda: 1, 10) == 1
    while any(each.name == "plugin idle" for each in threading.enumerate()):
        threading.Event().wait(0.001)
    assert workers.wait("idle", lambda: 2, 10) == 2


def test_calls_of_one_plugin_do_not_pile_up(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "WAITING_MAX", 2)
    workers = threads.Workers()

    async def main() -> list[str]:
        calls = [asyncio.create_task(workers.call("p", gate.wait, 0.03)) for _ in range(6)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        return [str(each) for each in told]

    told = asyncio.run(main())
    assert sum("wait already" in each for each in told) >= 3


# --- shadow ----------------------------------------------------------------------------------


def test_disagreements_are_counted_and_the_newest_are_kept(time: Time) -> None:
    shadows = Shadows(time.now)
    assert shadows.compare(ABOUT, 5, 5)
    assert not shadows.compare(ABOUT, 5, Failed("p", "filter", "broke"))
    for number in range(KEPT + 5):
        assert not shadows.compare(ABOUT, 0, number + 1)
    tally = shadows.tally(SCHEDULER, "prefer-ssd")
    assert (tally.same, tally.different, tally.failed) == (1, KEPT + 5, 1)
    kept = shadows.disagreements(SCHEDULER)
    assert (len(kept), kept[-1].effective, kept[-1].shadow) == (KEPT, "0", str(KEPT + 5))
    assert shadows.disagreements(PluginKind.GUARDRAIL) == []


def test_a_host_says_what_counts_as_the_same(time: Time) -> None:
    shadows = Shadows(time.now)
    assert shadows.compare(ABOUT, 5.0, 5.4, same=lambda one, other: abs(one - other) < 1)


# --- metrics ---------------------------------------------------------------------------------


def test_durations_and_failures_are_told_to_prometheus(time: Time, traced: Traced) -> None:
    def takes(seconds: float) -> Callable[[], bool]:
        def run() -> bool:
            time.passes(seconds)
            return True

        return run

    about = About(SCHEDULER, 'odd "name"\n', "score")
    traced.call(about, takes(0.002))
    traced.call(about, takes(4))
    traced.call(about, breaks)
    shadows = Shadows(time.now)
    shadows.compare(about, 1, 2)
    text = "\n".join(exposition.lines(traced, shadows))
    labels = 'kind="scheduler",plugin_name="odd \\"name\\"\\n",point="score"'
    assert f'navarch_plugin_duration_seconds_bucket{{{labels},le="0.0025"}} 2' in text
    assert f'navarch_plugin_duration_seconds_bucket{{{labels},le="+Inf"}} 3' in text
    assert f"navarch_plugin_duration_seconds_count{{{labels}}} 3" in text
    assert f'navarch_plugin_failures_total{{{labels},outcome="failed"}} 1' in text
    assert 'verdict="different"} 1' in text
    assert text.count("# TYPE navarch_plugin_duration_seconds histogram") == 1
    assert list(catalogue.faults(text)) == []


# --- what hosts do with it -------------------------------------------------------------------


class Picky(PreferSsd):
    """Breaks at one node."""

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        if node.name == "n7":
            raise KeyError("rack")
        return node.name != "n8"


def test_a_scheduler_is_called_once_for_all_nodes_and_goes_on_behind_one_that_broke_it(
    traced: Traced,
) -> None:
    held = Registry()
    held.register(SCHEDULER, Picky())
    nodes = [Node(f"n{number}", capacity={"nvidia.com/gpu": 8}) for number in range(40)]
    pod = Pod("p", gpu_request=1, agent_pool="default/chat")
    (placement,) = Scheduler(held, caller=traced).place([pod], nodes, AgentPool())
    assert placement.node not in {None, "n7", "n8"}
    name = Picky.name
    told = [(each.point, each.outcome) for each in traced.traces(SCHEDULER) if each.plugin == name]
    assert told == [("filter", "failed"), ("filter", "ok"), ("score", "ok")]
