"""The fleet: all facts folded into one state.

Only `navarch.core.fold.apply` changes it. Everything in it can be written to a snapshot and read
back equal, so that a restart need not replay all of history.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import Struct, field

from navarch.core.model.command import Command
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool


class Orphan(Struct, frozen=True, omit_defaults=True):
    """A machine with our tag that belongs to no live instance, and is owed an end."""

    provider: str
    ref: str
    condemned_at: datetime
    because: str


class Fleet(Struct, omit_defaults=True):
    """All state there is."""

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

    def copy(self) -> Fleet:
        """A fleet that can change without this one noticing. Cost: O(everything), but shallow."""
        return Fleet(
            tag=self.tag,
            serial=self.serial,
            command_serial=self.command_serial,
            resumed_at=self.resumed_at,
            pools=self.pools.copy(),
            instances=self.instances.copy(),
            nodes=self.nodes.copy(),
            commands=self.commands.copy(),
            pending=self.pending.copy(),
            orphans=self.orphans.copy(),
        )

    def instances_of(self, pool: str) -> Iterator[Instance]:
        """The pool's instances, ended ones included, oldest first. Cost: O(instances)."""
        return (instance for instance in self.instances.values() if instance.pool == pool)

    def node_of(self, instance: Instance) -> Node | None:
        """The node that runs on an instance; None before it has registered."""
        return self.nodes.get(instance.id)

    def commands_for(self, node_id: str) -> tuple[Command, ...]:
        """The node's unfinished commands, oldest first."""
        return tuple(self.commands[id_] for id_ in self.pending.get(node_id, ()))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Fleet)


def encode(fleet: Fleet) -> bytes:
    """Write the fleet as a snapshot, keeping the order of age. Cost: O(everything)."""
    return _encoder.encode(fleet)


def decode(raw: bytes) -> Fleet:
    """Read a snapshot.

    Raises `msgspec.DecodeError` when the bytes are no snapshot of a fleet.
    """
    return _decoder.decode(raw)
