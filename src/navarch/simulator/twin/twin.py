"""The twin: one run of a blueprint in virtual time, from one seed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.settings import Settings
from navarch.providers.base import POOL_LABEL
from navarch.providers.fake.machines import Notice
from navarch.simulator.broken import Broken
from navarch.simulator.clouds import Cloud
from navarch.simulator.dice import Dice
from navarch.simulator.faults import AgentPlan, Plan
from navarch.simulator.server import Reply, Server, facts_of
from navarch.simulator.timeline import EPOCH, Timeline
from navarch.simulator.twin.blueprint import Blueprint, Hazard, Owned
from navarch.simulator.twin.clouds import HOUR, TwinCloud, waiting_time
from navarch.simulator.twin.faults import Fault, FaultKind
from navarch.simulator.twin.hazards import Hazards, Roster
from navarch.simulator.twin.herd import Herd
from navarch.simulator.twin.network import Placed, Spell, Wires
from navarch.simulator.twin.node import Node, Surroundings
from navarch.simulator.twin.outages import ArmedCrashes, Outages
from navarch.simulator.twin.scaler import DemandScaler
from navarch.simulator.twin.watchers import Watcher, Watchers

SNAPSHOT_EVERY = 5_000
"""Facts between two snapshots, as in the product."""

BATCH_MAX = 1_000_000
"""A step takes all that has arrived: the product's does, within the limits of its inbox."""

EFFECTS_AT_ONCE = 64
"""Calls of one kind under way at one cloud; more than any provider allows itself by default, for a
simulated cloud says itself when it is asked too often."""

FIRST_WORDS = timedelta(seconds=20)
"""How long an agent takes at most from the start of its machine to its first words."""

TAIL = 15
"""How many facts of the journal a failure shows."""


class TwinFailed(AssertionError):
    """A run broke an invariant; its text is all one needs to run it again."""

    def __init__(self, twin: Twin, broken: Broken) -> None:
        """Describe the end of a run."""
        self.kind = broken.kind
        self.seed = twin.dice.seed
        self.at = twin.time.now - EPOCH
        lines = [
            str(broken),
            f"{twin.blueprint.name}, seed {self.seed}, at +{self.at}",
            *(f"  {fact.at - EPOCH} {ev.encode(fact).decode()}" for fact in twin.facts()[-TAIL:]),
        ]
        super().__init__("\n".join(lines))


class Twin:
    """A fleet and its control plane."""

    def __init__(
        self, blueprint: Blueprint, seed: int = 0, *, crashes: Collection[int] = ()
    ) -> None:
        """Lay everything out; `crashes` are numbers of the boundaries where the control plane dies.

        Nothing happens before `begin` or `run`.
        """
        self.blueprint = blueprint
        self.dice = Dice(seed)
        self.time = Timeline()
        self.watchers = Watchers()
        self.watchers.all.append(_Undertaker(self))
        settings = blueprint.settings
        external = max(settings.external_nodes_max, len(blueprint.owned))
        self.settings = replace(settings, external_nodes_max=external)
        self.plan = _plan(blueprint, self.settings)
        armed = ArmedCrashes(crashes)
        self.server = Server(self.plan, self.time, self.dice, crashes=armed, checks=self.watchers)
        self.outages = Outages(blueprint, self.time, self.dice, armed)
        self.server.policy = blueprint.policy
        self.server.rankers = blueprint.rankers
        self.herd = Herd(self.server, self.time, self.settings, batched=blueprint.batched)
        self.wires = Wires(blueprint.network, self.time, self._wake)
        self._around = Surroundings(
            self.server,
            self.time,
            self.dice,
            self.plan,
            self.herd,
            self.wires,
            lambda node_id, because: self.watchers.stopped(node_id, because, self.time.now),
        )
        self.nodes: dict[str, Node] = {}
        """The newest machine of each node, by the node's id."""
        self.roster = Roster()
        self.clouds: dict[str, TwinCloud] = {}
        """By name."""
        self._begun = False
        for seller in blueprint.sellers:
            cloud = TwinCloud(
                seller,
                self.time,
                self.dice,
                on_made=self._made,
                on_closing=self._spot_closes,
            )
            cloud.truth.on_notice = self._noticed
            self.clouds[cloud.name] = cloud
        self.server.clouds.update(self.clouds)
        self.server.launches_at_once = {
            seller.cloud.name: seller.launches_at_once
            for seller in blueprint.sellers
            if seller.launches_at_once is not None
        }
        self.scalers = {
            scaled.pool: DemandScaler(scaled, lambda: self.time.now, blueprint.evaluation_interval)
            for scaled in blueprint.scaled
        }
        self.server.scalers = self.scalers
        places = len(blueprint.owned) + sum(2 * pool.max_nodes for pool in blueprint.pools)
        self._hazards = Hazards(
            blueprint.hazards,
            self.roster,
            max(places, blueprint.places),
            self.time,
            self.dice,
            self._suffer,
        )

    # --- running -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the control plane and everything that happens by itself; only the first time."""
        if self._begun:
            return
        self._begun = True
        self.time.after(timedelta(), self.server.start)
        self.herd.begin()
        self._hazards.begin()
        self.wires.begin()
        self.outages.begin(self.server)
        self.time.after(self.blueprint.sample_every, self._sample)

    def run(self) -> None:
        """Begin, and live through the blueprint's whole time.

        Raises `TwinFailed` when a watcher sees that something does not hold.
        """
        self.run_until(self.blueprint.lasts)

    def run_until(self, since: timedelta) -> None:
        """Begin, and live on until this long after the beginning.

        Raises `TwinFailed` when a watcher sees that something does not hold.
        """
        self.begin()
        try:
            self.time.run_until(EPOCH + since)
        except Broken as broken:
            raise TwinFailed(self, broken) from broken
        except BaseException as error:
            error.add_note(f"{self.blueprint.name}, seed {self.dice.seed}, +{self.since}")
            raise

    @property
    def since(self) -> timedelta:
        """How much time has passed."""
        return self.time.now - EPOCH

    @property
    def fleet(self) -> Fleet | None:
        """What the control plane knows; None while it is down."""
        machine = self.server.machine
        return None if machine is None else machine.fleet

    @property
    def journal(self) -> bytes:
        """Every fact so far, one a line."""
        return self.server.store.raw

    def facts(self) -> list[ev.Event]:
        """Every fact so far. Cost: O(facts)."""
        return facts_of(self.server.store)

    def cost(self) -> float:
        """What all machines have cost so far, in US dollars. Cost: O(all ever made)."""
        return sum(cloud.truth.cost(self.time.now) for cloud in self.clouds.values())

    def _sample(self) -> None:
        self.watchers.sampled(self.time.now)
        self.time.after(self.blueprint.sample_every, self._sample)

    # --- what somebody does --------------------------------------------------------------------

    def welcome(self, owned: Owned, after: timedelta = timedelta()) -> Node:
        """Let a node that nobody buys be there, its agent starting after a while."""
        node = self._node(owned, owned.id, pool="")
        self.time.after(after, node.start)
        return node

    def afflict(self, node_id: str, fault: Fault) -> bool:
        """Let something go wrong with a node now; say whether there is such a node."""
        node = self.nodes.get(node_id)
        if node is None or not node.machine_is_alive():
            return False
        if fault.kind is FaultKind.VANISH:
            self._vanish(node)
        else:
            node.afflict(fault)
        self.watchers.afflicted(node_id, fault, self.time.now)
        return True

    def degrade(self, spell: Spell) -> None:
        """Let the network of some nodes be bad from now on, for as long as the spell lasts."""
        self.wires.suffer(spell)

    def _wake(self, choose: Callable[[Placed], bool]) -> None:
        self.herd.rouse_all(lambda node: choose(node.described))

    def recover(self, node_id: str) -> bool:
        """Put right what is wrong with a node; say whether there is such a node."""
        node = self.nodes.get(node_id)
        if node is None or not node.machine_is_alive():
            return False
        node.recover()
        return True

    def command(
        self,
        node_id: str,
        type_: CommandType,
        parameters: dict[str, str],
        reason: str,
        reply: Reply,
    ) -> None:
        """Ask something of a node, as an operator does; `reply` takes the answer."""
        self.ask(msg.IssueCommand(node_id, type_, parameters, reason), reply)

    def ask(self, message: msg.Message, reply: Reply) -> None:
        """Ask something of the control plane; `reply` takes None while it is down."""
        self.server.receive(message, reply)

    # --- machines ------------------------------------------------------------------------------

    def _node(self, owned: Owned, ref: str, pool: str, cloud: Cloud | None = None) -> Node:
        node = Node(
            owned,
            self._around,
            is_alive=(lambda: True) if cloud is None else (lambda: cloud.alive(ref)),
            ref=ref,
            pool=pool,
        )
        self.nodes[owned.id] = node
        self.roster.add(node)
        return node

    def _made(self, cloud: Cloud, ref: str) -> None:
        self.watchers.made(cloud, ref)
        machine = cloud.truth.machines[ref]
        instance = machine.instance
        owned = Owned(
            instance.name,
            provider=cloud.name,
            region=instance.region,
            zone=instance.zone,
            instance_type=instance.instance_type,
            gpus=instance.gpu_count,
            gpu_type=instance.gpu_type,
        )
        node = self._node(owned, ref, instance.labels.get(POOL_LABEL, ""), cloud)
        rolls = self.dice.stream("machine", ref)
        seller = self.clouds[cloud.name].seller
        if not rolls.chance(seller.never_starts):
            words = rolls.between(timedelta(), FIRST_WORDS)
            self.time.after(machine.running_at - self.time.now + words, node.start)
        spot = seller.spot
        if machine.is_spot and spot is not None and spot.mean_hours_to_interruption > 0:
            mean = spot.mean_hours_to_interruption * HOUR
            after = machine.running_at - self.time.now + waiting_time(rolls, mean)
            self.time.after(after, self._interrupt, self.clouds[cloud.name], ref)

    def _suffer(self, node: Node, hazard: Hazard) -> None:
        if node.running:
            self.afflict(node.node_id, hazard.fault)

    def _vanish(self, node: Node) -> None:
        node.rouse()
        self.roster.remove(node)
        cloud = self.clouds.get(node.described.provider)
        if cloud is None or not node.pool:
            node.leave()
        else:
            cloud.vanish(node.ref)

    def _interrupt(self, cloud: TwinCloud, ref: str) -> None:
        spot = cloud.seller.spot
        assert spot is not None
        cloud.truth.interrupt(ref, self.time.now, notice=spot.notice)

    def _spot_closes(self, cloud: TwinCloud) -> None:
        for machine in tuple(cloud.truth.alive(self.time.now)):
            if machine.is_spot:
                self._interrupt(cloud, machine.instance.id)

    def _noticed(self, notice: Notice) -> None:
        node = self.nodes.get(notice.instance.name)
        if node is None:
            return
        node.rouse()
        if notice.gone_at > notice.noticed_at:
            node.notice(notice.gone_at)
        self.time.after(notice.gone_at - self.time.now, self.bury, node)

    def bury(self, node: Node, because: str = "interrupted") -> None:
        """Count a machine out that is about to end."""
        node.rouse()
        self.roster.remove(node)
        self.watchers.buried(node.node_id, because, self.time.now)


class _Undertaker(Watcher):
    """Wakes the nodes of machines that are about to be ended, so that none rests on.

    Of a control plane that was started again, it buries what that kept in memory alone.
    """

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    def recovered(self, fleet: Fleet, store: object) -> None:
        for scaler in self._twin.scalers.values():
            scaler.forget()

    def terminating(self, action: Terminate, now: object) -> None:
        machine = self._twin.clouds[action.provider].truth.machines.get(action.ref)
        node = self._twin.nodes.get(machine.instance.name) if machine is not None else None
        if node is not None:
            self._twin.bury(node, "terminated")


def _plan(blueprint: Blueprint, settings: Settings) -> Plan:
    return Plan(
        settings=settings,
        pools=blueprint.pools,
        clouds=tuple(seller.cloud for seller in blueprint.sellers),
        agents=AgentPlan(),
        faults_last=blueprint.lasts,
        evaluation_interval=blueprint.evaluation_interval,
        tick_interval=blueprint.tick_interval,
        gather=blueprint.gather,
        batch_max=BATCH_MAX,
        effects_at_once=EFFECTS_AT_ONCE,
        snapshot_every=SNAPSHOT_EVERY,
    )
