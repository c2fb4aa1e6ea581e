"""Hypothesis strategies for the domain's own values, and whole runs of a small world.

`structs` makes any struct from its annotations, so that a new field or a new kind of message is
searched without a word here. Names are drawn from a small vocabulary, so that they meet.

A *run* is a list of turns. In each turn some time passes, and a batch arrives that mixes what a
plausible world would send (machines boot, nodes beat, lists are read) with a wild message. What is
plausible depends on the fleet, so a turn says only how the world behaves; `batch` spells it out.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from factories import START, TAG
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, ListTypes, Terminate
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Node
from navarch.core.model.offer import Offer
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.model.report import CheckResult, Health

S = TypeVar("S", bound=Struct)

# --- any value -------------------------------------------------------------------------------

POOLS = ("blue", "green")
PROVIDERS = ("fake", "lambda")
TYPES = ("small", "big")
FAILURES = (
    "NoCapacity",
    "NoCapacity",
    "QuotaExceeded",
    "Unauthorized",
    "Throttled",
    "InvalidRequest",
    "Unavailable",
    "NotFound",
)
INSTANCE_IDS = [ids.instance_id(pool, TAG, n) for n in range(1, 6) for pool in POOLS]
NODE_IDS = [*INSTANCE_IDS, "lab-1", "lab-2", ""]

moments = st.builds(
    lambda seconds: START + timedelta(seconds=seconds), st.integers(-3_600, 200_000)
)
"""Moments of the control plane's clock, around those of the runs."""

words = st.sampled_from(["", "a", "out", "×", "two words"])


sources = st.builds(
    Source,
    st.sampled_from(PROVIDERS),
    priority=st.integers(0, 1),
    weight=st.integers(1, 3),
    regions=st.sampled_from([(), (), ("a",), ("a", "b")]),
    zones=st.sampled_from([(), (), ("a1",), ("a1", "a2", "b1")]),
    instance_type=st.sampled_from(["", *TYPES]),
    spot=st.booleans(),
)
"""What a valid configuration may say about a seller."""

offers = st.builds(
    Offer,
    st.sampled_from(PROVIDERS),
    region=st.sampled_from(["", "a", "b"]),
    zone=st.sampled_from(["", "a1"]),
    instance_type=st.sampled_from(TYPES),
    priority=st.integers(-1, 2),
    weight=st.integers(1, 3),
    spot=st.booleans(),
)
"""Something that can be bought."""

price_lists = st.lists(
    st.builds(
        msg.Sold,
        st.sampled_from(TYPES),
        st.sampled_from([0.0, 1.0, 2.0]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from([(), ("a",), ("a", "b")]),
        st.booleans(),
    ),
    max_size=2,
).map(tuple)
"""A provider's price list."""


@st.composite
def pool_specs(draw: st.DrawFn, *names: str) -> PoolSpec:
    """Draw what a valid configuration may say about a pool of one of these names."""
    low = draw(st.integers(0, 3))
    return PoolSpec(
        draw(st.sampled_from(names or POOLS)),
        draw(st.sampled_from(PROVIDERS)),
        min_nodes=low,
        max_nodes=low + draw(st.integers(0, 3)),
        instance_type=draw(st.sampled_from(TYPES)),
        zones=draw(st.sampled_from([(), ("a",), ("a", "b")])),
        sources=draw(st.lists(sources, max_size=2).map(tuple)),
        strategy=draw(st.sampled_from(["priority", "cost", "availability", "round-robin", "x"])),
        auto_replace=draw(st.sampled_from([True, True, True, False])),
        disruption=draw(disruptions),
    )


disruptions = st.builds(
    Disruption,
    st.sampled_from([1, 1, 2, 3, 0]),
    st.sampled_from([0.0, 34.0, 100.0]),
    st.sampled_from([6, 6, 1, 0]),
)


VOCABULARY: dict[str, st.SearchStrategy[object]] = {
    "node_id": st.sampled_from(NODE_IDS),
    "instance_id": st.sampled_from([*INSTANCE_IDS, ""]),
    "command_id": st.sampled_from([ids.command_id(TAG, n) for n in range(5)]),
    "pool": st.sampled_from([*POOLS, "red"]),
    "pools": st.lists(pool_specs(), max_size=2, unique_by=lambda spec: spec.name).map(tuple),
    "provider": st.sampled_from(PROVIDERS),
    "ref": st.sampled_from([f"m-{id_}" for id_ in INSTANCE_IDS[:4]] + ["m-x", "m-y", ""]),
    "fleet": st.sampled_from([TAG, TAG, "z9z9", ""]),
    "tag": st.just(TAG),
    "target": st.integers(-1, 7),
    "begun_at": moments,
    "list_lag": st.sampled_from([timedelta(), timedelta(seconds=45)]),
    "count": st.integers(1, 9),
    "failure": st.sampled_from(FAILURES),
}
"""By field name, whatever the struct: what its values are drawn from."""

_YEARS = (datetime(2020, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001  # Hypothesis adds the zone

_PLAIN: dict[object, st.SearchStrategy[object]] = {
    str: words,
    int: st.integers(-1, 9),
    float: st.floats(0, 100),
    bool: st.booleans(),
    datetime: st.datetimes(*_YEARS, timezones=st.just(UTC)),
    timedelta: st.timedeltas(timedelta(), timedelta(hours=1)),
}


def structs(type_: type[S]) -> st.SearchStrategy[S]:
    """Draw any value of a struct."""
    hints = get_type_hints(type_)
    fields = {name: VOCABULARY.get(name, _any(hints[name])) for name in type_.__struct_fields__}
    return st.builds(type_, **fields)


def _any(hint: object) -> st.SearchStrategy[object]:
    """Draw any value that fits an annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is types.NoneType:
        return st.none()
    if origin in {Union, types.UnionType}:
        return st.one_of([_any(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(_any(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(_any(arguments[0]), _any(arguments[1]), max_size=2)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if hint is PoolSpec:
        return pool_specs()
    if isinstance(hint, type) and issubclass(hint, Struct):
        return structs(hint)
    raise NotImplementedError(hint)


facts: st.SearchStrategy[ev.Fact] = st.one_of([structs(type_) for type_ in get_args(ev.Fact)])
"""Any fact at all, sensible or not."""

messages: st.SearchStrategy[msg.Message] = st.one_of(
    [structs(type_) for type_ in get_args(msg.Message)]
)
"""Any message that may be decoded, sensible or not."""

# --- runs ------------------------------------------------------------------------------------

_SECONDS = (31, 45, 95, 16, 0, 1, 95, 660, 4_000, 90_000)
ADVANCES = [timedelta(seconds=seconds) for seconds in _SECONDS]

EVERYBODY = frozenset(range(99))

groups = st.sampled_from([frozenset[int](), frozenset({1}), frozenset({1}), frozenset({1, 2})])
"""Machines by their serial numbers; often the same ones, so that a silence may last."""


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
)
"""How two pools are configured, and what happens to them: a third of the runs go through anything,
in another some nodes fall silent for good in a world that is otherwise calm, and in the last the
pools grow and shrink all the time."""


def begun(specs: tuple[PoolSpec, ...]) -> tuple[Machine, Step]:
    """Return a machine that has just begun with these pools, and its first step."""
    machine = Machine()
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
            case _:
                pass
    if turn.agents:
        waiting = InstanceState.PENDING_REGISTRATION
        booted = [i.id for i in fleet.instances.values() if i.state is waiting]
        arriving += [msg.RegisterNode(id_) for id_ in booted]
    for node in fleet.nodes.values():
        arriving += _said(machine, node, turn)
    if turn.listed:
        arriving += [_list(machine, provider, turn, now) for provider in PROVIDERS]
    if turn.stranger:
        arriving.append(msg.RegisterNode("lab-1"))
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


def _said(machine: Machine, node: Node, turn: Turn) -> list[msg.Message]:
    """Return what a node says, and what is said about it."""
    asked: list[msg.Message] = []
    if turn.order is not None:
        asked.append(msg.IssueCommand(node.id, turn.order, reason="a test"))
    if _number(node.id) in turn.silent:
        return asked
    sick = _number(node.id) in turn.sick
    check = CheckResult("nvml", Health.UNHEALTHY if sick else Health.HEALTHY)
    if turn.acknowledged is not None:
        asked += [
            msg.AckCommand(node.id, command.id, turn.acknowledged)
            for command in machine.fleet.commands_for(node.id)
        ]
    poll = msg.PollCommands(node.id, acknowledges=turn.acknowledged is not None)
    return [*asked, msg.Heartbeat(node.id), msg.ReportHealth(node.id, (check,)), poll]


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
