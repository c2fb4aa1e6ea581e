"""A pool of machines as an object: what a program of ten lines buys, cordons and lets go with.

::

    config = PoolConfig("training", "gpu_8x_h100_sxm5", "us-west-2", max_nodes=20)
    pool = Pool.simple(config, provider, "lambda")
    nodes = await pool.scale_up(2)
    pool.cordon(nodes[0].id)
    await pool.replace(nodes[0].id)

Used alone, a pool does what it is told and nothing else: it runs the core over a journal in memory
(`navarch.controlplane.solo`), buys only when asked, and forgets all of it when the program ends;
the machines do not end with it. Given to a control plane (`PoolManager.add_pool`) it is a
description, and the control plane buys, repairs and remembers.

Rules that hold for a pool used alone:

- `max_nodes` is never exceeded, and `scale_down` never goes below `min_nodes`; who asks for that is
  refused before anything is done. The minimum is not bought unasked: an autoscaler asks for it.
- What a call could not buy is not bought later behind the caller's back: after a `PartialScaleUp`
  the pool wants what it has.
- Nodes may be named by our id or by their provider's. Calls may be made at the same time; those
  that buy or end take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Self

from msgspec import Struct, field
from msgspec.structs import asdict, force_setattr, replace

from navarch.controlplane.clock import Clock, RealClock
from navarch.controlplane.solo import SoloFleet
from navarch.core import capacity
from navarch.core.model import ids
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.instance import Instance as Record
from navarch.core.model.instance import InstanceState
from navarch.core.model.node import Intent
from navarch.core.model.offer import offers
from navarch.core.model.pool import PoolSpec, Source
from navarch.core.scaling.base import PoolMetrics, PoolState
from navarch.core.scaling.target import pool_state
from navarch.core.selection import BUILT_IN, memory
from navarch.core.selection.base import Ranker
from navarch.errors import NavarchError, PartialScaleUp, ProviderError
from navarch.providers.base import Instance, InstanceStatus, Provider


class PoolConfig(Struct, frozen=True):
    """What a pool consists of, and its limits.

    Raises `ValueError` for a name that is none and for limits that contradict each other.
    """

    name: str
    """Lower-case letters, digits and hyphens, at most 40; part of every machine's id."""
    instance_type: str = ""
    """Which kind, in the providers' words; a `ProviderConfig` may have its own."""
    region: str = ""
    """Where, in the providers' words; empty: the provider's default."""
    zones: Sequence[str] = ()
    """Which parts of the region, taken in turns; none: the provider chooses."""
    min_nodes: int = 0
    """Never fewer: a promise that a control plane or an autoscaler keeps."""
    max_nodes: int = 1
    """Never more, whoever asks."""
    cooldown_period: timedelta = timedelta(minutes=5)
    """How long an autoscaler lets a change settle."""
    unhealthy_threshold: int = 2
    """Bad health reports in a row that confirm an unhealthy verdict, so that repair may act.

    For a control plane, which hears reports; a pool used alone hears none.
    """
    auto_replace: bool = True
    """Whether a control plane replaces lost and sick nodes without asking."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Put on every machine."""
    ssh_key_names: Sequence[str] = ()
    """Keys, by the names that the providers know them by."""
    user_data: str = ""
    """What each machine runs at its first boot."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        force_setattr(self, "zones", tuple(self.zones))
        force_setattr(self, "ssh_key_names", tuple(self.ssh_key_names))
        if ids.POOL_NAME.fullmatch(self.name) is None:
            raise ValueError(
                f"name {self.name!r}: expected a letter, then letters, digits and hyphens, "
                "all lower-case, at most 40"
            )
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ValueError(
                f"pool {self.name}: min_nodes {self.min_nodes} and max_nodes {self.max_nodes}: "
                "expected 0 or more, the first lower"
            )
        if self.cooldown_period < timedelta():
            raise ValueError(f"pool {self.name}: cooldown_period must not be negative")
        if self.unhealthy_threshold < 1:
            raise ValueError(f"pool {self.name}: unhealthy_threshold must be at least 1")


class ProviderConfig(Struct, frozen=True):
    """One seller that a pool may buy from.

    Raises `ValueError` for a weight below 1.
    """

    name: str
    """What the pool calls it."""
    provider: Provider
    priority: int = 0
    """The lowest is asked first, where the strategy goes by priority."""
    weight: int = 1
    """Its share where the strategy takes turns."""
    regions: Sequence[str] = ()
    """Where to buy; none: the pool's region."""
    instance_type: str = ""
    """Its own name of the type; empty: the pool's."""
    zones: Sequence[str] = ()
    """Which parts of its regions; none: the pool's zones."""
    spot: bool = False
    """Whether machines that may be taken away are bought."""

    def __post_init__(self) -> None:
        """Refuse a weight that makes no sense."""
        if self.weight < 1:
            raise ValueError(f"provider {self.name}: weight {self.weight}: expected at least 1")

    def source(self) -> Source:
        """Say it in the words of the core."""
        return Source(
            self.name,
            priority=self.priority,
            weight=self.weight,
            regions=tuple(self.regions),
            zones=tuple(self.zones),
            instance_type=self.instance_type,
            spot=self.spot,
        )


class PoolNode(Instance, frozen=True, kw_only=True):
    """A machine of a pool, as its provider last showed it.

    `name` is our id, `id` the provider's.
    """

    cordoned: bool = False
    """Whether it is to get no new work."""


class Pool:
    """Machines of one kind, from one provider or several."""

    def __init__(
        self,
        config: PoolConfig,
        providers: Sequence[ProviderConfig],
        strategy: str | Ranker = "priority",
        *,
        clock: Clock | None = None,
    ) -> None:
        """Describe a pool; nothing is bought. Without a `clock` the machine's own is used.

        `strategy` is ``priority``, ``cost``, ``availability``, ``round-robin`` or a ranker of your
        own. Raises `ValueError` for another word, for no providers and for two of one name, and
        `PluginError` when a provider misstates its facts.
        """
        rankers = dict(BUILT_IN)
        if not isinstance(strategy, str):
            rankers[strategy.name] = strategy
            strategy = strategy.name
        if strategy not in rankers:
            raise ValueError(f"strategy {strategy!r}: expected one of {', '.join(rankers)}")
        self.config = config
        """What it was made of."""
        self.providers = _by_name(config, providers)
        """Whom it may buy from, by name; not to be changed."""
        self.spec = _spec(config, [each.source() for each in providers], strategy)
        """The same in the words of the core, for a control plane."""
        self._clock = clock or RealClock()
        self._solo = SoloFleet(self.providers, self._clock, rankers)
        self._solo.tell(msg.ConfigurePools((replace(self.spec, min_nodes=0),)))
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._scaled_at: datetime | None = None
        self._handed_over = False

    @classmethod
    def simple(
        cls,
        config: PoolConfig,
        provider: Provider,
        provider_name: str = "",
        *,
        clock: Clock | None = None,
    ) -> Self:
        """Describe a pool that buys from one provider, under its own name or another."""
        return cls(config, [ProviderConfig(provider_name or provider.name, provider)], clock=clock)

    # --- looking -------------------------------------------------------------------------

    def nodes(self) -> list[PoolNode]:
        """The machines it has, oldest first; those that are being ended are no longer among them.

        As their providers last showed them: nobody is asked. Raises `NavarchError` when a control
        plane runs the pool.
        """
        return [self._node(record) for record in self._records()]

    def state(self, metrics: PoolMetrics | None = None) -> PoolState:
        """Show it as autoscalers see it, with these metrics.

        Its last scaling is the last that bought or ended something. Raises as `nodes`.
        """
        self._demand_alone()
        pool = self._solo.fleet.pools[self.config.name]
        state = pool_state(self._solo.fleet, pool, metrics or PoolMetrics(), self._clock.now())
        return replace(state, min_nodes=self.config.min_nodes, last_scale_time=self._scaled_at)

    # --- scaling -------------------------------------------------------------------------

    async def scale_up(self, count: int) -> list[Instance]:
        """Buy so many machines more, and return them once their providers have made them.

        Every offer is asked that may be asked now, in the order of the strategy. Raises
        `PartialScaleUp` with those that could be bought, when that is not all, and `ValueError`
        before anything is bought when it would be more than `max_nodes` or `count` is negative.

        Cancelled, it leaves what was bought so far; launches under way are looked up by the next
        call and ended if they came to anything.
        """
        async with self._turn():
            before = len(self._records())
            if count < 0 or before + count > self.config.max_nodes:
                raise ValueError(self._refusal(f"{before} + {count}", "max_nodes"))
            if count == 0:
                return []
            await self._settle(msg.Tick())
            return await self._buy(count, f"{count} more were asked for")

    async def scale_down(self, count: int) -> list[Instance]:
        """Let so many machines go, and return them once their providers have agreed.

        Cordoned ones go first, then the youngest. Raises `ValueError` before anything is done
        when fewer than `min_nodes` would be left or `count` is negative, and `ProviderError` when
        a provider did not agree: such a machine is no longer among the `nodes`, and every later
        call asks again.
        """
        async with self._turn():
            before = self.nodes()
            left = len(before) - count
            if count < 0 or left < self.config.min_nodes:
                raise ValueError(self._refusal(f"{len(before)} - {count}", "min_nodes"))
            if count == 0:
                return []
            await self._settle(self._target(left, f"{count} fewer were asked for"))
            kept = {node.name for node in self.nodes()}
            self._scaled_at = self._clock.now()
            self._demand_ended()
            return [node for node in before if node.name not in kept]

    async def replace(self, node_id: str) -> Instance:
        """Buy another machine, then end this one; return the new one.

        A pool that is at `max_nodes` ends first and has one fewer until that is done. Raises
        `PartialScaleUp` when no other could be bought: where there was room to buy first, the old
        one stays. Raises `ProviderError` as `scale_down`, and `NavarchError` for an unknown id.
        """
        async with self._turn():
            old = self._find(node_id)
            await self._settle(msg.Tick())
            wanted = len(self._records())
            end = msg.IssueCommand(old.id, CommandType.TERMINATE, reason="it is replaced")
            if self._existing() >= self.config.max_nodes:
                await self._settle(end, self._target(wanted - 1, "one is replaced in place"))
                self._demand_ended()
                return (await self._buy(1, f"{old.id} is replaced in place"))[0]
            new = (await self._buy(1, f"{old.id} is replaced"))[0]
            await self._settle(end, self._target(wanted, f"{new.name} replaced {old.id}"))
            self._demand_ended()
            return new

    # --- cordoning -----------------------------------------------------------------------

    def cordon(self, node_id: str, reason: str = "") -> None:
        """Mark a node as not to get new work. It stays, and is the first to be let go.

        Raises `NavarchError` for an unknown id. Again, nothing happens.
        """
        self._tell_node(node_id, CommandType.CORDON, reason)

    def uncordon(self, node_id: str, reason: str = "") -> None:
        """Take the mark away. Raises as `cordon`."""
        self._tell_node(node_id, CommandType.UNCORDON, reason)

    def hand_over(self) -> None:
        """Leave the pool to a control plane; from now on it is a description only.

        Raises `NavarchError` when it has bought machines: a control plane would not know them.
        """
        if self._existing():
            raise NavarchError(
                f"pool {self.config.name} has {self._existing()} machines that a control plane "
                "would not know: let them go first, or let the control plane buy from the start"
            )
        self._handed_over = True

    # --- inside --------------------------------------------------------------------------

    def _turn(self) -> asyncio.Lock:
        """The lock of those who buy and end; a program may use one event loop after the other."""
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = (loop, asyncio.Lock())
        return self._turns[1]

    async def _settle(self, *messages: msg.Message) -> None:
        """Do what follows from messages; whatever happens, want no more than there is after."""
        try:
            await self._solo.settle(*messages)
        except BaseException:
            self._solo.tell(self._target(len(self._records()), "a call was abandoned"))
            raise

    async def _buy(self, count: int, because: str) -> list[Instance]:
        """Grow by so many. Raises `PartialScaleUp`; the pool wants what it has, then."""
        before = {record.id for record in self._records()}
        await self._settle(self._target(len(before) + count, because))
        bought: list[Instance] = [node for node in self.nodes() if node.name not in before]
        if bought:
            self._scaled_at = self._clock.now()
        if len(bought) < count:
            why = self._obstacles()
            text = f"{len(bought)} of {count} could be bought"
            await self._settle(self._target(len(self._records()), text))
            raise PartialScaleUp(self.config.name, bought=bought, wanted=count, because=why)
        return bought

    def _target(self, target: int, because: str) -> msg.ScalePool:
        return msg.ScalePool(self.config.name, target, because)

    def _records(self) -> list[Record]:
        """The machines that are there and wanted, oldest first."""
        self._demand_alone()
        current = self._solo.fleet.current_of(self.config.name)
        return [each for each in current if each.state is InstanceState.RUNNING]

    def _existing(self) -> int:
        """All machines that may be on the bill, ending ones included."""
        fleet = self._solo.fleet
        return capacity.count(fleet, fleet.pools[self.config.name]).existing

    def _node(self, record: Record) -> PoolNode:
        seen = self._solo.seen.get(record.id)
        node = self._solo.fleet.nodes[record.id]
        if seen is None or seen.id != record.ref:  # its list has not shown it yet
            seen = Instance(
                id=record.ref,
                provider=record.provider,
                region=record.region,
                zone=record.zone,
                instance_type=record.instance_type,
                status=InstanceStatus.PROVISIONING,
                labels=record.labels,
            )
        shown = {**asdict(seen), "name": record.id, "provider": record.provider}
        return PoolNode(**shown, cordoned=node.intent is Intent.CORDONED)

    def _find(self, node_id: str) -> Record:
        records = self._records()
        found = [each for each in records if each.id == node_id]
        found = found or [each for each in records if each.ref == node_id]
        if len(found) == 1:
            return found[0]
        have = ", ".join(each.id for each in records) or "none"
        what = f"{len(found)} nodes" if found else "no node"
        raise NavarchError(f"pool {self.config.name} has {what} {node_id}; there are: {have}")

    def _tell_node(self, node_id: str, type_: CommandType, reason: str) -> None:
        record = self._find(node_id)
        cordoned = self._solo.fleet.nodes[record.id].intent is Intent.CORDONED
        if cordoned is not (type_ is CommandType.CORDON):
            self._solo.tell(msg.IssueCommand(record.id, type_, reason=reason))

    def _refusal(self, sum_: str, limit: str) -> str:
        bound = getattr(self.config, limit)
        return f"pool {self.config.name}: {sum_} nodes, with {limit} {bound}: nothing was done"

    def _obstacles(self) -> str:
        """Why not everything could be bought, as far as it is known."""
        fleet = self._solo.fleet
        pool = fleet.pools[self.config.name]
        counted = capacity.count(fleet, pool)
        known = {
            key: refusals
            for each in offers(pool)
            for key, refusals in memory.held_against(fleet, each)
        }
        why = [f"{each.failure}: {each.because} ({each.at:%H:%M:%S}Z)" for each in known.values()]
        here = {each.id for each in self._records()}
        lost = {id_: texts[-1] for id_, texts in self._solo.lost.items() if id_ not in here}
        why += [f"{id_}: {text}: its outcome is not known" for id_, text in lost.items()]
        if counted.ending:
            why.append(f"{counted.ending} machines still end and count against max_nodes")
        return "; ".join(why) or "no offer could be asked"

    def _demand_ended(self) -> None:
        """Raise `ProviderError` when an end that was asked for was not agreed to."""
        if self._solo.failures:
            told = "; ".join(f"{id_}: {text}" for id_, text in self._solo.failures.items())
            raise ProviderError(
                f"pool {self.config.name}: {told}: its end stays owed, and every later call asks "
                "for it again"
            )

    def _demand_alone(self) -> None:
        if self._handed_over:
            raise NavarchError(
                f"pool {self.config.name} is run by a control plane: ask that one, for instance "
                "with `navarch pool get` and `navarch pool scale`"
            )


def _by_name(config: PoolConfig, providers: Sequence[ProviderConfig]) -> Mapping[str, Provider]:
    named = {each.name: each.provider for each in providers}
    if not providers:
        raise ValueError(f"pool {config.name}: providers: expected at least one")
    if len(named) < len(providers):
        raise ValueError(f"pool {config.name}: providers: two have the same name")
    return MappingProxyType(named)


def _spec(config: PoolConfig, sources: Sequence[Source], strategy: str) -> PoolSpec:
    return PoolSpec(
        config.name,
        sources[0].provider,
        instance_type=config.instance_type,
        region=config.region,
        zones=tuple(config.zones),
        sources=tuple(sources),
        strategy=strategy,
        cooldown=config.cooldown_period,
        min_nodes=config.min_nodes,
        max_nodes=config.max_nodes,
        labels=dict(config.labels),
        ssh_key_names=tuple(config.ssh_key_names),
        user_data=config.user_data,
        auto_replace=config.auto_replace,
        unhealthy_after=config.unhealthy_threshold,
    )
