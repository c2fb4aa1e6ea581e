"""What every metrics provider must do, as checks that its author can run.

::

    class TestMine(MetricsProviderContract):
        @pytest.fixture
        def make_plugin(self, server: MyServer) -> MakePlugin:
            server.set("chat", "queue-depth", 7.0)
            return lambda: MyProvider(url=server.url)

The far end must have a value of every listed signal for `pool`, and none for `unknown_pool`. Where
there is no far end (`strict` is false) values are not asked for, only how their lack is told.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from navarch.core.model.resources import AgentPool, AgentPoolSpec, ObjectMeta
from navarch.plugins.protocols import MetricsProviderPlugin, PluginKind
from navarch.testing.findings import Broken, checked, expect, not_shown, told
from navarch.testing.manners import Manners, expect_names, is_number

NOBODY_HAS: Final = "no-such-signal-7f3a"
UNREACHED: Final = (OSError, TimeoutError)
"""What a provider may raise whose far end is not there; the chain asks the next."""

HOSTILE: Final = (
    'x"} or vector(1) #',
    "x' or '1'='1",
    "x\\",
    "x\ny",
    "x{{y}}",
    "../../etc/passwd",
    "x?y=1&z=2#w",
    "x%00y",
    "Größe 八",
    "x" * 253,
    ".*",
)
"""Names of pools that mean something else in a query, a path or a pattern."""


def _pool(name: str) -> AgentPool:
    return AgentPool(metadata=ObjectMeta(name), spec=AgentPoolSpec(max_replicas=5))


class MetricsProviderContract(Manners):
    """The kit for metrics providers: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.METRICS_PROVIDER
    has_priority: ClassVar[bool] = False

    pool: ClassVar[AgentPool] = _pool("chat")
    """A pool that its far end knows."""

    unknown_pool: ClassVar[AgentPool] = _pool("nobody-has-this-pool")
    """One that it does not."""

    async def value(
        self, plugin: MetricsProviderPlugin, pool: AgentPool, name: str
    ) -> float | None:
        """Ask; None: it has none. Raises `Broken` when it says so in any other way."""
        asked = f"{name} of {pool.name!r:.60}"
        try:
            async with asyncio.timeout(self.patience.total_seconds()):
                answer = await plugin.get_metric(pool, name)
        except LookupError:
            return None
        except UNREACHED as error:
            if self.strict:
                raise Broken(f"{asked}: {told(error)}, expected a value or LookupError") from error
            return None
        except Exception as error:
            raise Broken(f"{asked}: {told(error)}, expected a number or LookupError") from error
        expect(is_number(answer), f"{asked} is {answer!r:.60}, expected a finite number")
        return float(answer)

    @checked
    async def test_the_signals_are_names_each_said_once(self, plugin: MetricsProviderPlugin) -> str:
        """The chain asks it for these, and for no others."""
        names = plugin.list_metrics()
        expect_names("list_metrics()", names)
        expect(names, "list_metrics() is empty: nobody would ever ask it")
        expect(
            plugin.list_metrics() == names, "list_metrics() says something else when asked again"
        )
        return ", ".join(names)

    @checked
    async def test_every_listed_signal_is_a_finite_number(
        self, plugin: MetricsProviderPlugin
    ) -> str:
        """What is listed can be had, where the far end has it."""
        values = {name: await self.value(plugin, self.pool, name) for name in plugin.list_metrics()}
        missing = [name for name, value in values.items() if value is None]
        if missing and not self.strict:
            not_shown(f"nothing answers here: no value of {', '.join(missing)}")
        expect(not missing, f"{self.pool.name} has no value of {', '.join(missing)}")
        return ", ".join(f"{name} = {value:g}" for name, value in values.items())

    @checked
    async def test_a_signal_that_nobody_has_is_a_lookup_error(
        self, plugin: MetricsProviderPlugin
    ) -> None:
        """Absent is not zero: zero takes replicas away."""
        for name in (NOBODY_HAS, "", "x" * 300, 'x"} or vector(1) #'):
            value = await self.value(plugin, self.pool, name)
            expect(value is None, f"{name!r:.40} is {value}, expected LookupError")

    @checked
    async def test_a_pool_that_nobody_knows_has_no_value(
        self, plugin: MetricsProviderPlugin
    ) -> None:
        """The load of another pool is not its load, and neither is zero."""
        if not self.strict:
            not_shown("nothing answers here")
        for name in plugin.list_metrics():
            value = await self.value(plugin, self.unknown_pool, name)
            expect(value is None, f"{name} of {self.unknown_pool.name} is {value}, expected none")

    @checked
    async def test_a_pool_s_name_is_no_part_of_a_query(self, plugin: MetricsProviderPlugin) -> str:
        """Whoever names a pool must not be able to ask for something else."""
        for hostile in HOSTILE:
            for name in plugin.list_metrics():
                value = await self.value(plugin, _pool(hostile), name)
                expect(
                    value is None or not self.strict,
                    f"{name} of a pool called {hostile!r:.60} is {value}: the name is not quoted",
                )
        return f"{len(HOSTILE)} names"

    @checked
    async def test_calls_at_once_do_not_disturb_each_other(
        self, plugin: MetricsProviderPlugin
    ) -> None:
        """All pools are read at the same time."""
        names = plugin.list_metrics()
        alone = {name: await self.value(plugin, self.pool, name) for name in names}
        calls = [(name, self.value(plugin, self.pool, name)) for name in names * 4]
        others = [self.value(plugin, self.unknown_pool, name) for name in names * 2]
        answers = await asyncio.gather(*(call for _, call in calls), *others)
        for (name, _), answer in zip(calls, answers, strict=False):
            same = (answer is None) is (alone[name] is None)
            expect(same, f"{name} is {alone[name]} alone, and {answer} among others")

    @checked
    async def test_a_call_that_is_cancelled_ends_and_can_be_repeated(
        self, plugin: MetricsProviderPlugin
    ) -> None:
        """The chain gives up on a slow source, and asks it again a little later."""
        name = (*plugin.list_metrics(), NOBODY_HAS)[0]
        before = await self.value(plugin, self.pool, name)
        for turns in (0, 1, 2, 3, 5):
            call = asyncio.ensure_future(plugin.get_metric(self.pool, name))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            done, _ = await asyncio.wait([call], timeout=self.patience.total_seconds())
            expect(done, f"a cancelled call has not ended after {self.patience}")
            if not call.cancelled():
                call.exception()
        after = await self.value(plugin, self.pool, name)
        expect((after is None) is (before is None), f"{name} was {before}, and is {after} now")
