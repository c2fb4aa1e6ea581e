"""A small serving plane for tests: machines with GPUs, and agents that do as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from factories import SETTINGS, a_spec, at, gpus, name, running
from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import Command, CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import ModelSeen, NodeServing, Replica, ReplicaSeen, ReplicaState
from navarch.core.model.resources import (
    AgentClass,
    AgentClassSpec,
    AgentPool,
    AgentPoolSpec,
    GPURequirements,
    Model,
    ModelSpec,
    ObjectMeta,
    Ref,
    Resource,
    Runtime,
    Scheduling,
)
from navarch.core.strategies import Strategies

POOL = "default/chat"
MODEL = "default/llama"

A_MODEL = Model(metadata=ObjectMeta("llama"), spec=ModelSpec(weights_uri="file:///llama"))
A_CLASS = AgentClass(metadata=ObjectMeta("assistant"), spec=AgentClassSpec(model_ref=Ref("llama")))


def a_pool(**changes: object) -> AgentPool:
    """Return a pool of two to eight agents with one GPU each."""
    spec = AgentPoolSpec(
        agent_class_ref=Ref("assistant"),
        min_replicas=2,
        max_replicas=8,
        gpu_requirements=GPURequirements(count=1),
        runtime=Runtime(command=("serve",)),
        scheduling=Scheduling(),
    )
    return AgentPool(metadata=ObjectMeta("chat"), spec=replace(spec, **changes))


class ServingWorld:
    """A machine, and the agents of its nodes."""

    def __init__(self, nodes: int = 2, *, resources: Sequence[Resource] = ()) -> None:
        """Begin with machines 1 to `nodes`, of eight GPUs each."""
        self.now = at()
        self.machine = Machine(Fleet(), Strategies(SETTINGS))
        self.machine.step([msg.Found("k3f9")], self.now)
        self.machine.step([msg.Resume("test")], self.now)
        self.weights: dict[str, set[str]] = {}
        self.replicas: dict[str, dict[str, ReplicaState]] = {}
        self.deaf: set[str] = set()
        self.done: set[str] = set()
        fold.apply(self.fleet, ev.PoolConfigured(self.now, a_spec(min_nodes=nodes)))
        for n in range(1, nodes + 1):
            for fact in running(n):
                fold.apply(self.machine.fleet, _with_gpus(fact))
            self.weights[name(n)], self.replicas[name(n)] = set(), {}
        self.apply(*(resources or (A_MODEL, A_CLASS, a_pool())))

    @property
    def fleet(self) -> Fleet:
        """All state."""
        return self.machine.fleet

    def apply(self, *resources: Resource) -> None:
        """Have resources be wanted, as the request to apply them does."""
        for resource in resources:
            fold.apply(self.fleet, ev.ResourceApplied(self.now, resource))

    def turn(self, *messages: msg.Message, seconds: float = 1) -> list[ev.Fact]:
        """Let time pass, agents speak and act, and the machine decide."""
        self.now += timedelta(seconds=seconds)
        facts = list(self.machine.step([*messages, *self._heartbeats()], self.now).facts)
        facts += self.machine.step([msg.Tick()], self.now).facts
        for node_id in self.replicas:
            if node_id not in self.deaf:
                self._obey(node_id)
        return facts

    def turns(self, number: int, *, seconds: float = 1) -> list[ev.Fact]:
        """Let several turns pass."""
        return [fact for _ in range(number) for fact in self.turn(seconds=seconds)]

    def place(self, *, on: str = "") -> list[ev.Fact]:
        """Propose a place for each replica that waits: the first free GPU, or one of `on`."""
        proposals = []
        taken = {node_id: self._taken(node_id) for node_id in self.replicas}
        for replica_id in self.fleet.replicas_pending:
            for node_id in [on] if on else sorted(self.replicas):
                free = [index for index in range(8) if index not in taken[node_id]]
                if free:
                    taken[node_id].add(free[0])
                    proposals.append(
                        msg.Proposed(replica_id, node_id, (free[0],), because="it is free")
                    )
                    break
        return self.turn(msg.PlacementsProposed(tuple(proposals)))

    def settle(self) -> list[ev.Fact]:
        """Place what waits, and let agents do what they are told until nothing moves."""
        return [*self.turn(), *self.place(), *self.turns(8)]

    def states(self) -> list[str]:
        """Return the state of each replica that has not ended, the oldest first."""
        return [each.state.value for each in self.living()]

    def living(self, pool: str = POOL) -> list[Replica]:
        """Return the replicas that have not ended, the oldest first."""
        return list(self.fleet.replicas_in(pool))

    def kinds(self, facts: Sequence[ev.Fact]) -> list[str]:
        """Return the kinds of facts that are of the serving plane, in their order."""
        return [ev.kind(fact) for fact in facts if isinstance(fact, ev.ServingFact)]

    def _taken(self, node_id: str) -> set[int]:
        return {index for each in self.fleet.replicas_at(node_id) for index in each.gpus}

    def _heartbeats(self) -> list[msg.Message]:
        return [
            msg.Heartbeat(node_id, serving=self._serving(node_id))
            for node_id in self.replicas
            if node_id not in self.deaf and not self.fleet.nodes[node_id].over
        ]

    def _serving(self, node_id: str) -> NodeServing:
        return NodeServing(
            tuple(
                ReplicaSeen(id_, state, port=8000) for id_, state in self.replicas[node_id].items()
            ),
            tuple(
                ModelSeen(model, "sha256:1", 10, 10, complete=True)
                for model in sorted(self.weights[node_id])
            ),
        )

    def _obey(self, node_id: str) -> None:
        answer = self.machine.step([msg.PollCommands(node_id)], self.now).answers[0]
        here = self.replicas[node_id]
        for id_ in list(here):
            here[id_] = ReplicaState.READY
        assert isinstance(answer, msg.CommandsHanded)
        for command in answer.commands:
            if command.id not in self.done:
                self.done.add(command.id)
                self._carry_out(node_id, command)

    def _carry_out(self, node_id: str, command: Command) -> None:
        replica = command.parameters.get("replica", "")
        match command.type:
            case CommandType.LOAD_MODEL:
                self.weights[node_id].add(command.parameters["model"])
            case CommandType.UNLOAD_MODEL:
                self.weights[node_id].discard(command.parameters["model"])
            case CommandType.START_REPLICA:
                self.replicas[node_id][replica] = ReplicaState.STARTING
            case CommandType.STOP_REPLICA:
                self.replicas[node_id].pop(replica, None)
            case _:
                return
        ack = msg.AckCommand(node_id, command.id, CommandState.SUCCEEDED)
        self.machine.step([ack], self.now)


def _with_gpus(fact: ev.Fact) -> ev.Fact:
    if isinstance(fact, ev.NodeRegistered):
        return replace(fact, gpus=gpus())
    return fact


def want(target: int, now: datetime) -> msg.ReplicasRecommended:
    """Return the word of an autoscaler."""
    return msg.ReplicasRecommended(POOL, target, f"to {target} at {now:%H:%M}", target)
