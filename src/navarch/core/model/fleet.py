"""The fleet: all facts folded into one state.

Only `navarch.core.fold.apply` changes it. Everything in it can be written to a snapshot and read
back equal, so that a restart need not replay all of history.

Besides the records it keeps *indexes*: which records are in a state that somebody waits for. They
follow from the records, are no part of snapshots, and make looking at a quiet fleet cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from msgspec import Struct, field

from navarch.core.model import snapshots
from navarch.core.model.command import Command
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.ladder import Lemon, Told
from navarch.core.model.node import Contact, Node
from navarch.core.model.offer import Refusals
from navarch.core.model.pool import Pool
from navarch.core.model.replica import Replica, ReplicaState
from navarch.core.model.report import GRAVITY, Health
from navarch.core.model.resources import Condition, Resource
from navarch.core.model.sparing import Sparing
from navarch.core.model.touched import Touched

BOOTING = (InstanceState.PROVISIONING, InstanceState.PENDING_REGISTRATION)


class Orphan(Struct, frozen=True, omit_defaults=True):
    """A machine with our tag that belongs to no live instance, and is owed an end."""

    provider: str
    ref: str
    condemned_at: datetime
    because: str


class Applied(Struct, frozen=True, omit_defaults=True):
    """A resource as it was applied last, and the statements about it."""

    resource: Resource
    created_at: datetime
    changed_at: datetime
    """When its spec last changed."""
    generation: int = 1
    """How often its spec changed, from 1."""
    conditions: tuple[Condition, ...] = ()


class Wanted(Struct, frozen=True, omit_defaults=True):
    """How many replicas a pool of agents shall have."""

    target: int
    because: str
    changed_at: datetime
    needed: int = 0
    """What the load alone needs, without those that are kept warm."""


class Weights(Struct, frozen=True, omit_defaults=True):
    """A model that is on a node's disk, complete and verified."""

    since: datetime
    digest: str = ""
    """Of the manifest; empty: not told."""
    size: int = 0
    """Bytes; 0: not told."""


class PluginSetting(Struct, frozen=True, omit_defaults=True):
    """What an operator has decided about a plugin; None: as the configuration has it."""

    because: str
    enabled: bool | None = None
    priority: int | None = None
    shadow: bool | None = None


class Snapshot(Struct, omit_defaults=True):
    """The records of a fleet: all that a snapshot holds."""

    tag: str = ""
    """Part of every id; empty until the fleet is founded."""
    serial: int = 0
    """The highest serial number given to an instance."""
    command_serial: int = 0
    """The highest serial number given to a command."""
    resumed_at: datetime | None = None
    """When a control plane last took up the journal."""
    pools: dict[str, Pool] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    pending: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of unfinished commands by node, oldest first."""
    orphans: dict[str, Orphan] = field(default_factory=dict)
    """By ``provider/ref``."""
    refusals: dict[str, Refusals] = field(default_factory=dict)
    """What failed launches taught, by the key of an offer or the name of a provider."""
    event_serial: int = 0
    """The highest number given to a health event."""
    policy: str = ""
    """The digest of the policy that judges; empty before one was adopted."""
    policy_name: str = ""
    """What people call it."""
    rule_failures: dict[str, int] = field(default_factory=dict)
    """How many verdicts each rule of the policy is missing from, as it could not be evaluated."""
    lemons: dict[str, Lemon] = field(default_factory=dict)
    """Distrusted GPUs by UUID, the longest distrusted first."""
    closed: dict[str, Told] = field(default_factory=dict)
    """Machines of others that are forgotten, and that the workload manager was told to keep from
    work: what it was told, the longest forgotten first."""
    replica_serial: int = 0
    """The highest serial number given to a replica."""
    resources: dict[str, Applied] = field(default_factory=dict)
    """By ``Kind/namespace/name``."""
    agent_pools: dict[str, Wanted] = field(default_factory=dict)
    """By ``namespace/name``; a pool that was never scaled has none."""
    replicas: dict[str, Replica] = field(default_factory=dict)
    """By id, the oldest first; ended ones for as long as they are kept."""
    weights: dict[str, dict[str, Weights]] = field(default_factory=dict)
    """By node and then by the model's ``namespace/name``."""
    plugins: dict[str, PluginSetting] = field(default_factory=dict)
    """By ``kind/name``."""


Ids = dict[str, None]
"""Ids in the order of their arrival."""

NESTED = ("members", "current", "bought_from", "replicas_of", "replicas_on", "weights")
"""The mappings of mappings."""


class Fleet:
    """All state there is."""

    def __init__(self, records: Snapshot | None = None) -> None:
        """Begin with these records, which are not copied; without them, empty."""
        records = records or Snapshot()
        self.tag = records.tag
        self.serial = records.serial
        self.command_serial = records.command_serial
        self.resumed_at = records.resumed_at
        self.pools = records.pools
        self.instances = records.instances
        self.nodes = records.nodes
        self.commands = records.commands
        self.pending = records.pending
        self.orphans = records.orphans
        self.refusals = records.refusals
        self.event_serial = records.event_serial
        self.policy = records.policy
        self.policy_name = records.policy_name
        self.rule_failures = records.rule_failures
        self.lemons = records.lemons
        self.closed = records.closed
        self.replica_serial = records.replica_serial
        self.resources = records.resources
        self.agent_pools = records.agent_pools
        self.replicas = records.replicas
        self.weights = records.weights
        self.plugins = records.plugins
        self._followers: tuple[Touched, ...] = ()
        self.sparing = Sparing()
        """Has new records share their texts with those before."""
        self._begin_indexes()

    def _begin_indexes(self) -> None:
        """Make every index anew, of the records."""
        self.members: dict[str, Ids] = {}
        """Instances of each pool that have not ended."""
        self.current: dict[str, Ids] = {}
        """Those of them that the pool counts on: neither ending nor condemned, released or taken
        away; booting ones are among them."""
        self.bought_from: dict[str, Ids] = {}
        """Instances at each provider that have not ended."""
        self.booting: Ids = {}
        """Instances that have not registered yet."""
        self.ending: Ids = {}
        """Instances whose end was asked for."""
        self.ended: Ids = {}
        """Instances that have ended and are still kept."""
        self.uncertain: Ids = {}
        """Instances of which nobody knows whether the machine exists."""
        self.condemned: Ids = {}
        """Instances that repair replaces."""
        self.interrupted: Ids = {}
        """Instances that their providers will take away."""
        self.releasing: Ids = {}
        """Instances that are drained because they are too many."""
        self.lost: Ids = {}
        """Nodes that are lost."""
        self.gone: Ids = {}
        """Nodes that have ended and are still kept."""
        self.unjudged: Ids = {}
        """Nodes whose newest report has no verdict yet."""
        self.ailing: Ids = {}
        """Nodes that are degraded or unhealthy."""
        self.serving: Ids = {}
        """Nodes that do what they are there for."""
        self.repairing: Ids = {}
        """Nodes that are repaired where they are."""
        self.distrusted: Ids = {}
        """Nodes with hardware that had to be replaced before."""
        self.untold: Ids = {}
        """Nodes about which the workload manager has to be told something."""
        self.emptying: Ids = {}
        """Nodes that the workload manager was told to drain, and has not drained yet."""
        self.foreign: Ids = {}
        """Nodes that no instance of ours became, ended ones among them."""
        self.replicas_of: dict[str, Ids] = {}
        """Replicas of each pool of agents that have not ended, the oldest first."""
        self.replicas_on: dict[str, Ids] = {}
        """Replicas that hold a place, by node."""
        self.replicas_pending: Ids = {}
        """Replicas that wait for a place, the longest waiting first."""
        self.replicas_ended: Ids = {}
        """Replicas that have ended and are still kept."""
        for instance in self.instances.values():
            self._index_instance(instance)
        for replica in self.replicas.values():
            self._index_replica(replica)
        for node in self.nodes.values():
            self._index_node(node)

    def records(self) -> Snapshot:
        """All records, not copied."""
        return Snapshot(
            tag=self.tag,
            serial=self.serial,
            command_serial=self.command_serial,
            resumed_at=self.resumed_at,
            pools=self.pools,
            instances=self.instances,
            nodes=self.nodes,
            commands=self.commands,
            pending=self.pending,
            orphans=self.orphans,
            refusals=self.refusals,
            event_serial=self.event_serial,
            policy=self.policy,
            policy_name=self.policy_name,
            rule_failures=self.rule_failures,
            lemons=self.lemons,
            closed=self.closed,
            replica_serial=self.replica_serial,
            resources=self.resources,
            agent_pools=self.agent_pools,
            replicas=self.replicas,
            weights=self.weights,
            plugins=self.plugins,
        )

    def frozen(self) -> Snapshot:
        """All records as they are now, which later changes do not reach. Cost: O(records)."""
        records = self.records()
        for name in Snapshot.__struct_fields__:
            value = getattr(records, name)
            if isinstance(value, dict):
                setattr(records, name, value.copy())
        records.weights = {node: models.copy() for node, models in self.weights.items()}
        return records

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same records."""
        return isinstance(other, Fleet) and self.records() == other.records()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def copy(self) -> Fleet:
        """A fleet that can change without this one noticing. Cost: O(everything), but shallow."""
        twin = Fleet.__new__(Fleet)
        for name, value in vars(self).items():
            setattr(twin, name, value.copy() if isinstance(value, dict) else value)
        for name in NESTED:
            nested: dict[str, Ids] = getattr(self, name)
            setattr(twin, name, {key: ids.copy() for key, ids in nested.items()})
        twin._followers = ()  # noqa: SLF001 - what becomes of a copy is nobody's news
        return twin

    def follow(self) -> Touched:
        """Begin to note which nodes change, for as long as this fleet lives."""
        follower = Touched()
        self._followers += (follower,)
        return follower

    # --- looking -------------------------------------------------------------------------

    def instances_of(self, pool: str) -> Iterator[Instance]:
        """The pool's instances that have not ended, oldest first. Cost: O(those)."""
        return (self.instances[id_] for id_ in self.members.get(pool, ()))

    def current_of(self, pool: str) -> Iterator[Instance]:
        """Those of them that the pool counts on, oldest first. Cost: O(its instances)."""
        current = self.current.get(pool, {})
        return (self.instances[id_] for id_ in self.members.get(pool, ()) if id_ in current)

    def node_of(self, instance: Instance) -> Node | None:
        """The node that runs on an instance; None before it has registered."""
        return self.nodes.get(instance.id)

    def resource(self, kind: str, name: str) -> Applied | None:
        """A resource by its kind and ``namespace/name``; None: nobody has applied it."""
        return self.resources.get(f"{kind}/{name}")

    def replicas_in(self, agent_pool: str) -> Iterator[Replica]:
        """The pool's replicas that have not ended, oldest first. Cost: O(those)."""
        return (self.replicas[id_] for id_ in self.replicas_of.get(agent_pool, ()))

    def replicas_at(self, node_id: str) -> Iterator[Replica]:
        """The replicas that hold a place on a node. Cost: O(those)."""
        return (self.replicas[id_] for id_ in self.replicas_on.get(node_id, ()))

    def commands_for(self, node_id: str) -> tuple[Command, ...]:
        """The node's unfinished commands, oldest first."""
        return tuple(self.commands[id_] for id_ in self.pending.get(node_id, ()))

    # --- changing, for `navarch.core.fold` only ----------------------------------------

    def put_instance(self, instance: Instance) -> None:
        """Keep a new or changed instance."""
        self.instances[instance.id] = instance
        self._index_instance(instance)

    def put_node(self, node: Node) -> None:
        """Keep a new or changed node."""
        self.nodes[node.id] = node
        for follower in self._followers:
            follower.add(node.id)
        self._index_node(node)

    def put_replica(self, replica: Replica) -> None:
        """Keep a new or changed replica."""
        before = self.replicas.get(replica.id)
        if before is not None and before.placed and before.node_id != replica.node_id:
            self._leave(before)
        self.replicas[replica.id] = replica
        self._index_replica(replica)

    def drop_replicas(self, replicas: Iterable[str]) -> None:
        """Forget replicas that have ended."""
        for id_ in replicas:
            self.replicas.pop(id_, None)
            self.replicas_ended.pop(id_, None)

    def _leave(self, replica: Replica) -> None:
        here = self.replicas_on.get(replica.node_id, {})
        here.pop(replica.id, None)
        if not here:
            self.replicas_on.pop(replica.node_id, None)

    def _index_replica(self, replica: Replica) -> None:
        id_, ended = replica.id, replica.state is ReplicaState.ENDED
        of_pool = self.replicas_of.setdefault(replica.agent_pool, {})
        _mark(of_pool, id_, here=not ended)
        if not of_pool:
            del self.replicas_of[replica.agent_pool]
        _mark(self.replicas_pending, id_, here=replica.state is ReplicaState.PENDING)
        _mark(self.replicas_ended, id_, here=ended)
        if replica.placed:
            self.replicas_on.setdefault(replica.node_id, {})[id_] = None
        else:
            self._leave(replica)

    def drop(self, instances: Iterable[str], nodes: Iterable[str]) -> None:
        """Forget records that have ended."""
        for id_ in instances:
            self.instances.pop(id_, None)
            for index in self._of_instances():
                index.pop(id_, None)
        for id_ in nodes:
            self.nodes.pop(id_, None)
            self.pending.pop(id_, None)
            self.weights.pop(id_, None)
            for follower in self._followers:
                follower.add(id_)
            for index in self._of_nodes():
                index.pop(id_, None)

    def _of_instances(self) -> Iterator[Ids]:
        """Every index that holds ids of instances."""
        yield from (self.booting, self.ending, self.ended, self.uncertain)
        yield from (self.condemned, self.interrupted, self.releasing)
        for nested in (self.members, self.current, self.bought_from):
            yield from nested.values()

    def _of_nodes(self) -> Iterator[Ids]:
        """Every index that holds ids of nodes."""
        yield from (self.lost, self.gone, self.unjudged, self.ailing, self.repairing)
        yield from (self.distrusted, self.untold, self.emptying, self.serving, self.foreign)

    def _index_instance(self, instance: Instance) -> None:
        id_, state = instance.id, instance.state
        _mark(self.members.setdefault(instance.pool, {}), id_, here=not instance.ended)
        _mark(self.current.setdefault(instance.pool, {}), id_, here=instance.current)
        _mark(self.bought_from.setdefault(instance.provider, {}), id_, here=not instance.ended)
        _mark(self.booting, id_, here=state in BOOTING)
        _mark(self.ending, id_, here=state is InstanceState.TERMINATING)
        _mark(self.ended, id_, here=instance.ended)
        _mark(self.uncertain, id_, here=instance.uncertain_since is not None)
        _mark(self.condemned, id_, here=instance.condemned and not instance.ended)
        _mark(self.releasing, id_, here=instance.releasing and instance.live)
        _mark(self.interrupted, id_, here=instance.interrupted and instance.live)

    def _index_node(self, node: Node) -> None:
        _mark(self.lost, node.id, here=node.contact is Contact.LOST)
        _mark(self.foreign, node.id, here=not node.instance_id)
        _mark(self.gone, node.id, here=node.ended_at is not None)
        _mark(self.unjudged, node.id, here=not node.report_judged)
        ailing = GRAVITY[node.health] >= GRAVITY[Health.DEGRADED] and not node.over
        _mark(self.ailing, node.id, here=ailing)
        _mark(self.serving, node.id, here=node.serving)
        _mark(self.repairing, node.id, here=node.repair is not None and not node.over)
        _mark(self.distrusted, node.id, here=bool(node.lemon) and not node.over)
        _mark(self.untold, node.id, here=node.untold)
        emptying = node.told is Told.DRAINING and node.emptied_at is None and not node.over
        _mark(self.emptying, node.id, here=emptying)


def _mark(index: Ids, id_: str, *, here: bool) -> None:
    if here:
        index[id_] = None
    else:
        index.pop(id_, None)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Snapshot)


def encode(fleet: Fleet) -> bytes:
    """Write the fleet as a snapshot, keeping the order of age. Cost: O(everything)."""
    return _encoder.encode(fleet.records())


def decode(raw: bytes) -> Fleet:
    """Read a snapshot, packed (`navarch.core.model.snapshots`) or plain.

    Raises `msgspec.DecodeError` when the bytes are no snapshot of a fleet.
    """
    fleet = Fleet(_decoder.decode(snapshots.unpacked(raw)))
    for node in fleet.nodes.values():
        fleet.sparing.node(node)
    for instance in fleet.instances.values():
        fleet.sparing.instance(instance)
    return fleet
