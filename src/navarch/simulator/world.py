"""The world: one run of a whole fleet in virtual time, from one seed.

It puts the parts together and lets time run, in two phases. While faults happen, only safety is
asked for (`checks`). Then the world is healed: clouds answer, networks carry, operators resume what
they had paused; and *liveness* is demanded, in bounded time: targets are met by nodes that serve,
nothing is stuck, and no machine is left that nobody owns.

A run depends on its seed, its plan (drawn from the seed unless given) and the boundaries at which
the control plane dies, and on nothing else: equal runs write equal bytes into their journals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from msgspec import Struct

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.gpu import GPU
from navarch.providers.base import ProvisionRequest
from navarch.simulator.agents import Agent
from navarch.simulator.autoscaling import Scaler
from navarch.simulator.broken import Broken
from navarch.simulator.checks import Checks
from navarch.simulator.clouds import Cloud
from navarch.simulator.crashes import Boundary, Crashes
from navarch.simulator.dice import Dice
from navarch.simulator.faults import Cut, Plan, draw_plan
from navarch.simulator.hardware import Hardware, Kind
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import MINUTE
from navarch.simulator.networks import NOWHERE, Network, Partition, Place, place_of
from navarch.simulator.operators import Operators
from navarch.simulator.policies import TABLES
from navarch.simulator.server import Server, facts_of
from navarch.simulator.sick_faults import Alarm
from navarch.simulator.timeline import EPOCH, Timeline

RECOVERY_MAX = timedelta(minutes=90)
"""How long a healed fleet may take: the hourly budget of replacements has to fill up again."""

LOOK_EVERY = timedelta(seconds=30)
"""How often the healed fleet is looked at; it must be calm twice in a row."""

PATIENCE = timedelta(minutes=4)
"""How long people leave a halted pool to itself; a sick node they leave to repair twice as long."""

STALL_MAX = timedelta(minutes=3)
"""The longest time for which the control plane stands still without dying."""

LEMON_REST = 2 * MINUTE
"""How long a broken GPU is quiet in the next machine."""

NOTICE_MIN = timedelta(seconds=30)
"""What Google Cloud gives (its documents on preemption, read November 2026)."""

NOTICE_MAX = timedelta(minutes=2)
"""What AWS gives (its documents on spot interruption notices, read November 2026)."""

TAIL = 15
"""How many facts of the journal a failure shows."""


class Outcome(Struct, frozen=True):
    """What a run came to."""

    seed: int
    journal: bytes
    """Every fact, one a line."""
    boundaries: tuple[Boundary, ...]
    """Each place where the control plane could have died, in order."""
    recovered_after: timedelta
    """How long the healed fleet took to become calm."""


class Failed(AssertionError):
    """A run broke an invariant; its text is all one needs to run it again."""

    def __init__(self, world: World, broken: Broken) -> None:
        """Describe the end of a run."""
        self.kind = broken.kind
        self.seed = world.dice.seed
        self.crashes = world.crashes.at
        facts = facts_of(world.server.store)[-TAIL:]
        lines = [
            str(broken),
            f"World({self.seed}, crashes={self.crashes}) at +{world.time.now - EPOCH}",
            f"crashes: {world.crashes.describe()}",
            *(f"  {fact.at - EPOCH} {ev.encode(fact).decode()}" for fact in facts),
        ]
        super().__init__("\n".join(lines))


class World:
    """A fleet and everything around it."""

    def __init__(
        self, seed: int, plan: Plan | None = None, *, crashes: Collection[int] = ()
    ) -> None:
        """Lay everything out; `crashes` are numbers of the boundaries where it dies."""
        self.dice = Dice(seed)
        self.plan = plan or draw_plan(self.dice)
        self.time = Timeline()
        self.crashes = Crashes(crashes)
        self.checks = Checks(self.plan.settings)
        self.server = Server(
            self.plan, self.time, self.dice, crashes=self.crashes, checks=self.checks
        )
        self.operators = Operators(self.server, self.time, self.dice)
        self.network = Network(self.plan.network, self.dice)
        self.agents: dict[str, Agent] = {}
        """By the cloud's id of their machine."""
        self._rolls = self.dice.stream("world")
        self._alarm_rolls = self.dice.stream("alarms")
        self._healed = False
        self._calm = False
        for cloud_plan in self.plan.clouds:
            cloud = Cloud(
                cloud_plan,
                self.time,
                self.dice,
                on_made=self._made,
                may_hide=self.checks.may_hide,
            )
            self.server.clouds[cloud.name] = self.checks.clouds[cloud.name] = cloud
            self._settle_strangers(cloud)
            cloud.limit()
        self.scalers = {
            scaled.pool: Scaler(scaled, lambda: self.time.now) for scaled in self.plan.scaled
        }
        self.server.scalers = self.checks.scalers = self.scalers
        self.checks.operators = self.operators
        self.checks.repairs.is_empty = self._is_empty
        self.checks.repairs.hardware_of = self._hardware_of
        self.checks.repairs.others_gpus = self._others_gpus
        self.checks.clock = lambda: self.time.now
        self.checks.manager = self.server.manager

    def run(self) -> Outcome:
        """Live through it. Raises `Failed` when an invariant does not hold."""
        self._schedule()
        try:
            self.time.run()
        except Broken as broken:
            raise Failed(self, broken) from broken
        except BaseException as error:
            error.add_note(f"World({self.dice.seed}, crashes={self.crashes.at})")
            raise
        recovered_after = self.time.now - EPOCH - self.plan.faults_last
        return Outcome(
            self.dice.seed,
            self.server.store.raw,
            tuple(self.crashes.passed),
            recovered_after,
        )

    def _schedule(self) -> None:
        plan, rolls = self.plan, self._rolls
        self.time.after(timedelta(), self.server.start)
        for cut in plan.cuts:
            self.time.after(cut.begins, self._cut, cut)
        for partition in plan.network.partitions:
            self.time.after(partition.begins, self._part, partition)
        for disk in plan.full_disks:
            self.time.after(disk.begins, self.server.fill_disk, disk.lasts)
        for _ in range(plan.requests):
            self.time.after(rolls.between(timedelta(), plan.faults_last), self.operators.wish)
        for _ in range(plan.vanishing):
            self.time.after(rolls.between(timedelta(), plan.faults_last), self._vanish)
        for _ in range(plan.stalls):
            lasts = rolls.between(timedelta(seconds=1), STALL_MAX)
            self.time.after(rolls.between(MINUTE, plan.faults_last), self.server.stall, lasts)
        for alarm in plan.sickness.alarms:
            self.time.after(alarm.begins, self._alarm, alarm)
        if plan.sickness.next_policy:
            self.time.after(plan.sickness.next_policy_at, self._change_policy)
        if plan.later_pools:
            self.time.after(plan.later_at, self._reconfigure)
        if plan.dropped_at is not None:
            self.time.after(plan.dropped_at, self._drop_pool)
        for number in range(plan.guests):
            self._welcome(f"guest-{number}")
        self.time.after(plan.faults_last, self._heal)

    # --- machines and their agents ---------------------------------------------------------

    def _made(self, cloud: Cloud, ref: str) -> None:
        self.checks.made(cloud, ref)
        machine = cloud.truth.machines[ref]
        rolls = self.dice.stream("machine", ref)
        mute = not self._healed and rolls.chance(self.plan.agents.stillborn)
        if mute and not cloud.plan.habits.twins:  # its twin would speak for it, and be taken away
            self.dice.happened[Incident.STILLBORN] += 1
            return
        lemon = self._returned(ref)
        instance = machine.instance
        place = place_of(
            ref, cloud.name, instance.region, instance.zone, self.dice.stream("place", ref)
        )
        agent = self._agent(instance.name, ref, lambda: cloud.alive(ref), lemon, place)
        boots_in = machine.running_at - self.time.now
        self.time.after(boots_in + rolls.between(timedelta(), timedelta(seconds=20)), agent.start)
        if ref in cloud.spot and not self._healed and rolls.chance(self.plan.agents.preempted):
            notices = self.dice.stream("notice", ref)
            notice = timedelta()
            if notices.chance(self.plan.agents.noticed):
                notice = notices.between(NOTICE_MIN, NOTICE_MAX)
            after = rolls.between(MINUTE, 7 * MINUTE)
            self.time.after(after, self._preempt, cloud, ref, agent, notice)

    def _preempt(self, cloud: Cloud, ref: str, agent: Agent, notice: timedelta) -> None:
        """Take a cheap machine away, with notice or without a word."""
        if self._healed or not cloud.alive(ref):
            return
        self.dice.happened[Incident.NOTICED if notice else Incident.INTERRUPTED] += 1
        if notice:
            agent.notice(self.time.now + notice)
        self.time.after(notice, cloud.vanish, ref)

    def _is_empty(self, node_id: str) -> bool:
        if self.plan.settings.workload_manager:
            return self.server.manager.is_empty(node_id)
        return any(agent.is_empty for agent in self.agents.values() if agent.node_id == node_id)

    def _hardware_of(self, node_id: str) -> list[Hardware]:
        return [agent.hardware for agent in self.agents.values() if agent.node_id == node_id]

    def _others_gpus(self, node_id: str) -> set[str]:
        """Which GPUs other nodes have, as far as the control plane has been told.

        What the node has itself, as a GPU that came back from it, is its own.
        """
        others = self.checks.repair_books.records.values()
        alive = {agent.node_id for agent in self.agents.values() if agent.machine_is_alive()}
        alive -= {one.id for one in self.checks.books.instances.values() if one.ending or one.ended}
        theirs = {uuid for one in others if one.id in alive - {node_id} for uuid in one.gpus}
        return theirs - set(self.checks.repair_books.of(node_id).gpus)

    def _uuids(self) -> list[str]:
        return [gpu.uuid for agent in self.agents.values() for gpu in agent.hardware.gpus]

    def _returned(self, ref: str) -> str:
        """Pick a broken GPU of a machine that is gone: the seller puts it into the next one."""
        rolls = self.dice.stream("lemon", ref)
        if self._healed or not rolls.chance(self.plan.sickness.lemons):
            return ""
        mounted: set[str] = set()
        broken: dict[str, None] = {}
        for agent in self.agents.values():
            if agent.machine_is_alive():
                mounted |= {gpu.uuid for gpu in agent.hardware.gpus}
            else:
                broken |= dict.fromkeys(agent.hardware.lemons)
        free = [uuid for uuid in broken if uuid not in mounted]
        self.dice.happened[Incident.LEMON] += bool(free)
        return rolls.pick(free) if free else ""

    def _agent(
        self,
        node_id: str,
        ref: str,
        is_alive: Callable[[], bool],
        lemon: str = "",
        place: Place = NOWHERE,
    ) -> Agent:
        uuids = [f"GPU-{ref}-{index}" for index in range(self.plan.sickness.gpus)]
        if lemon:
            uuids[0] = lemon
        gpus = tuple(GPU(index, uuid) for index, uuid in enumerate(uuids))
        agent = Agent(
            node_id,
            self.server,
            self.time,
            dice=self.dice,
            plan=self.plan,
            hardware=Hardware(gpus, self.dice.stream("hardware", ref)),
            is_alive=is_alive,
            purpose=ref,
        )
        agent.link.settle(place, self.network)
        agent.behaviour.uuids = self._uuids
        self.agents[ref] = agent
        if self._healed:
            agent.heal()
            return agent
        within = self.plan.agents.within or self.plan.faults_last
        agent.draw_fate(within)
        agent.draw_ailments(self.dice.stream("ailments", ref), within)
        agent.draw_conduct(self.dice.stream("conduct", ref), within)
        if lemon:
            self.time.after(LEMON_REST, agent.suffer, Kind.BROKEN, within, gpu=0)
        return agent

    def _welcome(self, name: str) -> None:
        """Let a machine register that nobody here has bought."""
        self.dice.happened[Incident.GUEST] += 1
        agent = self._agent(name, name, lambda: True)
        self.time.after(timedelta(seconds=90), agent.start)

    def _settle_strangers(self, cloud: Cloud) -> None:
        """Put machines of others into the same account; nobody may touch them."""
        for labels in (
            {},
            {"navarch.dev/fleet": "them", "navarch.dev/instance": "train-sim0-0001"},
        ):
            request = ProvisionRequest(name="stranger", instance_type="", labels=labels)
            cloud.truth.launch(request, self.time.now)

    # --- faults ------------------------------------------------------------------------------

    def _cut(self, cut: Cut) -> None:
        if self._healed:
            return
        away = [
            agent
            for agent in self.agents.values()
            if agent.machine_is_alive() and self._rolls.chance(cut.share)
        ]
        self.dice.happened[Incident.CUT] += bool(away)
        for agent in away:
            agent.cut_off = True
        self.time.after(cut.lasts, self._mend, away)

    def _mend(self, away: list[Agent]) -> None:
        for agent in away:
            agent.cut_off = False

    def _part(self, partition: Partition) -> None:
        alive = [agent.link.place for agent in self.agents.values() if agent.machine_is_alive()]
        self.network.part(partition, alive)
        self.time.after(partition.lasts, self.network.join, partition)

    def _alarm(self, alarm: Alarm) -> None:
        self.dice.happened[Incident.ALARM] += 1
        for agent in self.agents.values():
            if self._alarm_rolls.chance(alarm.share):
                agent.suffer(alarm.kind, alarm.lasts)

    def _change_policy(self) -> None:
        self.dice.happened[Incident.POLICY_CHANGED] += 1
        self.server.judge_by(TABLES[self.plan.sickness.next_policy])

    def _vanish(self) -> None:
        if self._healed:
            return
        cloud = self._rolls.pick(list(self.server.clouds.values()))
        ours = [m for m in cloud.machines() if m.instance.name != "stranger"]
        if ours:
            self.dice.happened[Incident.VANISHED] += 1
            cloud.vanish(self._rolls.pick(ours).instance.id)

    def _drop_pool(self) -> None:
        self.dice.happened[Incident.POOL_DROPPED] += 1
        self.server.configure(self.plan.pools[:-1])

    def _reconfigure(self) -> None:
        """Apply another configuration; it may move any target, so no target is promised now."""
        self.dice.happened[Incident.RECONFIGURED] += 1
        self.operators.targets_hold = False
        self.server.configure(self.plan.later_pools)

    # --- recovery ----------------------------------------------------------------------------

    def _heal(self) -> None:
        """End all faults. Agents that died are started again where repair may not replace them."""
        self._healed = True
        self.network.heal()
        self.server.free_disk()
        for cloud in self.server.clouds.values():
            cloud.heal()
        self.server.manager.heal()
        for agent in self.agents.values():
            agent.heal()
        for scaler in self.scalers.values():
            scaler.heal()
        self._revive()
        if self.plan.dropped_at is not None or self.plan.later_pools:
            self.operators.targets_hold = False
            self.server.configure(self.plan.pools)
        self.operators.stop_wishing(tuple(pool.name for pool in self.plan.pools))
        self.time.after(LOOK_EVERY, self._look)

    def _revive(self) -> None:
        """Start dead agents again, as people do when repair has stopped or is switched off.

        One that died alone stays dead: replacing it is the control plane's work.
        """
        dead = [
            agent
            for agent in self.agents.values()
            if agent.machine_is_alive() and not agent.running and not agent.ended
        ]
        replaced = all(pool.auto_replace and not pool.dry_run for pool in self.plan.pools)
        if len(dead) > 1 or not replaced:
            for agent in dead:
                agent.start()

    def _look(self) -> None:
        machine = self.server.machine
        kind, unrest = "unconverged", "the control plane is down"
        if machine is not None:
            kind, unrest = self.checks.unrest(machine)
        if not unrest and self._calm and machine is not None:
            self.checks.ended(machine, self.server.store)
            self._check_executions()
            self.time.stop()
            return
        self._calm = not unrest
        if machine is not None:
            self._tend(machine.fleet)
        if self.time.now - EPOCH > self.plan.faults_last + RECOVERY_MAX:
            raise Broken(kind, f"{unrest}, {RECOVERY_MAX} after the last fault")
        self.time.after(LOOK_EVERY, self._look)

    def _tend(self, fleet: Fleet) -> None:
        """Let people look after what waits for them, once repair had its time."""
        waited = self.time.now - EPOCH - self.plan.faults_last
        if waited > PATIENCE:
            self.operators.let_repair_try(fleet)
        if waited > 2 * PATIENCE:
            for scaler in self.scalers.values():
                if scaler.swings:
                    scaler.hush()
            helpless = self.checks.repairs.needs_help
            now = self.time.now
            self.operators.set_aside([id_ for id_ in fleet.ailing if helpless(id_, now)])

    def _check_executions(self) -> None:
        for agent in self.agents.values():
            for command_id, count in agent.executions.items():
                if count > 1:
                    text = f"{agent.node_id} carried {command_id} out {count} times"
                    raise Broken("unsafe", text)
