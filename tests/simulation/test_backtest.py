"""What an autoscaler would have done, to the minute; and that looking ahead pays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from navarch.core.scaling.base import PoolState, Quality, ScaleRecommendation
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.reactive import ReactiveAutoscaler
from navarch.simulator import backtest
from navarch.simulator.backtest import Conditions
from navarch.simulator.backtest_report import BacktestResult, condensed, page, table
from navarch.simulator.load_trace import START, Trace, TraceError, Unit
from pool_states import Fixed, Slow

MINUTE = timedelta(minutes=1)
SEEDS = range(1, 6)


def a_trace(*values: float, every: timedelta = 10 * MINUTE, unit: Unit = "nodes") -> Trace:
    """Return a load with one value each ten minutes."""
    times = [START + index * every for index in range(len(values) + 1)]
    return Trace(tuple(times), (*values, values[-1]), unit)


class Script:
    """Wants what a list says, one entry a question, the last one for ever."""

    name = "script"

    def __init__(self, *targets: int) -> None:
        self._targets = targets
        self.asked: list[PoolState] = []

    def recommend(self, state: PoolState) -> ScaleRecommendation:
        self.asked.append(state)
        index = min(len(self.asked), len(self._targets)) - 1
        return ScaleRecommendation(self._targets[index], "it is written")


def test_enough_nodes_are_never_under_capacity() -> None:
    result = backtest.replay(a_trace(3, 3, 3), Fixed(3))
    assert (result.minutes_under_capacity, result.missing_node_hours) == (0, 0)
    assert (result.node_hours, result.scalings, result.nodes_max) == (1.5, 0, 3)
    assert result.name == "fixed"


def test_a_new_node_is_paid_at_once_and_works_a_boot_later() -> None:
    result = backtest.replay(
        a_trace(2, 4, 4), Script(*[2] * 10, 4), Conditions(boot_delay=5 * MINUTE)
    )
    assert result.minutes_under_capacity == 5
    assert result.missing_node_hours == pytest.approx(2 * 5 / 60)
    assert result.node_hours == pytest.approx((2 * 10 + 4 * 20) / 60)
    live = [(point.live, point.wanted) for point in result.series]
    assert live[9:11] + live[14:16] == [(2, 2), (2, 4), (2, 4), (4, 4)]


def test_a_boot_may_end_between_two_questions() -> None:
    conditions = Conditions(boot_delay=timedelta(seconds=90), interval=MINUTE)
    result = backtest.replay(a_trace(2, 3), Script(*[2] * 10, 3), conditions)
    assert result.minutes_under_capacity == 1.5


def test_load_that_changes_between_two_questions_counts_when_it_changes() -> None:
    trace = a_trace(1, 5, 1, 5, every=timedelta(seconds=30))
    result = backtest.replay(trace, Fixed(1), Conditions(interval=5 * MINUTE))
    assert result.minutes_under_capacity == 1.0
    assert len(result.series) == 1


def test_what_boots_is_given_up_first() -> None:
    result = backtest.replay(a_trace(3), Script(3, 9, 5, 2))
    pools = [(point.live, point.wanted) for point in result.series[:4]]
    assert pools == [(3, 3), (3, 9), (3, 5), (2, 2)]
    assert (result.scalings, result.nodes_max) == (3, 9)


def test_without_a_boot_delay_nodes_work_at_once() -> None:
    result = backtest.replay(a_trace(1, 9), Script(*[1] * 10, 9), Conditions(boot_delay=0 * MINUTE))
    assert result.minutes_under_capacity == 0


def test_the_maximum_holds_for_any_answer() -> None:
    result = backtest.replay(a_trace(1), Fixed(500), Conditions(max_nodes=12))
    assert result.nodes_max == 12


def test_the_autoscaler_sees_what_a_real_one_would() -> None:
    script = Script(4, 6)
    backtest.replay(a_trace(2, 8), script, Conditions(first_nodes=4, cooldown=3 * MINUTE))
    first, second, later = script.asked[0], script.asked[1], script.asked[10]
    assert (first.current_nodes, first.healthy_nodes, first.booting_nodes) == (4, 4, 0)
    assert (first.utilization, first.utilization_history, first.last_scale_time) == (50.0, (), None)
    assert (second.utilization_history, second.metrics.capacity_history) == ((50.0,), (4,))
    assert (script.asked[2].current_nodes, script.asked[2].live_nodes) == (6, 4)
    assert script.asked[2].cooldown_left == 2 * MINUTE
    assert (later.utilization, later.pending_jobs) == (100.0, 2)
    assert later.metrics.quality("queue_depth") is Quality.ABSENT
    assert later.metrics.history_interval == MINUTE


def test_only_so_much_of_the_past_is_shown() -> None:
    script = Script(1)
    backtest.replay(a_trace(1, 1), script, Conditions(history=5 * MINUTE))
    assert max(len(state.utilization_history) for state in script.asked) == 5


def test_without_a_node_utilization_is_absent_and_jobs_wait() -> None:
    result = backtest.replay(
        a_trace(0, 3), ReactiveAutoscaler(), Conditions(min_nodes=0, boot_delay=MINUTE)
    )
    assert [point.wanted for point in result.series[:11]] == [0] * 10 + [1]
    assert result.series[10].reason == "no nodes, and 3 jobs wait"


def test_a_trace_of_jobs_feeds_the_queue() -> None:
    trace = a_trace(100, 450, 450, unit="jobs")
    result = backtest.replay(trace, QueueBasedAutoscaler(100), Conditions(jobs_per_node=100))
    assert [point.wanted for point in result.series[9:11]] == [1, 5]
    assert result.minutes_under_capacity == 5


def test_one_to_be_awaited_is_awaited() -> None:
    assert backtest.replay(a_trace(1), Slow(6)).nodes_max == 6


def test_several_are_compared_under_their_own_names() -> None:
    results = backtest.compare(a_trace(3, 3), {"a": Fixed(3), "b": Fixed(2)})
    assert [result.name for result in results] == ["a", "b"]
    assert [result.minutes_under_capacity for result in results] == [0, 20]


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"min_nodes": 5, "max_nodes": 4}, "limits 5 to 4"),
        ({"interval": timedelta()}, "interval and boot_delay"),
        ({"boot_delay": -MINUTE}, "interval and boot_delay"),
        ({"jobs_per_node": 0}, "jobs_per_node 0"),
    ],
)
def test_conditions_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(Conditions(), **changes)


def test_a_file_becomes_a_table_and_a_page(tmp_path: Path) -> None:
    trace, html = tmp_path / "load.csv", tmp_path / "page.html"
    trace.write_text("time,value\n0,3\n600,4\n1200,4\n")
    text = backtest.run(trace, {"three": Fixed(3), "<b>": Fixed(4)}, html_file=html)
    assert text.splitlines() == [
        "AUTOSCALER  NODE-HOURS  MINUTES UNDER  MISSING NODE-HOURS  SCALINGS  MOST NODES",
        "three              1.0           10.0                0.17         0           3",
        "<b>                1.3            0.0                0.00         1           4",
    ]
    assert "Backtest of load.csv" in html.read_text()


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("when,what\n")
    with pytest.raises(TraceError, match=r"load\.csv:1: no column"):
        backtest.run(tmp_path / "load.csv", {"a": Fixed(1)})


class Elements(HTMLParser):
    """Checks that elements are closed in order, and collects them."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [name for name, _ in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def close(self) -> None:
        super().close()
        assert self._open == []


def elements_of(results: Sequence[BacktestResult]) -> Elements:
    """Parse the page about some results."""
    elements = Elements()
    elements.feed(page(results, "A <week>"))
    elements.close()
    return elements


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    results = backtest.compare(a_trace(3, 5, 2), {"<b>": Fixed(3), "c": Fixed(5)})
    elements = elements_of(results)
    assert (elements.seen.count("svg"), elements.seen.count("rect")) == (2, 1)
    assert (elements.links, elements.seen.count("script"), elements.seen.count("b")) == ([], 0, 0)
    assert "://" not in page(results, "A <week>")


def test_a_long_series_is_condensed_to_its_worst_points() -> None:
    values = [1.0] * 3000
    values[1234] = 9.0
    result = backtest.replay(a_trace(*values, every=MINUTE), Fixed(1))
    columns = condensed(result.series)
    assert len(columns) == 500
    assert max(column.demand for column in columns) == 9.0


def test_a_page_and_a_table_about_nothing_are_possible() -> None:
    assert elements_of([]).seen.count("svg") == 0
    assert table([]).startswith("AUTOSCALER")


def total(weeks: Sequence[dict[str, BacktestResult]], name: str, field: str) -> float:
    """Sum one number of one contestant over all weeks."""
    amounts: list[float] = [getattr(week[name], field) for week in weeks]
    return sum(amounts)


@pytest.mark.soak
def test_looking_ahead_halves_the_minutes_under_capacity_at_no_great_price() -> None:
    assert Conditions().boot_delay == 5 * MINUTE
    weeks = [{each.name: each for each in week} for week in backtest.demonstration(SEEDS)]
    under = total(weeks, "predictive", "minutes_under_capacity")
    hours = total(weeks, "predictive", "node_hours")
    for rival in ("reactive 80/50, +4 -2", "reactive 80/50, +8 -2"):
        assert under <= 0.5 * total(weeks, rival, "minutes_under_capacity")
        assert hours <= 1.1 * total(weeks, rival, "node_hours")
    for week in weeks:
        one, other = week["predictive"], week["reactive 80/50, +4 -2"]
        assert one.minutes_under_capacity <= 0.5 * other.minutes_under_capacity
        assert one.node_hours <= 1.1 * other.node_hours


def test_the_demonstration_prints_a_table_a_week_and_a_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    html = tmp_path / "week.html"
    assert backtest.main(["--seeds", "2", "--days", "1", "--html", str(html)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("AUTOSCALER") == 2
    assert printed.count("predictive") == 2
    assert html.read_text().startswith("<!doctype html>")


def test_no_weeks_are_refused() -> None:
    with pytest.raises(SystemExit):
        backtest.main(["--seeds", "0"])
