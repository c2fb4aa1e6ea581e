"""A machine driven step by step: valid, invalid and late messages, jumps of time, crashes."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from factories import indexes
from navarch.core import fold
from navarch.core.decide import decide
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import PoolSpec
from strategies import POOLS, messages, pool_specs
from worlds import ADVANCES, Turn, batch, begun, turns


class FleetLife(RuleBasedStateMachine):
    """One control plane, its journal, and a world that does as it likes."""

    machine: Machine
    now: datetime

    def __init__(self) -> None:
        """Begin with an empty journal."""
        super().__init__()
        self.journal: list[bytes] = []

    @initialize(specs=st.tuples(*(pool_specs(pool) for pool in POOLS)))
    def begin(self, specs: tuple[PoolSpec, ...]) -> None:
        """Found a fleet of two pools."""
        self.machine, first = begun(specs)
        self.now = first.facts[0].at
        self.journal += map(ev.encode, first.facts)

    def step(self, *arriving: msg.Message) -> None:
        """Step, decide in any case, and journal what it brings."""
        step = self.machine.step([*arriving, msg.Tick()], self.now)
        assert len(step.answers) == len(arriving) + 1
        self.journal += map(ev.encode, step.facts)

    @rule(advance=st.sampled_from(ADVANCES))
    def time_passes(self, advance: timedelta) -> None:
        """Let nothing but time happen."""
        self.now += advance
        self.step()

    @rule(turn=turns(wild_max=0))
    def the_world_turns(self, turn: Turn) -> None:
        """Let machines boot, beat, end and be listed."""
        self.now += turn.advance
        self.step(*batch(self.machine, turn, self.now))

    @rule(arriving=st.lists(messages, max_size=3))
    def anything_arrives(self, arriving: list[msg.Message]) -> None:
        """Send any messages, most of them nonsense."""
        self.step(*arriving)

    @rule(type_=st.sampled_from(CommandType), data=st.data())
    def an_operator_commands(self, type_: CommandType, data: st.DataObject) -> None:
        """Ask something of a node, and let its agent fetch it."""
        if self.machine.fleet.nodes:
            node_id = data.draw(st.sampled_from(sorted(self.machine.fleet.nodes)))
            self.step(msg.IssueCommand(node_id, type_), msg.PollCommands(node_id))

    @rule(pool=st.sampled_from(POOLS), wanted=st.integers(-1, 7))
    def an_operator_scales(self, pool: str, wanted: int) -> None:
        """Ask for another number of nodes, possible or not."""
        self.step(msg.ScalePool(pool, wanted))

    @rule(pool=st.sampled_from(POOLS), advised=st.integers(0, 7), held=st.booleans())
    def an_autoscaler_speaks(self, pool: str, advised: int, *, held: bool) -> None:
        """Propose a number of nodes, possible or not."""
        self.step(msg.Recommended(pool, advised, "a queue", "queue", held))

    @rule()
    def it_crashes(self) -> None:
        """Lose all memory, fold the journal, go on."""
        fleet = Fleet()
        for line in self.journal:
            fold.apply(fleet, ev.decode(line))
        assert fleet == self.machine.fleet
        self.machine = Machine(fleet, self.machine.strategies)
        self.step(msg.Resume("0.1.0"))

    @invariant()
    def it_has_decided(self) -> None:
        """Deciding after its own facts brings nothing."""
        machine = self.machine
        assert decide(machine.fleet, machine.sightings, self.now, machine.strategies) == []

    @invariant()
    def it_can_be_written_down(self) -> None:
        """A snapshot at any moment is read back equal."""
        fleet = self.machine.fleet
        assert fleets.decode(fleets.encode(fleet)) == fleet

    @invariant()
    def it_stays_inside_its_limits(self) -> None:
        """Targets are between the limits, and every live machine has a pool."""
        fleet = self.machine.fleet
        for pool in fleet.pools.values():
            assert pool.spec.min_nodes <= pool.target <= pool.spec.max_nodes
        assert {instance.pool for instance in fleet.instances.values()} <= set(fleet.pools)

    @invariant()
    def it_agrees_with_itself(self) -> None:
        """Indexes, records and serial numbers fit together."""
        fleet = self.machine.fleet
        assert indexes(fleet) == indexes(Fleet(fleet.records()))
        assert fleet.serial >= len(fleet.instances)
        assert fleet.command_serial >= len(fleet.commands)
        pending = {id_ for ids in fleet.pending.values() for id_ in ids}
        assert pending == {
            command.id for command in fleet.commands.values() if not command.finished
        }
        assert all(fleet.pending.values())
        for instance in fleet.instances.values():
            assert instance.ended == (instance.ended_at is not None)
            node = fleet.node_of(instance)
            assert node is None or node.instance_id in {instance.id, ""}


TestFleetLife = FleetLife.TestCase
TestFleetLife.settings = settings(stateful_step_count=20)
