"""Hypothesis strategies for whole runs of a small world.

A *run* is a list of turns. In each turn some time passes, and a batch arrives that mixes what a
plausible world would send (machines boot, nodes beat and fall ill, lists are read, Slurm or its
like answers) with a wild message. What is plausible depends on the fleet, so a turn says only how
the world behaves; `batch` spells it out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from factories import BY_XID, START, TAG, ByXid, recovery, thermal, xid
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import AskDrained, Launch, ListTypes, Tell, Terminate
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Node
from navarch.core.model.pool import Disruption, PoolSpec
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies
from strategies import FAILURES, POOLS, PROVIDERS, messages, pool_specs, price_lists

_SECONDS = (31, 45, 95, 16, 0, 1, 95, 660, 4_000, 90_000)
ADVANCES = [timedelta(seconds=seconds) for seconds in _SECONDS]

EVERYBODY = frozenset(range(99))

groups = st.sampled_from([frozenset[int](), frozenset({1}), frozenset({1}), frozenset({1, 2})])
"""Machines by their serial numbers; often the same ones, so that a silence may last."""


faults: st.SearchStrategy[HealthEvent | None] = st.sampled_from(
    [
        None,
        xid(13),
        xid(48),
        xid(79),
        xid(79, gpu_index=1),
        xid(95),
        xid(110),
        xid(119, gpu_index=1),
        thermal(),
        recovery("none"),
        recovery("reboot"),
    ]
)
"""What may go wrong with a node: from noise of an application to a GPU that has to be replaced."""

managers = st.sampled_from(["agrees", "agrees", "agrees", "refuses", "silent"])

POLICIES = {policy.name: policy for policy in (BY_XID, ByXid("lenient", xid79=Health.DEGRADED))}


class Turn(Struct, frozen=True):
    """One turn of a run: how long after the one before, and how the world behaves in it."""

    advance: timedelta
    launches: str
    """What comes of the launches that are owed: made, lost, nothing yet, or how they fail."""
    agents: bool
    """Whether machines that have booted register."""
    ends: bool
    """Whether the terminations that are owed are agreed to."""
    silent: frozenset[int]
    """Nodes that do not beat."""
    listed: bool
    """Whether the providers' lists are read."""
    gone: frozenset[int]
    """Machines that are missing in the lists."""
    found: bool
    """Whether the lists show machines whose launch was lost, and one that nobody owns."""
    stranger: bool
    """Whether a machine that we did not launch registers."""
    sick: frozenset[int]
    """Nodes that report a fault; the others report that all is well."""
    fault: HealthEvent | None
    """What they report; None: that a check has failed."""
    manager: str
    """How a workload manager takes what it is told: agrees, refuses, or is silent."""
    policy: str
    """Which policy is adopted: by its name, or none."""
    order: CommandType | None
    """What an operator asks of every node."""
    acknowledged: CommandState | None
    """How agents that poll acknowledge what they were given; None if they never do."""
    wanted: int
    """What an operator scales both pools to, possible or not; negative for nothing."""
    advised: int
    """What an autoscaler proposes for both pools; negative for nothing."""
    prices: tuple[msg.Sold, ...] | None
    """What the price lists say that are owed; None if they can not be read."""
    wild: tuple[msg.Message, ...]


def turns(wild_max: int = 1) -> st.SearchStrategy[Turn]:
    """Draw a turn with at most so many wild messages."""
    orders = [None, None, None, *CommandType]
    return st.builds(
        Turn,
        st.sampled_from(ADVANCES),
        launches=st.sampled_from(["made"] * 6 + ["lost", "lost", "slow", *FAILURES[1:]]),
        agents=st.sampled_from([True, True, False]),
        ends=st.booleans(),
        silent=st.one_of(groups, groups, st.just(EVERYBODY)),
        listed=st.sampled_from([True, True, False]),
        gone=st.one_of(st.just(frozenset[int]()), groups),
        found=st.booleans(),
        stranger=st.booleans(),
        sick=groups,
        fault=faults,
        manager=managers,
        policy=st.sampled_from(["", "", "", "", "lenient", "by xid"]),
        order=st.sampled_from(orders),
        acknowledged=st.sampled_from([None, *CommandState]),
        wanted=st.sampled_from([-1, -1, -1, 0, 2, 4, 6]),
        advised=st.sampled_from([-1, -1, 0, 1, 3, 9]),
        prices=st.none() | price_lists,
        wild=st.lists(messages, max_size=wild_max).map(tuple),
    )


calm_turns = st.builds(
    Turn,
    st.sampled_from(ADVANCES[:4]),
    launches=st.sampled_from(["made", "made", "slow"]),
    agents=st.sampled_from([True, True, False]),
    ends=st.booleans(),
    silent=st.just(frozenset[int]()),
    listed=st.sampled_from([True, True, True, False]),
    gone=st.just(frozenset[int]()),
    found=st.just(value=False),
    stranger=st.just(value=False),
    sick=st.just(frozenset[int]()),
    fault=st.none(),
    manager=st.just("agrees"),
    policy=st.just(""),
    order=st.none(),
    acknowledged=st.sampled_from([None, CommandState.SUCCEEDED]),
    wanted=st.sampled_from([-1, -1, -1, 5]),
    advised=st.sampled_from([-1, -1, 4, 5]),
    prices=st.just(()),
    wild=st.just(()),
)
"""Turns of a world in which all goes well."""

Run = tuple[tuple[PoolSpec, ...], list[Turn]]


def _dying(
    specs: tuple[PoolSpec, PoolSpec],
    turns_: list[Turn],
    dead: frozenset[int],
    *,
    spare: int,
    gone: bool,
) -> Run:
    """Give the first pool five nodes and repair, and let some die for good at turn 3."""
    blue, green = specs
    repair = Disruption(max_unavailable=1 + spare // 2)
    blue = replace(blue, min_nodes=5, max_nodes=5 + spare, auto_replace=True, disruption=repair)
    missing = dead if gone else frozenset[int]()
    after = [replace(turn, silent=dead, gone=missing) for turn in turns_[3:]]
    return (blue, green), turns_[:3] + after


breathing_turns = st.builds(
    Turn,
    st.sampled_from([*ADVANCES[:5], timedelta(minutes=16)]),
    launches=st.sampled_from(["made"] * 9 + ["NoCapacity"]),
    agents=st.just(value=True),
    ends=st.booleans(),
    silent=st.one_of(st.just(frozenset[int]()), st.just(frozenset[int]()), groups),
    listed=st.sampled_from([True, True, False]),
    gone=st.just(frozenset[int]()),
    found=st.just(value=False),
    stranger=st.just(value=False),
    sick=st.one_of(st.just(frozenset[int]()), groups),
    fault=faults,
    manager=managers,
    policy=st.just(""),
    order=st.sampled_from([None, None, None, CommandType.CORDON]),
    acknowledged=st.sampled_from([None, CommandState.SUCCEEDED, CommandState.RUNNING]),
    wanted=st.just(-1),
    advised=st.sampled_from([0, 1, 2, 3, 4, 5, 9]),
    prices=st.just(()),
    wild=st.just(()),
)
"""Turns of a world in which autoscalers change their minds all the time."""


def _breathing(specs: tuple[PoolSpec, PoolSpec], turns_: list[Turn], low: int, room: int) -> Run:
    """Let both pools grow and shrink by so many nodes."""
    blue, green = (
        replace(spec, min_nodes=low, max_nodes=low + room, auto_replace=True) for spec in specs
    )
    return (blue, green), turns_


ailing_turns = st.builds(
    Turn,
    st.sampled_from([timedelta(seconds=31), timedelta(minutes=1), timedelta(minutes=4)]),
    launches=st.just("made"),
    agents=st.just(value=True),
    ends=st.just(value=True),
    silent=st.sampled_from([frozenset[int]()] * 30 + [frozenset({1})]),
    listed=st.just(value=True),
    gone=st.just(frozenset[int]()),
    found=st.just(value=False),
    stranger=st.just(value=False),
    sick=st.sampled_from([frozenset[int]()] * 12 + [frozenset({1}), frozenset({2})]),
    fault=faults,
    manager=st.sampled_from(["agrees"] * 9 + ["refuses", "silent"]),
    policy=st.sampled_from([""] * 30 + ["lenient", "by xid"]),
    order=st.sampled_from([None] * 30 + [CommandType.CORDON, CommandType.UNCORDON]),
    acknowledged=st.sampled_from([CommandState.SUCCEEDED] * 9 + [CommandState.REFUSED]),
    wanted=st.just(-1),
    advised=st.just(-1),
    prices=st.just(()),
    wild=st.sampled_from([*[()] * 30, (msg.PausePool("blue", paused=False),)]),
)
"""Turns of a world in which nodes fall ill, and agents do what they are told."""


def _ailing(
    specs: tuple[PoolSpec, PoolSpec],
    turns_: list[Turn],
    ill: frozenset[int],
    fault: HealthEvent | None,
    *,
    low: int,
    spare: int,
) -> Run:
    """Give both pools some nodes, and let some of them fall ill at turn 3."""
    repair = Disruption(1 + spare // 2)
    blue, green = (
        replace(
            spec,
            min_nodes=low,
            max_nodes=low + spare,
            auto_replace=True,
            disruption=repair,
        )
        for spec in specs
    )
    turns_ = [
        replace(turn, sick=ill, fault=fault) if n in (2, 3) else turn
        for n, turn in enumerate(turns_)
    ]
    return (blue, green), turns_


_two_pools = st.tuples(pool_specs("blue"), pool_specs("green"))

runs: st.SearchStrategy[Run] = st.one_of(
    st.tuples(_two_pools, st.lists(turns(), min_size=2, max_size=12)),
    st.builds(
        _dying,
        _two_pools,
        st.lists(calm_turns, min_size=7, max_size=14),
        st.frozensets(st.integers(1, 6), min_size=1, max_size=2),
        spare=st.integers(0, 2),
        gone=st.sampled_from([False, False, False, True]),
    ),
    st.builds(
        _breathing,
        _two_pools,
        st.lists(breathing_turns, min_size=6, max_size=14),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    st.builds(
        _ailing,
        _two_pools,
        st.lists(ailing_turns, min_size=12, max_size=25),
        st.sampled_from([frozenset({1}), frozenset({1}), frozenset({1, 6}), frozenset({1, 2})]),
        st.sampled_from([None, xid(79), xid(95), xid(95), xid(119), xid(119), xid(110)]),
        low=st.integers(1, 4),
        spare=st.integers(0, 2),
    ),
)
"""How two pools are configured, and what happens to them: a quarter of the runs go through
anything, in another some nodes fall silent for good in a world that is otherwise calm, in the third
the pools grow and shrink all the time, and in the last nodes of a calm world are sick, are repaired
and are well again."""


def begun(specs: tuple[PoolSpec, ...]) -> tuple[Machine, Step]:
    """Return a machine that has just begun with these pools, and its first step.

    A workload manager is told of nodes where the first pool has more than one node at least.
    """
    settings = Settings(workload_manager=bool(specs) and specs[0].min_nodes > 1)
    machine = Machine(strategies=Strategies(settings, BY_XID))
    start = machine.step([msg.Found(TAG), msg.Resume("0.1.0"), msg.ConfigurePools(specs)], START)
    return machine, start


def played(run: Run) -> Iterator[tuple[Machine, Step, datetime]]:
    """Play a run and show the machine after each step; it is one machine all the time."""
    specs, turns_ = run
    machine, start = begun(specs)
    now = START
    yield machine, start, now
    for turn in turns_:
        now += turn.advance
        yield machine, machine.step(batch(machine, turn, now), now), now


def finished(run: Run) -> tuple[Machine, list[ev.Fact], datetime]:
    """Play a run to its end: the machine, all its facts, and the time."""
    steps = list(played(run))
    machine, _, now = steps[-1]
    return machine, [fact for _, step, _ in steps for fact in step.facts], now


# --- spelling a turn out ---------------------------------------------------------------------


def batch(machine: Machine, turn: Turn, now: datetime) -> list[msg.Message]:
    """Spell a turn out as messages to this machine."""
    fleet = machine.fleet
    arriving: list[msg.Message] = []
    for action in machine.owed(now):
        match action:
            case Launch():
                arriving += _launched(action, turn)
            case Terminate() if turn.ends:
                answer = msg.TerminateAnswered(action.provider, action.ref, action.instance_id)
                arriving.append(answer)
            case ListTypes():
                arriving.append(msg.TypesListed(action.provider, turn.prices))
            case Tell() | AskDrained():
                arriving += _answered(action, turn)
            case _:
                pass
    if turn.agents:
        waiting = InstanceState.PENDING_REGISTRATION
        booted = [i.id for i in fleet.instances.values() if i.state is waiting]
        arriving += [msg.RegisterNode(id_) for id_ in booted]
    for node in fleet.nodes.values():
        arriving += _said(machine, node, turn, now)
    if turn.listed:
        arriving += [_list(machine, provider, turn, now) for provider in PROVIDERS]
    if turn.stranger:
        arriving.append(msg.RegisterNode("lab-1"))
    if turn.policy:
        policy = POLICIES[turn.policy]
        machine.offer_policy(policy)
        arriving.append(msg.AdoptPolicy(policy.name, policy.digest, "a test"))
    if turn.wanted >= 0:
        arriving += [msg.ScalePool(pool, turn.wanted) for pool in POOLS]
    if turn.advised >= 0:
        arriving += [msg.Recommended(pool, turn.advised, "a queue", "queue") for pool in POOLS]
    return [*arriving, *turn.wild, msg.Tick()]


def _launched(action: Launch, turn: Turn) -> list[msg.Message]:
    """Return what comes of a launch."""
    id_ = action.instance_id
    match turn.launches:
        case "made":
            return [msg.Launched(id_, msg.Machine(f"m-{id_}", TAG, id_))]
        case "lost":
            return [msg.LaunchLost(id_, "timeout")]
        case "slow":
            return []
        case failure:
            return [msg.LaunchRefused(id_, failure, "none left")]


def _answered(notice: Tell | AskDrained, turn: Turn) -> list[msg.Message]:
    """Return what the workload manager says."""
    if turn.manager == "silent":
        return []
    if isinstance(notice, AskDrained):
        done = turn.manager == "agrees"
        return [msg.DrainAnswered(notice.node_id, done, "" if done else "busy")]
    refused = turn.manager == "refuses"
    error = "no access" if refused else ""
    return [msg.WorkloadAnswered(notice.node_id, notice.told, error, refused)]


def _said(machine: Machine, node: Node, turn: Turn, now: datetime) -> list[msg.Message]:
    """Return what a node says, and what is said about it."""
    asked: list[msg.Message] = []
    if turn.order is not None:
        asked.append(msg.IssueCommand(node.id, turn.order, reason="a test"))
    if _number(node.id) in turn.silent:
        return asked
    sick = _number(node.id) in turn.sick
    broken = sick and turn.fault is None
    check = CheckResult("nvml", Health.UNHEALTHY if broken else Health.HEALTHY)
    events = (replace(turn.fault, timestamp=now),) if sick and turn.fault else ()
    if turn.acknowledged is not None:
        asked += [
            msg.AckCommand(node.id, command.id, turn.acknowledged)
            for command in machine.fleet.commands_for(node.id)
        ]
    poll = msg.PollCommands(node.id, acknowledges=turn.acknowledged is not None)
    return [*asked, msg.Heartbeat(node.id), msg.ReportHealth(node.id, (check,), events), poll]


def _list(machine: Machine, provider: str, turn: Turn, now: datetime) -> msg.InventoryTaken:
    """Return a list that shows what the fleet believes in, but for the machines that are gone."""
    shown = [
        msg.Machine(instance.ref or f"m-{instance.id}", TAG, instance.id)
        for instance in machine.fleet.instances.values()
        if instance.provider == provider
        and (instance.ref or (turn.found and instance.uncertain_since is not None))
        and not instance.ended
        and instance.terminate_accepted_at is None
        and _number(instance.id) not in turn.gone
    ]
    if turn.found:
        shown.append(msg.Machine("m-stray", TAG, "blue-k3f9-0099"))
    return msg.InventoryTaken(provider, now, timedelta(), tuple(shown))


def _number(id_: str) -> int:
    tail = id_.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


@functools.cache
def sample() -> tuple[Run, ...]:
    """Draw the runs of `in_every_run`: the same ones in every process."""
    drawn: list[Run] = []

    @given(runs)
    def draw(run: Run) -> None:
        drawn.append(run)

    draw()
    return tuple(drawn)


def in_every_run(check: Callable[[Run], None]) -> Callable[[], None]:
    """Make a test of what must hold in any run.

    Drawing runs takes three times as long as playing them, so one sample is drawn for all of these
    tests. ``HYPOTHESIS_PROFILE=search`` draws for each test alone, and shrinks what fails.
    """
    if not settings().derandomize:
        return given(runs)(check)

    def test() -> None:
        for run in sample():
            try:
                check(run)
            except Exception as error:
                error.add_note(f"in the run {run}; HYPOTHESIS_PROFILE=search shrinks it")
                raise

    test.__name__, test.__qualname__ = check.__name__, check.__qualname__
    test.__module__, test.__doc__ = check.__module__, check.__doc__
    return test
