"""What goes wrong in a run: the fleet, its clouds and its troubles, all drawn from the seed.

Which kinds of fault happen at all is drawn first, and only then how often (a *swarm*): a run with
everything at once hides what two faults do together, and many bugs need one fault to be absent.
Durations are shorter than in life, so that every deadline comes within a short run.

Clouds keep what they declare: whatever is drawn, a machine is in each list that is begun
`CloudPlan.list_lag` after its launch was, except where `hidden_share` says that lists lie.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.settings import Settings
from navarch.simulator.autoscaling import ScaledPool, draw_scaled
from navarch.simulator.conduct import HONEST, Conduct, draw_conduct
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.disks import FullDisk, draw_full_disks
from navarch.simulator.markets import (
    MINUTE,
    ORDINARY,
    STRATEGIES,
    ZERO,
    Habits,
    Trouble,
    draw_habits,
    draw_sources,
    draw_troubles,
    with_spot,
)
from navarch.simulator.networks import CALM, NetworkPlan, draw_network
from navarch.simulator.sick_faults import (
    HEALTHY,
    Sickness,
    draw_sickness,
    with_ladder,
    with_patience,
)


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


INSTANT = timedelta(milliseconds=1)
"""What a cloud declares at least: of a launch and a list at one moment, nobody can say which
was first."""

CLOUDS = ("alpha", "beta", "gamma", "delta")


class CallFaults(Struct, frozen=True):
    """How often one kind of call to a cloud goes wrong; the shares are from 0 to 1."""

    refused: float = 0.0
    """It does nothing and says so."""
    request_lost: float = 0.0
    """It does nothing and there is no answer."""
    answer_lost: float = 0.0
    """It is done and there is no answer."""
    answer_late: float = 0.0
    """It is done and the answer comes after nobody waits any more."""


NO_FAULTS = CallFaults()


def sold_by(cloud: str) -> tuple[str, ...]:
    """Name what a cloud sells: the word that all use, and its own."""
    return ("gpu", f"{cloud}-gpu")


class CloudPlan(Struct, frozen=True):
    """One cloud: how it is when it is well, and how it is when it is not."""

    name: str
    honours_tokens: bool = True
    boot_time: timedelta = _seconds(20)
    end_time: timedelta = ZERO
    answer_time: timedelta = _seconds(1)
    staleness: timedelta = ZERO
    """How old the world is that its lists show."""
    lateness_max: timedelta = ZERO
    """How long a request may take to arrive."""
    remembers_ended: timedelta = ZERO
    launch: CallFaults = NO_FAULTS
    terminate: CallFaults = NO_FAULTS
    list: CallFaults = NO_FAULTS
    hidden_share: float = 0.0
    """How often a list leaves out a machine whose agent has long spoken, against its promise."""
    outage_at: timedelta | None = None
    """When it refuses everything for a while; None: never."""
    outage_for: timedelta = ZERO
    troubles: tuple[Trouble, ...] = ()
    """When and where it sells nothing."""
    half_made: float = 0.0
    """How often a launch is refused late, when lists may have shown the machine."""
    price_usd_per_hour: float | None = None
    """What a machine costs, give or take a fifth; None: it has no price list."""
    declared_lag: timedelta = ZERO
    """What the cloud declares at least, where it is more careful than it has to be."""
    habits: Habits = ORDINARY
    """What else is peculiar about how it sells."""

    @property
    def types(self) -> tuple[str, ...]:
        """The names of what it sells: the word that all use, and its own."""
        return sold_by(self.name)

    @property
    def list_lag(self) -> timedelta:
        """What the cloud declares."""
        return max(self.staleness + self.lateness_max, self.declared_lag, INSTANT)


class AgentPlan(Struct, frozen=True):
    """How often something happens to an agent in its life; the shares are from 0 to 1."""

    within: timedelta | None = None
    """In which time after its beginning all of this happens; None: while faults happen."""
    stillborn: float = 0.0
    """The machine runs and its agent never speaks."""
    killed: float = 0.0
    """The process is gone and nobody starts it again while faults happen; its machine lives."""
    restarted: float = 0.0
    frozen: float = 0.0
    """It stands still, then goes on as if nothing had been."""
    frozen_max: timedelta = 5 * MINUTE
    sick: float = 0.0
    """A GPU event, and failed checks for a while."""
    calls_lost: float = 0.0
    """Share of calls of which the request or the reply is lost."""
    calls_doubled: float = 0.0
    """Share of calls that arrive twice."""
    preempted: float = 0.0
    """Its machine was cheap, and is taken away."""
    noticed: float = 0.0
    """How many of those are told so beforehand."""
    drain_time: timedelta = _seconds(45)
    """How long the work on it takes to end when it is drained."""


class Cut(Struct, frozen=True):
    """The network between the control plane and some of its agents is away."""

    begins: timedelta
    lasts: timedelta
    share: float
    """How many of the agents it cuts off, from 0 to 1."""


class Plan(Struct, frozen=True):
    """Everything about one run that is drawn before it begins."""

    settings: Settings
    pools: tuple[PoolSpec, ...]
    clouds: tuple[CloudPlan, ...]
    agents: AgentPlan
    sickness: Sickness = HEALTHY
    cuts: tuple[Cut, ...] = ()
    network: NetworkPlan = CALM
    conduct: Conduct = HONEST
    full_disks: tuple[FullDisk, ...] = ()
    """When the journal cannot be written."""
    requests: int = 0
    """How often operators ask for something."""
    vanishing: int = 0
    """How many machines vanish from their cloud."""
    stalls: int = 0
    """How often the control plane stands still for a while."""
    guests: int = 0
    """How many machines register that were not launched here."""
    faults_last: timedelta = 12 * MINUTE
    """After which time faults end; from then on the fleet must recover."""
    scaled: tuple[ScaledPool, ...] = ()
    """The pools that have an autoscaler."""
    evaluation_interval: timedelta = _seconds(30)
    """How often autoscalers are asked."""
    later_pools: tuple[PoolSpec, ...] = ()
    """Another configuration; empty: there is none."""
    later_at: timedelta = ZERO
    """When it is applied."""
    dropped_at: timedelta | None = None
    """When the last pool leaves the configuration, until faults end; None: never."""
    tick_interval: timedelta = _seconds(10)
    gather: timedelta = ZERO
    """How long the control plane collects messages for one batch."""
    restart_max: timedelta = _seconds(20)
    """How long a dead control plane may stay dead."""
    batch_max: int = 64
    """How many messages the control plane takes into one step."""
    effects_at_once: int = 4
    """How many effects of one kind may be under way at one provider."""
    snapshot_every: int = 40
    """Facts after which the fleet is written down whole."""


def draw_plan(dice: Dice) -> Plan:
    """Draw a run. Equal seeds draw equal plans.

    Every trait has a stream of its own, so that a new one leaves the others as they are.
    """

    def of(trait: str) -> Stream:
        return dice.stream("plan", trait)

    names = CLOUDS[: of("clouds").pick((1, 2, 2, 3, 4))]
    steady = of("steady").pick(names)
    lasts = of("faults_last").between(8 * MINUTE, 14 * MINUTE)
    sickness = draw_sickness(of("sickness"), lasts)
    if sickness.lemons:
        lasts *= 2  # a GPU has to come back in one machine after another
    pools = tuple(
        _sold(of(f"sources {pool.name}"), pool, names, steady)
        for pool in _pools(of("pools"), steady)
    )
    pools = tuple(with_spot(of(f"spot {pool.name}"), pool) for pool in pools)
    settings = _settings(of("settings"))
    if sickness is not HEALTHY:
        pools = tuple(with_ladder(of(f"ladder {pool.name}"), pool) for pool in pools)
        settings = with_patience(of("patience"), settings)
    scaled = draw_scaled(of("scaled"), pools, lasts)
    return Plan(
        settings=settings,
        pools=pools,
        clouds=tuple(
            replace(
                _cloud(of(f"cloud {name}"), name, lasts),
                troubles=draw_troubles(
                    of(f"troubles {name}"), lasts, sold_by(name), steady=name == steady
                ),
                half_made=of(f"half-made {name}").pick((0.0, 0.0, 0.1, 0.3)),
                price_usd_per_hour=of(f"price {name}").pick((None, 10.0, 20.0, 21.0)),
                habits=draw_habits(of(f"habits {name}"), lasts),
            )
            for name in names
        ),
        scaled=scaled,
        later_pools=_later_pools(of("later_pools"), pools),
        later_at=of("later_at").between(MINUTE, lasts),
        agents=replace(_agents(of("agents")), noticed=of("notices").pick((0.0, 0.7, 1.0))),
        sickness=sickness,
        cuts=_cuts(of("cuts"), lasts),
        network=draw_network(of("network"), lasts),
        conduct=draw_conduct(of("conduct")),
        full_disks=draw_full_disks(of("full_disks"), lasts),
        requests=of("requests").pick((0, 3, 8)),
        vanishing=of("vanishing").pick((0, 0, 1, 2)),
        stalls=of("stalls").pick((0, 0, 1, 2)),
        guests=of("guests").pick((0, 0, 1)),
        faults_last=lasts,
        dropped_at=_dropped_at(of("dropped_at"), pools, lasts),
        tick_interval=_seconds(of("tick_interval").pick((5, 10, 10))),
        gather=_seconds(of("gather").pick((0, 0, 0.2, 2))),
        restart_max=_seconds(of("restart_max").pick((1, 20, 100))),
        snapshot_every=of("snapshot_every").pick((8, 25, 1000)),
    )


def _later_pools(rolls: Stream, pools: tuple[PoolSpec, ...]) -> tuple[PoolSpec, ...]:
    """Draw the same pools with other limits inside the old ones; mostly there is no such thing."""
    if not rolls.chance(0.25):
        return ()
    return tuple(
        replace(
            pool,
            min_nodes=rolls.integer(0, pool.max_nodes),
            strategy=rolls.pick(STRATEGIES),
            sources=rolls.some(pool.sources, len(pool.sources)),
        )
        for pool in pools
    )


def _sold(rolls: Stream, pool: PoolSpec, clouds: tuple[str, ...], steady: str) -> PoolSpec:
    return replace(
        pool,
        min_nodes=rolls.pick((pool.min_nodes, rolls.integer(0, pool.min_nodes))),
        instance_type="gpu",
        strategy=rolls.pick(STRATEGIES),
        cooldown=rolls.pick((ZERO, MINUTE, 3 * MINUTE)),
        sources=draw_sources(rolls, clouds, steady, most=len(clouds)),
    )


def _dropped_at(rolls: Stream, pools: tuple[PoolSpec, ...], lasts: timedelta) -> timedelta | None:
    if len(pools) == 1 or not rolls.chance(0.2):
        return None
    return rolls.between(MINUTE, lasts)


def _settings(rolls: Stream) -> Settings:
    return Settings(
        health_check_interval=_seconds(rolls.pick((60, 120))),
        provisioning_timeout=rolls.between(3 * MINUTE, 6 * MINUTE),
        registration_timeout=rolls.between(3 * MINUTE, 6 * MINUTE),
        command_timeout=rolls.between(3 * MINUTE, 8 * MINUTE),
        retain_terminated=rolls.pick((4 * MINUTE, 1440 * MINUTE)),
        retry_max=_seconds(rolls.pick((60, 300))),
        drain_timeout=rolls.pick((2 * MINUTE, 5 * MINUTE)),
        provider_block=rolls.pick((2 * MINUTE, 5 * MINUTE, 15 * MINUTE)),
        stock_out_max=rolls.pick((2 * MINUTE, 15 * MINUTE)),
        price_age_max=rolls.pick((MINUTE, 10 * MINUTE)),
    )


def _pools(rolls: Stream, steady: str) -> tuple[PoolSpec, ...]:
    pools = []
    for name in ("train", "serve")[: rolls.pick((1, 1, 2))]:
        low = rolls.pick((1, 2, 3, 5, 5))
        pools.append(
            PoolSpec(
                name,
                steady,
                min_nodes=low,
                max_nodes=low + rolls.integer(0, 2),
                auto_replace=rolls.chance(0.9),
                disruption=Disruption(
                    max_unavailable=rolls.integer(1, 2),
                    max_unavailable_percent=rolls.pick((0.0, 50.0)),
                    max_replacements_per_hour=rolls.pick((1, 2, 6)),
                ),
            )
        )
    return tuple(pools)


def _cloud(rolls: Stream, name: str, lasts: timedelta) -> CloudPlan:
    outage = rolls.between(ZERO, lasts) if rolls.chance(0.25) else None
    return CloudPlan(
        name,
        honours_tokens=rolls.chance(0.4),
        boot_time=rolls.between(_seconds(5), _seconds(60)),
        end_time=_seconds(rolls.pick((0, 5, 40))),
        answer_time=rolls.between(_seconds(0.2), _seconds(rolls.pick((1, 20)))),
        staleness=_seconds(rolls.pick((0, 0, 10, 45))),
        lateness_max=_seconds(rolls.pick((0, 0, 5, 75))),
        remembers_ended=_seconds(rolls.pick((0, 60))),
        launch=_call_faults(rolls, 0.3),
        terminate=_call_faults(rolls, 0.3),
        list=_call_faults(rolls, 0.3),
        hidden_share=rolls.pick((0.0, 0.0, 0.1)),
        outage_at=outage,
        outage_for=rolls.between(MINUTE, 4 * MINUTE),
    )


def _call_faults(rolls: Stream, highest: float) -> CallFaults:
    def share() -> float:
        return rolls.fraction() * highest if rolls.chance(0.4) else 0.0

    return CallFaults(share(), share(), share(), share())


def _agents(rolls: Stream) -> AgentPlan:
    def share(highest: float) -> float:
        return rolls.fraction() * highest if rolls.chance(0.5) else 0.0

    return AgentPlan(
        stillborn=share(0.3),
        killed=share(0.6),
        restarted=share(0.6),
        frozen=share(0.6),
        frozen_max=rolls.pick((MINUTE, 6 * MINUTE)),
        sick=share(0.5),
        calls_lost=share(0.2),
        calls_doubled=share(0.2),
        preempted=share(0.8),
        drain_time=_seconds(rolls.pick((20, 45, 100))),
    )


def _cuts(rolls: Stream, lasts: timedelta) -> tuple[Cut, ...]:
    return tuple(
        Cut(
            begins=rolls.between(MINUTE, lasts),
            lasts=rolls.between(_seconds(20), 5 * MINUTE),
            share=rolls.pick((0.3, 0.7, 1.0)),
        )
        for _ in range(rolls.pick((0, 0, 1, 2)))
    )
