"""What is known of one machine beside its health: where it is, what it costs, what runs there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core.model.command import Command
from navarch.core.model.gpu import GPU
from navarch.core.model.instance import Instance
from navarch.core.model.node import Node
from navarch.core.model.offer import Offer
from navarch.core.model.replica import Replica
from navarch.core.selection.base import Market
from navarch.core.serving_sentences import place
from navarch.dashboard.seen import Seen

COMMANDS_MAX: Final = 50
"""The newest commands of a node."""
REPLICAS_MAX: Final = 200
"""Replicas on a node."""
MODELS_MAX: Final = 200
"""Models in a node's cache."""
OUTPUT_MAX: Final = 4_000
"""Letters of a command's output, its end."""


class Price(Struct, frozen=True):
    """What a machine costs."""

    dollars_per_hour: float | None
    """None: not known."""
    because: str
    """Who says so, or why nobody does."""


class Machine(Struct, frozen=True):
    """The machine below a node; what is not known is empty."""

    instance_id: str
    instance_state: str
    provider: str
    provider_ref: str
    region: str
    zone: str
    type: str
    spot: bool
    pool: str
    hostname: str
    internal_ip: str
    external_ip: str
    public_ip: str
    private_ip: str
    kernel_version: str
    labels: dict[str, str]
    requested_at: datetime | None
    launched_at: datetime | None
    registered_at: datetime | None
    ended_at: datetime | None
    interrupted_until: datetime | None
    """When its provider takes it away; None: it does not, or has not said when."""
    price: Price


class CommandRow(Struct, frozen=True):
    """One command."""

    id: str
    type: str
    state: str
    issued_at: datetime
    delivered_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    parameters: dict[str, str]
    reason: str
    message: str
    output: str
    """Its end."""
    output_left_out: int
    """Letters of the output that are not here."""


class Commands(Struct, frozen=True):
    """The commands of a node, the newest first."""

    rows: list[CommandRow]
    left_out: int


class ReplicaHere(Struct, frozen=True):
    """A replica that has a place on a node."""

    id: str
    agent_pool: str
    state: str
    place: str
    because: str
    said: str
    """What its agent says of it now; empty: nothing else."""
    port: int
    restarts: int
    since: datetime


class ModelHere(Struct, frozen=True):
    """A model in a node's cache, complete or on its way."""

    model: str
    complete: bool
    bytes_done: int
    bytes_total: int
    """0: not known."""
    bytes_per_second: int
    problem: str
    digest: str
    since: datetime | None
    """Since when all of it is there; None: it is not."""


class ServedHere(Struct, frozen=True):
    """What runs on a node, and what is in its cache."""

    replicas: list[ReplicaHere]
    replicas_left_out: int
    models: list[ModelHere]
    models_left_out: int


def machine_of(seen: Seen, node: Node | None, instance: Instance | None) -> Machine:
    """Say where a machine is and how it came to be; at least one of both is there."""
    either = instance or node
    assert either is not None, "neither a node nor an instance"
    metadata = None if node is None else node.metadata
    return Machine(
        instance_id="" if instance is None else instance.id,
        instance_state="" if instance is None else instance.state.value,
        provider=either.provider,
        provider_ref="" if instance is None else instance.ref,
        region=(node.region if node is not None else "") or either.region,
        zone=(node.zone if node is not None else "") or either.zone,
        type=(node.instance_type if node is not None else "") or either.instance_type,
        spot=instance is not None and instance.spot,
        pool=either.pool,
        hostname="" if metadata is None else metadata.hostname,
        internal_ip="" if metadata is None else metadata.internal_ip,
        external_ip="" if metadata is None else metadata.external_ip,
        public_ip="" if instance is None else instance.public_ip,
        private_ip="" if instance is None else instance.private_ip,
        kernel_version="" if metadata is None else metadata.kernel_version,
        labels={
            **({} if instance is None else instance.labels),
            **({} if metadata is None else metadata.labels),
        },
        requested_at=None if instance is None else instance.requested_at,
        launched_at=None if instance is None else instance.launched_at,
        registered_at=None if node is None else node.registered_at,
        ended_at=(None if instance is None else instance.ended_at)
        or (None if node is None else node.ended_at),
        interrupted_until=None if instance is None else instance.interrupted_until,
        price=price_of(seen, instance),
    )


def price_of(seen: Seen, instance: Instance | None) -> Price:
    """Say what a machine costs an hour, by the newest price list of its provider."""
    if instance is None:
        return Price(None, "it was not bought here")
    offer = Offer(
        instance.provider,
        instance.region,
        instance.zone,
        instance.instance_type,
        spot=instance.spot,
    )
    market = Market(seen.now, seen.sightings.catalogs)
    if instance.provider not in seen.sightings.catalogs:
        return Price(None, f"no price list of {instance.provider} was read")
    return Price(market.price(offer), market.price_because(offer))


def gpus_of(node: Node | None) -> Sequence[GPU]:
    """The GPUs that a node's driver shows."""
    return () if node is None else node.gpus


def commands_of(seen: Seen, node_id: str) -> Commands:
    """The commands of a node that are still kept. Cost: O(commands of the fleet)."""
    mine = [each for each in seen.fleet.commands.values() if each.node_id == node_id]
    mine.sort(key=lambda each: (each.issued_at, each.id), reverse=True)
    rows = [_command(each) for each in mine[:COMMANDS_MAX]]
    return Commands(rows, max(len(mine) - COMMANDS_MAX, 0))


def _command(command: Command) -> CommandRow:
    return CommandRow(
        command.id,
        command.type.value,
        command.state.value,
        command.issued_at,
        command.delivered_at,
        command.finished_at,
        command.expires_at,
        command.parameters,
        command.reason,
        command.message,
        command.output[-OUTPUT_MAX:],
        max(len(command.output) - OUTPUT_MAX, 0),
    )


def served_on(seen: Seen, node_id: str) -> ServedHere:
    """What runs on a node by our own account, and what its agent says of it."""
    replicas = sorted(seen.fleet.replicas_at(node_id), key=lambda each: each.id)
    models = _models(seen, node_id)
    return ServedHere(
        [_replica(seen, each) for each in replicas[:REPLICAS_MAX]],
        max(len(replicas) - REPLICAS_MAX, 0),
        models[:MODELS_MAX],
        max(len(models) - MODELS_MAX, 0),
    )


def _replica(seen: Seen, replica: Replica) -> ReplicaHere:
    serving = seen.sightings.serving.get(replica.node_id)
    told = () if serving is None else serving.replicas
    said = next((each.message for each in told if each.id == replica.id), "")
    return ReplicaHere(
        replica.id,
        replica.agent_pool,
        replica.state.value,
        place(replica),
        replica.because,
        said if said != replica.because else "",
        replica.port,
        replica.restarts,
        replica.changed_at or replica.requested_at,
    )


def _models(seen: Seen, node_id: str) -> list[ModelHere]:
    """What is on its disk by the journal, and what its agent says is on its way there."""
    held = seen.fleet.weights.get(node_id, {})
    serving = seen.sightings.serving.get(node_id)
    told = {each.model: each for each in (() if serving is None else serving.models)}
    found = []
    for name in sorted({*held, *told}):
        there, said = held.get(name), told.get(name)
        complete = there is not None
        size = there.size if there is not None else 0
        found.append(
            ModelHere(
                name,
                complete,
                size if complete else 0 if said is None else said.bytes_done,
                size or (0 if said is None else said.bytes_total),
                0 if complete or said is None else said.bytes_per_second,
                "" if complete or said is None else said.problem,
                there.digest if there is not None else "" if said is None else said.digest,
                there.since if there is not None else None,
            )
        )
    return found
