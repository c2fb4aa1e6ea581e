"""What ails the machines of a run, and who misbehaves when they are repaired, drawn from a seed.

As for all faults, which kinds there are is drawn first: most runs have few of them.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings
from navarch.simulator.dice import Stream
from navarch.simulator.hardware import Kind
from navarch.simulator.markets import MINUTE, SECOND, ZERO
from navarch.simulator.policies import TABLES

LADDERS: tuple[tuple[Remedy, ...], ...] = (
    (Remedy.REPLACE,),
    (Remedy.REPLACE,),
    (Remedy.RESET_GPU, Remedy.REPLACE),
    (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE),
    (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.REPLACE),
    (Remedy.REBOOT,),
    (Remedy.RESET_GPU, Remedy.REBOOT),
)


class Alarm(Struct, frozen=True):
    """A moment in which many machines fall ill at once, or are said to."""

    begins: timedelta
    lasts: timedelta
    share: float
    """How many of them, from 0 to 1."""
    kind: Kind


class Sickness(Struct, frozen=True):
    """How often machines fall ill, and how they take being repaired; the shares are from 0 to 1."""

    policy: str = ""
    """Who judges, by the name of a table; empty: nobody does."""
    next_policy: str = ""
    """Who judges later; empty: the same."""
    next_policy_at: timedelta = ZERO
    ailments: tuple[tuple[Kind, float], ...] = ()
    """How likely each is in the life of one machine."""
    lasts_max: timedelta = 4 * MINUTE
    """How long a passing ailment may last."""
    verdict_share: float = 0.0
    """How often the driver adds a verdict of its own."""
    alarms: tuple[Alarm, ...] = ()
    gpus: int = 0
    """How many each machine has."""
    lemons: float = 0.0
    """How often a new machine gets a broken GPU that came back from an older one."""
    refuses: float = 0.0
    """How often an agent refuses to reset or to reboot."""
    fails: float = 0.0
    """How often it tries in vain."""
    hangs: float = 0.0
    """How often nothing is ever heard of it again."""
    reboot_max: timedelta = MINUTE
    """How long a reboot may take."""
    lost_in_reboot: float = 0.0
    """How often a machine does not come back from it."""
    stuck_drains: float = 0.0
    """How many machines have work that does not end while faults happen."""
    manager_refuses: float = 0.0
    """How often the workload manager says no."""
    manager_away: float = 0.0
    """How often it does nothing and does not answer."""
    manager_mute: float = 0.0
    """How often it does what it is told and does not answer."""


HEALTHY = Sickness()


def draw_sickness(rolls: Stream, lasts: timedelta) -> Sickness:
    """Draw what ails a fleet; nothing, in half of the runs."""
    if rolls.chance(0.5):
        return HEALTHY

    def share(highest: float, often: float = 0.4) -> float:
        return rolls.fraction() * highest if rolls.chance(often) else 0.0

    names = (*TABLES,)
    policy = rolls.pick(("", *names, *names))
    kinds = rolls.some(tuple(Kind), rolls.integer(1, 4))
    return Sickness(
        policy=policy,
        next_policy=rolls.pick(names) if rolls.chance(0.3) else "",
        next_policy_at=rolls.between(2 * MINUTE, lasts),
        ailments=tuple((kind, 0.15 + 0.5 * rolls.fraction()) for kind in kinds),
        lasts_max=rolls.pick((2 * MINUTE, 6 * MINUTE)),
        verdict_share=share(1.0),
        alarms=tuple(_alarm(rolls, lasts) for _ in range(rolls.pick((0, 0, 0, 1, 2)))),
        gpus=2,
        lemons=0.8 if rolls.chance(0.1) else 0.0,
        refuses=share(0.5),
        fails=share(0.5),
        hangs=share(0.5),
        reboot_max=rolls.pick((MINUTE, 4 * MINUTE)),
        lost_in_reboot=share(0.5),
        stuck_drains=share(0.5),
        manager_refuses=share(0.5),
        manager_away=share(0.3),
        manager_mute=share(0.3),
    )


def _alarm(rolls: Stream, lasts: timedelta) -> Alarm:
    return Alarm(
        begins=rolls.between(2 * MINUTE, lasts),
        lasts=rolls.between(MINUTE, 5 * MINUTE),
        share=rolls.pick((0.4, 0.8, 1.0)),
        kind=rolls.pick((Kind.ALARM, Kind.ALARM, Kind.LIE, Kind.STORM, Kind.SPENT)),
    )


def with_patience(rolls: Stream, settings: Settings) -> Settings:
    """Draw how long repairs are waited for: short, so that each wait ends within a run."""
    return replace(
        settings,
        probation=rolls.pick((MINUTE, 3 * MINUTE)),
        probation_max=8 * MINUTE,
        reset_timeout=rolls.pick((MINUTE, 2 * MINUTE)),
        reboot_timeout=rolls.pick((2 * MINUTE, 4 * MINUTE)),
        relapse_window=rolls.pick((20 * MINUTE, 1440 * MINUTE)),
        attempts_max=rolls.integer(1, 3),
        clean_reports_to_heal=rolls.pick((1, 3)),
        workload_manager=rolls.chance(0.35),
        refusal_retry=rolls.pick((20 * SECOND, 2 * MINUTE)),
        drain_overrun="wait" if rolls.chance(0.2) else "end",
    )


def with_ladder(rolls: Stream, spec: PoolSpec) -> PoolSpec:
    """Draw what repair may do in a pool, and make it larger: one of two is a majority."""
    disruption = spec.disruption
    more = rolls.pick((0, 1, 2))
    return replace(
        spec,
        ladder=rolls.pick(LADDERS),
        dry_run=rolls.chance(0.1),
        replace_in_place=rolls.chance(0.4),
        min_nodes=spec.min_nodes + more,
        max_nodes=spec.max_nodes + more,
        unhealthy_after=rolls.integer(1, 3),
        disruption=Disruption(
            disruption.max_unavailable,
            disruption.max_unavailable_percent,
            max_unavailable_per_zone=rolls.pick((0, 0, 1)),
            max_replacements_per_hour=rolls.pick((2, 6, 20)),
        ),
    )
