"""What every replica autoscaler must do, as checks that its author can run.

::

    class TestMine(ReplicaAutoscalerContract):
        @pytest.fixture
        def make_plugin(self) -> MakePlugin:
            return lambda: MyAutoscaler(depth_per_replica=10)

It is asked about pools of different sizes with values of the signals that it declares. What more
of a signal means is taken from the table of known signals, and from `directions` for one of its
own; a signal that nobody knows may move the answer one way only, whichever.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

from navarch.core.model.resources import (
    AgentPool,
    AgentPoolSpec,
    AgentPoolStatus,
    ObjectMeta,
)
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.proposal import Proposal, of_metrics
from navarch.plugins.protocols import AutoscalerPlugin, PluginKind
from navarch.testing.findings import Broken, checked, expect, told
from navarch.testing.manners import Manners, expect_names, pure, same_twice, untouched

VALUES: Final = (0.0, 0.001, 0.2, 0.9, 1.0, 3.0, 9.0, 10.0, 11.0, 55.0, 100.0, 250.0, 4000.0, 1e6)
"""Of any signal: seconds, calls, sessions and percentages alike."""

EXTREMES: Final = (0.0, -1.0, 5e-324, 1e15, 1e300, math.inf, -math.inf, math.nan)

RUNNING: Final = 4
"""Replicas of the pool that is asked about without a signal."""


def pool_of(replicas: int, *, least: int = 0, most: int = 50) -> AgentPool:
    """Make a pool of agents that runs so many replicas."""
    return AgentPool(
        metadata=ObjectMeta("chat"),
        spec=AgentPoolSpec(min_replicas=least, max_replicas=most),
        status=AgentPoolStatus(replicas=replicas, ready_replicas=replicas),
    )


POOLS: Final = (
    pool_of(0),
    pool_of(1, least=1),
    pool_of(RUNNING, least=2, most=10),
    pool_of(50),
    pool_of(3, least=3, most=3),
)


class ReplicaAutoscalerContract(Manners):
    """The kit for replica autoscalers: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.REPLICA_AUTOSCALER

    samples: ClassVar[tuple[str, ...]] = ("pools",)

    pools: ClassVar[Sequence[AgentPool]] = POOLS
    """Pools of agents that it is asked about."""

    directions: ClassVar[Mapping[str, int]] = {}
    """Of signals of its own: 1 where more means that more replicas are wanted, -1 where fewer."""

    def answer(self, plugin: AutoscalerPlugin, pool: AgentPool, values: Mapping[str, float]) -> int:
        """Ask, and say what it was asked where it raises."""
        try:
            return self.call(plugin, pool, values)
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"asked with {_shown(values)}: {told(error)}") from error

    def call(self, plugin: AutoscalerPlugin, pool: AgentPool, values: Mapping[str, float]) -> int:
        """Ask in the rich form where it has one, else in the documents'."""
        propose = getattr(plugin, "propose", None)
        if propose is None:
            return plugin.calculate_replicas(pool, values)
        answer: object = propose(of_metrics(pool, values))
        if not isinstance(answer, Proposal):
            raise Broken(f"propose answers {answer!r:.80}, expected a Proposal")
        return answer.replicas

    def loads(self, plugin: AutoscalerPlugin) -> Iterator[dict[str, float]]:
        """All its signals at the same values, and each of them alone."""
        names = plugin.metric_names
        for value in VALUES:
            yield dict.fromkeys(names, value)
            if len(names) > 1:
                yield from ({name: value} for name in names)

    @checked
    def test_the_signals_are_names_each_said_once(self, plugin: AutoscalerPlugin) -> str:
        """The host reads these signals, and no others."""
        names = plugin.metric_names
        expect_names("metric_names", names)
        return ", ".join(names) or "none: it goes by the pool alone"

    @checked
    def test_it_proposes_a_whole_number_of_at_least_0(self, plugin: AutoscalerPlugin) -> str:
        """Half a replica does not run; bounds are the host's."""
        seen = set()
        for pool, values in itertools.product(self.pools, self.loads(plugin)):
            answer = self.answer(plugin, pool, values)
            asked = f"with {_shown(values)} it proposes {answer!r}"
            expect(type(answer) is int, f"{asked}, expected a whole number")
            expect(answer >= 0, f"{asked}, expected 0 or more")
            seen.add(answer)
        return f"{min(seen)} to {max(seen)}" if seen else "nothing asked"

    @checked
    def test_the_same_question_has_the_same_answer(self, plugin: AutoscalerPlugin) -> None:
        """A recorded week can be replayed against it; windows and cooldown are the host's."""
        other = self.another()
        for pool, values in itertools.product(self.pools, self.loads(plugin)):
            for again in (plugin, other):
                same_twice(
                    f"the proposal with {_shown(values)}",
                    partial(self.answer, plugin, pool, values),
                    partial(self.answer, again, pool, values),
                )

    @checked
    def test_it_changes_nothing_that_it_is_given(self, plugin: AutoscalerPlugin) -> None:
        """All plugins are shown the same objects."""
        for pool, values in itertools.product(self.pools, self.loads(plugin)):
            untouched(
                f"asking with {_shown(values)}",
                (pool, values),
                partial(self.call, plugin, pool, values),
            )

    @checked
    def test_it_uses_neither_clock_nor_chance_nor_network(self, plugin: AutoscalerPlugin) -> None:
        """The load is what it is given."""
        for pool, values in itertools.product(self.pools, self.loads(plugin)):
            pure(
                "it",
                partial(self.call, plugin, pool, values),
            )

    @checked
    def test_missing_signals_take_nothing_away(self, plugin: AutoscalerPlugin) -> str | None:
        """Who reads no load does not know that there is none. A dead source ends no service."""
        pool = pool_of(RUNNING)
        names = plugin.metric_names
        if not names:
            return "it declares no signals"
        least = self.answer(plugin, pool, {})
        expect(
            least > 0,
            f"without any signal it proposes {least} for a pool that runs {RUNNING}: it would take "
            "the service down when its source dies; propose pool.status.replicas instead",
        )
        for name in names if len(names) > 1 else ():
            rest = {other: 5.0 for other in names if other != name}
            answer = self.answer(plugin, pool, rest)
            expect(answer >= 0, f"without {name} it proposes {answer}")
        return f"{least} of {RUNNING} replicas without any signal"

    @checked
    def test_more_load_never_means_fewer_replicas(self, plugin: AutoscalerPlugin) -> str:
        """Else a load that grows takes capacity away from itself."""
        told_of = []
        for name in plugin.metric_names:
            direction = self.directions.get(name, _known(name))
            for pool in self.pools:
                answers = [(value, self.answer(plugin, pool, {name: value})) for value in VALUES]
                _one_way(name, direction, answers)
            told_of.append(f"{name} {('either way', 'up', 'down')[direction]}")
        return ", ".join(told_of)

    @checked
    def test_values_that_cannot_be_are_borne(self, plugin: AutoscalerPlugin) -> None:
        """Zero, huge, negative and no number at all: somebody's exporter sends them one day."""
        for name, value in itertools.product(plugin.metric_names, EXTREMES):
            answer = self.answer(plugin, self.pools[0], {name: value})
            shown = f"with {name} = {value} it proposes {answer!r:.60}"
            expect(type(answer) is int and answer >= 0, f"{shown}, expected a whole number")


def _one_way(name: str, direction: int, answers: list[tuple[float, int]]) -> None:
    """See that answers never fall, or never rise where less of a signal means more load."""
    pairs = list(itertools.pairwise(answers))
    falls = [pair for pair in pairs if pair[1][1] < pair[0][1]]
    rises = [pair for pair in pairs if pair[1][1] > pair[0][1]]
    if direction == 0:
        expect(
            not (falls and rises),
            f"more {name} means now more, now fewer replicas: "
            f"{', '.join(f'{value:g}: {answer}' for value, answer in answers)}",
        )
        return
    for (low, few), (high, many) in falls if direction > 0 else rises:
        text = f"{name} {low:g} gives {few} replicas and {name} {high:g} gives {many}"
        way = "more" if direction > 0 else "less"
        raise Broken(f"{text}; {way} of this signal is more load, which never takes any away")


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items()) or "no signal"


def _known(name: str) -> int:
    """What more of a known signal means; 0: nobody knows the signal."""
    if not signals.is_known(name):
        return 0
    return 1 if signals.signal_of(name).higher_is_worse else -1
