"""The control plane as one object: what a program starts, asks and stops.

::

    async with ControlPlane(store=MemoryStore()) as control_plane:
        control_plane.register_provider(FakeProvider(gpu_count=8))
        await control_plane.configure_pools([PoolSpec("training", "fake", min_nodes=2)])
        ...

It brings no network of its own. Whoever wants to serve the calls hands `asgi_app` to a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from navarch.controlplane.accounts import Accounts
from navarch.controlplane.at_once import AtOnce
from navarch.controlplane.bootstrap_logs import BootstrapLogs, LogAccess
from navarch.controlplane.clock import RealClock, stopwatch
from navarch.controlplane.demand import StoreMetricsSource
from navarch.controlplane.effects import BootScript, ListPrices
from navarch.controlplane.founding import holder, new_tag
from navarch.controlplane.instance_manager import InstanceManager, NodeHealthObserver
from navarch.controlplane.leading import Leadership
from navarch.controlplane.plugin_host import PluginHost
from navarch.controlplane.pool_manager import PoolManager
from navarch.controlplane.runtime import TICK, Runtime
from navarch.controlplane.scale_measures import measure
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.service import Configure, Service
from navarch.controlplane.serving import ServingParts
from navarch.controlplane.serving_parts import serving_plane, take_pushed
from navarch.controlplane.timings import RequestTimes
from navarch.controlplane.watch import Watch
from navarch.core import judging
from navarch.core.model.messages import AdoptPolicy, ConfigurePools
from navarch.core.model.pool import PoolSpec
from navarch.core.selection import BUILT_IN
from navarch.core.selection.base import Ranker
from navarch.core.selection.guarded import GuardedRanker
from navarch.core.strategies import Strategies
from navarch.errors import JournalConflict, NavarchError, PluginError
from navarch.notifiers.base import Notifier
from navarch.plugins.registry import get_global_registry
from navarch.plugins.signals.gateway import Pushed, PushedSample
from navarch.policy import HealthPolicy
from navarch.providers.base import Provider, facts_of
from navarch.stores.base import Store
from navarch.stores.memory import MemoryStore
from navarch.telemetry.log import Log
from navarch.version import VERSION
from navarch.wire.admission import measure as measure_lag
from navarch.wire.asgi import Application, Readiness
from navarch.wire.auth import Authenticator
from navarch.wire.listing import Listing
from navarch.wire.pages import Pages
from navarch.wire.sessions import Sessions
from navarch.wire.standing import FAILED, STANDBY, Standing

log = Log(__name__)


class ControlPlane:
    """One writer over one journal, with the providers it may buy from."""

    _configure: Configure | None = None
    _configured = False
    _logs: BootstrapLogs | None = None
    _running: asyncio.Task[None] | None = None
    _runtime: Runtime | None = None

    def __init__(
        self,
        config: ServerConfig | None = None,
        store: Store | None = None,
        *,
        authenticator: Authenticator | None = None,
        retain: timedelta = timedelta(days=90),
        policy: judging.HealthPolicy | None = None,
        notifier: Notifier | None = None,
        bootstrap_logs: LogAccess | None = None,
        serving: ServingParts | None = None,
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Without a `store` everything is kept in memory and forgotten at the end. Without an
        `authenticator` every caller is an admin: serve `asgi_app` on loopback only. `policy` None:
        the built-in one. A `notifier` is told of cordons and drains; None: nobody is, and agents
        say themselves when they are empty. `bootstrap_logs` says where start-up logs are; None:
        providers alone are asked. `serving` says what the serving plane is made of; None: the
        plugins of the process. Raises `ValueError` when the configuration is impossible.
        """
        self._config = config or ServerConfig()
        self.admission = self._config.admission()
        """Who is let in when not everybody can be, and how many were not."""
        settings = self._config.effective()
        if notifier is not None:
            settings = replace(settings, workload_manager=True)
        self._notifier = notifier
        self._log_access = bootstrap_logs or LogAccess()
        self._strategies = Strategies(settings=settings, policy=policy or HealthPolicy.default())
        self._clock = self._config.clock or RealClock()
        self._store: Store = store or MemoryStore()
        self._leadership = Leadership(self._store, self._clock)
        self._retain = retain
        self._authenticator = authenticator or Authenticator()
        self._providers: dict[str, Provider] = {}
        self._boots: dict[str, BootScript] = {}
        self._list_prices: dict[str, ListPrices] = {}
        self._rankers: dict[str, Ranker] = dict(BUILT_IN)
        self._specs: dict[str, PoolSpec] = {}
        self._watch = Watch()
        self.on_lost: Callable[[], object] = bool
        """Called at once when the lease is lost: it has to see to it that the process ends."""
        self._runtime: Runtime | None = None
        self._running: asyncio.Task[None] | None = None
        self._configure: Configure | None = None
        self._equip(serving or ServingParts())

    def _equip(self, parts: ServingParts) -> None:
        """Make what works on the fleet beside the loop."""
        self.plugins = PluginHost(parts.plugins or get_global_registry(), self._clock)
        """The plugins of the serving plane, how they are called and what they did."""
        self.listing = Listing()
        """How nodes are listed, and what is kept of them for that."""
        self.store_metrics = StoreMetricsSource(
            lambda: self.runtime.machine, self._clock.now, self._config.evaluation_interval
        )
        """How busy pools are by the heartbeats: the source of pools that name none."""
        interval = self._config.evaluation_interval
        self.pool_manager = PoolManager(
            lambda: self.runtime, self._clock, self.store_metrics, interval, self._declare
        )
        """Which pools are scaled, by what, and what came of it."""
        self.accounts = Accounts(lambda: self.runtime, self._clock, self.pool_manager)
        """What is counted of the fleet while we lead."""
        self.serving = serving_plane(
            lambda: self.runtime,
            self._clock,
            self.plugins,
            parts,
            evaluate=self._evaluate_soon,
            may_act=self._leadership.may_act,
        )
        """How many replicas there are, and where they run."""
        self.instance_manager = InstanceManager(
            lambda: self.runtime, self._strategies.settings, self._config.stale_check_interval
        )
        """Instances as records, and callbacks for stale and failed ones."""

    # --- before the start ----------------------------------------------------------------

    def register_provider(
        self,
        provider: Provider,
        name: str | None = None,
        *,
        boot: BootScript | None = None,
        list_prices: ListPrices | None = None,
    ) -> None:
        """Let pools buy from a provider, under its own name or another.

        `boot` writes what its machines run at their first boot, from what is asked for; None: the
        pool's own `user_data`. `list_prices` stand in where the provider names no price on demand;
        None: such a price is not known. Raises `PluginError` when the name is taken, or when it
        misstates its facts.
        """
        known_as = name or provider.name
        if known_as in self._providers:
            raise PluginError(f"provider {known_as} is registered already: give it another name")
        facts_of(provider)
        self._providers[known_as] = provider
        if boot is not None:
            self._boots[known_as] = boot
        if list_prices is not None:
            self._list_prices[known_as] = list_prices
        if self._runtime is not None:
            self._runtime.effects.add(known_as, provider, boot, list_prices)

    def register_ranker(self, ranker: Ranker) -> None:
        """Let pools name a ranker of others as their strategy. Takes effect at the start.

        Raises `PluginError` when the name is taken.
        """
        if ranker.name in self._rankers:
            raise PluginError(f"ranker {ranker.name} is registered already")
        self._rankers[ranker.name] = GuardedRanker(ranker)

    def set_health_observer(self, observer: NodeHealthObserver | None) -> None:
        """Tell this one, in place of the one before, about every node that becomes unhealthy."""
        self.instance_manager.set_health_observer(observer)

    def set_configure(self, configure: Configure) -> None:
        """Let administrators send another configuration; this uses it and says what is different.

        Takes effect for the next `asgi_app` that is asked for.
        """
        self._configure = configure

    # --- start and stop ------------------------------------------------------------------

    async def start(self) -> None:
        """Open the journal, fold it, and begin to work: as the leader, or as a standby.

        With a store that several share it is a standby while another leads, and leads by itself
        when it may. Raises `JournalConflict` while another control plane holds a journal that is
        not shared, `JournalCorrupt` when it is damaged, and `PluginError` when a provider
        misstates its facts.
        """
        self._watch = Watch()
        await self._leadership.open()
        try:
            self._runtime = runtime = self._make_runtime()
            await runtime.load()
            self.listing.roster(runtime.machine.fleet)  # now, while nobody waits for us
            self.plugins.follow(runtime.machine.fleet)
            if await self._leadership.elected(runtime):
                await self._lead()
            else:
                self._leadership.stand_by()
                runtime.inbox.close(self.standing().refusal)
                self._watch.begin(self._stand_by(runtime), "standby")
        except BaseException:
            self._runtime = None
            await self._watch.end()
            await self._leadership.close()
            raise

    def _make_runtime(self) -> Runtime:
        runtime = Runtime(
            self._store,
            self._providers,
            self._clock,
            replace(self._strategies, rankers=self._rankers),
            tick=min(TICK, self._config.stale_check_interval),
            notifier=self._notifier,
            may_act=self._leadership.may_act,
            bounds=self._config.bounds,
        )
        runtime.retain = self._retain
        runtime.admission = self.admission
        for name, provider in self._providers.items():
            boot, list_prices = self._boots.get(name), self._list_prices.get(name)
            runtime.effects.add(name, provider, boot, list_prices)
        self._logs = BootstrapLogs(
            self._log_access, runtime.effects, lambda: runtime.machine.fleet, self._clock
        )
        runtime.effects.before_end = self._logs.before_end
        runtime.follows.append(self.plugins.hear)
        runtime.hears += [self.instance_manager.hear, self.serving.hear, self.accounts.hear]
        return runtime

    async def _stand_by(self, runtime: Runtime) -> None:
        """Follow whoever leads until nobody does; then lead."""

        def followed() -> None:
            runtime.inbox.close(self.standing().refusal)
            self.plugins.follow(runtime.machine.fleet)

        log.info("standing_by", holder=holder())
        await self._leadership.follow_until_elected(runtime, followed)
        runtime.inbox.open()
        await self._lead()

    async def _lead(self) -> None:
        """Take up the journal, and act from now on."""
        runtime = self.runtime
        self.accounts.begin(runtime.machine.fleet)
        await runtime.take_up(new_tag(), VERSION, holder())
        self.plugins.follow(runtime.machine.fleet)
        self._running = self._watch.begin(runtime.run(), "control plane")
        self._watch.begin(self.pool_manager.run(), "pool manager")
        self._watch.begin(self.serving.run(), "serving plane")
        self._watch.begin(measure_lag(self.admission.lag), "lag")
        self._watch.begin(self.accounts.run(), "accounts")
        self._watch.begin(self.accounts.read_prices(), "price lists")
        self._leadership.lead()
        if self._leadership.contested:
            self._watch.begin(self._lose(), "lease")
        await self.adopt_policy(self._strategies.policy, "the control plane has started")
        if self._specs or self._configured:
            await self.configure_pools(tuple(self._specs.values()))
        log.info("leading", holder=holder(), seq=runtime.seq)

    async def _lose(self) -> None:
        """Wait until the lease is lost; nothing is begun any more then, and the process ends."""
        because = await self._leadership.lost()
        text = f"the lease on the journal is lost: {because}"
        log.critical("lease_lost", because=because)
        self.on_lost()
        assert self._running is not None, "only a leader has a lease"
        await self._watch.end(but=self._running)
        await self.runtime.stop(text)
        self._running.cancel()  # it may wait for a database that is away
        raise JournalConflict(text)

    async def stop(self) -> None:
        """Answer what waits, keep a snapshot, and let go of the journal.

        Effects under way are abandoned: they are looked up at the next start. A shared journal is
        left to a standby at once, without a snapshot: it has folded everything already. Stopping a
        stopped control plane does nothing. Raises `JournalError` when it had ended with one.
        """
        runtime = self._runtime
        if runtime is None:
            return
        try:
            await self._watch.end(but=self._running)
            await self.serving.close()
            await self.instance_manager.stop()
            if self._logs is not None:
                await self._logs.close()
            await runtime.stop("the control plane is stopping")
            if self._running is not None:
                await asyncio.wait([self._running])
            self._watch.check()
            if self._leadership.leads and not self._leadership.contested:
                await runtime.snapshot()
        finally:
            self._runtime = self._running = None
            await self._leadership.close()

    async def wait_failed(self) -> None:
        """Wait until the loop has ended by itself, or may not go on.

        Raises what it ended with, a `JournalError` as a rule. The process should end then; a
        restart is always safe.
        """
        await self._watch.failed()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    # --- while running -------------------------------------------------------------------

    @property
    def runtime(self) -> Runtime:
        """The loop and all it works on.

        Raises `NavarchError` before the start and after the stop.
        """
        if self._runtime is None:
            raise NavarchError("the control plane is not started")
        return self._runtime

    async def configure_pools(self, pools: Iterable[PoolSpec]) -> None:
        """Make these the pools, and retire all others; a standby does so when it leads."""
        self._specs = {pool.name: pool for pool in pools}
        self._configured = True
        if self.standing().role == STANDBY:
            return
        await self.runtime.ask(ConfigurePools(tuple(self._specs.values())))

    async def adopt_policy(self, policy: judging.HealthPolicy, because: str) -> None:
        """Judge by another policy from now on; what stands against nodes is judged anew by it.

        A standby does so when it leads.
        """
        self._strategies = replace(self._strategies, policy=policy)
        if self.standing().role == STANDBY:
            return
        self.runtime.machine.offer_policy(policy)
        await self.runtime.ask(AdoptPolicy(policy.name, policy.digest, because))

    @property
    def policy(self) -> judging.HealthPolicy:
        """What judges health events."""
        return self._strategies.policy

    async def _evaluate_soon(self, pool: str) -> None:
        """Have a pool of machines looked at, if anything scales it."""
        if pool in self.pool_manager.pools():
            await self.pool_manager.evaluate(pool)

    def _declare(self, spec: PoolSpec, providers: Mapping[str, Provider]) -> None:
        """Add a pool, with providers that may be new; before the start or after."""
        if spec.strategy not in self._rankers:
            raise PluginError(
                f"pool {spec.name}: nobody has registered a ranker {spec.strategy}; there are: "
                f"{', '.join(self._rankers)}"
            )
        new = {
            name: each for name, each in providers.items() if self._providers.get(name) is not each
        }
        for name, provider in new.items():
            self.register_provider(provider, name)
        self._specs[spec.name] = spec
        if self._runtime is not None and self.leads:
            self._runtime.inbox.post(ConfigurePools(tuple(self._specs.values())))

    def readiness(self) -> Readiness:
        """Whether calls can be served; a standby serves readings. Cost: O(1)."""
        role = self.standing().role
        reason = self._leadership.stale_because
        if self._runtime is None:
            reason = "the journal is not open yet, or no longer"
        elif self._watch.has_failed or role == FAILED:
            reason = "the control plane has failed"
        return Readiness(ready=not reason, reason=reason, role=role)

    @property
    def leads(self) -> bool:
        """Whether it writes and acts; False before the start, and for a standby."""
        return self._leadership.leads

    def standing(self) -> Standing:
        """Say what it is among those that share its journal. Cost: O(1)."""
        seq = 0 if self._runtime is None else self._runtime.seq
        return self._leadership.standing(seq, self._authenticator.node_key)

    def _works(self) -> bool:
        """Whether signs of life may be taken as they come. Cost: O(1), for each of them."""
        runtime, running = self._runtime, self._running
        if runtime is None or running is None:
            return False
        ends = running.done() or runtime.inbox.closed
        return not ends and self._leadership.may_act()

    @property
    def asgi_app(self) -> Application:
        """The remote calls as an ASGI 3 application. Ask for it after the start."""
        pages = Pages()
        self.plugins.serve(pages)
        service = Service(
            self.runtime, self._configure, self._logs, self.plugins, self.push, self.listing
        )
        times = RequestTimes(stopwatch)
        application = Application(
            service,
            authenticator=self._authenticator,
            ready=self.readiness,
            pages=pages,
            stands=self,
            admission=self.admission,
            hearing=AtOnce(self.runtime, self._works),
            sessions=Sessions(self._authenticator, self._clock.now),
        )
        application.timed_by(times)
        measure(pages, self, service, application, times, self._config.node_series_max)
        return application

    def push(self, samples: Sequence[PushedSample]) -> Pushed:
        """Take samples of load, and look at their pools at once.

        Raises `WireError` when the metrics provider that takes them is switched off.
        """
        taken = take_pushed(self.plugins, samples, self._clock.now())
        if taken.pools:
            self.serving.wake()
        return taken

    @property
    def bootstrap_logs(self) -> BootstrapLogs:
        """What start-up scripts told. Raises `NavarchError` before the start."""
        if self._logs is None:
            raise NavarchError("the control plane is not started")
        return self._logs

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Who may be bought from, by the names that pools use."""
        return dict(self._providers)

    @property
    def rankers(self) -> Mapping[str, Ranker]:
        """What pools may name as their strategy."""
        return dict(self._rankers)
