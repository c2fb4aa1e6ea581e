"""Another configuration is used as a whole or not at all, and what is the same goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from navarch.config import load
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.service import Service
from navarch.errors import ConfigError, JournalError, WireError
from navarch.plugins.kinds import SERVING
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Entry, get_global_registry
from navarch.plugins.terms import Terms
from navarch.telemetry.log import Event
from navarch.wire.generated import navarch_pb2 as pb
from navarch.wire.queries import Configuration
from navarch.wiring.reload import NeedsRestart, Reload
from navarch.wiring.scaling import ScalingParts

BEFORE = """
server:
  data: data
  metrics: [{type: custom, use: "wiring.foreign:Tickets", config: {count: 4}}]
providers: {fake: {type: fake}}
pools:
  training:
    provider: fake
    max_nodes: 4
    autoscaling: {type: custom, use: "wiring.foreign:Steady", config: {nodes: 2}}
  batch: {provider: fake, max_nodes: 1, autoscaling: {type: queue, jobs_per_node: 2}}
"""


class Fixture:
    """A control plane that runs by a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text(BEFORE)
        clock = FakeClock(datetime(2026, 1, 5, tzinfo=UTC))
        self.control_plane = ControlPlane(ServerConfig(clock=clock))
        self.scaling = ScalingParts(self.control_plane, clock)
        config = load.load(file, {})
        self.config = config
        self.reload = Reload(self.control_plane, self.scaling, config, local=False)

    async def begin(self) -> None:
        await self.control_plane.start()
        await self.control_plane.configure_pools(self.config.pools.values())
        await self.scaling.place(self.scaling.make(self.config))

    async def end(self) -> None:
        await self.control_plane.stop()
        await self.scaling.close()

    @property
    def max_nodes(self) -> dict[str, int]:
        pools = self.control_plane.runtime.machine.fleet.pools.values()
        return {pool.name: pool.spec.max_nodes for pool in pools if not pool.retired}

    @property
    def scaled(self) -> dict[str, tuple[object, object]]:
        scaled = self.control_plane.pool_manager.pools()
        return {name: (each.autoscaler, each.metrics) for name, each in scaled.items()}


@pytest.fixture(autouse=True)
def _no_plugin_is_left() -> Iterator[None]:
    """Take out what tests have registered for the whole process, before and after."""
    registry = get_global_registry()

    def take_out() -> None:
        if registry.find(PluginKind.SCHEDULER, "prefer-ssd") is not None:
            registry.unregister(PluginKind.SCHEDULER, "prefer-ssd")

    take_out()
    yield
    take_out()


@pytest.fixture
def running(tmp_path: Path) -> Callable[[Callable[[Fixture], Awaitable[None]]], None]:
    def run(story: Callable[[Fixture], Awaitable[None]]) -> None:
        async def told() -> None:
            fixture = Fixture(tmp_path / "navarch.yaml")
            await fixture.begin()
            try:
                await story(fixture)
            finally:
                await fixture.end()

        asyncio.run(told())

    return run


Running = Callable[[Callable[[Fixture], Awaitable[None]]], None]


def test_pools_change_and_the_others_keep_what_scales_them(running: Running) -> None:
    async def story(here: Fixture) -> None:
        before = here.scaled
        text = BEFORE.replace("max_nodes: 4", "max_nodes: 9").replace(
            "jobs_per_node: 2", ("jobs_per_node: 3")
        )
        changes = await here.reload.use(text, "new.yaml")
        assert changes == [
            "pool training: max_nodes 4 -> 9",
            "pool batch: autoscaling queue, 2 jobs a node -> queue, 3 jobs a node",
        ]
        assert here.max_nodes == {"training": 9, "batch": 1}
        assert here.scaled["training"] == before["training"]
        assert here.scaled["batch"][0] != before["batch"][0]
        assert here.scaled["batch"][1] is before["batch"][1]
        assert await here.reload.use(text, "new.yaml") == []

    running(story)


def test_pools_come_and_go(running: Running) -> None:
    async def story(here: Fixture) -> None:
        text = BEFORE.replace("  batch:", "  nightly:")
        assert await here.reload.use(text, "new.yaml") == [
            "pool batch is retired: its machines stay until somebody decides",
            "pool nightly is new: 0 to 1 nodes",
        ]
        assert here.max_nodes == {"training": 4, "nightly": 1}
        assert sorted(here.scaled) == ["nightly", "training"]

    running(story)


def test_abstract_types_are_said_in_the_sellers_words_or_nothing_changes(
    running: Running, tmp_path: Path
) -> None:
    before = BEFORE.replace("{fake: {type: fake}}", "{fake: {type: fake}, cheap: {type: lambda}}")

    async def story(here: Fixture) -> None:
        here.reload = Reload(
            here.control_plane, here.scaling, load.load(_written(tmp_path, before), {}), local=False
        )
        pool = "  cheap: {provider: cheap, instance_type: TYPE, max_nodes: 3}\n"
        with pytest.raises(ConfigError, match="lambda sells no 'h100-9x'; nearest: h100-"):
            await here.reload.use(before + pool.replace("TYPE", "h100-9x"), "new.yaml")
        assert here.max_nodes == {"training": 4, "batch": 1}
        await here.reload.use(before + pool.replace("TYPE", "h100-8x"), "new.yaml")
        spec = here.control_plane.runtime.machine.fleet.pools["cheap"].spec
        assert [source.instance_type for source in spec.sources] == ["gpu_8x_h100_sxm5"]

    running(story)


def _written(folder: Path, text: str) -> Path:
    file = folder / "other.yaml"
    file.write_text(text)
    return file


def test_metrics_are_replaced_and_the_old_ones_closed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wiring.foreign import Tickets

    closed: list[int] = []

    async def close(self: Tickets) -> None:
        closed.append(self.count)

    monkeypatch.setattr(Tickets, "close", close)

    async def story(here: Fixture) -> None:
        changes = await here.reload.use(BEFORE.replace("count: 4", "count: 5"), "new.yaml")
        assert changes == ["server.metrics"]
        assert closed == [4]
        await here.reload.use(BEFORE.replace("nodes: 2", "nodes: 3"), "new.yaml")

    running(story)
    assert closed == [4, 5, 4]


def test_the_config_of_a_plugin_is_not_told(running: Running) -> None:
    async def story(here: Fixture) -> None:
        changes = await here.reload.use(BEFORE.replace("nodes: 2", "nodes: 3"), "new.yaml")
        assert changes == ["pool training: the config of its autoscaling"]
        assert here.scaled["training"][0].nodes == 3  # type: ignore[attr-defined] # a Steady

    running(story)


@pytest.mark.parametrize(
    "old,new,expected",
    [
        ("data: data", "data: elsewhere", "server.data"),
        ("server:", "server:\n  autoscale_interval: 5s", "server.autoscale_interval"),
        ("{type: fake}", "{type: fake, gpu_count: 4}", "providers.fake"),
        ("{fake: ", "{more: {type: fake}, fake: ", "providers.more"),
        ("max_nodes: 1,", "max_nodes: 1, strategy: theirs,", "pools.batch.strategy"),
    ],
)
def test_what_only_a_restart_changes_is_refused(
    old: str, new: str, expected: str, running: Running
) -> None:
    async def story(here: Fixture) -> None:
        text = BEFORE.replace(old, new).replace("max_nodes: 4", "max_nodes: 9")
        with pytest.raises(NeedsRestart) as caught:
            await here.reload.use(text, "new.yaml")
        assert str(caught.value) == f"needs a restart: {expected}; nothing was changed"
        assert here.max_nodes == {"training": 4, "batch": 1}

    running(story)


def test_a_mistake_or_a_plugin_that_does_not_fit_changes_nothing(running: Running) -> None:
    async def story(here: Fixture) -> None:
        before = here.scaled
        text = BEFORE.replace("max_nodes: 4", "max_nodes: many").replace("queue,", "queu,")
        with pytest.raises(ConfigError) as caught:
            await here.reload.use(text, "new.yaml")
        first, second = str(caught.value).splitlines()
        assert first.startswith("new.yaml:9: pools.training.max_nodes: expected a whole number")
        assert second.startswith("new.yaml:11: pools.batch.autoscaling.type: expected one of")
        text = BEFORE.replace("max_nodes: 4", "max_nodes: 9").replace(
            "foreign:Steady", "foreign:No"
        )
        with pytest.raises(ConfigError, match=r"pools\.training\.autoscaling: autoscaler .*:No"):
            await here.reload.use(text, "new.yaml")
        assert here.max_nodes == {"training": 4, "batch": 1}
        assert here.scaled == before

    running(story)


def test_administrators_are_told_by_the_code_what_was_wrong(running: Running) -> None:
    async def story(here: Fixture) -> None:
        with pytest.raises(WireError, match="is empty, expected at least"):
            await here.reload.from_wire(Configuration("#", "new.yaml"))
        with pytest.raises(WireError, match="failed_precondition: needs a restart: server"):
            await here.reload.from_wire(Configuration("{}", "new.yaml"))
        wider = Configuration(BEFORE.replace("max_nodes: 4", "max_nodes: 5"), "new.yaml")
        assert await here.reload.from_wire(wider) == ["pool training: max_nodes 4 -> 5"]

    running(story)


def test_without_a_file_there_is_nothing_to_replace(running: Running) -> None:
    async def story(here: Fixture) -> None:
        service = Service(here.control_plane.runtime)
        with pytest.raises(WireError, match="was started without a configuration file"):
            await service.apply_config(pb.ApplyConfigRequest(text="{}"), None)

    running(story)


def test_the_file_is_read_again_and_mistakes_are_logged(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(here: Fixture) -> None:
        here.file.write_text(BEFORE.replace("max_nodes: 4", "max_nodes: 6"))
        await here.reload.from_file()
        assert here.max_nodes["training"] == 6
        here.file.write_text("pools: 3\n")
        await here.reload.from_file()
        here.file.unlink()
        await here.reload.from_file()
        assert here.max_nodes["training"] == 6
        told = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
        events = [entry.msg for entry in told if isinstance(entry.msg, Event)]
        assert [(event.word, event.fields["error"]) for event in events] == [
            (
                "config_rejected",
                f"{here.file}:1: pools: expected a mapping of names, got the number 3",
            ),
            ("config_rejected", f"{here.file}: there is no such file"),
        ]

    running(story)


# --- plugins of the serving plane ------------------------------------------------------------

SCHEDULER, GUARDRAIL = PluginKind.SCHEDULER, PluginKind.GUARDRAIL
PII = "pii-detection"
PLUGINS = """
plugins:
  scheduler-plugins:
    - {name: "plugins.foreign:PreferSsd", priority: 7, config: {weight: 2}}
  guardrail-plugins:
    - {name: pii-detection, on_error: fail_open, deadline: 100ms}
"""
WRONG = """
plugins:
  scheduler-plugins:
    - {name: "plugins.foreign:PreferSsd", priority: 8, config: {weight: 3}}
  autoscaler-plugins:
    - {name: "plugins.foreign:Steady"}
  guardrail-plugins:
    - {name: pii-detection, enabled: false}
    - {name: content-filter, config: {phrase: [no]}}
"""


def used(here: Fixture) -> list[tuple[Entry, ...]]:
    registry = here.control_plane.plugins.registry
    return [registry.entries(kind) for kind in SERVING]


def test_another_plugins_block_is_used_as_a_whole(running: Running) -> None:
    async def story(here: Fixture) -> None:
        registry, before = here.control_plane.plugins.registry, used(here)
        assert registry.find(SCHEDULER, "prefer-ssd") is None
        sent = Configuration(BEFORE + PLUGINS, "new.yaml")
        changes = await here.reload.from_wire(sent)
        assert changes == ["plugin scheduler prefer-ssd", "plugin guardrail pii-detection"]
        ssd, pii = registry.require(SCHEDULER, "prefer-ssd"), registry.find(GUARDRAIL, PII)
        assert ssd.plugin in registry.schedulers
        assert (ssd.priority, dict(ssd.config)) == (7, {"weight": 2})
        assert registry.terms(GUARDRAIL)(PII) == Terms("fail_open", timedelta(seconds=0.1))
        assert await here.reload.from_wire(sent) == []
        assert registry.find(SCHEDULER, "prefer-ssd") == ssd  # the same object goes on
        assert registry.find(GUARDRAIL, PII) == pii
        here.file.write_text(BEFORE)
        await here.reload.from_file()
        assert used(here) == before

    running(story)


def test_a_mistake_in_one_plugin_changes_none_and_nothing_else(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(here: Fixture) -> None:
        await here.reload.use(BEFORE + PLUGINS, "new.yaml")
        before = used(here)
        text = BEFORE.replace("max_nodes: 4", "max_nodes: 9") + WRONG
        with pytest.raises(WireError, match=r"guardrail-plugins\[1\]\.config\.phrase: .*phrases"):
            await here.reload.from_wire(Configuration(text, "new.yaml"))
        assert used(here) == before
        here.file.write_text(text)
        await here.reload.from_file()
        assert "config_rejected " in caplog.text
        assert used(here) == before
        assert here.max_nodes == {"training": 4, "batch": 1}
        await here.reload.use(BEFORE, "new.yaml")

    running(story)


def test_plugins_are_not_used_where_something_after_them_fails(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise JournalError("the disk is full")

    async def story(here: Fixture) -> None:
        before = used(here)
        with monkeypatch.context() as patched:
            patched.setattr(here.control_plane, "configure_pools", refuse)
            with pytest.raises(JournalError):
                await here.reload.use(BEFORE + PLUGINS, "new.yaml")
        assert used(here) == before

    running(story)
