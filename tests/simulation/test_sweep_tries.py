"""What the seeds of a sweep draw is all that there is to try, and it has its effects.

One test, so that the seeds are run once: each look at them is a class of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from navarch.core.model import events as ev
from navarch.simulator.hardware import Kind
from navarch.simulator.server import facts_of
from navarch.simulator.world import World

SEEDS = range(150)
REFUSED_AT = 544
"""A seed in which an agent refuses a repair; few do, for few repairs come so far."""

F = TypeVar("F", bound=ev.Event)


def facts(world: World, kind: type[F]) -> Iterator[F]:
    return (fact for fact in facts_of(world.server.store) if isinstance(fact, kind))


class Repairs:
    """Ailments, what is done about them, and what comes of it."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.suffered: set[Kind] = set()
        self.finished: set[str] = set()
        self.false_alarms = 0

    def see(self, world: World) -> None:
        count = world.checks.repairs.count
        self.begun.update(count.begun)
        self.ended.update(count.ended)
        self.false_alarms += count.false_alarms
        self.suffered |= {kind for kind, _ in world.plan.sickness.ailments}
        self.suffered |= {alarm.kind for alarm in world.plan.sickness.alarms}
        treated = {
            fact.command_id
            for fact in facts(world, ev.CommandIssued)
            if fact.type in ("gpu_reset", "reboot")
        }
        self.finished |= {
            fact.state.value
            for fact in facts(world, ev.CommandFinished)
            if fact.command_id in treated
        }

    def judge(self) -> None:
        assert self.suffered == set(Kind)
        assert set(self.ended) == {"succeeded", "failed", "revoked"}
        wanted = {"reset_gpu", "reboot", "replace for sickness", "replace for silence"}
        assert wanted <= set(self.begun)
        assert min(self.begun.values()) >= 3
        assert {"succeeded", "failed", "refused", "expired"} <= self.finished
        assert 0 < self.false_alarms < sum(self.begun.values()) / 2


class Interruptions:
    """Notices that a machine will be taken away, in pools with any share of such machines."""

    def __init__(self) -> None:
        self.noticed = 0
        self.shares: set[float | None] = set()

    def see(self, world: World) -> None:
        self.shares |= {pool.spot_percent for pool in world.plan.pools}
        self.noticed += sum(1 for _ in facts(world, ev.InterruptionNoticed))

    def judge(self) -> None:
        assert {None, 0.0, 30.0, 60.0, 100.0} <= self.shares
        assert self.noticed >= 5


class Scaling:
    """Strategies of buying, refusals of providers, and autoscalers."""

    def __init__(self) -> None:
        self.strategies: set[str] = set()
        self.failures: set[str] = set()
        self.autoscalers: set[str] = set()
        self.passed_over = 0

    def see(self, world: World) -> None:
        self.strategies |= {pool.strategy for pool in world.plan.pools if len(pool.sources) > 1}
        self.autoscalers |= {scaled.autoscaler.name for scaled in world.plan.scaled}
        self.failures |= {fact.failure for fact in facts(world, ev.LaunchFailed)}
        for fact in facts(world, ev.LaunchRequested):
            self.passed_over += "; not " in fact.because

    def judge(self) -> None:
        assert self.strategies == {"priority", "cost", "availability", "round-robin"}
        assert self.autoscalers == {"reactive", "queue", "composite", "scheduled"}
        everything = {"NoCapacity", "QuotaExceeded", "Unauthorized", "Throttled", "Unavailable"}
        assert everything <= self.failures
        assert self.passed_over >= 20


def test_the_sweep_tries_every_ailment_repair_notice_strategy_refusal_and_autoscaler() -> None:
    looks = (Repairs(), Interruptions(), Scaling())
    for seed in (*SEEDS, REFUSED_AT):
        world = World(seed)
        world.run()
        for look in looks:
            look.see(world)
    for look in looks:
        look.judge()
