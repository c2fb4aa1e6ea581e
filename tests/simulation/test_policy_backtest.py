"""What a health policy would have done: known answers of a made-up month, and the past itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from golden_text import GOLDEN
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core import fold
from navarch.core.judging import HealthPolicy, Unjudged
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.errors import NavarchError
from navarch.policy import HealthPolicy as Rules
from navarch.providers.fake import FakeProvider
from navarch.simulator import policy_backtest, policy_backtest_report
from navarch.simulator.policies import PATIENT, STRICT
from navarch.simulator.policy_backtest import Trial
from navarch.simulator.policy_backtest_report import Backtest
from navarch.simulator.policy_journal import JournalReader
from navarch.simulator.policy_shadow import Conditions
from navarch.simulator.server import facts_of
from navarch.simulator.world import World
from navarch.stores.sqlite import SqliteStore
from pools import a_spec, register_all, run
from simulation.judged_month import (
    DAY,
    FINE,
    HOUR,
    MINUTE,
    START,
    Month,
    a_month,
    a_policy,
    rules,
    xid,
)

SEEDS = range(60)

HARSH = a_policy("harsh", xid31="unhealthy replace")
"""Takes a fault of applications for the end of a machine."""


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Live through some runs once: those in which anything was reported."""
    every = [World(seed) for seed in SEEDS]
    for world in every:
        world.run()
    return [
        world
        for world in every
        if any(isinstance(fact, ev.HealthReported) for fact in facts_of(world.server.store))
    ]


@pytest.fixture(scope="module")
def month() -> list[ev.Fact]:
    """Live through the month once."""
    return a_month().facts


def classes(result: Backtest) -> dict[int, str]:
    """Return how each node compares, by the number of its machine."""
    return {int(each.story.node_id[-4:]): each.classed.value for each in result.compared}


def tried(facts: Iterable[ev.Event], policy: HealthPolicy, **wanted: object) -> Backtest:
    return policy_backtest.replay(facts, policy, **wanted)  # type: ignore[arg-type]


# --- known answers ---------------------------------------------------------------------------


def test_the_policy_in_use_would_do_what_it_did(month: list[ev.Fact]) -> None:
    result = tried(month, a_policy())
    assert result.differing == []
    assert classes(result) == {2: "same", 4: "same", 6: "missed"}
    assert result.would == result.really
    assert (result.made_up, result.unannounced) == (0, 1)
    assert [each.name for each in result.in_use] == ["usual"]


def test_a_policy_that_takes_an_application_fault_for_death_replaces_machines_that_live_on(
    month: list[ev.Fact],
) -> None:
    result = tried(month, HARSH)
    assert classes(result) == {1: "extra", 2: "same", 3: "extra", 4: "same", 6: "earlier"}
    wrong = {each.story.node_id: each.note for each in result.differing if each.would}
    assert wrong["train-k3f9-0001"] == "it went on for 24 hours and more"
    numbers = result.would
    assert (numbers.replaced, numbers.replaced_right, numbers.replaced_wrong) == (5, 2, 3)
    assert (result.really.replaced, result.really.replaced_wrong) == (2, 1)
    two_replacements = 2 * 8 * 20 / 60
    more = numbers.gpu_hours_wrong - result.really.gpu_hours_wrong
    assert more == pytest.approx(two_replacements, abs=0.01)


def test_an_earlier_replacement_says_by_how_much_and_saves_sick_hours(
    month: list[ev.Fact],
) -> None:
    result = tried(month, HARSH)
    early = next(each for each in result.compared if each.classed.value == "earlier")
    assert early.would is not None
    assert early.would.at == START + 20 * DAY + MINUTE  # the second report confirms it
    assert early.would.rule == "xid-31"
    assert early.ahead == timedelta(hours=2, minutes=1)
    assert (result.would.missed, result.would.too_late) == (0, 0)
    assert (result.really.missed, result.really.too_late) == (1, 1)
    assert result.really.gpu_hours_sick - result.would.gpu_hours_sick == pytest.approx(
        8 * (2 + 1 / 60), abs=0.01
    )


def test_a_policy_that_ignores_a_fallen_gpu_misses_it(month: list[ev.Fact]) -> None:
    result = tried(month, a_policy("blind", xid79="healthy"))
    assert classes(result) == {2: "missed", 4: "same", 6: "missed"}
    assert [each.story.node_id for each in result.differing] == ["train-k3f9-0002"]
    assert (result.would.missed, result.really.missed) == (2, 1)


def test_a_false_alarm_that_the_candidate_would_not_raise_is_spared(month: list[ev.Fact]) -> None:
    result = tried(month, a_policy("mild", xid48="degraded"))
    assert classes(result)[4] == "spared"
    assert (result.would.replaced_wrong, result.really.replaced_wrong) == (0, 1)


def test_a_reset_that_helped_makes_a_replacement_needless() -> None:
    spec = PoolSpec(
        "train", "cloud", min_nodes=6, max_nodes=8, ladder=(Remedy.RESET_GPU, Remedy.REPLACE)
    )
    gentle = a_policy("gentle", xid48="unhealthy reset_gpu")
    month = Month(gentle, spec=spec)
    month.report(1, xid(48))
    month.jump(START + 5 * DAY)
    assert tried(month.facts, gentle).differing == []
    result = tried(month.facts, a_policy())
    (compared,) = result.compared
    assert (compared.classed.value, compared.note) == ("extra", "reset_gpu was enough")
    assert (result.really.reset, result.would.reset, result.would.replaced) == (1, 0, 1)


def test_a_reset_that_was_not_made_is_judged_by_what_the_machine_went_on_to_report() -> None:
    spec = PoolSpec(
        "train", "cloud", min_nodes=6, max_nodes=8, ladder=(Remedy.RESET_GPU, Remedy.REPLACE)
    )
    month = Month(a_policy(), spec=spec)
    month.report(1, xid(31))
    month.report(2, xid(31), minutes=15)  # drained and reset by then, and on probation
    month.report(2, xid(31))
    policy = a_policy("resets", xid31="unhealthy reset_gpu")
    result = tried(month.facts, policy, until=month.now + HOUR)
    acts = {
        int(each.story.node_id[-4:]): [
            (act.remedy.value, act.outcome) for act in each.story.would.acts
        ]
        for each in result.compared
    }
    assert acts == {
        1: [("reset_gpu", "succeeded")],
        2: [("reset_gpu", "failed"), ("replace", "succeeded")],
    }


def test_a_dry_run_counts_what_would_be_done_and_takes_no_hours() -> None:
    spec = PoolSpec("train", "cloud", min_nodes=6, max_nodes=8, dry_run=True)
    month = Month(a_policy(), spec=spec)
    month.report(1, xid(31))
    month.jump(START + 5 * DAY)
    result = tried(month.facts, HARSH, until=month.now)
    assert classes(result) == {1: "extra"}
    numbers = result.would
    assert (numbers.replaced_wrong, numbers.withheld, numbers.gpu_hours_wrong) == (1, 1, 0)


def test_a_policy_that_waits_for_a_second_fault_is_later() -> None:
    text = """
version: v1
metadata: {name: waiting}
rules:
  - name: twice
    condition: event.event_type == "xid" && known.code == 79 && count("xid:79", "24h") >= 2
    result: unhealthy
    repair: replace
  - {name: once, condition: 'true', result: degraded}
"""
    spec = PoolSpec("train", "cloud", min_nodes=6, max_nodes=8, dry_run=True)
    month = Month(a_policy(), spec=spec)
    month.report(1, xid(79), minutes=120)
    month.report(1, xid(79))
    month.jump(START + 5 * DAY)
    result = tried(month.facts, Rules.from_yaml(text), until=month.now)
    (compared,) = result.compared
    assert (compared.classed.value, compared.ahead) == ("later", timedelta(hours=-2))


def sick_together(count: int, *, each_hour: int = 6) -> Month:
    """Return a fleet in which so many of twenty nodes report XID 31 within one minute."""
    disruption = Disruption(max_unavailable=1, max_replacements_per_hour=each_hour)
    spec = PoolSpec("train", "cloud", min_nodes=20, max_nodes=22, disruption=disruption)
    month = Month(a_policy(), spec=spec)
    for node in range(1, count + 1):
        month.report(node, xid(31), minutes=0)
    month.minutes(120)
    return month


def test_budgets_hold_the_candidate_back_as_they_would() -> None:
    month = sick_together(3)
    result = tried(month.facts, HARSH, until=month.now)
    begun = [each.would.at for each in result.compared if each.would is not None]
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps == [timedelta(minutes=20)] * 2  # a boot and a drain, one node at a time
    assert (result.would.budget_hits, result.really.budget_hits) == (2, 0)


def test_the_budget_of_the_hour_is_waited_for() -> None:
    month = sick_together(2, each_hour=1)
    result = tried(month.facts, HARSH, until=month.now)
    first, second = (each.would.at for each in result.compared if each.would is not None)
    assert timedelta(0) <= second - first - HOUR <= MINUTE


def test_a_policy_that_calls_a_fleet_sick_opens_the_breaker() -> None:
    month = sick_together(12)
    result = tried(month.facts, HARSH, until=month.now)
    assert (result.would.breaker_openings, result.really.breaker_openings) == (1, 0)
    assert result.would.replaced == 0


def test_events_that_no_rule_could_judge_are_counted() -> None:
    month = Month(Unjudged(), nodes=4)
    month.report(1, xid(31), xid(48))
    result = tried(month.facts, a_policy())
    assert (result.would.unjudged_events, result.really.unjudged_events) == (0, 2)


def test_rules_that_fail_are_named() -> None:
    text = """
version: v1
metadata: {name: failing}
rules:
  - {name: broken, condition: 'event.metrics.nowhere > 3', result: unhealthy}
  - {name: rest, condition: 'true', result: healthy}
"""
    month = Month(a_policy(), nodes=4)
    month.report(1, xid(31))
    result = tried(month.facts, Rules.from_yaml(text))
    assert result.would.failing_rules == {"broken": 1}
    assert result.really.failing_rules == {}


# --- since when, and of whom -----------------------------------------------------------------


def test_since_counts_what_came_after_and_no_more(month: list[ev.Fact]) -> None:
    harsh = HARSH
    result = tried(month, harsh, since=START + 8 * DAY)
    assert classes(result) == {3: "extra", 4: "same", 6: "earlier"}
    assert result.since >= START + 8 * DAY
    assert tried(month, a_policy(), since=START + 8 * DAY).differing == []


def test_findings_that_stand_when_the_counting_begins_are_judged_by_the_candidate() -> None:
    month = Month(a_policy("soft", xid79="degraded"), nodes=6)
    month.report(1, xid(79))
    month.jump(START + 2 * DAY)
    month.report(2, xid(31))
    result = tried(month.facts, a_policy(), since=START + DAY, until=month.now)
    began = {int(each.story.node_id[-4:]): each.would.at for each in result.compared if each.would}
    assert list(began) == [1]
    assert began[1] - result.since <= 3 * MINUTE


def test_one_pool_can_be_looked_at_alone(month: list[ev.Fact]) -> None:
    assert tried(month, a_policy(), pool="train") == tried(month, a_policy())
    with pytest.raises(NavarchError, match="knows no pool serve; there are: train"):
        tried(month, a_policy(), pool="serve")


@pytest.mark.parametrize("facts", [[], [ev.FleetFounded(START, "k3f9"), ev.Resumed(START, "0.1")]])
def test_a_journal_without_health_reports_says_so(facts: list[ev.Fact]) -> None:
    with pytest.raises(NavarchError, match=r"the journal holds no health report$"):
        tried(facts, a_policy())


def test_a_time_without_health_reports_says_so(month: list[ev.Fact]) -> None:
    with pytest.raises(NavarchError, match="no health report since 2027-05-01 00:00Z"):
        tried(month, a_policy(), since=datetime(2027, 5, 1, tzinfo=START.tzinfo))


# --- the past itself -------------------------------------------------------------------------


def judged_again(world: World) -> tuple[list[ev.HealthJudged], Backtest]:
    """Try the policy in use on the journal of a run; return its verdicts too."""
    verdicts: list[ev.HealthJudged] = []
    tick = world.plan.tick_interval + timedelta(seconds=5)
    trial = Trial(world.server.policy, Conditions(settings=world.plan.settings, tick=tick))
    tell = trial._stories.supposedly  # noqa: SLF001 - the verdicts are kept nowhere else

    def heard(fact: ev.Fact, fleet: Fleet) -> None:
        if isinstance(fact, ev.HealthJudged):
            verdicts.append(fact)
        tell(fact, fleet)

    trial._stories.supposedly = heard  # type: ignore[method-assign]  # noqa: SLF001
    for fact in facts_of(world.server.store):
        trial.take(fact)  # type: ignore[arg-type]  # only facts are journaled
    return verdicts, trial.result()


def test_in_any_run_the_policy_in_use_gives_every_verdict_that_was_given(
    worlds: list[World],
) -> None:
    seen: Counter[str] = Counter()
    for world in worlds:
        if world.plan.sickness.next_policy:
            continue
        facts = facts_of(world.server.store)
        really = [fact for fact in facts if isinstance(fact, ev.HealthJudged)]
        verdicts, result = judged_again(world)
        assert verdicts == really, f"seed {world.dice.seed}"
        assert result.differing == [], f"seed {world.dice.seed}"
        assert result.would == result.really, f"seed {world.dice.seed}"
        seen["verdicts"] += len(really)
        seen["acts"] += sum(len(each.story.real.acts) for each in result.compared)
    assert seen["verdicts"] > 300
    assert seen["acts"] > 10


@pytest.mark.parametrize("policy", [PATIENT, STRICT, Rules.default()], ids=lambda one: one.name)
def test_any_policy_can_be_tried_on_any_run(policy: HealthPolicy, worlds: list[World]) -> None:
    differing = 0
    for world in worlds:
        conditions = Conditions(settings=world.plan.settings)
        facts = facts_of(world.server.store)
        result = policy_backtest.replay(facts, policy, conditions)
        for numbers in (result.would, result.really):
            assert numbers.replaced == numbers.replaced_right + numbers.replaced_wrong
            assert min(numbers.replaced_right, numbers.gpu_hours_sick, numbers.missed) >= 0
        differing += len(result.differing)
    assert differing > 0


def test_the_same_past_is_judged_the_same_each_time(worlds: list[World]) -> None:
    facts = facts_of(worlds[0].server.store)
    assert tried(facts, STRICT) == tried(facts, STRICT)


def test_a_journal_of_version_0_1_can_be_judged() -> None:
    lines = (GOLDEN / "journal-0.1.jsonl").read_bytes().splitlines()
    result = tried([ev.decode(line) for line in lines], Rules.default())
    assert result.nodes > 0
    assert result.reports > 0


@pytest.mark.parametrize("is_known", [False, True])
def test_a_journal_whose_beginning_is_gone_can_be_judged(
    month: list[ev.Fact], *, is_known: bool
) -> None:
    fleet = Fleet()
    for fact in month:
        fold.apply(fleet, fact)
    reports = [n for n, fact in enumerate(month) if isinstance(fact, ev.HealthReported)]
    for first in range(1, reports[-1], 3):
        known = fleet if is_known else None
        assert tried(month[first:], a_policy(), known=known).reports > 0


def test_a_cut_journal_still_tells_who_lives_on(month: list[ev.Fact]) -> None:
    first = next(n for n, fact in enumerate(month) if fact.at >= START + 8 * DAY)
    result = tried(month[first:], HARSH)
    assert {node: kind for node, kind in classes(result).items() if node != 4} == {
        3: "extra",
        6: "earlier",
    }


def test_the_journal_of_a_control_plane_that_runs_is_judged_while_it_runs(tmp_path: Path) -> None:
    """Everything but the agents is real here; they report what the month's do."""
    path = tmp_path / "navarch.db"
    clock = FakeClock(START)
    store = SqliteStore(path)
    plane = ControlPlane(ServerConfig(clock=clock), store, policy=a_policy())
    plane.register_provider(FakeProvider(now=clock.now, sleep=clock.sleep))

    async def story() -> Backtest:
        async with plane:
            await plane.configure_pools([a_spec()])
            sick, _ = await register_all(plane, 2)
            for events in ((xid(79),), ()):
                await plane.runtime.ask(msg.ReportHealth(sick, FINE, events))
                clock.advance(MINUTE)
            with closing(JournalReader(path)) as reader:
                result = tried(list(reader.facts()), a_policy())
            fleet = plane.runtime.machine.fleet
            assert fleet.instances[sick].condemned
            return result

    result = run(story())
    assert result.differing == []
    (compared,) = result.compared
    assert compared.classed.value == "same"
    assert compared.really is not None
    assert compared.really.remedy is Remedy.REPLACE


# --- what is shown ---------------------------------------------------------------------------


def test_the_table_names_the_extra_ones_first(month: list[ev.Fact]) -> None:
    result = tried(month, HARSH)
    lines = policy_backtest_report.rows(result)
    assert [line[2] for line in lines] == ["extra", "extra", "earlier"]
    assert lines[2][3:6] == (
        "replace 05-21 00:01 (xid-31)",
        "vanished 05-21 02:02",
        "2h 1m",
    )


def test_a_node_that_flaps_for_ever_keeps_a_story_of_bounded_length() -> None:
    text = """
version: v1
metadata: {name: flapping}
rules:
  - {name: passing, condition: 'true', result: degraded, lasting: false}
"""
    month = Month(rules("calm", "31 healthy"), nodes=2)
    for _ in range(150):
        month.report(1, xid(31), minutes=5)
    result = tried(month.facts, Rules.from_yaml(text))
    (compared,) = result.compared
    kept = len(compared.story.would.changes)
    assert kept == 200
    assert kept + compared.story.would.left_out >= 299
