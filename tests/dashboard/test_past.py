"""What is kept of earlier times: the chronicle, notes of demand and use, and price lists."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta

import pytest

from dashboard.seeing import journal
from factories import (
    POOL,
    a_fleet,
    a_sample,
    a_spec,
    at,
    flat,
    fold_all,
    founded,
    lost,
    name,
    registered,
    releasing,
    requested,
    running,
)
from navarch.controlplane.demand_history import DemandHistory
from navarch.controlplane.notes import COARSE_MAX, FINE_MAX, SERIES_MAX, Notes
from navarch.core.model import events as ev
from navarch.core.model.samples import Samples
from navarch.core.scaling.base import (
    PENDING_JOBS,
    UTILIZATION,
    PoolMetrics,
    PoolState,
    Reading,
    ScaleRecommendation,
)
from navarch.dashboard.past.chronicle import Chronicle
from navarch.dashboard.past.kept import Past
from navarch.dashboard.past.series import milliseconds, thinned
from navarch.dashboard.past.uses import Use, Uses, look
from navarch.errors import WireError
from navarch.metrics import base
from navarch.stores.base import Recorded
from navarch.stores.memory import MemoryStore


class Counting:
    """A journal that knows how many facts were read of it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.facts = 0

    async def read(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        page = await self._store.read(
            after=after, limit=limit, subject=subject, since=since, newest_first=newest_first
        )
        self.facts += len(page)
        return page


def changed(target: int, when: datetime) -> ev.TargetChanged:
    return ev.TargetChanged(when, POOL, target, f"queue: it asks for {target}")


# --- the chronicle -----------------------------------------------------------------------------


def test_the_journal_is_read_once_and_then_only_what_is_new() -> None:
    facts = flat(founded(target=2), running(1), running(2))
    store = journal(facts)
    counting, chronicle = Counting(store), Chronicle()

    async def looks() -> list[int]:
        fleet, read = fold_all(*facts), []
        for _ in range(2):
            await chronicle.catch_up(counting, len(facts), fleet, at(hours=1))
            read.append(counting.facts)
        later: list[ev.Fact] = [lost(1, at(hours=1)), changed(3, at(hours=1))]
        await store.append(later, after=len(facts))
        fold_all(*later, fleet=fleet)
        await chronicle.catch_up(counting, len(facts) + 2, fleet, at(hours=1, minutes=1))
        return [*read, counting.facts]

    assert asyncio.run(looks()) == [len(facts), len(facts), len(facts) + 2]
    assert [each.target for each in chronicle.decisions(POOL)][-1] == 3


def test_a_long_journal_is_cut_and_says_since_when_it_is_known() -> None:
    facts = flat(founded(target=1), *(changed(n % 5, at(minutes=n)) for n in range(1, 1_600)))
    chronicle = Chronicle(facts_max=700)
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), at(hours=27)))
    assert chronicle.since == at(minutes=900)
    assert chronicle.seq == len(facts)
    assert len(chronicle.decisions(POOL)) == 400  # the newest


def test_facts_older_than_a_week_are_left_alone() -> None:
    facts = flat(founded(target=1), running(1), changed(2, at(hours=24 * 30)))
    chronicle = Chronicle()
    now = at(hours=24 * 30 + 1)
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), now))
    assert [each.target for each in chronicle.decisions(POOL)] == [2]
    assert chronicle.since == now - timedelta(days=7)


def test_a_target_holds_from_its_change_and_is_unknown_before_anybody_knows() -> None:
    facts = flat(
        founded(target=1), running(1), changed(4, at(hours=100)), changed(2, at(hours=101))
    )
    fleet = fold_all(*facts)
    whole, cut = Chronicle(), Chronicle(facts_max=2)
    for chronicle in (whole, cut):
        asyncio.run(chronicle.catch_up(journal(facts), len(facts), fleet, at(hours=102)))
    since = at(hours=99)
    after = [(milliseconds(at(hours=100)), 4), (milliseconds(at(hours=101)), 2)]
    assert whole.target(POOL, 2, since) == [(milliseconds(since), 1), *after]
    assert cut.target(POOL, 2, since) == [(milliseconds(since), None), *after]
    assert whole.target("never-scaled", 7, since) == [(milliseconds(since), 7)]


def test_a_pool_that_is_new_wants_its_minimum_from_the_moment_it_is_configured() -> None:
    spec = a_spec(name="other", min_nodes=3)
    facts = flat(founded(), ev.PoolConfigured(at(hours=1), spec))
    chronicle = Chronicle()
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), at(hours=2)))
    began = milliseconds(at(hours=1))
    assert chronicle.target("other", 3, at()) == [(milliseconds(at()), None), (began, 3)]


def test_machines_that_are_bought_together_are_one_decision_with_their_names() -> None:
    facts = flat(founded(target=3), (requested(n, at(minutes=1)) for n in (1, 2, 3)))
    chronicle = Chronicle()
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), at(hours=1)))
    bought = [each for each in chronicle.decisions(POOL) if each.kind == "bought"]
    assert [(each.count, each.title) for each in bought] == [(3, "3 machines asked for")]
    assert bought[0].subjects == [name(1), name(2), name(3)]
    assert bought[0].because == "too few"


def test_machines_that_are_released_are_found_by_the_pool_they_are_of() -> None:
    facts = flat(founded(target=1), running(1), releasing(1, at(minutes=3)))
    chronicle = Chronicle()
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), at(hours=1)))
    assert chronicle.decisions(POOL)[-1].title == f"{name(1)} drained to be ended"


# --- notes -------------------------------------------------------------------------------------


def test_notes_stay_within_their_bounds_and_reach_back_a_week() -> None:
    notes, every = Notes(columns=1), 30.0
    begin = at().timestamp()
    for number in range(25_000):
        notes.add("a", begin + number * every, [number])
    kept = list(notes.of("a", at()))
    moments = [moment for moment, _ in kept]
    assert moments == sorted(moments)
    assert len(kept) <= FINE_MAX + COARSE_MAX
    assert kept[-1][1][0] == 24_999
    assert moments[-1] - moments[0] > timedelta(days=6.9).total_seconds()


def test_notes_are_kept_for_so_many_names_and_no_more() -> None:
    notes = Notes(columns=1)
    for number in range(SERIES_MAX + 5):
        notes.add(str(number), 0.0, [1.0])
    assert len(notes.names()) == SERIES_MAX
    assert notes.newest(str(SERIES_MAX)) is None


def state(**readings: Reading) -> PoolState:
    metrics = base.pool_metrics(readings, source="test") if readings else PoolMetrics(40.0, 3, 9)
    return PoolState(POOL, current_nodes=4, healthy_nodes=4, metrics=metrics)


def test_demand_is_what_evaluations_knew_and_unknown_where_they_did_not() -> None:
    history = DemandHistory()
    history.note(at(), state(), ScaleRecommendation(6, "12 jobs"))
    unknown = {
        UTILIZATION: base.error(UTILIZATION, "it is away", "test"),
        PENDING_JOBS: base.absent(PENDING_JOBS, "it has none", "test"),
    }
    history.note(at(minutes=1), state(**unknown), ScaleRecommendation(4, "holds", held=True))
    known, blind = history.of(POOL, at())
    assert (known.pending, known.proposed) == (3, 6)
    assert known.busy_nodes == pytest.approx(1.6)
    assert (blind.utilization, blind.pending, blind.proposed, blind.busy_nodes) == (None,) * 4
    assert history.newest(POOL) == blind
    history.leave(POOL)
    assert history.of(POOL, at()) == []
    assert history.newest(POOL) is None


def test_points_of_a_series_are_thinned_to_the_highest_and_end_with_the_last() -> None:
    points = [(index, float(index % 10)) for index in range(1_000)] + [(1_000, None)]
    kept = thinned(points, 100)
    assert len(kept) <= 100
    assert max(value or 0 for _, value in kept) == 9
    assert kept[-1] == (1_000, None)


# --- use ---------------------------------------------------------------------------------------


def test_serving_gpus_are_good_idle_or_unknown_by_their_newest_sample() -> None:
    fleet, samples = a_fleet(4, lost(4, at(minutes=1))), Samples()
    samples.record(name(1), at(minutes=2), a_sample(80.0))
    samples.record(name(2), at(minutes=2), a_sample(1.0))
    samples.record(name(3), at(), a_sample(80.0))  # long ago
    samples.record(name(4), at(minutes=2), a_sample(80.0))  # silent: it serves nobody
    found = dict(look(fleet, samples, at(minutes=2), timedelta(seconds=90)))
    assert (found[POOL].good, found[POOL].idle, found[POOL].unknown) == (1, 1, 22)


def test_shares_hold_for_some_minutes_after_somebody_looked() -> None:
    uses = Uses()
    uses.note(POOL, at(minutes=10), Use(good=6, idle=2))
    uses.note(POOL, at(minutes=11), Use())
    moments = [at(minutes=minute).timestamp() for minute in (9, 10.5, 11.5)]
    assert uses.shares(POOL, moments) == [None, (0.75, 0.25), None]
    uses.note(POOL, at(minutes=12), Use(good=8))
    late = [at(minutes=minute).timestamp() for minute in (14, 60)]
    assert uses.shares(POOL, late) == [(1.0, 0.0), None]


# --- answers -----------------------------------------------------------------------------------


def test_an_answer_of_a_moment_ago_is_given_again_until_a_fact_comes() -> None:
    past, made = Past(), []

    async def make() -> int:
        made.append(1)
        return len(made)

    async def ask() -> list[int]:
        second = timedelta(seconds=1)
        return [
            await past.answer("a", 1, at(), make),
            await past.answer("a", 1, at() + second, make),
            await past.answer("b", 1, at() + second, make),
            await past.answer("a", 2, at() + second, make),
            await past.answer("a", 2, at() + 9 * second, make),
        ]

    assert asyncio.run(ask()) == [1, 1, 2, 3, 4]


def test_who_asks_at_the_same_time_is_given_the_same_answer_and_a_failure_is_not_kept() -> None:
    past, made = Past(), []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        if len(made) == 2:
            raise WireError("not_found", "it is gone")
        return len(made)

    async def ask() -> None:
        both = await asyncio.gather(*(past.answer("a", 1, at(), make) for _ in range(2)))
        assert both == [1, 1]
        for _ in range(2):
            with contextlib.suppress(WireError):
                assert await past.answer("a", 2, at(), make) == 3

    asyncio.run(ask())
    assert len(made) == 3


def test_gpus_of_which_nobody_knows_are_neither_good_nor_idle() -> None:
    uses = Uses()
    uses.note(POOL, at(), Use(unknown=8))
    (share,) = uses.shares(POOL, [at(seconds=30).timestamp()])
    assert share == (0.0, 0.0)


def test_a_registration_tells_how_many_gpus_a_type_has() -> None:
    facts = flat(founded(target=1), requested(1, at()), registered(1, at(minutes=2)))
    chronicle = Chronicle()
    asyncio.run(chronicle.catch_up(journal(facts), len(facts), fold_all(*facts), at(hours=1)))
    assert chronicle.lives.gpus == {("fake", "h100-8x"): 8}
