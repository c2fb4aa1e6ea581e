"""A world of the serving plane, from one seed: it troubles, then it heals, then it must rest."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core import fold
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.actions import Action, Launch, TakeInventory, Terminate
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import PoolSpec
from navarch.core.model.replica import ReplicaState
from navarch.core.model.resources import (
    AgentClass,
    AgentClassSpec,
    AgentPool,
    AgentPoolSpec,
    Autoscaling,
    Behavior,
    GPURequirements,
    MetricTarget,
    Model,
    ModelSpec,
    ObjectMeta,
    Ref,
    Runtime,
    ScalingRules,
)
from navarch.core.scaling.base import PoolMetrics
from navarch.core.scaling.queue_based import QueueBasedAutoscaler
from navarch.core.scaling.target import pool_state
from navarch.core.sentences import sentence
from navarch.core.serving import balance, demand
from navarch.core.settings import Settings
from navarch.core.strategies import Strategies
from navarch.plugins.calls import Direct
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.scaling import BUILT_IN as AUTOSCALERS
from navarch.plugins.scheduling import BUILT_IN as SCHEDULERS
from navarch.plugins.turns import MachineFacts, Turns
from navarch.simulator.dice import Dice
from navarch.simulator.replicas import people
from navarch.simulator.replicas.machines import Agent, Box, Pace
from navarch.simulator.timeline import EPOCH

SECOND = timedelta(seconds=1)
PROVIDER = "cloud"
POOL = "gpus"
AGENTS = "default/chat"
GPUS = 4
PER_REPLICA = 4.0
REST_MAX = timedelta(minutes=50)
"""How long a healed world may take to rest: drains and cooldowns are done by then."""


class Failure(Exception):
    """Something that must never happen has happened, or something that must has not."""


class Plan(Struct, frozen=True):
    """What a seed has drawn."""

    waves: tuple[people.Wave, ...]
    pace: Pace
    nodes_max: int
    replicas_max: int
    gpus_each: float
    faults: tuple[tuple[datetime, str], ...]
    crashes: frozenset[int]
    """At which steps the control plane dies before it has told anybody."""

    @property
    def heals_at(self) -> datetime:
        """When the last trouble is over."""
        return max([wave.ends for wave in self.waves] + [at for at, _ in self.faults])


def drawn(seed: int) -> Plan:
    """Draw a world."""
    stream = Dice(seed).stream("plan")
    begins = EPOCH + 30 * SECOND
    waves = people.drawn(stream, begins, waves=stream.integer(1, 3), per_second_max=30)
    span = int((waves[-1].ends - EPOCH) / SECOND)
    words = ("kill box", "kill agent", "mute box", "kill program", "drain box", "other command")
    count = stream.integer(0, 5)
    faults = [(EPOCH + SECOND * stream.integer(30, span), stream.pick(words)) for _ in range(count)]
    crashes = frozenset(stream.integer(20, span) for _ in range(stream.integer(0, 4)))
    pace = Pace(
        boot=SECOND * stream.integer(5, 120),
        load=SECOND * stream.integer(1, 60),
        start=SECOND * stream.integer(1, 20),
        fails=stream.pick((0.0, 0.0, 0.1, 0.3)),
    )
    return Plan(
        waves,
        pace,
        nodes_max=stream.integer(2, 6),
        replicas_max=stream.integer(3, 12),
        gpus_each=stream.pick((1.0, 1.0, 2.0, 0.5)),
        faults=tuple(sorted(faults)),
        crashes=crashes,
    )


class World:
    """One run."""

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        """Prepare what a seed has drawn, or another plan under its dice."""
        self.plan = plan or drawn(seed)
        self.now = EPOCH
        self.journal: list[ev.Fact] = []
        self.seen: Counter[str] = Counter()
        self.peak = 0
        self._stream = Dice(seed).stream("world")
        self._agent = Agent(self.plan.pace, Dice(seed).stream("agents"))
        self._people = people.People(self.plan.waves, per_replica=PER_REPLICA)
        self._boxes: dict[str, Box] = {}
        self._steps = 0
        self._drained: list[str] = []
        self._registry = Registry()
        for kind, plugins in (
            (PluginKind.SCHEDULER, SCHEDULERS),
            (PluginKind.REPLICA_AUTOSCALER, AUTOSCALERS),
        ):
            for plugin in plugins:
                self._registry.register(kind, plugin, origin="built-in")
        self._strategies = Strategies(
            Settings(heartbeat_interval=10 * SECOND, drain_timeout=120 * SECOND)
        )
        self._scaler = QueueBasedAutoscaler(self._jobs_per_node)
        self._begin()

    @property
    def _jobs_per_node(self) -> float:
        return GPUS / self.plan.gpus_each

    @property
    def fleet(self) -> Fleet:
        """All state of the control plane."""
        return self._machine.fleet

    def _begin(self) -> None:
        self._machine = Machine(Fleet(), self._strategies)
        self._turns = self._new_turns()
        self._step([msg.Found("simu")])
        self._step([msg.Resume("simulated")])
        spec = PoolSpec(
            POOL,
            PROVIDER,
            instance_type="h100-8x",
            max_nodes=self.plan.nodes_max,
            cooldown=timedelta(seconds=30),
        )
        self._step([msg.ConfigurePools((spec,))])
        for resource in resources(self.plan):
            fact = ev.ResourceApplied(self.now, resource, "the world wants it")
            fold.apply(self.fleet, fact)
            self.journal.append(fact)

    def _new_turns(self) -> Turns:
        return Turns(
            self._registry, Direct(), facts=lambda _spec: MachineFacts(GPUS, "H100", 80 << 30)
        )

    # --- running -------------------------------------------------------------------------

    def run(self) -> None:
        """Run to the end. Raises `Failure`."""
        while self.now < self.plan.heals_at:
            self.pass_second()
        self._heal()
        limit = self.now + REST_MAX
        while not self._rests():
            if self.now >= limit:
                raise Failure(f"not at rest {REST_MAX} after the last trouble: {self._restless()}")
            self.pass_second()

    def pass_second(self) -> None:
        """Let one second pass for everybody."""
        self.now += SECOND
        while self._due_faults():
            self._trouble(self.plan.faults[self.seen["faults"]][1])
        ready = [each for each in self._running() if each[1] is ReplicaState.READY]
        self._people.pass_second(len(ready), self.now)
        self.peak = max(self.peak, len(ready))
        for box in list(self._boxes.values()):
            self._agent.work(box, self.now)
            said = self._agent.speak(box, self.now)
            if said:
                self._hear(box, said)
        self._take_turn()
        self._check()

    def story(self) -> list[str]:
        """Every fact of the journal in one line."""
        return [
            f"{(fact.at - EPOCH).total_seconds():7.0f} s  {sentence(fact)}" for fact in self.journal
        ]

    def _hear(self, box: Box, said: list[msg.Message]) -> None:
        step = self._step(said)
        for answer in step.answers:
            if isinstance(answer, msg.CommandsHanded):
                self._agent.obey(box, answer.commands)

    def _take_turn(self) -> None:
        """Do what the serving and pool managers do, the latter every ten seconds."""
        for name in balance.pools_of(self.fleet):
            samples = self._people.samples(self.now)
            asked = self._turns.asking(self.fleet, name, samples, self.now)
            if asked is not None:
                proposals = self._turns.ask(asked, self.now)
                self._step([self._turns.recommended(asked, proposals, self.now)])
        problem = self._turns.problem(self.fleet, self._machine.sightings, self.now)
        if problem is not None:
            self._step([self._turns.plan(problem)])
        if int((self.now - EPOCH) / SECOND) % 10 == 0:
            self._scale_machines()
        self._step([msg.Tick()])
        for answer in self._perform(list(self._machine.owed(self.now))):
            self._step([answer])

    def _scale_machines(self) -> None:
        wanted = demand.of_pool(self.fleet, POOL, self.now)
        pool = self.fleet.pools[POOL]
        if wanted is None or wanted.unsure:
            return
        queue = wanted.waiting + wanted.running
        metrics = PoolMetrics(pending_jobs=wanted.waiting, queue_depth=queue)
        said = self._scaler.recommend(pool_state(self.fleet, pool, metrics, self.now))
        self._step(
            [msg.Recommended(POOL, said.target_nodes, said.reason, self._scaler.name, said.held)]
        )

    # --- the control plane ---------------------------------------------------------------

    def _step(self, messages: list[msg.Message]) -> Step:
        self._steps += 1
        step = self._machine.step(messages, self.now)
        self.journal += step.facts
        self.seen.update(ev.kind(fact) for fact in step.facts)
        if self._steps // 10 in self.plan.crashes and self._steps % 10 == 0:
            self._crash()
            return Step([], [])
        return step

    def _crash(self) -> None:
        """Die after the journal was written, before anybody was told; begin again from it."""
        self.seen["crashes"] += 1
        again = Fleet()
        for fact in self.journal:
            fold.apply(again, ev.decode(ev.encode(fact)))
        if again != self.fleet:
            raise Failure("the journal folds to another fleet")
        self._machine = Machine(again, self._strategies)
        self._turns = self._new_turns()
        self._step([msg.Resume("simulated")])

    def _perform(self, actions: list[Action]) -> list[msg.Message]:
        """Do what the world is owed, and say what came of it."""
        answers: list[msg.Message] = []
        for action in actions:
            match action:
                case Launch():
                    answers.append(self._launch(action))
                case Terminate():
                    self._boxes.pop(action.instance_id, None)
                    ended = msg.TerminateAnswered(PROVIDER, action.ref, action.instance_id)
                    answers.append(ended)
                case TakeInventory():
                    answers.append(self._inventory())
                case _:
                    continue
        return answers

    def _launch(self, action: Launch) -> msg.Launched:
        if action.instance_id in self._boxes:
            raise Failure(f"{action.instance_id} is launched twice")
        ref = f"m-{action.instance_id}"
        boots_at = self.now + self.plan.pace.boot
        box = Box(action.instance_id, ref, boots_at, GPUS, PROVIDER)
        self._boxes[box.id] = box
        return msg.Launched(box.id, msg.Machine(ref, self.fleet.tag, box.id))

    def _inventory(self) -> msg.InventoryTaken:
        machines = tuple(
            msg.Machine(box.ref, self.fleet.tag, box.id)
            for box in self._boxes.values()
            if not box.dead
        )
        return msg.InventoryTaken(PROVIDER, self.now, timedelta(), machines)

    # --- trouble -------------------------------------------------------------------------

    def _due_faults(self) -> bool:
        done = self.seen["faults"]
        return done < len(self.plan.faults) and self.plan.faults[done][0] <= self.now

    def _trouble(self, word: str) -> None:
        self.seen["faults"] += 1
        live = [box for box in self._boxes.values() if box.registered and not box.dead]
        if not live:
            return
        box = self._stream.pick(live)
        self.seen[word] += 1
        match word:
            case "kill box":
                box.dead = True
                box.programs.clear()
            case "kill agent":
                self._agent.forget(box)
            case "drain box":
                drain = msg.IssueCommand(box.id, CommandType.DRAIN, reason="upkeep of the rack")
                self._step([drain])
                self._drained.append(box.id)
            case "other command":
                pool = resources(self.plan, f"v{self.seen[word]}")[2]
                self._step([msg.ApplyResources((pool,), "another version")])
            case "mute box":
                box.mute_until = self.now + SECOND * self._stream.integer(5, 90)
            case _:
                for program in box.programs.values():
                    program.state = ReplicaState.ENDED

    def _heal(self) -> None:
        self._agent.pace = replace(self._agent.pace, fails=0.0)
        for node_id in self._drained:
            if node_id in self._boxes:
                self._step([msg.IssueCommand(node_id, CommandType.UNCORDON, reason="it is done")])

    # --- judging -------------------------------------------------------------------------

    def _running(self) -> list[tuple[str, ReplicaState]]:
        return [
            (id_, program.state)
            for box in self._boxes.values()
            if not box.dead
            for id_, program in box.programs.items()
        ]

    def _check(self) -> None:
        """Hold what must always be. Raises `Failure`."""
        for node_id in self.fleet.replicas_on:
            shares: Counter[int] = Counter()
            for replica in self.fleet.replicas_at(node_id):
                for index in replica.gpus:
                    shares[index] += round(replica.share * 1000)
            over = [index for index, share in shares.items() if share > 1000]
            if over:
                raise Failure(f"GPUs {over} of {node_id} are given away twice")
        alive = [each for each in self.fleet.replicas.values() if each.wanted]
        if len(alive) > 2 * self.plan.replicas_max:
            raise Failure(f"{len(alive)} replicas, at most {self.plan.replicas_max} are allowed")
        if len(self._boxes) > 2 * self.plan.nodes_max + 2:
            raise Failure(f"{len(self._boxes)} machines, at most {self.plan.nodes_max} allowed")

    def _rests(self) -> bool:
        return not self._restless()

    def _restless(self) -> str:
        """Say what is still there that nobody needs; empty: nothing is."""
        there = [each for each in self._running() if each[1] is not ReplicaState.ENDED]
        wanted = [each for each in self.fleet.replicas.values() if each.wanted]
        live = [box.id for box in self._boxes.values() if not box.dead]
        if self._people.waiting > 0:
            return f"{self._people.waiting:.0f} requests wait"
        if wanted or there:
            return f"{len(wanted)} replicas are wanted, {len(there)} run"
        return f"machines {', '.join(live)} are still there" if live else ""


def resources(plan: Plan, version: str = "v0") -> tuple[Model, AgentClass, AgentPool]:
    """Make the resources of a world: one pool that may go to zero."""
    scaling = Autoscaling(
        metrics=(MetricTarget("queue-depth", 20), MetricTarget("requests-per-second", PER_REPLICA)),
        behavior=Behavior(
            scale_down=ScalingRules(stabilization_window=30 * SECOND, period_seconds=15)
        ),
    )
    spec = AgentPoolSpec(
        agent_class_ref=Ref("assistant"),
        max_replicas=plan.replicas_max,
        gpu_requirements=GPURequirements(count=plan.gpus_each),
        autoscaling=scaling,
        runtime=Runtime(command=("serve", version)),
    )
    return (
        Model(metadata=ObjectMeta("llama"), spec=ModelSpec(weights_uri="s3://weights/llama")),
        AgentClass(metadata=ObjectMeta("assistant"), spec=AgentClassSpec(model_ref=Ref("llama"))),
        AgentPool(metadata=ObjectMeta("chat"), spec=spec),
    )
