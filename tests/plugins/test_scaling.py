"""Which autoscalers are asked about a pool of agents, and what wrong answers lead to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from agent_demands import a_class, a_pool, known
from factories import START, at
from navarch.core.model.resources import AgentPool, MetricTarget
from navarch.core.scaling.base import Quality, Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.proposal import Demand, Proposal
from navarch.core.serving.scaling.series import Series
from navarch.core.serving.scaling.shaping import decide
from navarch.plugins.calls import About, Direct, Failed
from navarch.plugins.protocols import AutoscalerPlugin, PluginKind
from navarch.plugins.registry import Configured, Registry
from navarch.plugins.scaling import (
    BUILT_IN,
    Panel,
    SignalBook,
    applicable,
    ask,
    ask_in_time,
    wanted_signals,
)
from navarch.plugins.signals import GatewayMetricsProvider, ProviderChain, PushedSample
from navarch.plugins.terms import Terms, TermsOf, unsaid
from navarch.plugins.turns import Asking, Turns

OURS = [kind() for kind in BUILT_IN]


class Documented:
    """The autoscaler of the documents."""

    name = "custom-autoscaler"
    priority = 150

    def __init__(self, answer: object = None, names: Sequence[str] = ("queue-depth",)) -> None:
        self.answer = answer
        self.metric_names = list(names)
        self.seen: Mapping[str, float] = {}

    def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
        self.seen = current_metrics
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer  # type: ignore[return-value]
        queue = current_metrics.get("queue-depth", 0.0)
        return max(-int(-queue // 10), pool.spec.min_replicas)


class Rich:
    """One that sees the demand."""

    name = "rich"
    priority = 10
    metric_names: Sequence[str] = ()

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def propose(self, demand: Demand) -> Proposal:
        return self.answer  # type: ignore[return-value]


def asked(
    plugins: Sequence[object],
    pool: AgentPool,
    series: Mapping[str, Series] | None = None,
    current: int = 4,
    terms: TermsOf = unsaid,
) -> list[Proposal]:
    return ask(
        Panel(plugins, Direct(), terms),
        pool,
        a_class(0.5),
        series or {},
        current=current,
        ready=current,
        now=START,
    )


def test_the_documents_autoscaler_is_asked_with_fresh_values_under_its_own_names() -> None:
    plugin = Documented(names=["queue_depth", "custom-metric"])
    series = known(queue_depth=92, ttft_p95=0.3, custom_metric=5, gpu_utilization=Quality.STALE)
    [found] = asked([plugin], a_pool(), series)
    assert (found.replicas, found.by, found.held) == (10, "custom-autoscaler", False)
    assert found.reason == "custom-autoscaler says 10"
    assert plugin.seen == {
        "queue_depth": 92,
        "queue-depth": 92,
        "custom-metric": 5,
        "ttft-p95": 0.3,
    }


def test_a_plugin_that_takes_a_missing_signal_for_zero_takes_nothing_away() -> None:
    [found] = asked([Documented()], a_pool(), known(queue_depth=Quality.STALE), current=7)
    assert (found.replicas, found.held) == (7, True)
    assert found.reason == "custom-autoscaler says 0, but queue-depth is stale"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "answer,words",
    [
        (True, "calculate_replicas gave True (bool), expected a whole number of at least 0"),
        (-1, "calculate_replicas gave -1, expected"),
        ("5", "gave '5' (str)"),
        (2.5, "gave 2.5 (float)"),
        (float("nan"), "gave nan (float)"),
        (ValueError("no idea"), "ValueError: no idea"),
        (KeyError("queue"), "KeyError: 'queue'"),
    ],
)
def test_a_wrong_answer_holds_and_says_what_was_wrong(answer: object, words: str) -> None:
    [found] = asked([Documented(answer)], a_pool(), known(queue_depth=1), current=7)
    assert (found.replicas, found.held) == (7, True)
    assert "custom-autoscaler failed" in found.reason
    assert words in found.reason


def test_a_method_that_was_meant_to_be_awaited_is_a_wrong_answer() -> None:
    async def later() -> int:
        return 5

    [found] = asked([Documented(later())], a_pool(), known(queue_depth=1))
    assert "(coroutine)" in found.reason
    assert found.held


@pytest.mark.parametrize(
    "answer",
    [5, None, Proposal(-1, ""), Proposal(replicas=True, reason=""), Proposal(5, "", low=-1)],
)
def test_a_rich_answer_is_checked_too(answer: object) -> None:
    [found] = asked([Rich(answer)], a_pool())
    assert found.held
    assert "propose gave" in found.reason


def test_a_rich_answer_is_taken_as_it_is() -> None:
    [found] = asked([Rich(Proposal(5, "so it seems", high=6, confidence=0.4))], a_pool())
    assert found == Proposal(5, "so it seems", "rich", high=6, confidence=0.4)


def test_absurdly_many_replicas_are_cut() -> None:
    assert asked([Documented(10**30)], a_pool(), known(queue_depth=1))[0].replicas == 10**6


# --- who is asked ----------------------------------------------------------------------------


def named(plugins: Sequence[AutoscalerPlugin]) -> list[str]:
    return [plugin.name for plugin in plugins]


def test_without_names_those_that_know_a_metric_and_all_foreign_ones_are_asked() -> None:
    plugins = [Documented(), *OURS]
    tokens = a_pool({"tokens_in_queue": 1000})
    assert named(applicable(plugins, tokens, None)) == ["custom-autoscaler", "token-aware"]
    both = a_pool({"queueDepth": 10, "ttft-p95": 0})
    assert named(applicable(plugins, both, a_class(0.5))) == [
        "custom-autoscaler",
        "queue-depth",
        "slo",
    ]
    assert named(applicable(OURS, a_pool(), a_class(0.5))) == []


def test_with_names_only_those_are_asked_and_a_missing_one_holds() -> None:
    pool = a_pool({"queue-depth": 10}, autoscalers=("queue-depth", "gone"))
    found = asked([Documented(), *OURS], pool, known(queue_depth=92), current=12)
    assert [one.by for one in found] == ["queue-depth", ""]
    assert found[1].reason == "autoscaler gone is not there, or not enabled"
    shaped, _ = decide(pool, None, 12, found, None, at())
    assert shaped.target == 12


def test_a_metric_that_nobody_knows_holds_and_says_so() -> None:
    pool = a_pool({"queue-depht": 10})
    [found] = asked(OURS, pool, known(queue_depth=3))
    assert (found.held, found.reason) == (True, "no autoscaler that is asked knows queue-depht")


def test_the_signals_that_are_read_are_those_of_metrics_plugins_and_who_waits() -> None:
    waiting = set(signals.WAITING)
    pool = a_pool({"gpuUtilization": 60})
    assert set(wanted_signals(OURS, pool, None)) == {"gpu-utilization"} | waiting
    custom = Documented(names=["custom_metric"])
    assert "custom-metric" in wanted_signals([custom], a_pool(), None)
    assert "queue-time-p95" in wanted_signals(OURS, a_pool({"ttft": 0}), a_class(0.5))
    assert wanted_signals(OURS, a_pool(), None) == ()


# --- in time ---------------------------------------------------------------------------------


class Threads(Direct):
    """A caller with threads, whose deadline comes at once."""

    def __init__(self) -> None:
        self.points: list[str] = []

    async def call_in_thread(
        self, about: About, function: Callable[[], Proposal], deadline: timedelta
    ) -> Proposal | Failed:
        self.points.append(f"{about.plugin} {about.point} {about.pool} {deadline}")
        answers: list[Proposal | Failed] = []
        thread = threading.Thread(target=lambda: answers.append(self.call(about, function)))
        thread.daemon = True
        thread.start()
        await asyncio.to_thread(thread.join, 0.05)
        return (
            answers[0]
            if answers
            else Failed(about.plugin, about.point, "no answer", timed_out=True)
        )


def test_a_foreign_one_that_hangs_holds_and_the_others_are_heard() -> None:
    ending = threading.Event()

    class Hanging(Documented):
        def calculate_replicas(self, pool: AgentPool, current_metrics: Mapping[str, float]) -> int:
            ending.wait(30)
            return 1

    caller = Threads()
    pool = a_pool({"queue-depth": 10})
    panel = Panel([Hanging(), *OURS], caller)
    story = ask_in_time(panel, pool, None, known(queue_depth=92), current=4, ready=4, now=START)
    found = asyncio.run(story)
    ending.set()
    assert [(one.by, one.replicas, one.held) for one in found] == [
        ("custom-autoscaler", 4, True),
        ("queue-depth", 10, False),
    ]
    assert caller.points == ["custom-autoscaler calculate_replicas default/chat 0:00:05"]


def test_a_neutral_failure_counts_for_nothing_where_others_have_a_say() -> None:
    def terms(name: str) -> Terms:
        return Terms("neutral" if name == "custom-autoscaler" else "")

    broken, pool = Documented(ValueError("no idea")), a_pool({"queue-depth": 10})
    series = known(queue_depth=22)
    found = asked([broken, *OURS], pool, series, terms=terms)
    assert [(one.by, one.replicas) for one in found] == [("queue-depth", 3)]
    found = asked([broken, *OURS], pool, series)
    assert [(one.by, one.replicas) for one in found] == [
        ("custom-autoscaler", 4),
        ("queue-depth", 3),
    ]


@pytest.mark.parametrize("names", [(), ("custom-autoscaler",)])
def test_the_number_stays_where_nobody_but_a_neutral_one_has_a_say(names: tuple[str, ...]) -> None:
    pool = a_pool(autoscalers=names)
    [found] = asked([Documented(ValueError())], pool, terms=lambda _: Terms("neutral"))
    assert (found.replicas, found.held, found.by) == (4, True, "custom-autoscaler")


def test_each_is_asked_within_its_own_deadline_and_a_change_counts_at_once() -> None:
    held, caller = Registry(), Threads()
    held.register(PluginKind.REPLICA_AUTOSCALER, Documented(5))
    turns = Turns(held, caller)
    question = Asking(a_pool(), None, known(queue_depth=1), 4, 4)
    for deadline in (None, timedelta(seconds=1)):
        said = Configured(deadline=deadline)
        held.configure(PluginKind.REPLICA_AUTOSCALER, "custom-autoscaler", said)
        asyncio.run(turns.ask_in_time(question, START))
    assert [told.rpartition(" ")[2] for told in caller.points] == ["0:00:05", "0:00:01"]


# --- samples over time -----------------------------------------------------------------------


def test_samples_are_kept_over_the_window_of_their_metric() -> None:
    pool = a_pool()
    metric = MetricTarget("queueDepth", 10, timedelta(seconds=30))
    scaling = replace(pool.spec.autoscaling, metrics=(metric,))
    pool = replace(pool, spec=replace(pool.spec, autoscaling=scaling))
    book = SignalBook()
    series: Mapping[str, Series] = {}
    for second, value in ((0, 10.0), (10, 20.0), (35, 60.0)):
        sample = Reading(value, "requests", at(seconds=second), source="gateway")
        series = book.take(pool, {"queue_depth": sample}, at(seconds=second))
    assert series["queue-depth"].reading(at(seconds=35), metric.averaging_window).value == 40
    assert book.take(pool, {}, at(seconds=36)) == {}


def test_a_pool_that_is_forgotten_begins_anew() -> None:
    book = SignalBook()
    sample = Reading(5, "requests", at(), source="gateway")
    book.take(a_pool(), {"queue-depth": sample}, at())
    book.forget("default/chat")
    assert book.take(a_pool(), {"queue-depth": sample}, at())["queue-depth"].samples == (sample,)


def test_a_pushed_burst_changes_the_target_with_the_next_look() -> None:
    pool = a_pool({"queue-depth": 10}, high=50)
    gateway, book, panel = GatewayMetricsProvider(), SignalBook(), Panel(OURS, Direct())
    moment = [at()]
    chain = ProviderChain(lambda: [gateway], Direct(), lambda: moment[0])
    target, history = 0, None

    async def look() -> tuple[int, str]:
        nonlocal target, history
        now = moment[0]
        samples = await chain.read(pool, wanted_signals(OURS, pool, None))
        series = book.take(pool, samples, now)
        proposals = ask(panel, pool, None, series, current=target, ready=target, now=now)
        shaped, history = decide(pool, None, target, proposals, history, now)
        target = shaped.target
        return target, shaped.because

    async def story() -> None:
        gateway.push([PushedSample("chat", "queue_depth", 0)], moment[0])
        assert await look() == (0, "stays at 0: queue-depth 0 at 10 a replica needs 0")
        moment[0] = at(seconds=0.3)
        pushed = gateway.push([PushedSample("chat", "queue_depth", 92)], moment[0])
        assert pushed.pools == {"default/chat"}
        assert await look() == (10, "to 10: queue-depth 92 at 10 a replica needs 10; was 0")
        moment[0] = at(seconds=200)
        target_now, because = await look()
        assert target_now == 10
        assert "queue-depth is stale (200 s old, held; gateway: 200 s old" in because

    asyncio.run(story())
