"""What every autoscaler of a pool of machines must do, as checks that its author can run.

The fixture is `make_plugin`, as in every kit. The pool's limits, its cooldown and what a dead
source may do are the core's; here is what the core cannot mend. One whose `recommend` is async is
awaited, and may look at the world.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar, Final

from navarch.core.scaling.base import (
    PENDING_JOBS,
    QUEUE_DEPTH,
    UTILIZATION,
    Autoscaler,
    PoolMetrics,
    PoolState,
    Quality,
    Reading,
    ScaleRecommendation,
)
from navarch.plugins.protocols import PluginKind
from navarch.testing.findings import Broken, checked, expect, not_shown, told
from navarch.testing.manners import Manners, pure, same_twice, untouched

MONDAY: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)

METRICS: Final = (
    PoolMetrics(),
    PoolMetrics(utilization=100.0, utilization_history=(50.0, 80.0, 100.0)),
    PoolMetrics(pending_jobs=40, queue_depth=100),
    PoolMetrics(utilization=10.0, queue_depth=1, utilization_history=(30.0, 20.0)),
    PoolMetrics(
        readings={
            name: Reading(0.0, "", None, Quality.ERROR, "scheduler", "connection refused")
            for name in (UTILIZATION, PENDING_JOBS, QUEUE_DEPTH)
        }
    ),
)
"""From idle to full, and one whose source is dead."""

STATES: Final = (
    PoolState(),
    *(
        PoolState(
            "training", current, current, 1, 20, metrics, MONDAY - timedelta(hours=ago), now=MONDAY
        )
        for current, metrics, ago in itertools.product((0, 1, 5, 20), METRICS, (1, 50))
    ),
)


class AutoscalerContract(Manners):
    """The kit for autoscalers of pools of machines: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.AUTOSCALER
    has_priority: ClassVar[bool] = False

    samples: ClassVar[tuple[str, ...]] = ("states",)

    states: ClassVar[Sequence[PoolState]] = STATES
    """Pools of machines that it is asked about."""

    def answer(self, plugin: Autoscaler, state: PoolState) -> ScaleRecommendation:
        """Ask, and wait for the answer where it has to be awaited."""
        try:
            answer: object = plugin.recommend(state)
            if not isinstance(answer, ScaleRecommendation) and inspect.isawaitable(answer):
                answer = asyncio.run(_awaited(answer))
        except Exception as error:
            text = f"asked about {state.current_nodes} nodes: {told(error)}"
            raise Broken(text) from error
        if not isinstance(answer, ScaleRecommendation):
            raise Broken(f"recommend answers {answer!r:.80}, expected a ScaleRecommendation")
        return answer

    @checked
    def test_it_proposes_a_whole_number_with_a_reason(self, plugin: Autoscaler) -> str:
        """Every change of a target says why."""
        seen = set()
        for state in self.states:
            answer = self.answer(plugin, state)
            target = answer.target_nodes
            expect(
                type(target) is int and target >= 0,
                f"target_nodes is {target!r}, expected a whole number of 0 or more",
            )
            expect(answer.reason.strip(), f"{target} nodes without a reason")
            seen.add(target)
        return f"{min(seen)} to {max(seen)}"

    @checked
    def test_the_same_question_has_the_same_answer(self, plugin: Autoscaler) -> None:
        """A recorded week can be replayed against it."""
        self._only_plain(plugin)
        for state in self.states:
            for again in (plugin, self.another()):
                same_twice(
                    f"the proposal for {state.current_nodes} nodes",
                    partial(self.answer, plugin, state),
                    partial(self.answer, again, state),
                )

    @checked
    def test_it_changes_nothing_that_it_is_given(self, plugin: Autoscaler) -> None:
        """The same state is shown to several."""
        for state in self.states:
            untouched("asking", (state,), partial(self.answer, plugin, state))

    @checked
    def test_it_uses_neither_clock_nor_chance_nor_network(self, plugin: Autoscaler) -> None:
        """The state says what time it is; one that must ask somebody is written async."""
        self._only_plain(plugin)
        for state in self.states:
            pure("recommend", partial(plugin.recommend, state))

    @checked
    def test_more_load_never_means_fewer_nodes(self, plugin: Autoscaler) -> None:
        """Else a load that grows takes capacity away from itself."""
        for field in (UTILIZATION, PENDING_JOBS, QUEUE_DEPTH):
            before = 0
            for value in (0, 5, 20, 50, 80, 95, 100):
                metrics = (
                    PoolMetrics(utilization=float(value))
                    if field == UTILIZATION
                    else PoolMetrics(pending_jobs=value, queue_depth=value)
                )
                state = PoolState("training", 5, 5, 1, 20, metrics, now=MONDAY)
                target = self.answer(plugin, state).target_nodes
                expect(target >= before, f"{field} {value} gives {target} nodes, less {before}")
                before = target

    def _only_plain(self, plugin: Autoscaler) -> None:
        if inspect.iscoroutinefunction(plugin.recommend):
            not_shown("recommend is async: it may ask the world")


async def _awaited(answer: object) -> object:
    assert inspect.isawaitable(answer)
    got: object = await answer
    return got
